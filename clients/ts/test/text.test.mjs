import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromBase64, fromHex, toBase64, toHex, ulid, uuid } from '../dist/index.js';

test('base64 is written in the standard form and read in all four', () => {
  for (const length of [0, 1, 2, 3, 100_000]) {
    const bytes = new Uint8Array(length).map(() => Math.random() * 256);
    const text = Buffer.from(bytes).toString('base64');
    assert.equal(toBase64(bytes), text);
    for (const form of [text, text.replace(/=/g, ''), Buffer.from(bytes).toString('base64url')]) assert.deepEqual(fromBase64(form), bytes);
  }
  assert.deepEqual(fromBase64('-_-_'), new Uint8Array(Buffer.from('+/+/', 'base64')));
  for (const bad of ['a b', 'ä', 'A', '=', 'AA===', 'AA=A']) assert.throws(() => fromBase64(bad), bad);
});

test('hex', () => {
  assert.equal(toHex(new Uint8Array([0, 10, 255])), '000aff');
  assert.deepEqual(fromHex('000AfF'), new Uint8Array([0, 10, 255]));
  for (const bad of ['0', 'gg', '0x']) assert.throws(() => fromHex(bad), bad);
});

test('ids', () => {
  assert.match(ulid(), /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/);
  assert.notEqual(ulid(), ulid());
  let time = 0n;
  for (const c of ulid().slice(0, 10)) time = time * 32n + BigInt('0123456789ABCDEFGHJKMNPQRSTVWXYZ'.indexOf(c));
  assert.equal(time % 2000n, 0n, 'a ULID tells the time to two seconds');
  assert.ok(Math.abs(Number(time) - Date.now()) < 60_000);
  assert.equal(uuid().length, 36);
});
