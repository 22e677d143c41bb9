/**
 * A client of an MLS delivery service on the AT Protocol. The calls are generated from the service's lexicons (`mls`); what is
 * written by hand is what every client needs around them. It does no MLS: bring a library for that.
 */
export * as mls from './lexicons/blue/catbird/mls.js';
export { Client, XrpcError, XrpcFetchError, XrpcResponseError, type Agent } from '@atproto/lex-client';
export { directAgent, proxyAgent, serviceDid, type AgentOptions, type DirectOptions, type ServiceRef, type Session } from './agent.js';
export { TokenError } from './errors.js';
export { messageLength } from './framing.js';
export { outgoing, type Outgoing } from './message.js';
export { bucket, MAX_SIZE, pad, unpad, type PaddingForm } from './padding.js';
export { type Patience } from './patience.js';
export {
  DEVICE_CHANGE, deviceChange, epochConflict, isError, joinFromOutside, reportRemoval, reportUnprocessable, reportWelcome, signContent,
  vouchContent, type EpochConflict, type ExternalJoin,
} from './recovery.js';
export { prove, sealed, SEND_KEY, sendKey, type Sealed, type SealedStatement } from './sealed.js';
export { follow, InvalidEventError, StreamError, type ConvoEvent, type StreamItem, type StreamOptions } from './stream.js';
export { followSocket, type SocketEvent, type SocketItem, type SocketOptions } from './socket.js';
export { fromBase64, fromHex, toBase64, toHex, ulid, uuid } from './text.js';
export { serviceAuth, type TokenSource } from './token.js';
