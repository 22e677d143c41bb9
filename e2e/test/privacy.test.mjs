/**
 * The canary over the server's log at debug level, with everything that tends to end up in logs: refused tokens, malformed
 * requests, reports, error details, client addresses. Every other scenario ends with the same search.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { isError } from '../lib/api.mjs';
import { Canary } from '../lib/canary.mjs';
import { NSID } from '../lib/lexicons.mjs';
import { World } from '../lib/world.mjs';

/** An address of a documentation network, which only a header can bring here. */
const CLIENT = '203.0.113.77';

describe('canary', () => {
  it('finds what it was told, in any form that logs have', () => {
    const canary = new Canary();
    const bytes = randomBytes(40);
    canary.addDid('did:plc:aliceaaaaaaaaaaaaaaaaaaa');
    canary.addValues({ convoId: '3lzzzzzzzzzzz', ciphertext: new Uint8Array(bytes), kind: 'state_loss', welcome: bytes.toString('base64') });
    canary.addValues({ welcome: randomBytes(300).toString('base64url') });
    assert.deepEqual(canary.leaks('msg="request" method=getConvos status=200 kind=state_loss\n'), []);
    for (const line of [
      'a line\nmsg="did:plc:aliceaaaaaaaaaaaaaaaaaaa"\nanother',
      '{"user":"aliceaaaaaaaaaaaaaaaaaaa"}',
      'convo=3lzzzzzzzzzzz',
      `body=${bytes.toString('hex')}`,
      `body=${bytes.toString('base64url')}`,
    ]) {
      assert.notDeepEqual(canary.leaks(line), [], line);
    }
    assert.match(canary.leaks('a line\nconvo=3lzzzzzzzzzzz x\nanother')[0], /in: convo=3lzzzzzzzzzzz x$/);
  });
});

describe('log and metrics', () => {
  /** @type {World} */
  let world;
  let requests = 0;

  before(async () => {
    world = await World.start({ TRUSTED_PROXY_CIDRS: '127.0.0.0/8' });
    world.canary.add('IP address', CLIENT);
  });
  after(() => world?.stop());

  /**
   * A request as no proper client makes it.
   *
   * @param {string} path
   * @param {{ token?: string, body?: string, type?: string }} [options]
   * @returns {Promise<{ status: number, error: string }>}
   */
  async function raw(path, { token, body, type = 'application/json' } = {}) {
    requests++;
    const response = await fetch(`${world.server.url}${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      body,
      headers: {
        'x-forwarded-for': CLIENT,
        'user-agent': 'canary-agent/1.0',
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { 'content-type': type }),
      },
    });
    const { error } = /** @type {{ error: string }} */ (await response.json());
    return { status: response.status, error };
  }

  it('stay silent about refused tokens', async () => {
    const alice = await world.user('k256');
    const path = `/xrpc/${NSID}.getConvos`;
    const sign = async (/** @type {string} */ aud, /** @type {string} */ lxm, /** @type {number} */ exp) => {
      const token = await alice.identity.token(aud, lxm, { exp });
      world.canary.addToken(token);
      return token;
    };
    const soon = Math.floor(Date.now() / 1000) + 60;
    const good = await sign(world.server.did, `${NSID}.getConvos`, soon);
    assert.equal((await raw(path, { token: good })).status, 200);
    assert.deepEqual(await raw(path, { token: good }), { status: 401, error: 'ReplayedToken' });
    assert.deepEqual(await raw(path), { status: 401, error: 'AuthMissing' });
    for (const [aud, lxm, exp, error] of /** @type {const} */ ([
      [world.server.did, `${NSID}.sendMessage`, soon, 'BadJwtLexiconMethod'],
      ['did:web:elsewhere.example', `${NSID}.getConvos`, soon, 'BadJwtAudience'],
      [world.server.did, `${NSID}.getConvos`, soon - 600, 'JwtExpired'],
    ])) {
      assert.deepEqual(await raw(path, { token: await sign(aud, lxm, exp) }), { status: 401, error });
    }
    const fresh = await sign(world.server.did, `${NSID}.getConvos`, soon);
    const forged = `${fresh.slice(0, fresh.lastIndexOf('.'))}.${randomBytes(64).toString('base64url')}`;
    assert.deepEqual(await raw(path, { token: forged }), { status: 401, error: 'BadJwtSignature' });
    assert.equal((await raw(path, { token: 'a.b.c' })).error, 'BadJwt');
  });

  it('stay silent about malformed requests', async () => {
    const alice = await world.user('p256');
    const secret = `secret-${randomBytes(8).toString('hex')}`;
    world.canary.add('malformed value', secret);
    for (const body of [`{"convoId":"${secret}"`, `{"convoId":"${secret}"}`, `{"convoId":["${secret}"],"msgId":7}`, secret]) {
      const token = await alice.api.token('sendMessage');
      assert.deepEqual(await raw(`/xrpc/${NSID}.sendMessage`, { token, body }), { status: 400, error: 'InvalidRequest' });
    }
    const token = await alice.api.token('getEpoch');
    assert.equal((await raw(`/xrpc/${NSID}.getEpoch?convoId=${secret}`, { token })).error, 'ConvoNotFound');
    assert.equal((await raw(`/xrpc/${NSID}.${secret.replaceAll('-', '')}?did=${alice.did}`)).status, 501);
    assert.equal((await raw(`/xrpc/${secret}`)).status, 400);
    assert.equal((await raw(`/${secret}`)).status, 404);
    world.canary.add('malformed value in a path', secret.replaceAll('-', ''));
  });

  it('stay silent about conversations, reports and error details', async () => {
    const [alice, bob, carol] = [await world.user('k256'), await world.user('p256'), await world.user('k256')];
    const alicePhone = await alice.device('the phone that alice keeps secret');
    const bobPhone = await bob.device('the phone that bob keeps secret');
    const convo = await alicePhone.createConvo({ name: 'a name that nobody should read', members: [bob.did] });
    await bobPhone.sync();
    await bobPhone.conversation(convo.id).send('a text that nobody should read');
    await alicePhone.sync();
    await convo.markRead();
    await assert.rejects(carol.api.query('getMessages', { convoId: convo.id }), (error) => isError(error, 'ConvoNotFound'));
    await bob.api.procedure('reportMember', {
      convoId: convo.id,
      reportedDid: alice.did,
      category: 'spam',
      encryptedContent: new Uint8Array(randomBytes(200)),
    });
    await bob.api.procedure('confirmWelcome', {
      convoId: convo.id,
      deviceId: bobPhone.id,
      success: false,
      errorDetails: 'details of a failure that nobody should read',
    });
    await assert.rejects(
      bob.api.procedure('sendMessage', {
        convoId: convo.id,
        msgId: '01ARZ3NDEKTSV4RRFFQ69G5FAV',
        idempotencyKey: '01ARZ3NDEKTSV4RRFFQ69G5FAV',
        ciphertext: new Uint8Array(randomBytes(600)),
        epoch: 1,
        paddedSize: 600,
      }),
      (error) => isError(error, 'InvalidAsset'),
    );
    await convo.remove(bob.did, 'a reason that nobody should read');
    world.directory.block(bob.did, carol.did);
    await alice.api.query('checkBlocks', { dids: [bob.did, carol.did] });
  });

  it('have a line for each of these requests', () => {
    const lines = world.server.log.split('\n').filter((line) => line.includes('getConvos'));
    assert.ok(lines.length >= 7, `${lines.length} lines about getConvos:\n${world.server.log.slice(0, 4000)}`);
    assert.ok(world.server.log.split('\n').length > requests);
    assert.ok(world.canary.size > 100);
  });
});
