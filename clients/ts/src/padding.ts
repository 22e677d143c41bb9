/**
 * Padding on the wire: a message is sent in a bucket of fixed size, so that its length tells little.
 *
 * Clients in the field use two forms: the MLSMessage and then zero bytes (direct), or a four-byte big-endian length, the MLSMessage,
 * zero bytes (prefixed). Write the direct form; read both.
 */
import { messageLength } from './framing.js';

/** Largest ciphertext that the service takes, in bytes. */
export const MAX_SIZE = 10 * 1024 * 1024;

const SMALL_BUCKETS = [512, 1024, 2048, 4096, 8192];
const STEP = 8192;

export type PaddingForm = 'direct' | 'prefixed';

/** The smallest bucket that holds size bytes. */
export function bucket(size: number): number {
  const padded = SMALL_BUCKETS.find((b) => size <= b) ?? Math.ceil(size / STEP) * STEP;
  if (padded > MAX_SIZE) throw new RangeError(`${size} bytes do not fit into ${MAX_SIZE}`);
  return padded;
}

/** Pads an encoded MLSMessage. */
export function pad(message: Uint8Array, form: PaddingForm = 'direct'): Uint8Array {
  const offset = form === 'prefixed' ? 4 : 0;
  const padded = new Uint8Array(bucket(message.length + offset));
  if (form === 'prefixed') new DataView(padded.buffer).setUint32(0, message.length);
  padded.set(message, offset);
  return padded;
}

/**
 * Cuts the MLSMessage out of a padded or bare one, as a view of the same bytes. The direct form is tried first: a length of 65538
 * looks like the header of a PrivateMessage. Throws when there is no MLSMessage.
 */
export function unpad(padded: Uint8Array): Uint8Array {
  const direct = messageLength(padded);
  if (direct !== undefined && isZero(padded.subarray(direct))) return padded.subarray(0, direct);
  if (padded.length >= 4) {
    const length = new DataView(padded.buffer, padded.byteOffset).getUint32(0);
    const message = padded.subarray(4, 4 + length);
    if (message.length === length && isZero(padded.subarray(4 + length)) && messageLength(message) === length) return message;
  }
  throw new TypeError('there is no MLSMessage in the bytes');
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((b) => b === 0);
}
