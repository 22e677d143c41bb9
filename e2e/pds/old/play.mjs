// A PLC directory and a PDS with the accounts alice.test and bob.test, for whoever has no accounts
// to try a client with. make pds runs it beside make run. Everything is gone when it ends.
import { TestNetworkNoAppView } from "@atproto/dev-env";

const PLC = 2582;
const PDS = 2583;
const PASSWORD = "correct-horse-battery";

const network = await TestNetworkNoAppView.create({ plc: { port: PLC }, pds: { port: PDS, hostname: "localhost" } });
const accounts = [];
for (const name of ["alice", "bob"]) {
  const { data } = await network.pds.getClient().com.atproto.server.createAccount({
    handle: `${name}.test`, email: `${name}@mail.test`, password: PASSWORD,
  });
  accounts.push(`  ${data.handle}  ${data.did}`);
}
console.log(`
A PDS is up at http://localhost:${PDS}. Its accounts have the password ${PASSWORD}:

${accounts.join("\n")}

Run the service beside it:

  PLC_URL=http://localhost:${PLC} APPVIEW_URL=none EGRESS_ALLOW=localhost:${PLC},localhost:${PDS} make run
`);
