/**
 * A verified conversation: handshakes are public messages, every commit brings the GroupInfo of the epoch that it leads to,
 * and the service holds what it writes down against both.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { isError } from '../lib/api.mjs';
import { pad } from '../lib/package.mjs';
import { toBase64, ulid } from '../lib/text.mjs';
import { VERIFIED, version, works } from '../lib/seen.mjs';
import { World } from '../lib/world.mjs';

/** @typedef {import('../lib/client.mjs').Device} Device */
/** @typedef {import('../lib/client.mjs').User} User */

describe('verified conversation', () => {
  /** @type {World} */
  let world;
  /** @type {User[]} */
  let users;
  /** @type {Device[]} */
  let devices;
  /** @type {string} */
  let id;

  const on = (/** @type {Device} */ device) => device.conversation(id);
  const settle = async () => {
    for (const device of devices) await device.sync({ settle: true });
    for (const device of devices) await device.sync();
  };
  const said = async (/** @type {Device} */ speaker, /** @type {string} */ text, /** @type {Device[]} */ listeners) => {
    await on(speaker).send(text);
    for (const listener of listeners) {
      await listener.sync();
      assert.ok(on(listener).texts.includes(text), text);
    }
  };

  before(async () => {
    world = await World.start();
    users = [await world.user('k256'), await world.user('p256'), await world.user('k256')];
    devices = await Promise.all(users.map((user, i) => user.device(`phone ${i}`, i === 1 ? { base64: 'url', form: 'bare' } : {})));
    const [alice] = devices;
    const convo = await alice.createConvo({ members: [users[1].did], verified: true });
    id = convo.id;
    assert.equal(convo.view.assurance, 'verified');
    await devices[1].sync();
  });
  after(() => world?.stop());

  it('carries texts, fresh keys and additions', async () => {
    const [alice, bob, carol] = devices;
    await said(alice, 'hello', [bob]);
    await on(bob).update();
    await said(bob, 'with fresh keys', [alice]);
    await on(alice).add([users[2].did]);
    await carol.sync();
    await said(carol, 'here I am', [alice, bob]);
  });

  it('adds a second device', async () => {
    const [alice, bob, carol] = devices;
    const laptop = await users[0].device('laptop');
    devices.push(laptop);
    await settle();
    await said(laptop, 'from the laptop', [alice, bob, carol]);
  });

  it('refuses a commit whose GroupInfo is of another epoch', async () => {
    const [alice] = devices;
    await alice.sync();
    const { group } = on(alice);
    assert.ok(group);
    const staged = await group.stage({ asPublicMessage: true });
    const ciphertext = pad(staged.bytes, 'direct');
    await assert.rejects(
      alice.api.procedure('sendMessage', {
        convoId: id,
        msgId: ulid(),
        idempotencyKey: ulid(),
        ciphertext,
        epoch: group.epoch,
        paddedSize: ciphertext.length,
        groupInfo: toBase64(await group.groupInfo(), 'standard'),
      }),
      (error) => isError(error, 'InvalidGroupInfo') && /WrongEpoch/.test(String(error)),
    );
  });

  it('lets members leave and be removed', async () => {
    const [alice, bob, carol] = devices;
    await carol.sync();
    await on(carol).leave();
    await settle();
    await said(bob, 'without carol', [alice]);
    assert.ok(!on(carol).texts.includes('without carol'));
    await on(alice).remove(users[1].did);
    await said(alice, 'without bob', [devices[3]]);
    await bob.sync();
    assert.ok(on(bob).gone);
  });

  it('does what docs/clients.json says', () => {
    works(import.meta.url, { [version('ts-mls')]: [VERIFIED] });
  });
});
