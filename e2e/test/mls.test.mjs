/**
 * The MLS side of the client alone, without a service: what the scenarios rely on.
 */
import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { describe, it } from 'node:test';
import { encodeMlsMessage } from 'ts-mls';
import { Keys } from '../lib/keys.mjs';
import { Group } from '../lib/mls.mjs';
import { Entrance } from '../lib/outside.mjs';
import { readMessage, readWelcome, writeKeyPackage, writeWelcome } from '../lib/objects.mjs';
import { pad, vouchContent } from '../lib/package.mjs';
import { fromBase64, fromHex, toBase64 } from '../lib/text.mjs';

const DIDS = {
  alice: 'did:plc:aliceaaaaaaaaaaaaaaaaaaa',
  bob: 'did:plc:bobbbbbbbbbbbbbbbbbbbbbb',
  carol: 'did:plc:carolccccccccccccccccccc',
};

/** @param {string} did */
async function device(did) {
  const keys = await Keys.create();
  const identity = `${did}#${randomUUID()}`;
  return { did, keys, keyPackage: () => keys.keyPackage(identity) };
}

/**
 * @param {Group} group
 * @param {...Awaited<ReturnType<typeof device>>} joiners
 */
async function add(group, ...joiners) {
  const packages = await Promise.all(joiners.map((joiner) => joiner.keyPackage()));
  const staged = await group.stageAddition(packages.map((own) => writeKeyPackage(own.publicPackage, 'wrapped')));
  assert.ok(staged.welcome);
  const welcome = readWelcome(writeWelcome(staged.welcome, 'bare'));
  staged.adopt();
  const groups = await Promise.all(
    joiners.map((joiner) => {
      const own = joiner.keys.find(welcome);
      assert.ok(own);
      return Group.join(joiner.keys, own, welcome);
    }),
  );
  return { commit: staged.bytes, groups };
}

async function pair() {
  const alice = await device(DIDS.alice);
  const bob = await device(DIDS.bob);
  const ours = await Group.create(alice.keys, await alice.keyPackage(), randomBytes(16));
  const { groups } = await add(ours, bob);
  return { alice, bob, ours, theirs: groups[0] };
}

describe('group', () => {
  it('carries texts both ways, in both forms of padding, and names the sender', async () => {
    const { ours, theirs } = await pair();
    assert.equal(ours.id, theirs.id);
    assert.deepEqual([ours.epoch, theirs.epoch], [1, 1]);
    const there = await theirs.open(pad(await ours.seal('hello bob'), 'direct'));
    assert.equal(there.kind, 'text');
    assert.deepEqual([there.text, there.sender.did], ['hello bob', DIDS.alice]);
    const back = await ours.open(pad(await theirs.seal('hello alice'), 'prefixed'));
    assert.equal(back.kind, 'text');
    assert.deepEqual([back.text, back.sender.did], ['hello alice', DIDS.bob]);
  });

  it('reads messages of the epoch before, and leaves commits of it alone', async () => {
    const { ours, theirs } = await pair();
    const late = await ours.seal('sent before the commit');
    const staged = await ours.stage();
    staged.adopt();
    assert.deepEqual((await theirs.open(staged.bytes)).kind, 'commit');
    assert.deepEqual((await theirs.open(staged.bytes)).kind, 'stale');
    const opened = await theirs.open(late);
    assert.equal(opened.kind, 'text');
    assert.equal(opened.text, 'sent before the commit');
  });

  it('drops a commit that lost the race and takes over the winner', async () => {
    const { ours, theirs } = await pair();
    const loser = await ours.stage();
    const winner = await theirs.stage();
    winner.adopt();
    await ours.open(winner.bytes);
    assert.throws(() => loser.adopt(), /moved on/);
    assert.deepEqual([ours.epoch, theirs.epoch], [2, 2]);
    const opened = await theirs.open(await ours.seal('still here'));
    assert.equal(opened.kind, 'text');
  });

  it('gives a late joiner nothing from before', async () => {
    const { ours, theirs } = await pair();
    const before = await ours.seal('not for carol');
    const { commit, groups } = await add(theirs, await device(DIDS.carol));
    await ours.open(commit);
    await assert.rejects(groups[0].open(before), /no keys of epoch 1/);
    const opened = await groups[0].open(await ours.seal('for all three'));
    assert.equal(opened.kind, 'text');
    assert.deepEqual(
      ours.members().map((m) => m.did),
      [DIDS.alice, DIDS.bob, DIDS.carol],
    );
  });

  it('settles a proposal of the leaver by the commit of another member', async () => {
    const { ours, theirs } = await pair();
    const carol = await device(DIDS.carol);
    const { commit, groups } = await add(ours, carol);
    await theirs.open(commit);
    const proposal = await groups[0].proposeRemoval(groups[0].ownLeaf);
    assert.equal((await ours.open(proposal)).kind, 'proposal');
    await theirs.open(proposal);
    assert.ok(theirs.hasProposals);
    await assert.rejects(theirs.seal('too early'), /unapplied proposals/);
    const staged = await theirs.stage({ remove: theirs.leavesToRemove });
    staged.adopt();
    await ours.open(staged.bytes);
    await groups[0].open(staged.bytes);
    assert.ok(groups[0].removed);
    const after = await ours.seal('carol has left');
    await assert.rejects(groups[0].open(after));
    const opened = await theirs.open(after);
    assert.equal(opened.kind, 'text');
  });

  it('takes a member back in with the same signature key when its old leaf goes in the same commit', async () => {
    const { bob, ours, theirs } = await pair();
    const own = await bob.keyPackage();
    await assert.rejects(ours.stage({ add: [own.publicPackage] }), /already in the group/);
    const staged = await ours.stageAddition([writeKeyPackage(own.publicPackage, 'bare')]);
    staged.adopt();
    assert.ok(staged.welcome);
    const again = await Group.join(bob.keys, own, staged.welcome);
    const opened = await again.open(await ours.seal('welcome back'));
    assert.equal(opened.kind, 'text');
  });

  it('removes by a PublicMessage commit with an update path', async () => {
    const { ours, theirs } = await pair();
    const staged = await ours.stage({ remove: [theirs.ownLeaf], asPublicMessage: true });
    staged.adopt();
    const message = readMessage(staged.bytes);
    assert.equal(message.wireformat, 'mls_public_message');
    assert.equal(message.publicMessage.content.contentType, 'commit');
    assert.ok(message.publicMessage.content.commit.path);
    await theirs.open(staged.bytes);
    assert.ok(theirs.removed);
  });

  it('lets in from outside whom the group knows, and nobody whom a service makes up', async () => {
    const { bob, ours, theirs } = await pair();
    const made = await device(DIDS.bob);
    const joins = async (/** @type {Uint8Array | undefined} */ vouch) => {
      const entrance = new Entrance(await ours.groupInfo());
      return (await entrance.join(made.keys, `${DIDS.bob}#${randomUUID()}`, vouch)).commit;
    };
    const before = ours.epoch;
    const content = vouchContent(fromHex(ours.id), made.keys.publicKey);
    for (const vouch of [undefined, randomBytes(64), await made.keys.sign(content), await bob.keys.sign(vouchContent(randomBytes(16), made.keys.publicKey))]) {
      await assert.rejects(ours.open(pad(await joins(vouch), 'direct')), /nobody in the group knows/);
    }
    const stranger = await device(DIDS.carol);
    const strange = await new Entrance(await ours.groupInfo()).join(stranger.keys, `${DIDS.carol}#${randomUUID()}`);
    await assert.rejects(ours.open(pad(strange.commit, 'direct')), /a stranger joins/);
    assert.equal(ours.epoch, before);
    const vouched = pad(await joins(await bob.keys.sign(content)), 'direct');
    assert.equal((await ours.open(vouched)).kind, 'commit');
    await theirs.open(vouched);
    assert.deepEqual([ours.epoch, theirs.epoch], [before + 1, before + 1]);
    const back = (await new Entrance(await ours.groupInfo()).join(bob.keys, DIDS.bob)).commit;
    assert.equal((await ours.open(pad(back, 'direct'))).kind, 'commit');
    assert.equal(ours.members().length, 3);
  });

  it('refuses members whose credential names no DID', async () => {
    const { ours } = await pair();
    const stranger = await Keys.create();
    const own = await stranger.keyPackage('mallory');
    await assert.rejects(ours.stage({ add: [own.publicPackage] }));
  });

  it('forgets the private half of a used key package', async () => {
    const { bob, ours } = await pair();
    const own = await bob.keys.keyPackage(DIDS.bob, { lastResort: true });
    const carol = await device(DIDS.carol);
    const once = await carol.keyPackage();
    const staged = await ours.stage({ add: [once.publicPackage] });
    assert.ok(staged.welcome);
    await Group.join(carol.keys, once, staged.welcome);
    assert.equal(carol.keys.find(staged.welcome), undefined);
    bob.keys.forget(own);
    assert.deepEqual(own.publicPackage.extensions, [{ extensionType: 10, extensionData: new Uint8Array() }]);
  });
});

describe('padding', () => {
  it('finds the message again in either form', async () => {
    const { ours } = await pair();
    const message = await ours.seal('x'.repeat(3000));
    for (const form of /** @type {const} */ (['direct', 'prefixed'])) {
      const padded = pad(message, form);
      assert.equal(padded.length, 4096);
      assert.deepEqual(encodeMlsMessage(readMessage(padded)), message);
    }
    assert.deepEqual(encodeMlsMessage(readMessage(message)), message);
  });
});

describe('text forms', () => {
  it('reads all four forms of base64', () => {
    const bytes = new Uint8Array([251, 239, 190, 255]);
    for (const text of [toBase64(bytes, 'standard'), toBase64(bytes, 'url'), '++++/w', '----_w==']) {
      assert.equal(fromBase64(text).length, 4, text);
    }
    assert.equal(toBase64(bytes, 'url'), '----_w');
  });
});
