/**
 * One story with every library, and with all in one group, over the real server: create, add, chat, renew keys, leave,
 * come back, remove, in opaque and in verified conversations.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { OPAQUE, SEALED, VERIFIED, version, works } from '../../e2e/lib/seen.mjs';
import { World } from '../../e2e/lib/world.mjs';
import { Member } from '../lib/member.mjs';
import { Native } from '../lib/native.mjs';
import { TsAgent } from '../lib/tsmls.mjs';

/** How many users are in a group; FULL=1 adds larger ones. */
const SIZES = process.env.FULL === '1' ? [3, 20, 50, 200] : [3, 20];
/** How many users one request may add. */
const MOST_AT_ONCE = 50;

const CASTS = [
  { name: 'ts-mls', libraries: ['ts-mls'] },
  { name: 'OpenMLS', libraries: ['openmls'] },
  { name: 'mls-rs', libraries: ['mls-rs'] },
  { name: 'all in one group', libraries: ['openmls', 'mls-rs', 'ts-mls'] },
];
const KINDS = [
  { name: 'opaque', verified: false },
  { name: 'verified', verified: true },
];

for (const { name, libraries } of CASTS) {
  for (const kind of KINDS) {
    for (const size of SIZES) test(`${name}, ${kind.name}, ${size} users`, () => story(libraries, kind, size));
  }
}

/** Groups of other suites. ts-mls compresses the points of ECDSA keys, which the server takes under a setting only. */
const SUITED = [
  { name: 'P-256', suite: 2, libraries: ['openmls', 'mls-rs'] },
  { name: 'P-384', suite: 7, libraries: ['mls-rs'] },
  { name: 'P-256 with compressed keys', suite: 2, libraries: ['ts-mls'], env: { ACCEPT_COMPRESSED_KEYS: 'true' } },
  { name: 'P-384 with compressed keys', suite: 7, libraries: ['ts-mls'], env: { ACCEPT_COMPRESSED_KEYS: 'true' } },
  { name: 'P-521 with compressed keys', suite: 5, libraries: ['ts-mls'], env: { ACCEPT_COMPRESSED_KEYS: 'true' } },
  { name: 'X448', suite: 4, libraries: ['ts-mls'] },
];
for (const { name, suite, libraries, env } of SUITED) {
  for (const kind of KINDS) test(`${libraries.join(' and ')}, ${name}, ${kind.name}`, () => story(libraries, kind, 3, { suite, env }));
}

test('the libraries do what docs/clients.json says', () => {
  const does = [OPAQUE, VERIFIED, SEALED];
  const cargo = readFileSync(new URL('../Cargo.toml', import.meta.url), 'utf8');
  const native = ['openmls', 'mls-rs'].map((name) => [`${name} ${new RegExp(`^${name} = .*version = "([^"]+)"`, 'm').exec(cargo)[1]}`, does]);
  works(import.meta.url, { ...Object.fromEntries(native), [version('ts-mls')]: does });
});

async function story(libraries, { verified }, size, { suite = 1, env } = {}) {
  const world = await World.start(env);
  const native = new Native();
  try {
    const make = async (_, i) => {
      const user = await world.user();
      const library = libraries[i % libraries.length];
      const options = { public: verified, suite };
      const agent = await (library === 'ts-mls' ? TsAgent.make(user.did, options) : native.agent(library, user.did, options));
      return Member.register(user, agent, suite);
    };
    const members = await Promise.all(Array.from({ length: size }, make));
    const [founder, ...others] = members;
    await founder.create({ verified });
    for (let i = 0; i < others.length; i += MOST_AT_ONCE) {
      const joiners = others.slice(i, i + MOST_AT_ONCE);
      // By somebody else each time: nobody may invite more than a hundred strangers in an hour.
      const adder = members[i / MOST_AT_ONCE];
      await adder.sync();
      await adder.add(joiners.map((m) => m.did));
      for (const m of joiners) await m.join(founder.convoId, { verified });
    }
    await chat(members, 'after joining');
    await others[0].update();
    await chat(members, 'with fresh keys');

    const leaver = others.at(-1);
    await leaver.leave();
    const left = members.filter((m) => m !== leaver);
    await founder.settle(leaver.did);
    await chat(left, 'after one left');

    // The first member of each library loses its state and comes back by itself.
    for (const m of left.slice(0, libraries.length)) {
      const helper = left.find((other) => other !== m && readsAlike(other, m));
      if (!verified || libraries.length > 1) assert.ok(await helper.depositGroupInfo());
      await m.comeBack();
      await chat(left, `after ${left.indexOf(m)} came back`);
    }

    const removed = others[0];
    await founder.remove(removed.did);
    await chat(left.filter((m) => m !== removed), 'after one was removed');
    // It reads its removal, so that its library lets go of the group, and is added again.
    await removed.sync();
    await assert.rejects(removed.sync(), { error: 'NotMember' });
    await founder.add([removed.did]);
    await removed.join(founder.convoId, { verified });
    await chat(left, 'after it was added again');
  } finally {
    await native.close();
    await world.stop();
  }
}

/** Whether two libraries write external_pub in the same form: ts-mls alone leaves its inner length away, and reads no other. */
const readsAlike = (a, b) => (a.agent.library === 'ts-mls') === (b.agent.library === 'ts-mls');

/**
 * Has the first, the second and the last member say something, the last one without telling the service that it is it;
 * everybody must read it and hold the same epoch.
 */
async function chat(members, words) {
  const speakers = new Set([members[0], members[1], members.at(-1)].filter(Boolean));
  assert.equal(await members[0].depositSendKey(), true);
  for (const speaker of speakers) {
    const send = speaker === members.at(-1) ? 'sendSealed' : 'send';
    await speaker[send](`${words}, ${members.indexOf(speaker)}`);
  }
  for (const m of members) {
    await m.sync();
    for (const speaker of speakers) {
      if (speaker !== m) assert.ok(m.texts.includes(`${words}, ${members.indexOf(speaker)}`));
    }
  }
  const [first, ...rest] = await Promise.all(members.map((m) => m.agent.state()));
  for (const state of rest) {
    assert.equal(state.authenticator, first.authenticator);
    assert.deepEqual(state.members, first.members);
  }
}
