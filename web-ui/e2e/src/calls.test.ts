// Calls between two browsers with fake devices: what is heard and seen comes
// from the browsers' own statistics, not from what the page claims.

import assert from "node:assert/strict";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { Link } from "./apart.js";
import { faults } from "./axe.js";
import { until as wait } from "./lab.js";
import { hindrance } from "./namespaces.js";
import { figure, Scenario } from "./steps.js";
import { bendKey, truth, until } from "./talk.js";
import { Two } from "./two.js";

const PICTURES = process.env["KITH_E2E_PICTURES"];
const scenario = new Scenario("calls", false);
const two = new Two(scenario);
const alice = () => two.page(0);
const bob = () => two.page(1);
const rows = (page: Page) => page.getByRole("feed", { name: "Messages" }).getByRole("article");

/** One view in both themes and sizes: no serious fault, and a picture if wanted. */
async function judge(page: Page, name: string): Promise<void> {
  const found: string[] = [];
  for (const colorScheme of ["dark", "light"] as const) {
    for (const size of [
      { width: 1440, height: 900 },
      { width: 390, height: 844 },
    ]) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await page.setViewportSize(size);
      if (PICTURES !== undefined) await page.screenshot({ path: join(PICTURES, `call-${name}-${colorScheme}-${size.width}.png`) });
      for (const fault of await faults(page)) found.push(`${name} ${colorScheme} ${size.width}: ${fault}`);
    }
  }
  await page.setViewportSize({ width: 1440, height: 900 });
  assert.deepEqual(found, []);
}

// Each with the node in a network namespace of its own, on one link; both here
// where such cannot be made.
const why = hindrance();
const link = why === null ? new Link(3) : null;
if (why !== null) console.log(`both on this machine: ${why}`);
process.on("exit", () => link?.close());

scenario.step("two people", async () => {
  if (link === null) return two.begin();
  return two.begin({ places: link.places, browsers: link.sides.map((side) => side.browser(scenario.lab.folder)) });
});

scenario.step("a call rings, is answered, and both hear and see", async () => {
  await alice().getByRole("button", { name: "Video call with Bob" }).click();
  await two.rings().getByRole("alert").waitFor();
  await two.talk(0).getByText("Ringing…").waitFor();
  await judge(bob(), "incoming");
  await judge(alice(), "ringing");
  const begin = performance.now();
  await two.rings().getByRole("button", { name: "Answer with video" }).click();
  for (const page of [alice(), bob()]) {
    const now = await until(page, "sound and picture", (n) => n.frames > 5 && n.energy > 0 && n.state === "connected");
    if (page === alice()) figure("calls.answer_to_frames", performance.now() - begin);
    assert.ok(now.local !== "relay" && now.remote !== "relay", "the path is direct");
  }
  await two.talk(0).getByText(/connection · same network/).waitFor();
  await judge(alice(), "talk");
  await judge(bob(), "talk-called");
});

scenario.step("mute is silence, and the other side is told", async () => {
  await two.tool(0, "Microphone").click();
  await bob().getByText("Alice is muted").waitFor();
  // First that it would be heard.
  const before = await truth(alice());
  await until(alice(), "Bob is heard", (n) => n.energy > before.energy);
  // What was on its way is heard out; then packets go on, and nothing is in them.
  let quiet = await truth(bob());
  const later = await until(bob(), "silence", (n) => {
    if (n.energy - quiet.energy > 1e-6) quiet = n;
    return n.packets > quiet.packets + 60;
  });
  await two.tool(0, "Microphone").click();
  await until(bob(), "sound again", (n) => n.energy > later.energy + 1e-4);
});

scenario.step("camera off and screen share", async () => {
  await two.tool(0, "Camera").click();
  await two.talk(1).locator(".call-face").waitFor();
  let dark = await truth(bob());
  const later = await until(bob(), "no picture, while packets go on", (n) => {
    if (n.frames > dark.frames) dark = n;
    return n.packets > dark.packets + 60;
  });
  await two.tool(0, "Share screen").click();
  await bob().getByLabel("Screen of Alice").waitFor();
  await until(bob(), "the screen's picture", (n) => n.frames > later.frames + 5);
  await two.tool(0, "Share screen").click();
  await two.tool(0, "Camera").click();
  await until(bob(), "the camera's picture", (n) => n.frames > later.frames + 20);
});

scenario.step("small and large, by keys, with devices to choose", async () => {
  await alice().keyboard.press("m");
  await bob().getByText("Alice is muted").waitFor();
  await alice().keyboard.press("m");
  await bob().getByText("Alice is muted").waitFor({ state: "detached" });
  await two.talk(0).getByRole("button", { name: "Devices" }).click();
  await alice().getByRole("meter", { name: "Loudness of your microphone" }).waitFor();
  await alice().getByRole("combobox", { name: "Microphone" }).waitFor();
  await judge(alice(), "devices");
  await alice().keyboard.press("Escape");
  await two.talk(0).getByRole("button", { name: "Make small" }).click();
  // The conversation lies free below it.
  await alice().getByRole("textbox", { name: /Message/ }).fill("while we talk");
  await alice().keyboard.press("Enter");
  await rows(bob()).filter({ hasText: "while we talk" }).waitFor({ state: "attached" });
  await judge(alice(), "small");
  await two.talk(0).getByRole("button", { name: "Make large" }).click();
});

scenario.step("hanging up ends it on both sides, and both remember", async () => {
  await two.tool(1, "Hang up").click();
  await two.over();
  for (const page of [alice(), bob()]) await rows(page).filter({ hasText: /Video call, \d:\d\d/ }).waitFor();
});

scenario.step("declined, and missed", async () => {
  await alice().getByRole("button", { name: "Call Bob", exact: true }).click();
  await two.rings().getByRole("button", { name: "Decline" }).click();
  await alice().getByText("Bob declined the call.").waitFor();
  await two.over();
  await rows(alice()).filter({ hasText: "Voice call, they declined" }).waitFor();
  await rows(bob()).filter({ hasText: "Voice call, declined" }).waitFor();
  await alice().getByRole("button", { name: "Call Bob", exact: true }).click();
  await two.rings().waitFor();
  await two.tool(0, "Hang up").click();
  await two.rings().waitFor({ state: "detached" });
  await rows(bob()).filter({ hasText: "Missed voice call" }).waitFor();
  await rows(alice()).filter({ hasText: "Voice call, cancelled" }).waitFor();
  await judge(bob(), "history");
});

scenario.step("an answer that events have overtaken takes nothing back", async () => {
  const question = /\/api\/v1(\/calls\/\w+\?after=\d+)$/;
  let asked = 0;
  // The first one is answered as the call stood when it was asked, and late.
  await alice().route(question, async (route) => {
    asked += 1;
    if (asked > 1) return route.continue();
    const json = await two.node(0).api("GET", question.exec(route.request().url())?.[1] ?? "");
    assert.equal(json.call.phase, "calling");
    two.node(1).pause(false);
    await two.talk(0).getByText("Ringing…").waitFor();
    return route.fulfill({ json });
  });
  two.node(1).pause(true);
  try {
    const again = alice().waitForResponse((response) => question.test(response.url()) && asked > 1);
    await alice().getByRole("button", { name: "Call Bob", exact: true }).click();
    await again;
  } finally {
    two.node(1).pause(false);
  }
  await alice().unrouteAll();
  await two.talk(0).getByText("Ringing…").waitFor();
  await two.tool(0, "Hang up").click();
  await two.rings().waitFor({ state: "detached" });
  await two.over();
});

scenario.step("a key that was altered on the way ends the call", async () => {
  await bendKey(alice());
  await alice().getByRole("button", { name: "Call Bob", exact: true }).click();
  await two.rings().getByRole("button", { name: "Answer" }).click();
  await alice().getByText(/does not hold the key/).waitFor();
  await two.over();
});

scenario.step("it rings in every window, and is taken in one", async () => {
  const second = await two.app(1).person.context.newPage();
  await second.goto(two.node(1).origin);
  await alice().getByRole("button", { name: "Call Bob", exact: true }).click();
  await two.rings(second).waitFor();
  await two.rings().getByRole("button", { name: "Answer" }).click();
  await two.rings(second).waitFor({ state: "detached" });
  await until(alice(), "sound", (n) => n.energy > 0);
  await two.hangUp();
  await second.close();
});

scenario.step("it rings on both devices of a person, and is taken on one", async () => {
  const tablet = await two.tablet(link?.places[2], link?.sides[2]?.browser(scenario.lab.folder));
  for (const [taker, other] of [
    [tablet, bob()],
    [bob(), tablet],
  ] as const) {
    await two.ringable();
    await alice().getByRole("button", { name: "Video call with Bob" }).click();
    await Promise.all([taker, other].map((page) => two.rings(page).waitFor()));
    await two.rings(taker).getByRole("button", { name: "Answer with video" }).click();
    await two.rings(other).waitFor({ state: "detached" });
    for (const page of [alice(), taker]) await until(page, "sound and picture", (n) => n.frames > 5 && n.energy > 0);
    assert.equal((await truth(other)).state, "none", "the other device is in no call");
    await two.hangUp();
    await taker.getByRole("region", { name: "Call with Alice" }).waitFor({ state: "detached" });
    for (const page of [taker, other]) await rows(page).filter({ hasText: /Video call, \d:\d\d/ }).last().waitFor();
  }
  // What is declined on one stops on the other as well.
  await two.ringable();
  await alice().getByRole("button", { name: "Call Bob", exact: true }).click();
  await Promise.all([tablet, bob()].map((page) => two.rings(page).waitFor()));
  await two.rings(tablet).getByRole("button", { name: "Decline" }).click();
  await alice().getByText("Bob declined the call.").waitFor();
  await two.rings().waitFor({ state: "detached" });
  await two.over();
});

/** Nobody has to answer: both hear each other, in one call. */
async function connectedInOne(): Promise<void> {
  await Promise.all([alice(), bob()].map((page) => until(page, "sound", (n) => n.energy > 0)));
  const open = await Promise.all(two.apps.map((app) => app.person.node.api("GET", "/calls")));
  assert.deepEqual(
    open.map((list) => list.map((call: any) => call.phase)),
    [["active"], ["active"]],
    "one call stands",
  );
  assert.equal(open[0][0].id, open[1][0].id);
  for (const side of [0, 1] as const) await two.talk(side).getByText("Connected").waitFor();
  await two.hangUp();
}

scenario.step("when both call at once, they are connected", async () => {
  await Promise.all([
    alice().getByRole("button", { name: "Call Bob", exact: true }).click(),
    bob().getByRole("button", { name: "Call Alice", exact: true }).click(),
  ]);
  await connectedInOne();
});

scenario.step("who calls somebody that is calling already takes that call", async () => {
  // Bob's call reaches his node only when Alice's rings there.
  await bob().route(/\/api\/v1\/conversations\/\w+\/call$/, async (route) => {
    await wait(two.node(1), "Alice's call", async () => {
      const list: any[] = await two.node(1).api("GET", "/calls");
      return list.find((call) => call.phase === "incoming") ?? null;
    });
    await route.continue();
  });
  await bob().getByRole("button", { name: "Call Alice", exact: true }).click();
  await alice().getByRole("button", { name: "Call Bob", exact: true }).click();
  await connectedInOne();
  await bob().unrouteAll();
});

scenario.step("two calls that cross on the way become one", async () => {
  // Both calls are made while neither node hears the other.
  let both = 0;
  let go = () => {};
  const met = new Promise<void>((resolve) => (go = resolve));
  for (const page of [alice(), bob()]) {
    await page.route(/\/api\/v1\/conversations\/\w+\/call$/, async (route) => {
      both += 1;
      if (both === 2) go();
      await met;
      await route.continue();
    });
  }
  await alice().getByRole("button", { name: "Call Bob", exact: true }).click();
  await bob().getByRole("button", { name: "Call Alice", exact: true }).click();
  await connectedInOne();
  for (const page of [alice(), bob()]) await page.unrouteAll();
});

scenario.step("an endpoint without a browser answers and sends back", async () => {
  const echo = await two.node(1).program(["call", "echo"], "Answers calls");
  await bob().goto("about:blank");
  await alice().getByRole("button", { name: "Video call with Bob" }).click();
  await until(alice(), "own sound and picture come back", (n) => n.frames > 5 && n.energy > 0);
  await two.tool(0, "Hang up").click();
  await two.talk(0).waitFor({ state: "detached" });
  const text = await two.node(0).output(["call", "probe", "Bob"]);
  const value = (name: string) => Number(new RegExp(`call\\.${name}: ([\\d.]+)`).exec(text)?.[1]);
  assert.ok(value("packets") > 300, `the probe hears its echo: ${text}`);
  assert.ok(value("loss") < 5, text);
  figure("calls.probe_connected", value("connected"));
  await echo.end();
});

  scenario.step("a person tests the own set-up alone", async () => {
  const page = alice();
  await page.goto(`${two.node(0).origin}/settings/calls`);
  await page.getByRole("button", { name: "Test my set-up" }).click();
  for (const step of ["microphone", "camera", "connection", "sound", "picture"]) {
    await page.locator(`[data-step="${step}"][data-state="ok"]`).waitFor();
  }
  await judge(page, "test");
});
