/**
 * The server's view of a group against the libraries': random histories of each library alone and of all in one
 * group, replayed by `mls-server inspect --group`, which checks every commit, tree and GroupInfo.
 *
 * HISTORIES=n plays n histories in all (100 if not given), FULL=1 adds groups of 50 and 200 members, and SEED=n
 * begins with another seed. A history that fails names its seed and keeps its folder.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { History, random } from '../lib/history.mjs';
import { Native } from '../lib/native.mjs';
import { TsAgent } from '../lib/tsmls.mjs';

const run = promisify(execFile);
const SERVER = process.env.MLS_SERVER_BIN ?? fileURLToPath(new URL('../../bin/mls-server', import.meta.url));
const HISTORIES = Number(process.env.HISTORIES ?? 100);
const FIRST_SEED = Number(process.env.SEED ?? 1);
const STEPS = 25;
/** What a history's group may grow to; ts-mls takes its time. */
const MOST = 20;

const KINDS = [
  { name: 'ts-mls', libraries: ['ts-mls'], share: 0.05, external: true },
  { name: 'OpenMLS', libraries: ['openmls'], share: 0.45, external: true, selfRemove: true },
  { name: 'mls-rs', libraries: ['mls-rs'], share: 0.45, external: true, selfRemove: true },
  // ts-mls writes external_pub without its inner length, and the two Rust libraries number SelfRemove differently.
  { name: 'all in one group', libraries: ['ts-mls', 'openmls', 'mls-rs'], share: 0.05 },
];

/** Replays a folder and returns the last state. */
async function replay(folder) {
  const { stdout } = await run(SERVER, ['inspect', '--group', folder, '--json'], { maxBuffer: 64 << 20 }).catch((error) => {
    throw new Error(`the server refuses what the libraries agree on: ${error.stderr}`);
  });
  return JSON.parse(stdout.trim().split('\n').at(-1));
}

async function play(kind, native, seed, size) {
  const folder = await mkdtemp(join(tmpdir(), `mls-history-${seed}-`));
  const make = (identity, n) => {
    const library = kind.libraries[n % kind.libraries.length];
    if (library === 'ts-mls') return TsAgent.make(identity);
    return native.agent(library, identity, { self_remove: kind.selfRemove === true });
  };
  try {
    const history = new History(folder, make, { seed, ...kind });
    await history.start();
    while (history.members.length < size) await history.add(Math.min(50, size - history.members.length));
    for (let i = 0; i < STEPS; i++) await history.step(size);
    const state = await history.agree();
    const last = await replay(folder);
    assert.equal(last.epoch, state.epoch);
    assert.equal(last.members, state.members.length);
    await rm(folder, { recursive: true });
  } catch (error) {
    throw new Error(`seed ${seed}, ${size} members, objects in ${folder}: ${error.message}`, { cause: error });
  }
}

for (const kind of KINDS) {
  const count = Math.max(1, Math.round(HISTORIES * kind.share));
  test(`${kind.name}: ${count} histories of 2 to ${MOST} members`, async () => {
    const native = new Native();
    try {
      for (let i = 0; i < count; i++) {
        const seed = FIRST_SEED + i;
        await play(kind, native, seed, 2 + Math.floor(random(seed)() * (MOST - 1)));
      }
    } finally {
      await native.close();
    }
  });
  for (const size of process.env.FULL === '1' ? [50, 200] : []) {
    test(`${kind.name}: ${size} members`, async () => {
      const native = new Native();
      try {
        await play(kind, native, FIRST_SEED, size);
      } finally {
        await native.close();
      }
    });
  }
}
