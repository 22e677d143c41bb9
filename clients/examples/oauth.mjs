// Signs an account in by OAuth: with mls-server-client and @atproto/oauth-client-node. On Node.js from 22.
import { once } from 'node:events';
import { createServer } from 'node:http';
import { NodeOAuthClient } from '@atproto/oauth-client-node';
import { Client, directAgent, follow, mls, proxyAgent, serviceAuth, toBase64 } from 'mls-server-client';
import { Device, SUITE } from './mls.mjs';

const { PDS = 'http://localhost:2583', PLC = 'https://plc.directory', SERVER = 'http://localhost:3000', HANDLE = 'alice.test' } = process.env;
const { DID = 'did:web:localhost%3A3000' } = process.env;
const SERVICE = `${DID}#atproto_mls`;
const { SCOPE = `atproto rpc:*?aud=${encodeURIComponent(SERVICE)}` } = process.env;

// A client of development: it has no page that describes it, and a server of its own to come back to.
const back = createServer();
back.listen(0, '127.0.0.1');
await once(back, 'listening');
const redirect = `http://127.0.0.1:${back.address().port}/callback`;
function store() {
  const kept = new Map();
  return { get: (key) => kept.get(key), set: (key, value) => void kept.set(key, value), del: (key) => void kept.delete(key) };
}
const oauth = new NodeOAuthClient({
  clientMetadata: {
    client_id: `http://localhost?${new URLSearchParams({ redirect_uri: redirect, scope: SCOPE })}`,
    redirect_uris: [redirect], scope: SCOPE, response_types: ['code'], grant_types: ['authorization_code', 'refresh_token'],
    application_type: 'native', token_endpoint_auth_method: 'none', dpop_bound_access_tokens: true,
  },
  stateStore: store(), sessionStore: store(), // keep both where the system keeps secrets
  handleResolver: PDS, plcDirectoryUrl: PLC, allowHttp: true,
});

console.log(`open ${await oauth.authorize(HANDLE, { scope: SCOPE })}`);
const [request, response] = await once(back, 'request');
response.end('This page may be closed.');
const { session } = await oauth.callback(new URL(request.url, redirect).searchParams);
back.close();
back.closeAllConnections();

// From here on it is as with any session: calls through the PDS, a stream by tokens that the PDS makes.
const client = new Client(proxyAgent(session, SERVICE));
const device = await Device.create(session.did);
const keyPackages = [{ keyPackage: toBase64(await device.keyPackage(true)), cipherSuite: SUITE }];
await client.call(mls.registerDevice, { deviceName: 'laptop', deviceId: device.id, signaturePublicKey: device.key.publicKey, keyPackages });
const { devices } = await client.call(mls.listDevices, {});
console.log(`${session.did} has a device: ${devices.some(({ deviceId }) => deviceId === device.id)}`);
const streams = directAgent({ url: SERVER, did: session.did, token: serviceAuth(session, SERVICE) });
for await (const item of follow(streams)) {
  if (item.type === 'open') break;
}
console.log('the stream is open');
