// What the scripts of clients begin with: their input, and a person with a
// browser. It stands before each of them.
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { chromium } from "playwright-core";

const input = JSON.parse(readFileSync(0, "utf8"));
const problems = [];
const expect = (what, holds) => { if (!holds) problems.push(what); };
// refused waits for a refusal and returns it.
const refused = async (what, promise) => {
  try {
    await promise;
  } catch (e) {
    return e;
  }
  problems.push(`${what}: works`);
  return {};
};

let browser, page; // from the first visit on
let typed = 0; // passwords
let agreed = 0; // consent pages

// The client waits at a port of this machine that is free (RFC 8252 §7.3).
const site = createServer((_, answer) => answer.setHeader("Content-Type", "text/html").end("<!doctype html><title>client</title><p>client"));
await new Promise((listening) => site.listen(0, "127.0.0.1", listening));
const callback = `http://127.0.0.1:${site.address().port}/callback`;

// mailedCode returns the code of the newest mail that has one.
async function mailedCode() {
  for (let n = 0; n < 600; n++) {
    const mails = existsSync(input.outbox) ? readdirSync(input.outbox).filter((name) => name.endsWith(".eml")) : [];
    for (const name of mails.sort().reverse()) {
      const code = readFileSync(join(input.outbox, name), "utf8").match(/^(\d{8})\r?$/m);
      if (code) return code[1];
    }
    await new Promise((later) => setTimeout(later, 50));
  }
  throw new Error("no mail has come");
}

// submit presses the button of the form that a field is in, and waits until the
// browser is elsewhere.
async function submit(field) {
  const from = page.url();
  await page.click(`form:has(${field}) button[type=submit]`);
  await page.waitForURL((to) => to.href !== from);
}

// visit sends the browser to an address, has the person do what the pages there
// ask for, and returns where they are sent in the end.
async function visit(address, answer = "approve") {
  if (!browser) {
    browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: process.env.CHROMIUM_FLAGS.split(" ") });
    page = await (await browser.newContext()).newPage();
    page.setDefaultTimeout(60_000);
  }
  await page.goto(String(address));
  for (let n = 0; n < 12; n++) {
    const at = new URL(page.url());
    if ([callback, input.bye].some((end) => end && at.origin === new URL(end).origin)) return at;
    switch (at.pathname.split("/").pop()) {
      case "login":
        await page.fill("input[name=identifier]", input.email);
        await submit("input[name=identifier]");
        break;
      case "signup":
      case "password":
        typed++;
        await page.fill("input[name=password]", input.password);
        await submit("input[name=password]");
        break;
      case "verify-email":
        await page.fill("input[name=code]", await mailedCode());
        await submit("input[name=code]");
        break;
      case "consent":
        agreed++;
        await submit(`input[name=action][value=${answer}]`);
        break;
      default:
        throw new Error(`the person is at ${at}: ${await page.textContent("main")}`);
    }
  }
  throw new Error(`the pages do not end: ${page.url()}`);
}

// leave ends the script with what there is to say beside the problems.
async function leave(more = {}) {
  await browser?.close();
  site.close();
  site.closeAllConnections();
  console.log(JSON.stringify({ problems, ...more }));
}
