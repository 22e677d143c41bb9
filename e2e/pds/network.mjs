// A real PLC directory and a real PDS, with what stands in for a relay: a Jetstream that tells what
// the PDS says on its firehose, in Jetstream's format. It serves until its input ends.
//
// It speaks in lines of JSON. The first line of its output says where everything is. Each line of
// its input is a question { service: endpoint, id }, which is answered by { did }: the did:plc of
// a new service with that endpoint; or { lexicons: did }, which is answered by { did }, too: from
// then on the PDS takes lexicons from that account's repository, whatever DNS says.
import { createInterface } from "node:readline";

const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");

/**
 * Runs the network by the packages of the folder that asks for it.
 * @param {Record<string, any>} packages
 */
export async function run(packages) {
  const { TestNetworkNoAppView } = packages.devEnv;
  // What the PDS writes to its output is none of our lines.
  const network = await TestNetworkNoAppView.create({ pds: { hostname: "localhost" } });
  const jetstream = await startJetstream(packages, network);
  say({ plc: network.plc.url, pds: network.pds.url, jetstream: jetstream.url, admin: network.pds.adminAuth() });
  for await (const line of createInterface({ input: process.stdin })) {
    const { service, id, lexicons } = JSON.parse(line);
    if (lexicons) network.pds.ctx.cfg.lexicon.didAuthority = lexicons;
    say({ did: lexicons ?? (await publish(packages, network.plc.url, service, id)) });
  }
  process.exit(0);
}

/** Publishes the did:plc of a service, and returns it. */
async function publish({ crypto, plc }, directory, endpoint, id) {
  const key = await crypto.Secp256k1Keypair.create();
  const operation = await plc.signOperation({
    type: "plc_operation", alsoKnownAs: [], rotationKeys: [key.did()], verificationMethods: { atproto: key.did() },
    services: { [id]: { type: "AtprotoMlsDeliveryService", endpoint } }, prev: null,
  }, key);
  const did = await plc.didForCreateOp(operation);
  await new plc.Client(directory).sendOperation(did, operation);
  return did;
}

/** A Jetstream that keeps all it has told, for those who come later. */
async function startJetstream({ identity, sync, ws }, network) {
  const told = [];
  const server = new ws.WebSocketServer({ host: "127.0.0.1", port: 0 });
  await new Promise((resolve) => server.once("listening", resolve));
  server.on("connection", (socket, request) => {
    const query = new URL(request.url, "ws://jetstream").searchParams;
    const collections = query.getAll("wantedCollections");
    const dids = query.getAll("wantedDids");
    const since = Number(query.get("cursor") ?? Infinity);
    socket.wants = (event) => (dids.length === 0 || dids.includes(event.did)) &&
      (!event.commit || collections.length === 0 || collections.includes(event.commit.collection));
    for (const event of told) if (event.time_us >= since && socket.wants(event)) socket.send(JSON.stringify(event));
  });
  const tell = (event) => {
    told.push(event);
    for (const socket of server.clients) if (socket.wants?.(event)) socket.send(JSON.stringify(event));
  };
  new sync.Firehose({
    service: network.pds.url.replace("http", "ws"),
    idResolver: new identity.IdResolver({ plcUrl: network.plc.url }),
    unauthenticatedCommits: true,
    excludeIdentity: true, // nobody here listens to them
    handleEvent: (event) => { const e = translate(event); if (e) tell(e); },
    onError: (error) => process.stderr.write(`firehose: ${error.message} (${error.cause?.message})\n`),
  }).start();
  return { url: `ws://127.0.0.1:${server.address().port}/subscribe` };
}

/** An event of the firehose as a Jetstream tells it. */
function translate(event) {
  const common = { did: event.did, time_us: Date.now() * 1000 };
  switch (event.event) {
    case "create":
    case "update":
    case "delete": {
      const { rev, collection, rkey } = event;
      const commit = { rev, operation: event.event, collection, rkey };
      if (event.event !== "delete") Object.assign(commit, { record: event.record, cid: event.cid.toString() });
      return { ...common, kind: "commit", commit };
    }
    case "account": {
      const { active, did, seq, time, status } = event;
      return { ...common, kind: "account", account: { active, did, seq, time, ...(status ? { status } : {}) } };
    }
    default:
      return undefined;
  }
}
