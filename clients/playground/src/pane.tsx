/** A device: what it shows, and what one can do with it. */
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Device, Line } from './device.js';
import { MOST_DEVICES, NAMES, type Playground } from './world.js';

interface Props {
  device: Device;
  playground: Playground;
}

export function Pane({ device, playground }: Props) {
  const { identity, name } = device;
  const title = `${identity.name}’s ${name}`;
  return (
    <section class={`pane ${device.evil ? 'evil' : ''}`} data-person={NAMES.indexOf(identity.name as 'Alice')} aria-label={title} aria-busy={device.busy}>
      <header>
        <h2 title={device.did}>
          {identity.name} <span>{name}</span>
        </h2>
        <span class="state">{stateOf(device)}</span>
      </header>
      <Lines device={device} playground={playground} label={`What ${title} shows`} />
      {device.stuck && <Trouble device={device} />}
      <Doings device={device} playground={playground} />
    </section>
  );
}

function stateOf(device: Device): string {
  if (device.gone) return 'removed';
  if (device.convo?.state === 'invited') return 'invited';
  if (device.joined) return `epoch ${device.epoch}`;
  return device.convo ? 'no keys' : 'not in a group';
}

function Lines({ device, playground, label }: Props & { label: string }) {
  const log = useRef<HTMLDivElement>(null);
  const { lines } = device;
  useEffect(() => {
    log.current?.scrollTo({ top: log.current.scrollHeight });
  }, [lines.length]);
  return (
    <div class="lines" role="log" aria-label={label} tabIndex={0} ref={log}>
      <ol>
        {lines.length === 0 && <li class="event">Nothing yet{!device.convo && ': one begins a conversation, and adds the others'}.</li>}
        {lines.map((line, i) => (
          <li key={i} class={`${line.kind} ${line.kind === 'text' && line.from === device.did ? 'own' : ''}`} data-person={person(line, playground)}>
            {line.from && <b>{playground.nameOf(line.from)}</b>} {line.text}
          </li>
        ))}
      </ol>
    </div>
  );
}

const person = (line: Line, playground: Playground) => NAMES.indexOf(playground.nameOf(line.from) as 'Alice');

function Trouble({ device }: { device: Device }) {
  return (
    <div class="trouble" role="alert">
      <p>
        The server could not tell that this commit is of no use. When a majority of those who did not make it says so, it is taken back.
      </p>
      <button type="button" disabled={device.busy || device.stuck?.reported} onClick={() => void device.report()}>
        {device.stuck?.reported ? 'Said so' : 'Say so'}
      </button>
    </div>
  );
}

function Doings({ device, playground }: Props) {
  if (device.gone) {
    return (
      <div class="doings">
        <p class="hint">Whoever removed it has made new keys, which this device does not get.</p>
      </div>
    );
  }
  if (device.convo?.state === 'invited') {
    return (
      <div class="doings">
        <p class="hint">{playground.nameOf(device.convo.invitedBy)} has added this account. Nobody is dragged in: it has to accept.</p>
        <button type="button" class="main" disabled={device.busy} onClick={() => void device.accept()}>
          Accept
        </button>
      </div>
    );
  }
  if (device.joined) return <Joined device={device} playground={playground} />;
  if (device.convo) return <Outside device={device} playground={playground} />;
  const others = playground.devices.some((other) => other.convo && !other.gone);
  if (!others) return <Begin device={device} />;
  return (
    <div class="doings">
      <p class="hint">Whoever is in the conversation can add {device.identity.name}.</p>
    </div>
  );
}

function Begin({ device }: { device: Device }) {
  const [verified, setVerified] = useState(false);
  return (
    <div class="doings">
      <label class="check">
        <input type="checkbox" checked={verified} onChange={(event) => setVerified(event.currentTarget.checked)} />
        The server follows the group and judges commits
      </label>
      <button type="button" class="main" disabled={device.busy} onClick={() => void device.begin(verified)}>
        Begin a conversation
      </button>
    </div>
  );
}

/** In the conversation, but without the group's keys: after a loss, or as a further device. */
function Outside({ device, playground }: Props) {
  const sibling = playground.devices.find((other) => other !== device && other.did === device.did && other.joined);
  const fresh = device.name === 'laptop' && device.lines.length === 0;
  return (
    <div class="doings">
      <p class="hint">
        {fresh
          ? 'The group does not know this device yet. The phone can vouch for its key, as by a QR code.'
          : 'The group still knows its signature key: it can come back by itself, with nobody else online.'}
      </p>
      <button type="button" class="main" disabled={device.busy || (fresh && !sibling)} onClick={() => void device.comeBack(fresh ? sibling : undefined)}>
        {fresh ? 'Join with the phone’s word' : 'Come back'}
      </button>
    </div>
  );
}

function Joined({ device, playground }: Props) {
  const [text, setText] = useState('');
  const { identity, busy } = device;
  const members = device.convo?.members ?? [];
  const people = [...new Map(playground.devices.map((other) => [other.did, other.identity])).values()].filter(({ did }) => did !== device.did);
  const isIn = (did: string) => members.some((member) => member.did === did);
  const second = playground.devices.filter(({ did }) => did === device.did).length === 1 && playground.devices.length < MOST_DEVICES;
  const field = `say-${device.id}`;
  return (
    <div class="doings">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (text.trim() === '') return;
          void device.say(text.trim());
          setText('');
        }}
      >
        <label for={field} class="unseen">
          Message from {identity.name}’s {device.name}
        </label>
        <input id={field} value={text} autocomplete="off" maxLength={5000} placeholder="Write a message" onInput={(event) => setText(event.currentTarget.value)} />
        <button type="submit" class="main" disabled={text.trim() === ''}>
          Send
        </button>
      </form>
      <div class="buttons">
        {people.map(({ did, name }) =>
          isIn(did) ? (
            device.isAdmin && (
              <button type="button" key={did} disabled={busy} onClick={() => void device.remove(did)}>
                Remove {name}
              </button>
            )
          ) : (
            <button type="button" key={did} disabled={busy} onClick={() => void device.add(did)}>
              Add {name}
            </button>
          ),
        )}
        {second && (
          <button type="button" disabled={busy} onClick={() => void playground.addDevice(device)}>
            Second device
          </button>
        )}
        <button type="button" disabled={busy} onClick={() => void device.lose()}>
          Lose state
        </button>
      </div>
      <div class="buttons">
        <label class="check" title="Texts go by requests that name nobody">
          <input type="checkbox" checked={device.sealed} onChange={(event) => playground.set(device, { sealed: event.currentTarget.checked })} />
          Sealed sends
        </label>
        <label class="check" title="Lets it do what nobody should">
          <input type="checkbox" checked={device.evil} onChange={(event) => playground.set(device, { evil: event.currentTarget.checked })} />
          Evil
        </label>
      </div>
      {device.evil && (
        <div class="buttons wicked">
          <button type="button" disabled={busy} onClick={() => void device.garbage()}>
            Commit garbage
          </button>
          <button type="button" disabled={busy} onClick={() => void device.stale()}>
            Commit in an old epoch
          </button>
          <button type="button" disabled={busy} onClick={() => void device.unpadded()}>
            Send without padding
          </button>
        </div>
      )}
    </div>
  );
}
