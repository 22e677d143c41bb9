/**
 * Sending a request again. Every method of the service may be repeated as it is: writes carry an idempotency key or are known by
 * their content, and doing one twice does no more than doing it once. So whatever may pass is tried again, by the error's name:
 * proxies change statuses and drop headers.
 */

export interface Patience {
  /** How often a request is sent at most. */
  attempts: number;
  /** Longest wait between two attempts in milliseconds; whoever asks for a longer one gets its error reported at once. */
  longestWait: number;
  /** First wait when nobody says how long, in milliseconds; each further one is twice as long, and up to a half shorter. */
  firstWait: number;
  /** Waits; for tests. */
  sleep: (ms: number, signal: AbortSignal | undefined) => Promise<void>;
}

export const DEFAULT_PATIENCE: Patience = { attempts: 6, longestWait: 20_000, firstWait: 250, sleep };

/** Errors that pass by themselves. */
const TRANSIENT = new Set(['RateLimitExceeded', 'NotEnoughResources', 'RequestTimeout', 'IdempotencyInProgress', 'BlueskyServiceUnavailable', 'UpstreamFailure', 'UpstreamTimeout']);
/** Errors of the token: another one is good. */
const STALE_TOKEN = new Set(['JwtExpired', 'ReplayedToken']);
/** How long a server without Redis takes no tokens after its start, in milliseconds. */
const TOKEN_WAIT = 1000;

type Send = (path: `/${string}`, init: RequestInit) => Promise<Response>;

/** Repeats what send does, as patience has it. */
export function patient(send: Send, options: { headers?: HeadersInit; patience?: Partial<Patience> }): Send {
  const patience = { ...DEFAULT_PATIENCE, ...options.patience };
  const common = new Headers(options.headers);
  return async (path, init) => {
    const headers = new Headers(common);
    new Headers(init.headers).forEach((value, name) => headers.set(name, value));
    const repeatable = init.body === undefined || init.body === null || typeof init.body === 'string' || init.body instanceof Uint8Array;
    const attempts = repeatable ? patience.attempts : 1;
    const signal = init.signal ?? undefined;
    let renewed = false;
    for (let attempt = 1; ; attempt++) {
      let wait = (patience.firstWait * 2 ** (attempt - 1) * (1 + Math.random())) / 2;
      try {
        const response = await send(path, { ...init, headers });
        if (response.ok || attempt >= attempts) return response;
        const error = await peek(response);
        if (STALE_TOKEN.has(error.name) && !renewed) {
          renewed = true;
          wait = TOKEN_WAIT;
        } else if (TRANSIENT.has(error.name)) {
          wait = error.retryAfter ?? wait;
        } else {
          return response;
        }
        if (wait > patience.longestWait) return response;
        await response.body?.cancel();
      } catch (error) {
        if (!isUnreachable(error) || signal?.aborted || attempt >= attempts) throw error;
        wait = Math.min(wait, patience.longestWait);
      }
      await patience.sleep(wait, signal);
    }
  };
}

/**
 * Whether fetch could not reach the server, or lost it. It says so by a TypeError, as mistakes in programs do, too: those of fetch
 * have a cause (Node.js) or speak of it (browsers).
 */
export function isUnreachable(error: unknown): boolean {
  return error instanceof TypeError && (error.cause !== undefined || /fetch|network|load failed|terminated/i.test(error.message));
}

/** Name and wait of an error answer, whose body stays unread. */
async function peek(response: Response): Promise<{ name: string; retryAfter: number | undefined }> {
  let body: { error?: unknown; message?: unknown } = {};
  try {
    const parsed: unknown = await response.clone().json();
    if (typeof parsed === 'object' && parsed !== null) body = parsed;
  } catch {
    // a proxy's own page: the status is all there is
  }
  const name = typeof body.error === 'string' && body.error !== '' ? body.error : nameOf(response.status);
  return { name, retryAfter: retryAfter(response.headers.get('retry-after'), body.message) };
}

/** The name that an error without one has, as the XRPC specification has it. */
function nameOf(status: number): string {
  switch (status) {
    case 408: return 'RequestTimeout';
    case 429: return 'RateLimitExceeded';
    case 502: return 'UpstreamFailure';
    case 503: return 'NotEnoughResources';
    case 504: return 'UpstreamTimeout';
    default: return '';
  }
}

/** How long an error asks to wait in milliseconds. Its message repeats what proxies take out of the headers. */
export function retryAfter(header: string | null, message: unknown): number | undefined {
  const seconds = header !== null && /^\d{1,6}$/.test(header) ? header : /; try again in (\d{1,6}) s/.exec(typeof message === 'string' ? message : '')?.[1];
  return seconds === undefined ? undefined : Number(seconds) * 1000;
}

/** Resolves after a time, rejects as soon as the signal says so. */
export function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason as Error);
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', abort);
      resolve();
    }, ms);
    const abort = () => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    signal?.addEventListener('abort', abort, { once: true });
  });
}
