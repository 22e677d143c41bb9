/**
 * The WebSocket, read by the subscription client of @atproto/xrpc-server and by this repository's own.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Subscription } from '@atproto/xrpc-server';
import { loadLexicons, NSID } from '../lib/lexicons.mjs';
import { followSocket, StreamError } from '../lib/package.mjs';
import { OURS, SOCKETS, version, works } from '../lib/seen.mjs';
import { World } from '../lib/world.mjs';

const METHOD = `${NSID}.subscribeConvoEvents`;

/** @typedef {{ $type: string, cursor: string, kind?: string, message?: { id: string, ciphertext: Uint8Array } }} Event */

describe('subscription', () => {
  const lexicons = loadLexicons();
  /** @type {World} */
  let world;
  /** @type {import('../lib/client.mjs').User} */
  let alice;
  /** @type {import('../lib/client.mjs').User} */
  let bob;
  /** @type {import('../lib/client.mjs').Device} */
  let phone;
  /** @type {import('../lib/conversation.mjs').Conversation} */
  let convo;

  before(async () => {
    world = await World.start();
    [alice, bob] = [await world.user('k256'), await world.user('p256')];
    phone = await alice.device('phone of alice');
    world.keepOnline(phone, await bob.device('phone of bob'));
    convo = await phone.createConvo();
    await convo.add([bob.did]);
  });
  after(() => world?.stop());

  /**
   * Follows with the stock client, which validates nothing by itself: every message is held against the lexicon.
   *
   * @param {{ getParams: () => Promise<Record<string, unknown>>, headers?: Record<string, string>, signal?: AbortSignal }} options
   * @returns {AsyncIterable<Event>}
   */
  const subscribe = (options) =>
    new Subscription({
      service: world.server.url.replace(/^http/, 'ws'),
      method: METHOD,
      ...options,
      validate: (/** @type {unknown} */ value) => /** @type {Event} */ (lexicons.assertValidXrpcMessage(METHOD, value)),
    });

  it('is opened with a ticket, resumed with a cursor, and brings each message once', async () => {
    const stop = new AbortController();
    /** @type {string[]} */
    const got = [];
    /** @type {string | undefined} */
    let cursor;
    for (const part of [['one', 'two'], ['three']]) {
      const stream = subscribe({
        signal: stop.signal,
        getParams: async () => ({
          ticket: (await alice.api.procedure('getSubscriptionTicket', {})).ticket,
          ...(cursor === undefined ? {} : { cursor }),
        }),
      });
      /** @type {string[]} */
      let due = [];
      for await (const event of stream) {
        cursor = event.cursor;
        if (event.kind === 'position' && due.length === 0) due = await Promise.all(part.map(async (text) => (await convo.send(text)).messageId));
        if (event.message) {
          assert.ok(event.message.ciphertext instanceof Uint8Array);
          got.push(event.message.id);
        }
        if (due.length > 0 && due.every((id) => got.includes(id))) break;
      }
    }
    assert.equal(got.length, 3);
    assert.equal(new Set(got).size, 3);
  });

  it('is followed by our own client across connections, each message once', async () => {
    /** @type {string[]} */
    const got = [];
    /** @type {string[]} */
    const sent = [];
    /** @type {string | undefined} */
    let cursor;
    for (const text of ['four', 'five', 'six']) {
      let resumed;
      for await (const item of followSocket(alice.api.agent, { convoId: convo.id, ...(cursor === undefined ? {} : { cursor }) })) {
        if (item.type === 'open') {
          ({ resumed } = item);
          continue;
        }
        cursor = item.cursor;
        if (item.type === 'position' && sent.length === got.length) sent.push((await convo.send(text)).messageId);
        if (item.type !== 'event' || item.event.$type !== `${METHOD}#messageEvent`) continue;
        const { message } = /** @type {{ message: { id: string, ciphertext: Uint8Array } }} */ (/** @type {unknown} */ (item.event));
        assert.ok(message.ciphertext instanceof Uint8Array);
        got.push(message.id);
        if (got.length === sent.length) break;
      }
      assert.equal(resumed, text !== 'four');
    }
    assert.deepEqual(got, sent);
    const eve = await world.user('k256');
    await assert.rejects(followSocket(eve.api.agent, { convoId: convo.id }).next(), /** @param {unknown} error */ (error) => error instanceof StreamError && error.error === 'ConvoNotFound');
  });

  it('says in an error frame why it refuses', async () => {
    const stream = subscribe({
      headers: { authorization: `Bearer ${await alice.api.token('subscribeConvoEvents')}` },
      getParams: async () => ({ convoId: 'aa' }),
    });
    await assert.rejects(async () => {
      for await (const event of stream) assert.fail(event.$type);
    }, /** @param {any} error */ (error) => error.error === 'ConvoNotFound');
  });

  it('does what docs/clients.json says', () => {
    works(import.meta.url, { [OURS]: [SOCKETS], [version('@atproto/xrpc-server')]: [SOCKETS] });
  });
});
