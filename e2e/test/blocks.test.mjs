/**
 * Blocks keep users apart, whoever of the two made the block and whoever adds them.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { isError } from '../lib/api.mjs';
import { World } from '../lib/world.mjs';

describe('blocks', () => {
  /** @type {World} */
  let world;

  before(async () => {
    world = await World.start();
  });
  after(() => world?.stop());

  for (const by of /** @type {const} */ (['the member', 'the newcomer'])) {
    it(`of ${by} keep a third user from bringing both together`, async () => {
      const [host, member, newcomer] = [await world.user('k256'), await world.user('p256'), await world.user('k256')];
      const device = await host.device('phone of the host');
      for (const user of [member, newcomer]) await user.device('phone');
      const [blocker, blocked] = by === 'the member' ? [member, newcomer] : [newcomer, member];
      world.directory.block(blocker.did, blocked.did);

      const convo = await device.createConvo({ members: [member.did] });
      await assert.rejects(convo.add([newcomer.did]), (error) => isError(error, 'BlockedByMember'));
      assert.equal(convo.group?.epoch, 1, 'the refused commit is dropped');
      assert.equal((await host.api.query('getEpoch', { convoId: convo.id })).currentEpoch, 1);
      await assert.rejects(device.createConvo({ members: [member.did, newcomer.did] }), (error) => isError(error, 'MutualBlockDetected'));
    });
  }

  it('look like a user without key packages to the blocked', async () => {
    const [blocker, blocked] = [await world.user('k256'), await world.user('p256')];
    await blocker.device('phone');
    world.directory.block(blocker.did, blocked.did);
    const nobody = await world.user();
    const answer = await blocked.api.query('getKeyPackages', { dids: [blocker.did, nobody.did] });
    assert.deepEqual(answer.keyPackages, []);
    assert.deepEqual(new Set(answer.missing), new Set([blocker.did, nobody.did]));
  });

  it('are reported with their records', async () => {
    const [blocker, blocked] = [await world.user('k256'), await world.user('p256')];
    const blockUri = world.directory.block(blocker.did, blocked.did);
    const { blocks } = await blocked.api.query('checkBlocks', { dids: [blocked.did, blocker.did] });
    assert.equal(blocks.length, 1);
    assert.equal(blocks[0].blockerDid, blocker.did);
    assert.equal(blocks[0].blockedDid, blocked.did);
    assert.equal(blocks[0].blockUri, blockUri);
  });
});
