/**
 * Tells the story in the terminal: mls-server demo runs this, with DATABASE_URL and MLS_SERVER_BIN.
 */
import { World } from '../lib/world.mjs';
import { Story } from './story.mjs';
import { Teller, wantsColour } from './teller.mjs';

/** @type {World | undefined} */
let world;
let ending = false;

for (const [signal, code] of /** @type {const} */ ([['SIGINT', 130], ['SIGTERM', 143], ['SIGHUP', 129]])) {
  process.once(signal, async () => {
    ending = true;
    if (terminal) process.stdout.write('\r\x1b[K');
    await world?.server.kill(); // the database goes with whoever started this
    process.exit(code);
  });
}
// Whoever reads the story may stop doing so.
process.stdout.on('error', () => process.exit(0));

const terminal = process.stdout.isTTY === true && process.env.TERM !== 'dumb';
const teller = new Teller((text) => process.stdout.write(text), { terminal, colour: wantsColour(terminal, process.env) });

try {
  world = await teller.waitFor('starting a server', World.start());
  try {
    teller.line(teller.paint('bold', 'Three people, three phones, and one server that knows as little as it can'));
    teller.line(teller.paint('dim', 'The phones are MLS clients on ts-mls. The server is this program, on a database of its own.'));
    await new Story(teller, world).tell();
  } finally {
    await teller.waitFor('stopping the server, and searching its log and metrics', world.stop());
  }
  teller.line();
  teller.line(teller.paint('dim', 'All of this was checked as it was told.'));
} catch (error) {
  if (!ending) {
    console.error(error);
    process.exit(1);
  }
}
