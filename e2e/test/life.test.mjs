/**
 * The life of a device: first start, comparing key packages, a reinstalled app, a lost phone.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { isError } from '../lib/api.mjs';
import { until } from '../lib/until.mjs';
import { World } from '../lib/world.mjs';

/** @typedef {import('../lib/client.mjs').Device} Device */
/** @typedef {import('../lib/client.mjs').User} User */

describe('the devices of one user', () => {
  /** @type {World} */
  let world;
  /** @type {User} */
  let alice;
  /** @type {User} */
  let bob;
  /** @type {Device} */
  let laptop;
  /** @type {Device} */
  let phone;
  /** @type {Device} */
  let bobPhone;
  /** @type {string} */
  let id;

  const on = (/** @type {Device} */ device) => device.conversation(id);
  const leaves = (/** @type {Device} */ device) =>
    (on(device).group?.members() ?? []).filter(({ did }) => did === alice.did).map(({ deviceId }) => deviceId);

  before(async () => {
    world = await World.start();
    [alice, bob] = [await world.user('p256'), await world.user('k256')];
    laptop = await alice.device('laptop of alice');
    phone = await alice.device('phone of alice');
    bobPhone = await bob.device('phone of bob');
    id = (await bobPhone.createConvo({ members: [alice.did], verified: true })).id;
    for (const device of [laptop, phone]) await device.sync();
    await on(bobPhone).send('to both');
  });
  after(() => world?.stop());

  it('are listed, each with its stock and a last resort', async () => {
    const listed = await alice.devices();
    assert.deepEqual(
      listed.map(({ deviceId, credentialDid, lastResort }) => ({ deviceId, credentialDid, lastResort })).sort((a, b) => (a.deviceId < b.deviceId ? -1 : 1)),
      [laptop, phone]
        .map((device) => ({ deviceId: device.id, credentialDid: device.mlsDid, lastResort: true }))
        .sort((a, b) => (a.deviceId < b.deviceId ? -1 : 1)),
    );
    assert.ok(listed.every(({ keyPackageCount }) => keyPackageCount > 20));
  });

  it('compare what they have keys for', async () => {
    assert.equal((await laptop.compare()).deletedCount, 0);
    laptop.keys.forgetAll();
    const { publicPackage } = await laptop.keys.keyPackage(laptop.mlsDid);
    assert.ok(publicPackage);
    await laptop.publish();
    const output = await laptop.compare();
    assert.ok(output.deletedCount > 20, 'the others have no keys any more');
    await laptop.stockUp();
    assert.equal((await laptop.compare()).deletedCount, 0);
  });

  it('are replaced when an app is installed anew, and members let the old leaf go', async () => {
    const old = phone;
    // The service knows times to two seconds: the new phone has to come after the laptop by its clock, too.
    const tick = () => Math.floor(Date.now() / 2000);
    const registered = tick();
    await until(() => tick() > registered);
    phone = await alice.reinstall('phone of alice, again', old.id);
    assert.deepEqual(phone.awaited, [id]);
    await laptop.sync({ settle: true });
    await bobPhone.sync({ settle: true });
    await laptop.sync({ settle: true });
    await phone.sync();
    assert.deepEqual(leaves(laptop).sort(), [laptop.id, phone.id].sort());
    assert.deepEqual(on(laptop).requests, []);
    const sent = await on(bobPhone).send('to the new phone');
    assert.ok(sent);
    await phone.sync();
    assert.ok(on(phone).texts.includes('to the new phone'));
  });

  it('are not thrown out by whoever has come today', async () => {
    await assert.rejects(alice.deleteDevice(laptop.id), (/** @type {any} */ error) => isError(error, 'DeviceProofRequired'));
    await assert.rejects(alice.deleteDevice(laptop.id, await phone.prove({ removed: laptop.id })), (/** @type {any} */ error) =>
      isError(error, 'DeviceProofRequired'),
    );
  });

  it('are gone when they are lost, and can do nothing more', async () => {
    await alice.deleteDevice(phone.id);
    assert.equal((await alice.devices()).length, 1);
    await assert.rejects(phone.publish(), (/** @type {any} */ error) => isError(error, 'InvalidKeyPackage'));
    await assert.rejects(on(phone).update({ asPublicMessage: true }), (/** @type {any} */ error) => isError(error, 'InvalidCommit'));
    await bobPhone.sync({ settle: true });
    await laptop.sync({ settle: true });
    assert.deepEqual(leaves(laptop), [laptop.id]);
    await on(laptop).send('the phone is gone');
    await bobPhone.sync();
    assert.ok(on(bobPhone).texts.includes('the phone is gone'));
  });

  it('may all be gone, and their user is still there', async () => {
    await alice.deleteDevice(laptop.id, await laptop.prove({ removed: laptop.id }));
    assert.deepEqual(await alice.devices(), []);
    const tablet = await alice.device('tablet of alice');
    assert.deepEqual(tablet.awaited, [id]);
    await until(async () => {
      await bobPhone.sync({ settle: true });
      await tablet.sync();
      return leaves(tablet).length > 0;
    });
    assert.deepEqual(leaves(tablet), [tablet.id]);
  });
});
