/**
 * A random history of one conversation, on real clients: they write, renew keys, come, go, are removed, lose their state, and
 * one of them commits what nobody can process. The same seed makes the same choices.
 */
import assert from 'node:assert/strict';
import { pad } from './package.mjs';
import { ulid } from './text.mjs';

/** @typedef {import('./client.mjs').Device} Device */

/** How often a device may join a conversation by itself in an hour. */
const JOINS = 5;

/**
 * Numbers from 0 to below a bound (mulberry32).
 *
 * @param {number} seed
 * @returns {(below: number) => number}
 */
function dice(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

export class History {
  /** @type {string[]} what was done */
  steps = [];
  #throw;
  #devices;
  #id = '';
  /** @type {Set<Device>} who is on the roster */
  #here = new Set();
  /** @type {Device} who makes the false commit, once; it commits nothing after that, since it has to wait */
  #mallory;
  #waits = false;
  /** @type {Map<Device, number>} */
  #joins = new Map();

  /**
   * @param {Device[]} devices at least four, each of its own user; the first one is the admin, the last one hostile
   * @param {{ seed: number, verified: boolean }} options
   */
  constructor(devices, { seed, verified }) {
    this.#devices = devices;
    this.#mallory = devices[devices.length - 1];
    this.#throw = dice(seed);
    this.verified = verified;
  }

  /** @param {Device} device */
  #on(device) {
    return device.conversation(this.#id);
  }

  get #admin() {
    return this.#devices[0];
  }

  /**
   * @template T
   * @param {T[]} list
   */
  #pick(list) {
    return list[this.#throw(list.length)];
  }

  /** Members who may commit. */
  get #able() {
    return [...this.#here].filter((device) => device !== this.#mallory || !this.#waits);
  }

  get #others() {
    return [...this.#here].filter((device) => device !== this.#admin);
  }

  /**
   * Plays it, and holds at the end that all members are one group and read each other.
   *
   * @param {number} steps
   */
  async play(steps) {
    const [admin, bob, carol] = this.#devices;
    const first = [bob, carol, this.#mallory];
    this.#id = (await admin.createConvo({ members: first.map(({ did }) => did), verified: this.verified })).id;
    this.#here = new Set([admin, ...first]);
    await this.#sync();
    for (let i = 0; i < steps; i++) await this.#step();
    await this.#agree();
  }

  async #step() {
    const able = this.#able;
    const actor = this.#pick(able);
    const others = this.#others;
    const away = this.#devices.filter((device) => !this.#here.has(device));
    const asker = this.#pick(others);
    /** @type {[string, boolean, () => Promise<unknown>][]} */
    const choices = [
      ['write', true, () => this.#on(actor).send(`text ${this.steps.length}`)],
      ['write', true, () => this.#on(actor).send(`text ${this.steps.length}`)],
      ['renew', true, () => this.#on(actor).update()],
      ['add', away.length > 0, () => this.#add(actor, this.#pick(away))],
      ['remove', others.length > 2, () => this.#remove(this.#pick(others.filter((device) => device !== this.#mallory)))],
      ['leave', others.length > 2, () => this.#leave(this.#pick(others.filter((device) => device !== this.#mallory)))],
      ['false commit', !this.#waits && this.#here.has(this.#mallory), () => this.#lie()],
      ['come back', able.includes(asker) && (this.#joins.get(asker) ?? 0) < JOINS, () => this.#comeBack(asker)],
      ['reset', this.#throw(3) === 0, () => this.#reset()],
      ['sync', true, () => this.#sync()],
    ];
    const [name, , act] = this.#pick(choices.filter(([, possible]) => possible));
    this.steps.push(name);
    await act();
  }

  /** Everybody reads what is new, and settles what is owed. */
  async #sync() {
    for (const device of this.#devices) await device.sync({ settle: device !== this.#mallory && this.#here.has(device) });
  }

  /**
   * @param {Device} actor
   * @param {Device} who
   */
  async #add(actor, who) {
    await this.#on(actor).add([who.did]);
    this.#here.add(who);
    await who.sync();
    assert.ok(this.#on(who).group, 'who is added joins');
  }

  /** @param {Device} who */
  async #remove(who) {
    await this.#on(this.#admin).remove(who.did);
    this.#here.delete(who);
    await who.sync();
    assert.ok(this.#on(who).group?.removed, 'who is removed reads the commit that does it');
  }

  /** @param {Device} who */
  async #leave(who) {
    await this.#on(who).leave();
    this.#here.delete(who);
  }

  /** A commit whose last byte is wrong, which only members can see. They take it back. */
  async #lie() {
    const mallory = this.#mallory;
    await this.#sync();
    const { group } = this.#on(mallory);
    assert.ok(group);
    const { epoch } = group;
    const { bytes, groupInfo } = await group.stage({ asPublicMessage: this.verified });
    bytes[bytes.length - 1] ^= 1;
    const ciphertext = pad(bytes, 'prefixed');
    const messageId = ulid();
    await mallory.api.procedure('sendMessage', {
      convoId: this.#id, msgId: messageId, idempotencyKey: ulid(), ciphertext, epoch, paddedSize: ciphertext.length,
      ...(this.verified ? { groupInfo: Buffer.from(groupInfo).toString('base64') } : {}),
    });
    this.#waits = true;
    let reopened = false;
    for (const device of this.#here) {
      if (device === mallory || reopened) continue;
      await assert.rejects(device.sync(), 'nobody can process it');
      reopened = await this.#on(device).reportCommit({ epoch, messageId });
    }
    assert.ok(reopened, 'the honest members take it back');
    assert.equal((await this.#admin.api.query('getEpoch', { convoId: this.#id })).currentEpoch, epoch);
  }

  /**
   * A device that lost its state comes back by itself.
   *
   * @param {Device} who
   */
  async #comeBack(who) {
    if (!this.verified) {
      await this.#sync(); // a deposit is of the newest epoch
      await this.#on(this.#pick([...this.#here].filter((device) => device !== who && device !== this.#mallory))).depositGroupInfo();
    }
    await this.#on(who).forget();
    await this.#on(who).joinByItself();
    this.#joins.set(who, (this.#joins.get(who) ?? 0) + 1);
  }

  async #reset() {
    await this.#admin.sync();
    await this.#on(this.#admin).reset();
    this.verified = true;
    await this.#sync(); // everybody joins the new group by its Welcome
  }

  /** What members still wait for. Claims of an opaque conversation may need the word of the hostile one, which withholds it. */
  get #owed() {
    return [...this.#here].flatMap((device) => [...this.#on(device).requests, ...(this.verified ? this.#on(device).claims : [])]);
  }

  /** Nothing is owed any more; all members hold the same secrets and read the last text. */
  async #agree() {
    for (let i = 0; i < 20; i++) {
      await this.#sync();
      if (this.#owed.length === 0) break;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await this.#on(this.#admin).send('the last');
    await this.#sync();
    assert.deepEqual(this.#owed, []);
    const { currentEpoch } = await this.#admin.api.query('getEpoch', { convoId: this.#id });
    const secret = this.#on(this.#admin).group?.authenticator;
    for (const device of this.#here) {
      const { group, texts } = this.#on(device);
      assert.equal(group?.epoch, currentEpoch);
      assert.equal(group?.authenticator, secret);
      if (device !== this.#admin) assert.equal(texts.at(-1), 'the last');
      assert.deepEqual(new Set(group?.members().map(({ did }) => did)), new Set([...this.#here].map(({ did }) => did)));
    }
    for (const device of this.#devices) {
      if (!this.#here.has(device)) assert.ok(!device.conversations.has(this.#id) || this.#on(device).gone);
    }
  }
}
