/**
 * The server goes away, in order and by a crash, while clients work: what it has acknowledged is there, once.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../lib/until.mjs';
import { World } from '../lib/world.mjs';

/** @typedef {import('../lib/client.mjs').Device} Device */

/** How long a writer thinks about its next text, in milliseconds. */
const THINKING = 100;
const RESTARTS = /** @type {const} */ (['orderly', 'crash', 'crash']);

describe('restarts of the server', () => {
  /** @type {World} */
  let world;
  /** @type {Device[]} */
  let devices;
  /** @type {Device} */
  let newcomer;
  /** @type {string} */
  let id;

  const on = (/** @type {Device} */ device) => device.conversation(id);

  before(async () => {
    world = await World.start();
    const users = [await world.user('k256'), await world.user('p256'), await world.user('k256'), await world.user('p256')];
    const all = await Promise.all(users.map((user, i) => user.device(`phone of user ${i}`)));
    [newcomer, ...devices] = all;
    const [first, ...others] = devices;
    id = (await first.createConvo({ members: others.map((device) => device.did) })).id;
    for (const device of others) await world.follow(device);
    world.keepOnline(first);
  });
  after(() => world?.stop());

  it('cost clients nothing but time', async () => {
    let restarting = true;
    const written = await Promise.all([
      ...devices.map(async (device, who) => {
        let count = 0;
        for (; restarting; count++) {
          await on(device).send(`${who}: ${count}`);
          await sleep(THINKING);
        }
        return count;
      }),
      changes(),
      restarts().finally(() => (restarting = false)),
    ]);

    async function changes() {
      await on(devices[0]).update();
      await on(devices[1]).add([newcomer.did]);
      await on(devices[2]).update();
    }

    async function restarts() {
      for (const how of RESTARTS) {
        await sleep(5 * THINKING);
        await world.server.restart(how);
      }
      await sleep(5 * THINKING);
    }

    await Promise.all(devices.map((device) => device.sync()));
    const { currentEpoch } = await devices[0].api.query('getEpoch', { convoId: id });
    for (const [reader, device] of devices.entries()) {
      assert.equal(on(device).group?.epoch, currentEpoch);
      assert.ok(Number(written[reader]) > 0);
      for (const writer of devices.keys()) {
        if (writer === reader) continue;
        assert.deepEqual(
          on(device).texts.filter((text) => text.startsWith(`${writer}: `)),
          Array.from({ length: Number(written[writer]) }, (_, i) => `${writer}: ${i}`),
        );
      }
    }
  });

  it('leave streams alive: they come back by themselves', async () => {
    await world.server.restart('orderly');
    await on(devices[0]).send('after all restarts');
    await until(() => devices.slice(1).every((device) => on(device).texts.at(-1) === 'after all restarts'), 10_000);
    await newcomer.sync();
    assert.equal(on(newcomer).texts.at(-1), 'after all restarts');
  });
});
