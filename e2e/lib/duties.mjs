/**
 * What the members of a conversation owe each other, as one device settles it: devices and rejoins to add, removals to commit
 * and to confirm.
 */
import { isError } from './api.mjs';

/** How long a member waits for the one before it to settle a request, in milliseconds. */
const TURN = 300;

/** @typedef {{ requestId: string, kind: string, userDid: string, deviceId?: string, claimed?: boolean }} PendingRequest */
/** @typedef {import('./mls.mjs').Group} Group */

export class Duties {
  #device;
  #conversation;
  #out;
  #commit;
  /** @type {Map<string, number>} when a request was first seen */
  #seen = new Map();

  /**
   * @param {import('./client.mjs').Device} device
   * @param {{ id: string, view: any, group: Group | undefined }} conversation
   * @param {import('./submissions.mjs').Submissions} out
   * @param {(stage: (group: Group, how: { asPublicMessage?: boolean }) => Promise<import('./mls.mjs').StagedCommit>, deliver: (ready: import('./submissions.mjs').Ready) => Promise<any>) => Promise<any>} commit makes a commit and hands it in once
   */
  constructor(device, conversation, out, commit) {
    this.#device = device;
    this.#conversation = conversation;
    this.#out = out;
    this.#commit = commit;
  }

  get #group() {
    const { group } = this.#conversation;
    if (group === undefined) throw new Error('this device is not in the group');
    return group;
  }

  /**
   * When this device should settle a request: the user's own devices at once, then the others by leaf, each a little later, so
   * that they do not all commit at the same time.
   *
   * @param {{ userDid?: string, deviceId?: string }} request
   * @returns {number | undefined} in milliseconds after the request became known; undefined for never
   */
  turn({ userDid, deviceId }) {
    const { group } = this.#conversation;
    if (group === undefined || deviceId === this.#device.id || group.leavesToRemove.includes(group.ownLeaf)) return undefined;
    if (userDid === this.#device.did) return 0;
    const others = group.members().filter((member) => member.did !== userDid);
    return TURN * (1 + others.findIndex((member) => member.leaf === group.ownLeaf));
  }

  /** @param {PendingRequest} request */
  isMyTurn(request) {
    const turn = this.turn(request);
    const first = this.#seen.get(request.requestId) ?? Date.now();
    this.#seen.set(request.requestId, first);
    return turn !== undefined && Date.now() - first >= turn;
  }

  /**
   * Settles one request. If another member was faster, the request is gone from the next convoView.
   *
   * @param {PendingRequest} request
   */
  async settle({ requestId, kind, userDid, deviceId }) {
    try {
      if (kind === 'removal') {
        await this.#settleRemoval(userDid, deviceId);
        return;
      }
      let packages = kind === 'rejoin' ? await this.#device.claim({ dids: [userDid], requestId }) : [];
      if (packages.length === 0 && deviceId !== undefined) {
        packages = await this.#device.claim({ dids: [userDid], deviceIds: [deviceId] });
      }
      if (packages.length === 0) return; // the device has to publish key packages first
      await this.#commit((group, how) => group.stageAddition(packages.map(({ bytes }) => bytes), how), this.#out.byAddition([userDid], packages));
    } catch (error) {
      if (!isError(error, 'EpochMismatch', 'AlreadyMember', 'KeyPackageNotFound')) throw error;
    }
  }

  /**
   * Says whether a removal that nobody but the members can see was made.
   *
   * @param {PendingRequest} claim
   */
  async confirm({ requestId, userDid }) {
    const reason = this.#group.leavesOf(userDid).length === 0 ? 'removed' : 'not_removed';
    await this.#device.api.procedure('reportCommit', { convoId: this.#conversation.id, epoch: this.#group.epoch, reason, requestId });
  }

  /**
   * @param {string} did a user who is off the roster, or has deleted a device
   * @param {string | undefined} deviceId the device whose leaf is owed
   */
  async #settleRemoval(did, deviceId) {
    const onRoster = this.#conversation.view.members.some((/** @type {{ userDid: string }} */ member) => member.userDid === did);
    if (onRoster) {
      /** @type {(group: Group) => number[]} */
      const leaves = (group) => group.members().filter((member) => member.did === did && member.deviceId === deviceId).map(({ leaf }) => leaf);
      if (deviceId === undefined || leaves(this.#group).length === 0) return;
      await this.#commit((group, how) => group.stage({ remove: leaves(group), ...how }), this.#out.byMessage);
      return;
    }
    await this.#commit((group, how) => group.stage({ remove: group.leavesOf(did), ...how }), this.#out.bySettlement(did));
  }
}
