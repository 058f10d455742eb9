// Calls through address translation of every kind: two browsers, each with its
// node in a house of its own, and a relay with TURN on the street.
// `cargo xtask netlab calls` runs this. KITH_PAIRS names the pairs, else all.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Page } from "playwright-core";
import { hindrance } from "./apart.js";
import { pointer } from "./hands.js";
import { acquaint, Relay, until as wait } from "./lab.js";
import { Scenario } from "./steps.js";
import { KINDS, OUTSIDE, RELAY, Street, type Kind } from "./street.js";
import { until, watch, type Truth } from "./talk.js";
import { App } from "./views.js";

const why = hindrance();
if (why !== null) {
  console.log(`skipped: ${why}`);
  test("calls through address translation", { skip: why }, () => undefined);
} else {
  scenes();
}

function pairs(): [Kind, Kind][] {
  const wanted = process.env["KITH_PAIRS"];
  if (wanted !== undefined && wanted !== "") return wanted.split(",").map((pair) => pair.split(":") as [Kind, Kind]);
  return KINDS.flatMap((a, n) => KINDS.slice(n).map((b) => [a, b] as [Kind, Kind]));
}

function path(now: Truth): string {
  return now.local === "relay" || now.remote === "relay" ? "relay" : "direct";
}

function scenes(): void {
  const street = new Street();
  process.on("exit", () => street.close());
  const scenario = new Scenario("nat", false);
  const { lab } = scenario;
  const apps: App[] = [];
  const page = (index: number): Page => {
    const app = apps[index];
    if (app === undefined) throw new Error("nobody sits there");
    return app.page;
  };
  const region = (at: Page, name: string) => at.getByRole("region", { name: `Call with ${name}` });

  /** One call with pictures both ways. How long, and what both browsers say of it. */
  async function call(): Promise<[number, Truth, Truth]> {
    const begin = performance.now();
    await page(0).getByRole("button", { name: "Video call with Bob" }).click();
    await page(1).getByRole("region", { name: /^Alice calls/ }).getByRole("button", { name: "Answer with video" }).click();
    const both = await Promise.all([0, 1].map((side) => until(page(side), "a picture", (now) => now.frames > 0 && now.energy > 0, 40_000)));
    return [performance.now() - begin, ...(both as [Truth, Truth])];
  }
  async function hangUp(): Promise<void> {
    await page(0).getByRole("toolbar", { name: "In this call" }).getByRole("button", { name: "Hang up" }).click();
    await region(page(0), "Bob").waitFor({ state: "detached" });
    await region(page(1), "Alice").waitFor({ state: "detached" });
  }
  /** Both nodes have found their way through the new gates: a text arrives each way. */
  async function heard(): Promise<void> {
    const [alice, bob] = lab.nodes;
    if (alice === undefined || bob === undefined) throw new Error("no nodes");
    for (const [from, to] of [
      [alice, bob],
      [bob, alice],
    ] as const) {
      const talk = (await from.api("GET", "/conversations"))[0].id;
      const text = `${from.name} ${performance.now()}`;
      await from.api("POST", `/conversations/${talk}/messages`, { text, key: text });
      await wait(to, "a text", async () => {
        const page = await to.api("GET", `/conversations/${talk}/messages`);
        return page.messages.some((m: any) => m.content.text === text) ? true : null;
      });
    }
  }
  const turn = async (index: number) => {
    const node = lab.nodes[index];
    if (node === undefined) throw new Error("no node");
    await wait(node, "the relay's TURN", async () => {
      const { servers } = await node.api("GET", "/call-servers");
      return servers.some((s: any) => s.urls.some((u: string) => u.startsWith("turn:"))) ? true : null;
    });
  };

  scenario.step("two houses and a relay", async () => {
    for (const side of [0, 1] as const) street.gate(side, "port-restricted");
    lab.relay = await Relay.start(lab.folder, street.relay, ["--turn", `${RELAY}:3478`, "--turn-allow-local"]);
    for (const [side, name] of [
      [0, "Alice"],
      [1, "Bob"],
    ] as const) {
      // Relays only: what is counted below is the call's.
      const node = await lab.startNode(name, ["--no-direct"], street.houses[side]);
      await node.signUp();
      await node.api("POST", "/relays", { link: lab.relay.link });
    }
    const [a, b] = lab.nodes;
    if (a === undefined || b === undefined) throw new Error("no nodes");
    for (const index of [0, 1]) await turn(index);
    await acquaint(a, b);
    for (const [side, node, other] of [
      [0, a, "Bob"],
      [1, b, "Alice"],
    ] as const) {
      const person = await scenario.sit(node, street.browser(lab.folder, side));
      await watch(person);
      await person.page.reload();
      const app = new App(person, pointer);
      apps.push(app);
      await app.open(other);
    }
  });

  for (const [a, b] of pairs()) {
    scenario.step(`${a} and ${b}`, async () => {
      street.gate(0, a);
      street.gate(1, b);
      await heard();
      const [ms, here, there] = await call();
      console.log(`netlab.calls.${a}.${b}: ${ms.toFixed(0)} ms ${path(here)} (${here.local}/${here.remote}, ${there.local}/${there.remote})`);
      await hangUp();
    });
  }

  scenario.step("a hidden address is never seen", async () => {
    for (const side of [0, 1] as const) street.gate(side, "full-cone");
    await heard();
    street.count(1, OUTSIDE[0]);
    // First that it would be seen.
    await call();
    await hangUp();
    const control = street.counted(1);
    assert.ok(control > 0, "without the wish the address is seen");
    const [alice, bob] = lab.nodes;
    if (alice === undefined || bob === undefined) throw new Error("no nodes");
    const { account } = await bob.api("GET", "/me");
    await alice.api("PUT", `/contacts/${account}/hide-address`, { hide: true });
    const before = street.counted(1);
    const [ms, here] = await call();
    assert.equal(here.local, "relay");
    await page(0).waitForTimeout(3_000);
    await hangUp();
    assert.equal(street.counted(1), before, "not one packet came from the caller's address");
    console.log(`netlab.calls.hidden: ${ms.toFixed(0)} ms relay; packets seen without the wish: ${control}, with it: 0`);
  });
}
