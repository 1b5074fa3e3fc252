// Shows the page of the API to a browser and prints what is wrong with it.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const { base, screens } = JSON.parse(readFileSync(0, "utf8"));
const problems = [];

const looks = [
  { name: "light", colorScheme: "light", viewport: { width: 1280, height: 900 } },
  { name: "dark", colorScheme: "dark", viewport: { width: 1280, height: 900 } },
  { name: "phone", colorScheme: "dark", viewport: { width: 360, height: 740 } },
];

// The page is long and takes its time to load, so it is loaded once.
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: process.env.CHROMIUM_FLAGS.split(" ") });
const page = await browser.newPage();
let look;
const complain = (text) => problems.push(`${look.name}: ${text}`);
page.on("console", (m) => { if (m.type() === "error" && !m.text().includes("favicon")) complain(m.text()); });
page.on("pageerror", (e) => complain(`${e}`));
page.on("request", (r) => { if (!r.url().startsWith(base)) complain(`asks for ${r.url()}`); });
for (look of looks) {
  await page.emulateMedia({ colorScheme: look.colorScheme });
  await page.setViewportSize(look.viewport);
  const article = page.locator("#create-resource");
  if (look === looks[0]) {
    await page.goto(`${base}/docs#create-resource`, { waitUntil: "load" });
    await page.evaluate(axe);
    await article.locator("summary").first().click();
  }
  await page.screenshot({ path: `${screens}/docs-${look.name}.png` });
  // One operation with everything open; in the narrowest window all of them,
  // where they have the least room.
  await page.evaluate((within) => document.querySelectorAll(within).forEach((d) => { d.open = true; }), look.name === "phone" ? "details" : "#create-resource details");
  await article.screenshot({ path: `${screens}/docs-${look.name}-operation.png` });
  const wider = await page.evaluate(() => document.scrollingElement.scrollWidth - innerWidth);
  if (wider > 0) complain(`${wider} pixels wider than the window`);
  const cut = await page.evaluate(() => [...document.querySelectorAll("article details")].filter((d) => d.scrollWidth > d.clientWidth).length);
  if (cut > 0) complain(`${cut} tables are wider than their place`);
}
// The checker takes ten seconds for a page of that length: it gets one of each
// kind.
await page.evaluate(() => document.querySelectorAll("article:not(#create-resource), nav li:nth-child(n+3)").forEach((e) => e.remove()));
for (look of looks) {
  await page.emulateMedia({ colorScheme: look.colorScheme });
  await page.setViewportSize(look.viewport);
  const { violations } = await page.evaluate(() => axe.run("#create-resource, nav, header", { resultTypes: ["violations"] }));
  for (const v of violations) {
    complain(`${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 200) + " " + n.failureSummary).join("; ")}`);
  }
}
await browser.close();
console.log(JSON.stringify(problems));
