/** Service tokens, of which each is good for one request. */
import { serviceDid, type ServiceRef, type Session } from './agent.js';

/** Gives a token for one call of the method with that NSID. It must not give the same one twice. */
export type TokenSource = (lxm: string, signal?: AbortSignal) => Promise<string>;

/** What a PDS said instead of a token. */
export class TokenError extends Error {
  constructor(readonly status: number, readonly error: string, message: string) {
    super(`the PDS gives no token: ${error}: ${message}`);
    this.name = 'TokenError';
  }
}

/**
 * Has the account's PDS make a token for each call of the service (com.atproto.server.getServiceAuth).
 *
 * The audience is the service with its id, which the scopes of OAuth sessions name; a PDS before 0.5 knows only DIDs as audiences.
 * So the one is asked for first and the other when the PDS does not take it; what worked is asked for first from then on.
 */
export function serviceAuth(session: Session, service: ServiceRef): TokenSource {
  let [first, second]: string[] = [service, serviceDid(service)];
  return async (lxm, signal) => {
    try {
      return await serviceToken(session, first!, lxm, signal);
    } catch (refused) {
      if (!(refused instanceof TokenError) || ![400, 403, 500].includes(refused.status)) throw refused;
      let token: string;
      try {
        token = await serviceToken(session, second!, lxm, signal);
      } catch {
        throw refused;
      }
      [first, second] = [second, first];
      return token;
    }
  };
}

async function serviceToken(session: Session, aud: string, lxm: string, signal: AbortSignal | undefined): Promise<string> {
  const query = new URLSearchParams({ aud, lxm });
  const response = await session.fetchHandler(`/xrpc/com.atproto.server.getServiceAuth?${query}`, signal === undefined ? {} : { signal });
  let body: { token?: unknown; error?: unknown; message?: unknown } = {};
  try {
    const parsed: unknown = await response.json();
    if (typeof parsed === 'object' && parsed !== null) body = parsed;
  } catch {
    // told below, without what was there instead
  }
  if (response.ok && typeof body.token === 'string') return body.token;
  const text = (value: unknown, otherwise: string) => (typeof value === 'string' ? value : otherwise);
  throw new TokenError(response.status, text(body.error, 'InvalidResponse'), text(body.message, `status ${response.status}`));
}
