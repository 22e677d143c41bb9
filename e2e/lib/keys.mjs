/**
 * A device's keys, on ts-mls: its signature key, its key packages, and whom a credential names.
 */
import {
  defaultAuthenticationService,
  defaultCapabilities,
  generateKeyPackageWithKey,
  getCiphersuiteFromName,
  getCiphersuiteImpl,
} from 'ts-mls';
import { defaultClientConfig } from 'ts-mls/clientConfig.js';
import { encode } from 'ts-mls/codec/tlsEncoder.js';
import { varLenDataEncoder } from 'ts-mls/codec/variableLength.js';
import { signWithLabel } from 'ts-mls/crypto/signature.js';
import { makeKeyPackageRef } from 'ts-mls/keyPackage.js';
import { toHex } from './text.mjs';

/**
 * Cipher suites that this client can use: those whose keys ts-mls does not compress.
 *
 * @typedef {'MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519' | 'MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519' | 'MLS_256_DHKEMX448_AES256GCM_SHA512_Ed448' | 'MLS_256_DHKEMX448_CHACHA20POLY1305_SHA512_Ed448'} Suite
 */

const DAY = 24n * 60n * 60n;
/** Key packages live four weeks and are valid an hour before they are made, for clocks that are behind. */
const LIFETIME = 28n * DAY;
const CLOCK_SKEW = 3600n;
/** Extension of key packages that may be used more than once (MLS extensions, last_resort). */
const LAST_RESORT = 0x000a;
/** What this client can do. A key package may have no extension that is not listed here. */
const capabilities = () => {
  const usual = defaultCapabilities();
  return { ...usual, extensions: [...usual.extensions, LAST_RESORT] };
};

const IDENTITY = /^(did:(?:plc:[a-z2-7]{24}|web:[A-Za-z0-9.%_-]+))(?:#([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}))?$/;

/**
 * Who stands behind a credential.
 *
 * @typedef {{ did: string, deviceId?: string }} Member
 */

/**
 * @typedef {object} OwnKeyPackage
 * @property {string} ref KeyPackageRef, hex
 * @property {import('ts-mls').KeyPackage} publicPackage
 * @property {import('ts-mls').PrivateKeyPackage} privatePackage
 * @property {boolean} lastResort
 */

/**
 * @typedef {object} SavedKeys
 * @property {Suite} suite
 * @property {{ signKey: Uint8Array, publicKey: Uint8Array }} signatureKey
 * @property {OwnKeyPackage[]} packages
 */

/**
 * Reads the identity of a basic credential: a DID, or a DID and the id of a device.
 *
 * @param {import('ts-mls').Credential} credential
 * @returns {Member}
 */
export function memberOf(credential) {
  const match = credential.credentialType === 'basic' ? IDENTITY.exec(new TextDecoder().decode(credential.identity)) : null;
  if (match === null) throw new Error('the credential does not name a DID');
  return match[2] === undefined ? { did: match[1] } : { did: match[1], deviceId: match[2] };
}

/** A group is joined only if every credential in it names a DID. */
const authService = {
  ...defaultAuthenticationService,
  /** @param {import('ts-mls').Credential} credential */
  async validateCredential(credential) {
    try {
      memberOf(credential);
      return true;
    } catch {
      return false;
    }
  },
};

export const clientConfig = { ...defaultClientConfig, authService };

/** The signature key of a device and the private halves of its key packages. */
export class Keys {
  /** @type {Map<string, OwnKeyPackage>} */
  #packages = new Map();
  #signatureKey;

  /**
   * @param {import('ts-mls').CiphersuiteImpl} suite
   * @param {{ signKey: Uint8Array, publicKey: Uint8Array }} signatureKey
   */
  constructor(suite, signatureKey) {
    this.suite = suite;
    this.#signatureKey = signatureKey;
  }

  /** @param {Suite} [name] */
  static async create(name = 'MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519') {
    const suite = await getCiphersuiteImpl(getCiphersuiteFromName(name));
    return new Keys(suite, await suite.signature.keygen());
  }

  /**
   * Keys as save gave them.
   *
   * @param {SavedKeys} saved
   */
  static async load({ suite, signatureKey, packages }) {
    const keys = new Keys(await getCiphersuiteImpl(getCiphersuiteFromName(suite)), signatureKey);
    for (const own of packages) keys.#packages.set(own.ref, own);
    return keys;
  }

  /**
   * What has to be kept, private halves included, as IndexedDB takes it.
   *
   * @returns {SavedKeys}
   */
  save() {
    return { suite: /** @type {Suite} */ (this.suite.name), signatureKey: this.#signatureKey, packages: [...this.#packages.values()] };
  }

  get publicKey() {
    return this.#signatureKey.publicKey;
  }

  /**
   * Makes a key package and keeps its private half.
   *
   * @param {string} identity a DID, or a DID and a device id
   * @param {{ lastResort?: boolean, lifetime?: bigint }} [options] lifetime in seconds
   * @returns {Promise<OwnKeyPackage>}
   */
  async keyPackage(identity, { lastResort = false, lifetime = LIFETIME } = {}) {
    const now = BigInt(Math.floor(Date.now() / 1000));
    const { publicPackage, privatePackage } = await generateKeyPackageWithKey(
      { credentialType: 'basic', identity: new TextEncoder().encode(identity) },
      capabilities(),
      { notBefore: now - CLOCK_SKEW, notAfter: now + lifetime },
      lastResort ? [{ extensionType: LAST_RESORT, extensionData: new Uint8Array() }] : [],
      this.#signatureKey,
      this.suite,
    );
    const ref = toHex(await makeKeyPackageRef(publicPackage, this.suite.hash));
    const own = { ref, publicPackage, privatePackage, lastResort };
    this.#packages.set(ref, own);
    return own;
  }

  /** @returns {string[]} the references of the key packages whose private halves are here, in hex */
  refs() {
    return [...this.#packages.keys()];
  }

  /**
   * SignWithLabel (RFC 9420, section 5.1.2) over vectors.
   *
   * @param {string} label
   * @param {Uint8Array[]} vectors
   */
  signWithLabel(label, vectors) {
    return signWithLabel(this.#signatureKey.signKey, label, Buffer.concat(vectors.map((part) => encode(varLenDataEncoder)(part))), this.suite.signature);
  }

  /**
   * Signs something with the signature key of the device, as it is.
   *
   * @param {Uint8Array} content
   */
  sign(content) {
    return this.suite.signature.sign(this.#signatureKey.signKey, content);
  }

  /**
   * The key package that a Welcome addresses, if it is one of ours.
   *
   * @param {import('ts-mls').Welcome} welcome
   * @returns {OwnKeyPackage | undefined}
   */
  find(welcome) {
    for (const secret of welcome.secrets) {
      const own = this.#packages.get(toHex(secret.newMember));
      if (own !== undefined) return own;
    }
    return undefined;
  }

  /**
   * Forgets a used key package: whoever learns the private half later could read the Welcome (RFC 9420, section 16.8).
   *
   * @param {OwnKeyPackage} own
   */
  forget(own) {
    if (!own.lastResort) this.#packages.delete(own.ref);
  }

  /** Forgets all key packages, as a device does that lost its storage. */
  forgetAll() {
    this.#packages.clear();
  }
}
