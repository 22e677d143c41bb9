/**
 * Devices join by themselves: one that lost everything but its signature key while nobody else is online, and further ones of
 * a user, for which another one vouches. An account's token alone opens nothing.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { isError } from '../lib/api.mjs';
import { World } from '../lib/world.mjs';

/** @typedef {import('../lib/client.mjs').Device} Device */
/** @typedef {import('../lib/client.mjs').User} User */

/** What a device that comes back by itself is promised, in milliseconds. The fastest of its five returns counts. */
const WITHIN = 1000;

for (const verified of [true, false]) {
  describe(`joining by oneself, ${verified ? 'verified' : 'opaque'}`, () => {
    /** @type {World} */
    let world;
    /** @type {User} */
    let alice;
    /** @type {Device[]} */
    let phones;
    /** @type {string} */
    let id;

    const on = (/** @type {Device} */ device) => device.conversation(id);
    /** Deposits what a commit of a verified conversation brings along. */
    const open = async (/** @type {Device} */ device) => {
      await device.sync();
      if (!verified) assert.ok(await on(device).depositGroupInfo());
    };
    const said = async (/** @type {Device} */ speaker, /** @type {string} */ text, /** @type {Device[]} */ listeners) => {
      await on(speaker).send(text);
      for (const listener of listeners) {
        await listener.sync();
        assert.equal(on(listener).texts.at(-1), text);
      }
    };

    before(async () => {
      world = await World.start();
      const users = [await world.user('k256'), await world.user('p256'), await world.user('k256')];
      [alice] = users;
      phones = await Promise.all(users.map((user, i) => user.device(`phone ${i}`, i === 1 ? { base64: 'url', form: 'bare' } : {})));
      const [phone, ...others] = phones;
      id = (await phone.createConvo({ members: others.map((d) => d.did), verified })).id;
      await Promise.all(others.map((d) => d.sync()));
      await open(others[0]);
      await said(phone, 'before', others);
    });
    after(() => world?.stop());

    it('two devices join at the same time, and each once', async () => {
      const [phone, bob, carol] = phones;
      const others = [await alice.device('laptop'), await alice.device('tablet')];
      await Promise.all(others.map((d) => d.sync()));
      await assert.rejects(on(others[0]).joinByItself(), (error) => isError(error, 'ExternalJoinNotAllowed'));
      await Promise.all(others.map(async (d) => on(d).joinByItself(await on(phone).vouchFor(d.keys.publicKey))));
      await phone.sync();
      assert.deepEqual(on(phone).requests, []);
      assert.equal(on(phone).group?.members().length, 5);
      for (const d of others) await said(d, `from the ${d.name}`, [phone, bob, carol, ...others.filter((o) => o !== d)]);
      await on(phone).update();
      await said(phone, 'with fresh keys', [bob, carol, ...others]);
    });

    it('a device comes back with its old identity, and others go on with it', async () => {
      const [phone, bob, carol] = phones;
      await open(phone);
      const leaf = on(bob).group?.ownLeaf;
      await bob.loseState();
      await on(bob).joinByItself();
      assert.equal(on(bob).group?.ownLeaf, leaf);
      await said(bob, 'here I am again', [phone, carol]);
      await said(carol, 'welcome back', [bob]);
      await on(bob).update();
      await said(phone, 'all is well', [bob, carol]);
    });

    it('who holds the token alone stays outside', async () => {
      await open(phones[0]);
      const thief = await alice.device('burner');
      await thief.sync();
      await assert.rejects(on(thief).joinByItself(), (error) => isError(error, 'ExternalJoinNotAllowed'));
      await assert.rejects(on(thief).joinByItself(await thief.keys.sign(new Uint8Array(8))), (error) => isError(error, 'ExternalJoinNotAllowed'));
      const stranger = await (await world.user()).device('phone of a stranger');
      await assert.rejects(stranger.api.query('getGroupInfo', { convoId: id }), (error) => isError(error, 'ConvoNotFound'));
    });

    it('a lone survivor comes back in under a second with no other member online', async (t) => {
      const [phone] = phones;
      await open(phone);
      const took = [];
      for (let i = 0; i < 5; i++) {
        await phone.loseState();
        const began = performance.now();
        await on(phone).joinByItself();
        took.push(performance.now() - began);
      }
      t.diagnostic(`came back in ${took.map((ms) => ms.toFixed(0)).join(', ')} ms`);
      assert.ok(Math.min(...took) < WITHIN);
      await on(phone).send('I have not lost you');
      await assert.rejects(on(phone).joinByItself(), (error) => isError(error, 'RateLimitExceeded'));
      for (const d of phones.slice(1)) {
        await d.sync();
        assert.equal(on(d).texts.at(-1), 'I have not lost you');
      }
    });
  });
}
