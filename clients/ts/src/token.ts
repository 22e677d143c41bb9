/** Service tokens, of which each is good for one request. */
import { serviceDid, type ServiceRef, type Session } from './agent.js';
import { errorOf, members, TokenError, TRANSIENT } from './errors.js';

/** Gives a token for one call of the method with that NSID. It must not give the same one twice. */
export type TokenSource = (lxm: string, signal?: AbortSignal) => Promise<string>;

/**
 * Has the account's PDS make a token for each call of the service (com.atproto.server.getServiceAuth).
 *
 * The audience is the service with its id, which the scopes of OAuth sessions name; a PDS before 0.5 knows only DIDs as audiences.
 * So the one is asked for first and the other when the PDS does not take it; what worked is asked for first from then on. Where
 * neither is taken, the first refusal is told; but when only one of them may pass, the second: an older PDS answers 500 to the form
 * that it does not know.
 */
export function serviceAuth(session: Session, service: ServiceRef): TokenSource {
  let [first, second]: string[] = [service, serviceDid(service)];
  return async (lxm, signal) => {
    try {
      return await serviceToken(session, first!, lxm, signal);
    } catch (refused) {
      if (!(refused instanceof TokenError) || ![400, 403, 500].includes(refused.status) || TRANSIENT.has(refused.error)) throw refused;
      let token: string;
      try {
        token = await serviceToken(session, second!, lxm, signal);
      } catch (other) {
        throw other instanceof TokenError && other.passes === refused.passes ? refused : other;
      }
      [first, second] = [second, first];
      return token;
    }
  };
}

async function serviceToken(session: Session, aud: string, lxm: string, signal: AbortSignal | undefined): Promise<string> {
  const query = new URLSearchParams({ aud, lxm });
  const response = await session.fetchHandler(`/xrpc/com.atproto.server.getServiceAuth?${query}`, signal === undefined ? {} : { signal });
  if (!response.ok) {
    const { status, name, message, retryAfter } = await errorOf(response);
    throw new TokenError(status, name, message, retryAfter);
  }
  const { token } = await members(response);
  if (typeof token !== 'string') throw new TokenError(response.status, 'InvalidResponse', 'there is none in its answer'); // nor is what was there told
  return token;
}
