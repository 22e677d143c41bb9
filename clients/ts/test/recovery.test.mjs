import assert from 'node:assert/strict';
import { test } from 'node:test';
import { getCiphersuiteFromName, getCiphersuiteImpl } from 'ts-mls';
import { signWithLabel } from 'ts-mls/crypto/signature.js';
import { Client, DEVICE_CHANGE, deviceChange, directAgent, epochConflict, joinFromOutside, reportRemoval, reportUnprocessable, reportWelcome, signContent, toBase64, toHex, vouchContent } from '../dist/index.js';
import { serve } from './lib/service.mjs';

const late = (/** @type {number} */ epoch) => ({ error: 'EpochMismatch', message: `The commit was made in epoch 1: the conversation is at epoch ${epoch}; retry after 5 ms` });

test('a join begins again when somebody else was faster, and stops after a while', async (t) => {
  let lost = 0;
  let losses = 2;
  const { url, asked } = await serve(t, ({ path }) => {
    if (path.includes('getGroupInfo')) return { body: { groupInfo: toBase64(new Uint8Array([9, lost])), epoch: lost } };
    return lost < losses ? { status: 409, body: late(++lost) } : { body: { epoch: 7, rejoinedAt: '2026-01-15T09:30:00Z', messageId: 'm', seq: 3 } };
  });
  const client = new Client(directAgent({ url }));
  /** @type {number[]} */
  const made = [];
  const make = async (/** @type {Uint8Array} */ groupInfo, /** @type {number} */ epoch) => {
    assert.deepEqual(groupInfo, new Uint8Array([9, epoch]));
    made.push(epoch);
    return { commit: new Uint8Array([1, epoch]), groupInfo: new Uint8Array([2]), state: epoch };
  };
  const out = await joinFromOutside(client, 'c', make);
  assert.deepEqual([made, out.joined.state, out.epoch, out.messageId, out.seq], [[0, 1, 2], 2, 7, 'm', 3]);
  const sent = asked.filter(({ path }) => path.includes('processExternalCommit')).map(({ body }) => JSON.parse(body));
  assert.deepEqual(sent.map((input) => [input.convoId, input.externalCommit, input.groupInfo]), [0, 1, 2].map((epoch) => ['c', toBase64(new Uint8Array([1, epoch])), 'Ag==']));
  assert.equal(new Set(sent.map((input) => input.idempotencyKey)).size, 3, 'a new commit has a new key');
  [lost, losses] = [0, 9];
  await assert.rejects(joinFromOutside(client, 'c', make, { attempts: 2 }), (error) => epochConflict(error)?.epoch === 2);
});

test('EpochMismatch says where the conversation is, with and without its body', async (t) => {
  const commits = [{ epoch: 1, sender: 'did:web:bob.example', commitData: { $bytes: 'AQI' }, createdAt: '2026-01-15T09:30:00Z' }];
  for (const [body, want] of /** @type {const} */ ([
    [{ ...late(4), epoch: 4, retryAfterMs: 5, commits }, { epoch: 4, retryAfterMs: 5, commits: [{ epoch: 1, commitData: new Uint8Array([1, 2]) }] }],
    [late(4), { epoch: 4, retryAfterMs: 5, commits: [] }],
    [{ error: 'EpochMismatch', message: 'the conversation is at epoch 6' }, { epoch: 6, retryAfterMs: 0, commits: [] }],
    [{ error: 'GroupReset', message: 'the conversation is at epoch 6' }, undefined],
  ])) {
    const { url } = await serve(t, () => ({ status: 409, body }));
    await joinFromOutside(new Client(directAgent({ url })), 'c', async () => assert.fail()).catch((error) => assert.deepEqual(epochConflict(error), want));
  }
  assert.equal(epochConflict(new Error('the conversation is at epoch 6')), undefined);
});

test('reports', async (t) => {
  const { url, asked } = await serve(t, () => ({ body: { reopened: true } }));
  const client = new Client(directAgent({ url }));
  assert.equal(await reportUnprocessable(client, { convoId: 'c', epoch: 2, messageId: 'm', deviceId: 'd' }), true);
  await reportRemoval(client, { convoId: 'c', epoch: 2, requestId: 'r', gone: true });
  await reportRemoval(client, { convoId: 'c', epoch: 2, requestId: 'r', gone: false });
  await reportWelcome(client, { convoId: 'c', epoch: 2, deviceId: 'd' });
  assert.deepEqual(asked.map(({ body }) => JSON.parse(body)), [
    { convoId: 'c', epoch: 2, messageId: 'm', deviceId: 'd', reason: 'cannot_process' },
    { convoId: 'c', epoch: 2, requestId: 'r', reason: 'removed' },
    { convoId: 'c', epoch: 2, requestId: 'r', reason: 'not_removed' },
    { convoId: 'c', epoch: 2, deviceId: 'd', reason: 'welcome_invalid' },
  ]);
});

test('what devices sign for one another is what the service checks', async () => {
  // The bytes of TestVouchContent in internal/mls.
  assert.equal(toHex(vouchContent(new Uint8Array([0xab, 0xcd]), new TextEncoder().encode('key'))), `${Buffer.from('mls-server device').toString('hex')}00000002abcd00000003${Buffer.from('key').toString('hex')}`);
  const suite = await getCiphersuiteImpl(getCiphersuiteFromName('MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519'));
  const { signKey, publicKey } = await suite.signature.keygen();
  for (const size of [0, 40, 63, 64, 200, 16383, 16384, 70000]) {
    const content = deviceChange({ did: 'did:web:alice.example', goes: 'd', comes: new Uint8Array(size) });
    const signature = await signWithLabel(signKey, DEVICE_CHANGE, content, suite.signature);
    assert.ok(await suite.signature.verify(publicKey, signContent(DEVICE_CHANGE, content), signature), `key of ${size} bytes`);
  }
  assert.equal(toHex(deviceChange({ did: 'ab' })), '0261620000');
  for (const [size, head] of /** @type {const} */ ([[63, '3f'], [64, '4040'], [16383, '7fff'], [16384, '80004000']])) {
    assert.ok(toHex(deviceChange({ did: '', comes: new Uint8Array(size) })).startsWith(`0000${head}00`), `a vector of ${size} bytes`);
  }
});
