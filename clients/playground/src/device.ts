/**
 * One device: an MLS client of its own. The calls are clients/ts, the MLS side is what the end-to-end tests use on ts-mls; here is
 * what an app has between the two, for one conversation.
 */
import { Keys, type SavedKeys } from '../../../e2e/lib/keys.mjs';
import { Group, type SavedGroup, type StagedCommit } from '../../../e2e/lib/mls.mjs';
import { contentTypeOf, groupIdOf, readWelcome, writeKeyPackage, writeWelcome } from '../../../e2e/lib/objects.mjs';
import { Entrance } from '../../../e2e/lib/outside.mjs';
import {
  Client, directAgent, epochConflict, follow, fromBase64, fromHex, isError, joinFromOutside, mls, outgoing, reportUnprocessable, sealed, toBase64,
  uuid, vouchContent, XrpcResponseError,
} from '../../ts/dist/index.js';
import { tokens, type Identity } from './identity.js';

/** A line of what a device shows. */
export interface Line {
  /** The DID of who wrote it, "" for what happened. */
  from: string;
  text: string;
  kind: 'text' | 'event' | 'trouble';
}

/** A call, and how it was answered. */
export interface Call {
  at: number;
  /** Whom the request named, "" for nobody. */
  did: string;
  method: string;
  /** The name of the error, "" for none. */
  error: string;
  message: string;
}

export interface Convo {
  id: string;
  groupId: string;
  state: 'active' | 'invited';
  verified: boolean;
  invitedBy: string;
  members: { did: string; admin: boolean; invited: boolean }[];
}

/** A commit that this device cannot process. */
export interface Stuck {
  epoch: number;
  messageId: string;
  reported: boolean;
}

export interface SavedDevice {
  id: string;
  made: number;
  name: string;
  identity: Identity;
  keys: SavedKeys;
  group: SavedGroup | undefined;
  convo: Convo | undefined;
  lines: Line[];
  stuck: Stuck | undefined;
  gone: boolean;
  evil: boolean;
  sealed: boolean;
  since: string | undefined;
  lastSeq: number;
  own: string[];
}

/** What devices are in. */
export interface World {
  service: string;
  changed(): void;
  called(call: Call): void;
  keep(device: Device): Promise<void>;
}

/** Calls that name nobody. */
const nobody = new Client(directAgent({ url: location.origin }));

/** How many key packages a device has with the service, beside one of last resort. */
const PACKAGES = 3;
const ATTEMPTS = 5;
const LINES = 200;

export class Device {
  readonly id: string;
  readonly made: number;
  readonly name: string;
  readonly identity: Identity;
  convo: Convo | undefined;
  lines: Line[] = [];
  stuck: Stuck | undefined;
  gone = false;
  evil = false;
  /** Whether texts are sent by requests that name nobody. */
  sealed = false;
  busy = false;

  #world: World;
  #keys: Keys;
  #group: Group | undefined;
  #client: Client;
  #agent;
  #since: string | undefined;
  #lastSeq = 0;
  #own = new Set<string>();
  #queue: Promise<unknown> = Promise.resolve();
  #stop = new AbortController();

  private constructor(world: World, saved: Omit<SavedDevice, 'keys' | 'group'>, keys: Keys, group: Group | undefined) {
    this.#world = world;
    this.id = saved.id;
    this.made = saved.made;
    this.name = saved.name;
    this.identity = saved.identity;
    this.convo = saved.convo;
    this.lines = saved.lines;
    this.stuck = saved.stuck;
    this.gone = saved.gone;
    this.evil = saved.evil;
    this.sealed = saved.sealed;
    this.#since = saved.since;
    this.#lastSeq = saved.lastSeq;
    this.#own = new Set(saved.own);
    this.#keys = keys;
    this.#group = group;
    this.#agent = directAgent({ url: location.origin, did: saved.identity.did, token: tokens(saved.identity, world.service) });
    this.#client = new Client(this.#agent);
  }

  /** Makes a device: keys, registration, key packages. */
  static async create(world: World, identity: Identity, name: string): Promise<Device> {
    const saved = {
      id: uuid(), made: Date.now(), name, identity, convo: undefined, lines: [], stuck: undefined, gone: false, evil: false, sealed: false,
      since: undefined, lastSeq: 0, own: [],
    };
    const device = new Device(world, saved, await Keys.create(), undefined);
    const keyPackages = await device.#keyPackages(PACKAGES, true);
    await device.#call('registerDevice', () =>
      device.#client.call(mls.registerDevice, { deviceName: name, deviceId: device.id, signaturePublicKey: device.#keys.publicKey, keyPackages }),
    );
    await world.keep(device);
    return device;
  }

  static async load(world: World, saved: SavedDevice): Promise<Device> {
    const keys = await Keys.load(saved.keys);
    return new Device(world, saved, keys, saved.group && Group.load(saved.group, keys.suite));
  }

  save(): SavedDevice {
    const { id, made, name, identity, convo, lines, stuck, gone, evil, sealed } = this;
    return {
      id, made, name, identity, convo, lines: lines.slice(-LINES), stuck, gone, evil, sealed, keys: this.#keys.save(), group: this.#group?.save(),
      since: this.#since, lastSeq: this.#lastSeq, own: [...this.#own],
    };
  }

  get did(): string {
    return this.identity.did;
  }

  /** The identity in credentials. */
  get #mlsDid(): string {
    return `${this.did}#${this.id}`;
  }

  /** The epoch of the group, undefined outside of it. */
  get epoch(): number | undefined {
    return this.#group?.epoch;
  }

  get joined(): boolean {
    return this.#group !== undefined && !this.gone;
  }

  get isAdmin(): boolean {
    return this.convo?.members.some(({ did, admin }) => did === this.did && admin) ?? false;
  }

  /** Whether the service still knows this device: not when its database was emptied. */
  async isKnown(): Promise<boolean> {
    const { devices } = await this.#client.call(mls.listDevices, {});
    return devices.some(({ deviceId }) => deviceId === this.id);
  }

  /** Follows the stream until close. */
  async run(): Promise<void> {
    try {
      for await (const item of follow(this.#agent, { signal: this.#stop.signal })) {
        if (item.type === 'open') void this.#do(() => this.#refresh());
        if (item.type !== 'event') continue;
        // What is stored is read from the log, in its order: the event says that there is something.
        void this.#do(async () => {
          if (!item.event.$type.endsWith('#messageEvent')) await this.#refresh();
          else if (this.#group !== undefined && !this.gone) await this.#read();
        });
      }
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#tell('trouble', `The stream ended: ${words(error)}`);
    }
  }

  close(): void {
    this.#stop.abort();
  }

  /** Begins a conversation, alone; with verified, the service follows the group and judges commits. */
  begin(verified: boolean): Promise<void> {
    return this.#act(async () => {
      const groupId = crypto.getRandomValues(new Uint8Array(16));
      const group = await Group.create(this.#keys, await this.#keys.keyPackage(this.#mlsDid), groupId);
      const view = await this.#call('createConvo', async () =>
        this.#client.call(mls.createConvo, {
          groupId: group.id, cipherSuite: this.#keys.suite.name, idempotencyKey: uuid(), currentEpoch: 0,
          ...(verified ? { groupInfo: toBase64(await group.groupInfo()) } : {}),
        }),
      );
      this.#group = group;
      this.#view(view);
      this.#tell('event', 'began a conversation');
      await this.#deposit();
    });
  }

  /** Accepts an invitation. */
  accept(): Promise<void> {
    return this.#act(async () => {
      await this.#call('acceptConvo', () => this.#client.call(mls.acceptConvo, { convoId: this.#convo.id }));
      await this.#refresh();
    });
  }

  /** Adds an account with all its devices. */
  add(did: string): Promise<void> {
    return this.#act(async () => {
      const dids = [did as Identity['did']];
      const { keyPackages } = await this.#call('getKeyPackages', () =>
        this.#client.call(mls.getKeyPackages, { dids, cipherSuite: this.#keys.suite.name }),
      );
      if (keyPackages.length === 0) throw new Error('there is no key package of theirs left');
      const packages = keyPackages.map(({ keyPackage }) => fromBase64(keyPackage));
      const keyPackageHashes = keyPackages.map(({ did: owner, keyPackageHash }) => ({ did: owner, hash: keyPackageHash ?? '' }));
      await this.#commit(
        (group, how) => group.stageAddition(packages, how),
        (commit, staged, groupInfo) =>
          this.#call('addMembers', () =>
            this.#client.call(mls.addMembers, {
              convoId: this.#convo.id, idempotencyKey: uuid(), didList: dids, commit, welcomeMessage: toBase64(writeWelcome(staged.welcome!, 'wrapped')),
              keyPackageHashes, ...groupInfo,
            }),
          ),
      );
    });
  }

  /** Removes an account with all its devices. */
  remove(did: string): Promise<void> {
    return this.#act(() =>
      this.#commit(
        (group, how) => group.stage({ remove: group.leavesOf(did), ...how }),
        (commit, _, groupInfo) =>
          this.#call('removeMember', () =>
            this.#client.call(mls.removeMember, { convoId: this.#convo.id, targetDid: did as Identity['did'], idempotencyKey: uuid(), commit, ...groupInfo }),
          ),
      ),
    );
  }

  /** Encrypts a text and sends it. */
  say(text: string): Promise<void> {
    return this.#act(async () => {
      for (let attempt = 1; ; attempt++) {
        await this.#read();
        try {
          await this.#send(text);
          break;
        } catch (error) {
          if (!isError(error, 'EpochMismatch') || attempt === ATTEMPTS) throw error;
        }
      }
      this.#line({ from: this.did, text, kind: 'text' });
    });
  }

  async #send(text: string): Promise<void> {
    const { id } = this.#convo;
    const { epoch } = this.#inGroup;
    const bytes = await this.#inGroup.seal(text);
    if (this.sealed) {
      const message = await sealed(await this.#inGroup.sendKey(), id, epoch, bytes);
      this.#own.add(message.msgId);
      await this.#call('sendSealed', () => nobody.call(mls.sendSealed, message), '');
    } else {
      const message = outgoing(id, epoch, bytes);
      this.#own.add(message.msgId);
      await this.#call('sendMessage', () => this.#client.call(mls.sendMessage, message));
    }
  }

  /** Loses everything but the signature key, which systems keep better than databases. */
  lose(): Promise<void> {
    return this.#act(async () => {
      this.#keys.forgetAll();
      this.#group = undefined;
      this.stuck = undefined;
      this.lines = [];
      this.#tell('event', 'lost the group’s keys and all messages. The signature key is left');
    });
  }

  /** Joins by a commit of its own, from outside: as itself after a loss, or as a new device that another one vouches for. */
  comeBack(voucher?: Device): Promise<void> {
    return this.#act(async () => {
      const vouch = voucher && (await voucher.#keys.sign(vouchContent(fromHex(this.#convo.groupId), this.#keys.publicKey)));
      const { joined, messageId, seq } = await this.#call('processExternalCommit', () =>
        joinFromOutside(this.#client, this.#convo.id, (groupInfo) => new Entrance(groupInfo).join(this.#keys, this.#mlsDid, vouch)),
      );
      this.#group = joined.group;
      this.#since = messageId;
      this.#lastSeq = seq;
      this.#tell('event', `joined by a commit of its own: epoch ${joined.group.epoch}`);
      await this.#deposit();
      await this.#stockUp();
    });
  }

  /** Says that the commit which came last cannot be processed. */
  report(): Promise<void> {
    return this.#act(async () => {
      const { stuck } = this;
      if (stuck === undefined) return;
      const { epoch, messageId } = stuck;
      const commit = { convoId: this.#convo.id, epoch, messageId, deviceId: this.id };
      const reopened = await this.#call('reportCommit', () => reportUnprocessable(this.#client, commit));
      stuck.reported = true;
      if (!reopened) this.#tell('event', 'said so; it takes a majority');
    });
  }

  /**
   * Sends a commit that nobody can process: one byte is another one. A server that follows the group sees it where it is in the
   * signature, which stands before two tags of 32 bytes.
   */
  garbage(): Promise<void> {
    return this.#act(async () => {
      await this.#read();
      const group = this.#inGroup;
      const staged = await group.stage(this.#how);
      const bytes = staged.bytes.slice();
      bytes[bytes.length - (this.#convo.verified ? 70 : 1)]! ^= 1;
      const message = outgoing(this.#convo.id, staged.epoch, bytes);
      const groupInfo = await this.#groupInfo(staged);
      this.#own.add(message.msgId);
      await this.#call('sendMessage', () => this.#client.call(mls.sendMessage, { ...message, ...groupInfo }));
      this.#tell('event', 'sent a commit that nobody can process');
    });
  }

  /** Sends a commit for an epoch that is over. */
  stale(): Promise<void> {
    return this.#act(async () => {
      const group = this.#inGroup;
      const staged = await group.stage(this.#how);
      const message = outgoing(this.#convo.id, Math.max(0, staged.epoch - 1), staged.bytes);
      await this.#call('sendMessage', async () => this.#client.call(mls.sendMessage, { ...message, ...(await this.#groupInfo(staged)) }));
    });
  }

  /** Sends a message that is not padded, which would tell how long the text is. */
  unpadded(): Promise<void> {
    return this.#act(async () => {
      const ciphertext = await this.#inGroup.seal('how long is this?');
      const message = { ...outgoing(this.#convo.id, this.#inGroup.epoch, ciphertext), ciphertext, paddedSize: ciphertext.length };
      await this.#call('sendMessage', () => this.#client.call(mls.sendMessage, message));
    });
  }

  get #convo(): Convo {
    if (this.convo === undefined) throw new Error('there is no conversation');
    return this.convo;
  }

  get #inGroup(): Group {
    if (this.#group === undefined) throw new Error('this device is not in the group');
    return this.#group;
  }

  /** In which form handshakes are made: a service that follows the group has to read them. */
  get #how(): { asPublicMessage?: boolean } {
    return this.#convo.verified ? { asPublicMessage: true } : {};
  }

  /** What a commit of a verified conversation brings along. */
  async #groupInfo(staged: StagedCommit): Promise<{ groupInfo?: string }> {
    return this.#convo.verified ? { groupInfo: toBase64(staged.groupInfo) } : {};
  }

  /** Makes key packages, with one of last resort among them if there is none. */
  async #keyPackages(count: number, lastResort: boolean): Promise<{ keyPackage: string; cipherSuite: string }[]> {
    const made = [];
    for (let i = lastResort ? -1 : 0; i < count; i++) {
      const { publicPackage } = await this.#keys.keyPackage(this.#mlsDid, { lastResort: i < 0 });
      made.push({ keyPackage: toBase64(writeKeyPackage(publicPackage, 'wrapped')), cipherSuite: this.#keys.suite.name });
    }
    return made;
  }

  /** Has the service forget key packages whose private halves are lost, and brings the stock up to what it should be. */
  async #stockUp(): Promise<void> {
    const localHashes = this.#keys.refs();
    await this.#call('syncKeyPackages', () => this.#client.call(mls.syncKeyPackages, { deviceId: this.id, localHashes }));
    const { devices } = await this.#client.call(mls.listDevices, {});
    const listed = devices.find(({ deviceId }) => deviceId === this.id);
    if (listed === undefined) throw new Error('this device was deleted');
    const missing = Math.max(0, PACKAGES - listed.keyPackageCount);
    const keyPackages = await this.#keyPackages(missing, !listed.lastResort);
    if (keyPackages.length === 0) return;
    await this.#call('publishKeyPackages', () => this.#client.call(mls.publishKeyPackages, { keyPackages }));
  }

  /** Does what somebody asked for; what goes wrong is told in the pane. */
  async #act(work: () => Promise<void>): Promise<void> {
    this.busy = true;
    this.#world.changed();
    await this.#do(work);
    this.busy = false;
    this.#world.changed();
  }

  /** One thing after the other. */
  #do(work: () => Promise<void>): Promise<void> {
    const done = this.#queue.then(async () => {
      try {
        await work();
      } catch (error) {
        if (!this.#stop.signal.aborted) this.#tell('trouble', words(error));
      }
      if (!this.#stop.signal.aborted) await this.#world.keep(this);
      this.#world.changed();
    });
    this.#queue = done;
    return done;
  }

  async #call<T>(method: string, call: () => Promise<T>, did: string = this.did): Promise<T> {
    const made = { at: Date.now(), did, method };
    try {
      const output = await call();
      this.#world.called({ ...made, error: '', message: '' });
      return output;
    } catch (error) {
      if (error instanceof XrpcResponseError) this.#world.called({ ...made, error: error.error, message: error.message });
      throw error;
    }
  }

  /** Looks for the conversation, and joins where a Welcome waits. */
  async #refresh(): Promise<void> {
    const { conversations } = await this.#client.call(mls.getConvos, {});
    const view = conversations.find(({ id }) => id === this.convo?.id) ?? conversations[0];
    if (view === undefined) {
      if (this.convo !== undefined && !this.gone) await this.#leave();
      return;
    }
    if (this.gone || view.id !== this.convo?.id) {
      this.gone = false;
      this.#group = undefined;
      this.#since = undefined;
      this.#lastSeq = 0;
      this.stuck = undefined;
    }
    const invited = this.convo?.state === 'invited';
    this.#view(view);
    if (view.state === 'invited') {
      if (!invited) this.#tell('event', 'is invited');
    } else if (this.#group === undefined) await this.#join();
    else await this.#read();
  }

  #view(view: mls.createConvo.$OutputBody): void {
    const members = new Map<string, Convo['members'][number]>();
    for (const { userDid, isAdmin, state } of view.members) members.set(userDid, { did: userDid, admin: isAdmin, invited: state === 'invited' });
    this.convo = {
      id: view.id, groupId: view.groupId, state: view.state === 'invited' ? 'invited' : 'active', verified: view.assurance === 'verified',
      invitedBy: view.invitedBy ?? '', members: [...members.values()],
    };
  }

  async #join(): Promise<void> {
    const convoId = this.#convo.id;
    let welcome;
    try {
      ({ welcome } = await this.#client.call(mls.getWelcome, { convoId, deviceId: this.id }));
    } catch (error) {
      if (isError(error, 'WelcomeNotFound')) return;
      throw error;
    }
    const decoded = readWelcome(fromBase64(welcome));
    const own = this.#keys.find(decoded);
    if (own === undefined) return; // it was made for a key that is lost
    this.#group = await Group.join(this.#keys, own, decoded);
    await this.#call('confirmWelcome', () => this.#client.call(mls.confirmWelcome, { convoId, deviceId: this.id, success: true }));
    this.#tell('event', `opened the Welcome: epoch ${this.#group.epoch}`);
    await this.#read();
    await this.#stockUp();
  }

  /** The conversation is no longer listed: what is left of the log says why. */
  async #leave(): Promise<void> {
    try {
      if (this.#group !== undefined) await this.#read();
    } catch (error) {
      if (!isError(error, 'NotMember', 'ConvoNotFound')) throw error;
    }
    this.gone = true;
    this.stuck = undefined;
    this.#tell('event', 'was removed, and reads no further');
  }

  /** Reads the log to its end. */
  async #read(): Promise<void> {
    for (;;) {
      const since = this.#since === undefined ? {} : { sinceMessage: this.#since };
      const page = await this.#client.call(mls.getMessages, { convoId: this.#convo.id, limit: 100, ...since });
      for (const message of page.messages) await this.#take(message);
      if (page.cursor === undefined) return;
    }
  }

  async #take(message: mls.getMessages.$OutputBody['messages'][number]): Promise<void> {
    const { id, seq, epoch, ciphertext, messageType } = message;
    if (seq <= this.#lastSeq) return;
    this.#lastSeq = seq;
    this.#since = id;
    if (messageType === 'notice') {
      this.stuck = undefined;
      this.#line({ from: '', text: `The commit was taken back: epoch ${epoch} goes on.`, kind: 'event' });
      return;
    }
    const group = this.#inGroup;
    if (this.#own.delete(id) || message.void || groupIdOf(ciphertext) !== group.id || epoch < group.joinEpoch) return;
    try {
      const opened = await group.open(ciphertext);
      if (opened.kind === 'text') this.#line({ from: opened.sender.did, text: opened.text, kind: 'text' });
      if (opened.kind === 'commit' && !group.removed) this.#line({ from: opened.sender.did, text: `made a commit: epoch ${group.epoch}`, kind: 'event' });
    } catch {
      if (contentTypeOf(ciphertext) !== 'commit') this.#tell('trouble', 'A message came that this device cannot read.');
      else {
        this.stuck = { epoch, messageId: id, reported: false };
        this.#tell('trouble', `A commit to epoch ${epoch + 1} came that this device cannot process.`);
      }
    }
  }

  /** Makes a commit, sends it, and adopts it when the service has accepted it; again when another member was faster. */
  async #commit(
    stage: (group: Group, how: { asPublicMessage?: boolean }) => Promise<StagedCommit>,
    deliver: (commit: string, staged: StagedCommit, groupInfo: { groupInfo?: string }) => Promise<{ messageId?: string | undefined }>,
  ): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      await this.#read();
      const staged = await stage(this.#inGroup, this.#how);
      try {
        const { messageId } = await deliver(toBase64(staged.bytes), staged, await this.#groupInfo(staged));
        if (messageId !== undefined) this.#own.add(messageId);
        staged.adopt();
        break;
      } catch (error) {
        if (epochConflict(error) === undefined || attempt === ATTEMPTS) throw error;
      }
    }
    this.#tell('event', `made a commit: epoch ${this.#inGroup.epoch}`);
    await this.#refresh();
    await this.#deposit();
  }

  /** Gives the service what is of use in the new epoch: the key of sealed sends, and the GroupInfo where commits do not bring it. */
  async #deposit(): Promise<void> {
    const { epoch } = this.#inGroup;
    const sendKey = await this.#inGroup.sendKey();
    await this.#call('depositSendKey', () => this.#client.call(mls.depositSendKey, { convoId: this.#convo.id, epoch, sendKey }));
    if (this.#convo.verified) return;
    const groupInfo = toBase64(await this.#inGroup.groupInfo());
    await this.#call('updateGroupInfo', () => this.#client.call(mls.updateGroupInfo, { convoId: this.#convo.id, epoch, groupInfo }));
  }

  #tell(kind: Line['kind'], text: string): void {
    this.#line({ from: kind === 'event' ? this.did : '', text, kind });
  }

  #line(line: Line): void {
    this.lines = [...this.lines, line].slice(-LINES);
    this.#world.changed();
  }
}

/** What went wrong, by the service's name for it where there is one. */
function words(error: unknown): string {
  if (error instanceof XrpcResponseError) return `${error.error}: ${error.message}`;
  return error instanceof Error ? error.message : String(error);
}
