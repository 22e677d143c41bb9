/**
 * Random lives of a group: members come, go, renew their keys, propose, lose their state and come back. Every object
 * that a delivery service would see is written to a folder, for `mls-server inspect --group`.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import assert from 'node:assert/strict';

/** A generator of numbers from 0 to 1 that a seed determines (mulberry32). */
export function random(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/**
 * ts-mls 1.6.4 wants equal lists of unmerged leaves in all ancestors of a leaf, so it cannot join some valid trees
 * (RFC 9420 12.4.3.1 asks that for the nodes between leaf and parent only, and for the one leaf).
 */
const refusedWithoutReason = (error) => /must list leaf node in its unmerged_leaves/.test(error.message);

export class History {
  #files = 0;
  #named = 0;

  /**
   * @param {string} folder where the objects go
   * @param {(identity: string, n: number) => Promise<any>} make makes the nth agent
   * @param {{ seed: number, external?: boolean, selfRemove?: boolean }} options
   */
  constructor(folder, make, options) {
    this.folder = folder;
    this.make = make;
    this.options = options;
    this.random = random(options.seed);
    this.members = [];
  }

  #pick(list) {
    return list[Math.floor(this.random() * list.length)];
  }

  async #newcomer() {
    const n = this.#named++;
    return this.make(`did:plc:${String(n).padStart(24, 'a').replace(/[0189]/g, 'b')}#${n}`, n);
  }

  async #write(kind, bytes) {
    const name = `${String(this.#files++).padStart(5, '0')}-${kind}.mls`;
    await writeFile(join(this.folder, name), bytes);
  }

  async start() {
    await mkdir(this.folder, { recursive: true });
    const founder = await this.#newcomer();
    const groupId = new Uint8Array(16).map(() => Math.floor(this.random() * 256));
    await founder.create(groupId);
    await this.#write('group-info', await founder.groupInfo());
    this.members = [founder];
  }

  /** Has one member commit, everybody process it and newcomers join. */
  async #commit(committer, change, joiners = [], leavers = []) {
    const made = await committer.commit(change);
    await this.#write('commit', made.commit);
    for (const w of made.welcomes) await this.#write('welcome', w);
    await committer.merge();
    for (const m of this.members) {
      if (m !== committer && !leavers.includes(m)) await m.process(made.commit);
    }
    const [joined, stranded] = await this.#join(joiners, made.welcomes);
    this.members = [...this.members.filter((m) => !leavers.includes(m)), ...joined];
    await this.#write('group-info', made.groupInfo ?? (await committer.groupInfo()));
    if (stranded.length > 0) {
      const { members } = await committer.state();
      await this.#commit(committer, { remove: stranded.map((s) => members.find(([, identity]) => identity === s.identity)[0]) });
    }
  }

  /** Has newcomers join; returns who did, and who could not though it should. */
  async #join(joiners, welcomes) {
    const joined = [];
    const stranded = [];
    for (const j of joiners) {
      try {
        for (const w of welcomes) await j.join(w);
        joined.push(j);
      } catch (error) {
        if (!refusedWithoutReason(error)) throw error;
        stranded.push(j);
      }
    }
    return [joined, stranded];
  }

  async add(count) {
    const joiners = [];
    const packages = [];
    for (let i = 0; i < count; i++) {
      const j = await this.#newcomer();
      joiners.push(j);
      packages.push((await j.keyPackage()).bytes);
    }
    await this.#commit(this.#pick(this.members), { add: packages }, joiners);
  }

  async update() {
    await this.#commit(this.#pick(this.members), {});
  }

  async #others(committer, most) {
    const others = this.members.filter((m) => m !== committer);
    const leavers = new Set();
    while (leavers.size < Math.min(most, others.length)) leavers.add(this.#pick(others));
    return [...leavers];
  }

  async remove(most) {
    const committer = this.#pick(this.members);
    const leavers = await this.#others(committer, most);
    const leaves = [];
    for (const l of leavers) leaves.push((await l.state()).own);
    await this.#commit(committer, { remove: leaves }, [], leavers);
  }

  /** A member proposes its own removal and another one commits it. */
  async leave() {
    const committer = this.#pick(this.members);
    const [leaver] = await this.#others(committer, 1);
    if (leaver === undefined) return this.update();
    const selfRemove = this.options.selfRemove && this.random() < 0.5;
    const proposal = selfRemove ? await leaver.selfRemove() : await leaver.proposeRemove((await leaver.state()).own);
    await this.#write('proposal', proposal);
    for (const m of this.members) if (m !== leaver) await m.process(proposal);
    await this.#commit(committer, {}, [], [leaver]);
  }

  /** A member lost its state and joins again by an external commit that removes its old leaf. */
  async comeBack() {
    const lost = this.#pick(this.members);
    const [helper] = await this.#others(lost, 1);
    if (helper === undefined) return this.update();
    const old = (await lost.state()).own;
    let made;
    try {
      made = await lost.joinExternally(await helper.groupInfo(), old);
    } catch (error) {
      if (!refusedWithoutReason(error)) throw error;
      return this.update(); // it never lost its state
    }
    await this.#write('commit', made.commit);
    for (const m of this.members) if (m !== lost) await m.process(made.commit);
    await this.#write('group-info', made.groupInfo ?? (await lost.groupInfo()));
  }

  /** One random step of the group's life. */
  async step(size) {
    const acts = [() => this.update(), () => this.update()];
    if (this.members.length < size) acts.push(() => this.add(1), () => this.add(Math.min(3, size - this.members.length)));
    if (this.members.length > 2) acts.push(() => this.remove(1), () => this.remove(2), () => this.leave());
    if (this.options.external) acts.push(() => this.comeBack());
    await this.#pick(acts)();
  }

  /** Checks that all members hold the same epoch, secrets and roster; returns it. */
  async agree() {
    const [first, ...rest] = await Promise.all(this.members.map((m) => m.state()));
    for (const other of rest) {
      assert.equal(other.epoch, first.epoch);
      assert.equal(other.authenticator, first.authenticator);
      assert.deepEqual(other.members, first.members);
    }
    return first;
  }
}
