/** Following streamConvoEvents across broken connections. */
import type { Agent } from '@atproto/lex-client';
import { lexParse } from '@atproto/lex-json';
import { Connection, isEnd, pause } from './connection.js';
import { errorOf, mayPass, STALE_TOKEN, TOKEN_WAIT, TokenError } from './errors.js';
import { streamConvoEvents } from './lexicons/blue/catbird/mls.js';
import { isUnreachable } from './patience.js';
import { frames } from './sse.js';

/** An event, with its $type. New kinds may come at any time: ignore those that are not known. */
export type ConvoEvent = streamConvoEvents.EventWrapper['event'];

export type StreamItem<Event = ConvoEvent> =
  /** The service has accepted a connection. Not resumed: what happened before has to be asked for (getConvos, getMessages). */
  | { type: 'open'; resumed: boolean }
  /** Something happened. Keep the cursor when it has taken effect. */
  | { type: 'event'; cursor: string; event: Event }
  /** Nothing happened up to here. The cursor may be kept as well. */
  | { type: 'position'; cursor: string };

export interface StreamOptions {
  /** Where to go on. */
  cursor?: string;
  /** Only the events of that conversation. */
  convoId?: string;
  /** Ends the stream. */
  signal?: AbortSignal;
  /** How long a connection may be silent in milliseconds: the service says something every 15 seconds. Default 45,000. */
  idleTimeout?: number;
  /** Longest wait between two connections in milliseconds, unless the service asks for a longer one. Default 30,000. */
  longestWait?: number;
}

/** Why the service refuses the stream; trying again would not help. */
export class StreamError extends Error {
  constructor(readonly status: number, readonly error: string, message: string) {
    super(`the stream was refused: ${error}: ${message}`);
    this.name = 'StreamError';
  }
}

/** An event that is not as the lexicon has it. Whoever goes on behind it uses its cursor. */
export class InvalidEventError extends Error {
  constructor(readonly cursor: string | undefined, cause: unknown) {
    super('an event of the stream breaks its schema', { cause });
    this.name = 'InvalidEventError';
  }
}

/**
 * Follows the caller's conversations until the signal ends it. Each connection gets a token of its own from the agent, resumes behind
 * the last event, and is given up when it is silent for too long. A token that is refused as stale is renewed once for each
 * connection that is accepted.
 */
export async function* follow(agent: Agent, options: StreamOptions = {}): AsyncGenerator<StreamItem, void> {
  const { signal, idleTimeout = 45_000, longestWait = 30_000 } = options;
  let cursor = options.cursor;
  let failures = 0;
  let renewed = false;
  while (!signal?.aborted) {
    const connection = new Connection(signal, idleTimeout);
    let asked: number | undefined;
    try {
      const response = await connect(agent, connection.signal, cursor, options.convoId);
      if (!response.ok || response.body === null) {
        const error = await errorOf(response);
        const stale = STALE_TOKEN.has(error.name);
        if (stale ? renewed : !mayPass(error)) throw new StreamError(error.status, error.name, error.message);
        renewed ||= stale;
        failures++;
        connection.close();
        await pause(stale ? TOKEN_WAIT : error.retryAfter, failures, longestWait, signal);
        continue;
      }
      renewed = false;
      connection.rest();
      yield { type: 'open', resumed: cursor !== undefined };
      connection.alive();
      for await (const frame of frames(response.body, () => connection.alive())) {
        if (frame.id !== undefined && frame.id !== '') cursor = frame.id;
        if (frame.data !== undefined) {
          const event = parse(frame.data, cursor);
          failures = 0;
          // What the service says of the connection itself needs nobody's attention.
          connection.rest();
          if (!isEnd(event)) yield { type: 'event', cursor: cursor ?? '', event };
          connection.alive();
        } else if (frame.id !== undefined && frame.id !== '') {
          failures = 0;
          connection.rest();
          yield { type: 'position', cursor: frame.id };
          connection.alive();
        }
      }
    } catch (error) {
      if (signal?.aborted) return;
      if (error instanceof TokenError && error.passes) asked = error.retryAfter;
      else if (!isUnreachable(error) && !connection.silent) throw error;
    } finally {
      connection.close();
    }
    failures++;
    await pause(asked, failures, longestWait, signal);
  }
}

function connect(agent: Agent, signal: AbortSignal, cursor: string | undefined, convoId: string | undefined): Promise<Response> {
  const query = new URLSearchParams();
  if (cursor !== undefined) query.set('cursor', cursor);
  if (convoId !== undefined) query.set('convoId', convoId);
  // Last-Event-ID says that this is a client that resumes, and not a browser's page that runs through a proxy.
  // A PDS holds back what it compresses. Browsers do not let pages say what to accept, and ignore it.
  const headers = { accept: 'text/event-stream', 'accept-encoding': 'identity', 'last-event-id': cursor ?? '' };
  return agent.fetchHandler(`/xrpc/${streamConvoEvents.$lxm}${query.size > 0 ? `?${query}` : ''}`, { signal, headers, cache: 'no-store' });
}

function parse(data: string, cursor: string | undefined): ConvoEvent {
  try {
    return streamConvoEvents.eventWrapper.parse(lexParse(data)).event;
  } catch (error) {
    throw new InvalidEventError(cursor, error);
  }
}
