/**
 * An atproto account: a did:plc with a signing key, and the service tokens that its PDS would sign for it.
 */
import { randomBytes } from 'node:crypto';
import { P256Keypair, Secp256k1Keypair } from '@atproto/crypto';
import { createServiceJwt } from '@atproto/xrpc-server';

const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567';

/** @typedef {'k256' | 'p256'} Curve */

export class Identity {
  /** @type {import('@atproto/crypto').Keypair} */
  #key;

  /**
   * @param {string} did
   * @param {import('@atproto/crypto').Keypair} key
   */
  constructor(did, key) {
    this.did = did;
    this.#key = key;
  }

  /**
   * @param {Curve} [curve]
   * @returns {Promise<Identity>}
   */
  static async create(curve = 'k256') {
    const key = curve === 'k256' ? await Secp256k1Keypair.create() : await P256Keypair.create();
    const id = Array.from(randomBytes(24), (byte) => BASE32[byte % 32]).join('');
    return new Identity(`did:plc:${id}`, key);
  }

  /**
   * The DID document as plc.directory writes it.
   *
   * @param {string} pds URL of the account's PDS
   */
  document(pds) {
    return {
      '@context': ['https://www.w3.org/ns/did/v1', 'https://w3id.org/security/multikey/v1'],
      id: this.did,
      alsoKnownAs: [`at://${this.did.slice('did:plc:'.length)}.test`],
      verificationMethod: [
        {
          id: `${this.did}#atproto`,
          type: 'Multikey',
          controller: this.did,
          publicKeyMultibase: this.#key.did().slice('did:key:'.length),
        },
      ],
      service: [{ id: '#atproto_pds', type: 'AtprotoPersonalDataServer', serviceEndpoint: pds }],
    };
  }

  /**
   * A service token for one request, as com.atproto.server.getServiceAuth gives it out.
   *
   * @param {string} aud DID of the service
   * @param {string | null} lxm NSID of the method
   * @param {{ exp?: number }} [options] exp in seconds since the epoch; default in a minute
   * @returns {Promise<string>}
   */
  token(aud, lxm, { exp } = {}) {
    return createServiceJwt({ iss: this.did, aud, lxm, exp, keypair: this.#key });
  }
}
