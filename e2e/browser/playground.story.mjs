// The playground in a real browser: the whole story, on a server of its own, with pictures of its steps in PICTURES. UPDATE=1
// takes the picture of the README anew.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { Directory } from "../lib/plc.mjs";
import { Server } from "../lib/server.mjs";
import { executablePath } from "./chromium.mjs";

const PICTURES = process.env.PICTURES ?? fileURLToPath(new URL("../../.tmp/playground/", import.meta.url));
const README = fileURLToPath(new URL("../../docs/img/playground.png", import.meta.url));
const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const PATIENCE = 20_000;

describe("playground", () => {
  let directory, server, browser, context, page;
  /** What the page asked for elsewhere, and what it complained about. */
  const strangers = [];
  const complaints = [];

  const pane = (title) => page.getByRole("region", { name: title, exact: true });
  const press = (title, name) => pane(title).getByRole("button", { name, exact: true }).click({ timeout: PATIENCE });
  const shows = (title, text) => pane(title).getByText(text).last().waitFor({ timeout: PATIENCE });
  const state = (title, text) => pane(title).locator(".state", { hasText: new RegExp(`^${text}$`) }).waitFor({ timeout: PATIENCE });
  const sees = (text) => page.getByRole("complementary").getByText(text).first().waitFor({ timeout: PATIENCE });
  const say = async (title, text) => {
    await pane(title).getByRole("textbox").fill(text);
    // Nobody presses Enter before the page has seen the text.
    await pane(title).locator("button:enabled", { hasText: /^Send$/ }).waitFor({ timeout: PATIENCE });
    await pane(title).getByRole("textbox").press("Enter");
  };
  const picture = (name) => page.screenshot({ path: join(PICTURES, `${name}.png`), fullPage: true });
  // What is serious for people who do not see well, or use no mouse.
  const accessible = async () => {
    await page.evaluate(AXE);
    const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
    const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
    assert.deepEqual(serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ").slice(0, 300)}`), []);
  };

  // Each step goes on where the one before it left off.
  let broken = false;
  const step = (name, play) =>
    it(name, async () => {
      assert.ok(!broken, "a step before this one failed");
      broken = true;
      try {
        await play();
        broken = false;
      } finally {
        if (broken) await picture("failed");
      }
    });

  before(async () => {
    await mkdir(PICTURES, { recursive: true });
    directory = await Directory.start();
    server = await Server.start(directory, { APPVIEW_URL: "none" });
    browser = await chromium.launch({ executablePath, args: ["--disable-dev-shm-usage"] });
    // What has just changed is lit up for a moment, in which its contrast is less.
    context = await browser.newContext({ reducedMotion: "reduce", viewport: { width: 1440, height: 900 }, colorScheme: "light" });
    page = watch(await context.newPage());
  });
  const watch = (page) => {
    page.on("request", (request) => {
      const { origin, protocol } = new URL(request.url());
      if (origin !== url().origin && protocol !== "data:") strangers.push(request.url());
    });
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("console", (message) => {
      // A refusal of the service is told in the console, too.
      if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) complaints.push(message.text());
    });
    return page;
  };
  const url = () => new URL(server.url.replace("127.0.0.1", "localhost"));
  after(async () => {
    await browser?.close();
    await server?.kill();
    await directory?.stop();
  });

  step("begins with two people, whose documents the server publishes", async () => {
    await page.goto(url().href);
    await state("Alice’s phone", "not in a group");
    await state("Bob’s phone", "not in a group");
    await accessible();
    await picture("1-begin");
    const did = await pane("Bob’s phone").getByRole("heading").getAttribute("title");
    const host = decodeURIComponent(did.slice("did:web:".length));
    const document = await page.request.get(`${url().origin}/.well-known/did.json`, { headers: { host } });
    assert.equal((await document.json()).id, did);
  });

  step("lets them talk, and shows what the server has of it", async () => {
    await press("Alice’s phone", "Begin a conversation");
    await press("Alice’s phone", "Add Bob");
    await press("Bob’s phone", "Accept");
    await state("Bob’s phone", "epoch 1");
    await say("Alice’s phone", "Dinner on Friday?");
    await shows("Bob’s phone", "Dinner on Friday?");
    await say("Bob’s phone", "Yes! At eight, the usual place.");
    await shows("Alice’s phone", "Yes! At eight, the usual place.");
    const log = page.getByRole("region", { name: "The log" });
    await log.getByText("null").nth(2).waitFor({ timeout: PATIENCE });
    assert.deepEqual(await log.locator("tbody tr td:nth-child(2)").allTextContents(), ["text", "text", "commit"]);
    assert.deepEqual(await log.locator("tbody tr td:nth-child(6)").allTextContents(), ["null", "null", "null"]);
    const seen = await page.getByRole("complementary").textContent();
    assert.ok(!seen.includes("Friday") && !seen.includes("usual place"));
    await accessible();
    await picture("2-talk");
  });

  step("brings in a third person and a second device", async () => {
    await page.getByRole("button", { name: "Bring in Carol" }).click();
    await press("Bob’s phone", "Add Carol").catch(() => press("Alice’s phone", "Add Carol"));
    await press("Carol’s phone", "Accept");
    await state("Carol’s phone", "epoch 2");
    await press("Alice’s phone", "Second device");
    await press("Alice’s laptop", "Join with the phone’s word");
    await state("Alice’s laptop", "epoch 3");
    await say("Alice’s laptop", "From my laptop");
    for (const title of ["Alice’s phone", "Bob’s phone", "Carol’s phone"]) await shows(title, "From my laptop");
    await accessible();
    await picture("3-four");
  });

  step("sends sealed, by requests that name nobody", async () => {
    await pane("Bob’s phone").getByLabel("Sealed sends").check();
    await say("Bob’s phone", "Guess who");
    await shows("Carol’s phone", "Guess who");
    await page.getByRole("log", { name: "What it was asked" }).getByText("nobody sendSealed").waitFor({ timeout: PATIENCE });
    await pane("Bob’s phone").getByLabel("Sealed sends").uncheck();
  });

  step("survives a reload with its keys", async () => {
    await page.reload();
    for (const title of ["Alice’s phone", "Bob’s phone", "Carol’s phone", "Alice’s laptop"]) await state(title, "epoch 3");
    await say("Bob’s phone", "Still here");
    await shows("Carol’s phone", "Still here");
  });

  step("lets a device lose its state and come back", async () => {
    await press("Bob’s phone", "Lose state");
    await state("Bob’s phone", "no keys");
    await picture("4-lost");
    await press("Bob’s phone", "Come back");
    await state("Bob’s phone", "epoch 4");
    await state("Alice’s phone", "epoch 4");
    await say("Bob’s phone", "Here again");
    await shows("Alice’s laptop", "Here again");
  });

  step("takes a garbage commit back by the word of the others", async () => {
    await pane("Carol’s phone").getByLabel("Evil").check();
    await press("Carol’s phone", "Commit in an old epoch");
    await sees("EpochMismatch");
    await press("Carol’s phone", "Send without padding");
    await sees("InvalidAsset");
    await press("Carol’s phone", "Commit garbage");
    for (const title of ["Alice’s phone", "Alice’s laptop", "Bob’s phone"]) await pane(title).getByRole("alert").waitFor({ timeout: PATIENCE });
    await accessible();
    await picture("5-garbage");
    await press("Alice’s phone", "Say so");
    await press("Bob’s phone", "Say so");
    await sees("taken back");
    await state("Bob’s phone", "epoch 4");
    await say("Alice’s phone", "That was odd. All well?");
    await shows("Bob’s phone", "That was odd. All well?");
  });

  step("removes a member, who reads no further", async () => {
    await press("Alice’s phone", "Remove Carol");
    await state("Carol’s phone", "removed");
    await state("Bob’s phone", "epoch 5");
    await say("Bob’s phone", "Just us now");
    await shows("Alice’s laptop", "Just us now");
    assert.ok(!(await pane("Carol’s phone").textContent()).includes("Just us now"));
    await accessible();
    await picture("6-removed");
    await page.evaluate(() => scrollTo(0, 0));
    if (process.env.UPDATE) await page.screenshot({ path: README });
  });

  step("adds it again, as somebody who knows nothing of what was said meanwhile", async () => {
    await press("Alice’s phone", "Add Carol");
    await press("Carol’s phone", "Accept");
    await state("Carol’s phone", "epoch 6");
    await say("Alice’s phone", "Be good");
    await shows("Carol’s phone", "Be good");
    assert.ok(!(await pane("Carol’s phone").textContent()).includes("Just us now"));
  });

  step("is as good in the dark, and narrow, by keyboard alone", async () => {
    await page.emulateMedia({ colorScheme: "dark" });
    await accessible();
    await picture("7-dark");
    await page.setViewportSize({ width: 390, height: 844 });
    await accessible();
    await picture("8-narrow");
    const width = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(width[0] <= width[1], `the page is ${width[0]} wide in ${width[1]}`);
    await page.getByRole("region", { name: "Bob’s phone" }).getByRole("textbox").focus();
    await page.keyboard.type("By keyboard");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await shows("Alice’s phone", "By keyboard");
  });

  step("shows a commit that is refused where the server follows the group", async () => {
    const alone = await browser.newContext();
    page = watch(await alone.newPage());
    await page.goto(url().href);
    await pane("Alice’s phone").getByLabel("The server follows the group").check();
    await press("Alice’s phone", "Begin a conversation");
    await press("Alice’s phone", "Add Bob");
    await press("Bob’s phone", "Accept");
    await state("Bob’s phone", "epoch 1");
    await pane("Bob’s phone").getByLabel("Evil").check();
    await press("Bob’s phone", "Commit garbage");
    await sees("InvalidCommit");
    await state("Alice’s phone", "epoch 1");
    assert.equal(await pane("Alice’s phone").getByRole("alert").count(), 0);
    await pane("Bob’s phone").getByLabel("Sealed sends").check();
    await say("Bob’s phone", "Well, then");
    await shows("Alice’s phone", "Well, then");
    await alone.close();
  });

  step("asked nobody else for anything, and complained about nothing", () => {
    assert.deepEqual(strangers, []);
    assert.deepEqual(complaints, []);
  });
});
