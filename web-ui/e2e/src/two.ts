// Two people, each at a browser with fake devices and with a node of their
// own, and the calls between them.

import type { Page } from "playwright-core";
import { pointer } from "./hands.js";
import { acquaint, until as wait, type Node, type Place } from "./lab.js";
import type { Scenario } from "./steps.js";
import { pictured, until, watch, type Truth } from "./talk.js";
import { App } from "./views.js";

export const NAMES = ["Alice", "Bob"] as const;
export type Side = 0 | 1;
/** So many calls of one person ring within this time, ms (and a second more). */
const RINGS_MAX = 12;
const RINGS_MS = 121_000;

/** Where they are; left out: both here. */
export interface Where {
  places: readonly Place[];
  /** Programs that start each one's browser. */
  browsers: readonly string[];
  /** Flags of both nodes. */
  flags?: string[];
  /** What a node needs before the two meet. */
  before?: (node: Node) => Promise<void>;
}

export class Two {
  readonly apps: App[] = [];
  /** When Alice has called. */
  private readonly dialed: number[] = [];

  constructor(private readonly scenario: Scenario) {}

  /** Starts both nodes, makes them contacts, and opens their conversation in both browsers. */
  async begin(where?: Where): Promise<void> {
    const { lab } = this.scenario;
    for (const side of [0, 1] as const) {
      const node = await lab.startNode(NAMES[side], where?.flags ?? [], where?.places[side]);
      await node.signUp();
      await where?.before?.(node);
    }
    await acquaint(this.node(0), this.node(1));
    for (const side of [0, 1] as const) {
      const person = await this.scenario.sit(this.node(side), where?.browsers[side]);
      await watch(person);
      await person.page.reload();
      const app = new App(person, pointer);
      this.apps.push(app);
      await app.open(NAMES[side === 0 ? 1 : 0]);
    }
  }

  /** Gives Bob a second device, with a browser of its own; both of his then show the conversation. */
  async tablet(place?: Place, browser?: string): Promise<Page> {
    const { lab } = this.scenario;
    const bob = this.node(1);
    const tablet = await lab.startTwin(bob, "Tablet", place);
    await this.page(1).goto(bob.link);
    await this.app(1).open(NAMES[0]);
    await wait(tablet, "the conversation", async () => {
      const list: any[] = await tablet.api("GET", "/conversations");
      return list.find((conversation) => conversation.title === NAMES[0]) ?? null;
    });
    const person = await this.scenario.sit(tablet, browser);
    await watch(person);
    await person.page.reload();
    await new App(person, pointer).open(NAMES[0]);
    return person.page;
  }

  node(side: Side): Node {
    const node = this.scenario.lab.nodes[side];
    if (node === undefined) throw new Error("there is no such node");
    return node;
  }

  app(side: Side): App {
    const app = this.apps[side];
    if (app === undefined) throw new Error("nobody sits there");
    return app;
  }

  page(side: Side): Page {
    return this.app(side).page;
  }

  /** The call as a page shows it. */
  talk(side: Side) {
    return this.page(side).getByRole("region", { name: `Call with ${NAMES[side === 0 ? 1 : 0]}` });
  }

  /** A button of the call that a page shows. */
  tool(side: Side, name: string) {
    return this.page(side).getByRole("toolbar", { name: "In this call" }).getByRole("button", { name });
  }

  /** Alice's call as it rings at Bob's. */
  rings(page: Page = this.page(1)) {
    return page.getByRole("region", { name: /^Alice calls/ });
  }

  /** Until a call of Alice's rings: more than twelve in two minutes would not. */
  async ringable(): Promise<void> {
    const oldest = this.dialed.at(-RINGS_MAX);
    if (oldest !== undefined) await this.page(0).waitForTimeout(Math.max(0, oldest + RINGS_MS - performance.now()));
    this.dialed.push(performance.now());
  }

  /** Alice calls with a picture. */
  async dial(): Promise<void> {
    await this.ringable();
    await this.page(0).getByRole("button", { name: "Video call with Bob" }).click();
  }

  /** A call with pictures and sound both ways. How long it took, and what both browsers say of it. */
  async call(): Promise<[number, Truth, Truth]> {
    await this.dial();
    const begin = performance.now();
    await this.rings().getByRole("button", { name: "Answer with video" }).click();
    const look = (side: Side) => until(this.page(side), "a picture", (now) => now.frames > 0 && now.energy > 0, 40_000);
    const [here, there] = await Promise.all([look(0), look(1)]);
    return [performance.now() - begin, here, there];
  }

  /** How long it takes from a call's beginning to a picture on both sides, ms: p50 and p95 of so many calls. */
  async timed(calls: number): Promise<[number, number]> {
    const times: number[] = [];
    for (let n = 0; n < calls; n += 1) {
      const pictures = ([0, 1] as const).map((side) => pictured(this.page(side)));
      const [begin] = await Promise.all([press(this.page(0), "Video call with Bob"), press(this.page(1), "Answer with video")]);
      times.push(Math.max(...(await Promise.all(pictures))) - begin);
      await this.hangUp();
    }
    console.log(`each call, ms: ${times.join(" ")}`);
    return [quantile(times, 0.5), quantile(times, 0.95)];
  }

  async hangUp(side: Side = 0): Promise<void> {
    await this.tool(side, "Hang up").click();
    await this.over();
  }

  /** Neither page shows a call. */
  async over(): Promise<void> {
    for (const side of [0, 1] as const) await this.talk(side).waitFor({ state: "detached" });
  }
}

/**
 * Presses a button as soon as it is there. When, by the machine's clock, ms.
 * From within the page: the pace at which a driver looks is not to be timed.
 */
async function press(page: Page, name: string): Promise<number> {
  return page.evaluate(
    async (wanted) =>
      new Promise<number>((done) => {
        const look = () => {
          const all = Array.from(document.querySelectorAll("button"));
          const button = all.find((b) => !b.disabled && (b.getAttribute("aria-label") ?? b.textContent).trim() === wanted);
          if (button === undefined) return false;
          done(Date.now());
          button.click();
          return true;
        };
        if (look()) return;
        const observer = new MutationObserver(() => {
          if (look()) observer.disconnect();
        });
        observer.observe(document.body, { subtree: true, childList: true, attributes: true });
      }),
    name,
  );
}

/** The value below which this share of the values lies. */
function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}
