/**
 * What tests have seen clients do: docs/clients.json, of which docs/clients.md shows a table. Nobody writes it by hand.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = new URL('../../', import.meta.url);
const FILE = new URL('docs/clients.json', ROOT);

/**
 * Holds what a file of tests saw clients do against docs/clients.json; with CLIENTS_UPDATE=1 it writes it instead. To be called by
 * the last test of the file.
 *
 * @param {string} test import.meta.url of the file
 * @param {Record<string, string[]>} clients capabilities by client, each of them with its version
 */
export function works(test, clients) {
  const by = relative(fileURLToPath(ROOT), fileURLToPath(test));
  const seen = Object.fromEntries(Object.entries(clients).map(([client, does]) => [client, [...does].sort()]));
  const known = JSON.parse(readFileSync(FILE, 'utf8'));
  if (!process.env.CLIENTS_UPDATE) {
    assert.deepEqual(known[by], seen, 'run the test with CLIENTS_UPDATE=1, then go test ./internal/repo -update');
    return;
  }
  known[by] = seen;
  writeFileSync(FILE, `${JSON.stringify(sorted(known), null, 2)}\n`);
}

/**
 * A package with its version, as a folder of the repository has it.
 *
 * @param {string} name
 * @param {string} [folder] that has it installed
 */
export function version(name, folder = 'e2e') {
  return `${name} ${JSON.parse(readFileSync(new URL(`${folder}/node_modules/${name}/package.json`, ROOT), 'utf8')).version}`;
}

/** Capabilities, as internal/e2e/seen names them. */
export const CALLS = 'calls the service itself';
export const STREAMS = 'follows by events';
export const SOCKETS = 'follows by WebSocket';
export const SEALED = 'sends sealed messages';
export const OPAQUE = 'opaque groups';
export const VERIFIED = 'verified groups';

/** This repository's own TypeScript client. */
export const OURS = 'clients/ts';

/** @param {Record<string, Record<string, string[]>>} object */
function sorted(object) {
  return Object.fromEntries(
    Object.keys(object).sort().map((by) => [by, Object.fromEntries(Object.keys(object[by] ?? {}).sort().map((client) => [client, object[by]?.[client]]))]),
  );
}
