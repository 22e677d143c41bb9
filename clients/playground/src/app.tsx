import { Pane } from './pane.js';
import { ServerView, Unknown } from './server.js';
import type { Playground } from './world.js';

export function App({ playground }: { playground: Playground }) {
  const { devices, fault, ready, nextPerson } = playground;
  return (
    <>
      <header class="top">
        <div>
          <h1>Playground</h1>
          <p>
            Each pane is a device: a real MLS client with keys of its own, in this browser. Beside them is everything that the server has of
            what they do.
          </p>
        </div>
        <nav aria-label="Playground">
          {nextPerson && (
            <button type="button" disabled={!ready} onClick={() => void playground.addPerson(nextPerson)}>
              Bring in {nextPerson}
            </button>
          )}
          <button type="button" class="quiet" onClick={() => void playground.reset()}>
            Start over
          </button>
          <a href="/docs">API reference</a>
        </nav>
      </header>
      {fault && (
        <p role="alert" class="fault">
          {fault}
        </p>
      )}
      <main>
        <div class="side">
          <div class="panes">
            {devices.map((device) => (
              <Pane key={device.id} device={device} playground={playground} />
            ))}
            {!ready && !fault && <p class="loading">Making keys…</p>}
          </div>
          <Unknown />
        </div>
        <ServerView playground={playground} />
      </main>
    </>
  );
}
