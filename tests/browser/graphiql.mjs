// Opens a GraphiQL page in Chromium, uses it as an engineer would, and prints what was seen as JSON.
//
//   node graphiql.mjs URL SCREENSHOT [--cdn | --cut-off]
//
// The browser reaches loopback alone. With --cdn the files that the page names on the CDN are answered from the npm
// packages they are published in, so that their integrity hashes are checked by a real browser. With --cut-off nothing
// of the CDN is answered and the walk ends with what the page then says.

import { readFile } from "node:fs/promises";

import { chromium } from "playwright-core";

const PACKAGES = {
  "@graphiql/plugin-explorer@1.0.2": "cdn-explorer",
  "graphiql@3.8.3": "cdn-graphiql",
  "react-dom@18.3.1": "cdn-react-dom",
  "react@18.3.1": "cdn-react",
};
const TYPES = { css: "text/css", js: "text/javascript" };
const TIMEOUT_MS = 30_000; // a cold start on two busy cores takes some five seconds

const [url, screenshot, mode] = process.argv.slice(2);
const origin = new URL(url).origin;
const seen = { consoleErrors: [], failures: [], foreignRequests: [], localRequests: [], violations: [], workers: [] };

async function fromPackage(address) {
  for (const [pinned, folder] of Object.entries(PACKAGES)) {
    const prefix = `/${pinned}/`;
    if (address.pathname.startsWith(prefix)) {
      const path = new URL(`node_modules/${folder}/${address.pathname.slice(prefix.length)}`, import.meta.url);
      return { body: await readFile(path), contentType: TYPES[address.pathname.split(".").pop()] };
    }
  }
  return undefined;
}

async function answer(route) {
  const address = new URL(route.request().url());
  if (address.origin === origin || ["data:", "blob:"].includes(address.protocol)) return route.continue();
  seen.foreignRequests.push(address.href);
  const file = mode === "--cdn" && address.origin === "https://unpkg.com" ? await fromPackage(address) : undefined;
  return file ? route.fulfill({ ...file, headers: { "access-control-allow-origin": "*" } }) : route.abort();
}

async function use(page, started) {
  const run = page.getByRole("button", { name: /execute query/i });
  await run.waitFor();
  seen.renderMs = Math.round(performance.now() - started);
  seen.title = await page.title();
  seen.logo = (await page.locator(".graphiql-logo").innerText()).trim();
  // The editors are drawn from what is typed into them only once their mode is loaded.
  await page.locator(".graphiql-query-editor").getByText("recommendedJobs").first().waitFor();

  await run.click();
  const result = page.locator(".graphiql-response, .result-window").first();
  await result.getByText('"data"').first().waitFor();
  seen.answer = (await result.innerText()).replaceAll("\u00a0", " ");

  seen.headerEditor = await page.getByRole("button", { name: "Headers", exact: true }).isVisible();
  await page.getByRole("button", { name: /show (graphiql )?explorer/i }).click();
  await page.locator(".graphiql-explorer-root, .docExplorerWrap").first().waitFor();
  await page.screenshot({ path: screenshot });

  if (mode !== "--cdn") await useTabs(page, run, result);

  await page.getByRole("button", { name: /show documentation explorer/i }).click();
  await page.locator(".graphiql-doc-explorer-content").getByText("Query", { exact: true }).first().waitFor();
  seen.docs = (await page.locator(".graphiql-doc-explorer-content").innerText()).slice(0, 400);
}

// The tabs of GraphiQL 5: a field is completed, a wrong one underlined, a subscription told.
async function useTabs(page, run, result) {
  seen.tabs = await page.locator(".graphiql-tab").allInnerTexts();
  await page.locator(".graphiql-tab", { hasText: "ListChanged" }).click();
  // A click before the editor has changed would run the tab that was left.
  await page.locator(".graphiql-query-editor").getByText("ListChanged").first().waitFor();
  const stop = page.getByRole("button", { name: /stop query/i });
  for (let time = 0; time < 5 && !(await stop.isVisible()); time += 1) {
    await run.click();
    await page.waitForTimeout(500);
  }
  const told = result.getByText('"recommendationsChanged"').first();
  // Nothing says that the subscription has begun, so events are recorded until it is told of one.
  for (let number = 0; number < 20 && !(await told.isVisible()); number += 1) {
    await recordEvent(`browser-${number}-${Date.now()}`);
    await page.waitForTimeout(500);
  }
  await told.waitFor();
  seen.told = (await result.innerText()).replaceAll("\u00a0", " ");
  await stop.click();

  await page.locator(".graphiql-tab", { hasText: "Explain" }).click();
  const editor = page.locator(".graphiql-query-editor .monaco-editor").first();
  await editor.getByText("blockedBy").first().click();
  await page.keyboard.press("End");
  await page.keyboard.press("Enter");
  await page.keyboard.type("contr");
  await page.keyboard.press("Control+Space");
  await page.locator(".suggest-widget .monaco-list-row", { hasText: "contributions" }).first().waitFor();
  seen.completed = true;
  await page.keyboard.press("Escape");
  await page.locator(".graphiql-query-editor .squiggly-error").first().waitFor({ state: "attached" });
  seen.underlined = true;
  await page.screenshot({ path: screenshot.replace(/\.png$/, "-tabs.png") });
}

async function recordEvent(eventId) {
  const event = { eventId, actor: "TALENT", type: "VIEW", talentId: "tal-000001", jobId: "job-000001" };
  const query = "mutation ($events: [EventInput!]!) { recordEvents(input: { events: $events }) { acceptedCount } }";
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ query, variables: { events: [event] } }),
  });
  const { data } = await response.json();
  if (data?.recordEvents.acceptedCount !== 1) throw new Error("the event was not taken");
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox", // CI runs as root, where Chromium refuses to start with one
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // No name but loopback resolves, whatever a page or the browser itself may ask for.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
  ],
});
try {
  const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
  page.setDefaultTimeout(TIMEOUT_MS);
  page.on("console", (message) => message.type() === "error" && seen.consoleErrors.push(message.text()));
  page.on("pageerror", (error) => seen.consoleErrors.push(String(error)));
  page.on("requestfailed", (request) => seen.failures.push(`${request.url()} ${request.failure()?.errorText}`));
  page.on("request", (request) => request.url().startsWith(origin) && seen.localRequests.push(request.url()));
  page.on("worker", (worker) => seen.workers.push(worker.url()));
  await page.exposeFunction("reportViolation", (text) => seen.violations.push(text));
  await page.addInitScript(() =>
    document.addEventListener("securitypolicyviolation", (event) =>
      window.reportViolation(`${event.effectiveDirective} ${event.blockedURI}`),
    ),
  );
  await page.route("**/*", answer);

  const started = performance.now();
  const response = await page.goto(url, { waitUntil: "load" });
  seen.policy = response.headers()["content-security-policy"];
  if (mode === "--cut-off") {
    await page.locator("#graphiql").getByText("could not be loaded").waitFor();
    seen.text = await page.locator("#graphiql").innerText();
  } else {
    await use(page, started);
  }
} catch (error) {
  seen.consoleErrors.push(`the walk through the page stopped: ${error}`);
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen, null, 2));
