/**
 * A member commits what nobody can process. The others say so, the commit is taken back, and the conversation goes on.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { isError } from '../lib/api.mjs';
import { pad } from '../lib/package.mjs';
import { ulid } from '../lib/text.mjs';
import { World } from '../lib/world.mjs';

/** @typedef {import('../lib/client.mjs').Device} Device */

describe('garbage commit', () => {
  /** @type {World} */
  let world;
  /** @type {Device} */
  let alice;
  /** @type {Device} */
  let bob;
  /** @type {Device} */
  let mallory;
  /** @type {string} */
  let id;

  const on = (/** @type {Device} */ device) => device.conversation(id);

  before(async () => {
    world = await World.start();
    const users = [await world.user('k256'), await world.user('p256'), await world.user('k256')];
    [alice, bob, mallory] = await Promise.all(users.map((user, i) => user.device(`phone ${i}`)));
    id = (await alice.createConvo({ members: [bob.did, mallory.did] })).id;
    await Promise.all([bob.sync(), mallory.sync()]);
    await on(alice).send('before');
    await Promise.all([bob.sync(), mallory.sync()]);
  });
  after(() => world?.stop());

  it('is taken back when the others say so, and they go on in the epoch before it', async () => {
    const { group } = on(mallory);
    assert.ok(group);
    const { epoch } = group;
    const { bytes } = await group.stage();
    bytes[bytes.length - 1] ^= 1;
    const ciphertext = pad(bytes, 'direct');
    const commit = { convoId: id, msgId: ulid(), idempotencyKey: ulid(), ciphertext, epoch, paddedSize: ciphertext.length };
    await mallory.api.procedure('sendMessage', commit);
    for (const device of [alice, bob]) await assert.rejects(device.sync());

    assert.equal(await on(alice).reportCommit({ epoch, messageId: commit.msgId }), false, 'one of two is no majority');
    assert.equal(await on(alice).reportCommit({ epoch, messageId: commit.msgId }), false, 'nobody has two voices');
    assert.equal(await on(bob).reportCommit({ epoch, messageId: commit.msgId }), true);
    assert.equal((await alice.api.query('getEpoch', { convoId: id })).currentEpoch, epoch);
    assert.deepEqual((await alice.api.query('getCommits', { convoId: id, fromEpoch: epoch })).commits, []);
    await assert.rejects(mallory.api.procedure('sendMessage', commit), (error) => isError(error, 'CommitVoid'));

    await on(alice).send('after');
    await bob.sync();
    assert.deepEqual(on(bob).texts, ['before', 'after']);
    await on(bob).update();
    await on(bob).send('with fresh keys');
    await alice.sync();
    assert.equal(on(alice).texts.at(-1), 'with fresh keys');
  });
});
