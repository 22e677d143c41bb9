/**
 * Calls to the service, over the stock XRPC client: every answer is validated against the lexicons by @atproto/xrpc, every
 * input before it is sent, and every error must be one that the method declares.
 */
import { XRPCError, XrpcClient } from '@atproto/xrpc';
import { commonErrors, NSID } from './lexicons.mjs';
import { directAgent } from './package.mjs';

/** Errors that every method may answer with. */
const COMMON = commonErrors();
/** What a service that is being restarted is given time for; whoever asks for a longer wait is not waited for. */
const PATIENCE = { attempts: 8, firstWait: 200, longestWait: 10_000 };

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
  /** Sends requests, each with a token of its own, and sends them again when the service asks for patience or cannot be reached. */
  agent;

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
    this.agent = directAgent({ url: service.url, token: (lxm) => this.#token(lxm), patience: PATIENCE });
    const { fetchHandler } = this.agent;
    this.#client = new XrpcClient((path, init) => fetchHandler(/** @type {`/${string}`} */ (path), init), lexicons);
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
  token(method) {
    return this.#token(`${NSID}.${method}`);
  }

  /** @param {string} nsid */
  async #token(nsid) {
    const token = await this.#identity.token(this.#service.did, nsid);
    this.#canary.addToken(token);
    return token;
  }

  /**
   * @param {string} nsid
   * @param {Record<string, unknown> | undefined} params
   * @param {Record<string, unknown> | undefined} input
   */
  async #call(nsid, params, input) {
    this.#canary.addValues(params, input);
    try {
      const options = input === undefined ? {} : { encoding: 'application/json' };
      const { data } = await this.#client.call(nsid, /** @type {any} */ (params), input, options);
      this.#canary.addValues(data);
      return data;
    } catch (error) {
      if (error instanceof XRPCError && !(error.cause instanceof TypeError)) this.#declared(nsid, error);
      throw error;
    }
  }

  /**
   * Refuses an error that the method does not declare.
   *
   * @param {string} nsid
   * @param {XRPCError} error
   */
  #declared(nsid, error) {
    const def = this.#lexicons.getDefOrThrow(nsid, ['query', 'procedure']);
    const declared = 'errors' in def ? (def.errors ?? []).some((e) => e.name === error.error) : false;
    if (declared || COMMON.has(error.error)) return;
    throw new Error(`${nsid} answered ${error.status} ${error.error}, which it does not declare: ${error.message}`, { cause: error });
  }
}
