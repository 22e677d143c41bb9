/**
 * Key packages, Welcomes and messages of groups as bytes: what stands in an MLSMessage and what is bare.
 */
import { decodeMlsMessage, encodeMlsMessage } from 'ts-mls';
import { decodeKeyPackage, encodeKeyPackage } from 'ts-mls/keyPackage.js';
import { decodeWelcome, encodeWelcome } from 'ts-mls/welcome.js';
import { unpad } from './package.mjs';
import { toHex } from './text.mjs';

/** @typedef {'wrapped' | 'bare'} ObjectForm whether key packages and Welcomes stand in an MLSMessage */

/**
 * @param {import('ts-mls').KeyPackage} keyPackage
 * @param {ObjectForm} form
 * @returns {Uint8Array}
 */
export function writeKeyPackage(keyPackage, form) {
  if (form === 'bare') return encodeKeyPackage(keyPackage);
  return encodeMlsMessage({ version: 'mls10', wireformat: 'mls_key_package', keyPackage });
}

// The headers of MLSMessages (version 1, wire format). Only these bytes mean that an object is wrapped: a bare key
// package of suite 1 begins like a PublicMessage, and reading it as one may end anywhere.
const WRAPPED_KEY_PACKAGE = [0, 1, 0, 5];
const WRAPPED_WELCOME = [0, 1, 0, 3];

/**
 * @param {Uint8Array} bytes
 * @param {number[]} prefix
 * @returns {boolean}
 */
function startsWith(bytes, prefix) {
  return prefix.every((byte, i) => bytes[i] === byte);
}

/**
 * Reads a key package, in an MLSMessage or bare.
 *
 * @param {Uint8Array} bytes
 * @returns {import('ts-mls').KeyPackage}
 */
export function readKeyPackage(bytes) {
  const message = startsWith(bytes, WRAPPED_KEY_PACKAGE) ? decodeMlsMessage(bytes, 0)?.[0] : undefined;
  if (message?.wireformat === 'mls_key_package') return message.keyPackage;
  const bare = decodeKeyPackage(bytes, 0);
  if (bare === undefined || bare[1] !== bytes.length) throw new Error('there is no key package in the bytes');
  return bare[0];
}

/**
 * @param {import('ts-mls').Welcome} welcome
 * @param {ObjectForm} form
 * @returns {Uint8Array}
 */
export function writeWelcome(welcome, form) {
  if (form === 'bare') return encodeWelcome(welcome);
  return encodeMlsMessage({ version: 'mls10', wireformat: 'mls_welcome', welcome });
}

/**
 * Reads a Welcome, in an MLSMessage or bare.
 *
 * @param {Uint8Array} bytes
 * @returns {import('ts-mls').Welcome}
 */
export function readWelcome(bytes) {
  const message = startsWith(bytes, WRAPPED_WELCOME) ? decodeMlsMessage(bytes, 0)?.[0] : undefined;
  if (message?.wireformat === 'mls_welcome') return message.welcome;
  const bare = decodeWelcome(bytes, 0);
  if (bare === undefined || bare[1] !== bytes.length) throw new Error('there is no Welcome in the bytes');
  return bare[0];
}

/**
 * Reads a message of a group, padded or not.
 *
 * @param {Uint8Array} bytes
 * @returns {import('ts-mls').MLSMessage}
 */
export function readMessage(bytes) {
  const decoded = decodeMlsMessage(unpad(bytes), 0);
  if (decoded === undefined) throw new Error('ts-mls cannot read the message');
  return decoded[0];
}

/**
 * What a message of a group is, by its header alone: no keys are needed.
 *
 * @param {Uint8Array} bytes padded or not
 * @returns {import('ts-mls').ContentTypeName}
 */
export function contentTypeOf(bytes) {
  const message = readMessage(bytes);
  if (message.wireformat === 'mls_private_message') return message.privateMessage.contentType;
  if (message.wireformat === 'mls_public_message') return message.publicMessage.content.contentType;
  throw new Error(`a ${message.wireformat} is not a message of a group`);
}

/**
 * The group that a message is framed for.
 *
 * @param {Uint8Array} bytes a padded MLSMessage
 */
export function groupIdOf(bytes) {
  const message = readMessage(bytes);
  if (message.wireformat === 'mls_private_message') return toHex(message.privateMessage.groupId);
  if (message.wireformat === 'mls_public_message') return toHex(message.publicMessage.content.groupId);
  throw new Error(`a ${message.wireformat} is not a message of a group`);
}
