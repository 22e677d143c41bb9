/**
 * Sealed sends: messages that do not say by whom they are.
 */
import { createHash, createHmac } from 'node:crypto';

/** The label of MLS-Exporter, and what a proof begins with. */
export const LABEL = 'mls-server sealed send';
/** The length of a send key in bytes. */
export const KEY_SIZE = 32;

/**
 * The proof of a sealed send.
 *
 * @param {Uint8Array} key the send key of the epoch
 * @param {{ convoId: string, epoch: number, msgId: string, ciphertext: Uint8Array }} input
 * @returns {Uint8Array}
 */
export function prove(key, { convoId, epoch, msgId, ciphertext }) {
  const text = (/** @type {string} */ value) => {
    const bytes = Buffer.from(value);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    return Buffer.concat([length, bytes]);
  };
  const made = Buffer.alloc(8);
  made.writeBigUInt64BE(BigInt(epoch));
  const hash = createHash('sha256').update(ciphertext).digest();
  return createHmac('sha256', key).update(Buffer.concat([Buffer.from(LABEL), text(convoId), made, text(msgId), hash])).digest();
}

/**
 * Sends what a member has made, by a request that has nothing of the member's.
 *
 * @param {string} url of the service
 * @param {Uint8Array} key
 * @param {{ convoId: string, epoch: number, msgId: string, ciphertext: Uint8Array }} input
 * @returns {Promise<{ status: number, body: any }>}
 */
export async function sendSealed(url, key, input) {
  const base64 = (/** @type {Uint8Array} */ bytes) => ({ $bytes: Buffer.from(bytes).toString('base64') });
  const answer = await fetch(new URL('/xrpc/blue.catbird.mls.sendSealed', url), {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({
      ...input,
      ciphertext: base64(input.ciphertext),
      paddedSize: input.ciphertext.length,
      proof: base64(prove(key, input)),
    }),
  });
  return { status: answer.status, body: await answer.json() };
}
