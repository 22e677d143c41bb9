/**
 * Accounts. What a PDS does for a real one is done here: it keeps the account's key, and signs service tokens with it. The key is
 * one of the browser's own, which not even this page can read.
 */
import type { TokenSource } from '../../ts/dist/index.js';

/** An account as it is kept. */
export interface Identity {
  name: string;
  did: `did:web:${string}`;
  key: CryptoKey;
  /** The public key as a DID document has it. */
  multibase: string;
}

const CURVE = { name: 'ECDSA', namedCurve: 'P-256' };
/** The order of P-256 (SEC 2, section 2.4.2). */
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
/** p256-pub of multicodec, as a varint. */
const P256_PUB = [0x80, 0x24];
const BASE58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
const TOKEN_SECONDS = 60;

/** Makes an account, whose DID document the server publishes. */
export async function createIdentity(name: string): Promise<Identity> {
  const { privateKey, publicKey } = await crypto.subtle.generateKey(CURVE, false, ['sign', 'verify']);
  const point = new Uint8Array(await crypto.subtle.exportKey('raw', publicKey)); // 4, x, y
  const compressed = [2 + (point[64]! & 1), ...point.slice(1, 33)];
  const multibase = `z${base58([...P256_PUB, ...compressed])}`;
  return { name, did: await publish(name, multibase), key: privateKey, multibase };
}

/** Has the server publish the account's DID document: a server that was started anew knows none. */
export async function publish(name: string, publicKeyMultibase: string): Promise<`did:web:${string}`> {
  const response = await fetch('/dev/identities', { method: 'POST', body: JSON.stringify({ name: name.toLowerCase(), publicKeyMultibase }) });
  if (!response.ok) throw new Error(`The server did not publish the account: ${await response.text()}`);
  return ((await response.json()) as { did: `did:web:${string}` }).did;
}

/** Service tokens as a PDS signs them: JWTs by ES256, each for one call. */
export function tokens(identity: Identity, audience: string): TokenSource {
  return async (lxm) => {
    const now = Math.floor(Date.now() / 1000);
    const header = { typ: 'JWT', alg: 'ES256' };
    const claims = { iss: identity.did, aud: audience, iat: now, exp: now + TOKEN_SECONDS, lxm, jti: crypto.randomUUID() };
    const signed = `${encode(header)}.${encode(claims)}`;
    const signature = await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, identity.key, new TextEncoder().encode(signed));
    return `${signed}.${base64url(low(new Uint8Array(signature)))}`;
  };
}

/** The signature with the smaller of its two possible values of s, which atproto wants. */
function low(signature: Uint8Array): Uint8Array {
  const s = BigInt(`0x${[...signature.slice(32)].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`);
  if (s <= ORDER / 2n) return signature;
  const other = (ORDER - s).toString(16).padStart(64, '0');
  return Uint8Array.from([...signature.slice(0, 32), ...other.match(/../g)!.map((byte) => parseInt(byte, 16))]);
}

const encode = (value: unknown) => base64url(new TextEncoder().encode(JSON.stringify(value)));

function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes)).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
}

/** Base58 of bytes that do not begin with 0. */
function base58(bytes: number[]): string {
  let value = bytes.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
  let text = '';
  for (; value > 0n; value /= 58n) text = BASE58[Number(value % 58n)] + text;
  return text;
}
