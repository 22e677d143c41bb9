/**
 * Who may join a group from outside. The service looks at it too, but a service that lies must not get a device of its own in.
 */
import { vouchContent } from './package.mjs';
import { fromHex, toHex } from './text.mjs';

/** @typedef {import('./keys.mjs').Member & { leaf: number, signatureKey: string }} LeafMember */

/**
 * Refuses a commit from outside unless the group knows its device: it has the key of the leaf that it replaces, or a device of the
 * same user in the group vouches for it. It removes nobody else.
 *
 * @param {import('ts-mls').FramedContent & { contentType: 'commit' }} content
 * @param {LeafMember[]} own the leaves of the joiner's user
 * @param {Uint8Array} groupId
 * @param {import('ts-mls').CiphersuiteImpl} suite
 */
export async function checkJoiner(content, own, groupId, suite) {
  const { path, proposals } = content.commit;
  if (path === undefined) throw new Error('a commit from outside has no path');
  if (own.length === 0) throw new Error('a stranger joins');
  const key = path.leafNode.signaturePublicKey;
  let known = false;
  for (const entry of proposals) {
    if (entry.proposalOrRefType !== 'proposal' || entry.proposal.proposalType !== 'remove') continue;
    const { removed } = entry.proposal.remove;
    const replaced = own.find(({ leaf }) => leaf === removed);
    if (replaced === undefined) throw new Error('a commit from outside removes somebody else');
    known ||= replaced.signatureKey === toHex(key);
  }
  for (const { signatureKey } of own) {
    known ||= await verifies(suite, fromHex(signatureKey), vouchContent(groupId, key), content.authenticatedData);
  }
  if (!known) throw new Error('nobody in the group knows the device that joins');
}

/**
 * @param {import('ts-mls').CiphersuiteImpl} suite
 * @param {Uint8Array} publicKey
 * @param {Uint8Array} message
 * @param {Uint8Array} signature of any form: what is none verifies nothing
 */
async function verifies(suite, publicKey, message, signature) {
  try {
    return await suite.signature.verify(publicKey, message, signature);
  } catch {
    return false;
  }
}
