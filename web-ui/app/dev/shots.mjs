// Screenshots of every view in both themes and sizes, with axe, CSP and
// console checks. Needs a build. `node dev/shots.mjs [part of a name]`
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const out = process.env.SHOTS ?? join(tmpdir(), "kith-shots");
mkdirSync(out, { recursive: true });
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const serverFile = fileURLToPath(new URL("server.mjs", import.meta.url));

function serve(...args) {
  const child = spawn(process.execPath, [serverFile, "--port", "0", ...args], { stdio: ["ignore", "pipe", "inherit"] });
  return new Promise((resolve) => child.stdout.once("data", (line) => resolve({ url: String(line).trim(), stop: () => child.kill() })));
}
const open = (name) => async (page) => {
  await page.getByRole("list", { name: "Conversations" }).getByRole("link", { name }).click();
  await page.getByRole("feed", { name: "Messages" }).getByRole("article").last().waitFor();
};
const go = (path) => (page, base) => page.goto(base + path);
/** name, server arguments, what to do */
const views = [
  ["onboarding-1", ["--state", "fresh"], async () => {}],
  ["onboarding-2", ["--state", "fresh"], async (page) => {
    await page.getByLabel("Your name").fill("Alice");
    await page.getByLabel("Passphrase", { exact: true }).fill("a quiet place by the sea");
    await page.getByLabel("Repeat passphrase").fill("a quiet place by the sea");
    await page.getByRole("button", { name: "Continue" }).click();
    await page.getByRole("list", { name: "Recovery words" }).waitFor();
  }],
  ["onboarding-3", ["--state", "fresh"], async (page) => {
    await views[1][2](page);
    await page.getByRole("button", { name: "I wrote them down" }).click();
    await page.getByLabel("Word 5", { exact: true }).waitFor();
  }],
  ["onboarding-4", ["--state", "fresh"], async (page) => {
    await views[2][2](page);
    for (const [n, word] of [[5, "above"], [11, "access"], [23, "actress"]]) await page.getByLabel(`Word ${n}`, { exact: true }).fill(word);
    await page.getByRole("button", { name: "Check words" }).click();
    await page.getByRole("heading", { name: "Join a community" }).waitFor();
  }],
  ["unlock", ["--state", "locked"], async (page) => {
    await page.getByLabel("Passphrase", { exact: true }).fill("wrong");
    await page.getByRole("button", { name: "Unlock" }).click();
    await page.getByRole("alert").waitFor();
  }],
  ["recover", ["--state", "locked"], async (page) => page.getByRole("button", { name: "Forgot the passphrase?" }).click()],
  ["empty", ["--empty"], async (page) => page.getByRole("link", { name: "People" }).waitFor()],
  ["list", [], async (page) => page.getByRole("list", { name: "Conversations" }).waitFor()],
  ["chat", [], open(/^Bob Marin/)],
  ["chat-unread", [], open(/^Allotment 14/)],
  ["chat-many", [], open(/^Reading circle/)],
  ["chat-rtl", [], open(/^דנה/)],
  ["chat-left", [], async (page) => page.getByRole("list", { name: "Conversations" }).getByRole("link", { name: /^Old neighbours/ }).click()],
  ["chat-typing", [], async (page) => {
    await open(/^Bob Marin/)(page);
    await page.getByRole("article").last().focus();
    await page.keyboard.press("r");
    await page.getByRole("textbox", { name: "Message" }).fill("First line of an answer\nand a second one");
  }],
  ["delivery", [], async (page) => {
    await open(/^Bob Marin/)(page);
    await page.getByRole("button", { name: "Delivery: Kept at relays" }).last().click();
    await page.getByRole("dialog", { name: "Delivery" }).getByRole("list").first().waitFor();
  }],
  ["failed", [], async (page) => {
    await open(/^Fatima/)(page);
    await page.getByRole("button", { name: "Delivery: Failed" }).last().click();
    await page.getByRole("button", { name: "Try again" }).waitFor();
  }],
  ["details-group", [], async (page) => {
    await open(/^Allotment 14/)(page);
    await page.getByRole("link", { name: "Details" }).click();
    await page.getByRole("list", { name: "Members" }).waitFor();
  }],
  ["member-menu", [], async (page) => {
    await views.find(([name]) => name === "details-group")[2](page);
    await page.getByRole("button", { name: "Manage Carol" }).click();
    await page.getByRole("menuitem", { name: "Make admin" }).waitFor();
  }],
  ["make-admin", [], async (page) => {
    await views.find(([name]) => name === "member-menu")[2](page);
    await page.getByRole("menuitem", { name: "Make admin" }).click();
    await page.getByRole("alertdialog").waitFor();
  }],
  ["step-down", [], async (page) => {
    await views.find(([name]) => name === "details-group")[2](page);
    await page.getByRole("button", { name: "Manage yourself" }).click();
    await page.getByRole("menuitem", { name: "Lay down your role" }).click();
    await page.getByRole("alertdialog").waitFor();
  }],
  ["chat-reports", [], open(/^Harbour crew/)],
  ["message-menu", [], async (page) => {
    await open(/^Harbour crew/)(page);
    await page.getByRole("article").last().focus();
    await page.getByRole("article").last().getByRole("button", { name: "More" }).click();
    await page.getByRole("menuitem", { name: "Report to the admins…" }).waitFor();
  }],
  ["report", [], async (page) => {
    await views.find(([name]) => name === "message-menu")[2](page);
    await page.getByRole("menuitem", { name: "Report to the admins…" }).click();
    await page.getByRole("textbox", { name: "Reason" }).fill("full");
    await page.getByRole("button", { name: "Send report" }).click();
    await page.getByRole("alert").waitFor();
  }],
  ["details-direct", [], async (page) => {
    await open(/^Bob Marin/)(page);
    await page.getByRole("link", { name: "Details" }).click();
    await page.getByRole("button", { name: "Show safety number" }).waitFor();
  }],
  ["safety", [], async (page, base) => {
    await views.find(([name]) => name === "details-direct")[2](page, base);
    await page.getByRole("button", { name: "Show safety number" }).click();
    await page.getByRole("group", { name: "Digits" }).waitFor();
  }],
  ["people", [], go("people")],
  ["invite", [], async (page, base) => {
    await page.goto(`${base}people`);
    await page.getByRole("button", { name: "New invite" }).click();
    await page.getByRole("button", { name: "Create link" }).click();
    await page.getByRole("textbox", { name: "Your invite link" }).waitFor();
  }],
  ["new-group", [], go("new-group")],
  ["settings", [], go("settings")],
  ["settings-network", [], go("settings/network")],
  ["jump", [], async (page) => {
    await page.getByRole("list", { name: "Conversations" }).waitFor();
    await page.keyboard.press("Control+k");
    await page.getByRole("searchbox", { name: "Jump to" }).waitFor();
    // On touch React Aria gives the screen's keyboard this long to open.
    await page.waitForTimeout(700);
  }],
  ["confirm", [], async (page) => {
    await views.find(([name]) => name === "details-group")[2](page);
    await page.getByRole("button", { name: "Delete conversation" }).click();
    await page.getByRole("alertdialog").waitFor();
  }],
];
const sizes = { wide: { width: 1440, height: 900 }, narrow: { width: 390, height: 844 } };
const wanted = process.argv[2] ?? "";
const only = process.env.ONLY?.split(",");
let faults = 0;
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"] });
for (const [name, args, act] of views) {
  if (!name.includes(wanted)) continue;
  for (const theme of ["light", "dark"]) {
    for (const [size, viewport] of Object.entries(sizes)) {
      const shot = `${name}-${size}-${theme}`;
      if (only !== undefined && !only.includes(`${size}-${theme}`)) continue;
      const server = await serve(...args);
      const context = await browser.newContext({ viewport, colorScheme: theme, bypassCSP: false, hasTouch: size === "narrow" });
      const page = await context.newPage();
      page.setDefaultTimeout(6_000);
      const complain = (text) => {
        faults += 1;
        console.log(`${shot}: ${text}`);
      };
      page.on("pageerror", (error) => complain(`error: ${error.message}`));
      page.on("console", (message) => {
        if (message.type() === "error" && !/status of 4(?:03|29)/.test(message.text())) complain(`console: ${message.text()}`);
      });
      try {
        await page.goto(server.url);
        await page.waitForLoadState("networkidle");
        await act(page, server.url);
        await page.waitForTimeout(350);
        await page.screenshot({ path: join(out, `${shot}.png`) });
        await page.evaluate(axe);
        const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
        for (const v of violations) {
          const where = v.nodes.slice(0, 3).map((n) => `${n.target.join(" ")} ${n.any[0]?.message ?? ""}`);
          if (["serious", "critical"].includes(v.impact)) complain(`axe ${v.impact} ${v.id}: ${where.join(" | ")}`);
          else console.log(`  ${shot}: axe ${v.impact} ${v.id}: ${where.join(" | ")}`);
        }
      } catch (error) {
        complain(`failed: ${error.message.split("\n").slice(0, 3).join(" ")}`);
        await page.screenshot({ path: join(out, `${shot}.png`) });
      }
      await context.close();
      server.stop();
    }
  }
}
await browser.close();
console.log(`${faults} faults; pictures in ${out}`);
process.exitCode = faults > 0 ? 1 : 0;
