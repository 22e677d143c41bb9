/**
 * make demo, as it is told in a pipe and on a terminal. The picture in the README is what it says today: UPDATE=1 draws it anew.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { picture } from '../demo/picture.mjs';
import { until } from '../lib/until.mjs';

const BINARY = process.env.MLS_DEV_BIN ?? fileURLToPath(new URL('../../bin/mls-server-dev', import.meta.url));
const PICTURE = fileURLToPath(new URL('../../docs/img/demo.svg', import.meta.url));
/** Each story has a PostgreSQL and a server to start, beside those of other tests. */
const PATIENCE = 180_000;
const WORDS = {
  title: 'make demo',
  description: 'Three people chat with real MLS clients over a real server: what they do, and what the server sees of it.',
};

/** Commits and Welcomes have no fixed size, and jobs of the server write rows of their own: what stands for that, in text and picture. */
const settled = (/** @type {string} */ text) =>
  text
    .replace(/(commit +\d+ +)\d+/g, '$1n')
    .replace(/(>commit<\/text>\s+<text[^>]*>\d+<\/text>\s+<text[^>]*>)\d+/g, '$1n')
    .replace(/some \d+ bytes/, 'some n bytes')
    .replace(/its \d+ rows/, 'its n rows');
const plain = (/** @type {string} */ text) => text.replace(/\x1b\[\d*m/g, '');

/**
 * @param {Record<string, string>} environment
 * @param {{ binary?: string, cwd?: string }} [how]
 */
function demo(environment, { binary = BINARY, cwd = '/' } = {}) {
  const child = spawn(binary, ['demo'], {
    cwd, detached: true, stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: process.env.PATH, HOME: process.env.HOME, ...environment },
  });
  const run = { child, out: '', err: '', ended: once(child, 'close') };
  child.stdout.setEncoding('utf8').on('data', (chunk) => (run.out += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk) => (run.err += chunk));
  return run;
}

/** @param {Parameters<typeof demo>} args */
async function whole(...args) {
  const run = demo(...args);
  const [code] = await run.ended;
  return { code, out: run.out, err: run.err };
}

describe('demo', () => {
  /** @type {string} */
  let folder;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'demo-'));
  });
  after(() => rm(folder, { recursive: true }));

  it('is told as in the picture of the README, and in plain text without colours', async () => {
    const coloured = await whole({ FORCE_COLOR: '1' });
    const bare = await whole({ FORCE_COLOR: '1', NO_COLOR: '1' });
    for (const { code, err } of [coloured, bare]) assert.deepEqual({ code, err }, { code: 0, err: '' });
    assert.ok(!/[\x00-\x09\x0b-\x1f]/.test(bare.out), 'control characters');
    assert.equal(settled(plain(coloured.out)), settled(bare.out));
    const drawn = picture(coloured.out, WORDS);
    if (process.env.UPDATE) await writeFile(PICTURE, drawn);
    assert.equal(settled(await readFile(PICTURE, 'utf8')), settled(drawn), 'docs/img/demo.svg is not what make demo says; UPDATE=1 draws it anew');
  });

  it('leaves nothing when it is interrupted', async () => {
    const run = demo({});
    await until(() => run.out.includes('They talk'), PATIENCE);
    assert.ok(run.child.pid);
    process.kill(-run.child.pid, 'SIGINT'); // as Ctrl-C does, to all of them
    const [code] = await run.ended;
    assert.deepEqual({ code, err: run.err }, { code: 1, err: 'mls-server: interrupted\n' });
    assert.throws(() => process.kill(-(run.child.pid ?? 0), 0), { code: 'ESRCH' });
  });

  it('leaves nothing when it alone is told to end', async () => {
    const run = demo({});
    await until(() => run.out.includes('They talk'), PATIENCE);
    run.child.kill('SIGTERM');
    assert.deepEqual([(await run.ended)[0], run.err], [1, 'mls-server: interrupted\n']);
    assert.throws(() => process.kill(-(run.child.pid ?? 0), 0), { code: 'ESRCH' });
  });

  it('says what is missing', async () => {
    const without = await whole({ PATH: folder });
    assert.equal(without.code, 1);
    assert.match(without.err, /^mls-server: the clients of the demo run on Node\.js 20\.10 or later, which is not here/);
    await writeFile(join(folder, 'node'), '#!/bin/sh\necho v20.9.0\n', { mode: 0o755 });
    const old = await whole({ PATH: folder });
    assert.deepEqual([old.code, old.err], [1, without.err]);
    const elsewhere = join(folder, 'mls-server');
    await copyFile(BINARY, elsewhere);
    const away = await whole({}, { binary: elsewhere, cwd: dirname(elsewhere) });
    assert.deepEqual(away, { code: 1, out: '', err: 'mls-server: the clients of the demo are in the repository: run it there\n' });
    await mkdir(join(folder, 'e2e/demo'), { recursive: true });
    await writeFile(join(folder, 'e2e/demo/main.mjs'), '');
    const bare = await whole({}, { binary: elsewhere });
    assert.deepEqual(bare, { code: 1, out: '', err: 'mls-server: the packages of the clients are not installed: run make demo, which does so\n' });
  });
});
