/**
 * A group of MLS (RFC 9420) on ts-mls, as one device sees it, without any network.
 */
import {
  createApplicationMessage,
  createCommit,
  createGroup,
  createGroupInfoWithExternalPubAndRatchetTree,
  createProposal,
  decodeGroupState,
  emptyPskIndex,
  encodeGroupState,
  encodeMlsMessage,
  joinGroup,
  processMessage,
  zeroOutUint8Array,
} from 'ts-mls';
import { decryptSenderData } from 'ts-mls/privateMessage.js';
import { clientConfig, memberOf } from './keys.mjs';
import { readKeyPackage, readMessage } from './objects.mjs';
import { sendKey } from './package.mjs';
import { fromHex, toHex } from './text.mjs';
import { checkJoiner } from './vouch.mjs';

/** @typedef {import('./keys.mjs').Keys} Keys */
/** @typedef {import('./keys.mjs').OwnKeyPackage} OwnKeyPackage */
/** @typedef {import('./keys.mjs').Member} Member */

/**
 * What a received message turned out to be. Handshake messages of former epochs are stale: they took effect long ago.
 *
 * @typedef {{ kind: 'text', sender: Member, text: string }
 *   | { kind: 'commit', sender: Member, epoch: number }
 *   | { kind: 'proposal', sender: Member }
 *   | { kind: 'stale' }} Opened
 */

/** @typedef {{ state: Uint8Array, joinEpoch: number }} SavedGroup */

/**
 * @param {import('ts-mls').ClientState} state
 * @param {import('ts-mls').CiphersuiteImpl} suite
 * @returns {Promise<Uint8Array>} an MLSMessage with the GroupInfo, ratchet tree and external public key in it
 */
export async function describe(state, suite) {
  const groupInfo = await createGroupInfoWithExternalPubAndRatchetTree(state, [], suite);
  return encodeMlsMessage({ version: 'mls10', wireformat: 'mls_group_info', groupInfo });
}

/** A commit that exists but is in force only when the service has accepted it. */
export class StagedCommit {
  #adopt;

  /**
   * @param {Uint8Array} bytes the MLSMessage
   * @param {import('ts-mls').Welcome | undefined} welcome
   * @param {number} epoch the epoch it was made in
   * @param {Uint8Array} groupInfo an MLSMessage with the GroupInfo of the epoch that it leads to
   * @param {() => void} adopt
   */
  constructor(bytes, welcome, epoch, groupInfo, adopt) {
    this.bytes = bytes;
    this.welcome = welcome;
    this.epoch = epoch;
    this.groupInfo = groupInfo;
    this.#adopt = adopt;
  }

  /** Moves the group to the next epoch. */
  adopt() {
    this.#adopt();
  }
}

/** A group as one device sees it. */
export class Group {
  #state;
  #suite;

  /**
   * @param {import('ts-mls').ClientState} state
   * @param {import('ts-mls').CiphersuiteImpl} suite
   */
  constructor(state, suite) {
    this.#state = state;
    this.#suite = suite;
    /** Epoch in which this device came in: it has no keys of earlier ones. */
    this.joinEpoch = this.epoch;
  }

  /**
   * @param {Keys} keys
   * @param {OwnKeyPackage} own
   * @param {Uint8Array} groupId
   * @returns {Promise<Group>}
   */
  static async create(keys, own, groupId) {
    const state = await createGroup(groupId, own.publicPackage, own.privatePackage, [], keys.suite, clientConfig);
    keys.forget(own);
    return new Group(state, keys.suite);
  }

  /**
   * @param {Keys} keys
   * @param {OwnKeyPackage} own
   * @param {import('ts-mls').Welcome} welcome
   * @returns {Promise<Group>}
   */
  static async join(keys, own, welcome) {
    const { publicPackage, privatePackage } = own;
    const state = await joinGroup(welcome, publicPackage, privatePackage, emptyPskIndex, keys.suite, undefined, undefined, clientConfig);
    keys.forget(own);
    return new Group(state, keys.suite);
  }

  /**
   * A group as save gave it.
   *
   * @param {SavedGroup} saved
   * @param {import('ts-mls').CiphersuiteImpl} suite
   */
  static load({ state, joinEpoch }, suite) {
    const decoded = decodeGroupState(state, 0);
    if (decoded === undefined) throw new Error('this is no state of a group');
    const group = new Group({ ...decoded[0], clientConfig }, suite);
    group.joinEpoch = joinEpoch;
    return group;
  }

  /**
   * What has to be kept, secrets included.
   *
   * @returns {SavedGroup}
   */
  save() {
    return { state: encodeGroupState(this.#state), joinEpoch: this.joinEpoch };
  }

  /** An MLSMessage with the GroupInfo of the present epoch. */
  groupInfo() {
    return describe(this.#state, this.#suite);
  }

  /** Group id, hex. */
  get id() {
    return toHex(this.#state.groupContext.groupId);
  }

  get epoch() {
    return Number(this.#state.groupContext.epoch);
  }

  /** What all members of an epoch have in common and nobody else knows (RFC 9420, section 8.7), hex. */
  get authenticator() {
    return toHex(this.#state.keySchedule.epochAuthenticator);
  }

  /** The key for sealed sends in the present epoch (RFC 9420, section 8.5). */
  sendKey() {
    const { groupContext, keySchedule } = this.#state;
    return sendKey({ cipherSuite: this.#suite.name, groupId: groupContext.groupId, exporterSecret: keySchedule.exporterSecret });
  }

  /** Whether a commit has removed this device. */
  get removed() {
    return this.#state.groupActiveState.kind === 'removedFromGroup';
  }

  get ownLeaf() {
    return this.#state.privatePath.leafIndex;
  }

  /** Whether proposals wait for a commit. Nothing may be sent before it (RFC 9420, section 12.4). */
  get hasProposals() {
    return Object.keys(this.#state.unappliedProposals).length > 0;
  }

  /** Leaves that waiting proposals remove. */
  get leavesToRemove() {
    return Object.values(this.#state.unappliedProposals).flatMap(({ proposal }) =>
      proposal.proposalType === 'remove' ? [proposal.remove.removed] : [],
    );
  }

  /**
   * The members by leaf.
   *
   * @returns {(Member & { leaf: number, signatureKey: string })[]}
   */
  members() {
    return this.#state.ratchetTree.flatMap((node, index) =>
      node?.nodeType === 'leaf'
        ? [{ ...memberOf(node.leaf.credential), leaf: index / 2, signatureKey: toHex(node.leaf.signaturePublicKey) }]
        : [],
    );
  }

  /**
   * The leaves of a user's devices.
   *
   * @param {string} did
   */
  leavesOf(did) {
    return this.members()
      .filter((member) => member.did === did)
      .map((member) => member.leaf);
  }

  /**
   * Encrypts a text. The state moves on at once, since no key may be used twice.
   *
   * @param {string} text
   * @returns {Promise<Uint8Array>} the MLSMessage
   */
  async seal(text) {
    const result = await createApplicationMessage(this.#state, new TextEncoder().encode(text), this.#suite);
    this.#move(result);
    return encodeMlsMessage({ version: 'mls10', wireformat: 'mls_private_message', privateMessage: result.privateMessage });
  }

  /**
   * Makes a proposal to remove a leaf, the own one for instance, and applies it to the own state.
   *
   * @param {number} leaf
   * @param {{ asPublicMessage?: boolean }} [options]
   * @returns {Promise<Uint8Array>} the MLSMessage
   */
  async proposeRemoval(leaf, { asPublicMessage = false } = {}) {
    const proposal = /** @type {const} */ ({ proposalType: 'remove', remove: { removed: leaf } });
    const result = await createProposal(this.#state, asPublicMessage, proposal, this.#suite);
    this.#move(result);
    return encodeMlsMessage(result.message);
  }

  /**
   * Makes a commit of the waiting proposals and of more. Without any it updates the own keys.
   *
   * @param {{ add?: import('ts-mls').KeyPackage[], remove?: number[], asPublicMessage?: boolean }} [changes]
   * @returns {Promise<StagedCommit>}
   */
  async stage({ add = [], remove = [], asPublicMessage = false } = {}) {
    const state = this.#state;
    const waiting = new Set(this.leavesToRemove);
    /** @type {import('ts-mls').Proposal[]} */
    const extraProposals = [];
    for (const removed of remove) {
      if (!waiting.has(removed)) extraProposals.push({ proposalType: 'remove', remove: { removed } });
    }
    for (const keyPackage of add) extraProposals.push({ proposalType: 'add', add: { keyPackage } });
    const result = await createCommit(
      { state, cipherSuite: this.#suite },
      { extraProposals, wireAsPublicMessage: asPublicMessage, ratchetTreeExtension: true },
    );
    const groupInfo = await describe(result.newState, this.#suite);
    return new StagedCommit(encodeMlsMessage(result.commit), result.welcome, this.epoch, groupInfo, () => {
      if (this.#state.groupContext !== state.groupContext) throw new Error('the group has moved on since the commit was made');
      this.#move(result);
    });
  }

  /**
   * Makes a commit that adds key packages. Leaves with the same signature key go in the same commit: a group holds a key once
   * (RFC 9420, section 7.3), and a device that comes again has lost the old leaf.
   *
   * @param {Uint8Array[]} packages
   * @param {{ asPublicMessage?: boolean }} [options]
   * @returns {Promise<StagedCommit>}
   */
  stageAddition(packages, options) {
    const add = packages.map(readKeyPackage);
    const keys = new Set(add.map((keyPackage) => toHex(keyPackage.leafNode.signaturePublicKey)));
    const old = this.members().filter((member) => keys.has(member.signatureKey));
    return this.stage({ add, remove: old.map(({ leaf }) => leaf), ...options });
  }

  /**
   * Opens a message of the group and applies what it does.
   *
   * @param {Uint8Array} bytes padded or not
   * @returns {Promise<Opened>}
   */
  async open(bytes) {
    const message = readMessage(bytes);
    switch (message.wireformat) {
      case 'mls_private_message': {
        const { contentType, epoch } = message.privateMessage;
        if (contentType === 'application') return this.#openText(message);
        return this.#openHandshake(message, contentType, epoch);
      }
      case 'mls_public_message': {
        const { contentType, epoch } = message.publicMessage.content;
        return this.#openHandshake(message, contentType, epoch);
      }
      default:
        throw new Error(`a ${message.wireformat} is not a message of a group`);
    }
  }

  /**
   * The sender comes from the sender data, which only members can make; processMessage then verifies the signature with the
   * key of that leaf.
   *
   * @param {import('ts-mls').MlsPrivateMessage & import('ts-mls').MLSMessage} message
   * @returns {Promise<Opened>}
   */
  async #openText(message) {
    const { epoch } = message.privateMessage;
    const state = this.#state;
    const keys =
      epoch === state.groupContext.epoch
        ? { senderDataSecret: state.keySchedule.senderDataSecret, ratchetTree: state.ratchetTree }
        : state.historicalReceiverData.get(epoch);
    if (keys === undefined) throw new Error(`there are no keys of epoch ${epoch}`);
    const senderData = await decryptSenderData(message.privateMessage, keys.senderDataSecret, this.#suite);
    if (senderData === undefined) throw new Error('the sender data cannot be read');
    const node = keys.ratchetTree[2 * senderData.leafIndex];
    if (node?.nodeType !== 'leaf') throw new Error('the sender is not a member');
    const result = await processMessage(message, state, emptyPskIndex, () => 'reject', this.#suite);
    if (result.kind !== 'applicationMessage') throw new Error('the content is not what the header says');
    this.#move(result);
    return { kind: 'text', sender: memberOf(node.leaf.credential), text: new TextDecoder().decode(result.message) };
  }

  /**
   * @param {(import('ts-mls').MlsPrivateMessage | import('ts-mls').MlsPublicMessage) & import('ts-mls').MLSMessage} message
   * @param {import('ts-mls').ContentTypeName} contentType
   * @param {bigint} epoch
   * @returns {Promise<Opened>}
   */
  async #openHandshake(message, contentType, epoch) {
    const current = this.#state.groupContext.epoch;
    if (epoch < current) return { kind: 'stale' };
    if (epoch > current) throw new Error(`the message is of epoch ${epoch}, the group at ${current}`);
    const joiner = message.wireformat === 'mls_public_message' ? await this.#joiner(message.publicMessage.content) : undefined;
    /** @type {number | undefined} */
    let leaf;
    const result = await processMessage(
      message,
      this.#state,
      emptyPskIndex,
      (incoming) => {
        leaf = incoming.kind === 'commit' ? incoming.senderLeafIndex : incoming.proposal.senderLeafIndex;
        return leaf === undefined && joiner === undefined ? 'reject' : 'accept';
      },
      this.#suite,
    );
    const node = leaf === undefined ? undefined : this.#state.ratchetTree[2 * leaf];
    const sender = node?.nodeType === 'leaf' ? memberOf(node.leaf.credential) : joiner;
    if (result.kind !== 'newState' || sender === undefined) throw new Error('the message is not of a member');
    this.#move(result);
    return contentType === 'commit' ? { kind: 'commit', sender, epoch: Number(epoch) } : { kind: 'proposal', sender };
  }

  /**
   * Who joins by a commit from outside. The group must know the device (see checkJoiner).
   *
   * @param {import('ts-mls').FramedContent} content
   * @returns {Promise<Member | undefined>} undefined for the commit of a member
   */
  async #joiner(content) {
    if (content.sender.senderType !== 'new_member_commit' || content.contentType !== 'commit') return undefined;
    const leaf = content.commit.path?.leafNode;
    const joiner = leaf && memberOf(leaf.credential);
    await checkJoiner(content, this.members().filter(({ did }) => did === joiner?.did), fromHex(this.id), this.#suite);
    return joiner;
  }

  /**
   * Takes over the next state and wipes the keys that led to it (RFC 9420, section 9.2).
   *
   * @param {{ newState: import('ts-mls').ClientState, consumed: Uint8Array[] }} result
   */
  #move({ newState, consumed }) {
    this.#state = newState;
    consumed.forEach(zeroOutUint8Array);
  }
}
