/**
 * A device that is driven by the event stream alone: it asks for nothing until an event tells it to.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { jsonToLex } from '@atproto/lexicon';
import { EventSource } from 'eventsource';
import { NSID } from './lexicons.mjs';

const METHOD = 'streamConvoEvents';
/** How long to wait after the service refused a connection, in milliseconds. */
const RETRY = 1000;
/** Claims in quick succession say several times that key packages run low, in milliseconds. */
const STOCKED_FOR = 5000;

/** @typedef {{ kind?: string, info: string, convoId?: string, userDid?: string, deviceId?: string, requestId?: string }} Info */

export class Follower {
  /** @type {string[]} kinds of infoEvents and "message", in the order in which they came */
  events = [];

  #device;
  #lexicons;
  /** @type {EventSource | undefined} */
  #source;
  /** @type {string | undefined} */
  #cursor;
  #stocked = 0;
  #stopped = false;
  /** @type {Promise<void>} */
  #queue = Promise.resolve();
  /** @type {unknown} */
  #failure;

  /**
   * @param {import('./client.mjs').Device} device
   * @param {import('@atproto/lexicon').Lexicons} lexicons
   */
  constructor(device, lexicons) {
    this.#device = device;
    this.#lexicons = lexicons;
  }

  /** Opens the stream and reads what was there before. */
  async start() {
    await this.#open();
    await this.#queue;
  }

  /** Closes the stream. Throws what went wrong while following. */
  async stop() {
    this.#stopped = true;
    this.#source?.close();
    await this.#queue;
    if (this.#failure !== undefined) throw this.#failure;
  }

  /**
   * Cuts the connection without a word, as networks do, and comes back with the last cursor.
   *
   * @param {() => Promise<void>} [meanwhile] what happens in between
   */
  async interrupt(meanwhile) {
    this.#source?.close();
    await meanwhile?.();
    await this.#open();
  }

  /** @returns {Promise<void>} when the service has accepted the stream */
  #open() {
    const url = new URL(`/xrpc/${NSID}.${METHOD}`, this.#device.api.url);
    if (this.#cursor !== undefined) url.searchParams.set('cursor', this.#cursor);
    const source = new EventSource(url, { fetch: (input, init) => this.#fetch(input, init) });
    this.#source = source;
    for (const name of ['messageEvent', 'infoEvent']) {
      source.addEventListener(name, (event) => this.#enqueue(() => this.#handle(name, event.data, event.lastEventId)));
    }
    return new Promise((resolve, reject) => {
      source.addEventListener('open', () => {
        // Before the first event there is no position to resume from: what happened until now has to be asked for.
        if (this.#cursor === undefined) this.#enqueue(() => this.#device.sync());
        resolve();
      });
      source.addEventListener('error', (event) => {
        if (source.readyState !== EventSource.CLOSED || this.#stopped) return; // it comes back by itself
        reject(new Error(`the stream was refused: ${event.code} ${event.message}`));
        void sleep(RETRY).then(() => (this.#stopped ? undefined : this.#open().catch(() => undefined)));
      });
    });
  }

  /**
   * Every connection needs a token of its own: a token is good for one request.
   *
   * @param {string | URL | Request} input
   * @param {RequestInit} init
   */
  async #fetch(input, init) {
    const headers = new Headers(init.headers);
    headers.set('authorization', `Bearer ${await this.#device.api.token(METHOD)}`);
    return fetch(input, { ...init, headers });
  }

  /**
   * Events take effect one after the other, in their order.
   *
   * @param {() => Promise<void>} effect
   */
  #enqueue(effect) {
    this.#queue = this.#queue.then(async () => {
      if (this.#failure !== undefined) return;
      try {
        await effect();
      } catch (error) {
        this.#failure = error;
      }
    });
  }

  /**
   * @param {string} name
   * @param {string} data
   * @param {string} id
   */
  async #handle(name, data, id) {
    const wrapper = jsonToLex(JSON.parse(data));
    const valid = this.#lexicons.validate(`${NSID}.${METHOD}#eventWrapper`, wrapper);
    if (!valid.success) throw valid.error;
    const { event } = /** @type {{ event: any }} */ (wrapper);
    if (event.$type !== `${NSID}.${METHOD}#${name}`) throw new Error(`a ${event.$type} came as ${name}`);
    if (event.cursor !== id) throw new Error('the cursor of an event is not its id');
    this.#cursor = id;
    this.events.push(name === 'messageEvent' ? 'message' : event.kind);
    if (name === 'messageEvent') await this.#device.conversations.get(event.message.convoId)?.receive(event.message);
    else await this.#heed(event);
  }

  /** @param {Info} info */
  async #heed(info) {
    switch (info.kind) {
      case 'membership-changed':
      case 'invitation': // confirming the Welcome accepts
        await this.#device.refresh();
        break;
      case 'welcome-available':
        if (info.deviceId === undefined || info.deviceId === this.#device.id) await this.#device.refresh();
        break;
      case 'device-pending':
      case 'rejoin-requested':
      case 'removal-pending':
        this.#settleLater(info);
        break;
      case 'key-packages-low':
        if (info.deviceId !== this.#device.id || Date.now() - this.#stocked < STOCKED_FOR) break;
        await this.#device.stockUp();
        this.#stocked = Date.now();
        break;
      case 'compacted':
        await this.#device.sync();
        break;
    }
  }

  /**
   * Settles a request when it is this device's turn, if it is still open then. The stream goes on meanwhile.
   *
   * @param {Info} info
   */
  #settleLater(info) {
    const conversation = this.#device.conversations.get(info.convoId ?? '');
    const turn = conversation?.turn(info);
    if (conversation === undefined || turn === undefined || info.requestId === undefined) return;
    const { requestId } = info;
    void sleep(turn, undefined, { ref: false }).then(() => {
      if (this.#stopped) return;
      this.#enqueue(async () => {
        await this.#device.refresh();
        await conversation.settle(requestId);
      });
    });
  }
}
