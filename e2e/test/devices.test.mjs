/**
 * Several devices of a user: a registration makes others owe an addition, and whoever is there commits it.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { until } from '../lib/until.mjs';
import { World } from '../lib/world.mjs';

/** @typedef {import('../lib/client.mjs').Device} Device */
/** @typedef {import('../lib/client.mjs').User} User */

describe('three devices of one user', () => {
  /** @type {World} */
  let world;
  /** @type {User} */
  let alice;
  /** @type {User} */
  let bob;
  /** @type {Device} */
  let alicePhone;
  /** @type {Device} */
  let aliceLaptop;
  /** @type {Device} */
  let aliceTablet;
  /** @type {Device} */
  let bobPhone;
  /** @type {string} */
  let id;

  const on = (/** @type {Device} */ device) => device.conversation(id);

  before(async () => {
    world = await World.start();
    [alice, bob] = [await world.user('p256'), await world.user('k256')];
    alicePhone = await alice.device('phone of alice');
    bobPhone = await bob.device('phone of bob');
    id = (await alicePhone.createConvo({ members: [bob.did] })).id;
    await bobPhone.sync();
    await on(bobPhone).send('only the phone can read this');
  });
  after(() => world?.stop());

  it('names the conversations that a new device is to join', async () => {
    aliceLaptop = await alice.device('laptop of alice', { base64: 'url', form: 'bare' });
    assert.deepEqual(aliceLaptop.awaited, [id]);
    await aliceLaptop.sync();
    assert.equal(on(aliceLaptop).group, undefined, 'a registration alone lets nobody in');
    for (const device of [alicePhone, bobPhone]) {
      await device.sync();
      assert.deepEqual(
        on(device).requests.map(({ kind, userDid, deviceId }) => ({ kind, userDid, deviceId })),
        [{ kind: 'device', userDid: alice.did, deviceId: aliceLaptop.id }],
      );
    }
  });

  it("is settled by the user's own other device", async () => {
    await alicePhone.sync({ settle: true });
    await aliceLaptop.sync();
    assert.equal(on(aliceLaptop).group?.epoch, 2);
    assert.deepEqual(
      on(aliceLaptop).unreadable.map((m) => m.epoch),
      [1],
      'the user was there, but this device has no keys of that time',
    );
    await bobPhone.sync();
    assert.deepEqual(on(bobPhone).requests, []);
  });

  it('is settled by another member when the own devices are away', async () => {
    aliceTablet = await alice.device('tablet of alice', { padding: 'prefixed' });
    assert.deepEqual(aliceTablet.awaited, [id]);
    world.keepOnline(bobPhone);
    await until(async () => {
      await aliceTablet.sync();
      return on(aliceTablet).group !== undefined;
    });
    assert.equal(on(aliceTablet).group?.members().length, 4);
  });

  it('lets all three read and write', async () => {
    await on(bobPhone).send('to all three of you');
    await on(aliceTablet).send('from the tablet');
    await Promise.all([alicePhone, aliceLaptop, aliceTablet, bobPhone].map((device) => device.sync()));
    assert.deepEqual(on(alicePhone).texts, ['only the phone can read this', 'to all three of you', 'from the tablet']);
    assert.deepEqual(on(aliceLaptop).texts, ['to all three of you', 'from the tablet']);
    assert.deepEqual(on(aliceTablet).texts, ['to all three of you']);
    assert.deepEqual(on(bobPhone).texts, ['from the tablet']);
    assert.equal(on(bobPhone).received[0].sender.did, alice.did);
  });

  it('lists a row for each device, and one role for the user', async () => {
    const { view } = on(alicePhone);
    const rows = view.members.filter((/** @type {any} */ m) => m.userDid === alice.did);
    assert.deepEqual(
      new Set(rows.map((/** @type {any} */ m) => m.deviceId)),
      new Set([alicePhone.id, aliceLaptop.id, aliceTablet.id]),
    );
    assert.ok(rows.every((/** @type {any} */ m) => m.isAdmin));
  });

  it('adds devices of before when the user is added to another conversation', async () => {
    const other = await bobPhone.createConvo();
    await other.add([alice.did]);
    await Promise.all([alicePhone, aliceLaptop, aliceTablet].map((device) => device.sync()));
    await other.send('three Welcomes in one');
    for (const device of [alicePhone, aliceLaptop, aliceTablet]) {
      await device.sync();
      assert.deepEqual(device.conversation(other.id).texts, ['three Welcomes in one']);
    }
  });

  it('serves groups of another cipher suite beside these', async () => {
    const suite = 'MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519';
    const aliceWatch = await alice.device('watch of alice', { suite });
    const bobWatch = await bob.device('watch of bob', { suite });
    const convo = await aliceWatch.createConvo({ members: [bob.did] });
    assert.equal(convo.view.cipherSuite, suite);
    await bobWatch.sync();
    await bobWatch.conversation(convo.id).send('in another suite');
    await aliceWatch.sync();
    assert.deepEqual(convo.texts, ['in another suite']);
    await aliceWatch.sync({ settle: true });
    assert.equal(convo.group?.members().length, 2, 'devices of the other suite have no key package for this group');
  });
});
