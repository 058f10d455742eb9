// Pictures and what stands beside them: chosen, sent, looked at one after the
// other, found again in the details; the same for a pointer and for keys alone.

import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import type { Hands } from "./hands.js";
import { acquaint, until, type Node } from "./lab.js";
import { Scenario } from "./steps.js";
import { App } from "./views.js";

/** A JPEG of the browser's own making, with a place in its metadata. */
export async function photo(page: Page, sky = "#245"): Promise<Buffer> {
  const plain = await page.evaluate((top) => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [640, 400];
    const context = canvas.getContext("2d");
    if (context !== null) {
      const sky = context.createLinearGradient(0, 0, 640, 400);
      sky.addColorStop(0, top);
      sky.addColorStop(1, "#eb7");
      context.fillStyle = sky;
      context.fillRect(0, 0, 640, 400);
    }
    return canvas.toDataURL("image/jpeg", 0.9).split(",")[1] ?? "";
  }, sky);
  const jpeg = Buffer.from(plain, "base64");
  const tiff = "MM\0*\0\0\0\x08\0\x01\x88\x25\0\x04\0\0\0\x01\0\0\0\x1a\0\0\0\0";
  const exif = Buffer.from(`Exif\0\0${tiff}GPSLatitude 52.5200 GPSLongitude 13.4050`, "latin1");
  const head = Buffer.alloc(4);
  head.writeUInt16BE(0xffe1, 0);
  head.writeUInt16BE(exif.length + 2, 2);
  const parts = [jpeg.subarray(0, 2), head, exif, jpeg.subarray(2)];
  return Buffer.from(parts.map((part) => part.toString("latin1")).join(""), "latin1");
}


export function pictures(title: string, hands: Hands): void {
  const scenario = new Scenario(title, hands.keysOnly);
  const { lab } = scenario;
  const apps: App[] = [];
  let talk = "";
  const at = (index: number): App => {
    const app = apps[index];
    assert.ok(app !== undefined, "they sat down first");
    return app;
  };

  scenario.step("two people", async () => {
    const nodes: Node[] = [];
    for (const name of ["Alice", "Bob"]) {
      const node = await lab.startNode(name);
      await node.signUp();
      nodes.push(node);
    }
    const [a, b] = nodes as [Node, Node];
    talk = await acquaint(a, b);
    for (const [node, other] of [
      [a, "Bob"],
      [b, "Alice"],
    ] as const) {
      const app = new App(await scenario.sit(node), hands);
      apps.push(app);
      await app.open(other);
    }
  });

  scenario.step("pictures with words beside them", async () => {
    const [alice, bob] = [at(0), at(1)];
    const given = [];
    for (const [name, sky] of [
      ["dawn.jpg", "#913"],
      ["noon.jpg", "#39f"],
    ] as const) {
      given.push({ name, mimeType: "image/jpeg", buffer: await photo(alice.page, sky) });
    }
    await alice.attach(given, "The lake, twice");
    // It says that it is a picture and is none.
    await alice.attach([{ name: "broken.png", mimeType: "image/png", buffer: Buffer.from("no picture at all") }]);
    await bob.message("The lake, twice").waitFor();
    await until(bob.person.node, "three files", async () => {
      const { files } = await bob.person.node.api("GET", `/conversations/${talk}/files`);
      return files.filter((f: any) => f.file.state === "here").length === 3 ? files : null;
    });
    const words = bob.message("The lake, twice");
    await words.getByRole("button", { name: "Open dawn.jpg" }).locator("img").waitFor();
    assert.equal(await bob.message("The lake, twice").count(), 1, "the words stand beside the first only");
  });

  scenario.step("one after the other, and back", async () => {
    const bob = at(1);
    const { page } = bob;
    await hands.pressIn(bob.message("The lake, twice"), "Open dawn.jpg");
    const shown = (name: string) => page.getByRole("dialog", { name, exact: true });
    await shown("dawn.jpg").waitFor();
    // What comes before and after is known in a moment.
    await page.waitForFunction(() => document.querySelector('[aria-label="Newer"]:not([disabled])') !== null);
    if (hands.keysOnly) await page.keyboard.press("ArrowRight");
    else await hands.press(page.getByRole("button", { name: "Newer", exact: true }));
    await shown("noon.jpg").waitFor();
    await page.waitForFunction(() => document.querySelector<HTMLImageElement>("img.viewer")?.naturalWidth === 640);
    // The one that is none: a tile, not a broken picture.
    if (hands.keysOnly) await page.keyboard.press("ArrowRight");
    else await hands.press(page.getByRole("button", { name: "Newer", exact: true }));
    await shown("broken.png").waitFor();
    await page.getByText("Your browser cannot show this file. It can be saved.").waitFor();
    if (hands.keysOnly) await page.keyboard.press("ArrowLeft");
    else await hands.press(page.getByRole("button", { name: "Older", exact: true }));
    await shown("noon.jpg").waitFor();
    await hands.press(page.getByRole("button", { name: "Close", exact: true }));
    await shown("noon.jpg").waitFor({ state: "detached" });
    // The focus goes back to where it was.
    await page.waitForFunction(() => document.activeElement?.getAttribute("aria-label") === "Open dawn.jpg");
  });

  scenario.step("found again in the details", async () => {
    const bob = at(1);
    const { page } = bob;
    await hands.press(page.getByRole("link", { name: "Details", exact: true }));
    const files = page.getByRole("region", { name: "Files" });
    await files.getByRole("button", { name: "Open noon.jpg" }).locator("img").waitFor();
    // Its picture cannot be drawn: a plain tile with its name.
    const broken = files.getByRole("button", { name: "Open broken.png" });
    await broken.getByText("broken.png").waitFor();
    assert.equal(await broken.locator("img").count(), 0);
    await hands.press(files.getByRole("button", { name: "Open dawn.jpg" }));
    await page.getByRole("dialog", { name: "dawn.jpg", exact: true }).waitFor();
    const download = page.waitForEvent("download");
    await hands.press(page.getByRole("dialog").getByRole("link", { name: "Save dawn.jpg" }));
    assert.equal((await download).suggestedFilename(), "dawn.jpg");
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
  });
}
