/**
 * Calls to the service, over the stock XRPC client: every answer is validated against the lexicons by @atproto/xrpc, every
 * input before it is sent, and every error must be one that the method declares.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { XRPCError, XrpcClient } from '@atproto/xrpc';
import { commonErrors, NSID } from './lexicons.mjs';

/** Errors that every method may answer with. */
const COMMON = commonErrors();
/** How often a request is sent when the service asks for patience or cannot be reached. */
const ATTEMPTS = 8;
/** First wait for a service that cannot be reached, in seconds; each further wait is twice as long. */
const FIRST_WAIT = 0.1;
/** Longest wait that the service may ask for, in seconds. */
const PATIENCE = 10;

/**
 * Whether an error is the service's answer of that name.
 *
 * @param {unknown} error
 * @param {...string} names
 */
export function isError(error, ...names) {
  return error instanceof XRPCError && names.includes(error.error);
}

/** A client of the service on behalf of one account. */
export class Api {
  #client;
  #identity;
  #service;
  #lexicons;
  #canary;

  /**
   * @param {{ url: string, did: string }} service
   * @param {import('./identity.mjs').Identity} identity
   * @param {import('@atproto/lexicon').Lexicons} lexicons
   * @param {import('./canary.mjs').Canary} canary learns all values that must not be logged
   */
  constructor(service, identity, lexicons, canary) {
    this.#service = service;
    this.#identity = identity;
    this.#lexicons = lexicons;
    this.#canary = canary;
    this.#client = new XrpcClient((url, init) => this.#fetch(url, init), lexicons);
  }

  /** Where the service is. */
  get url() {
    return this.#service.url;
  }

  /**
   * @param {string} method without the prefix
   * @param {Record<string, unknown>} [params]
   * @returns {Promise<any>} the output, valid by the lexicon
   */
  query(method, params = {}) {
    const nsid = `${NSID}.${method}`;
    this.#lexicons.assertValidXrpcParams(nsid, params);
    return this.#call(nsid, params, undefined);
  }

  /**
   * @param {string} method without the prefix
   * @param {Record<string, unknown>} input
   * @returns {Promise<any>} the output, valid by the lexicon
   */
  procedure(method, input) {
    const nsid = `${NSID}.${method}`;
    this.#lexicons.assertValidXrpcInput(nsid, input);
    return this.#call(nsid, undefined, input);
  }

  /**
   * A token for a method that is called by other means, such as an EventSource.
   *
   * @param {string} method without the prefix
   */
  async token(method) {
    const token = await this.#identity.token(this.#service.did, `${NSID}.${method}`);
    this.#canary.addToken(token);
    return token;
  }

  /**
   * Every request may be repeated as it is: it carries an idempotency key, or doing it twice does no more than doing it once.
   *
   * @param {string} nsid
   * @param {Record<string, unknown> | undefined} params
   * @param {Record<string, unknown> | undefined} input
   */
  async #call(nsid, params, input) {
    this.#canary.addValues(params, input);
    for (let attempt = 1; ; attempt++) {
      try {
        const options = input === undefined ? {} : { encoding: 'application/json' };
        const { data } = await this.#client.call(nsid, /** @type {any} */ (params), input, options);
        this.#canary.addValues(data);
        return data;
      } catch (error) {
        const wait = error instanceof XRPCError ? this.#patience(nsid, error, attempt) : undefined;
        if (wait === undefined || attempt === ATTEMPTS) throw error;
        await sleep(wait * 1000);
      }
    }
  }

  /**
   * @param {string} nsid
   * @param {XRPCError} error
   * @param {number} attempt
   * @returns {number | undefined} how long to wait before the request is sent again, in seconds
   */
  #patience(nsid, error, attempt) {
    if (error.cause instanceof TypeError) return FIRST_WAIT * 2 ** (attempt - 1); // fetch could not reach the service
    const def = this.#lexicons.getDefOrThrow(nsid, ['query', 'procedure']);
    const declared = 'errors' in def ? (def.errors ?? []).some((e) => e.name === error.error) : false;
    if (!declared && !COMMON.has(error.error)) {
      throw new Error(`${nsid} answered ${error.status} ${error.error}, which it does not declare: ${error.message}`, { cause: error });
    }
    // A token that was made in the moment at which the service started: the next one is good.
    if (error.error === 'JwtExpired' && attempt === 1) return 1;
    const wait = Number(error.headers?.['retry-after'] ?? NaN);
    return wait <= PATIENCE ? wait : undefined;
  }

  /**
   * Sends a request with a token of its own.
   *
   * @param {string} path
   * @param {RequestInit} init
   */
  async #fetch(path, init) {
    const url = new URL(path, this.#service.url);
    const headers = new Headers(init.headers);
    headers.set('authorization', `Bearer ${await this.token(url.pathname.slice(`/xrpc/${NSID}.`.length))}`);
    return fetch(url, { ...init, headers });
  }
}
