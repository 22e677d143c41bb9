/**
 * A device that is driven by the event stream alone: it asks for nothing until an event tells it to.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { follow } from './package.mjs';

/** Claims in quick succession say several times that key packages run low, in milliseconds. */
const STOCKED_FOR = 5000;

/** @typedef {{ kind?: string, info: string, convoId?: string, userDid?: string, deviceId?: string, requestId?: string }} Info */

export class Follower {
  /** @type {string[]} kinds of infoEvents and "message", in the order in which they came */
  events = [];

  #device;
  #stop = new AbortController();
  #stopped = false;
  /** @type {string | undefined} */
  #cursor;
  #stocked = 0;
  /** @type {Promise<void>} */
  #following = Promise.resolve();
  /** @type {Promise<void>} */
  #queue = Promise.resolve();
  /** @type {unknown} */
  #failure;

  /** @param {import('./client.mjs').Device} device */
  constructor(device) {
    this.#device = device;
  }

  /** Opens the stream and reads what was there before. */
  async start() {
    await this.#open();
    await this.#queue;
  }

  /** Closes the stream. Throws what went wrong while following. */
  async stop() {
    this.#stopped = true;
    this.#stop.abort();
    await this.#following;
    await this.#queue;
    if (this.#failure !== undefined) throw this.#failure;
  }

  /**
   * Cuts the connection without a word, as networks do, and comes back with the last cursor.
   *
   * @param {() => Promise<void>} [meanwhile] what happens in between
   */
  async interrupt(meanwhile) {
    this.#stop.abort();
    await this.#following;
    await meanwhile?.();
    await this.#open();
  }

  /** @returns {Promise<void>} when the service has accepted the stream */
  #open() {
    this.#stop = new AbortController();
    return new Promise((resolve, reject) => {
      this.#following = this.#follow(this.#stop.signal, resolve).catch((error) => {
        this.#failure ??= error;
        reject(error);
      });
    });
  }

  /**
   * @param {AbortSignal} signal
   * @param {() => void} opened
   */
  async #follow(signal, opened) {
    const from = this.#cursor === undefined ? {} : { cursor: this.#cursor };
    for await (const item of follow(this.#device.api.agent, { ...from, signal })) {
      if (item.type === 'open') {
        // Before the first event there is no position to resume from: what happened until now has to be asked for.
        if (!item.resumed) this.#enqueue(() => this.#device.sync());
        opened();
      } else {
        this.#cursor = item.cursor;
        if (item.type === 'event') this.#enqueue(() => this.#handle(item.event));
      }
    }
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

  /** @param {any} event */
  async #handle(event) {
    const message = event.$type === 'blue.catbird.mls.streamConvoEvents#messageEvent';
    this.events.push(message ? 'message' : event.kind);
    if (message) await this.#device.conversations.get(event.message.convoId)?.receive(event.message);
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
