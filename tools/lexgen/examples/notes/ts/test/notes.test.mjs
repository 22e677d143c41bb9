// @atproto/lex against the Go server: every method, every kind of answer, the subscription.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { cidForLex } from '@atproto/lex-cbor';
import { XrpcResponseError } from '@atproto/lex-client';
import { connect, follow, notes, StreamError } from '../dist/index.js';

const token = 'secret';

/**
 * A server of its own with an empty notebook.
 * @param {import('node:test').TestContext} t
 */
async function serve(t) {
  const server = spawn(process.env.NOTESD ?? 'notesd', ['-listen', 'localhost:0'], { env: { NOTES_TOKEN: token }, stdio: ['ignore', 'inherit', 'pipe'] });
  t.after(() => server.kill());
  for await (const line of createInterface({ input: server.stderr })) {
    const url = /http:\S+/.exec(line)?.[0];
    if (url !== undefined) return url;
  }
  throw new Error('the server has ended');
}

/** @param {string} text */
const note = (text) => notes.note.main.build({ text, createdAt: '2026-11-27T10:00:00.000Z' });
/** @param {string} name */
const named = (name) => (/** @type {unknown} */ error) => error instanceof XrpcResponseError && error.error === name;

test('notes are put, replaced, listed and deleted', async (t) => {
  const url = await serve(t);
  const author = connect(url, token);
  const reader = connect(url);
  const first = await author.call(notes.putNote.main, { note: note('one') });
  assert.equal(first.cid, (await cidForLex(note('one'))).toString());
  const changed = await author.call(notes.putNote.main, { key: first.key, note: Object.assign(note('one, changed'), { colour: 'red' }) });
  assert.equal(changed.key, first.key);
  const got = await reader.call(notes.getNote.main, { key: first.key });
  assert.equal(got.note.text, 'one, changed');
  assert.equal(/** @type {any} */ (got.note).colour, 'red'); // what the lexicon does not know is kept
  assert.equal(got.cid, (await cidForLex(got.note)).toString());

  for (const text of ['two', 'three']) await author.call(notes.putNote.main, { note: note(text) });
  const page = await reader.call(notes.listNotes.main, { limit: 2 });
  assert.deepEqual(page.notes.map((view) => view.note.text), ['three', 'two']);
  const rest = await reader.call(notes.listNotes.main, { limit: 2, cursor: page.cursor });
  assert.deepEqual([rest.notes.map((view) => view.note.text), rest.cursor], [['one, changed'], undefined]);

  await author.call(notes.deleteNote.main, { key: first.key });
  await assert.rejects(reader.call(notes.getNote.main, { key: first.key }), named('NoteNotFound'));
});

test('refusals have the names of the lexicon', async (t) => {
  const url = await serve(t);
  const author = connect(url, token);
  await assert.rejects(connect(url).call(notes.putNote.main, { note: note('one') }), named('AuthMissing'));
  await assert.rejects(author.call(notes.deleteNote.main, { key: '3jzfcijpj2z2a' }), named('NoteNotFound'));
  // What @atproto/lex would not send, sent all the same.
  const send = async (/** @type {unknown} */ body) => {
    const response = await fetch(`${url}/xrpc/com.example.notes.putNote`, {
      method: 'POST', headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` }, body: JSON.stringify(body),
    });
    return [response.status, /** @type {any} */ (await response.json())];
  };
  const [status, long] = await send({ note: { ...note('x'), text: 'x'.repeat(301) } });
  assert.deepEqual([status, long.error], [422, 'NoteTooLong']);
  const [bad, invalid] = await send({ note: { ...note('x'), createdAt: 'yesterday' } });
  assert.deepEqual([bad, invalid.error], [400, 'InvalidRequest']);
  assert.match(invalid.message, /\/note\/createdAt/);
});

test('the subscription tells what happens, from a position on', async (t) => {
  const url = await serve(t);
  const author = connect(url, token);
  const first = await author.call(notes.putNote.main, { note: note('one') });
  const ended = new AbortController();
  const events = follow(url, 0, ended.signal);
  const put = (await events.next()).value;
  assert.ok(notes.subscribeNotes.put.matches(put));
  assert.deepEqual([put.seq, put.view.note.text, put.view.cid], [1, 'one', first.cid]);
  await author.call(notes.deleteNote.main, { key: first.key });
  const deleted = (await events.next()).value;
  assert.ok(notes.subscribeNotes.deleted.matches(deleted));
  assert.deepEqual([deleted.seq, deleted.key], [2, first.key]);
  ended.abort();
  await assert.rejects(events.next());

  const later = follow(url, 1);
  assert.ok(notes.subscribeNotes.deleted.matches((await later.next()).value));
  await later.return(undefined);
  await assert.rejects(follow(url, 3).next(), (error) => error instanceof StreamError && error.error === 'FutureCursor');
});
