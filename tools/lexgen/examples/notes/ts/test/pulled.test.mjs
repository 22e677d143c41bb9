// What lexgen pull has written, @atproto/lex takes for its own: the lock file, and each file by its CID.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

/** @param {string} path */
const here = (path) => fileURLToPath(new URL(path, import.meta.url));

test('lex install --ci is content with what lexgen pull wrote, and not with a changed file', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'pulled-'));
  t.after(() => rmSync(dir, { recursive: true }));
  cpSync(here('../../../../pull/testdata/pulled'), dir, { recursive: true });
  const install = () => spawnSync(here('../node_modules/.bin/lex'), ['install', '--ci'], { cwd: dir, encoding: 'utf8' });
  const content = install();
  assert.equal(content.status, 0, content.stderr);
  const file = join(dir, 'lexicons/com/example/defs.json');
  writeFileSync(file, readFileSync(file, 'utf8').replace('a#b', 'a#c'));
  const changed = install();
  assert.notEqual(changed.status, 0);
  assert.match(changed.stderr, /out of date/);
});
