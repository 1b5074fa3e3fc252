// Shows pages to a browser and prints what is wrong with them.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const { base, screens, pages } = JSON.parse(readFileSync(0, "utf8"));
const problems = [];

const looks = [
  { name: "light", colorScheme: "light", viewport: { width: 1024, height: 800 } },
  { name: "dark", colorScheme: "dark", viewport: { width: 1024, height: 800 } },
  { name: "phone", colorScheme: "light", viewport: { width: 360, height: 740 } },
];

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: process.env.CHROMIUM_FLAGS.split(" ") });
// Screens that are kept are sharp.
const context = await browser.newContext({ reducedMotion: "reduce", deviceScaleFactor: process.env.DEPUTY_TEST_SCREENS ? 2 : 1 });
// A page that leads on stays to be looked at.
await context.route((url) => !url.href.startsWith(base), (route) => route.fulfill({ status: 204 }));
const page = await context.newPage();
let at = "";
page.on("console", (m) => { if (m.type() === "error" && !m.text().includes("favicon")) problems.push(`${at}: ${m.text()}`); });
page.on("pageerror", (e) => problems.push(`${at}: ${e}`));
for (const name of pages) {
  at = name;
  await page.goto(`${base}/${name}`, { waitUntil: "load" });
  // The protocol runs the checker, so that the page's own policy need not let it in.
  await page.evaluate(axe);
  for (const look of looks) {
    at = `${name} (${look.name})`;
    await page.emulateMedia({ colorScheme: look.colorScheme });
    await page.setViewportSize(look.viewport);
    await page.screenshot({ path: `${screens}/${name}-${look.name}.png`, fullPage: true });
    const wider = await page.evaluate(() => document.scrollingElement.scrollWidth - innerWidth);
    if (wider > 0) problems.push(`${at}: ${wider} pixels wider than the window`);
    const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
    for (const v of violations) {
      problems.push(`${at}: ${v.id}: ${v.help}: ${v.nodes.map((n) => n.html + " " + n.failureSummary).join("; ")}`);
    }
  }
}
await browser.close();
console.log(JSON.stringify(problems));
