// Calls between two browsers, each with its node in a network namespace of its
// own, on one link that can be made long and cut. `cargo xtask bench call` runs
// this; KITH_CALLS says how many calls are timed, KITH_TRIP how many ms of
// round trip the link adds.

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { Link } from "./apart.js";
import { hindrance } from "./namespaces.js";
import { Scenario } from "./steps.js";
import { truth, until } from "./talk.js";
import { Two } from "./two.js";

const PICTURES = process.env["KITH_E2E_PICTURES"];
const CALLS = Number(process.env["KITH_CALLS"] ?? "10");
const TRIP_MS = Number(process.env["KITH_TRIP"] ?? "0");
/** How long processor time and pictures are counted. */
const TALK_MS = 10_000;

const why = hindrance();
if (why !== null) {
  console.log(`skipped: ${why}`);
  test("calls between two namespaces", { skip: why }, () => undefined);
} else {
  scenes();
}

function figure(name: string, value: number, unit: string): void {
  console.log(`call.${name}_${TRIP_MS}ms: ${value.toFixed(value < 10 ? 2 : 0)} ${unit}`);
}

function scenes(): void {
  const link = new Link();
  process.on("exit", () => link.close());
  const scenario = new Scenario("apart", false);
  const two = new Two(scenario);
  const { lab } = scenario;

  scenario.step("two people on one link", async () => {
    const [a, b] = link.sides.map((side) => side.browser(lab.folder)) as [string, string];
    await two.begin({ places: link.places, browsers: [a, b] });
    if (TRIP_MS > 0) await link.lengthen(TRIP_MS);
  });

  scenario.step("ring to first picture", async () => {
    const [p50, p95] = await two.timed(CALLS);
    figure("ring_to_frame_p50", p50, "ms");
    figure("ring_to_frame_p95", p95, "ms");
  });

  scenario.step("processor time while they talk", async () => {
    await two.call();
    const used = () => [...lab.nodes.map((node) => node.cpu()), ...link.sides.map((side) => side.browserCpu())];
    const [before, from] = [used(), await truth(two.page(1))];
    await two.page(0).waitForTimeout(TALK_MS);
    const [after, to] = [used(), await truth(two.page(1))];
    const names = ["node_cpu_0", "node_cpu_1", "browser_cpu_0", "browser_cpu_1"];
    names.forEach((name, n) => figure(name, (((after[n] ?? 0) - (before[n] ?? 0)) / (TALK_MS / 1000)) * 100, "% of a core"));
    assert.ok((after[0] ?? 0) > 0 && (after[2] ?? 0) > 0, "processor time is counted");
    figure("frames_per_second", (to.frames - from.frames) / (TALK_MS / 1000), "1/s");
    figure("concealed_samples", to.concealed - from.concealed, "samples");
    assert.equal([to.local, to.remote].includes("relay"), false, "the path is direct");
  });

  scenario.step("the link is cut for ten seconds, and the call goes on", async () => {
    await two.tool(0, "Microphone").click();
    link.cut();
    for (const side of [0, 1] as const) await two.talk(side).getByText("Reconnecting…").waitFor();
    if (PICTURES !== undefined) {
      const page = two.page(0);
      for (const colorScheme of ["dark", "light"] as const) {
        for (const size of [
          { width: 1440, height: 900 },
          { width: 390, height: 844 },
        ]) {
          await page.emulateMedia({ colorScheme });
          await page.setViewportSize(size);
          await page.screenshot({ path: join(PICTURES, `call-reconnecting-${colorScheme}-${size.width}.png`) });
        }
      }
      await page.setViewportSize({ width: 1440, height: 900 });
    }
    await two.page(0).waitForTimeout(10_000);
    const cut = await Promise.all([truth(two.page(0)), truth(two.page(1))]);
    link.mend();
    const begin = performance.now();
    await Promise.all(([0, 1] as const).map((side) => until(two.page(side), "pictures again", (now) => now.frames > (cut[side]?.frames ?? 0) + 10, 60_000)));
    figure("back_after_cut", performance.now() - begin, "ms");
    // What was switched off stays off.
    await two.page(1).getByText("Alice is muted").waitFor();
    await two.hangUp(1);
  });
}
