// A long film that is watched while it arrives: `cargo xtask bench film` makes
// it and names it in KITH_E2E_FILM; without one there is nothing to do here.

import assert from "node:assert/strict";
import { test } from "node:test";
import { pointer } from "./hands.js";
import { acquaint, until, type Node } from "./lab.js";
import { figure, Scenario } from "./steps.js";
import { App } from "./views.js";

const FILM = process.env["KITH_E2E_FILM"];
const NAME = "film.mp4";
/** The receiver's link, in bytes per second: much more than the film needs, and much less than all of it at once. */
const DOWN = 8_000_000;
/** How soon it has to move, in milliseconds. */
const SOON_MS = 2_000;

function watch(film: string): void {
  const scenario = new Scenario("film", false);
  const { lab } = scenario;
  const apps: App[] = [];
  let talk = "";

  scenario.step("a film is sent", async () => {
    const nodes: Node[] = [];
    for (const name of ["Alice", "Bob"]) {
      const node = await lab.startNode(name);
      await node.signUp();
      nodes.push(node);
    }
    const [a, b] = nodes as [Node, Node];
    talk = await acquaint(a, b);
    await b.api("PUT", "/storage", { cache_bytes: 1e12, auto_bytes: 0, up_bytes_per_s: 0, down_bytes_per_s: DOWN });
    for (const [node, other] of [
      [a, "Bob"],
      [b, "Alice"],
    ] as const) {
      const app = new App(await scenario.sit(node), pointer);
      apps.push(app);
      await app.open(other);
    }
    await apps[0]?.attach(film, "Our summer");
    await until(b, "the film", async () => {
      const { files } = await b.api("GET", `/conversations/${talk}/files`);
      return files[0]?.file ?? null;
    });
  });

  scenario.step("it starts, and goes on from the middle, long before all of it is there", async () => {
    const bob = apps[1];
    assert.ok(bob !== undefined);
    const { page } = bob;
    const play = page.getByRole("button", { name: `Play ${NAME}` });
    await play.waitFor();
    const begin = performance.now();
    await play.click();
    await page.waitForFunction(() => (document.querySelector("video")?.currentTime ?? 0) > 0.05);
    const started = performance.now() - begin;
    const { duration, sought } = await page.evaluate(async () => {
      const video = document.querySelector("video");
      if (video === null) throw new Error("there is no player");
      const middle = video.duration / 2;
      const asked = performance.now();
      video.currentTime = middle;
      await new Promise<void>((resolve) => {
        const look = () => (!video.seeking && video.currentTime > middle + 0.05 ? resolve() : requestAnimationFrame(look));
        look();
      });
      return { duration: video.duration, sought: performance.now() - asked };
    });
    const node = bob.person.node;
    const { files } = await node.api("GET", `/conversations/${talk}/files`);
    const { file, progress } = await node.api("GET", `/files/${files[0].file.id}`);
    figure("film.start", started);
    figure("film.seek", sought);
    console.log(`e2e.film.size: ${(file.size / 1048576).toFixed(0)} MiB, ${duration.toFixed(0)} s; ${(progress.have / 1048576).toFixed(0)} MiB had arrived`);
    assert.equal(file.state, "fetching", "it still arrives");
    assert.ok(progress.have < file.size / 4, `${progress.have} of ${file.size}`);
    assert.ok(started <= SOON_MS && sought <= SOON_MS, `${started.toFixed(0)} ms to start, ${sought.toFixed(0)} ms to the middle`);
  });
}

if (FILM === undefined) test("film: skipped: KITH_E2E_FILM names none", { skip: true });
else watch(FILM);
