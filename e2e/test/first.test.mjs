/**
 * From nothing to a conversation: three users, four devices, over HTTP with real service tokens.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { isError } from '../lib/api.mjs';
import { MAX_SIZE } from '../lib/package.mjs';
import { CALLS, OPAQUE, version, works } from '../lib/seen.mjs';
import { World } from '../lib/world.mjs';

/** @typedef {import('../lib/client.mjs').Device} Device */
/** @typedef {import('../lib/client.mjs').User} User */

describe('three users, four devices', () => {
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
  let bobLaptop;
  /** @type {Device} */
  let carolPhone;
  /** @type {string} */
  let id;
  /** @type {string[]} what was said before Carol came */
  const said = [];

  const on = (/** @type {Device} */ device) => device.conversation(id);

  before(async () => {
    world = await World.start();
  });
  after(() => world?.stop());

  it('register devices and publish key packages, each client in its own style', async () => {
    [alice, bob, carol] = [await world.user('k256'), await world.user('p256'), await world.user('k256')];
    alicePhone = await alice.device("alice's phone");
    bobPhone = await bob.device("bob's phone", { base64: 'url', form: 'bare', padding: 'prefixed' });
    bobLaptop = await bob.device("bob's laptop", { base64: 'url' });
    carolPhone = await carol.device("carol's phone", { padding: 'prefixed' });
    assert.notEqual(bobPhone.id, bobLaptop.id);
    assert.equal(bobPhone.mlsDid, `${bob.did}#${bobPhone.id}`);
    const stats = await bob.api.query('getKeyPackageStats');
    assert.equal(stats.available, 2 * (2 + 24 + 1));
    assert.equal(stats.needsReplenish, false);
  });

  it('creates a group', async () => {
    const convo = await alicePhone.createConvo({ name: "alice's reading circle" });
    id = convo.id;
    assert.equal(convo.view.epoch, 0);
    assert.equal(convo.view.creator, alice.did);
    assert.equal(convo.view.metadata.name, "alice's reading circle");
    assert.deepEqual(
      convo.view.members.map((/** @type {any} */ m) => [m.userDid, m.isAdmin]),
      [[alice.did, true]],
    );
  });

  it('adds a user with two devices by one commit, and a Welcome reaches each device', async () => {
    const output = await on(alicePhone).add([bob.did]);
    assert.equal(output.newEpoch, 1);
    await Promise.all([bobPhone.sync(), bobLaptop.sync()]);
    for (const device of [bobPhone, bobLaptop]) {
      assert.equal(on(device).group?.epoch, 1);
      assert.equal(on(device).group?.id, on(alicePhone).group?.id);
      await assert.rejects(device.api.query('getWelcome', { convoId: id, deviceId: device.id }), (error) => isError(error, 'WelcomeNotFound'));
    }
    const { commits } = await bob.api.query('getCommits', { convoId: id, fromEpoch: 0 });
    assert.deepEqual(
      commits.map((/** @type {any} */ c) => c.epoch),
      [],
      'the commit that added bob is from before his join',
    );
  });

  it('carries texts both ways, and the sender comes from MLS', async () => {
    const say = async (/** @type {Device} */ device, /** @type {string} */ text) => {
      said.push(text);
      return on(device).send(text);
    };
    const first = await say(alicePhone, 'hello bob');
    await say(bobPhone, 'hello alice, from the phone');
    await say(bobLaptop, `a long one from the laptop ${'.'.repeat(20_000)}`);
    const last = await say(alicePhone, 'goodbye');
    assert.equal(last.seq, first.seq + 3);
    assert.match(last.receivedAt, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d[02468]Z$/);
    await Promise.all([alicePhone.sync(), bobPhone.sync(), bobLaptop.sync()]);
    const heard = (/** @type {Device} */ device) => on(device).received.map((m) => [m.sender.did, m.text]);
    assert.deepEqual(heard(alicePhone), [
      [bob.did, said[1]],
      [bob.did, said[2]],
    ]);
    assert.deepEqual(heard(bobPhone), [
      [alice.did, said[0]],
      [bob.did, said[2]],
      [alice.did, said[3]],
    ]);
    assert.deepEqual(heard(bobLaptop), [
      [alice.did, said[0]],
      [bob.did, said[1]],
      [alice.did, said[3]],
    ]);
  });

  it('tells nothing about the sender, and no time finer than two seconds', async () => {
    const { messages } = await alice.api.query('getMessages', { convoId: id });
    assert.equal(messages.length, 5, 'a commit and four texts');
    for (const message of messages) {
      assert.match(message.createdAt, /:\d[02468]Z$/);
      assert.equal(JSON.stringify(message).includes('did:'), false);
    }
    assert.deepEqual(
      messages.map((/** @type {any} */ m) => m.messageType),
      ['commit', 'app', 'app', 'app', 'app'],
    );
    assert.deepEqual(
      messages.map((/** @type {any} */ m) => m.seq),
      [1, 2, 3, 4, 5],
    );
  });

  it('lets another member commit the next addition', async () => {
    const output = await on(bobLaptop).add([carol.did]);
    assert.equal(output.newEpoch, 2);
    await Promise.all([alicePhone.sync(), bobPhone.sync(), carolPhone.sync()]);
    for (const device of [alicePhone, bobPhone, bobLaptop, carolPhone]) {
      const { group } = on(device);
      assert.equal(group?.epoch, 2);
      assert.deepEqual(new Set(group.members().map((m) => m.did)), new Set([alice.did, bob.did, carol.did]));
      assert.equal(group.members().length, 4);
    }
    const { commits } = await alice.api.query('getCommits', { convoId: id, fromEpoch: 1 });
    assert.deepEqual(
      commits.map((/** @type {any} */ c) => [c.epoch, c.sender]),
      [[1, bob.did]],
    );
  });

  it('serves a late joiner nothing from before', async () => {
    assert.deepEqual(on(carolPhone).texts, []);
    assert.deepEqual(on(carolPhone).unreadable, []);
    const served = await carol.api.query('getMessages', { convoId: id });
    assert.deepEqual(served.messages, []);
    const { messages } = await alice.api.query('getMessages', { convoId: id });
    for (const message of messages.filter((/** @type {any} */ m) => m.messageType === 'app')) {
      await assert.rejects(
        /** @type {import('../lib/mls.mjs').Group} */ (on(carolPhone).group).open(message.ciphertext),
        /no keys of epoch/,
        'even the ciphertexts of before would be of no use',
      );
    }
    await on(alicePhone).send('welcome carol');
    await on(carolPhone).send('thank you', { tellSize: true });
    await Promise.all([alicePhone, bobPhone, bobLaptop, carolPhone].map((device) => device.sync()));
    assert.deepEqual(on(carolPhone).texts, ['welcome carol']);
    assert.equal(on(alicePhone).received.at(-1)?.text, 'thank you');
    assert.equal(on(alicePhone).received.at(-1)?.sender.did, carol.did);
    assert.deepEqual(on(bobPhone).texts.slice(-2), ['welcome carol', 'thank you']);
  });

  it('carries ten mebibytes, and no more', async () => {
    const overhead = 512;
    const text = 'x'.repeat(MAX_SIZE - overhead);
    await on(bobPhone).send(text);
    await alicePhone.sync();
    assert.ok(on(alicePhone).texts.at(-1) === text);
    await assert.rejects(on(bobPhone).send('x'.repeat(MAX_SIZE)), RangeError);
  });

  it('keeps the read position', async () => {
    assert.deepEqual(await on(carolPhone).markRead(), { success: true });
  });

  it('lets everyone commit at the same time: all succeed, one after the other', async () => {
    const devices = [alicePhone, bobPhone, bobLaptop, carolPhone];
    await Promise.all(devices.map((device) => on(device).update()));
    await Promise.all(devices.map((device) => device.sync()));
    const { currentEpoch } = await carol.api.query('getEpoch', { convoId: id });
    assert.equal(currentEpoch, 6);
    for (const device of devices) assert.equal(on(device).group?.epoch, 6);
    const { commits } = await alice.api.query('getCommits', { convoId: id, fromEpoch: 0 });
    assert.deepEqual(
      commits.map((/** @type {any} */ c) => c.epoch),
      [0, 1, 2, 3, 4, 5],
    );
    await on(carolPhone).send('all keys are new');
    await alicePhone.sync();
    assert.equal(on(alicePhone).texts.at(-1), 'all keys are new');
  });

  it('takes the group id for the conversation id', async () => {
    const groupId = on(alicePhone).group?.id ?? '';
    assert.equal((await alice.api.query('getEpoch', { convoId: groupId })).convoId, id);
    assert.match(groupId, /^[0-9a-f]{32}$/);
  });

  it('creates a group with members in it from the beginning', async () => {
    const convo = await carolPhone.createConvo({ members: [alice.did, bob.did] });
    assert.equal(convo.view.epoch, 1);
    await Promise.all([alicePhone.sync(), bobPhone.sync(), bobLaptop.sync()]);
    await bobLaptop.conversation(convo.id).send('there at once');
    await Promise.all([alicePhone.sync(), bobPhone.sync(), carolPhone.sync()]);
    for (const device of [alicePhone, bobPhone, carolPhone]) {
      assert.deepEqual(device.conversation(convo.id).texts, ['there at once']);
    }
  });

  it('does what docs/clients.json says', () => {
    works(import.meta.url, { [version('@atproto/xrpc')]: [CALLS], [version('ts-mls')]: [OPAQUE] });
  });
});
