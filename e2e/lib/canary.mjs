/**
 * The canary: everything that identifies a person, a conversation or a message goes in, and none of it may ever come out of
 * the server's log or metrics.
 */

/** Fields whose values are not about anybody: closed sets of words. */
const HARMLESS = new Set(['cipherSuite', 'kind', 'reason', 'status', 'category', 'action', 'messageType']);

/** Times are about nobody: lines of the log have the same, floored to two seconds like those of messages. */
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/;

/** Shorter values would be found by chance. */
const MIN_LENGTH = 8;
/** Of long byte strings a part is enough, and logs cut long values. */
const SAMPLE = 18;

export class Canary {
  /** @type {Map<string, string>} */
  #values = new Map();

  /** How many values are looked for. */
  get size() {
    return this.#values.size;
  }

  /**
   * @param {string} what what the value is, for the report
   * @param {string} value
   */
  add(what, value) {
    if (value.length >= MIN_LENGTH) this.#values.set(value, what);
  }

  /**
   * @param {string} what
   * @param {Uint8Array} bytes
   */
  addBytes(what, bytes) {
    if (bytes.every((b) => b === 0)) return;
    const sample = Buffer.from(bytes.subarray(0, SAMPLE));
    this.add(`${what}, base64`, sample.toString('base64').replace(/=+$/, ''));
    this.add(`${what}, base64url`, sample.toString('base64url'));
    this.add(`${what}, hex`, sample.toString('hex'));
  }

  /** @param {string} did */
  addDid(did) {
    this.add('DID', did);
    this.add('DID without its method', did.split(':').slice(2).join(':'));
  }

  /** @param {string} token a JWT */
  addToken(token) {
    const [header, payload, signature] = token.split('.');
    this.add('token', `${header}.${payload}`);
    this.add('token payload', payload);
    this.add('token signature', signature);
    const { iss, jti } = JSON.parse(Buffer.from(payload, 'base64url').toString());
    this.addDid(iss);
    this.add('jti', jti);
  }

  /**
   * Adds all strings and byte strings of inputs and outputs.
   *
   * @param {...unknown} values
   */
  addValues(...values) {
    for (const value of values) this.#walk('value', value);
  }

  /**
   * @param {string} name
   * @param {unknown} value
   */
  #walk(name, value) {
    if (HARMLESS.has(name)) return;
    if (value instanceof Uint8Array) this.addBytes(name, value);
    else if (Array.isArray(value)) for (const element of value) this.#walk(name, element);
    else if (typeof value === 'object' && value !== null) for (const [key, field] of Object.entries(value)) this.#walk(key, field);
    else if (typeof value === 'string') this.#addText(name, value);
  }

  /**
   * @param {string} name
   * @param {string} text
   */
  #addText(name, text) {
    if (TIME.test(text)) return;
    if (text.startsWith('did:')) this.addDid(text.split('#')[0]);
    if (text.length <= 200) this.add(name, text);
    else this.addBytes(name, Buffer.from(text, 'base64'));
  }

  /**
   * Looks for all values in a text.
   *
   * @param {string} text
   * @returns {string[]} one line for each leak, with the line of the text
   */
  leaks(text) {
    const found = [];
    for (const [value, what] of this.#values) {
      const at = text.indexOf(value);
      if (at < 0) continue;
      const start = text.lastIndexOf('\n', at) + 1;
      const end = text.indexOf('\n', at);
      found.push(`${what} ${JSON.stringify(value)} in: ${text.slice(start, end < 0 ? undefined : end)}`);
    }
    return found;
  }
}
