/**
 * Text forms. The service takes either form of base64, so devices here write both.
 */
export { fromBase64, fromHex, toHex, ulid } from './package.mjs';

/** @typedef {'standard' | 'url'} Base64Form */

/**
 * @param {Uint8Array} bytes
 * @param {Base64Form} form standard with padding, or URL-safe without
 * @returns {string}
 */
export function toBase64(bytes, form) {
  return Buffer.from(bytes).toString(form === 'url' ? 'base64url' : 'base64');
}
