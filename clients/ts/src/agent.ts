/**
 * How requests get to the service: directly with service tokens, or through the account's PDS. Both send a request again when the
 * answer's error name says that this helps.
 *
 * An agent is what `new Client(agent)` of @atproto/lex-client and `new XrpcClient(agent.fetchHandler, …)` of @atproto/xrpc take.
 */
import type { Agent } from '@atproto/lex-client';
import type { DidString } from '@atproto/lex-schema';
import { apart } from '#apart';
import { ANONYMOUS, methodOf } from './methods.js';
import { patient, type Patience } from './patience.js';
import type { TokenSource } from './token.js';

/** A DID and the id of one of its services, for example did:web:mls.example.com#atproto_mls. */
export type ServiceRef = `${DidString}#${string}`;

/** What both agents take. */
export interface AgentOptions {
  /** Sent with each request, but for those that say nothing of their caller; headers of the request itself stand over them. */
  headers?: HeadersInit;
  /** How often and how long to try; see {@link Patience}. */
  patience?: Partial<Patience>;
}

export interface DirectOptions extends AgentOptions {
  /** Where the service is, for example https://mls.example.com. */
  url: string | URL;
  /** The account. */
  did?: DidString;
  /** Where tokens come from; without it requests have none, as describeServer takes them. */
  token?: TokenSource;
  /** Default: the global fetch, and for methods that take no token a connection each in Node.js. */
  fetch?: typeof globalThis.fetch;
}

/**
 * Calls the service itself, which streams need on a PDS that cuts them. Every request gets a token of its own.
 *
 * Methods that take no token (sendSealed) get none, nor anything else of the account's, and in Node.js a connection each, which
 * carries nothing else. With a fetch of one's own, and in browsers, which connection they go over is up to it.
 */
export function directAgent(options: DirectOptions): Agent {
  const { token } = options;
  const send = options.fetch ?? globalThis.fetch;
  const common = new Headers(options.headers);
  const handler = patient(async (path, init) => {
    const url = new URL(path, options.url);
    const method = methodOf(path);
    if (ANONYMOUS.has(method)) return (options.fetch ?? apart)(url, unnamed(init));
    const headers = merged(common, init.headers);
    if (token !== undefined) headers.set('authorization', `Bearer ${await token(method, init.signal ?? undefined)}`);
    return send(url, { ...init, headers, redirect: 'manual' }); // no token goes where another server wants it
  }, options.patience);
  return options.did === undefined ? { fetchHandler: handler } : { did: options.did, fetchHandler: handler };
}

function merged(common: Headers, own: HeadersInit | undefined): Headers {
  const headers = new Headers(common);
  new Headers(own).forEach((value, name) => headers.set(name, value));
  return headers;
}

/** The request without what could name its caller: of its headers only those that say what body and answer are. */
function unnamed(init: RequestInit): RequestInit {
  const own = new Headers(init.headers);
  const headers = new Headers();
  for (const name of ['accept', 'content-encoding', 'content-type']) {
    const value = own.get(name);
    if (value !== null) headers.set(name, value);
  }
  return { ...init, headers, credentials: 'omit', referrerPolicy: 'no-referrer', redirect: 'manual' };
}

/**
 * A signed-in account: an Agent of @atproto/api, an OAuthSession, a PasswordSession of @atproto/lex. It sends a request to the
 * account's PDS.
 */
export interface Session {
  readonly did?: string | undefined;
  fetchHandler(path: string, init: RequestInit): Promise<Response>;
}

/** Calls the service through the account's PDS, but for methods whose caller shall not be known: those throw. */
export function proxyAgent(session: Session, service: ServiceRef, options: AgentOptions = {}): Agent {
  serviceDid(service);
  const common = new Headers(options.headers);
  const handler = patient(async (path, init) => {
    const method = methodOf(path);
    if (ANONYMOUS.has(method)) throw new Error(`${method}: a PDS knows its account, and would name it: use directAgent`);
    const headers = merged(common, init.headers);
    headers.set('atproto-proxy', service);
    return session.fetchHandler(path, { ...init, headers });
  }, options.patience);
  return session.did === undefined ? { fetchHandler: handler } : { did: session.did as DidString, fetchHandler: handler };
}

/** The DID of a service reference. Throws when there is none in it, or no service id. */
export function serviceDid(service: string): DidString {
  const match = /^(did:[a-z]+:[A-Za-z0-9._:%-]*[A-Za-z0-9._-])#[^#\s]+$/.exec(service);
  if (match === null) throw new TypeError('a service is named by a DID and a service id, for example did:web:mls.example.com#atproto_mls');
  return match[1] as DidString;
}
