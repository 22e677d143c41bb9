/**
 * A user with one device, on any of the libraries, as a client of the real server: what the agent makes goes through
 * the methods of the service, and what the service tells goes to the agent.
 */
import { randomBytes } from 'node:crypto';
import { decodeMlsMessage } from 'ts-mls';
import { isError } from '../../e2e/lib/api.mjs';
import { Client, directAgent, mls, pad, SEND_KEY, sealed } from '../../e2e/lib/package.mjs';
import { fromBase64, fromHex, toBase64, toHex, ulid } from '../../e2e/lib/text.mjs';

/** How often a commit is made anew because others were faster. */
const ATTEMPTS = 50;
const STOCK = 8;

/** Names of the cipher suites, by number (RFC 9420 17.1). */
export const SUITES = {
  1: 'MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519',
  2: 'MLS_128_DHKEMP256_AES128GCM_SHA256_P256',
  3: 'MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519',
  4: 'MLS_256_DHKEMX448_AES256GCM_SHA512_Ed448',
  5: 'MLS_256_DHKEMP521_AES256GCM_SHA512_P521',
  6: 'MLS_256_DHKEMX448_CHACHA20POLY1305_SHA512_Ed448',
  7: 'MLS_256_DHKEMP384_AES256GCM_SHA384_P384',
};

/** The MLSMessage at the beginning of what the service keeps. */
const unpadded = (/** @type {Uint8Array} */ bytes) => bytes.subarray(0, decodeMlsMessage(bytes, 0)[1]);
const text = (/** @type {Uint8Array} */ bytes) => toBase64(bytes, 'standard');

export class Member {
  /** Texts that this device has read, in the order of the log. */
  texts = [];
  /** Submissions of commits, whether accepted or not. */
  submissions = 0;
  #sent = new Set();
  #since;

  /** @param {import('../../e2e/lib/client.mjs').User} user */
  constructor(user, agent, suite) {
    Object.assign(this, { user, agent, suite });
  }

  /**
   * Makes a user's device and registers it.
   *
   * @param {import('../../e2e/lib/client.mjs').User} user
   * @param {any} agent whose credential names the user
   */
  static async register(user, agent, suite = 1) {
    const member = new Member(user, agent, suite);
    const keyPackages = [];
    for (let i = 0; i < STOCK; i++) {
      const { bytes } = await agent.keyPackage();
      keyPackages.push({ did: user.did, keyPackage: text(bytes), cipherSuite: SUITES[suite] });
    }
    const { deviceId } = await user.api.procedure('registerDevice', {
      deviceName: agent.library,
      signaturePublicKey: await agent.signatureKey(),
      keyPackages,
    });
    member.deviceId = deviceId;
    return member;
  }

  get did() {
    return this.user.did;
  }

  get #api() {
    return this.user.api;
  }

  /** Starts a conversation with this device alone in it. */
  async create({ verified }) {
    this.verified = verified;
    const groupId = new Uint8Array(randomBytes(16));
    await this.agent.create(groupId);
    const view = await this.#api.procedure('createConvo', {
      groupId: toHex(groupId),
      idempotencyKey: ulid(),
      cipherSuite: SUITES[this.suite],
      currentEpoch: 0,
      ...(verified ? { groupInfo: text(await this.agent.groupInfo()) } : {}),
    });
    this.convoId = view.id;
    return view;
  }

  /** Adds users by one commit. */
  async add(dids) {
    const { keyPackages, missing } = await this.#api.query('getKeyPackages', { cipherSuite: SUITES[this.suite], dids });
    if (missing?.length) throw new Error(`${missing.length} of ${dids.length} users have no key package`);
    const add = keyPackages.map((p) => fromBase64(p.keyPackage));
    return this.#commit({ add }, (made) =>
      this.#api.procedure('addMembers', {
        convoId: this.convoId,
        idempotencyKey: ulid(),
        didList: dids,
        ...made,
        keyPackageHashes: keyPackages.map(({ did, keyPackageHash }) => ({ did, hash: keyPackageHash })),
      }),
    );
  }

  /** Joins the conversation whose Welcome waits. */
  async join(convoId, { verified }) {
    this.verified = verified;
    this.convoId = convoId;
    const { welcome } = await this.#api.query('getWelcome', { convoId, deviceId: this.deviceId });
    await this.agent.join(fromBase64(welcome));
    this.joinEpoch = (await this.agent.state()).epoch;
    await this.#api.procedure('confirmWelcome', { convoId, deviceId: this.deviceId, success: true });
  }

  /** Renews the keys of this device. */
  update() {
    return this.#commit({}, ({ commit, groupInfo }, epoch) => this.#post(fromBase64(commit), epoch, groupInfo));
  }

  /** Removes a user, as an admin. */
  remove(did) {
    return this.#commit(
      async () => ({ remove: await this.#leaves(did) }),
      (made) => this.#api.procedure('removeMember', { convoId: this.convoId, targetDid: did, idempotencyKey: ulid(), ...made }),
    );
  }

  /** Leaves: proposes the removal of the own leaf, which another member has to commit. */
  async leave() {
    await this.sync();
    const { own } = await this.agent.state();
    const proposal = await this.agent.proposeRemove(own);
    await this.#api.procedure('leaveConvo', { convoId: this.convoId, commit: text(proposal) });
  }

  /** Commits the removal of a user who is off the roster. */
  settle(did) {
    return this.#commit(
      async () => ({ remove: this.proposed ? [] : await this.#leaves(did) }),
      (made) => this.#api.procedure('leaveConvo', { convoId: this.convoId, targetDid: did, ...made }),
    );
  }

  /** Deposits the GroupInfo of the epoch, by which members come back. Commits of a verified conversation bring it along. */
  async depositGroupInfo() {
    await this.sync();
    const { epoch } = await this.agent.state();
    const groupInfo = text(await this.agent.groupInfo());
    const { updated } = await this.#api.procedure('updateGroupInfo', { convoId: this.convoId, epoch, groupInfo });
    return updated;
  }

  /** Comes back by itself after the state was lost: a commit from outside that removes the old leaf. */
  async comeBack() {
    const { own } = await this.agent.state();
    for (let attempt = 1; ; attempt++) {
      const { groupInfo } = await this.#api.query('getGroupInfo', { convoId: this.convoId });
      const made = await this.agent.joinExternally(fromBase64(groupInfo), own);
      this.submissions++;
      try {
        const output = await this.#api.procedure('processExternalCommit', {
          convoId: this.convoId,
          externalCommit: text(made.commit),
          groupInfo: text(made.groupInfo ?? (await this.agent.groupInfo())),
          idempotencyKey: ulid(),
        });
        this.joinEpoch = output.epoch;
        this.proposed = false;
        return output;
      } catch (error) {
        if (!isError(error, 'EpochMismatch') || attempt === ATTEMPTS) throw error;
      }
    }
  }

  /** Encrypts a text and sends it. */
  async send(words) {
    for (let attempt = 1; ; attempt++) {
      await this.sync();
      const { epoch } = await this.agent.state();
      try {
        return await this.#post(await this.agent.text(words), epoch);
      } catch (error) {
        if (!isError(error, 'EpochMismatch') || attempt === ATTEMPTS) throw error;
      }
    }
  }

  /** The key for sealed sends in the present epoch, as the library exports it. */
  async sendKey() {
    if (this.groupId === undefined) {
      const { conversations } = await this.#api.query('getConvos', {});
      this.groupId = conversations.find(({ id }) => id === this.convoId).groupId;
    }
    return this.agent.exportSecret(SEND_KEY.label, fromHex(this.groupId), SEND_KEY.length);
  }

  /** Gives the service the key of the present epoch, and returns whether it has it now. */
  async depositSendKey() {
    await this.sync();
    const { epoch } = await this.agent.state();
    const { accepted } = await this.#api.procedure('depositSendKey', { convoId: this.convoId, epoch, sendKey: await this.sendKey() });
    return accepted;
  }

  /** Encrypts a text and sends it without saying by whom it is. */
  async sendSealed(words) {
    await this.sync();
    const { epoch } = await this.agent.state();
    const message = await sealed(await this.sendKey(), this.convoId, epoch, await this.agent.text(words));
    this.#sent.add(message.msgId);
    await new Client(directAgent({ url: this.#api.url })).call(mls.sendSealed, message);
  }

  /** Reads the log to its end. */
  async sync() {
    for (;;) {
      const page = await this.#api.query('getMessages', {
        convoId: this.convoId,
        limit: 100,
        ...(this.#since === undefined ? {} : { sinceMessage: this.#since }),
      });
      for (const message of page.messages) await this.#take(message);
      if (page.cursor === undefined) return;
    }
  }

  async #take({ id, epoch, ciphertext, messageType }) {
    this.#since = id;
    if (this.#sent.delete(id) || epoch < (this.joinEpoch ?? 0)) return;
    if (messageType !== 'app' && epoch < (await this.agent.state()).epoch) return; // an own one
    const got = await this.agent.process(unpadded(ciphertext));
    if (got.kind === 'text') this.texts.push(got.text);
    this.proposed = got.kind === 'proposal' || (this.proposed && got.kind === 'text');
  }

  /** Makes a commit and hands it to the service until it is accepted. */
  async #commit(change, deliver) {
    for (let attempt = 1; ; attempt++) {
      await this.sync();
      const { epoch } = await this.agent.state();
      const made = await this.agent.commit(typeof change === 'function' ? await change() : change);
      this.submissions++;
      try {
        const output = await deliver(
          {
            commit: text(made.commit),
            ...(made.welcomes.length > 0 ? { welcomeMessage: text(made.welcomes[0]) } : {}),
            ...(this.verified ? { groupInfo: text(made.groupInfo) } : {}),
          },
          epoch,
        );
        await this.agent.merge();
        this.proposed = false;
        return output;
      } catch (error) {
        await this.agent.discard();
        if (!isError(error, 'EpochMismatch') || attempt === ATTEMPTS) throw error;
      }
    }
  }

  async #leaves(did) {
    const { members } = await this.agent.state();
    return members.filter(([, identity]) => identity === did).map(([leaf]) => leaf);
  }

  async #post(message, epoch, groupInfo) {
    const ciphertext = pad(message, 'direct');
    const msgId = ulid();
    this.#sent.add(msgId);
    return this.#api.procedure('sendMessage', {
      convoId: this.convoId,
      msgId,
      idempotencyKey: ulid(),
      ciphertext,
      epoch,
      paddedSize: ciphertext.length,
      ...(groupInfo === undefined ? {} : { groupInfo }),
    });
  }
}
