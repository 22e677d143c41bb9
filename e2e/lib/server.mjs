/**
 * The real server binary as a child process, on free ports of the loopback interface.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const DEFAULT_BINARY = fileURLToPath(new URL('../../bin/mls-server', import.meta.url));
const READY_WITHIN = 30_000;
const STOPPED_WITHIN = 20_000;
const HOW_TO_RUN = 'run `make e2e` in the root of the repository';

export class Server {
  /** @type {import('node:child_process').ChildProcess | undefined} */
  #process;
  #log = '';
  #environment;
  #end = () => this.#process?.kill('SIGKILL');

  /**
   * @param {{ port: number, adminPort: number, did: string }} where
   * @param {Record<string, string | undefined>} environment
   */
  constructor({ port, adminPort, did }, environment) {
    this.#environment = environment;
    this.did = did;
    this.url = `http://127.0.0.1:${port}`;
    this.adminUrl = `http://127.0.0.1:${adminPort}`;
    process.once('exit', this.#end);
  }

  /**
   * Starts the binary of MLS_SERVER_BIN (default ../bin/mls-server) on the database of DATABASE_URL and waits until it is ready.
   *
   * @param {import('./plc.mjs').Directory} directory
   * @param {Record<string, string>} [settings] further environment variables
   * @returns {Promise<Server>}
   */
  static async start(directory, settings = {}) {
    const database = process.env.DATABASE_URL;
    if (!database) throw new Error(`DATABASE_URL is not set: ${HOW_TO_RUN}, which starts a private PostgreSQL`);
    const [port, adminPort] = await freePorts(2);
    const did = `did:web:localhost%3A${port}`;
    const server = new Server(
      { port, adminPort, did },
      {
        PATH: process.env.PATH,
        HOME: process.env.HOME,
        DATABASE_URL: database,
        MLS_ENV: 'development',
        LOG_LEVEL: 'debug',
        SERVICE_DID: did,
        SERVER_HOST: '127.0.0.1',
        SERVER_PORT: String(port),
        ADMIN_PORT: String(adminPort),
        PLC_URL: directory.url,
        APPVIEW_URL: directory.url,
        EGRESS_ALLOW: directory.host,
        ...settings,
      },
    );
    await server.#launch();
    return server;
  }

  async #launch() {
    const binary = process.env.MLS_SERVER_BIN ?? DEFAULT_BINARY;
    try {
      accessSync(binary, constants.X_OK);
    } catch {
      throw new Error(`${binary} is not there: ${HOW_TO_RUN}, which builds it`);
    }
    const child = spawn(binary, ['serve', '--migrate'], { stdio: ['ignore', 'pipe', 'pipe'], env: this.#environment });
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', (chunk) => (this.#log += chunk));
    }
    this.#process = child;
    await this.#ready(child);
  }

  /** Everything that the server has written to stdout and stderr. */
  get log() {
    return this.#log;
  }

  /** @returns {Promise<string>} the metrics of the admin port */
  async metrics() {
    const response = await fetch(`${this.adminUrl}/metrics`);
    if (!response.ok) throw new Error(`/metrics answered ${response.status}`);
    return response.text();
  }

  /** @param {import('node:child_process').ChildProcess} child */
  async #ready(child) {
    const failed = once(child, 'error').then(([error]) => Promise.reject(error));
    failed.catch(() => undefined);
    const deadline = Date.now() + READY_WITHIN;
    while (!(await Promise.race([this.#isReady(), failed]))) {
      if (hasEnded(child)) throw new Error(`the server ended with ${howEnded(child)}:\n${this.log}`);
      if (Date.now() > deadline) {
        child.kill('SIGKILL');
        throw new Error(`the server was not ready within ${READY_WITHIN / 1000} s:\n${this.log}`);
      }
      await sleep(50);
    }
  }

  async #isReady() {
    try {
      return (await fetch(`${this.url}/health/ready`)).ok;
    } catch {
      return false;
    }
  }

  /** Ends the process as an operator would and waits for its orderly end. */
  async stop() {
    const child = this.#process;
    if (child === undefined || hasEnded(child)) {
      throw new Error(`the server ended by itself (${child && howEnded(child)}); the end of its log:\n${this.log.slice(-4000)}`);
    }
    const closed = once(child, 'close');
    child.kill('SIGTERM');
    const ended = await Promise.race([closed, sleep(STOPPED_WITHIN, undefined, { ref: false })]);
    if (ended === undefined) {
      child.kill('SIGKILL');
      throw new Error(`the server did not end within ${STOPPED_WITHIN / 1000} s of SIGTERM`);
    }
    if (child.exitCode !== 0) throw new Error(`the server ended with ${howEnded(child)}; the end of its log:\n${this.log.slice(-4000)}`);
  }

  /** Ends the process for good, at once if it is still there. */
  async kill() {
    process.off('exit', this.#end);
    await this.#crash();
  }

  async #crash() {
    const child = this.#process;
    if (child === undefined || hasEnded(child)) return;
    const closed = once(child, 'close');
    child.kill('SIGKILL');
    await closed;
  }

  /**
   * Ends the process and starts another in its place, on the same ports.
   *
   * @param {'orderly' | 'crash'} how
   */
  async restart(how) {
    await (how === 'orderly' ? this.stop() : this.#crash());
    await this.#launch();
  }
}

/** @param {import('node:child_process').ChildProcess} child */
function hasEnded(child) {
  return child.exitCode !== null || child.signalCode !== null;
}

/** @param {import('node:child_process').ChildProcess} child */
function howEnded(child) {
  return child.signalCode ?? `code ${child.exitCode}`;
}

/**
 * @param {number} count
 * @returns {Promise<number[]>}
 */
async function freePorts(count) {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => {
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    return address.port;
  });
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
