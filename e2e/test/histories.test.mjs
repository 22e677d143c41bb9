/**
 * Random histories with a hostile member, on real clients: afterwards all members are one group, hold the same secrets and read
 * the last text. `make histories` plays fifty; HISTORIES says how many, HISTORY_SEED repeats from one on.
 */
import { randomInt } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { History } from '../lib/history.mjs';
import { World } from '../lib/world.mjs';

const COUNT = Number(process.env.HISTORIES || 5);
const SEED = Number(process.env.HISTORY_SEED || randomInt(1_000_000));
const STEPS = 16;
/** Histories that one cast of users plays: what an account may do in an hour is limited. */
const CAST_LASTS = 5;

describe('random histories', () => {
  /** @type {World} */
  let world;
  /** @type {import('../lib/client.mjs').Device[]} */
  let cast = [];

  before(async () => {
    world = await World.start({ RATE_LIMIT_ADD_MEMBERS: '1000', RATE_LIMIT_REMOVE_MEMBER: '1000', RATE_LIMIT_DEFAULT: '10000' });
  });
  after(() => world?.stop());

  for (let i = 0; i < COUNT; i++) {
    const seed = SEED + i;
    const verified = seed % 5 !== 0;
    it(`${verified ? 'verified' : 'opaque'}, HISTORY_SEED=${seed}`, async (t) => {
      if (i % CAST_LASTS === 0) {
        const users = await Promise.all([0, 1, 2, 3, 4].map(() => world.user()));
        cast = await Promise.all(users.map((user, n) => user.device(`phone ${n}`)));
      }
      const history = new History(cast, { seed, verified });
      try {
        await history.play(STEPS);
      } finally {
        t.diagnostic(history.steps.join(', '));
      }
    });
  }
});
