/**
 * Joining a group from outside (RFC 9420, section 12.4.3.2): by a commit of one's own, made from the GroupInfo that the
 * service hands out.
 */
import { decodeMlsMessage, encodeMlsMessage, joinGroupExternal } from 'ts-mls';
import { ratchetTreeFromExtension } from 'ts-mls/groupInfo.js';
import { clientConfig } from './keys.mjs';
import { describe, Group } from './mls.mjs';
import { toHex } from './text.mjs';

/** A GroupInfo, as one sees it who wants to join by it. */
export class Entrance {
  #groupInfo;

  /** @param {Uint8Array} bytes an MLSMessage */
  constructor(bytes) {
    const message = decodeMlsMessage(bytes, 0)?.[0];
    if (message?.wireformat !== 'mls_group_info') throw new Error('there is no GroupInfo in the bytes');
    this.#groupInfo = message.groupInfo;
  }

  /**
   * The identity that a signature key has in the group. A leaf keeps its identity: who comes back has the same.
   *
   * @param {Uint8Array} publicKey
   * @returns {string | undefined} undefined when no leaf has the key
   */
  identityOf(publicKey) {
    for (const node of ratchetTreeFromExtension(this.#groupInfo) ?? []) {
      if (node?.nodeType !== 'leaf' || toHex(node.leaf.signaturePublicKey) !== toHex(publicKey)) continue;
      const { credential } = node.leaf;
      return credential.credentialType === 'basic' ? new TextDecoder().decode(credential.identity) : undefined;
    }
    return undefined;
  }

  /**
   * Makes the commit. It is in force when the service has accepted it; when another one was faster, all of this is dropped.
   *
   * @param {import('./keys.mjs').Keys} keys
   * @param {string} identity for a device whose key is not in the group
   * @param {Uint8Array} [vouch] another device's signature of vouchContent (vouch.mjs)
   * @returns {Promise<{ group: Group, commit: Uint8Array, groupInfo: Uint8Array }>} groupInfo is that of the epoch behind it
   */
  async join(keys, identity, vouch = new Uint8Array()) {
    const before = this.identityOf(keys.publicKey);
    const own = await keys.keyPackage(before ?? identity);
    const { publicMessage, newState } = await joinGroupExternal(
      this.#groupInfo, own.publicPackage, own.privatePackage, before !== undefined, keys.suite, undefined, clientConfig, vouch,
    );
    keys.forget(own);
    const commit = encodeMlsMessage({ version: 'mls10', wireformat: 'mls_public_message', publicMessage });
    return { group: new Group(newState, keys.suite), commit, groupInfo: await describe(newState, keys.suite) };
  }
}
