import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Client, directAgent, isError, mls, proxyAgent, serviceAuth, serviceDid, TokenError } from '../dist/index.js';
import { ANONYMOUS } from '../dist/methods.js';
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

const sealed = { convoId: 'c', msgId: '01J5A2Q8ZK4M7N9P3R6T8V0W1X', ciphertext: new Uint8Array(512), paddedSize: 512, epoch: 1, proof: new Uint8Array(32) };

test('a sealed send says nothing of its sender', async (t) => {
  const { url, asked } = await serve(t, () => ({ body: { messageId: 'm', receivedAt: '2026-01-15T09:30:00Z', seq: 1, epoch: 1 } }));
  const agent = directAgent({ url, did: 'did:web:alice.example', token: async () => assert.fail('a token was asked for'), headers: { 'x-own': 'alice', cookie: 'alice=1', authorization: 'Bearer own' } });
  await new Client(agent, { headers: { 'x-client': 'alice' } }).call(mls.sendSealed, sealed, { headers: { 'x-call': 'alice' } });
  assert.deepEqual(Object.keys(asked[0]?.headers ?? {}).sort(), ['accept', 'connection', 'content-length', 'content-type', 'host']);
  // What fetch sends with any request is there, too, when it is fetch.
  await new Client(directAgent({ url, fetch, token: async () => assert.fail('a token was asked for'), headers: { cookie: 'alice=1' } })).call(mls.sendSealed, sealed);
  assert.deepEqual(Object.keys(asked[1]?.headers ?? {}).sort(), ['accept', 'accept-encoding', 'accept-language', 'connection', 'content-length', 'content-type', 'host', 'sec-fetch-mode', 'user-agent']);
  assert.ok(!JSON.stringify(asked).includes('alice'));
  const session = { did: 'did:web:alice.example', fetchHandler: async () => assert.fail('the PDS was asked') };
  await assert.rejects(new Client(proxyAgent(session, SERVICE)).call(mls.sendSealed, sealed), /sendSealed.*directAgent/);
  const policy = JSON.parse(readFileSync(new URL('../../../lexicons/policy.json', import.meta.url), 'utf8'));
  assert.deepEqual([...ANONYMOUS].sort(), Object.keys(policy.methods).filter((method) => policy.methods[method].anonymous).sort());
});

test('key packages are asked for again only when none can have been handed out', async (t) => {
  const page = { headers: { 'content-type': 'text/html' }, body: '<h1>no</h1>' };
  for (const [name, answer, times] of /** @type {[string, import('./lib/service.mjs').Answer | 'lost', number][]} */ ([
    ['a lost connection', 'lost', 1],
    ['the PDS lost it', { status: 502, body: { error: 'UpstreamFailure' } }, 1],
    ['the PDS waited for long', { status: 504, body: { error: 'UpstreamTimeout' } }, 1],
    ['the service took long', { status: 408, body: { error: 'RequestTimeout' } }, 1],
    ['a page of status 502', { status: 502, ...page }, 1],
    ['a page of status 503', { status: 503, ...page }, 1],
    ['turned away', { status: 503, body: { error: 'NotEnoughResources' } }, 2],
    ['too often', { status: 429, body: { error: 'RateLimitExceeded' } }, 2],
    ['a stale token', { status: 401, body: { error: 'JwtExpired' } }, 2],
  ])) {
    let n = 0;
    const { url, asked } = await serve(t, (_, response) => {
      if (++n > 1) return { body: { keyPackages: [] } };
      if (answer !== 'lost') return answer;
      response.destroy();
      return undefined;
    });
    const { patience } = hurry();
    const call = new Client(directAgent({ url, token: async () => 't', patience })).call(mls.getKeyPackages, { dids: ['did:web:bob.example'] });
    await (times === 2 ? call : assert.rejects(call, name));
    assert.equal(asked.length, times, name);
  }
});

test('a PDS that may give a token later is asked again, whatever the method', async (t) => {
  for (const [status, headers, error, times] of /** @type {[number, Record<string, string>, string, number][]} */ ([
    [408, {}, 'RequestTimeout', 2],
    [429, { 'retry-after': '3' }, 'RateLimitExceeded', 2],
    [400, {}, 'RateLimitExceeded', 2],
    [500, {}, 'InternalServerError', 2],
    [503, {}, '', 2],
    [429, { 'retry-after': '3600' }, 'RateLimitExceeded', 1],
    [501, {}, 'MethodNotImplemented', 1],
    [403, {}, 'ScopeMissingError', 1],
  ])) {
    for (const method of [mls.getEpoch, mls.getKeyPackages]) {
      let down = true;
      const pds = await serve(t, () => (down ? { status, headers, body: { error } } : { body: { token: 't' } }));
      const { url, asked } = await serve(t, () => ({ body: { ...epoch, keyPackages: [] } }));
      /** @type {number[]} */
      const waits = [];
      const patience = { sleep: async (/** @type {number} */ ms) => void (waits.push(ms), (down = false)) };
      const token = serviceAuth({ fetchHandler: (path, init) => fetch(new URL(path, pds.url), init) }, SERVICE);
      const call = new Client(directAgent({ url, token, patience })).call(/** @type {any} */ (method), { convoId: 'c', dids: ['did:web:bob.example'] });
      await (times === 2 ? call : assert.rejects(call));
      assert.deepEqual([waits.length, asked.length], times === 2 ? [1, 1] : [0, 0], `${status} ${error}`);
      if (headers['retry-after'] === '3') assert.deepEqual(waits, [3000]);
    }
  }
});

test('no redirect is followed, and no token goes where it leads', async (t) => {
  const elsewhere = await serve(t, () => ({ body: epoch }));
  const { url, asked } = await serve(t, ({ path }) => ({ status: 307, headers: { location: elsewhere.url + path } }));
  const { waits, patience } = hurry();
  const client = new Client(directAgent({ url, token: async () => 't', patience }));
  await assert.rejects(client.call(mls.getEpoch, { convoId: 'c' }));
  await assert.rejects(client.call(mls.sendSealed, sealed));
  assert.deepEqual([asked.length, waits.length, elsewhere.asked.length], [2, 0, 0]);
});
