/**
 * A chat client: users with devices, devices with conversations.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Api, isError } from './api.mjs';
import { Conversation } from './conversation.mjs';
import { Keys } from './keys.mjs';
import { Group } from './mls.mjs';
import { writeKeyPackage, writeWelcome } from './objects.mjs';
import { fromBase64, toBase64, toHex, ulid } from './text.mjs';

/** Key packages that a new device brings along, and what it stocks up with later. */
const FIRST_PACKAGES = 2;
const STOCK = 24;
/** How often a polling device asks for news, in milliseconds. */
const POLL_EVERY = 250;

/**
 * A key package that the service handed out.
 *
 * @typedef {{ did: string, bytes: Uint8Array, hash: string }} Claimed
 */

/**
 * What a device does its own way: its cipher suite, and how it writes what the service takes in several forms.
 *
 * @typedef {object} Style
 * @property {import('./keys.mjs').Suite} [suite]
 * @property {import('./text.mjs').Base64Form} [base64]
 * @property {import('./objects.mjs').ObjectForm} [form]
 * @property {import('./package.mjs').PaddingForm} [padding]
 */

/** An account. */
export class User {
  /**
   * @param {import('./identity.mjs').Identity} identity
   * @param {import('./api.mjs').Api} api
   */
  constructor(identity, api) {
    this.identity = identity;
    this.api = api;
  }

  get did() {
    return this.identity.did;
  }

  /**
   * Sets up a device: keys, registration, key packages.
   *
   * @param {string} name
   * @param {Style} [style]
   * @returns {Promise<Device>}
   */
  async device(name, style) {
    const device = new Device(this, await Keys.create(style?.suite), name, style);
    await device.register();
    await device.stockUp();
    return device;
  }

  /**
   * Sets up the device that comes in the place of another one: the app was installed anew, and its keys are gone.
   *
   * @param {string} name
   * @param {string} replaced the id of the old device
   * @returns {Promise<Device>}
   */
  async reinstall(name, replaced) {
    const device = new Device(this, await Keys.create(), name);
    await device.register({ replaceDeviceId: replaced });
    await device.stockUp();
    return device;
  }

  /** @returns {Promise<any[]>} the devices as listDevices has them */
  async devices() {
    return (await this.api.query('listDevices', {})).devices;
  }

  /**
   * Deletes a device that is lost.
   *
   * @param {string} deviceId
   * @param {Uint8Array} [proof] of Device.prove, for a device that was there before another one came today
   */
  deleteDevice(deviceId, proof) {
    return this.api.procedure('deleteDevice', { deviceId, ...(proof === undefined ? {} : { proof }) });
  }
}

/** A device of a user: an MLS client of its own. */
export class Device {
  /** @type {Map<string, Conversation>} by id */
  conversations = new Map();
  /** @type {string[]} conversations that owed an addition of this device when it registered */
  awaited = [];
  id = '';
  /** Identity in credentials: the DID, "#", the device id. */
  mlsDid = '';

  #user;

  /**
   * @param {User} user
   * @param {Keys} keys
   * @param {string} name
   * @param {Style} [style]
   */
  constructor(user, keys, name, { base64 = 'standard', form = 'wrapped', padding = 'direct' } = {}) {
    this.#user = user;
    this.keys = keys;
    this.name = name;
    this.base64 = base64;
    this.form = form;
    this.padding = padding;
  }

  get api() {
    return this.#user.api;
  }

  get did() {
    return this.#user.did;
  }

  /**
   * Registers this device under an id of its own, so that its first key packages name it.
   *
   * @param {{ replaceDeviceId?: string, proof?: Uint8Array }} [options] the device that goes when this one comes
   */
  async register(options = {}) {
    this.id = randomUUID();
    this.mlsDid = `${this.did}#${this.id}`;
    const output = await this.api.procedure('registerDevice', {
      deviceName: this.name,
      deviceId: this.id,
      signaturePublicKey: this.keys.publicKey,
      keyPackages: await this.#packages(FIRST_PACKAGES),
      ...options,
    });
    if (output.deviceId !== this.id || output.mlsDid !== this.mlsDid) throw new Error('the service names another device');
    this.awaited = output.autoJoinedConvos;
  }

  /** Publishes a stock of key packages, and one of last resort where there is none. */
  async stockUp() {
    const listed = (await this.#user.devices()).find((device) => device.deviceId === this.id);
    if (listed === undefined) throw new Error('this device was deleted');
    const keyPackages = await this.#packages(STOCK);
    if (!listed.lastResort) keyPackages.push(...(await this.#packages(1, { lastResort: true })));
    const { failed, errors } = await this.api.procedure('publishKeyPackages', { keyPackages });
    if (failed > 0) throw new Error(`${failed} key packages were not published: ${errors[0].error}`);
  }

  /**
   * Tells the service which key packages this device has keys for, as at each start, and stocks up when they run low.
   *
   * @returns {Promise<any>} the output of syncKeyPackages
   */
  async compare() {
    const output = await this.api.procedure('syncKeyPackages', { deviceId: this.id, localHashes: this.keys.refs() });
    const { needsReplenish } = await this.api.query('getKeyPackageStats', {});
    if (needsReplenish) await this.stockUp();
    return output;
  }

  /**
   * Signs a change of the user's devices.
   *
   * @param {{ removed?: string, added?: Uint8Array }} change the id of the device that goes, the signature key that comes
   */
  prove({ removed = '', added = new Uint8Array() }) {
    const text = new TextEncoder();
    return this.keys.signWithLabel('mls-server device change', [text.encode(this.did), text.encode(removed), added]);
  }

  /**
   * Publishes a key package.
   *
   * @param {{ lastResort?: boolean }} [options]
   */
  async publish(options) {
    const { publicPackage } = await this.keys.keyPackage(this.mlsDid, options);
    await this.api.procedure('publishKeyPackage', {
      keyPackage: this.#text(writeKeyPackage(publicPackage, this.form)),
      cipherSuite: this.keys.suite.name,
      idempotencyKey: ulid(),
    });
  }

  /**
   * Claims key packages. A device never needs its own.
   *
   * @param {{ dids: string[], deviceIds?: string[], requestId?: string }} wanted
   * @returns {Promise<Claimed[]>}
   */
  async claim(wanted) {
    const { keyPackages, missing } = await this.api.query('getKeyPackages', { cipherSuite: this.keys.suite.name, ...wanted });
    if (wanted.deviceIds === undefined && wanted.requestId === undefined && missing?.length) {
      throw new Error(`${missing.length} of ${wanted.dids.length} users have no key package`);
    }
    return keyPackages.map((/** @type {{ did: string, keyPackage: string, keyPackageHash: string }} */ claimed) => ({
      did: claimed.did,
      bytes: fromBase64(claimed.keyPackage),
      hash: claimed.keyPackageHash,
    }));
  }

  /**
   * Starts a conversation, with further users in it from the beginning: group and first commit are made here, the service
   * gets the Welcome.
   *
   * @param {{ name?: string, members?: string[], verified?: boolean }} [options] verified: the service follows the group
   * @returns {Promise<Conversation>}
   */
  async createConvo({ name, members = [], verified = false } = {}) {
    const groupId = new Uint8Array(randomBytes(16));
    const group = await Group.create(this.keys, await this.keys.keyPackage(this.mlsDid), groupId);
    const packages = members.length === 0 ? [] : await this.claim({ dids: members });
    let welcome;
    if (packages.length > 0) {
      const staged = await group.stageAddition(packages.map(({ bytes }) => bytes));
      welcome = staged.welcome;
      staged.adopt();
    }
    const view = await this.api.procedure('createConvo', {
      groupId: toHex(groupId),
      idempotencyKey: ulid(),
      cipherSuite: this.keys.suite.name,
      currentEpoch: group.epoch,
      initialMembers: members,
      ...(welcome === undefined ? {} : { welcomeMessage: this.#text(writeWelcome(welcome, this.form)) }),
      ...(verified ? { groupInfo: this.#text(await group.groupInfo()) } : {}),
      keyPackageHashes: packages.map(({ did, hash }) => ({ did, hash })),
      ...(name === undefined ? {} : { metadata: { name } }),
    });
    if (view.epoch !== group.epoch) throw new Error(`the service is at epoch ${view.epoch}, the group at ${group.epoch}`);
    const conversation = new Conversation(this, view);
    conversation.group = group;
    this.conversations.set(view.id, conversation);
    return conversation;
  }

  /**
   * Lists the conversations, joins where a Welcome waits and reads what is new.
   *
   * @param {{ settle?: boolean }} [options] settle: also do what other members wait for
   */
  async sync(options) {
    await this.#visit((conversation, view) => conversation.sync(view, options));
  }

  /** Lists the conversations and joins where a Welcome waits, without reading. */
  async refresh() {
    await this.#visit((conversation, view) => conversation.refresh(view));
  }

  /**
   * Syncs and settles again and again, as a client does that is online, until the signal.
   *
   * @param {AbortSignal} signal
   */
  async poll(signal) {
    while (!signal.aborted) {
      await this.sync({ settle: true });
      await sleep(POLL_EVERY, undefined, { signal }).catch(() => undefined);
    }
  }

  /**
   * The conversation of that id, which must be known already.
   *
   * @param {string} id
   * @returns {Conversation}
   */
  conversation(id) {
    const conversation = this.conversations.get(id);
    if (conversation === undefined) throw new Error('this device does not know the conversation');
    return conversation;
  }

  /** Forgets all groups and key packages: what is left after the storage was lost. */
  async loseState() {
    this.keys.forgetAll();
    for (const conversation of this.conversations.values()) await conversation.forget();
  }

  /**
   * Lists the conversations and does something with each.
   *
   * @param {(conversation: Conversation, view: any) => Promise<void>} visit
   */
  async #visit(visit) {
    const listed = new Set();
    for (const view of await this.#list()) {
      listed.add(view.id);
      const conversation = this.conversations.get(view.id) ?? new Conversation(this, view);
      this.conversations.set(view.id, conversation);
      if (conversation.gone) await conversation.startOver();
      conversation.gone = false;
      try {
        await visit(conversation, view);
      } catch (error) {
        if (!isError(error, 'NotMember', 'ConvoNotFound')) throw error;
        conversation.gone = true; // removed since the list was made
      }
    }
    for (const [id, conversation] of this.conversations) {
      if (listed.has(id)) continue;
      if (!conversation.gone) await conversation.readLast();
      conversation.gone = true;
    }
  }

  async #list() {
    const views = [];
    let cursor;
    do {
      const page = await this.api.query('getConvos', cursor === undefined ? {} : { cursor });
      views.push(...page.conversations);
      cursor = page.cursor;
    } while (cursor !== undefined);
    return views;
  }

  /**
   * Makes key packages that name this device.
   *
   * @param {number} count
   * @param {{ lastResort?: boolean }} [options]
   */
  async #packages(count, options) {
    const keyPackages = [];
    for (let i = 0; i < count; i++) {
      const { publicPackage } = await this.keys.keyPackage(this.mlsDid, options);
      keyPackages.push({ keyPackage: this.#text(writeKeyPackage(publicPackage, this.form)), cipherSuite: this.keys.suite.name });
    }
    return keyPackages;
  }

  /** @param {Uint8Array} bytes */
  #text(bytes) {
    return toBase64(bytes, this.base64);
  }
}
