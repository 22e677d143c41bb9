import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { mls } from '../dist/index.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
/** @param {string} cwd @param {string} command @param {...string} args */
const run = (cwd, command, ...args) => execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });

test('the package holds what others need and nothing else, and runs nothing when it is installed', () => {
  const [{ files }] = JSON.parse(run(root, 'npm', 'pack', '--dry-run', '--json'));
  /** @type {string[]} */
  const names = files.map((/** @type {{ path: string }} */ file) => file.path);
  assert.deepEqual(names.filter((name) => !name.startsWith('dist/')).sort(), ['LICENSE', 'README.md', 'package.json']);
  assert.ok(names.every((name) => /^(LICENSE|README\.md|package\.json|.*\.(js|d\.ts))$/.test(name)), names.join(' '));
  assert.ok(names.includes('dist/index.js') && names.includes('dist/index.d.ts') && names.includes('dist/lexicons/blue/catbird/mls.js'));
  const node = names.filter((name) => name.endsWith('.js') && /\bnode:|\b(process|Buffer)\./.test(readFileSync(join(root, name), 'utf8')));
  assert.deepEqual(node, ['dist/apart.node.js'], 'all else runs in browsers, too');
  const ws = names.filter((name) => name.endsWith('.js') && /from 'ws'/.test(readFileSync(join(root, name), 'utf8')));
  assert.deepEqual(ws, ['dist/websocket.node.js'], 'browsers have a WebSocket of their own');
  assert.deepEqual(Object.keys(manifest.scripts), ['generate', 'build', 'test'], 'no script that npm runs by itself');
  assert.ok(Object.values({ ...manifest.dependencies, ...manifest.devDependencies }).every((version) => /^\d/.test(/** @type {string} */ (version))));
  assert.equal(readFileSync(join(root, 'LICENSE'), 'utf8'), readFileSync(join(root, '../../LICENSE'), 'utf8'));
});

test('a program elsewhere imports and type-checks it', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'mls-server-client-'));
  t.after(() => rmSync(dir, { recursive: true }));
  const [{ filename }] = JSON.parse(run(root, 'npm', 'pack', '--json', '--pack-destination', dir));
  const installed = join(dir, 'node_modules', manifest.name);
  mkdirSync(installed, { recursive: true });
  run(dir, 'tar', '-xzf', filename, '--strip-components=1', '-C', installed);
  // Its dependencies are those that are installed here.
  for (const name of ['@atproto', '@standard-schema', 'tslib', 'multiformats', 'iso-datestring-validator', 'typescript', '@types', 'ws']) symlinkSync(join(root, 'node_modules', name), join(dir, 'node_modules', name));
  writeFileSync(join(dir, 'package.json'), '{"type":"module"}');
  writeFileSync(join(dir, 'tsconfig.json'), '{"compilerOptions":{"module":"nodenext","target":"es2022","lib":["es2022","dom","dom.iterable"],"strict":true,"noEmit":true,"types":[],"skipLibCheck":true}}');
  writeFileSync(join(dir, 'program.ts'), `
import { Client, directAgent, follow, followSocket, mls, uuid } from '${manifest.name}';
const agent = directAgent({ url: 'http://127.0.0.1:1', token: async (lxm: string) => lxm, patience: { attempts: 1 } });
const client = new Client(agent);
export async function send(): Promise<number> {
  const out = await client.call(mls.sendMessage, { convoId: 'c', msgId: uuid(), ciphertext: new Uint8Array(512), paddedSize: 512, epoch: 1 });
  // @ts-expect-error the epoch is missing
  await client.call(mls.sendMessage, { convoId: 'c', msgId: uuid(), ciphertext: new Uint8Array(512), paddedSize: 512 });
  return out.seq ?? 0;
}
export const items = follow(agent), messages = followSocket(agent);
console.log(mls.sendMessage.$lxm);
`);
  run(dir, process.execPath, join(dir, 'node_modules/typescript/bin/tsc'), '-p', dir);
  writeFileSync(join(dir, 'program.mjs'), `import { mls } from '${manifest.name}'; console.log(mls.sendMessage.$lxm);`);
  assert.equal(run(dir, process.execPath, 'program.mjs').trim(), 'blue.catbird.mls.sendMessage');
});

test('there is a call for each lexicon', () => {
  assert.ok(Object.keys(mls).length >= 38);
  assert.equal(mls.streamConvoEvents.$lxm, 'blue.catbird.mls.streamConvoEvents');
});
