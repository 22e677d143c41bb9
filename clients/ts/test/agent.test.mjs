import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client, directAgent, isError, mls, proxyAgent, serviceAuth, serviceDid, TokenError } from '../dist/index.js';
import { serve } from './lib/service.mjs';

const SERVICE = 'did:web:mls.example.com#atproto_mls';
const epoch = { convoId: 'c', currentEpoch: 4 };

/** @returns {{ waits: number[], patience: { sleep: (ms: number) => Promise<void> } }} */
function hurry() {
  /** @type {number[]} */
  const waits = [];
  return { waits, patience: { sleep: async (ms) => void waits.push(ms) } };
}

test('every request has a token of its own, for its method, and the headers', async (t) => {
  const { url, asked } = await serve(t, () => ({ body: epoch }));
  let n = 0;
  const client = new Client(directAgent({ url, did: 'did:web:alice.example', token: async (lxm) => `${lxm} ${++n}`, headers: { 'x-own': 'a', accept: 'text/plain' } }));
  assert.deepEqual(await client.call(mls.getEpoch, { convoId: 'c d' }), epoch);
  await client.call(mls.getEpoch, { convoId: 'c' });
  assert.deepEqual(asked.map(({ path, headers }) => [path, headers.authorization, headers['x-own'], headers.accept]), [
    ['/xrpc/blue.catbird.mls.getEpoch?convoId=c+d', 'Bearer blue.catbird.mls.getEpoch 1', 'a', 'application/json'],
    ['/xrpc/blue.catbird.mls.getEpoch?convoId=c', 'Bearer blue.catbird.mls.getEpoch 2', 'a', 'application/json'],
  ]);
});

test('bytes travel as the lexicon says, both ways', async (t) => {
  const { url, asked } = await serve(t, () => ({
    body: { messages: [{ id: 'm', convoId: 'c', ciphertext: { $bytes: 'AQI' }, epoch: 1, seq: 1, createdAt: '2026-01-15T09:30:00Z' }] },
  }));
  const client = new Client(directAgent({ url }));
  const { messages } = await client.call(mls.getMessages, { convoId: 'c' });
  assert.deepEqual(messages[0]?.ciphertext, new Uint8Array([1, 2]));
  await client.call(mls.reportMember, { convoId: 'c', reportedDid: 'did:web:bob.example', category: 'spam', encryptedContent: new Uint8Array([1, 2]) }).catch(() => undefined);
  assert.deepEqual(JSON.parse(asked[1]?.body ?? '').encryptedContent, { $bytes: 'AQI' });
});

test('an answer that is not as the lexicon has it is an error', async (t) => {
  const { url } = await serve(t, () => ({ body: { convoId: 'c', currentEpoch: -1 } }));
  await assert.rejects(new Client(directAgent({ url })).call(mls.getEpoch, { convoId: 'c' }));
});

test('what may pass is tried again, by its name', async (t) => {
  for (const [name, status, headers, message, wait] of /** @type {[string, number, Record<string, string>, string, number][]} */ ([
    ['RateLimitExceeded', 429, { 'retry-after': '3' }, '', 3000],
    ['RateLimitExceeded', 400, {}, 'Rate Limit Exceeded; try again in 7 seconds', 7000],
    ['NotEnoughResources', 503, {}, 'The server is busy; try again in 2 seconds', 2000],
    ['IdempotencyInProgress', 409, { 'retry-after': '1' }, '', 1000],
    ['JwtExpired', 401, {}, '', 1000],
    ['ReplayedToken', 401, {}, '', 1000],
  ])) {
    let n = 0;
    const { url, asked } = await serve(t, () => (++n === 1 ? { status, headers, body: { error: name, message } } : { body: epoch }));
    const { waits, patience } = hurry();
    const client = new Client(directAgent({ url, token: async () => `t${asked.length}`, patience }));
    assert.deepEqual(await client.call(mls.getEpoch, { convoId: 'c' }), epoch, name);
    assert.deepEqual(waits, [wait], name);
    assert.deepEqual(asked.map(({ headers }) => headers.authorization), ['Bearer t0', 'Bearer t1'], name);
  }
});

test('a proxy that answers with a page of its own is waited for', async (t) => {
  let n = 0;
  const { url } = await serve(t, () => (++n < 3 ? { status: 502, headers: { 'content-type': 'text/html' }, body: '<h1>Bad Gateway</h1>' } : { body: epoch }));
  const { waits, patience } = hurry();
  await new Client(directAgent({ url, patience })).call(mls.getEpoch, { convoId: 'c' });
  assert.ok(waits.length === 2 && (waits[0] ?? 0) >= 125 && (waits[0] ?? 0) < 250 && (waits[1] ?? 0) >= 250 && (waits[1] ?? 0) < 500, String(waits));
});

test('what will not pass, or not soon, is reported at once', async (t) => {
  for (const [name, status, headers] of /** @type {[string, number, Record<string, string>][]} */ ([
    ['ConvoNotFound', 404, {}],
    ['EpochMismatch', 409, {}],
    ['AccountTakedown', 401, {}],
    ['BadJwtAudience', 401, {}],
    ['TooManyInvitations', 429, { 'retry-after': '1' }],
    ['RateLimitExceeded', 429, { 'retry-after': '3600' }],
    ['InternalServerError', 500, {}],
    ['MethodNotImplemented', 501, {}],
  ])) {
    const { url, asked } = await serve(t, () => ({ status, headers, body: { error: name, message: 'no' } }));
    const { waits, patience } = hurry();
    const client = new Client(directAgent({ url, patience }));
    await assert.rejects(client.call(mls.getEpoch, { convoId: 'c' }), (error) => isError(error, name) && !isError(error, 'Other'));
    assert.deepEqual([asked.length, waits], [1, []], name);
  }
});

test('a mistake in the program is no fault of the network', async (t) => {
  const { url, asked } = await serve(t, () => ({ body: epoch }));
  const { waits, patience } = hurry();
  const client = new Client(directAgent({ url, token: async () => /** @type {any} */ (undefined).token, patience }));
  await assert.rejects(client.call(mls.getEpoch, { convoId: 'c' }), /reading 'token'/);
  assert.deepEqual([asked.length, waits], [0, []]);
});

test('patience ends', async (t) => {
  const busy = { status: 503, body: { error: 'NotEnoughResources', message: '' } };
  const { url, asked } = await serve(t, () => busy);
  const { patience } = hurry();
  await assert.rejects(new Client(directAgent({ url, patience: { ...patience, attempts: 3 } })).call(mls.getEpoch, { convoId: 'c' }));
  assert.equal(asked.length, 3);
  const stale = await serve(t, () => ({ status: 401, body: { error: 'JwtExpired', message: '' } }));
  await assert.rejects(new Client(directAgent({ url: stale.url, patience })).call(mls.getEpoch, { convoId: 'c' }));
  assert.equal(stale.asked.length, 2, 'another token once');
  const { waits, patience: none } = hurry();
  await assert.rejects(new Client(directAgent({ url: 'http://127.0.0.1:1', patience: { ...none, attempts: 4 } })).call(mls.getEpoch, { convoId: 'c' }));
  assert.equal(waits.length, 3, 'a server that cannot be reached');
  const controller = new AbortController();
  controller.abort(new Error('enough'));
  await assert.rejects(new Client(directAgent({ url, patience })).call(mls.getEpoch, { convoId: 'c' }, { signal: controller.signal }));
});

test('a wait ends with the signal', async (t) => {
  const { url, asked } = await serve(t, () => ({ status: 429, headers: { 'retry-after': '15' }, body: { error: 'RateLimitExceeded' } }));
  const controller = new AbortController();
  const call = new Client(directAgent({ url })).call(mls.getEpoch, { convoId: 'c' }, { signal: controller.signal });
  while (asked.length === 0) await new Promise((resolve) => setImmediate(resolve));
  controller.abort(new Error('enough'));
  await assert.rejects(call);
  assert.equal(asked.length, 1);
});

test('through a PDS: the service is named, the session authorises', async (t) => {
  const { url, asked } = await serve(t, () => ({ body: epoch }));
  const session = { did: 'did:web:alice.example', fetchHandler: (/** @type {string} */ path, /** @type {RequestInit} */ init) => fetch(new URL(path, url), init) };
  const client = new Client(proxyAgent(session, SERVICE, { headers: { 'x-own': 'a' } }));
  await client.call(mls.getEpoch, { convoId: 'c' });
  assert.deepEqual([asked[0]?.headers['atproto-proxy'], asked[0]?.headers['x-own'], client.did], [SERVICE, 'a', 'did:web:alice.example']);
  for (const bad of ['did:web:mls.example.com', 'mls.example.com#atproto_mls', 'did:web:a#', `${SERVICE} x`, `${SERVICE}\r\nx: y`]) {
    assert.throws(() => proxyAgent(session, /** @type {any} */ (bad)), TypeError, bad);
  }
  assert.equal(serviceDid('did:web:localhost%3A3000#atproto_mls'), 'did:web:localhost%3A3000');
});

test('tokens by getServiceAuth, with the audience that the PDS takes', async (t) => {
  const did = serviceDid(SERVICE);
  for (const [name, status, want] of /** @type {const} */ ([
    ['any', {}, [SERVICE, SERVICE]],
    ['OAuth', { [did]: 403 }, [SERVICE, SERVICE]],
    ['older PDS', { [SERVICE]: 500 }, [SERVICE, did, did]],
    ['strict PDS', { [SERVICE]: 400 }, [SERVICE, did, did]],
    ['scope without the id', { [SERVICE]: 403 }, [SERVICE, did, did]],
  ])) {
    const { url, asked } = await serve(t, ({ path }) => {
      const aud = new URL(path, 'http://x').searchParams.get('aud') ?? '';
      const refused = /** @type {Record<string, number>} */ (status)[aud];
      return refused === undefined ? { body: { token: `for ${aud}` } } : { status: refused, body: { error: 'ScopeMissingError', message: 'no' } };
    });
    const token = serviceAuth({ fetchHandler: (path, init) => fetch(new URL(path, url), init) }, SERVICE);
    assert.equal(await token('a.b.c'), `for ${want.length === 2 ? SERVICE : did}`, name);
    assert.equal(await token('a.b.c'), `for ${want.length === 2 ? SERVICE : did}`, name);
    assert.deepEqual(asked.map(({ path }) => new URL(path, 'http://x').searchParams.get('aud')), want, name);
    assert.ok(asked.every(({ path }) => new URL(path, 'http://x').searchParams.get('lxm') === 'a.b.c'));
  }
  const refusing = await serve(t, () => ({ status: 403, body: { error: 'ScopeMissingError', message: 'no' } }));
  const token = serviceAuth({ fetchHandler: (path, init) => fetch(new URL(path, refusing.url), init) }, SERVICE);
  await assert.rejects(token('a.b.c'), (error) => error instanceof TokenError && error.status === 403 && error.error === 'ScopeMissingError');
  const odd = await serve(t, () => ({ body: '"secret"' }));
  await assert.rejects(serviceAuth({ fetchHandler: (path, init) => fetch(new URL(path, odd.url), init) }, SERVICE)('a.b.c'), (error) => error instanceof TokenError && !error.message.includes('secret'));
});
