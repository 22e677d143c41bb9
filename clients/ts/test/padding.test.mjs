import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { decodeMlsMessage, encodeMlsMessage, generateKeyPackage, getCiphersuiteFromName, getCiphersuiteImpl, defaultCapabilities } from 'ts-mls';
import { bucket, MAX_SIZE, messageLength, outgoing, pad, unpad } from '../dist/index.js';

/** @param {string} name */
const read = (name) => JSON.parse(readFileSync(new URL(`../../../internal/mls/testdata/${name}`, import.meta.url), 'utf8'));
/** @param {string} text */
const bytes = (text) => new Uint8Array(Buffer.from(text, 'base64'));

/** Messages of three libraries: what a conversation's log can hold, and objects that it cannot. */
const fixtures = read('mls-fixtures.json').messages.map((/** @type {any} */ m) => ({ name: m.name, bytes: bytes(m.b64), format: Number(m.expect?.wire_format ?? 0) }));
const history = read('history.json').objects.map((/** @type {string} */ text, /** @type {number} */ i) => ({ name: `history ${i}`, bytes: bytes(text), format: new DataView(bytes(text).buffer).getUint16(2) }));
const messages = [...fixtures, ...history];

test('buckets are those of the service', () => {
  assert.deepEqual([0, 1, 512, 513, 1025, 4097, 8192, 8193, 16385, MAX_SIZE].map(bucket), [512, 512, 512, 1024, 2048, 8192, 8192, 16384, 24576, MAX_SIZE]);
  assert.throws(() => bucket(MAX_SIZE + 1), RangeError);
});

test('the end of every message is found, whatever stands behind it, and of no other object', () => {
  let found = 0;
  for (const { name, bytes, format } of messages) {
    const more = new Uint8Array([...bytes, 0, 7]);
    const want = format === 1 || format === 2 ? bytes.length : undefined;
    assert.equal(messageLength(bytes), want, name);
    assert.equal(messageLength(more), want, name);
    if (want === undefined) continue;
    found++;
    for (const cut of [1, 4, Math.floor(bytes.length / 2), bytes.length - 1]) assert.equal(messageLength(bytes.subarray(0, cut)), undefined, `${name}, cut`);
  }
  assert.ok(found >= 20, `${found} messages`);
});

test('the end of every kind of proposal and sender is found', async () => {
  const suite = await getCiphersuiteImpl(getCiphersuiteFromName('MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519'));
  const { publicPackage } = await generateKeyPackage({ credentialType: 'basic', identity: new Uint8Array(70) }, defaultCapabilities(), { notBefore: 1n, notAfter: 2n }, [], suite);
  const some = (/** @type {number} */ n) => new Uint8Array(n).fill(7);
  const leaf = { ...publicPackage.leafNode, leafNodeSource: 'update' };
  const cipherSuite = publicPackage.cipherSuite;
  const psk = { pskNonce: some(32) };
  /** @type {any[]} */
  const proposals = [
    { proposalType: 'add', add: { keyPackage: publicPackage } },
    { proposalType: 'update', update: { leafNode: leaf } },
    { proposalType: 'remove', remove: { removed: 9 } },
    { proposalType: 'psk', psk: { preSharedKeyId: { psktype: 'external', pskId: some(80), ...psk } } },
    { proposalType: 'psk', psk: { preSharedKeyId: { psktype: 'resumption', usage: 'application', pskGroupId: some(16), pskEpoch: 3n, ...psk } } },
    { proposalType: 'reinit', reinit: { groupId: some(16), version: 'mls10', cipherSuite, extensions: [{ extensionType: 9, extensionData: some(70) }] } },
    { proposalType: 'external_init', externalInit: { kemOutput: some(32) } },
    { proposalType: 'group_context_extensions', groupContextExtensions: { extensions: [{ extensionType: 9, extensionData: some(20_000) }] } },
  ];
  /** @type {any[]} */
  const senders = [{ senderType: 'member', leafIndex: 1 }, { senderType: 'external', senderIndex: 0 }, { senderType: 'new_member_proposal' }];
  for (const proposal of proposals) {
    for (const sender of senders) {
      const content = { groupId: some(16), epoch: 4n, sender, authenticatedData: some(3), contentType: 'proposal', proposal };
      const end = sender.senderType === 'member' ? { membershipTag: some(32) } : {};
      const publicMessage = /** @type {any} */ ({ content, auth: { contentType: 'proposal', signature: some(64) }, senderType: sender.senderType, ...end });
      const bytes = encodeMlsMessage({ version: 'mls10', wireformat: 'mls_public_message', publicMessage });
      assert.equal(decodeMlsMessage(bytes, 0)?.[1], bytes.length, 'ts-mls reads what it writes');
      assert.equal(messageLength(new Uint8Array([...bytes, 1])), bytes.length, `${proposal.proposalType} by ${sender.senderType}`);
    }
  }
});

test('both forms of padding come back as they went in', () => {
  for (const { name, bytes, format } of messages) {
    if ((format !== 1 && format !== 2) || bytes.length > MAX_SIZE - 4) continue;
    for (const form of /** @type {const} */ (['direct', 'prefixed'])) {
      const padded = pad(bytes, form);
      assert.equal(padded.length, bucket(bytes.length + (form === 'prefixed' ? 4 : 0)));
      assert.deepEqual(unpad(padded), bytes, `${name}, ${form}`);
    }
    assert.deepEqual(unpad(bytes), bytes, `${name}, bare`);
  }
});

test('padding that is not zero, and bytes without a message, are refused', () => {
  const message = messages.find(({ format }) => format === 2)?.bytes ?? assert.fail('no PrivateMessage');
  for (const form of /** @type {const} */ (['direct', 'prefixed'])) {
    const padded = pad(message, form);
    padded[padded.length - 1] = 1;
    assert.throws(() => unpad(padded), TypeError);
  }
  for (const nothing of [new Uint8Array(), new Uint8Array(3), new Uint8Array(512), new Uint8Array([0, 0, 0, 1, 9, 0]), crypto.getRandomValues(new Uint8Array(512))]) {
    assert.throws(() => unpad(nothing), TypeError);
  }
});

test('a message goes out under a random id, the same bytes each time', () => {
  const message = messages.find(({ format }) => format === 2)?.bytes ?? assert.fail('no PrivateMessage');
  const first = outgoing('c', 3, message);
  assert.deepEqual({ ...first, msgId: '', idempotencyKey: '' }, { convoId: 'c', epoch: 3, msgId: '', idempotencyKey: '', ciphertext: pad(message), paddedSize: bucket(message.length) });
  assert.match(first.msgId, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.notEqual(first.msgId, outgoing('c', 3, message).msgId);
});
