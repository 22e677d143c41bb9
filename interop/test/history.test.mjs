/**
 * The server's view of a group against the libraries': random histories of each library alone and of all in one
 * group, replayed by `mls-server inspect --group`, which checks every commit, tree and GroupInfo.
 *
 * FULL=1 plays 200 members and more steps. SEED=n plays one history again.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { History } from '../lib/history.mjs';
import { Native } from '../lib/native.mjs';
import { TsAgent } from '../lib/tsmls.mjs';

const run = promisify(execFile);
const SERVER = process.env.MLS_SERVER_BIN ?? fileURLToPath(new URL('../../bin/mls-server', import.meta.url));
const FULL = process.env.FULL === '1';
const SIZES = FULL ? [3, 20, 50, 200] : [3, 20];
const SEED = Number(process.env.SEED ?? 1);

const KINDS = [
  { name: 'ts-mls', libraries: ['ts-mls'], external: true },
  { name: 'OpenMLS', libraries: ['openmls'], external: true, selfRemove: true },
  { name: 'mls-rs', libraries: ['mls-rs'], external: true, selfRemove: true },
  // ts-mls writes external_pub without its inner length, and the two Rust libraries number SelfRemove differently.
  { name: 'all in one group', libraries: ['ts-mls', 'openmls', 'mls-rs'] },
];

/** Replays a folder and returns the last state. */
async function replay(folder) {
  const { stdout } = await run(SERVER, ['inspect', '--group', folder, '--json'], { maxBuffer: 64 << 20 }).catch((error) => {
    throw new Error(`the server refuses what the libraries agree on: ${error.stderr}`);
  });
  return JSON.parse(stdout.trim().split('\n').at(-1));
}

for (const kind of KINDS) {
  for (const size of SIZES) {
    test(`${kind.name}, ${size} members`, async () => {
      const folder = await mkdtemp(join(tmpdir(), 'mls-history-'));
      const native = new Native();
      try {
        const make = (identity, n) => {
          const library = kind.libraries[n % kind.libraries.length];
          if (library === 'ts-mls') return TsAgent.make(identity);
          return native.agent(library, identity, { self_remove: kind.selfRemove === true });
        };
        const history = new History(folder, make, { seed: SEED * 1000 + size, ...kind });
        await history.start();
        while (history.members.length < size) await history.add(Math.min(50, size - history.members.length));
        for (let i = 0; i < (FULL ? 60 : 25); i++) await history.step(size);
        const state = await history.agree();
        const last = await replay(folder);
        assert.equal(last.epoch, state.epoch);
        assert.equal(last.members, state.members.length);
      } finally {
        await native.close();
        if (process.env.KEEP !== '1') await rm(folder, { recursive: true });
      }
    });
  }
}
