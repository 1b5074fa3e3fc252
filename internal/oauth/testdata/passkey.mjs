// Adds a passkey on the account page and signs in with it, with an
// authenticator that the browser makes up. Prints what went wrong.
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const { authorize, account, callback, elsewhere, email, password, somebody } = JSON.parse(readFileSync(0, "utf8"));
const problems = [];
const expect = (what, holds) => { if (!holds) problems.push(`${what} (at ${page.url()})`); };

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: process.env.CHROMIUM_FLAGS.split(" ") });
const context = await browser.newContext();
context.setDefaultTimeout(60_000);
const page = await context.newPage();
page.on("pageerror", (e) => problems.push(`script: ${e}`));
const protocol = await context.newCDPSession(page);
await protocol.send("WebAuthn.enable");
const { authenticatorId } = await protocol.send("WebAuthn.addVirtualAuthenticator", {
  options: { protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true },
});
const held = async () => (await protocol.send("WebAuthn.getCredentials", { authenticatorId })).credentials;
const usePasskey = () => page.locator("form[data-passkey=get] button").click();
const back = () => page.waitForURL((u) => u.href.startsWith(callback));
const refused = () => page.locator("form[data-passkey=get]").locator("xpath=preceding::p[@id='problem']").waitFor();

// With the password first, to add a passkey.
await page.goto(authorize);
await page.fill("input[name=identifier]", email);
await page.click("form[action$='/login'] button[type=submit]");
await page.fill("input[name=password]", password);
await page.click("form[action$='/login/password'] button[type=submit]");
await back();
await page.goto(account);
await page.click("a[href$='/account/passkeys']");
await page.fill("input[name=name]", "The key of the mill");
await page.click("form[data-passkey=create] button");
await page.waitForURL(/done=passkey/);
expect("the account page does not list the passkey", (await page.content()).includes("The key of the mill"));
const [key] = await held();
expect("the authenticator has no passkey of this host", key && key.rpId === "localhost" && key.isResidentCredential);

// It is not added twice to one authenticator.
await page.click("a[href$='/account/passkeys']");
await page.click("form[data-passkey=create] button");
await page.locator("[data-failed]:visible").waitFor();
expect("the authenticator has two passkeys", (await held()).length === 1);

// Signing in with it.
await context.clearCookies();
await page.goto(authorize);
await usePasskey();
await back();
expect("there is no code", new URL(page.url()).searchParams.get("code"));

// Whoever holds the device but is not its owner.
await context.clearCookies();
await protocol.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: false });
await page.goto(authorize);
await usePasskey();
await page.locator("[data-failed]:visible").waitFor();
await protocol.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: true });

// Somebody else's name on the key.
const swap = async (change) => {
  const [now] = await held();
  await protocol.send("WebAuthn.removeCredential", { authenticatorId, credentialId: now.credentialId });
  await protocol.send("WebAuthn.addCredential", { authenticatorId, credential: { ...now, ...change } });
};
const own = (await held())[0].userHandle;
await swap({ userHandle: Buffer.from(somebody).toString("base64") });
await page.goto(authorize);
await usePasskey();
await refused();
await swap({ userHandle: own });

// A site at another port, which browsers take for the same relying party, asks
// for the answer to our challenge and hands it in.
await page.goto(authorize);
const options = await page.getAttribute("form[data-passkey=get]", "data-options");
const login = page.url();
await page.goto(elsewhere);
const stolen = await page.evaluate(async (text) => {
  const bytes = (t) => Uint8Array.from(atob(t.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const publicKey = JSON.parse(text).publicKey;
  publicKey.challenge = bytes(publicKey.challenge);
  return JSON.stringify((await navigator.credentials.get({ publicKey })).toJSON());
}, options);
await page.goto(login);
expect("the challenge is another one now", options === await page.getAttribute("form[data-passkey=get]", "data-options"));
const handIn = (answer) => page.evaluate((credential) => {
  const form = document.querySelector("form[data-passkey=get]");
  form.elements.namedItem("credential").value = credential;
  form.submit();
}, answer);
await handIn(stolen);
await refused();

// An answer is good once: what signs in here does not do so again.
const [request] = await Promise.all([
  page.waitForRequest((r) => r.method() === "POST" && r.url().endsWith("/login/passkey")),
  usePasskey(),
]);
await back();
const answer = new URLSearchParams(request.postData()).get("credential");
await context.clearCookies();
await page.goto(authorize);
await handIn(answer);
await refused();

// Removed, it signs nobody in.
await usePasskey();
await back();
await page.goto(account);
await page.click("form[action$='/account/passkeys'] button");
await page.waitForURL(/done=removed/);
await context.clearCookies();
await page.goto(authorize);
await usePasskey();
await refused();

await browser.close();
console.log(JSON.stringify(problems));
