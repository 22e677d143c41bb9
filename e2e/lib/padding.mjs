/**
 * Padding on the wire: a message is sent in a bucket of fixed size, so that its length tells little.
 *
 * Clients in the field use two forms: the MLSMessage and then zero bytes (direct), or a four-byte big-endian length, the
 * MLSMessage, zero bytes (prefixed).
 */
import { decodeMlsMessage } from 'ts-mls';

/** Largest ciphertext that the service takes, in bytes. */
export const MAX_SIZE = 10 * 1024 * 1024;

const SMALL_BUCKETS = [512, 1024, 2048, 4096, 8192];
const STEP = 8192;

/** @typedef {'direct' | 'prefixed'} PaddingForm */

/**
 * The smallest bucket that holds size bytes.
 *
 * @param {number} size
 * @returns {number}
 */
export function bucket(size) {
  const padded = SMALL_BUCKETS.find((b) => size <= b) ?? Math.ceil(size / STEP) * STEP;
  if (padded > MAX_SIZE) throw new RangeError(`${size} bytes do not fit into ${MAX_SIZE}`);
  return padded;
}

/**
 * @param {Uint8Array} message an encoded MLSMessage
 * @param {PaddingForm} form
 * @returns {Uint8Array}
 */
export function pad(message, form) {
  const offset = form === 'prefixed' ? 4 : 0;
  const padded = new Uint8Array(bucket(message.length + offset));
  if (form === 'prefixed') new DataView(padded.buffer).setUint32(0, message.length);
  padded.set(message, offset);
  return padded;
}

/**
 * Finds the MLSMessage in a padded or bare one. The direct form is tried first.
 *
 * @param {Uint8Array} padded
 * @returns {import('ts-mls').MLSMessage}
 */
export function unpad(padded) {
  const direct = decode(padded);
  if (direct !== undefined) return direct;
  if (padded.length >= 4) {
    const length = new DataView(padded.buffer, padded.byteOffset).getUint32(0);
    if (length <= padded.length - 4 && isZero(padded.subarray(4 + length))) {
      const prefixed = decode(padded.subarray(4, 4 + length));
      if (prefixed !== undefined) return prefixed;
    }
  }
  throw new Error('there is no MLSMessage in the bytes');
}

/**
 * @param {Uint8Array} bytes
 * @returns {import('ts-mls').MLSMessage | undefined}
 */
function decode(bytes) {
  try {
    const decoded = decodeMlsMessage(bytes, 0);
    return decoded !== undefined && isZero(bytes.subarray(decoded[1])) ? decoded[0] : undefined;
  } catch {
    return undefined; // the decoder throws on some malformed input and returns undefined on other
  }
}

/** @param {Uint8Array} bytes */
function isZero(bytes) {
  return bytes.every((b) => b === 0);
}
