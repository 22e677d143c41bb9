/** Groups that follow one which cannot go on. */
import { randomBytes } from 'node:crypto';
import { Group } from './mls.mjs';
import { writeWelcome } from './objects.mjs';
import { fromBase64, toHex } from './text.mjs';

/**
 * A key package as getKeyPackages gives it.
 *
 * @typedef {{ did: string, deviceId?: string, keyPackage: string, keyPackageHash: string }} KeyPackageRef
 */

/**
 * Makes a group with every other device of a conversation's members that can be welcomed.
 *
 * @param {import('./client.mjs').Device} device
 * @param {any} view a convoView
 * @param {(bytes: Uint8Array) => string} text how the device writes objects
 * @returns {Promise<{ group: Group, request: any }>} request is what resetConvo has to know of the group
 */
export async function found(device, view, text) {
  const { keys, mlsDid } = device;
  const groupId = new Uint8Array(randomBytes(16));
  const group = await Group.create(keys, await keys.keyPackage(mlsDid), groupId);
  const packages = await claimAll(device, view);
  const welcomeMessages = [];
  if (packages.length > 0) {
    const staged = await group.stageAddition(packages.map((p) => fromBase64(p.keyPackage)), { asPublicMessage: true });
    if (staged.welcome === undefined) throw new Error('the commit adds nobody');
    welcomeMessages.push(text(writeWelcome(staged.welcome, device.form)));
    staged.adopt();
  }
  return {
    group,
    request: {
      groupId: toHex(groupId),
      cipherSuite: keys.suite.name,
      currentEpoch: group.epoch,
      groupInfo: text(await group.groupInfo()),
      keyPackageHashes: packages.map((p) => ({ did: p.did, hash: p.keyPackageHash })),
      welcomeMessages,
    },
  };
}

/**
 * A key package of every other device of the members: the one that it has asked to come back with, or one of those that it has
 * published.
 *
 * @param {import('./client.mjs').Device} device
 * @param {any} view
 * @returns {Promise<KeyPackageRef[]>}
 */
async function claimAll({ api, did, id, keys }, view) {
  const cipherSuite = keys.suite.name;
  const dids = [...new Set(view.members.map((/** @type {{ userDid: string }} */ m) => m.userDid))];
  const claimed = [await api.query('getKeyPackages', { cipherSuite, dids })];
  for (const { kind, requestId, userDid } of view.pendingRequests ?? []) {
    if (kind === 'rejoin') claimed.push(await api.query('getKeyPackages', { cipherSuite, dids: [userDid], requestId }));
  }
  /** @type {Map<string, KeyPackageRef>} */
  const byDevice = new Map();
  for (const p of claimed.flatMap(({ keyPackages }) => keyPackages)) byDevice.set(`${p.did} ${p.deviceId}`, p);
  byDevice.delete(`${did} ${id}`);
  return [...byDevice.values()];
}
