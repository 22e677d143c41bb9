/**
 * Agents on OpenMLS and mls-rs: the Rust program of this folder, driven over JSON lines.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const PROGRAM = process.env.MLS_INTEROP_BIN ?? fileURLToPath(new URL('../target/debug/mls-interop', import.meta.url));

/**
 * @typedef {{ add?: Uint8Array[], remove?: number[] }} Change
 * @typedef {{ commit: Uint8Array, welcomes: Uint8Array[], groupInfo?: Uint8Array }} Committed
 * @typedef {{ epoch: number, own: number, members: [number, string][], authenticator: string }} State
 */

const bytes = (/** @type {string} */ hex) => new Uint8Array(Buffer.from(hex, 'hex'));
const hex = (/** @type {Uint8Array} */ b) => Buffer.from(b).toString('hex');

/** One process with any number of agents. */
export class Native {
  #waiting = [];
  #process;

  constructor() {
    this.#process = spawn(PROGRAM, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#process.once('error', (error) => this.#fail(error));
    this.#process.once('exit', (code) => this.#fail(new Error(`${PROGRAM} ended with code ${code}`)));
    createInterface({ input: this.#process.stdout }).on('line', (line) => this.#waiting.shift()?.resolve(JSON.parse(line)));
  }

  #fail(error) {
    for (const w of this.#waiting.splice(0)) w.reject(error);
  }

  /** Asks for one thing; answers come in the order of the questions. */
  async ask(request) {
    const answer = await new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#process.stdin.write(`${JSON.stringify(request)}\n`);
    });
    if (answer.error !== undefined) throw new Error(`${request.op}: ${answer.error}`);
    return answer;
  }

  async agent(library, identity, options = {}) {
    const { agent } = await this.ask({ op: 'new', library, identity, public: true, ...options });
    return new NativeAgent(this, agent, library, identity);
  }

  async close() {
    this.#process.stdin.end();
    if (this.#process.exitCode === null) await once(this.#process, 'exit');
  }
}

/** What every library can do, in the terms of RFC 9420. TsAgent has the same methods. */
class NativeAgent {
  constructor(native, number, library, identity) {
    Object.assign(this, { native, number, library, identity });
  }

  #ask(op, rest = {}) {
    return this.native.ask({ op, agent: this.number, ...rest });
  }

  async keyPackage() {
    const { bytes: b, reference } = await this.#ask('key_package');
    return { bytes: bytes(b), reference };
  }

  async signatureKey() {
    return bytes((await this.#ask('signature_key')).bytes);
  }

  async discard() {
    await this.#ask('discard');
  }

  async text(text) {
    return bytes((await this.#ask('text', { text })).bytes);
  }

  async create(groupId) {
    await this.#ask('create', { group_id: hex(groupId) });
  }

  /** @param {Change} change @returns {Promise<Committed>} */
  async commit({ add = [], remove = [] } = {}) {
    const c = await this.#ask('commit', { add: add.map(hex), remove });
    return { commit: bytes(c.commit), welcomes: c.welcomes.map(bytes), groupInfo: c.groupInfo ? bytes(c.groupInfo) : undefined };
  }

  async merge() {
    await this.#ask('merge');
  }

  async join(welcome) {
    await this.#ask('join', { welcome: hex(welcome) });
  }

  async process(message) {
    return this.#ask('process', { message: hex(message) });
  }

  async proposeRemove(leaf) {
    return bytes((await this.#ask('propose_remove', { leaf })).bytes);
  }

  async selfRemove() {
    return bytes((await this.#ask('self_remove')).bytes);
  }

  async groupInfo() {
    return bytes((await this.#ask('group_info')).bytes);
  }

  async joinExternally(groupInfo, remove) {
    const c = await this.#ask('join_externally', { group_info: hex(groupInfo), remove });
    return { commit: bytes(c.commit), groupInfo: c.groupInfo ? bytes(c.groupInfo) : undefined };
  }

  /** MLS-Exporter (RFC 9420 8.5). */
  async exportSecret(label, context, length) {
    return bytes((await this.#ask('export', { label, context: hex(context), length })).bytes);
  }

  /** @returns {Promise<State>} */
  async state() {
    return this.#ask('state');
  }
}
