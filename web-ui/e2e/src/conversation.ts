// The first conversation, from an empty folder to a restarted node: the same
// scenario for a pointer and for keys alone.

import assert from "node:assert/strict";
import { type Hands, reachTimeline } from "./hands.js";
import type { Node } from "./lab.js";
import { figure, Scenario } from "./steps.js";
import { App } from "./views.js";

const GROUP = "Lake house";

export function firstConversation(title: string, hands: Hands): void {
  const scenario = new Scenario(title, hands.keysOnly);
  const { lab } = scenario;
  const apps: App[] = [];
  const at = (index: number): App => {
    const app = apps[index];
    assert.ok(app !== undefined, "onboarding came first");
    return app;
  };
  const alice = () => at(0);
  const bob = () => at(1);
  const carol = () => at(2);
  const nodeOf = (app: App): Node => app.person.node;

  scenario.step("onboarding with recovery words", async () => {
    const relay = await lab.startRelay();
    for (const name of ["Alice", "Bob", "Carol"]) {
      const app = new App(await scenario.sit(await lab.startNode(name)), hands);
      apps.push(app);
      await app.onboard(relay.link);
    }
  });

  scenario.step("invite by link and accept", async () => {
    await bob().useInvite(await alice().invite());
    await alice().accept("Bob");
    await bob().conversation("Alice").waitFor();
  });

  scenario.step("messages both ways", async () => {
    await alice().open("Bob");
    await bob().open("Alice");
    await alice().say("Hello Bob, can you read this?");
    await bob().message("Hello Bob, can you read this?").waitFor();
    const begin = performance.now();
    await bob().say("Every word, Alice ✨");
    await alice().message("Every word, Alice ✨").waitFor();
    figure(`${title}.typed_to_seen`, performance.now() - begin);
    await alice().delivered("Hello Bob, can you read this?", "Read");
  });

  scenario.step("a group of three", async () => {
    await carol().useInvite(await alice().invite());
    await alice().accept("Carol");
    await alice().newGroup(GROUP, ["Bob", "Carol"]);
    await alice().say("Who brings the canoe?");
    for (const app of [bob(), carol()]) {
      await app.open(GROUP);
      await app.message("Who brings the canoe?").waitFor();
    }
    await carol().say("I do");
    for (const app of [alice(), bob()]) await app.message("I do").waitFor();
  });

  const away = ["Alice, while Carol is away", "Bob, while Carol is away", "And one more from Alice"];

  scenario.step("Carol stopped, messages sent, all stopped, Carol started: everything from the relay", async () => {
    await nodeOf(carol()).stop();
    await alice().say(away[0] ?? "");
    await bob().message(away[0] ?? "").waitFor();
    await bob().say(away[1] ?? "");
    await alice().message(away[1] ?? "").waitFor();
    await alice().say(away[2] ?? "");
    await bob().message(away[2] ?? "").waitFor();
    await alice().delivered(away[0] ?? "", "Kept at relays");
    await alice().delivered(away[2] ?? "", "Kept at relays");
    await bob().delivered(away[1] ?? "", "Kept at relays");
    await Promise.all([nodeOf(alice()).stop(), nodeOf(bob()).stop()]);

    await nodeOf(carol()).start();
    await carol().page.reload();
    await carol().unlock();
    await carol().open(GROUP);
    for (const text of away) await carol().message(text).waitFor();
  });

  scenario.step("read states reach the others when they come back", async () => {
    for (const app of [alice(), bob()]) {
      await nodeOf(app).start();
      await app.page.reload();
      await app.unlock();
      await app.open(GROUP);
      for (const text of away) await app.message(text).waitFor();
    }
    await alice().delivered(away[0] ?? "", "Read");
    await alice().delivered(away[2] ?? "", "Read");
    await bob().delivered(away[1] ?? "", "Read");
  });

  if (hands.keysOnly) {
    scenario.step("keys that follow each other at once pass over no message", async () => {
      const { page } = alice();
      await reachTimeline(page);
      // No frame is drawn between these.
      const places = await page.evaluate(() =>
        ["End", "ArrowUp", "ArrowUp", "ArrowUp", "ArrowDown"].map((key) => {
          document.activeElement?.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
          return Number(document.activeElement?.getAttribute("aria-posinset"));
        }),
      );
      const last = await page.getByRole("feed", { name: "Messages" }).getByRole("article").count();
      assert.deepEqual(places, [last, last - 1, last - 2, last - 3, last - 2]);
    });
  }

  scenario.step("reload and restart keep everything", async () => {
    const texts = ["Who brings the canoe?", "I do", ...away];
    const check = async (app: App) => {
      await app.page.getByRole("heading", { level: 1, name: GROUP }).waitFor();
      for (const text of texts) {
        await app.message(text).first().waitFor();
        assert.equal(await app.message(text).count(), 1, `${app.name} sees "${text}" once`);
      }
    };
    for (const app of apps) {
      await app.page.reload();
      await check(app);
      await nodeOf(app).stop();
      await nodeOf(app).start();
      await app.page.reload();
      await app.unlock();
      await check(app);
    }
    await carol().say("Still here after the restart");
    for (const app of [alice(), bob()]) await app.message("Still here after the restart").waitFor();
  });

  scenario.step("signing out asks before it loses what was begun", async () => {
    const { hands, page } = carol();
    const begun = "Begun, not sent";
    const question = page.getByRole("alertdialog", { name: "Sign out and lose what was not sent?" });
    const signOut = async () => {
      await hands.press(page.getByRole("link", { name: "Settings", exact: true }));
      await hands.press(carol().button("Sign out this browser"));
      await question.waitFor();
    };
    await hands.fill(carol().textbox("Message"), begun);
    await signOut();
    await hands.press(question.getByRole("button", { name: "Cancel" }));
    await carol().open(GROUP);
    assert.equal(await carol().textbox("Message").inputValue(), begun, "it is still there");
    await signOut();
    await hands.press(question.getByRole("button", { name: "Sign out" }));
    await carol().heading("Sign in to Kith").waitFor();
  });
}
