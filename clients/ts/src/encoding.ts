/** Parts of what is signed or hashed, as RFC 9420 and this service write them. */

export const utf8 = new TextEncoder();

export function concat(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** A variable-size vector of RFC 9420, section 2.1.2. */
export function vector(bytes: Uint8Array): Uint8Array {
  const n = bytes.length;
  if (n >= 1 << 30) throw new RangeError('a vector is too long');
  const head = n < 1 << 6 ? [n] : n < 1 << 14 ? [0x40 | (n >> 8), n & 0xff] : [0x80 | (n >> 24), (n >> 16) & 0xff, (n >> 8) & 0xff, n & 0xff];
  return concat(Uint8Array.from(head), bytes);
}

/** Bytes behind their length in four bytes, as the service's own statements have them. */
export function counted(bytes: Uint8Array): Uint8Array {
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, bytes.length);
  return concat(length, bytes);
}
