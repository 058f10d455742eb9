// Network namespaces: made, wired, entered, removed at the end. Needs the
// right to make them.

import { execFileSync, spawn } from "node:child_process";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Place } from "./lab.js";

/** Ticks of the clock that /proc counts in, per second. */
const TICKS = 100;

function run(words: readonly string[], input = ""): string {
  const [program, ...args] = words;
  return execFileSync(program ?? "", args, { encoding: "utf8", input, stdio: ["pipe", "pipe", "pipe"] });
}

/** Why namespaces cannot be made here, or null. */
export function hindrance(): string | null {
  try {
    new Namespace("probe").close();
    return null;
  } catch (error) {
    return `network namespaces cannot be made here: ${String(error).split("\n")[0] ?? ""}`;
  }
}

/** One namespace. */
export class Namespace {
  readonly name: string;
  /** Words that start a program inside. */
  readonly prefix: readonly string[];
  private readonly ends: (() => void)[] = [];

  constructor(label: string) {
    this.name = `kith-${label}-${process.pid}`;
    this.prefix = ["ip", "netns", "exec", this.name];
    run(["ip", "netns", "add", this.name]);
    this.ip("link", "set", "lo", "up");
  }

  ip(...args: string[]): string {
    return run(["ip", "-n", this.name, ...args]);
  }

  /** The output of a program inside. */
  run(words: readonly string[], input = ""): string {
    return run([...this.prefix, ...words], input);
  }

  place(address: string): Place {
    return { prefix: this.prefix, address };
  }

  /** Runs a program inside until it says `ready`; it ends with the namespace, or when what is returned is called. */
  async start(words: readonly string[], ready: string): Promise<() => Promise<void>> {
    const [program, ...args] = [...this.prefix, ...words];
    const child = spawn(program ?? "", args, { stdio: ["ignore", "pipe", "pipe"] });
    const ended = new Promise<void>((done) => child.on("close", () => done()));
    const end = () => void child.kill("SIGTERM");
    this.ends.push(end);
    await new Promise<void>((resolve, reject) => {
      let said = "";
      const hear = (part: unknown) => {
        said += String(part);
        if (said.includes(ready)) resolve();
      };
      child.stdout.on("data", hear);
      child.stderr.on("data", hear);
      child.on("error", reject);
      child.on("close", () => reject(new Error(`${words[0] ?? ""} ended: ${said.trim()}`)));
    });
    return async () => {
      end();
      await ended;
    };
  }

  /**
   * Makes what a chain of packet filters passes late and lossy, each way that
   * it sees, until what is returned is called: this kernel may lack `netem`.
   */
  async far(chain: readonly string[], delayMs: number, lossPermille: number): Promise<() => Promise<void>> {
    const xtask = process.env["KITH_XTASK"];
    if (xtask === undefined || xtask === "") throw new Error("KITH_XTASK must name the built xtask: run this by `cargo xtask`");
    const rule = ["-t", "mangle", "-A", ...chain, "-j", "NFQUEUE", "--queue-num", "7", "--queue-bypass"];
    const end = await this.start([xtask, "queue", "7", String(delayMs), String(lossPermille), "1"], "ready");
    this.run(["iptables", ...rule]);
    return async () => {
      this.run(["iptables", ...rule.map((word) => (word === "-A" ? "-D" : word))]);
      await end();
    };
  }

  /** A program that starts Chromium inside. */
  browser(folder: string): string {
    const path = join(folder, `${this.name}.sh`);
    const chromium = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
    writeFileSync(path, `#!/bin/sh\nexec ${this.prefix.join(" ")} ${chromium} "$@"\n`);
    chmodSync(path, 0o755);
    return path;
  }

  /** Processor time that the browser inside has used, seconds. */
  browserCpu(): number {
    const pids = run(["ip", "netns", "pids", this.name]).split(/\s+/).filter(Boolean);
    return pids.reduce((sum, pid) => sum + cpuOf(pid, /chrom/i), 0);
  }

  close() {
    for (const end of this.ends.splice(0)) end();
    try {
      run(["ip", "netns", "del", this.name]);
    } catch {
      // It was not there.
    }
  }
}

/** Processor time of a process of this name, seconds; 0 for any other. */
function cpuOf(pid: string, name: RegExp): number {
  let text;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    // It has ended.
    return 0;
  }
  const [, called = "", rest = ""] = /^\d+ \((.*)\) (.*)$/s.exec(text) ?? [];
  if (!name.test(called)) return 0;
  const fields = rest.split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}
