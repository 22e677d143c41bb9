// Two people chat: with @atproto/api alone.
import { readdirSync, readFileSync } from 'node:fs';
import { AtpAgent } from '@atproto/api';
import { Device, Group, SUITE } from './mls.mjs';

const { PDS = 'http://localhost:2583', PASSWORD = 'correct-horse-battery', LEXICONS } = process.env;
const { DID = 'did:web:localhost%3A3000', ALICE = 'alice.test', BOB = 'bob.test' } = process.env;
const lexicons = readdirSync(LEXICONS, { recursive: true }).filter((name) => name.endsWith('.json'));
const base64 = (bytes) => Buffer.from(bytes).toString('base64');
const bytes = (text) => new Uint8Array(Buffer.from(text, 'base64'));

// Identity: sign in at the PDS; withProxy names the service for every call.
async function signIn(identifier) {
  const session = new AtpAgent({ service: PDS });
  await session.login({ identifier, password: PASSWORD });
  const agent = session.withProxy('atproto_mls', DID);
  for (const name of lexicons) agent.lex.add(JSON.parse(readFileSync(`${LEXICONS}/${name}`, 'utf8')));
  const get = async (method, params) => (await agent.call(`blue.catbird.mls.${method}`, params)).data;
  const post = async (method, input) => (await agent.call(`blue.catbird.mls.${method}`, {}, input, { encoding: 'application/json' })).data;
  return { did: session.did, get, post, device: await Device.create(session.did), own: new Set() };
}

async function register({ post, device }) {
  const keyPackages = [];
  for (let i = 0; i < 5; i++) keyPackages.push({ keyPackage: base64(await device.keyPackage(i === 4)), cipherSuite: SUITE });
  await post('registerDevice', { deviceName: 'laptop', deviceId: device.id, signaturePublicKey: device.key.publicKey, keyPackages });
}

const [alice, bob] = [await signIn(ALICE), await signIn(BOB)];
await register(alice);
await register(bob);

const claimed = await alice.get('getKeyPackages', { dids: [bob.did], cipherSuite: SUITE });
const hers = await Group.create(alice.device);
const added = await hers.add(claimed.keyPackages.map(({ keyPackage }) => bytes(keyPackage)));
const convo = await alice.post('createConvo', {
  groupId: hers.id, cipherSuite: SUITE, idempotencyKey: crypto.randomUUID(),
  initialMembers: [bob.did], welcomeMessage: base64(added.welcome), currentEpoch: added.epoch,
  keyPackageHashes: claimed.keyPackages.map(({ did, keyPackageHash }) => ({ did, hash: keyPackageHash })),
});
added.adopt();

const { conversations } = await bob.get('getConvos', {});
const found = conversations.find(({ id }) => id === convo.id);
console.log(`bob is ${found.state} in a conversation of ${found.creator}`);
if (found.state === 'invited') await bob.post('acceptConvo', { convoId: convo.id });
const { welcome } = await bob.get('getWelcome', { convoId: convo.id, deviceId: bob.device.id });
const his = await Group.join(bob.device, bytes(welcome));
await bob.post('confirmWelcome', { convoId: convo.id, deviceId: bob.device.id, success: true });

// Padding: zeros up to 512, 1024, 2048, 4096, 8192 or a multiple of 8192 bytes. ts-mls reads on to the message's end.
function pad(message) {
  const size = [512, 1024, 2048, 4096, 8192].find((n) => message.length <= n) ?? Math.ceil(message.length / 8192) * 8192;
  const padded = new Uint8Array(size);
  padded.set(message);
  return padded;
}

async function say(text, from, group) {
  const ciphertext = pad(await group.seal(text));
  const msgId = crypto.randomUUID();
  from.own.add(msgId);
  await from.post('sendMessage', { convoId: convo.id, msgId, idempotencyKey: msgId, ciphertext, paddedSize: ciphertext.length, epoch: group.epoch });
}

// Without a stream one asks for what is new. sinceMessage is the last message that was read; one's own cannot be decrypted.
async function read(name, person, group) {
  const since = person.last === undefined ? {} : { sinceMessage: person.last };
  const { messages } = await person.get('getMessages', { convoId: convo.id, ...since });
  for (const { id, ciphertext } of messages) {
    person.last = id;
    if (person.own.has(id)) continue;
    const text = await group.open(ciphertext);
    if (text !== undefined) console.log(`${name} reads: ${text}`);
  }
}
await say('hello bob', alice, hers);
await read('bob', bob, his);
await say('hello alice', bob, his);
await read('alice', alice, hers);
