// Two network namespaces on one link, each for a node and its browser. Needs
// the right to make them.

import { execFileSync } from "node:child_process";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Place } from "./lab.js";

const NAMES = [`kc-a-${process.pid}`, `kc-b-${process.pid}`] as const;

function run(...words: string[]): string {
  const [program, ...args] = words;
  return execFileSync(program ?? "", args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** Why namespaces cannot be made here, or null. */
export function hindrance(): string | null {
  const probe = `kc-probe-${process.pid}`;
  try {
    run("ip", "netns", "add", probe);
    run("ip", "netns", "del", probe);
    return null;
  } catch (error) {
    return `network namespaces cannot be made here: ${String(error).split("\n")[0] ?? ""}`;
  }
}

/** One link between two namespaces. */
export class Link {
  readonly places: readonly [Place, Place];
  /** Half of the round trip that was added, ms; 0 where the kernel has no netem. */
  delayed = 0;

  constructor() {
    const [a, b] = NAMES;
    for (const name of NAMES) run("ip", "netns", "add", name);
    run("ip", "link", "add", "link0", "netns", a, "type", "veth", "peer", "name", "link0", "netns", b);
    this.places = [0, 1].map((side) => {
      const name = NAMES[side as 0 | 1];
      const address = `10.77.0.${side + 1}`;
      run("ip", "-n", name, "addr", "add", `${address}/24`, "dev", "link0");
      run("ip", "-n", name, "link", "set", "lo", "up");
      run("ip", "-n", name, "link", "set", "link0", "up");
      return { prefix: ["ip", "netns", "exec", name], address };
    }) as unknown as [Place, Place];
    this.route();
  }

  private route() {
    // Without a way out a browser believes that it is offline.
    NAMES.forEach((name, side) => run("ip", "-n", name, "route", "replace", "default", "via", `10.77.0.${2 - side}`));
  }

  /** Adds delay each way where the kernel can. Says whether. */
  delay(ms: number): boolean {
    try {
      for (const name of NAMES) run("ip", "netns", "exec", name, "tc", "qdisc", "replace", "dev", "link0", "root", "netem", "delay", `${ms}ms`);
      this.delayed = ms;
      return true;
    } catch {
      return false;
    }
  }

  cut() {
    for (const name of NAMES) run("ip", "-n", name, "link", "set", "link0", "down");
  }

  mend() {
    for (const name of NAMES) run("ip", "-n", name, "link", "set", "link0", "up");
    this.route();
  }

  /** A program that starts Chromium on one side. */
  browser(folder: string, side: 0 | 1): string {
    const path = join(folder, `chromium-${side}.sh`);
    const chromium = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
    writeFileSync(path, `#!/bin/sh\nexec ip netns exec ${NAMES[side]} ${chromium} "$@"\n`);
    chmodSync(path, 0o755);
    return path;
  }

  close() {
    for (const name of NAMES) {
      try {
        run("ip", "netns", "del", name);
      } catch {
        // It was not there.
      }
    }
  }
}
