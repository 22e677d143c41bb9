/**
 * Clients that follow their group by the event stream alone, with this repository's client, and with an EventSource from npm.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { jsonToLex } from '@atproto/lexicon';
import { EventSource } from 'eventsource';
import { loadLexicons, NSID } from '../lib/lexicons.mjs';
import { OURS, STREAMS, version, works } from '../lib/seen.mjs';
import { until } from '../lib/until.mjs';
import { World } from '../lib/world.mjs';

/** @typedef {import('../lib/client.mjs').Device} Device */
/** @typedef {import('../lib/client.mjs').User} User */
/** @typedef {import('../lib/follower.mjs').Follower} Follower */

describe('event stream', () => {
  /** @type {World} */
  let world;
  /** @type {User} */
  let alice;
  /** @type {User} */
  let bob;
  /** @type {Device} */
  let alicePhone;
  /** @type {Device} */
  let bobPhone;
  /** @type {Device} */
  let aliceLaptop;
  /** @type {Follower} */
  let bobs;
  /** @type {string} */
  let id;

  const on = (/** @type {Device} */ device) => device.conversation(id);
  const has = (/** @type {Device} */ device, /** @type {string} */ text) =>
    until(() => device.conversations.get(id)?.texts.includes(text) ?? false);

  before(async () => {
    world = await World.start();
    [alice, bob] = [await world.user('k256'), await world.user('p256')];
    alicePhone = await alice.device('phone of alice');
    bobPhone = await bob.device('phone of bob', { base64: 'url', form: 'bare', padding: 'prefixed' });
    await world.follow(alicePhone);
    bobs = await world.follow(bobPhone);
  });
  after(() => world?.stop());

  it('brings a Welcome, then messages, then commits', async () => {
    const convo = await alicePhone.createConvo();
    id = convo.id;
    await convo.add([bob.did]);
    await until(() => bobPhone.conversations.get(id)?.group !== undefined);
    await convo.send('over the stream');
    await has(bobPhone, 'over the stream');
    await on(bobPhone).send('and back');
    await has(alicePhone, 'and back');
    await convo.update();
    await until(() => on(bobPhone).group?.epoch === 2);
    await on(bobPhone).send('in the new epoch');
    await has(alicePhone, 'in the new epoch');
    assert.ok(bobs.events.includes('invitation'));
    assert.ok(bobs.events.includes('epoch-advanced'));
  });

  it('resumes where it broke, with nothing lost and nothing twice', async () => {
    await bobs.interrupt(async () => {
      for (let i = 0; i < 20; i++) await on(alicePhone).send(`while bob was away: ${i}`);
      await on(alicePhone).update();
      await on(alicePhone).send('that was all');
    });
    await has(bobPhone, 'that was all');
    const { texts } = on(bobPhone);
    assert.deepEqual(
      texts.filter((text) => text.startsWith('while bob was away')),
      Array.from({ length: 20 }, (_, i) => `while bob was away: ${i}`),
    );
    assert.equal(new Set(texts).size, texts.length);
  });

  it('is read by a stock EventSource, too', async () => {
    const { api } = bobPhone;
    const source = new EventSource(new URL(`/xrpc/${NSID}.streamConvoEvents`, api.url), {
      // Every connection needs a token of its own: a token is good for one request.
      fetch: async (input, init) =>
        fetch(input, { ...init, headers: { ...init.headers, authorization: `Bearer ${await api.token('streamConvoEvents')}` } }),
    });
    try {
      await new Promise((resolve) => source.addEventListener('open', resolve));
      const event = new Promise((resolve) => source.addEventListener('messageEvent', resolve));
      await on(alicePhone).send('to everybody');
      const { data, lastEventId } = /** @type {MessageEvent} */ (await event);
      const wrapper = /** @type {any} */ (jsonToLex(JSON.parse(data)));
      const valid = loadLexicons().validate(`${NSID}.streamConvoEvents#eventWrapper`, wrapper);
      assert.ok(valid.success);
      assert.equal(wrapper.event.$type, `${NSID}.streamConvoEvents#messageEvent`);
      assert.equal(wrapper.event.cursor, lastEventId);
    } finally {
      source.close();
    }
    await has(bobPhone, 'to everybody');
  });

  it('has a new device added by whoever is online', async () => {
    aliceLaptop = await alice.device('laptop of alice');
    await world.follow(aliceLaptop);
    await until(() => aliceLaptop.conversations.get(id)?.group !== undefined);
    await on(bobPhone).send('hello to both');
    await Promise.all([has(alicePhone, 'hello to both'), has(aliceLaptop, 'hello to both')]);
  });

  it('has key packages replenished when they run low', async () => {
    const { available, threshold } = await bob.api.query('getKeyPackageStats');
    const carol = await world.user();
    for (let i = threshold; i <= available; i++) await carol.api.query('getKeyPackages', { dids: [bob.did] });
    await until(async () => (await bob.api.query('getKeyPackageStats')).available >= available);
    assert.ok(bobs.events.includes('key-packages-low'));
  });

  it('brings a device back that lost its state', async () => {
    const late = await bob.device('laptop of bob');
    const lates = await world.follow(late);
    await until(() => late.conversations.get(id)?.group !== undefined);
    await new Promise((resolve) => setTimeout(resolve, 31_000)); // a Welcome confirmed just now needs no rejoin
    await late.loseState();
    await on(late).requestRejoin('state_loss');
    await until(() => on(late).group !== undefined, 5000);
    await on(alicePhone).send('there you are');
    await has(late, 'there you are');
    assert.ok(lates.events.includes('welcome-available'));
  });

  it('ends for a removed user at its removal', async () => {
    await on(alicePhone).remove(bob.did);
    await until(() => on(bobPhone).gone);
    const seen = bobs.events.length;
    await on(alicePhone).send('without bob');
    await has(aliceLaptop, 'without bob');
    await on(alicePhone).update();
    await until(() => on(aliceLaptop).group?.epoch === on(alicePhone).group?.epoch);
    assert.equal(bobs.events.length, seen);
  });

  it('does what docs/clients.json says', () => {
    works(import.meta.url, { [OURS]: [STREAMS], [version('eventsource')]: [STREAMS] });
  });
});
