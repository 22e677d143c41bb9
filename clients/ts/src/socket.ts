/**
 * Following subscribeConvoEvents, the stream over a WebSocket: the same events at the same cursors. A page can send no token with
 * one, so each connection is opened with a ticket, which the agent gets, directly or through the account's PDS.
 */
import { decodeAll } from '@atproto/lex-cbor';
import type { Agent } from '@atproto/lex-client';
import { Platform } from '#websocket';
import { Connection, isEnd, pause } from './connection.js';
import { errorOf, mayPass, members, STALE_TOKEN, TOKEN_WAIT, TokenError, type Refusal } from './errors.js';
import { getSubscriptionTicket, subscribeConvoEvents } from './lexicons/blue/catbird/mls.js';
import { isUnreachable } from './patience.js';
import { InvalidEventError, StreamError, type StreamItem, type StreamOptions } from './stream.js';

/** An event, with its $type. New types and kinds may come at any time: ignore those that are not known. */
export type SocketEvent = subscribeConvoEvents.$Message;

export type SocketItem = StreamItem<SocketEvent>;

export interface SocketOptions extends StreamOptions {
  /** Where the service is, for example https://mls.example.com. Only a service that does not know its address needs it. */
  url?: string | URL;
  /** Default: the global one, in Node.js that of the package ws. */
  webSocket?: typeof WebSocket;
}

/** What may wait for whoever reads. A WebSocket cannot be told to wait: a connection that brings more is given up, and resumed. */
const QUEUED = { messages: 2000, bytes: 32 * 1024 * 1024 };

/**
 * Follows the caller's conversations over WebSockets until the signal ends it, as follow does. Each connection gets a ticket of its
 * own, resumes behind the last event, and is given up when it is silent for too long.
 */
export async function* followSocket(agent: Agent, options: SocketOptions = {}): AsyncGenerator<SocketItem, void> {
  const { signal, idleTimeout = 45_000, longestWait = 30_000, webSocket = Platform } = options;
  if (webSocket === undefined) throw new TypeError('there is no WebSocket here: give one in the options');
  let cursor = options.cursor;
  let failures = 0;
  let renewed = false;
  while (!signal?.aborted) {
    const connection = new Connection(signal, idleTimeout);
    const resumed = cursor !== undefined;
    let asked: number | undefined;
    try {
      const address = await opening(agent, connection.signal, cursor, options);
      let open = false;
      for await (const data of messages(new webSocket(address), connection)) {
        const { type, body } = await read(data, cursor);
        if (typeof body['cursor'] === 'string') cursor = body['cursor'];
        renewed = false;
        failures = 0;
        if (!open) {
          open = true;
          yield { type: 'open', resumed };
        }
        const event = parse({ ...body, $type: type }, cursor);
        if (isPosition(event)) yield { type: 'position', cursor: cursor ?? '' };
        else if (!isEnd(event)) yield { type: 'event', cursor: cursor ?? '', event };
      }
    } catch (error) {
      if (signal?.aborted) return;
      if (error instanceof Refused) {
        const { name, status, message, retryAfter } = error.refusal;
        const stale = STALE_TOKEN.has(name);
        if (stale ? renewed : !mayPass(error.refusal) && name !== TOO_SLOW) throw new StreamError(status, name, message);
        renewed ||= stale;
        asked = stale ? TOKEN_WAIT : retryAfter;
      } else if (error instanceof TokenError && error.passes) {
        asked = error.retryAfter;
      } else if (!isUnreachable(error) && !connection.silent) {
        throw error;
      }
    } finally {
      connection.close();
    }
    failures++;
    await pause(asked, failures, longestWait, signal);
  }
}

const TOO_SLOW = 'ConsumerTooSlow';

/** An error answer, or an error frame. */
class Refused extends Error {
  constructor(readonly refusal: Refusal) {
    super(refusal.message);
  }
}

/** The address of one connection, with a ticket in it. */
async function opening(agent: Agent, signal: AbortSignal, cursor: string | undefined, options: SocketOptions): Promise<URL> {
  const { convoId } = options;
  const response = await agent.fetchHandler(`/xrpc/${getSubscriptionTicket.$lxm}`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ convoId }), signal,
  });
  if (!response.ok) throw new Refused(await errorOf(response));
  const { ticket, endpoint } = await members(response);
  if (typeof ticket !== 'string' || typeof endpoint !== 'string') throw new StreamError(response.status, 'InvalidResponse', 'no ticket came');
  const address = new URL(endpoint === '' ? `/xrpc/${subscribeConvoEvents.$lxm}` : endpoint, options.url);
  address.protocol = address.protocol.replace(/^http/, 'ws');
  for (const [name, value] of Object.entries({ ticket, cursor, convoId })) if (value !== undefined) address.searchParams.set(name, value);
  return address;
}

/** The messages of a connection, until it ends. */
async function* messages(socket: WebSocket, connection: Connection): AsyncGenerator<Uint8Array, void> {
  const queue: Uint8Array[] = [];
  let bytes = 0;
  let ended = false;
  let wake = (): void => {};
  const end = (): void => {
    ended = true;
    connection.rest();
    wake();
  };
  socket.binaryType = 'arraybuffer';
  socket.onmessage = ({ data }: MessageEvent<ArrayBuffer | string>) => {
    if (ended) return;
    connection.alive();
    const message = typeof data === 'string' ? new Uint8Array() : new Uint8Array(data); // a text is no frame, as no bytes are none
    queue.push(message);
    bytes += message.length;
    if (queue.length > QUEUED.messages || bytes > QUEUED.bytes) {
      cut(socket);
      end();
    }
    wake();
  };
  socket.onerror = socket.onclose = end;
  const abort = (): void => {
    cut(socket);
    end();
  };
  connection.signal.addEventListener('abort', abort, { once: true });
  if (connection.signal.aborted) abort();
  try {
    while (!connection.signal.aborted) {
      const next = queue.shift();
      if (next !== undefined) {
        bytes -= next.length;
        yield next;
      } else if (ended) {
        return;
      } else {
        await new Promise<void>((resolve) => (wake = resolve));
      }
    }
  } finally {
    connection.signal.removeEventListener('abort', abort);
    socket.close(1000);
  }
}

/** Ends a connection without waiting for the other side, where that can be done. */
function cut(socket: WebSocket & { terminate?: () => void }): void {
  if (socket.terminate) socket.terminate();
  else socket.close();
}

/** Reads a frame of an event stream: a header and a body. An error frame is thrown. */
async function read(data: Uint8Array, cursor: string | undefined): Promise<{ type: string; body: Members }> {
  const { header, body } = parts(data, cursor);
  // It has no status: one that says nothing leaves the word to the name.
  if (header['op'] === -1) throw new Refused(await errorOf(Response.json(body, { status: 400 })));
  const type = header['t'];
  if (header['op'] !== 1 || typeof type !== 'string') throw new InvalidEventError(cursor, new Error('it is no message'));
  return { type: type.startsWith('#') ? `${subscribeConvoEvents.$lxm}${type}` : type, body };
}

type Members = Record<string, unknown>;

function parts(data: Uint8Array, cursor: string | undefined): { header: Members; body: Members } {
  try {
    const [header, body, ...rest] = decodeAll(data);
    if (!isMembers(header) || !isMembers(body) || rest.length > 0) throw new Error('it is not a header and a body');
    return { header, body };
  } catch (error) {
    throw new InvalidEventError(cursor, error);
  }
}

function isMembers(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function parse(message: Members, cursor: string | undefined): SocketEvent {
  try {
    return subscribeConvoEvents.$message.parse(message);
  } catch (error) {
    throw new InvalidEventError(cursor, error);
  }
}

function isPosition(event: SocketEvent): boolean {
  return 'kind' in event && event.kind === 'position';
}
