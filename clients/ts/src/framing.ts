/** Where an MLSMessage ends (RFC 9420, section 6), so that padding behind it can be cut off without an MLS library. */

const PUBLIC = 1;
const PRIVATE = 2;

/**
 * The length of the PublicMessage or PrivateMessage that bytes begin with, version and wire format included; undefined when there
 * is none. Nothing is verified, and proposals of types that are not known here end the search.
 */
export function messageLength(bytes: Uint8Array): number | undefined {
  const reader = new Reader(bytes);
  try {
    if (reader.number(2) !== 1) return undefined;
    const format = reader.number(2);
    if (format === PRIVATE) privateMessage(reader);
    else if (format === PUBLIC) publicMessage(reader);
    else return undefined;
    return reader.at;
  } catch (error) {
    if (error instanceof Truncated) return undefined;
    throw error;
  }
}

/** The bytes end too early, or something in them has no known length. */
class Truncated extends Error {}

class Reader {
  at = 0;
  constructor(private readonly bytes: Uint8Array) {}

  skip(n: number): void {
    this.at += n;
    if (this.at > this.bytes.length) throw new Truncated();
  }

  number(size: 1 | 2 | 4): number {
    this.skip(size);
    let value = 0;
    for (let i = this.at - size; i < this.at; i++) value = value * 256 + this.bytes[i]!;
    return value;
  }

  /** Variable-size vectors (section 2.1.2): the first two bits tell how long the length is. */
  vectors(count = 1): void {
    for (let i = 0; i < count; i++) {
      const first = this.number(1);
      const more = [0, 1, 3][first >> 6];
      if (more === undefined) throw new Truncated();
      let length = first & 0x3f;
      for (let j = 0; j < more; j++) length = length * 256 + this.number(1);
      this.skip(length);
    }
  }
}

function privateMessage(r: Reader): void {
  r.vectors(); // group_id
  r.skip(8 + 1); // epoch, content_type
  r.vectors(3); // authenticated_data, encrypted_sender_data, ciphertext
}

function publicMessage(r: Reader): void {
  r.vectors(); // group_id
  r.skip(8); // epoch
  const sender = r.number(1);
  if (sender === 1 || sender === 2) r.skip(4);
  r.vectors(); // authenticated_data
  const content = r.number(1);
  if (content === 1) r.vectors();
  else if (content === 2) proposal(r);
  else if (content === 3) commit(r);
  else throw new Truncated();
  r.vectors(content === 3 ? 2 : 1); // signature, confirmation_tag
  if (sender === 1) r.vectors(); // membership_tag
}

function commit(r: Reader): void {
  r.vectors(); // proposals
  if (r.number(1) === 0) return;
  leafNode(r);
  r.vectors(); // nodes
}

function proposal(r: Reader): void {
  switch (r.number(2)) {
    case 1: // add
      r.skip(4); // version, cipher suite
      r.vectors(); // init_key
      leafNode(r);
      return r.vectors(2); // extensions, signature
    case 2: // update
      return leafNode(r);
    case 3: // remove
      return r.skip(4);
    case 4: // psk
      if (r.number(1) === 1) r.vectors();
      else {
        r.skip(1); // usage
        r.vectors(); // psk_group_id
        r.skip(8); // psk_epoch
      }
      return r.vectors(); // psk_nonce
    case 5: // reinit
      r.vectors(); // group_id
      r.skip(4); // version, cipher suite
      return r.vectors(); // extensions
    case 6: // external_init
    case 7: // group_context_extensions
      return r.vectors();
    case 0x000a: // self_remove, and mls-rs' number for it
    case 0xf003:
      return;
    default:
      throw new Truncated();
  }
}

function leafNode(r: Reader): void {
  r.vectors(2); // encryption_key, signature_key
  r.skip(2); // credential_type
  r.vectors(1 + 5); // credential, capabilities
  const source = r.number(1);
  if (source === 1) r.skip(16); // lifetime
  else if (source === 3) r.vectors(); // parent_hash
  r.vectors(2); // extensions, signature
}
