/**
 * What the server has stored, as a development build shows it.
 */

/** @typedef {{ count: number, columns: string[], rows: Record<string, any>[] }} Table */

/**
 * @param {string} url of the server
 * @param {{ whole?: boolean }} [options] whole: bytes are not cut short
 * @returns {Promise<Record<string, Table>>} by table
 */
export async function rowsOf(url, { whole = false } = {}) {
  const response = await fetch(new URL(whole ? '/dev/rows?whole' : '/dev/rows', url));
  if (!response.ok) throw new Error(`/dev/rows answered ${response.status}: is the server a development build?`);
  return /** @type {Promise<Record<string, Table>>} */ (response.json());
}

/**
 * The log of conversations, oldest first.
 *
 * @param {Record<string, Table>} tables
 */
export function logOf(tables) {
  return tables.messages.rows.toSorted((a, b) => a.seq - b.seq);
}

const KINDS = ['', 'text', 'proposal', 'commit', 'notice'];

/**
 * A message as a row of a table that is shown.
 *
 * @param {Record<string, any>} message
 */
export function shown(message) {
  return [String(message.seq), KINDS[message.kind], String(message.epoch), `${message.padded_size}`, String(message.sender_did)];
}

/** The columns of shown. */
export const SHOWN = ['seq', 'kind', 'epoch', 'padded_size', 'sender_did'];
