/**
 * Three people chat, one of them badly: what they do, and what the server sees of it. Everything that is told happened, and is
 * looked at before it is told.
 */
import assert from 'node:assert/strict';
import { isError } from '../lib/api.mjs';
import { pad } from '../lib/package.mjs';
import { fromHex, ulid } from '../lib/text.mjs';
import { logOf, rowsOf, SHOWN, shown } from './rows.mjs';

/** @typedef {import('../lib/client.mjs').Device} Device */

const LONG = 'Here is the whole recipe. '.repeat(30).trim();

/** Capabilities have values at random, for which nobody should care. */
const round = (/** @type {number} */ bytes) => Math.round(bytes / 100) * 100;

export class Story {
  #told;
  #world;
  /** @type {Map<Device, string>} */
  #names = new Map();
  /** @type {string[]} everything that was ever written */
  #texts = [];
  /** How much of the log was shown. */
  #shown = 0;
  #id = '';

  /**
   * @param {import('./teller.mjs').Teller} teller
   * @param {import('../lib/world.mjs').World} world
   */
  constructor(teller, world) {
    this.#told = teller;
    this.#world = world;
  }

  async tell() {
    const people = await this.#arrive();
    const [alice, bob, carol] = people;
    await this.#meet(alice, bob, carol);
    await this.#talk(alice, bob, carol);
    await this.#loseAPhone(alice, bob, carol);
    await this.#breakTheGroup(alice, bob, carol);
    await this.#remove(alice, bob, carol);
    await this.#lookBack();
  }

  /** @param {Device} device */
  #on(device) {
    return device.conversation(this.#id);
  }

  /** @param {Device} device */
  #epoch(device) {
    return this.#on(device).group?.epoch;
  }

  /**
   * @param {Device} device
   * @param {string} text
   */
  #does(device, text) {
    this.#told.does(this.#names.get(device) ?? '', text);
  }

  /**
   * Somebody writes, and the others read it.
   *
   * @param {Device} from
   * @param {string} text
   * @param {Device[]} readers
   */
  async #says(from, text, readers) {
    this.#texts.push(text);
    await this.#on(from).send(text);
    for (const reader of readers) {
      await reader.sync();
      assert.equal(this.#on(reader).texts.at(-1), text);
    }
    const words = text.length > 60 ? `${text.slice(0, 24)}…” (${text.length} characters)` : `${text}”`;
    const listeners = readers.map((reader) => this.#names.get(reader)).join(' and ');
    this.#does(from, `“${words}${listeners ? `, which ${listeners} can read` : ''}`);
  }

  /**
   * The input of sendMessage.
   *
   * @param {Uint8Array} ciphertext padded
   * @param {number} epoch
   */
  #message(ciphertext, epoch) {
    return { convoId: this.#id, msgId: ulid(), idempotencyKey: ulid(), ciphertext, epoch, paddedSize: ciphertext.length };
  }

  /** What is new in the log, as the server has it. */
  async #showLog() {
    const log = logOf(await rowsOf(this.#world.server.url)).filter(({ seq }) => seq > this.#shown);
    this.#shown = log.at(-1)?.seq ?? this.#shown;
    this.#told.table(SHOWN, log.map(shown));
    return log;
  }

  /** @returns {Promise<Device[]>} */
  async #arrive() {
    this.#told.chapter('Three phones register');
    const people = [];
    for (const [name, curve, style] of /** @type {const} */ ([['Alice', 'k256', 'cyan'], ['Bob', 'p256', 'green'], ['Carol', 'k256', 'magenta']])) {
      this.#told.cast(name, style);
      const making = this.#world.user(curve).then((user) => user.device(`phone of ${name}`));
      const device = await this.#told.waitFor(`${name}’s phone makes its keys`, making);
      this.#names.set(device, name);
      people.push(device);
    }
    const { user_devices: devices, key_packages: packages } = await rowsOf(this.#world.server.url);
    assert.equal(devices.count, people.length);
    this.#told.does('all', 'make a signature key and single-use key packages; the private halves stay on the phones');
    this.#told.server(`knows ${devices.count} accounts with a device each, and has ${packages.count} key packages to hand out`);
    return people;
  }

  /**
   * @param {Device} alice
   * @param {Device} bob
   * @param {Device} carol
   */
  async #meet(alice, bob, carol) {
    this.#told.chapter('Alice begins a conversation');
    const convo = await alice.createConvo({ members: [bob.did, carol.did] });
    this.#id = convo.id;
    this.#does(alice, 'takes a key package of each from the server and makes a group on her phone');
    await Promise.all([bob.sync(), carol.sync()]);
    assert.equal(this.#on(bob).group?.authenticator, this.#on(carol).group?.authenticator);
    this.#told.does('Bob, Carol', 'open the Welcome with their private halves: they are in the group');
    const { welcomes, members, conversations } = await rowsOf(this.#world.server.url);
    const [{ epoch }] = conversations.rows;
    this.#told.server(`has a roster of ${members.count}, epoch ${epoch}, and a Welcome of some ${round(welcomes.rows[0].welcome.bytes)} bytes that it cannot open`);
  }

  /**
   * @param {Device} alice
   * @param {Device} bob
   * @param {Device} carol
   */
  async #talk(alice, bob, carol) {
    this.#told.chapter('They talk');
    await this.#says(alice, 'Dinner on Friday?', [bob, carol]);
    await this.#says(bob, 'Yes! At eight, the usual place.', [alice, carol]);
    await this.#says(carol, LONG, [alice, bob]);
    const log = await this.#showLog();
    assert.ok(log.every(({ sender_did: sender }) => sender === null));
    this.#told.server('sizes are padded to buckets; sender_did is null, and a constraint keeps it so');
  }

  /**
   * @param {Device} alice
   * @param {Device} bob
   * @param {Device} carol
   */
  async #loseAPhone(alice, bob, carol) {
    this.#told.chapter('Bob’s phone loses everything but its signature key');
    await bob.loseState();
    await this.#on(alice).depositGroupInfo();
    await this.#says(alice, 'Bob, are you still there?', [carol]);
    await this.#on(bob).joinByItself();
    this.#does(bob, `comes back by a commit of his own, from outside, with nobody’s help: epoch ${this.#epoch(bob)}`);
    await Promise.all([alice.sync(), carol.sync()]);
    await this.#says(bob, 'Here again. New group state, same me.', [alice, carol]);
    await this.#showLog();
    this.#told.server('it let him in since the group knows his key; a stolen login would not have been enough');
  }

  /**
   * @param {Device} alice
   * @param {Device} bob
   * @param {Device} carol
   */
  async #breakTheGroup(alice, bob, carol) {
    this.#told.chapter('Carol commits garbage');
    const { group } = this.#on(carol);
    assert.ok(group);
    const { epoch } = group;
    const { bytes } = await group.stage();
    bytes[bytes.length - 1] ^= 1;
    const commit = this.#message(pad(bytes, 'direct'), epoch);
    await carol.api.procedure('sendMessage', commit);
    this.#does(carol, `sends a commit that nobody can process; the server cannot tell, and moves on to epoch ${epoch + 1}`);
    for (const device of [alice, bob]) await assert.rejects(device.sync());
    const said = { epoch, messageId: commit.msgId };
    assert.equal(await this.#on(alice).reportCommit(said), false);
    assert.equal(await this.#on(bob).reportCommit(said), true);
    this.#told.does('Alice, Bob', 'cannot process it, and say so: a majority of those who did not send it');
    await assert.rejects(carol.api.procedure('sendMessage', commit), (error) => isError(error, 'CommitVoid'));
    const { conversations, commits } = await rowsOf(this.#world.server.url);
    const [now] = conversations.rows;
    assert.equal(now.epoch, epoch);
    assert.equal(commits.rows.filter((row) => row.void_seq !== null).length, 1);
    this.#told.server(`takes the commit back: epoch ${now.epoch} again. Carol’s second try is refused with CommitVoid`);
    await this.#says(alice, 'That was odd. All well?', [bob]);
    await this.#showLog();
  }

  /**
   * @param {Device} alice
   * @param {Device} bob
   * @param {Device} carol
   */
  async #remove(alice, bob, carol) {
    this.#told.chapter('Alice removes Carol');
    await alice.sync();
    await this.#on(alice).remove(carol.did);
    await bob.sync();
    this.#does(alice, `commits the removal: epoch ${this.#epoch(alice)}, whose keys Carol’s phone does not get`);
    await this.#says(bob, 'Friday it is. Just us two.', [alice]);
    await carol.sync();
    const { group } = this.#on(carol);
    assert.ok(group?.removed);
    this.#does(carol, 'reads as far as that commit, where the log ends for her');
    await assert.rejects(carol.api.procedure('sendMessage', this.#message(new Uint8Array(512), 2)), (error) => isError(error, 'NotMember'));
    this.#told.server('refuses what she sends from now on: NotMember');
    const [stolen] = logOf(await rowsOf(this.#world.server.url, { whole: true })).slice(-1);
    await assert.rejects(group.open(fromHex(stolen.ciphertext)));
    this.#does(carol, 'steals Bob’s message from the database, and has no key for it');
    await this.#showLog();
  }

  /** What the server has of all this, and what it has not. */
  async #lookBack() {
    this.#told.chapter('What the server knows now');
    const tables = await rowsOf(this.#world.server.url, { whole: true });
    const everything = [JSON.stringify(tables), this.#world.server.log, await this.#world.server.metrics()].join('\n');
    for (const text of this.#texts) {
      for (const form of [text, Buffer.from(text).toString('hex'), Buffer.from(text).toString('base64').replace(/=+$/, '')]) {
        assert.ok(!everything.includes(form), 'the server has a text');
      }
    }
    const named = [...tables.messages.rows, ...tables.event_stream.rows.filter(({ kind }) => kind === 1)].filter((row) => JSON.stringify(row).includes('did:'));
    assert.deepEqual(named, []);
    const rows = Object.values(tables).reduce((sum, { count }) => sum + count, 0);
    const texts = tables.messages.rows.filter(({ kind }) => kind === 1).length;
    this.#told.server('who is in the conversation, with which devices; who commits; when, to two seconds; how large');
    this.#told.server(`not: what they wrote. None of the ${this.#texts.length} texts is in its ${rows} rows, log or metrics`);
    this.#told.server(`not: who wrote it. None of the ${texts} rows of texts, nor of their events, names anybody`);
  }
}
