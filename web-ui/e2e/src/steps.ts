// A scenario is a list of steps that rest on each other: after the first
// failure the rest counts as failed too, without being tried.

import { after, test } from "node:test";
import type { Browser } from "playwright-core";
import { evidence, launch, Person } from "./browser.js";
import { Lab, type Node } from "./lab.js";

export class Scenario {
  readonly lab = new Lab();
  readonly people: Person[] = [];
  /** The step that runs. */
  current = "";
  private readonly browsers = new Map<string, Browser>();
  private failed: string | null = null;

  constructor(
    private readonly title: string,
    private readonly keysOnly: boolean,
  ) {
    after(async () => {
      for (const browser of this.browsers.values()) await browser.close();
      await this.lab.close(this.failed !== null);
    });
  }

  /** Adds a step; prints how long it took. */
  step(name: string, work: () => Promise<void>): void {
    test(`${this.title}: ${name}`, async () => {
      if (this.failed !== null) throw new Error(`not reached: "${this.failed}" failed`);
      const begin = performance.now();
      this.current = name;
      try {
        await work();
        const faults = this.people.flatMap((person) => person.faults.map((fault) => `${person.node.name}: ${fault}`));
        if (faults.length > 0) throw new Error(faults.join("\n"));
      } catch (error) {
        this.failed = name;
        await evidence(this.lab, this.people, name);
        throw error;
      }
      figure(`${this.title}.${name}`, performance.now() - begin);
    });
  }

  /** Somebody new at a browser of their own, signed in to their node. */
  async sit(node: Node, wrapper?: string): Promise<Person> {
    const key = wrapper ?? "";
    const browser = this.browsers.get(key) ?? (await launch(wrapper));
    this.browsers.set(key, browser);
    const person = await Person.at(browser, node, { keysOnly: this.keysOnly });
    this.people.push(person);
    await person.signIn();
    return person;
  }
}

/** Prints a figure. */
export function figure(name: string, ms: number): void {
  console.log(`e2e.${name.replace(/[^\w.]+/g, "_")}: ${ms.toFixed(0)} ms`);
}
