/**
 * Sealed sends: messages that reach a conversation without telling the service by whom they are. All that they show is a proof by
 * the send key of the epoch, which whoever is in the group derives by MLS-Exporter (RFC 9420, section 8.5).
 *
 * Do not send by sendMessage what cannot be sent sealed, unless the user says so: that tells the service who has sent just now.
 */
import { concat, counted, utf8, vector } from './encoding.js';
import { pad, type PaddingForm } from './padding.js';
import { uuid } from './text.js';

/** What MLS-Exporter is asked for, with the group id as its context: label, and length in bytes. */
export const SEND_KEY = { label: 'mls-server sealed send', length: 32 } as const;

/**
 * The send key of an epoch, for libraries that show its exporter secret and have no exporter: those that have one are given
 * {@link SEND_KEY} and the group id. The cipher suite is named as in RFC 9420, section 17.1.
 */
export async function sendKey(epoch: { cipherSuite: string; groupId: Uint8Array; exporterSecret: Uint8Array }): Promise<Uint8Array> {
  const bits = /_SHA(256|384|512)_/.exec(epoch.cipherSuite)?.[1];
  if (bits === undefined) throw new TypeError('the cipher suite has no name of RFC 9420 that tells its hash function');
  const hash = `SHA-${bits}`;
  const context = await digest(hash, epoch.groupId);
  const secret = await expandWithLabel(hash, epoch.exporterSecret, SEND_KEY.label, new Uint8Array(), context.length);
  return expandWithLabel(hash, secret, 'exported', context, SEND_KEY.length);
}

/** What a proof is over, and what the service is told beside it. */
export interface SealedStatement {
  /** The conversation as it is named in the request. */
  convoId: string;
  /** The epoch of the group that the send key is of. */
  epoch: number;
  msgId: string;
  /** The padded message. */
  ciphertext: Uint8Array;
}

/** The proof of a sealed send, 32 bytes. */
export async function prove(key: Uint8Array, statement: SealedStatement): Promise<Uint8Array> {
  const epoch = new Uint8Array(8);
  new DataView(epoch.buffer).setBigUint64(0, BigInt(statement.epoch));
  const hash = await digest('SHA-256', statement.ciphertext);
  return hmac('SHA-256', key, concat(utf8.encode(SEND_KEY.label), counted(utf8.encode(statement.convoId)), epoch, counted(utf8.encode(statement.msgId)), hash));
}

/** The body of sendSealed. */
export interface Sealed extends SealedStatement {
  paddedSize: number;
  proof: Uint8Array;
}

/**
 * Pads an encoded MLSMessage, gives it a random id, and proves by the send key of the epoch that it comes from the group. Keep what
 * this returns until the service has answered: sent again as it is, the message is stored once.
 */
export async function sealed(key: Uint8Array, convoId: string, epoch: number, message: Uint8Array, form: PaddingForm = 'direct'): Promise<Sealed> {
  const ciphertext = pad(message, form);
  const statement = { convoId, epoch, msgId: uuid(), ciphertext };
  return { ...statement, paddedSize: ciphertext.length, proof: await prove(key, statement) };
}

/** ExpandWithLabel of RFC 9420, section 8, whose KDF is HKDF in all of its cipher suites. */
async function expandWithLabel(hash: string, secret: Uint8Array, label: string, context: Uint8Array, length: number): Promise<Uint8Array> {
  const info = concat(Uint8Array.of(length >> 8, length), vector(utf8.encode(`MLS 1.0 ${label}`)), vector(context));
  // HKDF-Expand (RFC 5869, section 2.3); no output here is longer than that of the hash function.
  return (await hmac(hash, secret, concat(info, Uint8Array.of(1)))).slice(0, length);
}

async function hmac(hash: string, key: Uint8Array, data: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const imported = await crypto.subtle.importKey('raw', concat(key), { name: 'HMAC', hash }, false, ['sign']);
  return new Uint8Array(await crypto.subtle.sign('HMAC', imported, data));
}

async function digest(hash: string, data: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest(hash, concat(data)));
}
