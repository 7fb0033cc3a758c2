// Opens a report page in Chromium, light and dark, and prints what is to be seen and what was asked for as JSON.
//
//   node report.mjs FILE SCREENSHOT

import { pathToFileURL } from "node:url";

import { chromium } from "playwright-core";

const [file, screenshot] = process.argv.slice(2);
const seen = { consoleErrors: [], requests: [], dialogs: [] };
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--no-first-run"], // CI runs as root, where Chromium refuses to start with one
});
try {
  const page = await browser.newPage({ viewport: { width: 1100, height: 900 } });
  page.on("console", (message) => message.type() === "error" && seen.consoleErrors.push(message.text()));
  page.on("pageerror", (error) => seen.consoleErrors.push(String(error)));
  page.on("request", (request) => seen.requests.push(request.url()));
  page.on("dialog", (dialog) => {
    seen.dialogs.push(dialog.message());
    return dialog.dismiss();
  });
  await page.goto(pathToFileURL(file).href);
  const colours = () =>
    page.evaluate(() => [getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]);
  seen.light = await colours();
  await page.screenshot({ path: screenshot, fullPage: true });
  await page.emulateMedia({ colorScheme: "dark" });
  seen.dark = await colours();
  await page.screenshot({ path: screenshot.replace(".png", "-dark.png"), fullPage: true });
  seen.title = await page.title();
  seen.figures = await page.locator("figcaption").allInnerTexts();
  seen.tables = await page.evaluate(() =>
    [...document.querySelectorAll("table")].map((table) => ({
      caption: table.caption?.innerText ?? "",
      rows: [...table.rows].map((row) => [...row.cells].map((cell) => cell.innerText)),
    })),
  );
  await page.setViewportSize({ width: 390, height: 800 });
  seen.overflow = await page.evaluate(
    () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
  );
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen));
