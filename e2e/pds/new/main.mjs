import * as devEnv from "@atproto/dev-env";
import * as crypto from "@atproto/crypto";
import * as identity from "@atproto/identity";
import * as sync from "@atproto/sync";
import plc from "@did-plc/lib";
import * as ws from "ws";
import { run } from "../network.mjs";

await run({ devEnv, crypto, identity, sync, plc, ws });
