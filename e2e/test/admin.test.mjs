/**
 * Administration: roles, sealed reports, statistics, conflicts by blocks. With the other scenarios, every method of the contract
 * is called through the stock client, which validates the answers.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { isError } from '../lib/api.mjs';
import { until } from '../lib/until.mjs';
import { World } from '../lib/world.mjs';

/** @typedef {import('../lib/client.mjs').User} User */
/** @typedef {import('../lib/follower.mjs').Follower} Follower */

describe('administration', () => {
  /** @type {World} */
  let world;
  /** @type {User} */
  let alice;
  /** @type {User} */
  let bob;
  /** @type {User} */
  let carol;
  /** @type {Follower} */
  let alices;
  /** @type {Follower} */
  let bobs;
  /** @type {string} */
  let convoId;

  const fails = (/** @type {Promise<unknown>} */ call, /** @type {string} */ name) => assert.rejects(call, (error) => isError(error, name));
  const hears = (/** @type {Follower} */ follower, /** @type {string} */ kind) => until(() => follower.events.includes(kind));

  before(async () => {
    world = await World.start();
    [alice, bob, carol] = [await world.user('k256'), await world.user('p256'), await world.user('k256')];
    const alicePhone = await alice.device('phone of alice');
    const bobPhone = await bob.device('phone of bob');
    const carolPhone = await carol.device('phone of carol');
    alices = await world.follow(alicePhone);
    bobs = await world.follow(bobPhone);
    convoId = (await alicePhone.createConvo({ members: [bob.did, carol.did] })).id;
    await Promise.all([bobPhone.sync(), carolPhone.sync()]);
  });
  after(() => world?.stop());

  it('gives and takes the role of an admin, never the last one', async () => {
    await fails(bob.api.procedure('promoteAdmin', { convoId, targetDid: carol.did }), 'NotAdmin');
    const promoted = await alice.api.procedure('promoteAdmin', { convoId, targetDid: bob.did });
    assert.equal(promoted.ok, true);
    await fails(alice.api.procedure('promoteAdmin', { convoId, targetDid: bob.did }), 'AlreadyAdmin');
    await fails(alice.api.procedure('demoteAdmin', { convoId, targetDid: carol.did }), 'NotAdminTarget');
    await hears(bobs, 'admin-changed');

    const outcomes = await Promise.allSettled([
      alice.api.procedure('demoteAdmin', { convoId, targetDid: bob.did }),
      bob.api.procedure('demoteAdmin', { convoId, targetDid: alice.did }),
    ]);
    assert.equal(outcomes.filter((o) => o.status === 'fulfilled').length, 1, 'of two admins who demote each other one remains');
    const admin = outcomes[0].status === 'fulfilled' ? alice : bob;
    const other = admin === alice ? bob : alice;
    await fails(admin.api.procedure('demoteAdmin', { convoId, targetDid: admin.did }), 'LastAdmin');
    await admin.api.procedure('promoteAdmin', { convoId, targetDid: other.did });
  });

  it('brings a sealed report to the admins, but not to the one it is about', async () => {
    const sealed = new Uint8Array(randomBytes(300));
    const report = { convoId, reportedDid: bob.did, category: 'harassment', encryptedContent: sealed, messageIds: [] };
    const { reportId } = await carol.api.procedure('reportMember', report);
    await fails(carol.api.procedure('reportMember', { ...report, reportedDid: carol.did }), 'CannotReportSelf');
    await hears(alices, 'report-received');
    assert.ok(!bobs.events.includes('report-received'));

    const { reports } = await alice.api.query('getReports', { convoId, status: 'pending' });
    assert.equal(reports.length, 1);
    assert.deepEqual(
      [reports[0].id, reports[0].reporterDid, reports[0].reportedDid, reports[0].category, reports[0].status],
      [reportId, carol.did, bob.did, 'harassment', 'pending'],
    );
    assert.deepEqual(new Uint8Array(reports[0].encryptedContent), sealed);
    assert.deepEqual((await bob.api.query('getReports', { convoId })).reports, []);
    await fails(carol.api.query('getReports', { convoId }), 'NotAdmin');

    await fails(carol.api.procedure('resolveReport', { reportId, action: 'dismissed' }), 'ReportNotFound');
    assert.deepEqual(await alice.api.procedure('resolveReport', { reportId, action: 'dismissed', notes: 'talked to both' }), { ok: true });
    await fails(alice.api.procedure('resolveReport', { reportId, action: 'no_action' }), 'AlreadyResolved');
    await hears(alices, 'report-resolved');
    const resolved = await alice.api.query('getReports', { convoId, status: 'dismissed' });
    assert.equal(resolved.reports[0].resolvedBy, alice.did);
  });

  it('counts', async () => {
    const { stats } = await alice.api.query('getAdminStats', { convoId });
    assert.equal(stats.totalReports, 1);
    assert.equal(stats.pendingReports, 0);
    assert.equal(stats.resolvedReports, 1);
    assert.equal(stats.totalRemovals, 0);
    assert.equal(stats.reportsByCategory.harassment, 1);
    await fails(alice.api.query('getAdminStats'), 'NotAuthorized');
  });

  it('tells admins of a block between members, when the blocker says so and the record is there', async () => {
    const quiet = await alice.api.query('getBlockStatus', { convoId });
    assert.deepEqual([quiet.hasConflicts, quiet.blocks, quiet.memberCount], [false, [], 3]);
    await fails(carol.api.query('getBlockStatus', { convoId }), 'NotAdmin');

    const claim = { blockerDid: carol.did, blockedDid: bob.did, action: 'created' };
    const missing = `at://${carol.did}/app.bsky.graph.block/3lzzzzzzzzzzz`;
    await fails(carol.api.procedure('handleBlockChange', { ...claim, blockUri: missing }), 'BlockNotVerified');
    const blockUri = world.directory.block(carol.did, bob.did);
    await fails(bob.api.procedure('handleBlockChange', { ...claim, blockUri }), 'NotAuthorized');
    const { affectedConvos } = await carol.api.procedure('handleBlockChange', { ...claim, blockUri });
    assert.equal(affectedConvos.length, 1);
    assert.equal(affectedConvos[0].convoId, convoId);
    assert.equal(affectedConvos[0].adminNotified, true);
    await hears(alices, 'block-conflict');

    const now = await alice.api.query('getBlockStatus', { convoId });
    assert.equal(now.hasConflicts, true);
    assert.deepEqual(
      now.blocks.map((/** @type {any} */ b) => [b.blockerDid, b.blockedDid, b.blockUri]),
      [[carol.did, bob.did, blockUri]],
    );
  });
});
