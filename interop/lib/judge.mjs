/**
 * Says of key packages whether ts-mls can add their owners, and makes some: a line of JSON for each.
 *
 * {"key_package": hex} is answered with {"ts-mls": null} or {"ts-mls": reason}; {"suite": name} with {"key_package": hex}.
 */
import { createInterface } from 'node:readline';
import {
  acceptAll,
  createCommit,
  createGroup,
  decodeMlsMessage,
  defaultCapabilities,
  emptyPskIndex,
  encodeMlsMessage,
  generateKeyPackage,
  getCiphersuiteFromName,
  getCiphersuiteImpl,
} from 'ts-mls';

const hex = (b) => Buffer.from(b).toString('hex');
const lifetime = () => {
  const now = BigInt(Math.floor(Date.now() / 1000));
  return { notBefore: now - 3600n, notAfter: now + 28n * 86400n };
};
const generate = async (name, identity) => {
  const suite = await getCiphersuiteImpl(getCiphersuiteFromName(name));
  const credential = { credentialType: 'basic', identity: new TextEncoder().encode(identity) };
  return { suite, ...(await generateKeyPackage(credential, defaultCapabilities(), lifetime(), [], suite)) };
};

/** The groups of an adder, by suite. */
const groups = new Map();

async function groupOf(name) {
  if (!groups.has(name)) {
    const { suite, publicPackage, privatePackage } = await generate(name, 'did:plc:bbbbbbbbbbbbbbbbbbbbbbbb');
    groups.set(name, { suite, state: await createGroup(new Uint8Array(16), publicPackage, privatePackage, [], suite) });
  }
  return groups.get(name);
}

async function judge(bytes) {
  const [message, read] = decodeMlsMessage(bytes, 0) ?? [];
  if (message?.wireformat !== 'mls_key_package' || read !== bytes.length) return 'it is no key package';
  const { keyPackage } = message;
  const { suite, state } = await groupOf(keyPackage.cipherSuite);
  const { welcome } = await createCommit(
    { state, cipherSuite: suite, pskIndex: emptyPskIndex, ...acceptAll },
    { extraProposals: [{ proposalType: 'add', add: { keyPackage } }], ratchetTreeExtension: true },
  );
  return welcome === undefined ? 'there is no Welcome' : null;
}

async function answer({ key_package: text, suite }) {
  if (suite !== undefined) {
    const { publicPackage } = await generate(suite, 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa');
    return { key_package: hex(encodeMlsMessage({ version: 'mls10', wireformat: 'mls_key_package', keyPackage: publicPackage })) };
  }
  try {
    return { 'ts-mls': await judge(Uint8Array.from(Buffer.from(text, 'hex'))) };
  } catch (error) {
    return { 'ts-mls': error.message };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await answer(JSON.parse(line)).catch((error) => ({ error: error.message }))));
}
