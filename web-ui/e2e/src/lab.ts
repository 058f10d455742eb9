// Real relays and nodes as processes of this machine. Knows their flags and
// files, nothing of what they do inside.

import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { createWriteStream, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

export const PASSPHRASE = "correct horse battery staple";
const PATIENCE_MS = 60_000;
/** Between two looks at something that takes a while. */
const LOOK_MS = 50;

function binary(variable: string): string {
  const path = process.env[variable];
  if (path === undefined || path === "") {
    throw new Error(`${variable} must name a built program: run these tests by \`cargo xtask test --only e2e\``);
  }
  return path;
}

/** A port that is free now, for listeners that return at the same address. */
async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => (address !== null && typeof address === "object" ? resolve(address.port) : reject()));
    });
  });
}

function listen(address: string, port: number): string[] {
  return [`/ip4/${address}/udp/${port}/quic-v1`, `/ip4/${address}/tcp/${port}`];
}

/** Where a program runs: here, or in a network namespace of its own. */
export interface Place {
  /** Words before the program. */
  readonly prefix: readonly string[];
  /** The address that others reach it at. */
  readonly address: string;
}

const HERE: Place = { prefix: [], address: "127.0.0.1" };

/** Program and arguments as they are started there. */
function placed(place: Place, program: string, args: string[]): [string, string[]] {
  const [first, ...rest] = [...place.prefix, program, ...args];
  return [first ?? program, rest];
}

/** A request from where the node is. */
async function request(place: Place, url: string, init: { method: string; headers: Record<string, string>; body?: string }): Promise<{ ok: boolean; status: number; text: string }> {
  if (place.prefix.length === 0) {
    const answer = await fetch(url, init);
    return { ok: answer.ok, status: answer.status, text: await answer.text() };
  }
  const code = `const [url, init] = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
    fetch(url, init).then(async (a) => process.stdout.write(JSON.stringify({ ok: a.ok, status: a.status, text: await a.text() })));`;
  const [program, args] = placed(place, process.execPath, ["-e", code]);
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
    let out = "";
    child.stdout.on("data", (part) => (out += String(part)));
    child.on("error", reject);
    child.on("close", (code) => (code === 0 ? resolve(JSON.parse(out)) : reject(new Error(`no answer from ${url}`))));
    child.stdin.end(JSON.stringify([url, init]));
  });
}

/** A child process whose output goes to a log and can be waited for. */
class Process {
  private readonly child: ChildProcess;
  private readonly ended: Promise<void>;

  constructor(program: string, args: string[], log: string, onLine: (line: string) => void, onEnd: () => void) {
    this.child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    const out = createWriteStream(log, { flags: "a" });
    this.child.stderr?.pipe(out, { end: false });
    if (this.child.stdout !== null) {
      createInterface({ input: this.child.stdout }).on("line", (line) => {
        out.write(`${line}\n`);
        onLine(line);
      });
    }
    this.ended = new Promise((resolve) => {
      const done = () => {
        out.end();
        onEnd();
        resolve();
      };
      this.child.on("exit", done);
      this.child.on("error", done);
    });
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  async end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill(signal);
    await this.ended;
  }
}

/** Starts a process and resolves with what follows `text` in its output. */
async function started(
  name: string,
  program: string,
  args: string[],
  log: string,
  text: string,
): Promise<[Process, string]> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${name} did not print ${text} in time; see ${log}`)), PATIENCE_MS);
    const process: Process = new Process(
      program,
      args,
      log,
      (line) => {
        const at = line.indexOf(text);
        if (at < 0) return;
        clearTimeout(timer);
        resolve([process, line.slice(at + text.length).trim()]);
      },
      () => {
        clearTimeout(timer);
        reject(new Error(`${name} ended before it printed ${text}: ${tail(log)}`));
      },
    );
  });
}

function tail(log: string): string {
  try {
    return readFileSync(log, "utf8").split("\n").slice(-6).join(" | ");
  } catch {
    return `no log at ${log}`;
  }
}

/** A relay. */
export class Relay {
  link = "";
  private process: Process | null = null;

  private constructor(
    private readonly folder: string,
    private readonly port: number,
    private readonly place: Place,
    private readonly extra: string[],
  ) {}

  static async start(folder: string, place: Place = HERE, extra: string[] = []): Promise<Relay> {
    const relay = new Relay(folder, await freePort(), place, extra);
    await relay.start();
    return relay;
  }

  async start(): Promise<void> {
    const args = ["--data", join(this.folder, "relay"), "--name", "Test relay", ...this.extra];
    for (const address of listen(this.place.address, this.port)) args.push("--listen", address);
    const log = join(this.folder, "relay.log");
    const [program, all] = placed(this.place, binary("KITH_BOOTSTRAP_BIN"), args);
    const [process, rest] = await started("the relay", program, all, log, "kith-relay:");
    this.process = process;
    this.link = `kith-relay:${rest.split(/\s/)[0] ?? ""}`;
  }

  async stop(): Promise<void> {
    await this.process?.end("SIGTERM");
    this.process = null;
  }
}

/** A node of one person. */
export class Node {
  /** The sign-in link of the last start. */
  link = "";
  private process: Process | null = null;
  private readonly programs: Process[] = [];

  private constructor(
    readonly name: string,
    private readonly folder: string,
    private readonly httpPort: number,
    private readonly peerPort: number,
    private readonly extra: string[],
    readonly place: Place,
  ) {}

  static async start(folder: string, name: string, extra: string[] = [], place: Place = HERE): Promise<Node> {
    const node = new Node(name, folder, await freePort(), await freePort(), extra, place);
    await node.start();
    return node;
  }

  /** Processor time that it has used, seconds. */
  cpu(): number {
    const pid = this.process?.pid;
    if (pid === undefined) return 0;
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /, "").split(" ");
    return (Number(fields[11]) + Number(fields[12])) / 100;
  }

  /** Holds it still, or lets it go on. */
  pause(still: boolean) {
    const pid = this.process?.pid;
    if (pid !== undefined) process.kill(pid, still ? "SIGSTOP" : "SIGCONT");
  }

  get origin(): string {
    return `http://127.0.0.1:${this.httpPort}`;
  }

  private get data(): string {
    return join(this.folder, this.name.toLowerCase());
  }

  async start(): Promise<void> {
    const args = ["run", "--data", this.data, "--listen", `127.0.0.1:${this.httpPort}`, ...this.extra];
    for (const address of listen(this.place.address, this.peerPort)) args.push("--p2p-listen", address);
    const log = join(this.folder, `${this.name.toLowerCase()}.log`);
    const [program, all] = placed(this.place, binary("KITH_BIN"), args);
    const [process, link] = await started(this.name, program, all, log, "link: ");
    this.process = process;
    this.link = link;
  }

  /** A second device of the same account, in the same conversations. Both run and are unlocked afterwards. */
  async twin(name: string, place: Place): Promise<Node> {
    const twin = new Node(name, this.folder, await freePort(), await freePort(), this.extra, place);
    await this.stop();
    const args = [this.data, twin.data, ...listen(place.address, twin.peerPort)];
    execFileSync(binary("KITH_TWIN_BIN"), args, { env: { ...process.env, KITH_TWIN_PASSPHRASE: PASSPHRASE }, stdio: "pipe" });
    await Promise.all(
      [this, twin].map(async (node) => {
        await node.start();
        await node.api("POST", "/vault/unlock", { passphrase: PASSPHRASE });
      }),
    );
    return twin;
  }

  async stop(): Promise<void> {
    await Promise.all(this.programs.splice(0).map((program) => program.end("SIGTERM")));
    await this.process?.end("SIGTERM");
    this.process = null;
  }

  /** A request with the token file, for what is not the subject of a test. */
  async api(method: string, path: string, body?: unknown): Promise<any> {
    const token = readFileSync(join(this.data, "api-token"), "utf8").trim();
    const answer = await request(this.place, `${this.origin}/api/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const { text } = answer;
    if (!answer.ok) throw new Error(`${this.name}: ${method} ${path} answered ${answer.status}: ${text}`);
    return text === "" ? null : JSON.parse(text);
  }

  /** Adds a file and sends it. Answers its id. */
  async give(conversation: string, name: string, type: string, bytes: Buffer, caption = ""): Promise<string> {
    const token = readFileSync(join(this.data, "api-token"), "utf8").trim();
    const answer = await fetch(`${this.origin}/api/v1/files?${new URLSearchParams({ name, type })}`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/octet-stream" },
      body: new Uint8Array(bytes),
    });
    if (!answer.ok) throw new Error(`${this.name}: adding ${name} answered ${answer.status}: ${await answer.text()}`);
    const { id } = (await answer.json()) as { id: string };
    await this.api("POST", `/conversations/${conversation}/files`, { file: id, caption, key: `give-${id.slice(0, 20)}` });
    return id;
  }

  /** Another program on this node's data: `kith ARGS`. Resolves once `text` is in its output. */
  async program(args: string[], text: string): Promise<{ end: () => Promise<void> }> {
    const log = join(this.folder, `${this.name.toLowerCase()}-${args.join("-").replace(/\W+/g, "-")}.log`);
    const [program, all] = placed(this.place, binary("KITH_BIN"), [...args, "--data", this.data]);
    const [process] = await started(args.join(" "), program, all, log, text);
    this.programs.push(process);
    return { end: () => process.end("SIGTERM") };
  }

  /** The output of a program on this node's data that ends by itself. */
  async output(args: string[]): Promise<string> {
    return new Promise((resolve, reject) => {
      const [program, all] = placed(this.place, binary("KITH_BIN"), [...args, "--data", this.data]);
      const child = spawn(program, all, { stdio: ["ignore", "pipe", "pipe"] });
      let text = "";
      child.stdout.on("data", (part) => (text += String(part)));
      child.stderr.on("data", (part) => (text += String(part)));
      const timer = setTimeout(() => child.kill("SIGKILL"), PATIENCE_MS);
      child.on("exit", (code) => {
        clearTimeout(timer);
        if (code === 0) resolve(text);
        else reject(new Error(`kith ${args.join(" ")} ended with ${code}: ${text}`));
      });
    });
  }

  /** Creates the account without a browser. */
  async signUp(): Promise<void> {
    const { words } = await this.api("POST", "/vault/create", { name: this.name, passphrase: PASSPHRASE });
    const { indexes } = await this.api("GET", "/vault/challenge");
    const answers = indexes.map((index: number) => ({ index, word: words[index] }));
    await this.api("POST", "/vault/confirm", { answers });
  }
}

/** One relay, some nodes, and the folder that they live in. */
export class Lab {
  readonly nodes: Node[] = [];
  relay: Relay | null = null;
  readonly folder: string;

  constructor() {
    const parent = process.env["KITH_E2E_DIR"] ?? tmpdir();
    mkdirSync(parent, { recursive: true });
    this.folder = mkdtempSync(join(parent, "kith-e2e-"));
  }

  async startRelay(): Promise<Relay> {
    this.relay = await Relay.start(this.folder);
    return this.relay;
  }

  async startNode(name: string, extra: string[] = [], place: Place = HERE): Promise<Node> {
    const node = await Node.start(this.folder, name, extra, place);
    this.nodes.push(node);
    return node;
  }

  /** A second device of a node's account. */
  async startTwin(of: Node, name: string, place: Place = HERE): Promise<Node> {
    const twin = await of.twin(name, place);
    this.nodes.push(twin);
    return twin;
  }

  /** Ends every process; keeps the folder when something failed. */
  async close(failed: boolean): Promise<void> {
    await Promise.all([...this.nodes.map((node) => node.stop()), this.relay?.stop()]);
    if (failed) console.log(`logs are kept in ${this.folder}`);
    else rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Looks again and again until there is something. */
export async function until<T>(node: Node, what: string, look: () => Promise<T | null>): Promise<T> {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await look();
    if (found !== null) return found;
    if (Date.now() > deadline) throw new Error(`${node.name}: not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

/** Makes two nodes contacts, by the API. Returns their conversation. */
export async function acquaint(host: Node, guest: Node): Promise<string> {
  const { link } = await host.api("POST", "/invites", { uses: 1, valid_s: 3600 });
  await guest.api("POST", "/contacts", { link, greeting: `Hello from ${guest.name}` });
  const { account } = await guest.api("GET", "/me");
  const contact = async (node: Node, id: string, state: string) => {
    const list: any[] = await node.api("GET", "/contacts");
    return list.find((c) => c.account === id && c.state === state) ?? null;
  };
  await until(host, "the request", () => contact(host, account, "incoming"));
  await host.api("POST", `/contacts/${account}/accept`);
  const own = (await host.api("GET", "/me")).account;
  const found = await until(guest, "the answer", async () => {
    const c = await contact(guest, own, "accepted");
    return c?.conversation ?? null;
  });
  await until(host, "the conversation", async () => (await contact(host, account, "accepted"))?.conversation ?? null);
  return found;
}
