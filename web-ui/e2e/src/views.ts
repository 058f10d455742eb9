// The app's views by their accessible names (web-ui/app/README.md): what a
// person does in them, with either kind of hands.

import assert from "node:assert/strict";
import type { Locator, Page } from "playwright-core";
import type { Person } from "./browser.js";
import type { Hands } from "./hands.js";
import { PASSPHRASE } from "./lab.js";

/** A file as a test has it. */
export type Given = { name: string; mimeType: string; buffer: Buffer };

export class App {
  readonly page: Page;

  constructor(
    readonly person: Person,
    readonly hands: Hands,
  ) {
    this.page = person.page;
  }

  get name(): string {
    return this.person.node.name;
  }

  button(name: string | RegExp): Locator {
    return this.page.getByRole("button", { name, exact: typeof name === "string" });
  }

  heading(name: string): Locator {
    return this.page.getByRole("heading", { name, exact: true });
  }

  textbox(name: string): Locator {
    return this.page.getByRole("textbox", { name, exact: true });
  }

  /** Name, passphrase, words, three of them again, community link. */
  async onboard(community: string | null): Promise<void> {
    const { hands, page } = this;
    await this.heading("Welcome to Kith").waitFor();
    await hands.fill(this.textbox("Your name"), this.name);
    await hands.fill(page.getByLabel("Passphrase", { exact: true }), PASSPHRASE);
    await hands.fill(page.getByLabel("Repeat passphrase", { exact: true }), PASSPHRASE);
    await hands.press(this.button("Continue"));

    await this.heading("Your 24 recovery words").waitFor();
    const list = page.getByRole("list", { name: "Recovery words" });
    const words = await list.locator("[data-word]").allInnerTexts();
    assert.equal(words.length, 24, "24 words are shown");
    await hands.press(this.button("I wrote them down"));

    await this.heading("Check three words").waitFor();
    const asked = page.getByRole("textbox", { name: /^Word \d+$/ });
    await asked.first().waitFor();
    const labels = await page.getByText(/^Word \d+$/).allInnerTexts();
    assert.equal(labels.length, 3, "three words are asked for");
    for (const label of labels) {
      const word = words[Number(label.slice("Word ".length)) - 1];
      assert.ok(word !== undefined, `${label} is one of the 24`);
      await hands.fill(this.textbox(label), word.trim());
    }
    await hands.press(this.button("Check words"));

    await this.heading("Join a community").waitFor();
    if (community === null) {
      await hands.press(this.button("None: local network and direct only"));
    } else {
      await hands.fill(this.textbox("Community link"), community);
      await hands.press(this.button("Use this community"));
    }
    await page.getByRole("navigation", { name: "Main" }).waitFor();
  }

  async unlock(): Promise<void> {
    await this.heading("Welcome back").waitFor();
    await this.hands.fill(this.page.getByLabel("Passphrase", { exact: true }), PASSPHRASE);
    await this.hands.press(this.button("Unlock"));
    await this.page.getByRole("navigation", { name: "Main" }).waitFor();
  }

  async people(): Promise<void> {
    const { page } = this;
    await this.hands.press(page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: /^People/ }));
    await this.heading("People").waitFor();
  }

  /** Makes an invite link. */
  async invite(): Promise<string> {
    const { hands, page } = this;
    await this.people();
    await hands.press(this.button("New invite").first());
    const dialog = page.getByRole("dialog", { name: "New invite" });
    await hands.press(dialog.getByRole("button", { name: "Create link" }));
    const link = await dialog.getByRole("textbox", { name: "Your invite link" }).inputValue();
    assert.match(link, /^kith-invite:/);
    await dialog.getByRole("img", { name: "QR code of the invite link" }).waitFor();
    await hands.press(dialog.getByRole("button", { name: "Done" }));
    await dialog.waitFor({ state: "hidden" });
    return link;
  }

  /** Answers an invite link. */
  async useInvite(link: string): Promise<void> {
    const { hands } = this;
    await this.people();
    await hands.fill(this.textbox("Invite link"), link);
    await hands.fill(this.textbox("Greeting"), `Hello, this is ${this.name}`);
    await hands.press(this.button("Send request"));
  }

  /** Accepts the request of somebody. */
  async accept(name: string): Promise<void> {
    await this.people();
    const requests = this.page.getByRole("region", { name: "Requests" });
    const request = requests.getByRole("listitem").filter({ hasText: name });
    await this.hands.press(request.getByRole("button", { name: /^Accept/ }));
    await this.conversation(name).waitFor();
  }

  /** A conversation in the list. */
  conversation(title: string): Locator {
    const list = this.page.getByRole("list", { name: "Conversations" });
    return list.getByRole("link", { name: new RegExp(`^${title}`) });
  }

  async open(title: string): Promise<void> {
    await this.hands.press(this.conversation(title));
    await this.page.getByRole("heading", { level: 1, name: title }).waitFor();
  }

  async say(text: string): Promise<void> {
    const message = this.textbox("Message");
    await this.hands.fill(message, text);
    if (this.hands.keysOnly) await message.page().keyboard.press("Enter");
    else await this.hands.press(this.button("Send"));
    await this.message(text).waitFor();
  }

  /** Chooses files and sends them, with words beside the first. Files of a disk go by their path. */
  async attach(files: Given[] | string, words = ""): Promise<void> {
    const { hands, page } = this;
    const chooser = page.waitForEvent("filechooser");
    await hands.press(this.button("Attach files"));
    await (await chooser).setFiles(files);
    const dialog = page.getByRole("dialog", { name: /^Send (a file|\d+ files)$/ });
    if (words !== "") await hands.fill(dialog.getByRole("textbox", { name: "Add words" }), words);
    await hands.press(dialog.getByRole("button", { name: /^Send (file|\d+ files)$/ }));
    await dialog.waitFor({ state: "detached" });
  }

  /** A message of the open conversation. */
  message(text: string): Locator {
    return this.page.getByRole("feed", { name: "Messages" }).getByRole("article").filter({ hasText: text });
  }

  /** Nothing like this stands in the open conversation. */
  async hasNo(text: string): Promise<void> {
    assert.equal(await this.message(text).count(), 0, `${this.name} does not see "${text}"`);
  }

  /** Opens the details of the open conversation. */
  async details(): Promise<void> {
    await this.hands.press(this.page.getByRole("link", { name: "Details", exact: true }));
    await this.page.getByRole("complementary", { name: "Details" }).getByRole("list", { name: "Members" }).waitFor();
  }

  /** A member in the open details. */
  member(name: string): Locator {
    const list = this.page.getByRole("list", { name: "Members" });
    return list.getByRole("listitem").filter({ has: this.page.getByRole("link", { name, exact: true }) });
  }

  /** Whether something can be done with a member of the open details. */
  async manages(name: string, yes: boolean): Promise<void> {
    const button = this.member(name).getByRole("button", { name: `Manage ${name}` });
    await this.member(name).waitFor();
    await button.waitFor({ state: yes ? "visible" : "detached" });
  }

  /** Picks something to do with a member, and says yes to the question. */
  async manage(name: string, item: string, action: string): Promise<void> {
    const { hands, page } = this;
    await hands.press(this.member(name).getByRole("button", { name: `Manage ${name}` }));
    await hands.pick(page.getByRole("menuitem", { name: item, exact: true }));
    const question = page.getByRole("alertdialog");
    await hands.press(question.getByRole("button", { name: action, exact: true }));
    await question.waitFor({ state: "detached" });
  }

  /** Reports a message of the open conversation to the admins. */
  async report(text: string, reason: string): Promise<void> {
    const { hands, page } = this;
    await hands.pressIn(this.message(text), "More");
    await hands.pick(page.getByRole("menuitem", { name: "Report to the admins…" }));
    const dialog = page.getByRole("dialog", { name: "Report this message?" });
    await hands.fill(dialog.getByRole("textbox", { name: "Reason" }), reason);
    await hands.press(dialog.getByRole("button", { name: "Send report" }));
    await dialog.waitFor({ state: "detached" });
  }

  /** Waits until an own message says what became of it. */
  async delivered(text: string, state: string | RegExp): Promise<void> {
    const label = typeof state === "string" ? `Delivery: ${state}` : state;
    await this.message(text).getByRole("button", { name: label }).waitFor();
  }

  async newGroup(title: string, members: string[]): Promise<void> {
    const { hands, page } = this;
    await hands.press(page.getByRole("navigation", { name: "Main" }).getByRole("button", { name: "New" }));
    await hands.pick(page.getByRole("menuitem", { name: "New group" }));
    await this.heading("New group").waitFor();
    await hands.fill(this.textbox("Group name"), title);
    for (const member of members) {
      await hands.tick(page.getByRole("checkbox", { name: new RegExp(`^${member}`) }));
    }
    await hands.press(this.button("Create group"));
    await page.getByRole("heading", { level: 1, name: title }).waitFor();
  }
}
