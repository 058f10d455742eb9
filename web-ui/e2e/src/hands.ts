// How a person works a page: with a pointer, or with keys alone. The keyboard
// reaches a control by Tab and arrows, as a person does; nothing is focused
// by script.

import assert from "node:assert/strict";
import type { Locator, Page } from "playwright-core";

/** More presses than any view may need to reach a control. */
const PRESSES_MAX = 120;
/** Nobody types a link: what is longer is pasted. */
const TYPED_CHARS_MAX = 120;

export interface Hands {
  readonly keysOnly: boolean;
  /** Buttons and links. */
  press(target: Locator): Promise<void>;
  /** Checkboxes and switches. */
  tick(target: Locator): Promise<void>;
  /** Text fields: replaces what is there. */
  fill(target: Locator, text: string): Promise<void>;
  /** An entry of the menu that is open. */
  pick(target: Locator): Promise<void>;
  /** A button of a row of the timeline. */
  pressIn(row: Locator, button: string): Promise<void>;
}

export const pointer: Hands = {
  keysOnly: false,
  press: async (target) => target.click(),
  tick: async (target) => target.click(),
  fill: async (target, text) => target.fill(text),
  pick: async (target) => target.click(),
  async pressIn(row, button) {
    await row.hover();
    await row.getByRole("button", { name: button, exact: true }).click();
  },
};

export const keys: Hands = {
  keysOnly: true,
  async press(target) {
    await reach(target, "Tab");
    await target.page().keyboard.press("Enter");
  },
  async tick(target) {
    await reach(target, "Tab");
    await target.page().keyboard.press("Space");
  },
  async fill(target, text) {
    await reach(target, "Tab");
    const { keyboard } = target.page();
    await keyboard.press("ControlOrMeta+a");
    await keyboard.press("Delete");
    if (text.length <= TYPED_CHARS_MAX) {
      await keyboard.type(text);
      return;
    }
    await target.page().evaluate((long) => navigator.clipboard.writeText(long), text);
    await keyboard.press("ControlOrMeta+v");
  },
  async pick(target) {
    await reach(target, "ArrowDown");
    await target.page().keyboard.press("Enter");
  },
  async pressIn(row, button) {
    // The timeline is one stop for Tab: into it at its newest row, up to the
    // wanted one, and on to what can be done there.
    await row.waitFor();
    await reachWithin(row);
    await keys.press(row.getByRole("button", { name: button, exact: true }));
  },
};

/** Tab into the timeline. */
export async function reachTimeline(page: Page): Promise<void> {
  const inFeed = () =>
    page.evaluate(() => document.activeElement?.getAttribute("role") === "article");
  for (let i = 0; i < PRESSES_MAX && !(await inFeed()); i += 1) await page.keyboard.press("Shift+Tab");
}

/** Tab to the timeline, then arrows to a row of it. */
async function reachWithin(row: Locator): Promise<void> {
  await reachTimeline(row.page());
  await row.page().keyboard.press("End");
  await reach(row, "ArrowUp");
}

/** Whether the focus is on the target or on the control inside it. */
async function focused(target: Locator): Promise<boolean> {
  return target.evaluate((element) => {
    const active = document.activeElement;
    if (active === null || active === document.body) return false;
    // A label's control may be the input beside what the role names.
    const labelled = element.closest("label");
    return element === active || element.contains(active) || (labelled?.contains(active) ?? false);
  });
}

async function reach(target: Locator, key: "Tab" | "ArrowDown" | "ArrowUp"): Promise<void> {
  await target.waitFor({ state: "attached" });
  const page: Page = target.page();
  for (let i = 0; i < PRESSES_MAX; i += 1) {
    if (await focused(target)) return;
    await page.keyboard.press(key);
  }
  assert.fail(`${String(target)} cannot be reached by ${key}`);
}
