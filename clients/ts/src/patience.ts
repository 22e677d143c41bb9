/**
 * Sending a request again, by the error's name: proxies change statuses and drop headers. Writes carry an idempotency key or are
 * known by their content, so that doing one twice does no more than doing it once, and they are repeated after whatever may pass.
 * Not so getKeyPackages: each time it hands out others. It is repeated only when the service, or the PDS, has turned it away.
 */
import { errorOf, STALE_TOKEN, TOKEN_WAIT, TokenError, TRANSIENT } from './errors.js';
import { CONSUMING, methodOf } from './methods.js';

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

/** Errors by which the service turns a request away before it has done anything. */
const TURNED_AWAY = new Set(['RateLimitExceeded', 'NotEnoughResources']);

type Send = (path: `/${string}`, init: RequestInit) => Promise<Response>;

/** Repeats what send does, as patience has it. */
export function patient(send: Send, options: Partial<Patience> = {}): Send {
  const patience = { ...DEFAULT_PATIENCE, ...options };
  return async (path, init) => {
    const consuming = CONSUMING.has(methodOf(path));
    const repeatable = init.body === undefined || init.body === null || typeof init.body === 'string' || init.body instanceof Uint8Array;
    const attempts = repeatable ? patience.attempts : 1;
    const signal = init.signal ?? undefined;
    let renewed = false;
    for (let attempt = 1; ; attempt++) {
      let wait = (patience.firstWait * 2 ** (attempt - 1) * (1 + Math.random())) / 2;
      try {
        const response = await send(path, init);
        if (response.ok || attempt >= attempts) return response;
        const error = await errorOf(response.clone());
        if (STALE_TOKEN.has(error.name) && !renewed) {
          renewed = true;
          wait = TOKEN_WAIT;
        } else if (consuming ? error.named && TURNED_AWAY.has(error.name) : TRANSIENT.has(error.name)) {
          wait = error.retryAfter ?? wait;
        } else {
          return response;
        }
        if (wait > patience.longestWait) return response;
        await response.body?.cancel();
      } catch (error) {
        if (signal?.aborted || attempt >= attempts) throw error;
        if (error instanceof TokenError && error.passes) {
          wait = error.retryAfter ?? wait; // without a token nothing was sent, so this holds for every method
          if (wait > patience.longestWait) throw error;
        } else if (isUnreachable(error) && !consuming) {
          wait = Math.min(wait, patience.longestWait);
        } else {
          throw error;
        }
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
