/**
 * What a scenario runs in: directory, server, users, and the canary that watches them.
 */
import assert from 'node:assert/strict';
import { Api } from './api.mjs';
import { Canary } from './canary.mjs';
import { User } from './client.mjs';
import { Follower } from './follower.mjs';
import { Identity } from './identity.mjs';
import { loadLexicons } from './lexicons.mjs';
import { Directory } from './plc.mjs';
import { Server } from './server.mjs';

export class World {
  #lexicons = loadLexicons();
  #polls = new AbortController();
  /** @type {Promise<void>[]} */
  #polling = [];
  /** @type {Follower[]} */
  #followers = [];

  /**
   * @param {Directory} directory
   * @param {Server} server
   */
  constructor(directory, server) {
    this.directory = directory;
    this.server = server;
    this.canary = new Canary();
  }

  /**
   * @param {Record<string, string>} [settings] environment variables of the server
   * @returns {Promise<World>}
   */
  static async start(settings) {
    const directory = await Directory.start();
    try {
      return new World(directory, await Server.start(directory, settings));
    } catch (error) {
      await directory.stop();
      throw error;
    }
  }

  /**
   * Makes an account and publishes its DID document.
   *
   * @param {import('./identity.mjs').Curve} [curve]
   * @returns {Promise<User>}
   */
  async user(curve) {
    const identity = await Identity.create(curve);
    this.directory.publish(identity);
    this.canary.addDid(identity.did);
    return new User(identity, new Api(this.server, identity, this.#lexicons, this.canary));
  }

  /**
   * Lets devices poll until the world ends.
   *
   * @param {...import('./client.mjs').Device} devices
   */
  keepOnline(...devices) {
    for (const device of devices) {
      const polling = device.poll(this.#polls.signal);
      polling.catch(() => undefined); // the error is thrown by stop
      this.#polling.push(polling);
    }
  }

  /**
   * Lets a device follow the event stream until the world ends.
   *
   * @param {import('./client.mjs').Device} device
   * @returns {Promise<Follower>}
   */
  async follow(device) {
    const follower = new Follower(device);
    this.#followers.push(follower);
    await follower.start();
    return follower;
  }

  /**
   * Ends everything and checks that nobody can be recognised in the server's log and metrics.
   */
  async stop() {
    try {
      this.#polls.abort();
      await Promise.all([...this.#polling, ...this.#followers.map((follower) => follower.stop())]);
      const metrics = await this.server.metrics();
      await this.server.stop();
      assert.ok(this.canary.size > 0, 'the canary has nothing to look for');
      assert.deepEqual(this.canary.leaks(`${this.server.log}\n${metrics}`), []);
    } finally {
      await this.server.kill();
      await this.directory.stop();
    }
  }
}
