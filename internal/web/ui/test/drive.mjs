// Drives the dashboard in a real browser and looks at what people would.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const url = process.env.SWELL_URL;
const shots = process.env.SWELL_SHOTS;
if (shots) mkdirSync(shots, { recursive: true });

const context = await chromium.launchPersistentContext(process.env.SWELL_PROFILE, {
  executablePath: process.env.SWELL_CHROMIUM,
  headless: true,
  viewport: { width: 1440, height: 900 },
  colorScheme: "light",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
context.setDefaultTimeout(30_000);
const page = context.pages()[0] ?? (await context.newPage());

const complaints = [];
page.on("console", (m) => ["error", "warning"].includes(m.type()) && complaints.push(`${m.type()}: ${m.text()}`));
page.on("pageerror", (e) => complaints.push(`uncaught: ${e.stack}`));
page.on("request", (r) => !r.url().startsWith(url) && !r.url().startsWith("data:") && complaints.push(`a request elsewhere: ${r.url()}`));

const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
async function accessible(where) {
  // The policy of the page forbids what is injected; the protocol's own evaluation does not ask it.
  await page.evaluate((await import("node:fs")).readFileSync(axe, "utf8"));
  const { violations } = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] }));
  const said = violations.map((v) => `${v.id}: ${v.help}\n    ` + v.nodes.slice(0, 4).map((n) => n.html.slice(0, 160) + " " + (n.any[0]?.message ?? "")).join("\n    "));
  assert.equal(said.length, 0, `${where} is not accessible:\n  ${said.join("\n  ")}`);
}
async function shot(name) {
  if (shots) await page.screenshot({ path: `${shots}/${name}.png`, fullPage: !name.startsWith("logs") });
}
const failures = [];
async function check(name, f) {
  const began = Date.now();
  try {
    await f();
    console.log(`ok   ${name} (${Date.now() - began} ms)`);
  } catch (e) {
    failures.push(name);
    console.log(`FAIL ${name}\n${e.stack ?? e}`);
    await shot("failed-" + failures.length).catch(() => {});
  }
}
const go = (hash) => page.evaluate((h) => (location.hash = h), hash);

await check("services appear and live", async () => {
  await page.goto(url);
  await page.waitForSelector("[data-service=web]");
  assert.equal(await page.locator("[data-service]").count(), 8);
  assert.match(await page.title(), /Services · shop/);
  assert.match(await page.locator("[data-service=search] .badge").innerText(), /Failing/);
  assert.match(await page.locator("[data-service=payments] .badge").innerText(), /External/);
  assert.match(await page.locator("[data-service=thumbnails] .badge").innerText(), /Idle/);
  const rate = page.locator("[data-service=web] [data-cell=rate]");
  const before = await rate.innerText();
  await page.waitForFunction((b) => document.querySelector("[data-service=web] [data-cell=rate]").innerText !== b, before);
  await page.waitForSelector(".live[data-state=live]");
  await page.waitForSelector(".graph svg");
  await accessible("the first page");
  await shot("services-light");
});

await check("sorting by a column", async () => {
  await page.getByRole("button", { name: "Rate" }).click();
  await page.waitForFunction(() => document.querySelector("th[aria-sort=descending]")?.innerText.startsWith("Rate"));
  const first = await page.locator("tbody tr[data-service]").first().getAttribute("data-service");
  assert.equal(first, "pricing");
});

await check("a service's page, charts and instances", async () => {
  await page.getByRole("link", { name: "catalog", exact: true }).first().click();
  await page.waitForSelector("h1:text-is('catalog')");
  await page.waitForSelector(".chart canvas");
  assert.equal(await page.locator(".chart").count(), 4);
  const words = await page.locator(".chart").first().getAttribute("aria-label");
  assert.match(words, /Requests, per second, the last \d minutes\. rate now \d+, between \d+ and \d+; errors/);
  const painted = await page.locator(".chart canvas").first().evaluate((c) => c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some((v) => v));
  assert.ok(painted, "the chart is empty");
  await page.waitForFunction((w) => document.querySelector(".chart").getAttribute("aria-label") !== w, words);
  assert.ok((await page.locator("section:has(#instances-title) tbody tr").count()) > 0);
  assert.match(await page.locator("section:has(#instances-title) tbody tr").first().innerText(), /\d+ MiB/);
  assert.ok(await page.locator(".steps .result").first().isVisible());
  await page.getByLabel("5 min", { exact: true }).check();
  await page.waitForFunction(() => /the last 5 minutes/.test(document.querySelector(".chart").getAttribute("aria-label")));
  await page.getByText("The charts as a table").click();
  await page.locator(".figures-table tbody tr").nth(7).waitFor();
  await page.getByText("The charts as a table").click();
  await accessible("a service's page");
  await shot("service-light");
});

await check("a floor by hand", async () => {
  await page.getByLabel("At least").fill("9");
  await page.getByRole("button", { name: "Keep" }).click();
  await page.waitForSelector("text=/At least 9 until/");
  await page.getByLabel("At least").fill("99");
  await page.getByRole("button", { name: "Keep" }).click();
  assert.equal(await page.getByLabel("At least").evaluate((e) => e.validity.valid), false);
  await page.waitForFunction(() => /wanted by manual/.test(document.querySelector(".because").innerText));
});

await check("the graph has rates on its edges", async () => {
  await go("#/graph");
  await page.waitForSelector("[data-edge='catalog>pricing']");
  assert.match(await page.locator("[data-edge='catalog>pricing'] text").textContent(), /^\d+\/s$/);
  assert.match(await page.locator("[data-edge='gateway>web']").getAttribute("aria-label"), /gateway calls web: \d+ per second/);
  assert.equal(await page.locator("a.node").count(), 8);
  assert.ok((await page.locator("table tbody tr").count()) >= 8);
  await accessible("the graph");
  await shot("graph-light");
});

await check("decisions with their steps", async () => {
  await go("#/decisions");
  await page.waitForSelector(".timeline > li");
  assert.ok((await page.locator(".lane").count()) >= 5);
  const entry = page.locator(".timeline > li").nth(2);
  await entry.locator("summary").click();
  await entry.locator(".steps").waitFor();
  assert.match(await entry.locator(".steps").innerText(), /signal[\s\S]*result/);
  await page.locator("main").getByLabel("Service").selectOption("orders");
  await page.waitForFunction(() => [...document.querySelectorAll(".timeline .who")].every((e) => e.innerText === "orders"));
  assert.match(page.url(), /service=orders/);
  await accessible("decisions");
  await go("#/decisions");
  await shot("decisions-light");
});

await check("logs: search, follow, levels", async () => {
  await go("#/logs");
  await page.waitForSelector(".line");
  const newest = () => page.locator(".line").last().innerText();
  const before = await newest();
  await page.waitForFunction((b) => [...document.querySelectorAll(".line")].at(-1).innerText !== b, before);
  assert.ok((await page.locator(".line.error").count()) > 0 && (await page.locator(".line.debug").count()) > 0);
  await shot("logs-light");
  await page.getByRole("searchbox").fill("CARD declined");
  await page.waitForFunction(() => {
    const all = [...document.querySelectorAll(".line .text")];
    return all.length > 0 && all.every((e) => /card declined/i.test(e.textContent));
  });
  assert.equal((await page.locator("mark").first().innerText()).toLowerCase(), "card declined");
  await page.getByRole("searchbox").fill("no such thing anywhere");
  await page.waitForSelector("text=No line matches.");
  await page.getByRole("searchbox").fill("");
  await page.waitForSelector(".line");
  await page.locator("main").getByLabel("Service").selectOption("cart");
  await page.waitForFunction(() => [...document.querySelectorAll(".line .src")].every((e) => e.textContent.startsWith("cart")) && document.querySelector(".line"));
  await page.getByRole("button", { name: "Follow" }).click();
  await page.waitForSelector("[data-key=follow][aria-pressed=false]");
  await accessible("logs");
});

await check("routes, and which one a URL takes", async () => {
  await go("#/routes");
  await page.waitForSelector("text=GET,POST shop.example/api/orders/**");
  await page.getByLabel("URL or path").fill("/api/orders/7");
  await page.getByRole("button", { name: "Ask" }).click();
  await page.waitForSelector("tr.taken");
  assert.match(await page.locator("[role=status].said").innerText(), /takes .* to orders/);
  await page.getByLabel("URL or path").fill("/nowhere");
  await page.getByRole("button", { name: "Ask" }).click();
  await page.waitForSelector("text=/No route takes/");
  await page.getByLabel("URL or path").fill("::::");
  await page.getByRole("button", { name: "Ask" }).click();
  await page.waitForSelector("text=/is not a URL/");
  await accessible("routes");
  await shot("routes-light");
});

await check("the keyboard alone", async () => {
  complaints.splice(0, complaints.length, ...complaints.filter((c) => !/400 \(Bad Request\)/.test(c))); // the URL that was none
  await page.goto("about:blank");
  await page.goto(url + "/#/services");
  await page.waitForSelector("[data-service=web]");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  assert.match(page.url(), /#\/services$/, "the skip link must not change the page");
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  assert.equal(await page.evaluate(() => document.activeElement.innerText), "catalog");
  await page.keyboard.press("Enter");
  await page.waitForSelector("h1:text-is('catalog')");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  await page.keyboard.press("2");
  await page.waitForSelector("h1:text-is('Graph')");
  await page.keyboard.press("/");
  await page.waitForFunction(() => document.activeElement?.type === "search");
  await page.keyboard.type("123");
  assert.equal(await page.getByRole("searchbox").inputValue(), "123", "keys typed into a field are no shortcuts");
  await page.keyboard.press("Escape");
  await page.keyboard.press("Escape");
  await page.keyboard.press("?");
  await page.waitForSelector("dialog[open]");
  await accessible("the help");
  await shot("help-light");
  await page.getByLabel("Single keys are shortcuts").uncheck();
  await page.keyboard.press("Escape");
  await page.keyboard.press("1");
  assert.match(page.url(), /#\/logs/, "shortcuts are switched off");
  await page.getByRole("button", { name: "Keyboard shortcuts" }).click();
  await page.getByLabel("Single keys are shortcuts").check();
  await page.getByRole("button", { name: "Close" }).click();
});

await check("dark, by the system and by the switch", async () => {
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await go("#/services");
  await page.waitForSelector("[data-service=web]");
  const light = await ground();
  await page.emulateMedia({ colorScheme: "dark" });
  const dark = await ground();
  assert.notEqual(light, dark);
  await page.waitForSelector(".graph svg");
  await accessible("the first page in the dark");
  await shot("services-dark");
  await page.keyboard.press("t");
  await page.waitForFunction((b) => getComputedStyle(document.body).backgroundColor === b, light);
  await page.reload();
  await page.waitForSelector("[data-service=web]");
  assert.equal(await ground(), light, "the choice is remembered");
  await page.getByRole("button", { name: "Use dark colours" }).click();
  await page.waitForFunction((b) => getComputedStyle(document.body).backgroundColor === b, dark);
  for (const [name, hash, sel] of [["service", "#/services/catalog", ".chart canvas"], ["graph", "#/graph", ".graph svg"], ["decisions", "#/decisions", ".timeline"], ["logs", "#/logs", ".line"], ["routes", "#/routes", "table"]]) {
    await go(hash);
    await page.waitForSelector(sel);
    await accessible(name + " in the dark");
    await shot(name + "-dark");
  }
});

await check("narrow", async () => {
  await page.setViewportSize({ width: 390, height: 800 });
  for (const [name, hash, sel] of [["services", "#/services", "[data-service=web]"], ["service", "#/services/catalog", ".chart canvas"], ["decisions", "#/decisions", ".timeline"], ["logs", "#/logs", ".line"]]) {
    await go(hash);
    await page.waitForSelector(sel);
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    await shot(name + "-narrow");
    assert.ok(over <= 0, `${name} is ${over} px too wide`);
  }
});

await check("nothing was complained of", async () => {
  assert.deepEqual(complaints, []);
});

await context.close();
if (failures.length) {
  console.log(`${failures.length} failed`);
  process.exit(1);
}
