/** What survives a reload: devices with their keys and groups, in IndexedDB. */
import type { SavedDevice } from './device.js';

const NAME = 'mls-server-playground';
const STORE = 'devices';

function open(): Promise<IDBDatabase> {
  const request = indexedDB.open(NAME, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: 'id' });
  return settled(request);
}

function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function within<T>(mode: IDBTransactionMode, use: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  const database = await open();
  try {
    return await settled(use(database.transaction(STORE, mode).objectStore(STORE)));
  } finally {
    database.close();
  }
}

/** Devices in the order in which they were made. */
export async function loadDevices(): Promise<SavedDevice[]> {
  const all = await within<SavedDevice[]>('readonly', (store) => store.getAll());
  return all.sort((a, b) => a.made - b.made);
}

export async function saveDevice(device: SavedDevice): Promise<void> {
  await within('readwrite', (store) => store.put(device));
}

export async function clear(): Promise<void> {
  await within('readwrite', (store) => store.clear());
}
