// Files in the browser: a picture without its place, things that would like to
// run and must not, a recording that is played while it arrives, a voice
// message from the (fake) microphone, and the storage page.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { deflateSync } from "node:zlib";
import { pointer } from "./hands.js";
import { acquaint, until, type Node } from "./lab.js";
import { figure, Scenario } from "./steps.js";
import { App } from "./views.js";
import { photo } from "./pictures.js";

const scenario = new Scenario("files", false);
const { lab } = scenario;
const apps: App[] = [];
let talk = "";

function at(index: number): App {
  const app = apps[index];
  if (app === undefined) throw new Error("nobody sits there");
  return app;
}
const alice = () => at(0);
const bob = () => at(1);
const pageOf = (app: App) => app.person.page;

/** The file of that name at a node, once all of it is there. */
async function arrived(node: Node, name: string): Promise<any> {
  return until(node, `the file ${name}`, async () => {
    const page = await node.api("GET", `/conversations/${talk}/messages`);
    const found = page.messages.map((m: any) => m.content.file).find((file: any) => file?.name === name);
    return found?.state === "here" ? found : null;
  });
}

/** A white picture of so many pixels a side: it takes a gigabyte to draw and next to nothing to send. */
function hugePng(side: number): Buffer {
  const part = (name: string, body: Buffer) => {
    const head = Buffer.alloc(4);
    head.writeUInt32BE(body.length);
    const named = Buffer.from(name + body.toString("latin1"), "latin1");
    const sum = Buffer.alloc(4);
    sum.writeUInt32BE(crc32(named));
    return [head, named, sum].map((b) => b.toString("latin1")).join("");
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(side, 0);
  header.writeUInt32BE(side, 4);
  header.writeUInt8(1, 8);
  const rows = deflateSync(new Uint8Array(side * (1 + side / 8)));
  const all = "\x89PNG\r\n\x1a\n" + part("IHDR", header) + part("IDAT", rows) + part("IEND", Buffer.alloc(0));
  return Buffer.from(all, "latin1");
}

function crc32(bytes: Buffer): number {
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit += 1) sum = sum & 1 ? (sum >>> 1) ^ 0xedb88320 : sum >>> 1;
  }
  return (sum ^ 0xffffffff) >>> 0;
}

/** So much noise as a sound file: it plays and seeks like a film. */
function wav(bytes: number): Buffer {
  const head = Buffer.alloc(44 + bytes);
  head.write("RIFF", 0);
  head.writeUInt32LE(36 + bytes, 4);
  head.write("WAVEfmt ", 8);
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(1, 20);
  head.writeUInt16LE(2, 22);
  head.writeUInt32LE(48_000, 24);
  head.writeUInt32LE(48_000 * 4, 28);
  head.writeUInt16LE(4, 32);
  head.writeUInt16LE(16, 34);
  head.write("data", 36);
  head.writeUInt32LE(bytes, 40);
  for (let i = 0; i + 2 <= bytes; i += 2) head.writeInt16LE(Math.round(Math.sin(i / 150) * 3000), 44 + i);
  return head;
}

scenario.step("two people", async () => {
  const nodes: Node[] = [];
  for (const name of ["Alice", "Bob"]) {
    const node = await lab.startNode(name);
    await node.signUp();
    nodes.push(node);
  }
  const [a, b] = nodes as [Node, Node];
  await acquaint(a, b);
  talk = (await a.api("GET", "/conversations"))[0].id;
  for (const [node, other] of [
    [a, "Bob"],
    [b, "Alice"],
  ] as const) {
    const app = new App(await scenario.sit(node), pointer);
    apps.push(app);
    await app.open(other);
  }
});

scenario.step("a picture arrives without the place where it was taken", async () => {
  const given = await photo(pageOf(alice()));
  assert.ok(given.includes("GPSLatitude"));
  await alice().attach([{ name: "lake.jpg", mimeType: "image/jpeg", buffer: given }]);
  const picture = pageOf(bob()).getByRole("button", { name: "Open lake.jpg" }).locator("img");
  await picture.waitFor();
  await pageOf(bob()).waitForFunction((img) => (img as HTMLImageElement).naturalWidth === 640, await picture.elementHandle());
  const file = await arrived(bob().person.node, "lake.jpg");
  assert.ok(file.preview.startsWith("data:image/jpeg"), "it has a preview");
  assert.deepEqual([file.width, file.height], [640, 400]);
  const bytes = await pageOf(bob()).evaluate(async (id) => {
    const answer = await fetch(`/api/v1/files/${id}/content`);
    return Array.from(new Uint8Array(await answer.arrayBuffer()));
  }, file.id);
  assert.ok(!Buffer.from(bytes).includes("GPS"), "the place is gone");
  await pageOf(bob()).getByRole("button", { name: "Open lake.jpg" }).click();
  await pageOf(bob()).getByRole("dialog", { name: "lake.jpg" }).waitFor();
  await pageOf(bob()).keyboard.press("Escape");
});

scenario.step("what would like to run does nothing", async () => {
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" onload="parent.document.title='owned'"><script>document.title='owned'</script></svg>`;
  const html = `<!doctype html><script>document.title='owned';fetch('/api/v1/me').then(r=>r.text()).then(t=>{window.name=t})</script>`;
  await alice().attach([
    { name: "chart.svg", mimeType: "image/svg+xml", buffer: Buffer.from(svg) },
    { name: "invoice.html", mimeType: "text/html", buffer: Buffer.from(html) },
    { name: "cat.png", mimeType: "image/png", buffer: Buffer.from(html) },
  ]);
  for (const name of ["chart.svg", "invoice.html", "cat.png"]) {
    const file = await arrived(bob().person.node, name);
    const answer = await pageOf(bob()).evaluate(async (id) => {
      const got = await fetch(`/api/v1/files/${id}/content`);
      return Object.fromEntries(["content-type", "content-disposition", "content-security-policy"].map((h) => [h, got.headers.get(h) ?? ""]));
    }, file.id);
    assert.equal(answer["content-type"], "application/octet-stream", name);
    assert.ok(answer["content-disposition"]?.startsWith("attachment"), name);
    assert.ok(answer["content-security-policy"]?.includes("sandbox"), name);
    // Opened by its address it is saved, and the page stays what it is.
    const download = pageOf(bob()).waitForEvent("download");
    await pageOf(bob()).evaluate((id) => {
      location.href = `/api/v1/files/${id}/content`;
    }, file.id);
    await (await download).cancel();
    assert.notEqual(await pageOf(bob()).title(), "owned");
  }
  await pageOf(bob()).getByRole("link", { name: "Save invoice.html" }).waitFor();
});

scenario.step("a small file that is a huge picture is not drawn", async () => {
  const { node, page } = { node: alice().person.node, page: pageOf(bob()) };
  const refused = page.waitForResponse((answer) => answer.status() === 422 && answer.url().includes("/content"));
  await node.give(talk, "bomb.png", "image/png", hugePng(30_000));
  await arrived(bob().person.node, "bomb.png");
  await refused;
  // A card with its name in place of the picture; it can be saved.
  await page.getByRole("link", { name: "Save bomb.png" }).waitFor();
  assert.equal(await page.getByRole("button", { name: "Open bomb.png" }).count(), 0);
});

scenario.step("a recording plays and seeks while it arrives", async () => {
  const node = bob().person.node;
  const mib = 1024 * 1024;
  const limits = { cache_bytes: 8192 * mib, auto_bytes: 0, up_bytes_per_s: 0, down_bytes_per_s: 4 * mib };
  await node.api("PUT", "/storage", limits);
  // From a disk, as people send what is large.
  const concert = join(lab.folder, "concert.wav");
  writeFileSync(concert, new Uint8Array(wav(48 * mib)));
  await alice().attach(concert);
  const player = pageOf(bob()).getByLabel("concert.wav", { exact: true });
  await player.waitFor();
  const took = await player.evaluate(async (element) => {
    const audio = element as HTMLAudioElement;
    audio.muted = true;
    const once = (event: string) => new Promise((resolve) => audio.addEventListener(event, resolve, { once: true }));
    const begin = performance.now();
    const playing = once("playing");
    await audio.play();
    await playing;
    const started = performance.now() - begin;
    const seek = performance.now();
    const there = once("seeked");
    audio.currentTime = audio.duration / 2;
    await there;
    const sought = performance.now() - seek;
    audio.pause();
    return { started, sought, duration: audio.duration };
  });
  const { file, progress } = await node.api("GET", `/files/${(await fileNamed(node, "concert.wav")).id}`);
  assert.equal(file.state, "fetching", "it still arrives");
  assert.ok(progress.have < 40 * mib, `${progress.have}`);
  assert.ok(took.duration > 200, `${took.duration}`);
  figure("files.media_start", took.started);
  figure("files.media_seek", took.sought);
  assert.ok(took.started < 10_000 && took.sought < 10_000, JSON.stringify(took));
  await pageOf(bob()).getByRole("button", { name: "Pause concert.wav" }).click();
  await pageOf(bob()).getByRole("button", { name: "Resume concert.wav" }).waitFor();
  await node.api("PUT", "/storage", { ...limits, auto_bytes: 64 * mib, down_bytes_per_s: 0 });
  await pageOf(bob()).getByRole("button", { name: "Resume concert.wav" }).click();
  await arrived(node, "concert.wav");
});

async function fileNamed(node: Node, name: string): Promise<any> {
  const page = await node.api("GET", `/conversations/${talk}/messages`);
  return page.messages.map((m: any) => m.content.file).find((file: any) => file?.name === name);
}

scenario.step("a voice message from the microphone", async () => {
  const { context, node } = alice().person;
  await context.grantPermissions(["microphone"], { origin: node.origin });
  await pageOf(alice()).getByRole("button", { name: "Record a voice message" }).click();
  const timer = pageOf(alice()).getByRole("timer", { name: "Recording" });
  await timer.getByText(/^0:(?:0[2-9]|[1-5]\d)$/u).waitFor();
  await pageOf(alice()).getByRole("button", { name: "Send recording" }).click();
  const play = pageOf(bob()).getByRole("button", { name: "Play voice message", exact: true });
  await play.waitFor();
  // Over and over: two seconds may pass before anybody looks.
  await pageOf(bob()).evaluate(() => {
    const repeat = (event: Event) => ((event.target as HTMLAudioElement).loop = true);
    document.addEventListener("play", repeat, { capture: true, once: true });
  });
  await play.click();
  const pause = pageOf(bob()).getByRole("button", { name: "Pause voice message", exact: true });
  await pause.waitFor();
  await pageOf(bob()).waitForFunction(() => Array.from(document.querySelectorAll("audio")).some((a) => a.currentTime > 0.5));
  await pause.click();
  await play.waitFor();
  const page = await bob().person.node.api("GET", `/conversations/${talk}/messages`);
  const voice = page.messages.map((m: any) => m.content.file).find((file: any) => file?.voice === true);
  assert.ok(voice.waveform.length > 3 && voice.duration_ms >= 1_400, JSON.stringify(voice));
});

scenario.step("the storage page shows what takes space and frees it", async () => {
  await pageOf(bob()).goto(`${bob().person.node.origin}/settings/storage`);
  const page = pageOf(bob());
  await page.getByRole("heading", { name: "Files and storage" }).waitFor();
  await page.getByRole("button", { name: /^Free 5\d/u }).click();
  await page.getByRole("alertdialog").getByRole("button", { name: /^Free/u }).click();
  await until(bob().person.node, "the space to be free", async () => {
    const storage = await bob().person.node.api("GET", "/storage");
    return storage.cached_bytes === 0 ? storage : null;
  });
});
