/** The server's side: what it has stored, and nothing else. */
import { useState } from 'preact/hooks';
import type { Tables } from './rows.js';
import { NAMES, type Playground } from './world.js';

type Row = Record<string, unknown>;

const KINDS = ['', 'text', 'proposal', 'commit', 'notice'];

export function ServerView({ playground }: { playground: Playground }) {
  const { tables } = playground;
  return (
    <aside class="server" aria-labelledby="server">
      <h2 id="server">What the server sees</h2>
      {tables ? <Seen tables={tables} playground={playground} /> : <p class="hint">It does not answer.</p>}
    </aside>
  );
}

/** The other half of it. */
export function Unknown() {
  return (
    <section class="unknown" aria-labelledby="unknown">
      <h2 id="unknown">What it cannot know</h2>
      <ul>
        <li>
          <b>What anybody wrote.</b> It has ciphertexts, and no key.
        </li>
        <li>
          <b>Who wrote it.</b> A text’s row names nobody, and neither does its event. While it is sent, the request’s token does, unless the send is
          sealed.
        </li>
        <li>
          <b>How long it was.</b> The size of a text is that of its bucket, and its time is floored to two seconds.
        </li>
      </ul>
    </section>
  );
}

function Seen({ tables, playground }: { tables: Tables; playground: Playground }) {
  const convo = conversation(tables, playground);
  return (
    <>
      <Accounts tables={tables} playground={playground} />
      {convo && <Epochs tables={tables} convo={convo} playground={playground} />}
      {convo && <Log tables={tables} convo={convo} />}
      {convo && <Events tables={tables} convo={convo} playground={playground} />}
      <Requests playground={playground} />
      <Everything tables={tables} />
    </>
  );
}

/** The row of the conversation that is on the page. */
function conversation(tables: Tables, playground: Playground): Row | undefined {
  const id = playground.devices.find((device) => device.convo)?.convo?.id;
  const found = tables.convo_groups?.rows.find((row) => row.group_id === id)?.convo_id;
  return tables.conversations?.rows.find((row) => row.id === found);
}

function Who({ did, playground }: { did: unknown; playground: Playground }) {
  const name = playground.nameOf(String(did));
  return (
    <span class="who" data-person={NAMES.indexOf(name as 'Alice')} title={String(did)}>
      {name}
    </span>
  );
}

function Accounts({ tables, playground }: { tables: Tables; playground: Playground }) {
  const packages = (id: string) => tables.key_packages?.rows.filter((row) => row.device_id === id) ?? [];
  const members = new Map((tables.members?.rows ?? []).map((row) => [`${row.user_did}`, row]));
  return (
    <section>
      <h3>Accounts, devices, key packages</h3>
      <div class="scroll" tabIndex={0} role="region" aria-label="Accounts, devices, key packages">
        <table>
          <thead>
            <tr>
              <th scope="col">account</th>
              <th scope="col">device</th>
              <th scope="col">packages left</th>
              <th scope="col">handed out</th>
              <th scope="col">on the roster</th>
            </tr>
          </thead>
          <tbody>
            {playground.devices.map(({ id, did, name }) => {
              const all = packages(id);
              const used = all.filter((row) => row.claimed_at !== null).length;
              const spare = all.filter((row) => row.last_resort === true).length;
              const row = members.get(did);
              return (
                <tr key={id}>
                  <th scope="row">
                    <Who did={did} playground={playground} />
                  </th>
                  <td>{name}</td>
                  <td>
                    {all.filter((row) => row.claimed_at === null && row.last_resort !== true).length}
                    {spare > 0 && ' + last resort'}
                  </td>
                  <td>{used}</td>
                  <td>{row === undefined ? 'no' : row.left_at === null ? (row.is_admin ? 'admin' : 'member') : String(row.left_reason)}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Epochs({ tables, convo, playground }: { tables: Tables; convo: Row; playground: Playground }) {
  const sizes = new Map((tables.messages?.rows ?? []).map((row) => [`${row.convo_id} ${row.seq}`, row.padded_size]));
  const commits = (tables.commits?.rows ?? []).filter((row) => row.convo_id === convo.id).sort((a, b) => Number(a.seq) - Number(b.seq));
  return (
    <section>
      <h3>
        Epochs <span class="now">now {String(convo.epoch)}</span>
      </h3>
      {commits.length === 0 && <p class="hint">No commit yet.</p>}
      <ol class="epochs">
        {commits.map((row) => {
          const taken = row.void_seq !== null;
          const size = sizes.get(`${row.convo_id} ${row.seq}`);
          return (
            <li key={String(row.seq)} class={taken ? 'void' : ''}>
              <b>
                {String(row.epoch)} → {Number(row.epoch) + 1}
              </b>{' '}
              by <Who did={row.sender_did} playground={playground} />
              {size !== undefined && `, ${String(size)} bytes`}
              {taken && <em> taken back</em>}
            </li>
          );
        })}
      </ol>
    </section>
  );
}

function Log({ tables, convo }: { tables: Tables; convo: Row }) {
  const log = (tables.messages?.rows ?? []).filter((row) => row.convo_id === convo.id).sort((a, b) => Number(b.seq) - Number(a.seq));
  return (
    <section>
      <h3>The log</h3>
      {log.length === 0 && <p class="hint">No message yet.</p>}
      {log.length > 0 && (
        <div class="scroll tall" tabIndex={0} role="region" aria-label="The log">
          <table>
            <thead>
              <tr>
                <th scope="col">seq</th>
                <th scope="col">what</th>
                <th scope="col">epoch</th>
                <th scope="col">bytes</th>
                <th scope="col">time</th>
                <th scope="col">sender</th>
                <th scope="col">ciphertext</th>
              </tr>
            </thead>
            <tbody>
              {log.map((row) => (
                <tr key={String(row.seq)} class="new">
                  <td>{String(row.seq)}</td>
                  <td>{KINDS[Number(row.kind)]}</td>
                  <td>{String(row.epoch)}</td>
                  <td>{String(row.padded_size)}</td>
                  <td>{String(row.received_bucket_ts).slice(11, 19)}</td>
                  <td class="nobody">{String(row.sender_did)}</td>
                  <td class="bytes">{glance(row.ciphertext)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

/** The kinds of events (internal/store/event.go). */
const EVENTS = [
  '', 'message', 'member joined', 'member left', 'admin changed', 'epoch advanced', 'Welcome available', 'device pending', 'rejoin requested',
  'removal pending', 'key packages low', 'report received', 'report resolved', 'block conflict', 'epoch reopened', 'Welcome revoked', 'group reset',
  'joined from outside', 'invited', 'invitation', 'device revoked',
];
const AUDIENCES = ['', 'all members', 'admins', 'one account'];

function Events({ tables, convo, playground }: { tables: Tables; convo: Row; playground: Playground }) {
  const events = (tables.event_stream?.rows ?? []).filter((row) => row.convo_id === convo.id).sort((a, b) => Number(b.position) - Number(a.position));
  return (
    <section>
      <h3>
        Events in the streams <span class="now">{events.length}</span>
      </h3>
      <div class="scroll short" tabIndex={0} role="region" aria-label="Events in the streams">
        <table>
          <thead>
            <tr>
              <th scope="col">what</th>
              <th scope="col">about</th>
              <th scope="col">told to</th>
            </tr>
          </thead>
          <tbody>
            {events.map((row) => (
              <tr key={String(row.position)} class="new">
                <td>
                  {EVENTS[Number(row.kind)]}
                  {row.seq !== null && ` ${String(row.seq)}`}
                </td>
                <td>{row.user_did === null ? <span class="nobody">null</span> : <Who did={row.user_did} playground={playground} />}</td>
                <td>{row.audience_did === null ? AUDIENCES[Number(row.audience)] : <Who did={row.audience_did} playground={playground} />}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

/** What the devices asked for, whom each request named, and what the server said. */
function Requests({ playground }: { playground: Playground }) {
  const calls = playground.calls.slice(-8).reverse();
  return (
    <section>
      <h3>What it was asked, and what it refused</h3>
      {calls.length === 0 && <p class="hint">Nothing yet.</p>}
      <div role="log" aria-label="What it was asked, and what it refused">
        <ul class="requests">
          {calls.map((call) => (
            <li key={`${call.at} ${call.method}`}>
              {call.did === '' ? <span class="nobody">nobody</span> : <Who did={call.did} playground={playground} />} {call.method}
              {call.error && (
                <>
                  {' '}
                  <b>{call.error}</b> <span class="why">{call.message}</span>
                </>
              )}
            </li>
          ))}
        </ul>
      </div>
    </section>
  );
}

/** Some bytes from behind the header, which all messages of a group have in common. */
function glance(ciphertext: unknown): string {
  const begins = (ciphertext as { begins?: string } | null)?.begins ?? '';
  return begins && `…${begins.slice(-24)}…`;
}

/** Every table and every column, as they are. */
function Everything({ tables }: { tables: Tables }) {
  const names = Object.keys(tables).filter((name) => tables[name]!.count > 0);
  const [chosen, choose] = useState('messages');
  const table = tables[chosen];
  return (
    <section>
      <details>
        <summary>All of its rows</summary>
        <label class="choose">
          Table{' '}
          <select value={chosen} onChange={(event) => choose(event.currentTarget.value)}>
            {(names.includes(chosen) ? names : [chosen, ...names]).map((name) => (
              <option key={name} value={name}>
                {name} ({tables[name]?.count ?? 0})
              </option>
            ))}
          </select>
        </label>
        {table && (
          <div class="scroll tall" tabIndex={0} role="region" aria-label={`Rows of ${chosen}`}>
            <table class="raw">
              <thead>
                <tr>
                  {table.columns.map((column) => (
                    <th scope="col" key={column}>
                      {column}
                    </th>
                  ))}
                </tr>
              </thead>
              <tbody>
                {table.rows.slice(0, 50).map((row, i) => (
                  <tr key={i}>
                    {table.columns.map((column) => (
                      <td key={column}>{cell(row[column])}</td>
                    ))}
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </details>
    </section>
  );
}

function cell(value: unknown): string {
  if (value !== null && typeof value === 'object' && 'bytes' in value) return `${String(value.bytes)} bytes`;
  return value !== null && typeof value === 'object' ? JSON.stringify(value) : String(value);
}
