/** Identifiers and text forms that clients make themselves. */

const CROCKFORD = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/**
 * A ULID whose time is floored to two seconds, so that it tells no more about the time of sending than the service does.
 * 26 characters.
 */
export function ulid(): string {
  let value = BigInt(Math.floor(Date.now() / 2000) * 2000);
  for (const byte of crypto.getRandomValues(new Uint8Array(10))) value = (value << 8n) | BigInt(byte);
  let text = '';
  for (let i = 0; i < 26; i++, value >>= 5n) text = CROCKFORD[Number(value & 31n)] + text;
  return text;
}

/** A random UUID, which tells nothing about time. 36 characters. */
export function uuid(): string {
  return crypto.randomUUID();
}

/** Base64 in the standard alphabet with padding, as the service writes Welcomes, key packages and commits. */
export function toBase64(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(text);
}

/** Reads base64 of either alphabet, padded or not. Throws on anything else. */
export function fromBase64(text: string): Uint8Array {
  const match = /^([A-Za-z0-9+/_-]*)(={0,2})$/.exec(text);
  const [, body = '', padding = ''] = match ?? [];
  if (match === null || body.length % 4 === 1 || (padding !== '' && (body.length + padding.length) % 4 !== 0)) throw new TypeError('this is not base64');
  return Uint8Array.from(atob(body.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0));
}

/** Hex in small letters, as group ids have it. */
export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Reads hex of any case. Throws on anything else. */
export function fromHex(text: string): Uint8Array {
  if (text.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(text)) throw new TypeError('this is not hex');
  return Uint8Array.from({ length: text.length / 2 }, (_, i) => parseInt(text.slice(2 * i, 2 * i + 2), 16));
}
