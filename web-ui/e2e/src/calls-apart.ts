// Calls between two browsers, each with its node in a network namespace of its
// own, on one link that can be cut. `cargo xtask bench call` runs this; with
// KITH_CALLS=N it makes N calls and prints how long ring to picture took.

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import type { Page } from "playwright-core";
import { hindrance, Link } from "./apart.js";
import { pointer } from "./hands.js";
import { acquaint } from "./lab.js";
import { Scenario } from "./steps.js";
import { truth, until, watch } from "./talk.js";
import { App } from "./views.js";

const PICTURES = process.env["KITH_E2E_PICTURES"];
const CALLS = Number(process.env["KITH_CALLS"] ?? "10");
const DELAY_MS = Number(process.env["KITH_DELAY"] ?? "0");

const why = hindrance();
if (why !== null) {
  console.log(`skipped: ${why}`);
  test("calls between two namespaces", { skip: why }, () => undefined);
} else {
  scenes();
}

function figure(name: string, value: number, unit: string): void {
  console.log(`call.${name}: ${value.toFixed(value < 10 ? 2 : 0)} ${unit}`);
}

function quantile(values: number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}

function scenes(): void {
  const link = new Link();
  process.on("exit", () => link.close());
  const scenario = new Scenario("apart", false);
  const { lab } = scenario;
  const apps: App[] = [];
  const page = (index: number): Page => {
    const app = apps[index];
    if (app === undefined) throw new Error("nobody sits there");
    return app.page;
  };
  const call = (at: Page, name: string) => at.getByRole("region", { name: `Call with ${name}` });
  const tool = (at: Page, name: string) => at.getByRole("toolbar", { name: "In this call" }).getByRole("button", { name });

  scenario.step("two people on one link", async () => {
    if (DELAY_MS > 0 && !link.delay(DELAY_MS)) console.log("skipped: this kernel delays no packets (tc netem)");
    for (const [side, name] of [
      [0, "Alice"],
      [1, "Bob"],
    ] as const) {
      const node = await lab.startNode(name, [], link.places[side]);
      await node.signUp();
    }
    const [a, b] = lab.nodes;
    if (a === undefined || b === undefined) throw new Error("no nodes");
    await acquaint(a, b);
    for (const [side, node, other] of [
      [0, a, "Bob"],
      [1, b, "Alice"],
    ] as const) {
      const person = await scenario.sit(node, link.browser(lab.folder, side));
      await watch(person);
      await person.page.reload();
      const app = new App(person, pointer);
      apps.push(app);
      await app.open(other);
    }
  });

  scenario.step("ring to first picture", async () => {
    const times: number[] = [];
    for (let n = 0; n < CALLS; n += 1) {
      const begin = performance.now();
      await page(0).getByRole("button", { name: "Video call with Bob" }).click();
      await page(1).getByRole("region", { name: /^Alice calls/ }).getByRole("button", { name: "Answer with video" }).click();
      await Promise.all([0, 1].map((side) => until(page(side), "a picture", (now) => now.frames > 0)));
      times.push(performance.now() - begin);
      if (n < CALLS - 1) {
        await tool(page(0), "Hang up").click();
        for (const [side, other] of [[0, "Bob"], [1, "Alice"]] as const) await call(page(side), other).waitFor({ state: "detached" });
      }
    }
    const trip = link.delayed * 2;
    figure(`ring_to_frame_p50_${trip}ms`, quantile(times, 0.5), "ms");
    figure(`ring_to_frame_p95_${trip}ms`, quantile(times, 0.95), "ms");
  });

  scenario.step("processor time while they talk", async () => {
    const before = lab.nodes.map((node) => node.cpu());
    const from = await truth(page(1));
    await page(0).waitForTimeout(10_000);
    const after = lab.nodes.map((node) => node.cpu());
    const to = await truth(page(1));
    after.forEach((now, side) => figure(`node_cpu_${side}`, ((now - (before[side] ?? 0)) / 10) * 100, "%"));
    figure("frames_per_second", (to.frames - from.frames) / 10, "1/s");
    figure("concealed_samples", to.concealed - from.concealed, "samples");
    assert.equal([to.local, to.remote].includes("relay"), false, "the path is direct");
  });

  scenario.step("the link is cut for ten seconds, and the call goes on", async () => {
    await tool(page(0), "Microphone").click();
    link.cut();
    await call(page(0), "Bob").getByText("Reconnecting…").waitFor();
    await call(page(1), "Alice").getByText("Reconnecting…").waitFor();
    if (PICTURES !== undefined) {
      for (const colorScheme of ["dark", "light"] as const) {
        await page(0).emulateMedia({ colorScheme });
        await page(0).screenshot({ path: join(PICTURES, `call-reconnecting-${colorScheme}-1440.png`) });
      }
      await page(0).setViewportSize({ width: 390, height: 844 });
      await page(0).screenshot({ path: join(PICTURES, "call-reconnecting-light-390.png") });
      await page(0).setViewportSize({ width: 1440, height: 900 });
    }
    await page(0).waitForTimeout(10_000);
    const cut = await Promise.all([truth(page(0)), truth(page(1))]);
    link.mend();
    const begin = performance.now();
    await Promise.all([0, 1].map((side) => until(page(side), "pictures again", (now) => now.frames > (cut[side]?.frames ?? 0) + 10, 60_000)));
    figure("back_after_cut", performance.now() - begin, "ms");
    // What was switched off stays off.
    await page(1).getByText("Alice is muted").waitFor();
    await tool(page(1), "Hang up").click();
  });
}
