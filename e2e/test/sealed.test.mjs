/**
 * Sealed sends with a real exporter: members derive the key of their epoch each by itself, one of them gives it to the service,
 * and any of them sends without saying who it is.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { mlsExporter } from 'ts-mls';
import { Keys } from '../lib/keys.mjs';
import { KEY_SIZE, LABEL, prove, sendSealed } from '../lib/sealed.mjs';
import { fromHex, toHex } from '../lib/text.mjs';
import { World } from '../lib/world.mjs';

describe('test vectors of sealed sends', () => {
  const vectors = JSON.parse(readFileSync(new URL('../../client/sealed/testdata/vectors.json', import.meta.url), 'utf8'));

  it('derives the send key by MLS-Exporter', async () => {
    for (const v of vectors.exporter) {
      const { suite } = await Keys.create(v.cipherSuite);
      assert.equal(toHex(await mlsExporter(fromHex(v.exporterSecret), LABEL, fromHex(v.groupId), KEY_SIZE, suite)), v.sendKey);
    }
  });

  it('makes the proofs', () => {
    for (const v of vectors.proofs) {
      const ciphertext = new Uint8Array(v.ciphertextLength).fill(Number.parseInt(v.ciphertextByte, 16));
      assert.equal(toHex(prove(fromHex(v.sendKey), { ...v, ciphertext })), v.proof, v.name);
    }
  });
});

describe('sealed sends', () => {
  /** @type {World} */
  let world;
  /** @type {import('../lib/client.mjs').Device} */
  let alice;
  /** @type {import('../lib/client.mjs').Device} */
  let bob;
  /** @type {string} */
  let id;

  before(async () => {
    world = await World.start();
    const users = [await world.user('k256'), await world.user('p256')];
    [alice, bob] = await Promise.all(users.map((user, i) => user.device(`phone ${i}`)));
    ({ id } = await alice.createConvo({ members: [users[1].did], verified: true }));
    await bob.sync();
  });
  after(() => world?.stop());

  const group = (/** @type {import('../lib/client.mjs').Device} */ device) => {
    const found = device.conversation(id).group;
    assert.ok(found);
    return found;
  };
  const deposit = async (/** @type {import('../lib/client.mjs').Device} */ device) =>
    (await device.api.procedure('depositSendKey', { convoId: id, epoch: group(device).epoch, sendKey: await group(device).sendKey() })).accepted;
  const seal = (/** @type {import('../lib/client.mjs').Device} */ device, /** @type {string} */ text) => device.conversation(id).seal(text);

  it('takes what a member sends who does not say so', async () => {
    const key = await group(alice).sendKey();
    assert.deepEqual(key, await group(bob).sendKey());
    assert.equal(await deposit(bob), true);
    assert.equal(await deposit(alice), true);
    const sealed = await seal(alice, 'guess who');
    assert.deepEqual(sealed.key, key);
    const { message } = sealed;
    const sent = await sendSealed(alice.api.url, key, message);
    assert.equal(sent.status, 200, JSON.stringify(sent.body));
    assert.equal(sent.body.messageId, message.msgId);
    await bob.sync();
    const got = bob.conversation(id).received.find(({ text }) => text === 'guess who');
    assert.equal(got?.sender.did, alice.did); // MLS says it to the members
  });

  it('follows the epoch', async () => {
    const { key, message: late } = await seal(alice, 'too late');
    await bob.conversation(id).update();
    await alice.sync();
    assert.equal((await sendSealed(alice.api.url, key, late)).body.error, 'EpochMismatch');
    assert.equal(await deposit(alice), true);
    const fresh = await seal(bob, 'of this epoch');
    assert.notDeepEqual(fresh.key, key);
    assert.equal((await sendSealed(bob.api.url, key, fresh.message)).body.error, 'ConvoNotFound');
    assert.equal((await sendSealed(bob.api.url, fresh.key, fresh.message)).status, 200);
    await alice.sync();
    assert.ok(alice.conversation(id).texts.includes('of this epoch'));
  });
});
