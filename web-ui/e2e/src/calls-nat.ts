// Calls through address translation of every kind: two browsers, each with its
// node in a house of its own, and a relay with TURN on the street.
// `cargo xtask netlab calls` runs this. KITH_PAIRS names the pairs, else all;
// with KITH_CALLS=N only the time of N calls is taken at each pair.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Relay, until as wait, type Node } from "./lab.js";
import { hindrance } from "./namespaces.js";
import { Scenario } from "./steps.js";
import { INSIDE, KINDS, OUTSIDE, RELAY, says, Street, type Kind, type Packet } from "./street.js";
import { bendKey, path, truth, until, type Truth } from "./talk.js";
import { Two, type Side } from "./two.js";

const CALLS = Number(process.env["KITH_CALLS"] ?? "0");
/** How long a call on a bad line is looked at. */
const BAD_MS = 20_000;

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

function figure(name: string, text: string): void {
  console.log(`netlab.calls.${name}: ${text}`);
}

function ends(here: Truth): string {
  return `${path(here)} (${here.local}/${here.remote})`;
}

function scenes(): void {
  const street = new Street();
  process.on("exit", () => street.close());
  const scenario = new Scenario("nat", false);
  const two = new Two(scenario);
  const { lab } = scenario;

  /** Both nodes have found their way through the gates: a text arrives each way. */
  async function heard(): Promise<void> {
    for (const side of [0, 1] as const) {
      const [from, to] = [two.node(side), two.node(side === 0 ? 1 : 0)];
      const talk = (await from.api("GET", "/conversations"))[0].id;
      const text = `${from.name} ${performance.now()}`;
      await from.api("POST", `/conversations/${talk}/messages`, { text, key: text });
      await wait(to, "a text", async () => {
        const page = await to.api("GET", `/conversations/${talk}/messages`);
        return page.messages.some((m: any) => m.content.text === text) ? true : null;
      });
    }
  }

  async function gates(a: Kind, b: Kind): Promise<void> {
    street.gate(0, a);
    street.gate(1, b);
    await heard();
  }

  async function turn(node: Node): Promise<void> {
    await wait(node, "the relay's TURN", async () => {
      const { servers } = await node.api("GET", "/call-servers");
      return servers.some((s: any) => s.urls.some((u: string) => u.startsWith("turn:"))) ? true : null;
    });
  }

  scenario.step("two houses and a relay", async () => {
    for (const side of [0, 1] as const) street.gate(side, "port-restricted");
    const relay = await Relay.start(lab.folder, street.relay, ["--turn", `${RELAY}:3478`, "--turn-allow-local"]);
    lab.relay = relay;
    const [a, b] = street.homes.map((home) => home.browser(lab.folder)) as [string, string];
    await two.begin({
      places: street.houses,
      browsers: [a, b],
      // Relays only: what is seen on the street is the call's.
      flags: ["--no-direct"],
      before: async (node) => {
        await node.api("POST", "/relays", { link: relay.link });
        await turn(node);
      },
    });
  });

  if (CALLS > 0) {
    for (const [a, b] of pairs()) {
      scenario.step(`${CALLS} calls through ${a} and ${b}`, async () => {
        await gates(a, b);
        const [p50, p95] = await two.timed(CALLS);
        console.log(`call.ring_to_frame_p50_${a}_${b}: ${p50.toFixed(0)} ms`);
        console.log(`call.ring_to_frame_p95_${a}_${b}: ${p95.toFixed(0)} ms`);
      });
    }
    return;
  }

  scenario.step("a hidden address is never seen", async () => {
    await gates("full-cone", "full-cone");
    /** One call, and what passed meanwhile at the callee and in front of their gate. */
    const watched = async (): Promise<[Truth, number, Packet[], Packet[]]> => {
      const stop = await Promise.all([street.record("house", 1, lab.folder), street.record("street", 1, lab.folder)]);
      const [ms, here] = await two.call();
      await two.page(0).waitForTimeout(3_000);
      await two.hangUp();
      const [house, far] = await Promise.all(stop.map((end) => end()));
      return [here, ms, house ?? [], far ?? []];
    };
    const caller = [OUTSIDE[0], INSIDE[0]];
    const seen = (packets: Packet[]) => packets.filter((packet) => caller.some((address) => says(packet, address))).length;
    // First that it would be seen.
    const [, , openHouse, openFar] = await watched();
    const control = [seen(openHouse), seen(openFar)];
    assert.ok((control[0] ?? 0) > 100 && (control[1] ?? 0) > 100, `without the wish the address is seen: ${control.join(", ")}`);
    const { account } = await two.node(1).api("GET", "/me");
    await two.node(0).api("PUT", `/contacts/${account}/hide-address`, { hide: true });
    const [here, ms, house, far] = await watched();
    assert.equal(here.local, "relay");
    const media = far.filter((packet) => packet.udp && packet.from === RELAY).length;
    assert.ok(media > 100, "the call's packets were written down");
    assert.deepEqual([seen(house), seen(far)], [0, 0], "not one packet says the caller's address");
    figure("hidden", `${ms.toFixed(0)} ms ${ends(here)}; packets that say the address at the callee and before their gate: ${control.join(" and ")} without the wish, 0 and 0 of ${house.length} and ${far.length} with it`);
    await two.node(0).api("PUT", `/contacts/${account}/hide-address`, { hide: false });
  });

  scenario.step("a key that was altered on the way ends the call", async () => {
    await bendKey(two.page(0));
    await two.dial();
    await two.rings().getByRole("button", { name: "Answer with video" }).click();
    await two.page(0).getByText(/does not hold the key/).waitFor();
    await two.over();
    figure("altered_key", "refused, and so it says");
  });

  scenario.step("a bad line: 5 % loss and 80 ms", async () => {
    await gates("port-restricted", "port-restricted");
    const near = await street.far(1, 80, 50);
    const [ms, here] = await two.call();
    const from = await Promise.all([truth(two.page(0)), truth(two.page(1))]);
    await two.page(0).waitForTimeout(BAD_MS);
    const to = await Promise.all([truth(two.page(0)), truth(two.page(1))]);
    for (const side of [0, 1] as const) {
      const of = (name: "frames" | "freezes" | "frozen" | "lost" | "packets" | "concealed") => to[side][name] - from[side][name];
      const rate = of("frames") / (BAD_MS / 1000);
      const loss = (100 * of("lost")) / (of("lost") + of("packets"));
      figure(
        `bad_line.${side}`,
        `${rate.toFixed(1)} frames/s, ${of("freezes")} freezes (${of("frozen").toFixed(1)} s), ${loss.toFixed(1)} % lost, ${of("concealed")} samples concealed`,
      );
      assert.ok(rate > 5, `the picture goes on: ${rate} frames/s`);
      assert.ok(loss > 2, `the line is bad: ${loss} % lost`);
    }
    figure("bad_line", `${ms.toFixed(0)} ms ${ends(here)}`);
    await two.hangUp();
    await near();
  });

  scenario.step("a probe without a browser finds its echo", async () => {
    await gates("port-restricted", "port-restricted");
    const echo = await two.node(1).program(["call", "echo"], "Answers calls");
    await two.ringable();
    const text = await two.node(0).output(["call", "probe", "Bob"]);
    assert.match(text, /call\.path: direct/);
    console.log(text.trim());
    await echo.end();
  });

  for (const [a, b] of pairs()) {
    scenario.step(`${a} and ${b}`, async () => {
      await gates(a, b);
      const [ms] = await two.call();
      // A better pair takes the place of the first: one side is ahead then, and the page follows.
      const shown = (side: Side, like: Truth) => two.talk(side).locator(`[data-path="${path(like)}"]`).isVisible();
      const here = await until(two.page(0), "both say the same of the path, and show it", async (now) => {
        const same = path(now) === path(await truth(two.page(1)));
        return same && (await shown(0, now)) && (await shown(1, now));
      });
      figure(`${a}.${b}`, `${ms.toFixed(0)} ms ${ends(here)}`);
      await two.hangUp();
    });

    scenario.step(`${a}, and an endpoint without a browser behind ${b}`, async () => {
      const echo = await two.node(1).program(["call", "echo"], "Answers calls");
      // What is said of the call before goes by itself.
      const noWay = two.page(0).getByText(/No way was found between the two networks/);
      await noWay.waitFor({ state: "detached" });
      await two.dial();
      const begin = performance.now();
      if (b === "udp-blocked") {
        // It has UDP alone: both sides are told that there is no way.
        await noWay.waitFor({ timeout: 90_000 });
        figure(`${a}.${b}.endpoint`, `${(performance.now() - begin).toFixed(0)} ms, no way, and so it says`);
      } else {
        const here = await until(two.page(0), "own sound and picture come back", (n) => n.frames > 0 && n.energy > 0, 40_000);
        figure(`${a}.${b}.endpoint`, `${(performance.now() - begin).toFixed(0)} ms ${ends(here)}`);
        await two.tool(0, "Hang up").click();
      }
      await two.over();
      await echo.end();
    });
  }
}
