/**
 * A conversation as one device sees it: the service's log on one side, the MLS group on the other.
 *
 * What this device knows follows the log, by seq. A commit of its own is staged, sent, and adopted only when the service has
 * accepted it; when another member was faster it is dropped, the device catches up and makes a new one.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { isError } from './api.mjs';
import { Duties } from './duties.mjs';
import { found } from './founding.mjs';
import { Group } from './mls.mjs';
import { contentTypeOf, groupIdOf, readWelcome, writeKeyPackage } from './objects.mjs';
import { Entrance } from './outside.mjs';
import { Submissions } from './submissions.mjs';
import { vouchContent } from './package.mjs';
import { fromBase64, fromHex, ulid } from './text.mjs';

/** How often a commit is made anew because others were faster. */
const COMMIT_ATTEMPTS = 20;

/**
 * A text that this device has decrypted.
 *
 * @typedef {{ id: string, seq: number, epoch: number, sender: import('./keys.mjs').Member, text: string }} Received
 */

/**
 * A messageView, of getMessages or of a stream.
 *
 * @typedef {{ id: string, convoId: string, seq: number, epoch: number, ciphertext: Uint8Array, messageType?: string, void?: boolean }} LogMessage
 */

/** @typedef {import('./duties.mjs').PendingRequest} PendingRequest */

export class Conversation {
  /** @type {Group | undefined} undefined until a Welcome came, and after the state was lost */
  group;
  /** @type {Received[]} in the order of the log */
  received = [];
  /** @type {{ id: string, epoch: number }[]} messages to the user from before this device joined: it has no keys for them */
  unreadable = [];
  /** Whether the roster no longer has this user. */
  gone = false;
  /** How many commits were dropped because another member was faster. */
  conflicts = 0;

  #device;
  #out;
  #duties;
  /** @type {any} the last convoView */
  #view;
  /** @type {string | undefined} */
  #since;
  #lastSeq = 0;
  /** @type {Promise<unknown>} */
  #queue = Promise.resolve();

  /**
   * @param {import('./client.mjs').Device} device
   * @param {any} view a convoView
   */
  constructor(device, view) {
    this.#device = device;
    this.#view = view;
    this.#out = new Submissions(device, view.id);
    this.#duties = new Duties(device, this, this.#out, (stage, deliver) => this.#commit(stage, deliver, 1));
  }

  get id() {
    return this.#view.id;
  }

  get view() {
    return this.#view;
  }

  /** Whether the service follows the group: handshakes are public then, and every commit brings its GroupInfo. */
  get verified() {
    return this.#view.assurance === 'verified';
  }

  /** Texts received so far. */
  get texts() {
    return this.received.map((m) => m.text);
  }

  /**
   * What a member has to commit.
   *
   * @returns {PendingRequest[]}
   */
  get requests() {
    return this.#owed.filter((request) => !request.claimed);
  }

  /**
   * Removals that a commit is said to have made, which the members confirm.
   *
   * @returns {PendingRequest[]}
   */
  get claims() {
    return this.#owed.filter((request) => request.claimed);
  }

  /** @returns {PendingRequest[]} */
  get #owed() {
    return this.#view.pendingRequests ?? [];
  }

  /**
   * Joins if a Welcome waits, reads the log to its end and, if asked to, settles what members owe.
   *
   * @param {any} [view] a newer convoView
   * @param {{ settle?: boolean }} [options]
   */
  sync(view, { settle = false } = {}) {
    return this.#exclusive(async () => {
      if (view !== undefined) this.#view = view;
      // The members have begun another group: the keys of the one before open nothing more.
      if (this.group !== undefined && this.group.id !== this.#view.groupId) this.group = undefined;
      if (this.group === undefined && !(await this.#join())) return;
      await this.#read();
      if (!settle) return;
      for (const claim of this.claims) await this.#duties.confirm(claim);
      for (const request of this.requests) {
        if (this.#duties.isMyTurn(request)) await this.#duties.settle(request);
      }
    });
  }

  /** Reads what is left to who is off the roster: the log up to there, and the commit that removed this device if one did. */
  readLast() {
    return this.#exclusive(async () => {
      try {
        while (this.group !== undefined) await this.#read();
      } catch (error) {
        if (!isError(error, 'NotMember', 'ConvoNotFound')) throw error;
      }
    });
  }

  /**
   * Takes over a newer convoView, and joins if a Welcome waits.
   *
   * @param {any} view
   */
  refresh(view) {
    return this.#exclusive(async () => {
      this.#view = view;
      if (this.group === undefined) await this.#join();
    });
  }

  /**
   * Takes a message that came over a stream. After a gap the log is read instead.
   *
   * @param {LogMessage} message
   */
  receive(message) {
    return this.#exclusive(async () => {
      if (this.group === undefined || message.seq <= this.#lastSeq) return;
      if (this.#lastSeq === 0 || message.seq === this.#lastSeq + 1) await this.#take(message);
      else await this.#read();
    });
  }

  /**
   * Settles a request if it is still open. See turn for who should do so, and when.
   *
   * @param {string} requestId
   */
  settle(requestId) {
    return this.#exclusive(async () => {
      const request = this.requests.find((r) => r.requestId === requestId);
      if (request !== undefined && this.group !== undefined) await this.#duties.settle(request);
    });
  }

  /**
   * When this device should settle a request (see Duties).
   *
   * @param {{ userDid?: string, deviceId?: string }} request
   */
  turn(request) {
    return this.#duties.turn(request);
  }

  /**
   * Encrypts a text and sends it. Waiting proposals are committed first, and a change of epoch on the way is caught up with.
   *
   * @param {string} text
   * @param {{ tellSize?: boolean }} [options] tellSize sends declaredSize, as older clients do
   * @returns {Promise<any>} the output of sendMessage
   */
  send(text, { tellSize = false } = {}) {
    return this.#exclusive(async () => {
      for (let attempt = 1; ; attempt++) {
        await this.#read();
        if (this.#group.hasProposals) await this.#commit((group, how) => group.stage(how), this.#out.byMessage);
        const message = await this.#group.seal(text);
        try {
          return await this.#out.post(message, this.#group.epoch, tellSize ? { declaredSize: message.length } : {});
        } catch (error) {
          if (!isError(error, 'EpochMismatch') || attempt === COMMIT_ATTEMPTS) throw error;
        }
      }
    });
  }

  /**
   * Encrypts a text for a sealed send, with the key of its epoch or another one.
   *
   * @param {string} text
   * @param {Uint8Array} [key]
   */
  seal(text, key) {
    return this.#exclusive(async () => {
      await this.#read();
      const message = await this.#group.seal(text);
      return this.#out.seal(key ?? (await this.#group.sendKey()), message, this.#group.epoch);
    });
  }

  /**
   * Adds users with all their devices: one commit, one Welcome for all.
   *
   * @param {string[]} dids
   */
  add(dids) {
    return this.#exclusive(async () => {
      const packages = await this.#device.claim({ dids });
      return this.#commit((group, how) => group.stageAddition(packages.map(({ bytes }) => bytes), how), this.#out.byAddition(dids, packages));
    });
  }

  /**
   * Commits fresh keys of this device.
   *
   * @param {{ asPublicMessage?: boolean }} [options]
   */
  update({ asPublicMessage = false } = {}) {
    return this.#exclusive(() => this.#commit((group, how) => group.stage({ asPublicMessage, ...how }), this.#out.byMessage));
  }

  /**
   * Commits the removal of a user who is off the roster, through sendMessage.
   *
   * @param {string} did
   * @param {{ asPublicMessage?: boolean }} [options]
   */
  commitRemoval(did, { asPublicMessage = false } = {}) {
    return this.#exclusive(() =>
      this.#commit((group, how) => group.stage({ remove: group.leavesOf(did), asPublicMessage, ...how }), this.#out.byMessage),
    );
  }

  /**
   * Removes a user as an admin, with the commit that removes its leaves.
   *
   * @param {string} did
   * @param {string} [reason]
   */
  remove(did, reason) {
    return this.#exclusive(() =>
      this.#commit(
        (group, how) => group.stage({ remove: group.leavesOf(did), ...how }),
        this.#out.byRemoval(did, reason),
      ),
    );
  }

  /** Leaves: proposes the removal of this device, which another member has to commit (RFC 9420, section 12.2). */
  leave() {
    return this.#exclusive(async () => {
      for (let attempt = 1; ; attempt++) {
        await this.#read();
        const proposal = await this.#group.proposeRemoval(this.#group.ownLeaf, this.#how);
        try {
          const output = await this.#device.api.procedure('leaveConvo', { convoId: this.id, commit: this.#out.text(proposal) });
          this.gone = true;
          return output;
        } catch (error) {
          if (!isError(error, 'EpochMismatch') || attempt === COMMIT_ATTEMPTS) throw error;
        }
      }
    });
  }

  /** Forgets the group, as a device does that lost its storage. */
  forget() {
    return this.#exclusive(async () => {
      this.group = undefined;
    });
  }

  /** Begins another membership, whose log begins where its Welcome came. */
  startOver() {
    return this.#exclusive(async () => {
      this.group = undefined;
      this.#since = undefined;
      this.#lastSeq = 0;
    });
  }

  /**
   * Asks the members to take this device back in. The next Welcome is for the key package that goes with the request.
   *
   * @param {string} reason
   * @returns {Promise<any>} the output of requestRejoin
   */
  requestRejoin(reason) {
    return this.#exclusive(async () => {
      const own = await this.#device.keys.keyPackage(this.#device.mlsDid);
      return this.#device.api.procedure('requestRejoin', {
        convoId: this.id,
        deviceId: this.#device.id,
        keyPackage: this.#out.text(writeKeyPackage(own.publicPackage, this.#device.form)),
        reason,
      });
    });
  }

  /**
   * Joins by a commit of its own, for which nobody else must be online: after the state was lost, or as a further device for
   * which another one of its user vouches.
   *
   * @param {Uint8Array} [vouch] see vouchFor
   * @returns {Promise<any>} the output of processExternalCommit
   */
  joinByItself(vouch) {
    return this.#exclusive(async () => {
      const { keys, mlsDid } = this.#device;
      for (let attempt = 1; ; attempt++) {
        const { groupInfo } = await this.#device.api.query('getGroupInfo', { convoId: this.id });
        const joined = await new Entrance(fromBase64(groupInfo)).join(keys, mlsDid, vouch);
        try {
          const output = await this.#out.join(joined);
          this.group = joined.group;
          return output;
        } catch (error) {
          if (!isError(error, 'EpochMismatch') || attempt === COMMIT_ATTEMPTS) throw error;
          this.conflicts++;
        }
      }
    });
  }

  /**
   * Vouches for another device of the user, by its signature key, so that it can join the group by itself.
   *
   * @param {Uint8Array} publicKey
   */
  vouchFor(publicKey) {
    return this.#device.keys.sign(vouchContent(fromHex(this.#group.id), publicKey));
  }

  /** Gives the service the GroupInfo of the epoch, by which devices join: for conversations whose commits bring none. */
  depositGroupInfo() {
    return this.#exclusive(async () => this.#out.deposit(this.#group.epoch, await this.#group.groupInfo()));
  }

  /**
   * Says that this device cannot process a commit.
   *
   * @param {{ epoch: number, messageId?: string }} commit with the epoch that it was made in
   * @returns {Promise<boolean>} whether that epoch is open again
   */
  async reportCommit(commit) {
    const { api, id: deviceId } = this.#device;
    const output = await api.procedure('reportCommit', { convoId: this.id, ...commit, reason: 'cannot_process', deviceId });
    return output.reopened;
  }

  /**
   * Begins a new group for the conversation, with every device that can be welcomed. History and roster stay.
   *
   * @returns {Promise<any>} the convoView
   */
  reset() {
    return this.#exclusive(async () => {
      const { currentEpoch, generation } = await this.#device.api.query('getEpoch', { convoId: this.id });
      const { group, request } = await found(this.#device, this.#view, (bytes) => this.#out.text(bytes));
      this.#view = await this.#device.api.procedure('resetConvo', {
        convoId: this.id, expectedGeneration: generation, expectedEpoch: currentEpoch, idempotencyKey: ulid(), ...request,
      });
      this.group = group;
      return this.#view;
    });
  }

  /** Tells the service how far this device has read. */
  markRead() {
    const last = this.received.at(-1);
    if (last === undefined) throw new Error('nothing was read');
    return this.#device.api.procedure('updateCursor', { convoId: this.id, cursor: last.id });
  }

  get #group() {
    if (this.group === undefined) throw new Error('this device is not in the group');
    return this.group;
  }

  /**
   * Runs operations on this conversation one after the other.
   *
   * @template T
   * @param {() => Promise<T>} operation
   * @returns {Promise<T>}
   */
  #exclusive(operation) {
    const result = this.#queue.then(operation);
    this.#queue = result.catch(() => undefined);
    return result;
  }

  /** In which form handshakes are made. */
  get #how() {
    return this.verified ? { asPublicMessage: true } : {};
  }

  /** @returns {Promise<boolean>} whether this device is in the group now */
  async #join() {
    const { api, keys, id: deviceId } = this.#device;
    let welcome;
    try {
      const output = await api.query('getWelcome', { convoId: this.id, deviceId });
      welcome = readWelcome(fromBase64(output.welcome));
    } catch (error) {
      if (isError(error, 'WelcomeNotFound')) return false;
      throw error;
    }
    const own = keys.find(welcome);
    if (own === undefined) return false; // made for a key that is lost; a rejoin brings another
    const group = await Group.join(keys, own, welcome);
    if (group.id !== this.#view.groupId) throw new Error('the Welcome is of another group');
    this.group = group;
    await api.procedure('confirmWelcome', { convoId: this.id, deviceId, success: true });
    return true;
  }

  /** Reads the log to its end. */
  async #read() {
    for (;;) {
      const page = await this.#device.api.query('getMessages', {
        convoId: this.id,
        limit: 100,
        ...(this.#since === undefined ? {} : { sinceMessage: this.#since }),
      });
      for (const message of page.messages) await this.#take(message);
      if (page.cursor === undefined) return;
    }
  }

  /** @param {LogMessage} message */
  async #take({ id, seq, epoch, ciphertext, messageType, void: takenBack }) {
    if (this.#lastSeq !== 0 && seq !== this.#lastSeq + 1) throw new Error(`seq ${seq} follows ${this.#lastSeq}`);
    this.#lastSeq = seq;
    this.#since = id;
    if (this.#out.isEcho(id) || takenBack || messageType === 'notice') return;
    if (groupIdOf(ciphertext) !== this.#group.id || epoch < this.#group.joinEpoch) {
      if (contentTypeOf(ciphertext) === 'application') this.unreadable.push({ id, epoch });
      return;
    }
    const opened = await this.#group.open(ciphertext);
    if (opened.kind === 'text') this.received.push({ id, seq, epoch, sender: opened.sender, text: opened.text });
  }

  /** Takes over the commits that this device has missed. */
  async #catchUp() {
    const { commits } = await this.#device.api.query('getCommits', { convoId: this.id, fromEpoch: this.#group.epoch });
    for (const { commitData, epoch, sender } of commits) {
      let opened;
      try {
        opened = await this.#group.open(commitData);
      } catch {
        return; // it refers to a proposal that only the log has; #read comes next
      }
      if (opened.kind === 'commit' && (opened.epoch !== epoch || opened.sender.did !== sender)) {
        throw new Error('the service names another epoch or committer than MLS does');
      }
    }
  }

  /**
   * Makes a commit and hands it to the service until it is accepted.
   *
   * @param {(group: Group, how: { asPublicMessage?: boolean }) => Promise<import('./mls.mjs').StagedCommit>} stage
   * @param {(ready: import('./submissions.mjs').Ready) => Promise<any>} deliver
   * @param {number} [attempts]
   */
  async #commit(stage, deliver, attempts = COMMIT_ATTEMPTS) {
    for (let attempt = 1; ; attempt++) {
      await this.#read();
      const staged = await stage(this.#group, this.#how);
      const groupInfo = this.verified ? { groupInfo: this.#out.text(staged.groupInfo) } : {};
      try {
        const output = await deliver({ commit: this.#out.text(staged.bytes), groupInfo, staged });
        staged.adopt();
        const epoch = output.newEpoch ?? output.epochHint;
        if (epoch !== undefined && epoch !== this.#group.epoch) {
          throw new Error(`the service is at epoch ${epoch}, the group at ${this.#group.epoch}`);
        }
        return output;
      } catch (error) {
        if (!isError(error, 'EpochMismatch')) throw error;
        this.conflicts++;
        if (attempt === attempts) throw error;
        await this.#catchUp();
        await sleep(Math.random() * 20 * attempt);
      }
    }
  }
}
