/**
 * A conversation outlives its MLS group: when everybody has lost it, when the only one left has, when two begin another one.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { isError } from '../lib/api.mjs';
import { World } from '../lib/world.mjs';

/** @typedef {import('../lib/client.mjs').Device} Device */

describe('reset', () => {
  /** @type {World} */
  let world;
  /** @type {Device} */
  let alice;
  /** @type {Device} */
  let bob;
  /** @type {Device} */
  let carol;
  /** @type {import('../lib/client.mjs').User} */
  let carols;
  /** @type {string} */
  let id;

  const on = (/** @type {Device} */ device) => device.conversation(id);
  const log = async (/** @type {Device} */ device) => (await device.api.query('getMessages', { convoId: id })).messages;

  before(async () => {
    world = await World.start();
    const users = [await world.user('k256'), await world.user('p256'), await world.user('k256')];
    carols = users[2];
    [alice, bob, carol] = await Promise.all(users.map((user, i) => user.device(`phone ${i}`)));
    id = (await alice.createConvo({ members: [bob.did, carol.did] })).id;
    await Promise.all([bob.sync(), carol.sync()]);
    await on(bob).send('before');
    await Promise.all([alice.sync(), carol.sync()]);
  });
  after(() => world?.stop());

  it('brings a conversation back that all members have lost, with its history', async () => {
    const { group } = on(alice);
    for (const device of [alice, bob, carol]) await on(device).forget();
    carol = await carols.device('new phone'); // the old one is gone for good
    await alice.refresh();
    assert.equal(on(alice).requests.length, 1, 'nobody has a group to add it to');

    const view = await on(alice).reset();
    assert.equal(view.generation, 1);
    assert.equal(view.assurance, 'verified');
    assert.notEqual(view.groupId, group?.id);
    assert.deepEqual(view.pendingRequests ?? [], []);
    assert.deepEqual(new Set(view.members.map((/** @type {any} */ m) => m.userDid)), new Set([alice.did, bob.did, carol.did]));
    await on(alice).send('after');
    await Promise.all([bob.sync(), carol.sync()]);
    for (const device of [bob, carol]) assert.deepEqual(on(device).texts.at(-1), 'after');
    assert.deepEqual(
      (await log(carol)).map((/** @type {any} */ m) => m.messageType),
      ['app', 'notice', 'app'],
      'the log is one, across the groups',
    );
    await on(carol).update();
    await on(carol).send('with fresh keys');
    await Promise.all([alice.sync(), bob.sync()]);
    for (const device of [alice, bob]) assert.equal(on(device).texts.at(-1), 'with fresh keys');
  });

  it('tells those who still speak of the old group, and they join the new one', async () => {
    const before = on(bob).group;
    assert.ok(before);
    await on(alice).reset();
    await assert.rejects(on(bob).send('too late'), (error) => isError(error, 'GroupReset') && String(error).includes(on(alice).view.groupId));
    await assert.rejects(on(carol).update(), (error) => isError(error, 'GroupReset'));
    await Promise.all([bob.sync(), carol.sync()]);
    assert.equal(on(bob).group?.id, on(alice).group?.id);
    await on(bob).send('in time');
    await Promise.all([alice.sync(), carol.sync()]);
    for (const device of [alice, carol]) assert.equal(on(device).texts.at(-1), 'in time');
  });

  it('is for admins as long as the group can go on', async () => {
    await assert.rejects(on(carol).reset(), (error) => isError(error, 'NotAdmin'));
  });

  it('saves the only one who is left, and has lost everything', async () => {
    await on(alice).remove(bob.did);
    await carol.sync();
    await on(carol).leave();
    await alice.sync({ settle: true });
    await alice.loseState();
    await assert.rejects(alice.api.procedure('leaveConvo', { convoId: id }), (error) => isError(error, 'LastMember'));
    const view = await on(alice).reset();
    assert.equal(view.generation, 3);
    await on(alice).send('alone');
    const dave = await (await world.user('p256')).device('laptop');
    await on(alice).add([dave.did]);
    await on(alice).send('not alone any more');
    await dave.sync();
    assert.deepEqual(on(dave).texts, ['not alone any more']);
    assert.equal(on(alice).group?.epoch, (await dave.api.query('getEpoch', { convoId: id })).currentEpoch);
  });
});
