// A real browser for tests. Each line of its input is { page, script, args }: a page to open, a
// function in text to run in it, and its argument. Each line of its output answers one, in order:
// { value } or { error }. It ends with its input.
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";
import { executablePath } from "./chromium.mjs";

const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const patience = 60_000;

const browser = await chromium.launch({ executablePath, args: ["--disable-dev-shm-usage"] });
say({ version: browser.version() });
for await (const line of createInterface({ input: process.stdin })) {
  const { page, script, args } = JSON.parse(line);
  const context = await browser.newContext();
  try {
    const tab = await context.newPage();
    await tab.goto(page);
    const late = new Promise((_, reject) => setTimeout(() => reject(new Error("the page takes longer than a minute")), patience).unref());
    say({ value: await Promise.race([tab.evaluate(`(${script})(${JSON.stringify(args)})`), late]) });
  } catch (error) {
    say({ error: String(error) });
  } finally {
    await context.close();
  }
}
await browser.close();
