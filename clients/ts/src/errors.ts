/** What error answers say, read in one way for calls, streams and tokens: by the error's name, since proxies change statuses. */

/** Errors that pass by themselves. */
export const TRANSIENT = new Set(['RateLimitExceeded', 'NotEnoughResources', 'RequestTimeout', 'IdempotencyInProgress', 'BlueskyServiceUnavailable', 'UpstreamFailure', 'UpstreamTimeout']);
/** Errors of the token: another one is good. */
export const STALE_TOKEN = new Set(['JwtExpired', 'ReplayedToken']);
/** How long a server without Redis takes no tokens after its start, in milliseconds. */
export const TOKEN_WAIT = 1000;

/** Whether the same question, put again, may have another answer: by the error's name, or by its status where that is not known. */
export function mayPass(refusal: { status: number; name: string }): boolean {
  const { status, name } = refusal;
  return TRANSIENT.has(name) || status === 408 || status === 429 || (status >= 500 && status !== 501);
}

/** What a PDS said instead of a token. */
export class TokenError extends Error {
  /** retryAfter is how long the PDS asks to wait, in milliseconds. */
  constructor(readonly status: number, readonly error: string, message: string, readonly retryAfter?: number) {
    super(`the PDS gives no token: ${error}: ${message}`);
    this.name = 'TokenError';
  }

  /** Whether the PDS may give one later. */
  get passes(): boolean {
    return mayPass({ status: this.status, name: this.error });
  }
}

/** An error answer. */
export interface Refusal {
  status: number;
  /** The error's name; that of the status when it has none. */
  name: string;
  /** Whether the answer has that name itself: a proxy's own page has none. */
  named: boolean;
  message: string;
  /** How long it asks to wait, in milliseconds. */
  retryAfter: number | undefined;
}

/** Reads an error answer. */
export async function errorOf(response: Response): Promise<Refusal> {
  const { status } = response;
  const body = await members(response);
  const named = typeof body['error'] === 'string' && body['error'] !== '';
  const message = typeof body['message'] === 'string' ? body['message'] : '';
  return {
    status, named,
    name: named ? (body['error'] as string) : nameOf(status),
    message: message === '' ? `status ${status}` : message,
    retryAfter: retryAfter(response.headers.get('retry-after'), message),
  };
}

/** The members of a JSON object; none when the body is something else. */
export async function members(response: Response): Promise<Record<string, unknown>> {
  try {
    const parsed: unknown = await response.json();
    return typeof parsed === 'object' && parsed !== null ? (parsed as Record<string, unknown>) : {};
  } catch {
    return {}; // a proxy's own page: the status is all there is
  }
}

/** The name that an error without one has, as the XRPC specification has it. */
function nameOf(status: number): string {
  switch (status) {
    case 408: return 'RequestTimeout';
    case 429: return 'RateLimitExceeded';
    case 502: return 'UpstreamFailure';
    case 503: return 'NotEnoughResources';
    case 504: return 'UpstreamTimeout';
    default: return 'InvalidResponse';
  }
}

/** How long an error asks to wait in milliseconds. Its message repeats what proxies take out of the headers. */
function retryAfter(header: string | null, message: string): number | undefined {
  const seconds = header !== null && /^\d{1,6}$/.test(header) ? header : /; try again in (\d{1,6}) s/.exec(message)?.[1];
  return seconds === undefined ? undefined : Number(seconds) * 1000;
}
