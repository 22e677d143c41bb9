/**
 * Stand-ins, over real HTTP, for what the server asks about accounts: the PLC directory, the accounts' PDS and an
 * AppView. They answer as com.atproto.repo.listRecords and getRecord and app.bsky.graph.getRelationships do, with the
 * blocks that a test has set.
 */
import { createServer } from 'node:http';

const BLOCK = 'app.bsky.graph.block';
const MAX_OTHERS = 30;

export class Directory {
  /** @type {Map<string, import('./identity.mjs').Identity>} */
  #identities = new Map();
  /** @type {Map<string, { uri: string, cid: string, value: { $type: string, subject: string, createdAt: string } }[]>} */
  #blocks = new Map();
  /** @type {import('node:http').Server} */
  #server;

  /** @param {import('node:http').Server} server */
  constructor(server) {
    this.#server = server;
  }

  /**
   * Starts a directory on a free port of the loopback interface.
   *
   * @returns {Promise<Directory>}
   */
  static async start() {
    const server = createServer();
    const directory = new Directory(server);
    server.on('request', (request, response) => directory.#answer(request, response));
    await new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', () => resolve(undefined));
    });
    return directory;
  }

  /** host:port, for EGRESS_ALLOW. */
  get host() {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the directory does not listen');
    return `127.0.0.1:${address.port}`;
  }

  get url() {
    return `http://${this.host}`;
  }

  /** @param {import('./identity.mjs').Identity} identity */
  publish(identity) {
    this.#identities.set(identity.did, identity);
  }

  /**
   * Writes a block record into the blocker's repository.
   *
   * @param {string} blocker
   * @param {string} subject
   * @returns {string} the record's URI
   */
  block(blocker, subject) {
    const records = this.#blocks.get(blocker) ?? [];
    const uri = `at://${blocker}/${BLOCK}/3l${String(records.length).padStart(11, '2')}`;
    records.push({
      uri,
      cid: 'bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a',
      value: { $type: BLOCK, subject, createdAt: new Date().toISOString() },
    });
    this.#blocks.set(blocker, records);
    return uri;
  }

  async stop() {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /**
   * @param {import('node:http').IncomingMessage} request
   * @param {import('node:http').ServerResponse} response
   */
  #answer(request, response) {
    const url = new URL(request.url ?? '/', this.url);
    const [status, body] = this.#route(url);
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(body));
  }

  /**
   * @param {URL} url
   * @returns {[number, unknown]}
   */
  #route(url) {
    const query = url.searchParams;
    switch (url.pathname) {
      case '/xrpc/com.atproto.repo.listRecords': {
        const records = query.get('collection') === BLOCK ? (this.#blocks.get(query.get('repo') ?? '') ?? []) : [];
        return [200, { records }];
      }
      case '/xrpc/com.atproto.repo.getRecord': {
        const uri = `at://${query.get('repo')}/${query.get('collection')}/${query.get('rkey')}`;
        const record = this.#blocks.get(query.get('repo') ?? '')?.find((r) => r.uri === uri);
        return record ? [200, record] : [400, { error: 'RecordNotFound', message: `Could not locate record: ${uri}` }];
      }
      case '/xrpc/app.bsky.graph.getRelationships':
        return this.#relationships(query.get('actor') ?? '', query.getAll('others'));
    }
    const identity = this.#identities.get(decodeURIComponent(url.pathname.slice(1)));
    return identity ? [200, identity.document(this.url)] : [404, { message: 'DID not registered' }];
  }

  /**
   * @param {string} actor
   * @param {string[]} others
   * @returns {[number, unknown]}
   */
  #relationships(actor, others) {
    if (others.length > MAX_OTHERS) return [400, { error: 'InvalidRequest', message: 'others is too long' }];
    const between = (/** @type {string} */ blocker, /** @type {string} */ subject) =>
      this.#blocks.get(blocker)?.find((r) => r.value.subject === subject)?.uri;
    const relationships = others.map((did) => ({
      $type: 'app.bsky.graph.defs#relationship',
      did,
      blocking: between(actor, did),
      blockedBy: between(did, actor),
    }));
    return [200, { actor, relationships }];
  }
}
