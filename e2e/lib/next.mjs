/**
 * A device on the next major version of ts-mls, as far as one story needs it: it joins, follows the log and commits what
 * waits. Its commits of a single Remove have no path (RFC 9420, section 12.4, asks for one), so that whom they remove could
 * read on; other libraries refuse them.
 */
import {
  acceptAll,
  createApplicationMessage,
  createCommit,
  defaultCredentialTypes,
  defaultProposalTypes,
  encode,
  generateKeyPackage,
  getCiphersuiteImpl,
  joinGroup,
  mlsMessageDecoder,
  mlsMessageEncoder,
  processMessage,
  protocolVersions,
  unsafeTestingAuthenticationService,
  wireformats,
} from 'ts-mls-next';
import { pad } from './package.mjs';
import { fromBase64, toBase64, ulid } from './text.mjs';

/** @typedef {import('ts-mls-next').ClientState} ClientState */

const SUITE = 'MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519';
const context = { cipherSuite: await getCiphersuiteImpl(SUITE), authService: unsafeTestingAuthenticationService };

/** @param {Uint8Array} bytes padded or not */
function read(bytes) {
  const [message] = mlsMessageDecoder(bytes, 0) ?? [];
  if (message === undefined) throw new Error('there is no MLSMessage in the bytes');
  return message;
}

export class NextDevice {
  /** @type {ClientState | undefined} */
  #state;
  /** @type {string | undefined} */
  #since;
  /** @type {string[]} */
  texts = [];
  /** @type {Set<string>} */
  #sent = new Set();
  #own;

  /**
   * @param {import('./client.mjs').User} user
   * @param {{ publicPackage: import('ts-mls-next').KeyPackage, privatePackage: import('ts-mls-next').PrivateKeyPackage }} own
   */
  constructor(user, own) {
    this.user = user;
    this.#own = own;
  }

  /**
   * Registers a device with one key package.
   *
   * @param {import('./client.mjs').User} user
   */
  static async register(user) {
    const credential = { credentialType: defaultCredentialTypes.basic, identity: new TextEncoder().encode(user.did) };
    const own = await generateKeyPackage({ credential, cipherSuite: context.cipherSuite });
    const keyPackage = encode(mlsMessageEncoder, {
      keyPackage: own.publicPackage, wireformat: wireformats.mls_key_package, version: protocolVersions.mls10,
    });
    await user.api.procedure('registerDevice', {
      deviceName: 'phone of tomorrow',
      signaturePublicKey: own.publicPackage.leafNode.signaturePublicKey,
      keyPackages: [{ keyPackage: toBase64(keyPackage, 'standard'), cipherSuite: SUITE }],
    });
    return new NextDevice(user, own);
  }

  get #group() {
    if (this.#state === undefined) throw new Error('this device is not in the group');
    return this.#state;
  }

  get epoch() {
    return Number(this.#group.groupContext.epoch);
  }

  /** @param {string} convoId whose Welcome waits */
  async join(convoId) {
    this.convoId = convoId;
    const { welcome } = await this.user.api.query('getWelcome', { convoId });
    const message = read(fromBase64(welcome));
    if (message.wireformat !== wireformats.mls_welcome) throw new Error('that is no Welcome');
    const { publicPackage: keyPackage, privatePackage: privateKeys } = this.#own;
    this.#state = await joinGroup({ context, welcome: message.welcome, keyPackage, privateKeys });
    await this.user.api.procedure('confirmWelcome', { convoId, success: true });
  }

  /** Reads the log to its end. */
  async sync() {
    const since = this.#since === undefined ? {} : { sinceMessage: this.#since };
    const { messages } = await this.user.api.query('getMessages', { convoId: this.convoId, limit: 100, ...since });
    for (const { id, ciphertext, epoch, void: takenBack, messageType } of messages) {
      this.#since = id;
      if (this.#sent.has(id) || takenBack || messageType === 'notice' || epoch < this.epoch) continue;
      const message = read(ciphertext);
      if (message.wireformat !== wireformats.mls_private_message && message.wireformat !== wireformats.mls_public_message) continue;
      const result = await processMessage({ context, state: this.#group, message, callback: acceptAll });
      this.#state = result.newState;
      if (result.kind === 'applicationMessage') this.texts.push(new TextDecoder().decode(result.message));
    }
  }

  /** @param {string} text */
  async send(text) {
    const { message, newState } = await createApplicationMessage({ context, state: this.#group, message: new TextEncoder().encode(text) });
    this.#state = newState;
    return this.#post(encode(mlsMessageEncoder, message));
  }

  /**
   * Sends a commit of what waits and of removals, which this device does not take over.
   *
   * @param {{ remove?: number[], wireAsPublicMessage?: boolean }} [changes]
   */
  async commit({ remove = [], wireAsPublicMessage = false } = {}) {
    const extraProposals = remove.map((removed) => ({ proposalType: defaultProposalTypes.remove, remove: { removed } }));
    const { commit } = await createCommit({ context, state: this.#group, extraProposals, wireAsPublicMessage });
    return this.#post(encode(mlsMessageEncoder, commit));
  }

  /** @param {Uint8Array} message */
  #post(message) {
    const ciphertext = pad(message, 'direct');
    const msgId = ulid();
    this.#sent.add(msgId);
    return this.user.api.procedure('sendMessage', {
      convoId: this.convoId, msgId, idempotencyKey: ulid(), ciphertext, epoch: this.epoch, paddedSize: ciphertext.length,
    });
  }
}
