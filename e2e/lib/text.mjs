/**
 * Identifiers and text forms that clients make themselves.
 */
import { randomBytes } from 'node:crypto';

const CROCKFORD = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/**
 * A ULID whose time is floored to two seconds, so that it tells no more about the time of sending than the service does.
 *
 * @returns {string} 26 characters
 */
export function ulid() {
  let value = BigInt(Math.floor(Date.now() / 2000) * 2000);
  for (const byte of randomBytes(10)) value = (value << 8n) | BigInt(byte);
  let text = '';
  for (let i = 0; i < 26; i++, value >>= 5n) text = CROCKFORD[Number(value & 31n)] + text;
  return text;
}

/** @typedef {'standard' | 'url'} Base64Form */

/**
 * @param {Uint8Array} bytes
 * @param {Base64Form} form standard with padding, or URL-safe without
 * @returns {string}
 */
export function toBase64(bytes, form) {
  return Buffer.from(bytes).toString(form === 'url' ? 'base64url' : 'base64');
}

/**
 * Reads either alphabet, padded or not.
 *
 * @param {string} text
 * @returns {Uint8Array}
 */
export function fromBase64(text) {
  return new Uint8Array(Buffer.from(text, 'base64'));
}

/**
 * @param {Uint8Array} bytes
 * @returns {string}
 */
export function toHex(bytes) {
  return Buffer.from(bytes).toString('hex');
}

/**
 * @param {string} text
 * @returns {Uint8Array}
 */
export function fromHex(text) {
  return new Uint8Array(Buffer.from(text, 'hex'));
}
