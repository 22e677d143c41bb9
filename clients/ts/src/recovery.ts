/** Coming back, and saying what cannot be processed: the calls around what an MLS library makes. */
import { type Client, XrpcResponseError } from '@atproto/lex-client';
import { concat, counted, utf8, vector } from './encoding.js';
import { getGroupInfo, processExternalCommit, reportCommit } from './lexicons/blue/catbird/mls.js';
import { sleep } from './patience.js';
import { fromBase64, toBase64, uuid } from './text.js';

/** Whether an error is the service's answer of one of these names. */
export function isError(error: unknown, ...names: string[]): error is XrpcResponseError {
  return error instanceof XrpcResponseError && names.includes(error.error);
}

/** What EpochMismatch says, from its body, or from its message where a proxy left nothing else. */
export interface EpochConflict {
  /** The epoch that the conversation is in now. */
  epoch: number;
  /** How long to wait before the next try, in milliseconds. */
  retryAfterMs: number;
  /** The commits that were missed, as far as they are there; getCommits has the rest. */
  commits: { epoch: number; commitData: Uint8Array }[];
}

/** What an EpochMismatch says; undefined for any other error. */
export function epochConflict(error: unknown): EpochConflict | undefined {
  if (!isError(error, 'EpochMismatch')) return undefined;
  const body = error.body;
  const commits: EpochConflict['commits'] = [];
  if (typeof body === 'object' && body !== null && 'commits' in body && Array.isArray(body.commits)) {
    for (const entry of body.commits as unknown[]) {
      const { epoch, commitData } = (entry ?? {}) as Record<string, unknown>;
      if (typeof epoch === 'number' && commitData instanceof Uint8Array) commits.push({ epoch, commitData });
    }
  }
  const said = /the conversation is at epoch (\d+)(?:; retry after (\d+) ms)?/.exec(error.message);
  if (said === null) return undefined;
  return { epoch: Number(said[1]), retryAfterMs: Number(said[2] ?? 0), commits };
}

/** A commit from outside, and the GroupInfo of the epoch behind it, each an encoded MLSMessage. */
export interface ExternalJoin {
  commit: Uint8Array;
  groupInfo: Uint8Array;
}

/**
 * Joins the group of a conversation from outside: asks for its GroupInfo, has make build the commit, and sends it; again from the
 * beginning when somebody else was faster. Adopt what make built last when this has returned.
 */
export async function joinFromOutside<J extends ExternalJoin>(
  client: Client,
  convoId: string,
  make: (groupInfo: Uint8Array, epoch: number) => Promise<J>,
  options: { attempts?: number; signal?: AbortSignal } = {},
): Promise<{ joined: J; epoch: number; messageId: string; seq: number }> {
  const { attempts = 5, signal } = options;
  const call = signal === undefined ? {} : { signal };
  for (let attempt = 1; ; attempt++) {
    const info = await client.call(getGroupInfo, { convoId }, call);
    const joined = await make(fromBase64(info.groupInfo), info.epoch);
    const input = { convoId, externalCommit: toBase64(joined.commit), groupInfo: toBase64(joined.groupInfo), idempotencyKey: uuid() };
    try {
      const { epoch, messageId, seq } = await client.call(processExternalCommit, input, call);
      return { joined, epoch, messageId, seq };
    } catch (error) {
      const conflict = epochConflict(error);
      if (conflict === undefined || attempt >= attempts) throw error;
      await sleep(conflict.retryAfterMs, signal);
    }
  }
}

/**
 * Says that this device cannot process a commit, which holds for all later ones, too. Keep the state of the epoch before it. True
 * when the commit is taken back by that.
 */
export async function reportUnprocessable(
  client: Client,
  commit: { convoId: string; epoch: number; messageId?: string; deviceId?: string },
): Promise<boolean> {
  const { reopened } = await client.call(reportCommit, { ...commit, reason: 'cannot_process' });
  return reopened;
}

/** Says what became of a removal that is claimed in pendingRequests, after the commit has been processed. */
export async function reportRemoval(client: Client, removal: { convoId: string; epoch: number; requestId: string; gone: boolean }): Promise<void> {
  const { gone, ...rest } = removal;
  await client.call(reportCommit, { ...rest, reason: gone ? 'removed' : 'not_removed' });
}

/** Says that the Welcome of an epoch is of no use to this device, so that members add it anew. */
export async function reportWelcome(client: Client, welcome: { convoId: string; epoch: number; deviceId: string }): Promise<void> {
  await client.call(reportCommit, { ...welcome, reason: 'welcome_invalid' });
}

/**
 * What a device signs, with the key of its leaf and without any label of MLS, to vouch for another one of its user. The signature is
 * the authenticated_data of the other's external commit.
 */
export function vouchContent(groupId: Uint8Array, signatureKey: Uint8Array): Uint8Array {
  return concat(utf8.encode('mls-server device'), counted(groupId), counted(signatureKey));
}

/** The label of {@link deviceChange}. */
export const DEVICE_CHANGE = 'mls-server device change';

/**
 * The content that another device of the user signs for `proof` of registerDevice and deleteDevice, by SignWithLabel with
 * {@link DEVICE_CHANGE}. goes is the id of the device that goes, comes the signature key that comes.
 */
export function deviceChange(change: { did: string; goes?: string; comes?: Uint8Array }): Uint8Array {
  return concat(vector(utf8.encode(change.did)), vector(utf8.encode(change.goes ?? '')), vector(change.comes ?? new Uint8Array()));
}

/** What SignWithLabel (RFC 9420, section 5.1.2) hands to the signature scheme, for libraries that do not show it. */
export function signContent(label: string, content: Uint8Array): Uint8Array {
  return concat(vector(utf8.encode(`MLS 1.0 ${label}`)), vector(content));
}
