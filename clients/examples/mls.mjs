// The MLS side of one device, on ts-mls.
import {
  createApplicationMessage, createCommit, createGroup, decodeMlsMessage, defaultCapabilities, emptyPskIndex, encodeMlsMessage,
  generateKeyPackageWithKey, getCiphersuiteFromName, getCiphersuiteImpl, joinGroup, processMessage,
} from 'ts-mls';
import { makeKeyPackageRef } from 'ts-mls/keyPackage.js';

export const SUITE = 'MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519';
const suite = await getCiphersuiteImpl(getCiphersuiteFromName(SUITE));
const hex = (bytes) => Buffer.from(bytes).toString('hex');

export class Device {
  id = crypto.randomUUID();
  packages = new Map(); // private halves, by reference

  static async create(did) {
    const device = new Device();
    device.identity = new TextEncoder().encode(`${did}#${device.id}`);
    device.key = await suite.signature.keygen();
    return device;
  }

  // A key package of finite lifetime; the one of last resort is handed out when no other is left.
  async keyPackage(lastResort = false) {
    const now = BigInt(Math.floor(Date.now() / 1000));
    const capabilities = defaultCapabilities();
    const own = await generateKeyPackageWithKey(
      { credentialType: 'basic', identity: this.identity },
      { ...capabilities, extensions: [...capabilities.extensions, 0x000a] },
      { notBefore: now - 3600n, notAfter: now + 28n * 86400n },
      lastResort ? [{ extensionType: 0x000a, extensionData: new Uint8Array() }] : [],
      this.key,
      suite,
    );
    this.packages.set(hex(await makeKeyPackageRef(own.publicPackage, suite.hash)), own);
    return encodeMlsMessage({ version: 'mls10', wireformat: 'mls_key_package', keyPackage: own.publicPackage });
  }
}

export class Group {
  constructor(state) {
    this.state = state;
  }

  static async create(device) {
    await device.keyPackage();
    const [ref, own] = [...device.packages].at(-1);
    device.packages.delete(ref);
    return new Group(await createGroup(crypto.getRandomValues(new Uint8Array(16)), own.publicPackage, own.privatePackage, [], suite));
  }

  static async join(device, welcomeMessage) {
    const { welcome } = decodeMlsMessage(welcomeMessage, 0)[0];
    const ref = welcome.secrets.map(({ newMember }) => hex(newMember)).find((ref) => device.packages.has(ref));
    const own = device.packages.get(ref);
    return new Group(await joinGroup(welcome, own.publicPackage, own.privatePackage, emptyPskIndex, suite));
  }

  get id() {
    return hex(this.state.groupContext.groupId);
  }

  get epoch() {
    return Number(this.state.groupContext.epoch);
  }

  // What the send key of the epoch is derived from.
  get exporter() {
    const { keySchedule, groupContext } = this.state;
    return { cipherSuite: SUITE, groupId: groupContext.groupId, exporterSecret: keySchedule.exporterSecret };
  }

  // A commit that adds devices. It is in force when the service has accepted it: call adopt then.
  async add(keyPackages) {
    const extraProposals = keyPackages.map((bytes) => ({ proposalType: 'add', add: { keyPackage: decodeMlsMessage(bytes, 0)[0].keyPackage } }));
    const { newState, welcome, commit } = await createCommit({ state: this.state, cipherSuite: suite }, { extraProposals, ratchetTreeExtension: true });
    return {
      commit: encodeMlsMessage(commit),
      welcome: encodeMlsMessage({ version: 'mls10', wireformat: 'mls_welcome', welcome }),
      epoch: Number(newState.groupContext.epoch),
      adopt: () => (this.state = newState),
    };
  }

  async seal(text) {
    const { newState, privateMessage } = await createApplicationMessage(this.state, new TextEncoder().encode(text), suite);
    this.state = newState;
    return encodeMlsMessage({ version: 'mls10', wireformat: 'mls_private_message', privateMessage });
  }

  // The text of an application message; undefined for a commit, which takes effect.
  async open(bytes) {
    const result = await processMessage(decodeMlsMessage(bytes, 0)[0], this.state, emptyPskIndex, () => 'accept', suite);
    this.state = result.newState;
    return result.kind === 'applicationMessage' ? new TextDecoder().decode(result.message) : undefined;
  }
}
