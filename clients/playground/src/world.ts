/** Everybody who is in the page, and what the server was asked. */
import { Device, type Call, type SavedDevice, type World } from './device.js';
import { createIdentity, publish } from './identity.js';
import { fetchRows, type Tables } from './rows.js';
import { clear, loadDevices, saveDevice } from './storage.js';

export const NAMES = ['Alice', 'Bob', 'Carol', 'Dave'] as const;
export const MOST_DEVICES = 4;
const CALLS = 200;
const LOOK_EVERY = 1000;

export class Playground implements World {
  service = '';
  devices: Device[] = [];
  /** What was asked, newest last. */
  calls: Call[] = [];
  tables: Tables | undefined;
  /** What keeps the page from working, "" for nothing. */
  fault = '';
  ready = false;

  #listener: () => void = () => undefined;
  #scheduled = false;
  #looking = false;

  /** Calls back when something has changed. */
  listen(listener: () => void): void {
    this.#listener = listener;
  }

  changed(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#listener();
    });
  }

  called(call: Call): void {
    this.calls = [...this.calls, call].slice(-CALLS);
    this.changed();
    void this.look();
  }

  async keep(device: Device): Promise<void> {
    await saveDevice(device.save());
  }

  /** Begins with what was kept, or with Alice and Bob. */
  async start(): Promise<void> {
    try {
      const description = (await (await fetch('/.well-known/did.json')).json()) as { id: string };
      this.service = description.id;
      await this.#restore(await loadDevices());
      if (this.devices.length === 0) for (const name of NAMES.slice(0, 2)) await this.addPerson(name);
      this.ready = true;
    } catch (error) {
      this.fault = error instanceof Error ? error.message : String(error);
    }
    this.changed();
    setInterval(() => void this.look(), LOOK_EVERY);
    await this.look();
  }

  /** The name of an account, "nobody" for none. */
  nameOf(did: string): string {
    if (did === '') return 'nobody';
    return this.devices.find((device) => device.did === did)?.identity.name ?? /^did:web:([a-z]+)-/.exec(did)?.[1] ?? did;
  }

  /** Whoever is not there yet. */
  get nextPerson(): string | undefined {
    return this.devices.length >= MOST_DEVICES ? undefined : NAMES.find((name) => !this.devices.some(({ identity }) => identity.name === name));
  }

  async addPerson(name: string): Promise<void> {
    await this.#enter(await Device.create(this, await createIdentity(name), 'phone'));
  }

  /** A further device of an account, for which another one vouches. */
  async addDevice(of: Device): Promise<void> {
    await this.#enter(await Device.create(this, of.identity, 'laptop'));
  }

  /** Lets a device do what nobody should, or send by requests that name nobody. */
  set(device: Device, how: { evil?: boolean; sealed?: boolean }): void {
    Object.assign(device, how);
    void this.keep(device);
    this.changed();
  }

  /** Forgets everybody. */
  async reset(): Promise<void> {
    for (const device of this.devices) device.close();
    await clear();
    location.reload();
  }

  /** Looks at what the server has stored. */
  async look(): Promise<void> {
    if (this.#looking || document.hidden) return;
    this.#looking = true;
    try {
      this.tables = await fetchRows();
      this.changed();
    } catch {
      // It is away: the next look will tell.
    } finally {
      this.#looking = false;
    }
  }

  async #restore(all: SavedDevice[]): Promise<void> {
    for (const saved of all) await publish(saved.identity.name, saved.identity.multibase);
    const devices = await Promise.all(all.map((saved) => Device.load(this, saved)));
    const known = await Promise.all(devices.map((device) => device.isKnown()));
    if (known.includes(false)) {
      await clear(); // the server was emptied
      return;
    }
    for (const device of devices) await this.#enter(device);
  }

  async #enter(device: Device): Promise<void> {
    this.devices = [...this.devices, device];
    this.changed();
    void device.run();
  }
}
