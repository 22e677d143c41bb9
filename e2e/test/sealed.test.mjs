/**
 * Sealed sends with a real exporter: members derive the key of their epoch each by itself, one of them gives it to the service,
 * and any of them sends without saying who it is.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { getCiphersuiteFromName, mlsExporter } from 'ts-mls';
import { makeHashImpl } from 'ts-mls/crypto/implementation/default/makeHashImpl.js';
import { makeKdf, makeKdfImpl } from 'ts-mls/crypto/implementation/default/makeKdfImpl.js';
import { Client, directAgent, isError, mls, SEND_KEY } from '../lib/package.mjs';
import { CALLS, OURS, SEALED, works } from '../lib/seen.mjs';
import { fromHex, toHex } from '../lib/text.mjs';
import { World } from '../lib/world.mjs';

it('the send keys of the test vectors are those of a library', async () => {
  const vectors = JSON.parse(readFileSync(new URL('../../client/sealed/testdata/vectors.json', import.meta.url), 'utf8'));
  for (const v of vectors.exporter) {
    // An exporter needs these two of a suite, and the library lacks the signatures of some.
    const { hpke, hash } = getCiphersuiteFromName(v.cipherSuite);
    const suite = { .../** @type {import('ts-mls').CiphersuiteImpl} */ ({}), kdf: makeKdfImpl(makeKdf(hpke.kdf)), hash: makeHashImpl(crypto.subtle, hash) };
    assert.equal(toHex(await mlsExporter(fromHex(v.exporterSecret), SEND_KEY.label, fromHex(v.groupId), SEND_KEY.length, suite)), v.sendKey);
  }
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
  /** Sends it as whoever is not known. */
  const send = (/** @type {import('../lib/package.mjs').Sealed} */ message) => new Client(directAgent({ url: alice.api.url })).call(mls.sendSealed, message);

  it('takes what a member sends who does not say so', async () => {
    assert.deepEqual(await group(alice).sendKey(), await group(bob).sendKey());
    assert.equal(await deposit(bob), true);
    assert.equal(await deposit(alice), true);
    const message = await alice.conversation(id).seal('guess who');
    assert.equal((await send(message)).messageId, message.msgId);
    await bob.sync();
    const got = bob.conversation(id).received.find(({ text }) => text === 'guess who');
    assert.equal(got?.sender.did, alice.did); // MLS says it to the members
  });

  it('follows the epoch', async () => {
    const key = await group(alice).sendKey();
    const late = await alice.conversation(id).seal('too late');
    await bob.conversation(id).update();
    await alice.sync();
    await assert.rejects(send(late), (error) => isError(error, 'EpochMismatch'));
    assert.equal(await deposit(alice), true);
    const outdated = await bob.conversation(id).seal('by the key before', key);
    await assert.rejects(send(outdated), (error) => isError(error, 'ConvoNotFound'));
    await send(await bob.conversation(id).seal('of this epoch'));
    await alice.sync();
    assert.ok(alice.conversation(id).texts.includes('of this epoch'));
  });

  it('does what docs/clients.json says', () => {
    works(import.meta.url, { [OURS]: [CALLS, SEALED] });
  });
});
