// Two people chat: with mls-server-client.
import { AtpAgent } from '@atproto/api';
import {
  Client, directAgent, follow, fromBase64, mls, outgoing, proxyAgent, sealed, sendKey, serviceAuth, toBase64, unpad, uuid,
} from 'mls-server-client';
import { Device, Group, SUITE } from './mls.mjs';

const { PDS = 'http://localhost:2583', SERVER = 'http://localhost:3000', PASSWORD = 'correct-horse-battery' } = process.env;
const { DID = 'did:web:localhost%3A3000', ALICE = 'alice.test', BOB = 'bob.test' } = process.env;
const SERVICE = `${DID}#atproto_mls`;

// Identity: sign in at the PDS. Calls go through it, streams go to the service itself with tokens that it makes.
async function signIn(identifier) {
  const session = new AtpAgent({ service: PDS });
  await session.login({ identifier, password: PASSWORD });
  const did = session.did;
  const streams = directAgent({ url: SERVER, did, token: serviceAuth(session, SERVICE) });
  return { did, client: new Client(proxyAgent(session, SERVICE)), streams, device: await Device.create(did), own: new Set() };
}

// First start: register the device with its key packages, one of them of last resort.
async function register({ client, device }) {
  const keyPackages = [];
  for (let i = 0; i < 5; i++) keyPackages.push({ keyPackage: toBase64(await device.keyPackage(i === 4)), cipherSuite: SUITE });
  await client.call(mls.registerDevice, { deviceName: 'laptop', deviceId: device.id, signaturePublicKey: device.key.publicKey, keyPackages });
}

const [alice, bob] = [await signIn(ALICE), await signIn(BOB)];
await register(alice);
await register(bob);

// Alice begins a conversation: she claims a key package of each of Bob's devices and adds them to a new group.
const claimed = await alice.client.call(mls.getKeyPackages, { dids: [bob.did], cipherSuite: SUITE });
const hers = await Group.create(alice.device);
const added = await hers.add(claimed.keyPackages.map(({ keyPackage }) => fromBase64(keyPackage)));
const convo = await alice.client.call(mls.createConvo, {
  groupId: hers.id, cipherSuite: SUITE, idempotencyKey: uuid(),
  initialMembers: [bob.did], welcomeMessage: toBase64(added.welcome), currentEpoch: added.epoch,
  keyPackageHashes: claimed.keyPackages.map(({ did, keyPackageHash }) => ({ did, hash: keyPackageHash })),
});
added.adopt();

// Bob finds it. Whoever shares no conversation with Alice yet is invited, and accepts first.
const { conversations } = await bob.client.call(mls.getConvos, {});
const found = conversations.find(({ id }) => id === convo.id);
console.log(`bob is ${found.state} in a conversation of ${found.creator}`);
if (found.state === 'invited') await bob.client.call(mls.acceptConvo, { convoId: convo.id });
const { welcome } = await bob.client.call(mls.getWelcome, { convoId: convo.id, deviceId: bob.device.id });
const his = await Group.join(bob.device, fromBase64(welcome));
await bob.client.call(mls.confirmWelcome, { convoId: convo.id, deviceId: bob.device.id, success: true });

// Both follow their streams. One's own messages cannot be decrypted: they are known by their ids.
const stop = new AbortController();
async function listen(name, person, group) {
  for await (const item of follow(person.streams, { convoId: convo.id, signal: stop.signal })) {
    if (item.type === 'open') person.opened();
    if (item.type !== 'event' || !item.event.$type.endsWith('#messageEvent')) continue;
    const { message } = item.event;
    if (person.own.has(message.id)) continue;
    const text = await group.open(unpad(message.ciphertext));
    if (text === undefined) continue; // a commit
    console.log(`${name} reads: ${text}`);
    person.heard();
  }
}
const when = (person, what) => new Promise((resolve) => (person[what] = resolve));
const opened = [when(alice, 'opened'), when(bob, 'opened')];
const listening = [listen('alice', alice, hers), listen('bob', bob, his)];
await Promise.all(opened);

// Messages: padded to a bucket, under a random id, in the epoch of the group.
async function say(text, from, group, to) {
  const message = outgoing(convo.id, group.epoch, await group.seal(text));
  from.own.add(message.msgId);
  const heard = when(to, 'heard');
  await from.client.call(mls.sendMessage, message);
  await heard;
}
await say('hello bob', alice, hers, bob);
await say('hello alice', bob, his, alice);

// A sealed message does not say by whom it is. Somebody has given the send key of the epoch before, at a moment of no message.
await bob.client.call(mls.depositSendKey, { convoId: convo.id, epoch: his.epoch, sendKey: await sendKey(his.exporter) });
const nobody = new Client(directAgent({ url: SERVER }));
const message = await sealed(await sendKey(hers.exporter), convo.id, hers.epoch, await hers.seal('guess who'));
alice.own.add(message.msgId);
const guessed = when(bob, 'heard');
await nobody.call(mls.sendSealed, message);
await guessed;
stop.abort();
await Promise.all(listening);
