/**
 * What one device hands to the service for one conversation, and the messages of its own that come back in the log.
 */
import { writeWelcome } from './objects.mjs';
import { pad, sealed } from './package.mjs';
import { toBase64, ulid } from './text.mjs';

/**
 * A commit as it goes to the service: commit and GroupInfo as text, the latter for verified conversations only.
 *
 * @typedef {{ commit: string, groupInfo: { groupInfo?: string }, staged: import('./mls.mjs').StagedCommit }} Ready
 */

export class Submissions {
  #device;
  #convoId;
  /** @type {Set<string>} */
  #sent = new Set();

  /**
   * @param {import('./client.mjs').Device} device
   * @param {string} convoId
   */
  constructor(device, convoId) {
    this.#device = device;
    this.#convoId = convoId;
  }

  /** @param {Uint8Array} bytes */
  text(bytes) {
    return toBase64(bytes, this.#device.base64);
  }

  /**
   * Whether a message of the log is one of this device's own, which it cannot open. Each is known once.
   *
   * @param {string} id
   */
  isEcho(id) {
    return this.#sent.delete(id);
  }

  /**
   * @param {Uint8Array} message an encoded MLSMessage
   * @param {number} epoch
   * @param {{ declaredSize?: number, groupInfo?: string }} [more]
   */
  async post(message, epoch, more = {}) {
    const ciphertext = pad(message, this.#device.padding);
    const msgId = ulid();
    this.#sent.add(msgId); // stays even if the answer is lost: the message may be there all the same
    const output = await this.#call('sendMessage', {
      msgId, idempotencyKey: ulid(), ciphertext, epoch, paddedSize: ciphertext.length, ...more,
    });
    if (output.messageId !== msgId) throw new Error('the service names another message');
    return output;
  }

  /**
   * A message for a sealed send, which this device does not send itself.
   *
   * @param {Uint8Array} key the send key of the epoch
   * @param {Uint8Array} message an encoded MLSMessage
   * @param {number} epoch
   */
  async seal(key, message, epoch) {
    const input = await sealed(key, this.#convoId, epoch, message, this.#device.padding);
    this.#sent.add(input.msgId);
    return input;
  }

  /** Delivers a commit through sendMessage. */
  byMessage = (/** @type {Ready} */ { staged, groupInfo }) => this.post(staged.bytes, staged.epoch, groupInfo);

  /**
   * Delivers a commit that adds through addMembers.
   *
   * @param {string[]} dids
   * @param {import('./client.mjs').Claimed[]} packages
   */
  byAddition(dids, packages) {
    return (/** @type {Ready} */ { commit, staged, groupInfo }) => {
      if (staged.welcome === undefined) throw new Error('the commit adds nobody');
      return this.#call('addMembers', {
        idempotencyKey: ulid(),
        didList: dids,
        commit,
        welcomeMessage: this.text(writeWelcome(staged.welcome, this.#device.form)),
        ...groupInfo,
        keyPackageHashes: packages.map(({ did, hash }) => ({ did, hash })),
      });
    };
  }

  /**
   * Delivers a commit that removes a member through removeMember.
   *
   * @param {string} did
   * @param {string} [reason]
   */
  byRemoval(did, reason) {
    const why = reason === undefined ? {} : { reason };
    return (/** @type {Ready} */ { commit, groupInfo }) =>
      this.#call('removeMember', { targetDid: did, idempotencyKey: ulid(), commit, ...groupInfo, ...why });
  }

  /**
   * Delivers a commit that removes who is off the roster through leaveConvo.
   *
   * @param {string} did
   */
  bySettlement(did) {
    return (/** @type {Ready} */ { commit, groupInfo }) => this.#call('leaveConvo', { targetDid: did, commit, ...groupInfo });
  }

  /**
   * Delivers a commit from outside.
   *
   * @param {{ commit: Uint8Array, groupInfo: Uint8Array }} joined
   */
  async join({ commit, groupInfo }) {
    const output = await this.#call('processExternalCommit', {
      externalCommit: this.text(commit), groupInfo: this.text(groupInfo), idempotencyKey: ulid(),
    });
    this.#sent.add(output.messageId);
    return output;
  }

  /**
   * Deposits the GroupInfo of an epoch.
   *
   * @param {number} epoch
   * @param {Uint8Array} groupInfo
   * @returns {Promise<boolean>} whether it is handed out now
   */
  async deposit(epoch, groupInfo) {
    const output = await this.#call('updateGroupInfo', { epoch, groupInfo: this.text(groupInfo) });
    return output.updated;
  }

  /**
   * @param {string} method
   * @param {Record<string, unknown>} input
   */
  #call(method, input) {
    return this.#device.api.procedure(method, { convoId: this.#convoId, ...input });
  }
}
