// Chromium, one context per person, watched for everything that no view may
// ever do: script errors, policy violations, requests to anybody else.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";
import type { Lab, Node } from "./lab.js";

/** Waits in the page are for this long at most. */
export const PATIENCE_MS = 45_000;

/** A browser; with a wrapper, a program that starts it elsewhere. */
export async function launch(wrapper?: string): Promise<Browser> {
  return chromium.launch({
    executablePath: wrapper ?? process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    headless: true,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-background-networking",
      "--disable-renderer-backgrounding",
      "--disable-backgrounding-occluded-windows",
      "--disable-background-timer-throttling",
      // A microphone that beeps, and nobody to ask for it.
      "--use-fake-device-for-media-stream",
      "--use-fake-ui-for-media-stream",
      "--autoplay-policy=no-user-gesture-required",
    ],
  });
}

/** A person at a browser. */
export class Person {
  /** What must not have happened. */
  readonly faults: string[] = [];

  private constructor(
    readonly node: Node,
    readonly context: BrowserContext,
    readonly page: Page,
  ) {}

  static async at(browser: Browser, node: Node, options: { keysOnly: boolean }): Promise<Person> {
    const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, locale: "en-GB" });
    context.setDefaultTimeout(PATIENCE_MS);
    await context.grantPermissions(["clipboard-read", "clipboard-write", "microphone", "camera"], { origin: node.origin });
    const page = await context.newPage();
    const person = new Person(node, context, page);
    page.on("pageerror", (error) => person.faults.push(`script error: ${error.message}`));
    page.on("console", (message) => {
      if (message.type() === "error" && message.text().includes("Content Security Policy")) {
        person.faults.push(`policy violation: ${message.text()}`);
      }
    });
    context.on("request", (request) => {
      const url = new URL(request.url());
      if (url.origin !== node.origin && !["data:", "blob:"].includes(url.protocol)) {
        person.faults.push(`request to ${url.origin}`);
      }
    });
    if (options.keysOnly) {
      await context.exposeFunction("kithPointer", (type: string) => person.faults.push(`pointer event: ${type}`));
      await context.addInitScript(() => {
        for (const type of ["pointerdown", "pointerup", "mousedown", "mouseup", "touchstart"]) {
          addEventListener(
            type,
            (event) => {
              if (event.isTrusted) (globalThis as unknown as { kithPointer(type: string): void }).kithPointer(type);
            },
            true,
          );
        }
      });
    }
    return person;
  }

  /** Opens the node's one-time sign-in link. */
  async signIn(): Promise<void> {
    await this.page.goto(this.node.link);
  }
}

/** Screenshots of everybody, for a failure that must be understood. */
export async function evidence(lab: Lab, people: Person[], name: string): Promise<void> {
  const folder = join(lab.folder, "pictures");
  mkdirSync(folder, { recursive: true });
  for (const person of people) {
    const file = join(folder, `${name.replace(/\W+/g, "-").slice(0, 40)}-${person.node.name}.png`);
    await person.page.screenshot({ path: file }).catch(() => undefined);
  }
  console.log(`pictures of the failure are in ${folder}`);
}
