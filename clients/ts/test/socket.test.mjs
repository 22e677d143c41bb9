import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { encode } from '@atproto/lex-cbor';
import { WebSocketServer } from 'ws';
import { directAgent, followSocket, InvalidEventError, StreamError, TokenError } from '../dist/index.js';

const NSID = 'blue.catbird.mls.subscribeConvoEvents';
/** @param {object} header @param {object} body */
const frame = (header, body) => Buffer.concat([encode(/** @type {any} */ (header)), encode(/** @type {any} */ (body))]);
/** @param {string} cursor @param {string} kind @param {string} [type] */
const info = (cursor, kind, type = '#infoEvent') => frame({ op: 1, t: type }, { cursor, info: kind, kind });
/** @param {string} error @param {string} [message] */
const failure = (error, message = '') => frame({ op: -1 }, { error, message });

/**
 * A service whose connections do one thing after the other; the first that is asked for behind them ends the stream.
 *
 * @param {import('node:test').TestContext} t
 * @param {((socket: import('ws').WebSocket) => void)[]} connections
 * @param {{ options?: import('../dist/index.js').SocketOptions, tickets?: (object | undefined)[], endpoint?: string }} [setting] tickets are
 *   error answers that come first instead of tickets
 */
async function service(t, connections, { options = {}, tickets = [], endpoint } = {}) {
  /** @type {URLSearchParams[]} */
  const asked = [];
  /** @type {{ body: string, authorization: string | undefined }[]} */
  const issued = [];
  const sockets = new WebSocketServer({ noServer: true });
  let url = '';
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text) => (body += text)).on('end', () => {
      const refusal = tickets.shift();
      response.writeHead(refusal ? 400 : 200, { 'content-type': 'application/json' });
      if (!refusal) issued.push({ body, authorization: request.headers.authorization });
      const own = `${url.replace('http', 'ws')}/xrpc/${NSID}`;
      response.end(JSON.stringify(refusal ?? { ticket: `t+${issued.length}`, endpoint: endpoint ?? own, expiresAt: '2030-01-01T00:00:00Z' }));
    });
  });
  server.on('upgrade', (request, socket, head) => {
    asked.push(new URL(request.url ?? '', url).searchParams);
    const does = connections.shift();
    if (does === undefined) {
      const last = failure('MethodNotImplemented', 'it is over');
      sockets.handleUpgrade(request, socket, head, (ws) => ws.send(last, () => ws.close(1008)));
      return;
    }
    sockets.handleUpgrade(request, socket, head, does);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (server.address()).port}`;
  t.after(() => {
    for (const ws of sockets.clients) ws.terminate();
    server.closeAllConnections();
    server.close();
  });
  let n = 0;
  const agent = directAgent({ url, token: async (lxm) => `${lxm} ${n++}`, patience: { attempts: 1 } });
  return { asked, issued, items: followSocket(agent, { longestWait: 1, ...options, ...(endpoint === '' ? { url } : {}) }) };
}

/** @param {AsyncIterable<import('../dist/index.js').SocketItem>} items */
async function take(items) {
  /** @type {string[]} */
  const seen = [];
  try {
    for await (const item of items) {
      seen.push(item.type === 'event' ? `${item.cursor} ${item.event.$type.replace(NSID, '')} ${/** @type {any} */ (item.event).info ?? ''}`.trim() : item.type === 'open' ? `open ${item.resumed}` : `at ${item.cursor}`);
    }
  } catch (error) {
    seen.push(error instanceof StreamError ? `${error.error}: ${error.message}` : error instanceof InvalidEventError ? `invalid at ${error.cursor}` : String(error));
  }
  return seen;
}

/** What ends each of these streams. */
const OVER = 'MethodNotImplemented: the stream was refused: MethodNotImplemented: it is over';

test('events come in order over broken connections, each of which resumes with a ticket of its own', async (t) => {
  const { asked, issued, items } = await service(t, [
    (ws) => {
      for (const message of [info('p', 'position'), info('1', 'a'), info('2', 'bä'), failure('ConsumerTooSlow')]) ws.send(message);
      ws.close(1008);
    },
    (ws) => ws.send(failure('NotEnoughResources', 'busy'), () => ws.close(1011)),
    (ws) => ws.send(info('3', 'c'), () => ws.terminate()),
    (ws) => ws.terminate(),
    (ws) => ws.send(info('4', 'reauthenticate'), () => ws.close(1000)),
    (ws) => ws.send(frame({ op: 1, t: 'com.example.other#new' }, { cursor: '5', more: new Uint8Array(3) }), () => ws.close(1012)),
  ], { options: { convoId: 'x y' } });
  assert.deepEqual(await take(items), [
    'open false', 'at p', '1 #infoEvent a', '2 #infoEvent bä', 'open true', '3 #infoEvent c', 'open true', 'open true', '5 com.example.other#new', OVER,
  ]);
  assert.deepEqual(asked.map((q) => q.get('cursor')), [null, '2', '2', '3', '3', '4', '5']);
  assert.deepEqual(asked.map((q) => q.get('ticket')), asked.map((_, i) => `t+${i + 1}`));
  assert.ok(asked.every((q) => q.get('convoId') === 'x y'));
  assert.ok(issued.every(({ body }) => body === '{"convoId":"x y"}'));
  assert.equal(new Set(issued.map(({ authorization }) => authorization)).size, issued.length);
});

test('bytes are bytes, and a message that breaks its schema is told with its cursor', async (t) => {
  const message = { id: 'm', convoId: 'c', ciphertext: new Uint8Array([1, 2, 3]), epoch: 1, seq: 1, createdAt: '2026-01-01T00:00:00.000Z' };
  const { items } = await service(t, [(ws) => {
    ws.send(frame({ op: 1, t: '#messageEvent' }, { cursor: '1', message }));
    ws.send(frame({ op: 1, t: '#messageEvent' }, { cursor: '2', message: { ...message, ciphertext: 'text' } }));
  }]);
  await items.next();
  const { value } = await items.next();
  assert.deepEqual(/** @type {any} */ (value).event.message.ciphertext, message.ciphertext);
  await assert.rejects(items.next(), (error) => error instanceof InvalidEventError && error.cursor === '2');
});

for (const [name, data] of Object.entries({
  'a text': 'hello', 'no frame': Buffer.from([0xff]), 'a header alone': encode({ op: 1, t: '#infoEvent' }), 'no type': frame({ op: 1 }, {}),
  'three parts': Buffer.concat([info('1', 'a'), encode({})]), 'another operation': frame({ op: 7, t: '#x' }, {}),
})) {
  test(`${name} is no event`, async (t) => {
    const { items } = await service(t, [(ws) => ws.send(data)], { options: { cursor: 'c' } });
    assert.deepEqual(await take(items), ['invalid at c']);
  });
}

test('a refusal is told, whether of the ticket or of the stream; a stale ticket is renewed once', async (t) => {
  const refused = await service(t, [], { tickets: [{ error: 'NotMember', message: 'no' }] });
  assert.deepEqual(await take(refused.items), ['NotMember: the stream was refused: NotMember: no']);
  const passing = await service(t, [(ws) => ws.send(failure('ConvoNotFound', 'none'))], { tickets: [{ error: 'RateLimitExceeded' }, { error: 'JwtExpired' }] });
  assert.deepEqual(await take(passing.items), ['ConvoNotFound: the stream was refused: ConvoNotFound: none']);
  const stale = await service(t, [], { tickets: [{ error: 'JwtExpired' }, { error: 'JwtExpired' }] });
  assert.deepEqual(await take(stale.items), ['JwtExpired: the stream was refused: JwtExpired: status 400']);
});

test('a silent connection is given up', async (t) => {
  const { asked, items } = await service(t, [(ws) => ws.send(info('1', 'a')), () => {}], { options: { idleTimeout: 1000 } });
  assert.deepEqual(await take(items), ['open false', '1 #infoEvent a', OVER]);
  assert.equal(asked.length, 3);
});

test('a connection that says something is not given up, however long it lasts', async (t) => {
  const { asked, items } = await service(t, [(ws) => {
    let n = 0;
    const timer = setInterval(() => (++n < 8 ? ws.send(info(`p${n}`, 'position')) : ws.close(1000)), 250);
    ws.on('close', () => clearInterval(timer));
  }], { options: { idleTimeout: 1000 } });
  assert.deepEqual(await take(items), ['open false', ...[1, 2, 3, 4, 5, 6, 7].map((n) => `at p${n}`), OVER]);
  assert.equal(asked.length, 2);
});

test('a connection that brings more than may wait is given up, and nothing is lost', { timeout: 60_000 }, async (t) => {
  const all = 3000;
  /** @type {Promise<unknown>[]} */
  const closed = [];
  /** @param {import('ws').WebSocket} ws */
  const flood = (ws) => {
    closed.push(once(ws, 'close'));
    for (let n = Number(asked.at(-1)?.get('cursor') ?? 0) + 1; n <= all; n++) ws.send(info(String(n), 'a'));
  };
  const { asked, items } = await service(t, [flood, flood, flood], { options: { idleTimeout: 600_000 } });
  let seen = 0;
  for await (const item of items) {
    if (item.type !== 'event') continue;
    assert.equal(item.cursor, String(++seen));
    if (seen === 1) await closed[0]; // whoever reads is slow
    if (seen === all) break;
  }
  assert.ok(asked.length > 1);
});

test('it ends with the signal, and with whoever reads it, and leaves no connection', async (t) => {
  /** @type {Promise<unknown>[]} */
  const closed = [];
  /** @param {import('ws').WebSocket} ws */
  const hold = (ws) => {
    closed.push(once(ws, 'close'));
    ws.send(info('1', 'a'));
  };
  const stop = new AbortController();
  const { items } = await service(t, [hold], { options: { signal: stop.signal } });
  await items.next();
  await items.next();
  const waiting = items.next();
  stop.abort();
  assert.deepEqual(await waiting, { done: true, value: undefined });
  const left = await service(t, [hold]);
  for await (const item of left.items) if (item.type === 'event') break;
  await Promise.all(closed);
});

test('a service that does not know its address is found by the option, one without tickets is an error', async (t) => {
  const { asked, items } = await service(t, [(ws) => ws.send(info('1', 'a'), () => ws.close())], { endpoint: '' });
  assert.deepEqual(await take(items), ['open false', '1 #infoEvent a', OVER]);
  assert.equal(asked.length, 2);
  const agent = { fetchHandler: async () => Response.json({}) };
  assert.deepEqual(await take(followSocket(agent)), ['InvalidResponse: the stream was refused: InvalidResponse: no ticket came']);
  const tokenless = { fetchHandler: async () => { throw new TokenError(400, 'InvalidToken', 'no session'); } };
  assert.match((await take(followSocket(tokenless)))[0] ?? '', /TokenError/);
});
