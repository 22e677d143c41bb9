import assert from 'node:assert/strict';
import { test } from 'node:test';
import { directAgent, follow, InvalidEventError, StreamError, TokenError } from '../dist/index.js';
import { frames } from '../dist/sse.js';
import { serve } from './lib/service.mjs';

const TYPE = 'blue.catbird.mls.streamConvoEvents#infoEvent';
/** @param {string} id @param {string} kind */
const info = (id, kind) => `id: ${id}\nevent: infoEvent\ndata: ${JSON.stringify({ event: { $type: TYPE, cursor: id, info: kind, kind } })}\n\n`;

/**
 * @param {import('node:test').TestContext} t
 * @param {((response: import('node:http').ServerResponse) => void)[]} connections what each connection does
 * @param {import('../dist/index.js').StreamOptions} [options]
 */
async function stream(t, connections, options = {}) {
  let n = 0;
  const { url, asked } = await serve(t, (_, response) => {
    (connections[n++] ?? ((r) => r.writeHead(501, { 'content-type': 'application/json' }).end('{"error":"MethodNotImplemented"}')))(response);
    return undefined;
  });
  const agent = directAgent({ url, token: async (lxm) => `${lxm} ${n}`, patience: { attempts: 1 } });
  return { asked, items: follow(agent, { longestWait: 1, ...options }) };
}

/** @param {import('node:http').ServerResponse} response */
const open = (response) => response.writeHead(200, { 'content-type': 'text/event-stream' });
/** @param {AsyncIterable<import('../dist/index.js').StreamItem>} items */
async function take(items) {
  /** @type {string[]} */
  const seen = [];
  try {
    for await (const item of items) seen.push(item.type === 'event' ? `${item.cursor} ${/** @type {any} */ (item.event).info}` : item.type === 'open' ? `open ${item.resumed}` : `at ${item.cursor}`);
  } catch (error) {
    seen.push(error instanceof StreamError ? error.error : error instanceof InvalidEventError ? `invalid at ${error.cursor}` : String(error));
  }
  return seen;
}

test('events come in order over broken connections, each of which resumes with a token of its own', async (t) => {
  const { asked, items } = await stream(t, [
    (r) => open(r).end(`retry: 1\nid: p0\n\n${info('1', 'a')}: hello\n\n${info('2', 'bä')}`),
    (r) => r.writeHead(503, { 'content-type': 'application/json' }).end('{"error":"NotEnoughResources"}'),
    (r) => void open(r).write(info('3', 'c'), () => r.destroy()),
    (r) => r.destroy(),
    (r) => r.writeHead(401, { 'content-type': 'application/json' }).end('{"error":"JwtExpired"}'),
    (r) => open(r).end(info('4', 'rollover')),
    (r) => open(r).end('id: 5\n\n'),
  ], { convoId: 'x y' });
  assert.deepEqual(await take(items), ['open false', 'at p0', '1 a', '2 bä', 'open true', '3 c', 'open true', 'open true', 'at 5', 'MethodNotImplemented']);
  const paths = asked.map(({ path }) => new URL(path, 'http://x').searchParams);
  assert.deepEqual(paths.map((p) => p.get('cursor')), [null, '2', '2', '3', '3', '3', '4', '5']);
  assert.deepEqual(asked.map(({ headers }) => headers['last-event-id']), ['', '2', '2', '3', '3', '3', '4', '5']);
  assert.ok(paths.every((p) => p.get('convoId') === 'x y'));
  assert.equal(new Set(asked.map(({ headers }) => headers.authorization)).size, asked.length);
});

test('frames may come in pieces, with any line ends', async (t) => {
  const text = Buffer.from(`\r\n: x\r\n\r\n${info('1', 'ä€😀').replaceAll('\n', '\r\n')}${info('2', 'b').replaceAll('\n', '\r')}id:3\ndata:{"event":\ndata: {"$type":"${TYPE}","cursor":"3","info":"c"}}\n\nid: 9\ndata: cut off`);
  const { items } = await stream(t, [(r) => {
    open(r);
    r.socket?.setNoDelay(true);
    const write = (/** @type {number} */ i) => (i < text.length ? r.write(text.subarray(i, i + 1), () => setImmediate(write, i + 1)) : r.end());
    write(0);
  }]);
  assert.deepEqual(await take(items), ['open false', '1 ä€😀', '2 b', '3 c', 'MethodNotImplemented']);
});

test('a silent connection is given up', async (t) => {
  const { asked, items } = await stream(t, [(r) => void open(r).write(info('1', 'a')), (r) => void open(r).flushHeaders()], { idleTimeout: 100 });
  assert.deepEqual(await take(items), ['open false', '1 a', 'open true', 'MethodNotImplemented']);
  assert.equal(asked.length, 3);
});

test('a connection that says something is not given up, however long it lasts', async (t) => {
  let write = () => {};
  const { asked, items } = await stream(t, [(r) => {
    let n = 0;
    write = () => (++n < 5 ? r.write(`id: p${n}\n\n`) : r.end(info('1', 'a')));
    open(r).flushHeaders();
  }], { idleTimeout: 60_000 });
  t.mock.timers.enable({ apis: ['setTimeout'] });
  /** @type {string[]} */
  const seen = [];
  for await (const item of items) {
    seen.push(item.type);
    if (item.type === 'event') break;
    t.mock.timers.tick(50_000);
    write();
  }
  assert.deepEqual([seen, asked.length], [['open', 'position', 'position', 'position', 'position', 'event'], 1]);
});

test('pieces of an event are signs of life, and a reader that is busy is no silence', async (t) => {
  const text = info('1', 'a');
  let write = () => {};
  let heard = () => {};
  const { asked, items } = await stream(t, [(r) => {
    let n = 0;
    write = () => (++n < 5 ? r.write(text.slice(n - 1, n)) : r.end(text.slice(n - 1)));
    open(r).flushHeaders();
  }], { idleTimeout: 60_000 });
  const decode = TextDecoder.prototype.decode;
  t.mock.method(TextDecoder.prototype, 'decode', /** @this {TextDecoder} @param {Parameters<typeof decode>} args */ function (...args) {
    heard();
    return decode.apply(this, args);
  });
  t.mock.timers.enable({ apis: ['setTimeout'] });
  assert.equal((await items.next()).value?.type, 'open');
  t.mock.timers.tick(100_000);
  const event = items.next();
  for (let i = 0; i < 5; i++) {
    const piece = new Promise((resolve) => (heard = () => resolve(undefined)));
    write();
    await piece;
    t.mock.timers.tick(50_000);
  }
  assert.equal((await event).value?.type, 'event');
  assert.equal(asked.length, 1);
  await items.return(undefined);
});

test('a long line in many pieces is looked at once', async (t) => {
  const piece = new Uint8Array(256).fill(0x61);
  const pieces = [new TextEncoder().encode('data: '), ...Array.from({ length: 4096 }, () => piece), new TextEncoder().encode('\n\n')];
  let looked = 0;
  for (const name of /** @type {const} */ (['split', 'indexOf', 'search', 'match', 'matchAll', 'replace'])) {
    const original = /** @type {(...args: unknown[]) => unknown} */ (String.prototype[name]);
    t.mock.method(String.prototype, name, /** @this {string} @param {unknown[]} args */ function (...args) {
      looked += this.length;
      return original.apply(this, args);
    });
  }
  const seen = [];
  for await (const frame of frames(new ReadableStream({ start: (c) => (pieces.forEach((p) => c.enqueue(p)), c.close()) }))) seen.push(frame.data?.length);
  assert.deepEqual(seen, [1 << 20]);
  assert.ok(looked < 5 << 20, `looked at ${looked} characters of ${1 << 20}`);
});

test('the request says that what it gets may not be compressed', async (t) => {
  const { asked, items } = await stream(t, []);
  await take(items);
  assert.equal(asked[0]?.headers['accept-encoding'], 'identity');
});

test('a stale token is renewed once for each connection', async (t) => {
  const stale = (/** @type {import('node:http').ServerResponse} */ r) => r.writeHead(401, { 'content-type': 'application/json' }).end('{"error":"ReplayedToken"}');
  const { asked, items } = await stream(t, [stale, (r) => open(r).end('id: 5\n\n'), stale, stale]);
  assert.deepEqual([await take(items), asked.length], [['open false', 'at 5', 'ReplayedToken'], 4]);
});

test('what may pass is waited for, by its name and its status, also when it is the token that is refused', async (t) => {
  for (const [status, error] of /** @type {const} */ ([[400, 'NotEnoughResources'], [409, 'IdempotencyInProgress'], [500, 'InternalServerError'], [502, ''], [408, '']])) {
    const { asked, items } = await stream(t, [(r) => r.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ error })), (r) => open(r).end('id: 5\n\n')]);
    assert.deepEqual([await take(items), asked.length], [['open false', 'at 5', 'MethodNotImplemented'], 3], `${status} ${error}`);
    let n = 0;
    const { url } = await serve(t, (_, response) => void open(response).end('id: 5\n\n'));
    const token = async () => {
      if (++n === 2) return 't';
      throw n === 1 ? new TokenError(status, error, '') : new TokenError(403, 'ScopeMissingError', '');
    };
    const seen = await take(follow(directAgent({ url, token, patience: { attempts: 1 } }), { longestWait: 1 }));
    assert.deepEqual(seen.slice(0, 2), ['open false', 'at 5']);
    assert.match(seen[2] ?? '', /ScopeMissingError/);
  }
});

test('a refusal for good ends it, and so does an event that is none', async (t) => {
  for (const [status, error] of /** @type {const} */ ([[403, 'NotMember'], [401, 'AccountTakedown'], [400, 'InvalidCursor']])) {
    const { asked, items } = await stream(t, [(r) => r.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ error }))]);
    assert.deepEqual([await take(items), asked.length], [[error], 1]);
  }
  const { items } = await stream(t, [(r) => open(r).end('id: 7\ndata: {"event":{"cursor":"7"}}\n\n')]);
  assert.deepEqual(await take(items), ['open false', 'invalid at 7']);
  const kinds = await stream(t, [(r) => open(r).end('id: 8\ndata: {"event":{"$type":"blue.catbird.mls.streamConvoEvents#newKind","info":"new"}}\n\n')]);
  assert.deepEqual(await take(kinds.items), ['open false', '8 new', 'MethodNotImplemented'], 'unknown kinds are passed on');
});

test('a mistake in the program ends it', async () => {
  const agent = directAgent({ url: 'http://127.0.0.1:1', token: async () => /** @type {any} */ (undefined).token });
  assert.match((await take(follow(agent))).join(), /reading 'token'/);
});

test('the signal ends it, while it waits and while it reads', async (t) => {
  for (const connection of /** @type {((r: import('node:http').ServerResponse) => void)[]} */ ([(r) => void open(r).write(info('1', 'a')), (r) => r.writeHead(429, { 'retry-after': '60' }).end()])) {
    const controller = new AbortController();
    const { items, asked } = await stream(t, [connection], { signal: controller.signal });
    const seen = take(items);
    while (asked.length === 0) await new Promise((resolve) => setImmediate(resolve));
    setImmediate(() => controller.abort());
    assert.ok((await seen).every((item) => item === 'open false' || item === '1 a'));
  }
});

test('whoever stops reading closes the connection', async (t) => {
  let closed = () => {};
  const gone = new Promise((resolve) => (closed = () => resolve(undefined)));
  const { items } = await stream(t, [(r) => {
    r.on('close', closed);
    open(r).write(info('1', 'a'));
  }]);
  for await (const item of items) if (item.type === 'event') break;
  await gone;
});
