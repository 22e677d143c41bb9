/**
 * An agent on ts-mls with the methods of a native one.
 */
import {
  createApplicationMessage,
  createCommit,
  createGroup,
  createGroupInfoWithExternalPubAndRatchetTree,
  createProposal,
  decodeMlsMessage,
  defaultCapabilities,
  emptyPskIndex,
  encodeMlsMessage,
  generateKeyPackageWithKey,
  getCiphersuiteFromName,
  getCiphersuiteImpl,
  joinGroup,
  joinGroupExternal,
  mlsExporter,
  processMessage,
  acceptAll,
} from 'ts-mls';
import { makeKeyPackageRef } from 'ts-mls/keyPackage.js';

const SUITES = {
  1: 'MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519',
  2: 'MLS_128_DHKEMP256_AES128GCM_SHA256_P256',
  3: 'MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519',
  4: 'MLS_256_DHKEMX448_AES256GCM_SHA512_Ed448',
  5: 'MLS_256_DHKEMP521_AES256GCM_SHA512_P521',
  6: 'MLS_256_DHKEMX448_CHACHA20POLY1305_SHA512_Ed448',
  7: 'MLS_256_DHKEMP384_AES256GCM_SHA384_P384',
};
const DAY = 24n * 60n * 60n;
const hex = (b) => Buffer.from(b).toString('hex');

export class TsAgent {
  library = 'ts-mls';
  #packages = new Map();

  static async make(identity, { suite = 1, public: plain = true } = {}) {
    const agent = new TsAgent();
    Object.assign(agent, { identity, plain });
    agent.suite = await getCiphersuiteImpl(getCiphersuiteFromName(SUITES[suite]));
    agent.key = await agent.suite.signature.keygen();
    return agent;
  }

  async #generate() {
    const now = BigInt(Math.floor(Date.now() / 1000));
    return generateKeyPackageWithKey(
      { credentialType: 'basic', identity: new TextEncoder().encode(this.identity) },
      defaultCapabilities(),
      { notBefore: now - 3600n, notAfter: now + 28n * DAY },
      [],
      this.key,
      this.suite,
    );
  }

  async keyPackage() {
    const own = await this.#generate();
    const reference = hex(await makeKeyPackageRef(own.publicPackage, this.suite.hash));
    this.#packages.set(reference, own);
    const bytes = encodeMlsMessage({ version: 'mls10', wireformat: 'mls_key_package', keyPackage: own.publicPackage });
    return { bytes, reference };
  }

  async create(groupId) {
    const own = await this.#generate();
    this.group = await createGroup(groupId, own.publicPackage, own.privatePackage, [], this.suite);
  }

  async commit({ add = [], remove = [] } = {}) {
    const extraProposals = [
      ...add.map((b) => ({ proposalType: 'add', add: { keyPackage: read(b).keyPackage } })),
      ...remove.map((removed) => ({ proposalType: 'remove', remove: { removed } })),
    ];
    const made = await createCommit(
      { state: this.group, cipherSuite: this.suite },
      { wireAsPublicMessage: this.plain, extraProposals, ratchetTreeExtension: true },
    );
    this.pending = made.newState;
    const welcome = made.welcome && encodeMlsMessage({ version: 'mls10', wireformat: 'mls_welcome', welcome: made.welcome });
    return {
      commit: encodeMlsMessage(made.commit),
      welcomes: welcome ? [welcome] : [],
      groupInfo: await this.#groupInfo(made.newState),
    };
  }

  async signatureKey() {
    return this.key.publicKey;
  }

  async discard() {
    this.pending = undefined;
  }

  async text(text) {
    const made = await createApplicationMessage(this.group, new TextEncoder().encode(text), this.suite);
    this.group = made.newState;
    return encodeMlsMessage({ version: 'mls10', wireformat: 'mls_private_message', privateMessage: made.privateMessage });
  }

  async merge() {
    this.group = this.pending;
  }

  async join(welcome) {
    const message = read(welcome).welcome;
    const own = message.secrets.map((s) => this.#packages.get(hex(s.newMember))).find((p) => p !== undefined);
    this.group = await joinGroup(message, own.publicPackage, own.privatePackage, emptyPskIndex, this.suite);
  }

  async process(message) {
    const result = await processMessage(read(message), this.group, emptyPskIndex, acceptAll, this.suite);
    this.group = result.newState;
    if (result.kind === 'applicationMessage') return { kind: 'text', text: new TextDecoder().decode(result.message) };
    return { kind: Object.keys(this.group.unappliedProposals).length > 0 ? 'proposal' : 'commit' };
  }

  async proposeRemove(removed) {
    const made = await createProposal(this.group, this.plain, { proposalType: 'remove', remove: { removed } }, this.suite);
    this.group = made.newState;
    return encodeMlsMessage(made.message);
  }

  async groupInfo() {
    return this.#groupInfo(this.group);
  }

  async #groupInfo(state) {
    const groupInfo = await createGroupInfoWithExternalPubAndRatchetTree(state, [], this.suite);
    return encodeMlsMessage({ version: 'mls10', wireformat: 'mls_group_info', groupInfo });
  }

  async joinExternally(groupInfo, remove) {
    const own = await this.#generate();
    const made = await joinGroupExternal(
      read(groupInfo).groupInfo, own.publicPackage, own.privatePackage, remove !== undefined, this.suite,
    );
    this.group = made.newState;
    const commit = encodeMlsMessage({ version: 'mls10', wireformat: 'mls_public_message', publicMessage: made.publicMessage });
    return { commit, groupInfo: await this.#groupInfo(made.newState) };
  }

  exportSecret(label, context, length) {
    return mlsExporter(this.group.keySchedule.exporterSecret, label, context, length, this.suite);
  }

  async state() {
    const members = [];
    this.group.ratchetTree.forEach((node, i) => {
      if (node?.nodeType === 'leaf') members.push([i / 2, new TextDecoder().decode(node.leaf.credential.identity)]);
    });
    return {
      epoch: Number(this.group.groupContext.epoch),
      own: Number(this.group.privatePath.leafIndex),
      members,
      authenticator: hex(this.group.keySchedule.epochAuthenticator),
    };
  }
}

function read(bytes) {
  const decoded = decodeMlsMessage(bytes, 0);
  if (decoded === undefined) throw new Error('not an MLSMessage');
  return decoded[0];
}
