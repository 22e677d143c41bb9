/**
 * What a program needs to use the notebook: the lexicons as @atproto/lex has them, a client, and the subscription.
 */
import { Client } from '@atproto/lex-client';

export { follow, StreamError, type Event } from './follow.js';
export * as notes from './lexicons/com/example/notes.js';

/** A client of the notebook at url. Writing takes its token. */
export function connect(url: string, token?: string): Client {
  return new Client({
    fetchHandler: (path, init) => {
      const headers = new Headers(init.headers);
      if (token !== undefined) headers.set('authorization', `Bearer ${token}`);
      return fetch(new URL(path, url), { ...init, headers });
    },
  });
}
