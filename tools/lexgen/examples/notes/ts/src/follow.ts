/**
 * The subscription: frames over a WebSocket, each of a header and a body in DAG-CBOR. @atproto/lex has the schema of the messages,
 * @atproto/ws-client the connection.
 */
import { decodeAll } from '@atproto/lex-cbor';
import type { LexMap } from '@atproto/lex-schema';
import { WebSocketKeepAlive } from '@atproto/ws-client';
import { $lxm, $message, type $Message } from './lexicons/com/example/notes/subscribeNotes.js';

/** What happened to a note, or to the stream. */
export type Event = $Message;

/** The server ended the stream with an error of the lexicon. */
export class StreamError extends Error {
  readonly error: string;

  constructor(error: string, message?: string) {
    super(message ?? error);
    this.error = error;
  }
}

/** Follows the notes after the position cursor, or from now on, over broken connections, until the signal. */
export async function* follow(url: string, cursor?: number, signal?: AbortSignal): AsyncGenerator<Event> {
  const address = new URL(`/xrpc/${$lxm}`, url.replace(/^http/, 'ws'));
  const getUrl = async () => {
    if (cursor !== undefined) address.searchParams.set('cursor', String(cursor));
    return address.href;
  };
  const frames = new WebSocketKeepAlive(signal === undefined ? { getUrl } : { getUrl, signal });
  for await (const frame of frames) {
    const [header, body] = [...decodeAll(frame)] as [LexMap, LexMap];
    if (header.op === -1) throw new StreamError(String(body.error), body.message as string | undefined);
    const event = $message.parse({ $type: `${$lxm}${header.t as string}`, ...body });
    if ('seq' in event) cursor = event.seq as number;
    yield event;
  }
}
