/**
 * A device that lost its state comes back while a member is online; who was removed does not.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { isError } from '../lib/api.mjs';
import { writeKeyPackage } from '../lib/objects.mjs';
import { toBase64 } from '../lib/text.mjs';
import { until } from '../lib/until.mjs';
import { World } from '../lib/world.mjs';

/** @typedef {import('../lib/client.mjs').Device} Device */
/** @typedef {import('../lib/client.mjs').User} User */

/** What a member with a polling client is promised, in milliseconds. */
const WITHIN = 5000;
/** A Welcome confirmed so recently needs no rejoin, in milliseconds. */
const JUST_JOINED = 30_000;

describe('rejoin', () => {
  /** @type {World} */
  let world;
  /** @type {User} */
  let alice;
  /** @type {User} */
  let bob;
  /** @type {User} */
  let carol;
  /** @type {Device} */
  let alicePhone;
  /** @type {Device} */
  let bobPhone;
  /** @type {Device} */
  let carolPhone;
  /** @type {string} */
  let id;
  let confirmed = 0;

  const on = (/** @type {Device} */ device) => device.conversation(id);

  before(async () => {
    world = await World.start();
    [alice, bob, carol] = [await world.user('k256'), await world.user('p256'), await world.user('k256')];
    alicePhone = await alice.device('phone of alice');
    bobPhone = await bob.device('phone of bob', { base64: 'url', form: 'bare' });
    carolPhone = await carol.device('phone of carol');
    id = (await alicePhone.createConvo({ members: [bob.did, carol.did] })).id;
    await Promise.all([bobPhone.sync(), carolPhone.sync()]);
    confirmed = Date.now();
    await on(alicePhone).send('before the loss');
    await bobPhone.sync();
    assert.deepEqual(on(bobPhone).texts, ['before the loss']);
  });
  after(() => world?.stop());

  it('is refused to a device that has just joined', async () => {
    assert.ok(Date.now() - confirmed < JUST_JOINED);
    await assert.rejects(on(carolPhone).requestRejoin('state_loss'), (error) => isError(error, 'AlreadyMember'));
  });

  it('is refused to strangers, as if the conversation did not exist', async () => {
    const mallory = await world.user();
    const device = await mallory.device('phone of mallory');
    const own = await device.keys.keyPackage(device.mlsDid);
    const ask = (/** @type {string} */ convoId) =>
      mallory.api.procedure('requestRejoin', {
        convoId,
        keyPackage: toBase64(writeKeyPackage(own.publicPackage, 'wrapped'), 'standard'),
      });
    /** @type {string[]} */
    const messages = [];
    for (const convoId of [id, '3lzzzzzzzzzzz']) {
      await assert.rejects(ask(convoId), (error) => {
        messages.push(/** @type {Error} */ (error).message);
        return isError(error, 'ConvoNotFound');
      });
    }
    assert.equal(messages[0], messages[1]);
  });

  it('is asked for once: a repeated request is the open one, with the newer key package', async () => {
    await until(() => Date.now() - confirmed > JUST_JOINED, JUST_JOINED + 5000);
    await carolPhone.loseState();
    await carolPhone.sync();
    assert.equal(on(carolPhone).group, undefined, 'the Welcome of before is used up');
    const first = await on(carolPhone).requestRejoin('device_reinstall');
    assert.equal(first.pending, true);
    await carolPhone.loseState();
    const second = await on(carolPhone).requestRejoin('device_reinstall');
    assert.equal(second.requestId, first.requestId);
    await alicePhone.sync();
    assert.deepEqual(
      on(alicePhone).requests.map(({ kind, userDid, deviceId }) => ({ kind, userDid, deviceId })),
      [{ kind: 'rejoin', userDid: carol.did, deviceId: carolPhone.id }],
    );
  });

  it('brings a device back within five seconds while a member polls', async (t) => {
    world.keepOnline(alicePhone);
    const back = (/** @type {Device} */ device) =>
      until(async () => {
        await device.sync();
        return on(device).group !== undefined;
      }, WITHIN);
    await back(carolPhone);

    await bobPhone.loseState();
    const epoch = on(carolPhone).group?.epoch ?? 0;
    const start = performance.now();
    await on(bobPhone).requestRejoin('state_loss');
    await back(bobPhone);
    const took = performance.now() - start;
    assert.ok(took < WITHIN);
    t.diagnostic(`reading again after ${Math.round(took)} ms`);
    const { group } = on(bobPhone);
    assert.equal(group?.epoch, epoch + 1);
    assert.equal(group?.members().length, 3, 'the old leaf went with the commit that brought the new one');

    await on(alicePhone).send('you are back');
    await on(bobPhone).send('and I can write');
    await Promise.all([bobPhone, carolPhone].map((device) => device.sync()));
    assert.equal(on(bobPhone).texts.at(-1), 'you are back');
    assert.deepEqual(on(carolPhone).texts.slice(-2), ['you are back', 'and I can write']);
    assert.deepEqual(on(carolPhone).requests, [], 'nothing is owed any more');
  });

  it('is impossible after a removal', async () => {
    await on(alicePhone).remove(bob.did, 'test');
    await assert.rejects(on(bobPhone).requestRejoin('state_loss'), (error) => isError(error, 'ConvoNotFound'));
    await bobPhone.sync();
    assert.ok(on(bobPhone).gone);
  });
});
