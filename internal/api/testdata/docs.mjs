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
  { name: "phone", colorScheme: "dark", viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true },
];

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: process.env.CHROMIUM_FLAGS.split(" ") });
for (const look of looks) {
  const context = await browser.newContext(look);
  const page = await context.newPage();
  const complain = (text) => problems.push(`${look.name}: ${text}`);
  page.on("console", (m) => { if (m.type() === "error" && !m.text().includes("favicon")) complain(m.text()); });
  page.on("pageerror", (e) => complain(`${e}`));
  page.on("request", (r) => { if (!r.url().startsWith(base)) complain(`asks for ${r.url()}`); });
  await page.goto(`${base}/docs#create-resource`, { waitUntil: "load" });
  await page.screenshot({ path: `${screens}/docs-${look.name}.png` });
  // One operation with everything open; on the phone all of them, where they
  // have the least room.
  const article = page.locator("#create-resource");
  await article.locator("summary").first().click();
  await page.evaluate((within) => document.querySelectorAll(within).forEach((d) => { d.open = true; }), look.isMobile ? "details" : "#create-resource details");
  await article.screenshot({ path: `${screens}/docs-${look.name}-operation.png` });
  const wider = await page.evaluate(() => document.scrollingElement.scrollWidth - innerWidth);
  if (wider > 0) complain(`${wider} pixels wider than the window`);
  const cut = await page.evaluate(() => [...document.querySelectorAll("article details")].filter((d) => d.scrollWidth > d.clientWidth).length);
  if (cut > 0) complain(`${cut} tables are wider than their place`);
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => axe.run("#create-resource, nav, header", { resultTypes: ["violations"] }));
  for (const v of violations) {
    complain(`${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 200) + " " + n.failureSummary).join("; ")}`);
  }
  await context.close();
}
await browser.close();
console.log(JSON.stringify(problems));
