/**
 * A released library commits a removal without a path, which no other library takes. Where the service can read the commit it
 * refuses it; where it cannot, the members take it back.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { isError } from '../lib/api.mjs';
import { NextDevice } from '../lib/next.mjs';
import { toBase64 } from '../lib/text.mjs';
import { World } from '../lib/world.mjs';

/** @typedef {import('../lib/client.mjs').Device} Device */
/** @typedef {import('../lib/mls.mjs').Group} Group */

describe('a removal without a path', () => {
  /** @type {World} */
  let world;
  /** @type {Device} */
  let alice;
  /** @type {NextDevice} */
  let bob;
  /** @type {Device[]} */
  let leavers;
  /** @type {string} */
  let id;

  const on = (/** @type {Device} */ device) => device.conversation(id);
  const group = (/** @type {Device} */ device) => /** @type {Group} */ (on(device).group);
  const noPath = (/** @type {any} */ error) => isError(error, 'InvalidCommit') && /MissingUpdatePath/.test(error.message);

  before(async () => {
    world = await World.start();
    const users = [await world.user('k256'), await world.user('p256'), await world.user('k256')];
    const devices = await Promise.all(users.map((user, i) => user.device(`phone ${i}`)));
    [alice, ...leavers] = devices;
    bob = await NextDevice.register(await world.user('p256'));
    id = (await alice.createConvo({ members: [bob.user.did, ...leavers.map(({ did }) => did)] })).id;
    await Promise.all([bob.join(id), ...leavers.map((device) => device.sync())]);
  });
  after(() => world?.stop());

  /** Everybody who is left is in one epoch and reads what the others write. */
  async function together(/** @type {string} */ text) {
    await bob.sync();
    await bob.send(text);
    await on(alice).send(`${text}, too`);
    await Promise.all([alice.sync(), bob.sync()]);
    assert.equal(on(alice).texts.at(-1), text);
    assert.equal(bob.texts.at(-1), `${text}, too`);
    assert.equal(group(alice).epoch, bob.epoch);
    assert.equal((await alice.api.query('getEpoch', { convoId: id })).currentEpoch, bob.epoch);
  }

  it('is refused where the service can read it, by value and by reference', async () => {
    const [carol] = leavers;
    const { epoch } = group(alice);
    const leaf = group(carol).ownLeaf;
    await assert.rejects(bob.commit({ remove: [leaf], wireAsPublicMessage: true }), noPath);
    const proposal = await group(carol).proposeRemoval(leaf, { asPublicMessage: true });
    await carol.api.procedure('leaveConvo', { convoId: id, commit: toBase64(proposal, 'standard') });
    await bob.sync();
    await assert.rejects(bob.commit({ wireAsPublicMessage: true }), noPath);
    assert.equal((await alice.api.query('getEpoch', { convoId: id })).currentEpoch, epoch, 'nobody has moved');
    await on(alice).send('one is gone');
    assert.equal(group(alice).members().length, 3);
    await together('after the first');
  });

  it('is taken back where only the members can read it', async () => {
    const [, dave] = leavers;
    await dave.sync();
    await on(dave).leave();
    await bob.sync();
    const { epoch } = bob;
    const { messageId } = await bob.commit();
    await assert.rejects(alice.sync(), 'ts-mls 1.6.4 asks for the path');
    assert.equal((await alice.api.query('getEpoch', { convoId: id })).currentEpoch, epoch + 1);
    assert.equal(await on(alice).reportCommit({ epoch, messageId }), true, 'she is the only one who can say so');
    assert.equal((await alice.api.query('getEpoch', { convoId: id })).currentEpoch, epoch);
    await on(alice).send('both are gone');
    assert.equal(group(alice).members().length, 2);
    await together('after the second');
  });
});
