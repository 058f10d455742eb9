// axe-core on the named views, dark and light, wide and narrow: no serious or
// critical fault. With KITH_E2E_PICTURES=FOLDER each of them is also drawn
// into a file there.

import assert from "node:assert/strict";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { faults } from "./axe.js";
import type { Person } from "./browser.js";
import { pointer } from "./hands.js";
import { acquaint, until, type Node } from "./lab.js";
import { photo } from "./pictures.js";
import { Scenario } from "./steps.js";
import { App } from "./views.js";

const PICTURES = process.env["KITH_E2E_PICTURES"];
const THEMES = ["dark", "light"] as const;
const SIZES = [
  { width: 1440, height: 900 },
  { width: 390, height: 844 },
];

const scenario = new Scenario("axe", false);
const { lab } = scenario;
let alice: App | null = null;
let conversation = "";
const others: Node[] = [];

/** One view in both themes and sizes. */
async function judge(person: Person, show: (page: Page) => Promise<void>): Promise<void> {
  const { page } = person;
  const all: string[] = [];
  for (const colorScheme of THEMES) {
    for (const size of SIZES) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await page.setViewportSize(size);
      await show(page);
      const where = `${colorScheme} ${size.width}×${size.height}`;
      if (PICTURES !== undefined) {
        const name = `${scenario.current.replace(/\W+/g, "-")}-${colorScheme}-${size.width}.png`;
        await page.screenshot({ path: join(PICTURES, name) });
      }
      all.push(...(await faults(page)).map((fault) => `${where}: ${fault}`));
    }
  }
  assert.deepEqual(all, []);
}

const seated = (): Person => {
  assert.ok(alice !== null, "somebody is signed in");
  return alice.person;
};

scenario.step("onboarding", async () => {
  const app = new App(await scenario.sit(await lab.startNode("Alice")), pointer);
  await judge(app.person, async () => app.heading("Welcome to Kith").waitFor());
  await app.page.setViewportSize({ width: 1440, height: 900 });
  await app.onboard(null);
  alice = app;
});

scenario.step("conversation", async () => {
  const { node, page } = seated();
  for (const name of ["Bob", "Carol"]) {
    const other = await lab.startNode(name);
    await other.signUp();
    others.push(other);
  }
  const members = [];
  for (const other of others) {
    await acquaint(node, other);
    members.push((await other.api("GET", "/me")).account);
  }
  const made = await node.api("POST", "/conversations", { title: "Axe", members });
  conversation = made.conversation;
  for (let i = 0; i < 12; i += 1) {
    const text = i === 3 ? "See https://example.org/path and reply" : `Message number ${i}`;
    await node.api("POST", `/conversations/${conversation}/messages`, { text, key: `axe-${i}` });
  }
  await judge(seated(), async () => {
    await page.goto(`${node.origin}/c/${conversation}`);
    await page.getByRole("feed", { name: "Messages" }).getByRole("article").last().waitFor();
  });
});

scenario.step("people", async () => {
  const { node, page } = seated();
  await node.api("POST", "/invites", { uses: 3, valid_s: 3600 });
  await judge(seated(), async () => {
    await page.goto(`${node.origin}/people`);
    await page.getByRole("heading", { name: "People", exact: true }).waitFor();
    await page.getByRole("list", { name: "Contacts" }).getByRole("listitem").first().waitFor();
  });
});

scenario.step("conversation details", async () => {
  const { node, page } = seated();
  await judge(seated(), async () => {
    await page.goto(`${node.origin}/c/${conversation}/details`);
    await page.getByRole("list", { name: "Members" }).getByRole("listitem").first().waitFor();
  });
});

scenario.step("files in a conversation", async () => {
  const { node, page } = seated();
  const [, bob] = lab.nodes as [Node, Node];
  await until(bob, "the group", async () => {
    const list: any[] = await bob.api("GET", "/conversations");
    return list.find((c) => c.id === conversation && c.standing === "active") ?? null;
  });
  await node.api("PUT", "/storage", { cache_bytes: 1e9, auto_bytes: 1e6, up_bytes_per_s: 0, down_bytes_per_s: 0 });
  await bob.give(conversation, "dawn.jpg", "image/jpeg", await photo(page, "#913"), "The lake at dawn");
  await bob.give(conversation, "noon.jpg", "image/jpeg", await photo(page, "#39f"));
  await bob.give(conversation, "broken.png", "image/png", Buffer.from("no picture at all"));
  await bob.give(conversation, "minutes.pdf", "application/pdf", Buffer.alloc(120_000, 7));
  await bob.give(conversation, "concert.wav", "audio/wav", Buffer.alloc(3_000_000, 7));
  await until(node, "the files", async () => {
    const { files } = await node.api("GET", `/conversations/${conversation}/files`);
    return files.filter((f: any) => f.file.state === "here").length === 4 ? files : null;
  });
  await judge(seated(), async () => {
    await page.goto(`${node.origin}/c/${conversation}`);
    await page.getByRole("button", { name: "Download concert.wav" }).waitFor();
    await page.getByRole("article", { name: /The lake at dawn/ }).scrollIntoViewIfNeeded();
  });
});

scenario.step("files to be sent", async () => {
  const { node, page } = seated();
  const pictures = [
    { name: "dawn.jpg", mimeType: "image/jpeg", buffer: await photo(page, "#913") },
    { name: "minutes.pdf", mimeType: "application/pdf", buffer: Buffer.alloc(9_000) },
  ];
  await judge(seated(), async () => {
    await page.goto(`${node.origin}/c/${conversation}`);
    await page.locator('input[type="file"]').setInputFiles(pictures);
    await page.getByRole("dialog", { name: "Send 2 files" }).waitFor();
  });
});

scenario.step("picture in full size", async () => {
  const { node, page } = seated();
  await judge(seated(), async () => {
    await page.goto(`${node.origin}/c/${conversation}`);
    await page.getByRole("button", { name: "Open noon.jpg" }).click();
    await page.getByRole("dialog", { name: "noon.jpg" }).locator("img").waitFor();
    await page.getByRole("button", { name: "Older", exact: true }).waitFor();
  });
});

scenario.step("files in the details", async () => {
  const { node, page } = seated();
  await judge(seated(), async () => {
    await page.goto(`${node.origin}/c/${conversation}/details`);
    const files = page.getByRole("region", { name: "Files" });
    await files.getByRole("button", { name: "Open broken.png" }).getByText("broken.png").waitFor();
    await files.scrollIntoViewIfNeeded();
  });
});

scenario.step("storage", async () => {
  const { node, page } = seated();
  await judge(seated(), async () => {
    await page.goto(`${node.origin}/settings/storage`);
    await page.getByRole("button", { name: "Show files" }).first().click();
    await page.getByRole("button", { name: /^Remove / }).first().waitFor();
  });
});

scenario.step("role dialog", async () => {
  const { node, page } = seated();
  await judge(seated(), async () => {
    await page.goto(`${node.origin}/c/${conversation}/details`);
    await page.getByRole("button", { name: "Manage Bob" }).click();
    await page.getByRole("menuitem", { name: "Make admin" }).click();
    await page.getByRole("alertdialog", { name: "Make Bob an admin?" }).waitFor();
  });
});

scenario.step("reported message", async () => {
  const { node, page } = seated();
  const [, bob, carol] = lab.nodes as [Node, Node, Node];
  const place = `/conversations/${conversation}/messages`;
  await until(bob, "the group", async () => {
    const list: any[] = await bob.api("GET", "/conversations");
    return list.find((c) => c.id === conversation) ?? null;
  });
  const { id } = await bob.api("POST", place, { text: "Buy my boat", key: "axe-report" });
  await until(carol, "the message", async () => {
    const rows: any[] = (await carol.api("GET", place).catch(() => ({ messages: [] }))).messages;
    return rows.find((m) => m.id === id && m.may_report) ?? null;
  });
  await carol.api("POST", `${place}/${id}/report`, { reason: "An advert" });
  await judge(seated(), async () => {
    await page.goto(`${node.origin}/c/${conversation}`);
    await page.getByRole("article", { name: /^Carol reported a message of Bob/ }).waitFor();
  });
});

scenario.step("report dialog", async () => {
  const { node, page } = seated();
  const [, bob] = lab.nodes as [Node, Node];
  const { account } = await bob.api("GET", "/me");
  await node.api("PUT", `/conversations/${conversation}/members/${account}/role`, { role: "admin" });
  const [, , carol] = lab.nodes as [Node, Node, Node];
  const place = `/conversations/${conversation}/messages`;
  const { id } = await carol.api("POST", place, { text: "And my oars", key: "axe-reportable" });
  await until(node, "the message", async () => {
    const rows: any[] = (await node.api("GET", place)).messages;
    return rows.find((m) => m.id === id && m.may_report) ?? null;
  });
  await judge(seated(), async () => {
    await page.goto(`${node.origin}/c/${conversation}`);
    const row = page.getByRole("article", { name: /And my oars/ });
    await row.focus();
    await row.getByRole("button", { name: "More" }).click();
    await page.getByRole("menuitem", { name: "Report to the admins…" }).click();
    await page.getByRole("dialog", { name: "Report this message?" }).waitFor();
  });
});

scenario.step("settings", async () => {
  const { node, page } = seated();
  await judge(seated(), async () => {
    await page.goto(`${node.origin}/settings`);
    await page.getByRole("heading", { name: "Settings", exact: true }).waitFor();
  });
});

scenario.step("connections", async () => {
  const { node, page } = seated();
  const relay = await lab.startRelay();
  await node.api("POST", "/relays", { link: relay.link });
  await others.pop()?.stop();
  await until(node, "a relay, and somebody who is away", async () => {
    const { relays, away } = await node.api("GET", "/network");
    return relays.some((one: { up: boolean }) => one.up) && away.length > 0 ? true : null;
  });
  await judge(seated(), async () => {
    await page.goto(`${node.origin}/settings/network`);
    const map = page.getByRole("img", { name: /^Map of your connections/ });
    await map.waitFor();
    await map.scrollIntoViewIfNeeded();
    const lines = page.getByRole("list", { name: "Connections now" });
    for (const name of ["Bob", "Carol"]) await lines.getByText(name, { exact: true }).waitFor();
  });
});

scenario.step("unlock", async () => {
  const { node, page } = seated();
  await node.api("POST", "/vault/lock");
  await judge(seated(), async () => {
    await page.goto(node.origin);
    await page.getByRole("heading", { name: "Welcome back" }).waitFor();
  });
});
