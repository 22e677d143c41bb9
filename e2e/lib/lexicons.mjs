/**
 * The contract: the lexicon files of this repository, as @atproto/lexicon reads them.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Lexicons } from '@atproto/lexicon';

/** Prefix of every method and definition. */
export const NSID = 'blue.catbird.mls';

const directory = fileURLToPath(new URL('../../lexicons/blue', import.meta.url));
const policy = new URL('../../lexicons/policy.json', import.meta.url);

/**
 * Loads all lexicon files. Throws when a file is not a valid lexicon.
 *
 * @returns {Lexicons}
 */
export function loadLexicons() {
  const files = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.json'));
  if (files.length === 0) throw new Error(`no lexicons in ${directory}`);
  return new Lexicons(files.map((name) => JSON.parse(readFileSync(`${directory}/${name}`, 'utf8'))));
}

/**
 * Names of the errors that every method may answer with, beside those that its lexicon declares.
 *
 * @returns {Set<string>}
 */
export function commonErrors() {
  /** @type {{ common: { name: string }[] }} */
  const { common } = JSON.parse(readFileSync(policy, 'utf8'));
  return new Set(common.map(({ name }) => name));
}
