import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Client, directAgent, fromHex, mls, prove, sealed, sendKey, toHex, unpad } from '../dist/index.js';
import { serve } from './lib/service.mjs';

const vectors = JSON.parse(readFileSync(new URL('../../../client/sealed/testdata/vectors.json', import.meta.url), 'utf8'));

test('send keys and proofs are those of the test vectors', async () => {
  assert.ok(vectors.exporter.length >= 3 && vectors.proofs.length >= 4);
  for (const { cipherSuite, exporterSecret, groupId, sendKey: want } of vectors.exporter) {
    assert.equal(toHex(await sendKey({ cipherSuite, exporterSecret: fromHex(exporterSecret), groupId: fromHex(groupId) })), want, cipherSuite);
  }
  for (const { name, sendKey: key, ciphertextByte, ciphertextLength, proof, ...statement } of vectors.proofs) {
    const ciphertext = new Uint8Array(ciphertextLength).fill(Number.parseInt(ciphertextByte, 16));
    assert.equal(toHex(await prove(fromHex(key), { ...statement, ciphertext })), proof, name);
  }
  await assert.rejects(sendKey({ cipherSuite: 'MLS_128', exporterSecret: new Uint8Array(32), groupId: new Uint8Array(16) }), TypeError);
});

/** An MLSMessage with a PrivateMessage of nothing. */
const message = Uint8Array.from([0, 1, 0, 2, ...new Array(13).fill(0)]);

test('a sealed message is proved as it goes out', async (t) => {
  const key = new Uint8Array(32).fill(7);
  const input = await sealed(key, 'convo', 3, message);
  assert.deepEqual(unpad(input.ciphertext), message);
  assert.equal(input.paddedSize, 512);
  assert.match(input.msgId, /^[0-9a-f]{8}-[0-9a-f]{4}-4/);
  assert.deepEqual(input.proof, await prove(key, input));
  assert.notEqual((await sealed(key, 'convo', 3, message)).msgId, input.msgId);
  const { url, asked } = await serve(t, () => ({ body: { messageId: input.msgId, receivedAt: '2026-01-15T09:30:00Z', seq: 1, epoch: 3 } }));
  assert.equal((await new Client(directAgent({ url })).call(mls.sendSealed, input)).messageId, input.msgId);
  const { proof, ciphertext, ...rest } = JSON.parse(asked[0]?.body ?? '');
  assert.deepEqual(rest, { convoId: 'convo', msgId: input.msgId, epoch: 3, paddedSize: 512 });
  assert.deepEqual([Buffer.from(proof.$bytes, 'base64'), Buffer.from(ciphertext.$bytes, 'base64')], [Buffer.from(input.proof), Buffer.from(input.ciphertext)]);
});

test('a sealed message goes over a connection that carries nothing else', async (t) => {
  /** @type {Map<import('node:net').Socket, string[]>} */
  const connections = new Map();
  const { url } = await serve(t, ({ path }, response) => {
    const socket = /** @type {import('node:net').Socket} */ (response.socket);
    connections.set(socket, [...(connections.get(socket) ?? []), path.replace(/^.*\./, '').replace(/\?.*/, '')]);
    return { body: { convoId: 'c', currentEpoch: 3, messageId: 'm', receivedAt: '2026-01-15T09:30:00Z', seq: 1, epoch: 3 } };
  });
  const client = new Client(directAgent({ url, token: async () => 't' }));
  for (let i = 0; i < 2; i++) {
    await client.call(mls.getEpoch, { convoId: 'c' });
    await client.call(mls.sendSealed, await sealed(new Uint8Array(32).fill(7), 'c', 3, message));
  }
  const alone = [...connections.values()].filter((paths) => paths.includes('sendSealed'));
  assert.deepEqual(alone, [['sendSealed'], ['sendSealed']]);
});

test('a sealed message that was lost goes again as it is, and a signal ends it', async (t) => {
  let n = 0;
  const { url, asked } = await serve(t, (_, response) => {
    if (++n === 1) return void response.destroy();
    if (n === 2) return { status: 503, body: { error: 'NotEnoughResources', message: 'The server is busy; try again in 2 seconds' } };
    if (n === 3) return { body: { messageId: 'm', receivedAt: '2026-01-15T09:30:00Z', seq: 1, epoch: 3 } };
    return undefined;
  });
  const client = new Client(directAgent({ url, patience: { sleep: async () => {} } }));
  const input = await sealed(new Uint8Array(32).fill(7), 'c', 3, message);
  await client.call(mls.sendSealed, input);
  assert.deepEqual(asked.map(({ body }) => body), new Array(3).fill(asked[0]?.body));
  const controller = new AbortController();
  const call = client.call(mls.sendSealed, input, { signal: controller.signal });
  while (asked.length < 4) await new Promise((resolve) => setImmediate(resolve));
  controller.abort(new Error('enough'));
  await assert.rejects(call);
  assert.equal(asked.length, 4);
});
