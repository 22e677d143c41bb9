/**
 * Fresh keys, removals and leaving: commits through sendMessage, removeMember and leaveConvo.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { isError } from '../lib/api.mjs';
import { Group } from '../lib/mls.mjs';
import { World } from '../lib/world.mjs';

/** @typedef {import('../lib/client.mjs').Device} Device */
/** @typedef {import('../lib/client.mjs').User} User */

describe('membership', () => {
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

  const on = (/** @type {Device} */ device) => device.conversation(id);
  const group = (/** @type {Device} */ device) => /** @type {Group} */ (on(device).group);
  const all = () => [alicePhone, bobPhone, carolPhone];
  const isNotMember = (/** @type {unknown} */ error) => isError(error, 'NotMember');

  before(async () => {
    world = await World.start();
  });
  after(() => world?.stop());

  beforeEach(async () => {
    [alice, bob, carol] = [await world.user('k256'), await world.user('p256'), await world.user('k256')];
    alicePhone = await alice.device('phone of alice');
    bobPhone = await bob.device('phone of bob', { padding: 'prefixed', base64: 'url' });
    carolPhone = await carol.device('phone of carol', { form: 'bare' });
    id = (await alicePhone.createConvo({ members: [bob.did, carol.did] })).id;
    await Promise.all([bobPhone.sync(), carolPhone.sync()]);
  });

  it('updates keys by commits through sendMessage, private and public, padded in either form', async () => {
    await on(alicePhone).update();
    await on(bobPhone).update();
    const output = await on(carolPhone).update({ asPublicMessage: true });
    assert.equal(output.epoch, 3, 'the epoch in which the commit was made');
    await Promise.all(all().map((device) => device.sync()));
    for (const device of all()) assert.equal(group(device).epoch, 4);
    assert.equal((await bob.api.query('getEpoch', { convoId: id })).currentEpoch, 4);
    await on(bobPhone).send('with fresh keys');
    await carolPhone.sync();
    assert.deepEqual(on(carolPhone).texts, ['with fresh keys']);
  });

  it('refuses a message of a former epoch, and the client catches up', async () => {
    await on(alicePhone).update();
    const stale = await group(bobPhone).seal('made before the update');
    await assert.rejects(
      bob.api.procedure('sendMessage', {
        convoId: id,
        msgId: '01ARZ3NDEKTSV4RRFFQ69G5FAV',
        idempotencyKey: '01ARZ3NDEKTSV4RRFFQ69G5FAV',
        ciphertext: padded(stale),
        epoch: 1,
        paddedSize: 512,
      }),
      (error) => isError(error, 'EpochMismatch'),
    );
    await on(bobPhone).send('made after it');
    await alicePhone.sync();
    assert.deepEqual(on(alicePhone).texts, ['made after it']);
  });

  it('removes a user by an admin, with the commit, at once', async () => {
    await on(alicePhone).send('carol can read this');
    const output = await on(alicePhone).remove(carol.did, 'against the rules');
    assert.equal(output.ok, true);
    assert.equal(output.epochHint, 2);
    await on(alicePhone).send('carol cannot read this');
    await bobPhone.sync();
    assert.deepEqual(on(bobPhone).texts, ['carol can read this', 'carol cannot read this']);
    assert.equal(group(bobPhone).members().length, 2);

    await carolPhone.sync();
    assert.ok(on(carolPhone).gone);
    assert.deepEqual(on(carolPhone).texts, ['carol can read this']);
    assert.ok(group(carolPhone).removed, 'the last commit that she gets tells her that she is out');
    for (const read of ['getEpoch', 'getWelcome']) {
      await assert.rejects(carol.api.query(read, { convoId: id }), isNotMember, read);
    }
    const last = await carol.api.query('getCommits', { convoId: id, fromEpoch: 1 });
    assert.equal(last.commits.length, 1);
    await assert.rejects(carol.api.query('getCommits', { convoId: id, fromEpoch: 2 }), isNotMember);
    await assert.rejects(on(carolPhone).send('let me in'), isNotMember);
    const { messages } = await bob.api.query('getMessages', { convoId: id });
    assert.equal(messages.length, 3);
    await assert.rejects(group(carolPhone).open(messages[2].ciphertext));

    await on(alicePhone).add([carol.did]);
    await carolPhone.sync();
    await on(bobPhone).send('and back');
    await carolPhone.sync();
    assert.deepEqual(on(carolPhone).texts, ['carol can read this', 'and back']);
  });

  it('lets only admins remove', async () => {
    await assert.rejects(on(bobPhone).remove(carol.did), (error) => isError(error, 'NotAdmin'));
    assert.equal(group(bobPhone).epoch, 1, 'the refused commit is dropped');
    await on(bobPhone).send('still together');
    await carolPhone.sync();
    assert.deepEqual(on(carolPhone).texts, ['still together']);
  });

  it('keeps a removal without commit as a debt, which a commit through sendMessage pays', async () => {
    await alice.api.procedure('removeMember', { convoId: id, targetDid: carol.did, idempotencyKey: '01ARZ3NDEKTSV4RRFFQ69G5FB0' });
    await bobPhone.sync();
    assert.deepEqual(
      on(bobPhone).requests.map(({ kind, userDid }) => [kind, userDid]),
      [['removal', carol.did]],
    );
    assert.equal(group(bobPhone).members().length, 3);
    await on(bobPhone).commitRemoval(carol.did, { asPublicMessage: true });
    await Promise.all([alicePhone.sync({ settle: true }), bobPhone.sync()]);
    assert.equal(group(alicePhone).members().length, 2);
    await on(alicePhone).send('the two of us');
    await bobPhone.sync({ settle: true });
    assert.equal(on(bobPhone).texts.at(-1), 'the two of us');
    await settled([alicePhone, bobPhone]);
  });

  it('settles a debt by whichever member comes by', async () => {
    await alice.api.procedure('removeMember', { convoId: id, targetDid: carol.did, idempotencyKey: '01ARZ3NDEKTSV4RRFFQ69G5FB1' });
    await settled([bobPhone]);
    assert.equal(group(bobPhone).members().length, 2);
    assert.equal(group(bobPhone).epoch, 2);
    await alicePhone.sync();
    assert.equal(group(alicePhone).epoch, 2);
  });

  it('lets a user leave by a proposal, which another member commits before it says more', async () => {
    const output = await on(carolPhone).leave();
    assert.equal(output.success, true);
    assert.equal(output.newEpoch, 1);
    const { messages } = await carol.api.query('getMessages', { convoId: id });
    assert.equal(messages.at(-1).messageType, 'proposal', 'her own is the last that she reads');
    await assert.rejects(carol.api.query('getMessages', { convoId: id, sinceMessage: messages.at(-1).id }), isNotMember);
    assert.equal((await carol.api.procedure('leaveConvo', { convoId: id })).success, true, 'leaving twice is no error');

    await alicePhone.sync();
    assert.ok(group(alicePhone).hasProposals);
    await on(alicePhone).send('carol has left');
    assert.equal(group(alicePhone).epoch, 2);
    assert.equal(group(alicePhone).members().length, 2);
    await bobPhone.sync();
    assert.deepEqual(on(bobPhone).texts, ['carol has left']);
    assert.deepEqual(on(bobPhone).requests, [], 'the commit had to contain the proposal: nothing is owed');
    assert.deepEqual(on(bobPhone).claims.map(({ userDid }) => userDid), [carol.did], 'whether it does is for the others to say');
    await bobPhone.sync({ settle: true });
    await alicePhone.sync();
    assert.deepEqual(on(alicePhone).claims, []);
  });

  it('takes a user back who left, with a new Welcome', async () => {
    await on(carolPhone).leave();
    await on(bobPhone).send('she is gone');
    const output = await on(bobPhone).add([carol.did]);
    assert.equal(output.newEpoch, 3);
    await carolPhone.sync();
    assert.ok(!on(carolPhone).gone);
    await on(bobPhone).send('and back');
    await carolPhone.sync();
    assert.deepEqual(on(carolPhone).texts, ['and back']);
  });

  it('makes the longest-standing member admin when the last admin leaves', async () => {
    await on(alicePhone).leave();
    await settled([bobPhone, carolPhone]);
    const admins = on(bobPhone).view.members.filter((/** @type {any} */ m) => m.isAdmin);
    assert.equal(admins.length, 1);
    const output = admins[0].userDid === bob.did ? await on(bobPhone).remove(carol.did) : await on(carolPhone).remove(bob.did);
    assert.equal(output.ok, true);
  });

  /**
   * Lets devices settle until nothing is owed.
   *
   * @param {Device[]} devices
   */
  async function settled(devices) {
    for (let i = 0; i < 40; i++) {
      for (const device of devices) await device.sync({ settle: true });
      await devices[0].sync();
      if (on(devices[0]).requests.length === 0) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.fail('something is still owed');
  }
});

/** @param {Uint8Array} message */
function padded(message) {
  const bytes = new Uint8Array(512);
  bytes.set(message);
  return bytes;
}
