/** What both ways to follow the stream need: a connection that is cut when it is silent, and the wait before the next one. */
import { sleep } from './patience.js';

/** A connection that is cut when it is silent for too long. */
export class Connection {
  readonly #controller = new AbortController();
  readonly #outer;
  readonly #abort = () => this.#controller.abort(this.#outer?.reason);
  #timer: ReturnType<typeof setTimeout> | undefined;
  silent = false;

  constructor(outer: AbortSignal | undefined, private readonly idle: number) {
    this.#outer = outer;
    outer?.addEventListener('abort', this.#abort, { once: true });
    this.alive();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  alive(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.silent = true;
      this.#controller.abort();
    }, this.idle);
  }

  /** Whoever reads is busy: a connection that nobody listens to is not silent. */
  rest(): void {
    clearTimeout(this.#timer);
  }

  close(): void {
    this.rest();
    this.#outer?.removeEventListener('abort', this.#abort);
    this.#controller.abort();
  }
}

/** Waits before the next connection: as long as was asked for, longer after each failure. */
export async function pause(asked: number | undefined, failures: number, longest: number, signal: AbortSignal | undefined): Promise<void> {
  const wait = (Math.min(250 * 2 ** (failures - 1), longest) * (1 + Math.random())) / 2;
  await sleep(Math.max(wait, asked ?? 0), signal).catch(() => undefined); // the loop sees that the signal has ended it
}

/** These say why a connection ends; the next one goes on from the same place. */
const ENDS = new Set(['slow-consumer', 'reauthenticate', 'rollover', 'server-restart']);

/** Whether an event says nothing but that its connection ends, which needs nobody's attention. */
export function isEnd(event: object): boolean {
  return 'kind' in event && typeof event.kind === 'string' && ENDS.has(event.kind);
}
