// Signs up, confirms the address and agrees, with the keyboard alone in a
// browser that runs no script. Prints what went wrong.
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const { authorize, callback, code, email, password } = JSON.parse(readFileSync(0, "utf8"));
const problems = [];
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: process.env.CHROMIUM_FLAGS.split(" ") });
const page = await (await browser.newContext({ javaScriptEnabled: false })).newPage();
page.setDefaultTimeout(60_000);

// reach presses Tab until what is meant has the focus.
async function reach(selector) {
  for (let n = 0; n < 30; n++) {
    if (await page.locator(`${selector}:focus`).count()) return;
    await page.keyboard.press("Tab");
  }
  throw new Error(`the keyboard does not reach ${selector} at ${page.url()}`);
}

// at waits for a page and says when its first field has no focus.
async function at(path, first) {
  await page.waitForURL((u) => u.pathname.endsWith(path));
  if (first && !(await page.locator(`${first}:focus`).count())) problems.push(`${path}: ${first} does not have the focus`);
  if (await page.locator("form[data-passkey]:visible").count()) problems.push(`${path}: offers a passkey, which needs the script`);
}

await page.goto(authorize);
await at("/login", "input[name=identifier]");
await page.keyboard.type(email);
await page.keyboard.press("Enter");
await at("/login/signup", "input[name=password]");
await page.keyboard.type(password);
await page.keyboard.press("Enter");
await at("/login/verify-email", "input[name=code]");
await page.keyboard.type(await (await fetch(code)).text());
await page.keyboard.press("Enter");
await at("/login/consent");
if (await page.locator("form:has(input[name=action][value=deny]) button[type=submit]").count() !== 1) problems.push("there is no way to deny");
await reach("form:has(input[name=action][value=approve]) button[type=submit]");
await page.keyboard.press("Enter");
await page.waitForURL((u) => u.href.startsWith(callback));
if (!new URL(page.url()).searchParams.get("code")) problems.push(`no code: ${page.url()}`);

await browser.close();
console.log(JSON.stringify(problems));
