import { describe, expect, it } from "vitest";
import type { Pending } from "../api/outbox";
import type { Message } from "../api/types";
import { buildRows, GROUP_MS, sameRow } from "./rows";

const noon = new Date(2026, 5, 14, 12).getTime();
const DAY = 86_400_000;

function message(position: number, author: string, at: number, fields: Partial<Message> = {}): Message {
  return {
    id: `m${position}`,
    position,
    author,
    author_name: author,
    mine: author === "me",
    at,
    content: { kind: "text", text: "x" },
    reply_to: null,
    delivery: null,
    stored_until: null,
    stored_at: 0,
    may_report: false,
    ...fields,
  };
}

const pending = (at: number): Pending => ({ key: `k${at}`, conversation: "c", text: "x", replyTo: null, at, state: "sending", problem: null });
const shape = (rows: ReturnType<typeof buildRows>) => rows.map((r) => `${r.first ? "[" : "-"}${r.key}${r.last ? "]" : "-"}`).join(" ");

describe("buildRows", () => {
  it("groups messages of one author within five minutes", () => {
    const rows = buildRows(
      [message(1, "bob", noon), message(2, "bob", noon + GROUP_MS - 1), message(3, "bob", noon + 2 * GROUP_MS), message(4, "carol", noon + 2 * GROUP_MS)],
      [],
      null,
    );
    expect(shape(rows)).toBe("[m1- -m2] [m3] [m4]");
  });

  it("starts days, and never goes back to one", () => {
    const rows = buildRows([message(1, "bob", noon), message(2, "bob", noon + DAY), message(3, "carol", noon + DAY / 2 - DAY), message(4, "bob", noon + DAY)], [], null);
    expect(rows.map((r) => r.day !== null)).toEqual([true, true, false, false]);
  });

  it("breaks groups at days, notices and the unread mark", () => {
    const late = new Date(2026, 5, 14, 23, 59).getTime();
    expect(shape(buildRows([message(1, "bob", late), message(2, "bob", late + 120_000)], [], null))).toBe("[m1] [m2]");
    const notice = message(2, "bob", noon, { content: { kind: "notice", code: "joined", args: ["x"] } });
    expect(shape(buildRows([message(1, "bob", noon), notice, message(3, "bob", noon)], [], null))).toBe("[m1] [m2] [m3]");
    expect(shape(buildRows([message(1, "bob", noon), message(2, "bob", noon)], [], 1))).toBe("[m1] [m2]");
  });

  it("puts the unread mark once, before a message of somebody else", () => {
    const rows = buildRows([message(1, "bob", noon), message(2, "me", noon), message(3, "bob", noon), message(4, "bob", noon)], [], 1);
    expect(rows.map((r) => r.unread)).toEqual([false, false, true, false]);
    expect(buildRows([message(1, "bob", noon)], [], null)[0]?.unread).toBe(false);
  });

  it("joins messages on their way to own ones", () => {
    const rows = buildRows([message(1, "me", noon)], [pending(noon + 1000)], null);
    expect(shape(rows)).toBe(`[m1- -k${noon + 1000}]`);
  });
});

const rows = (list: Message[]) => buildRows(list, [], null);
const same = (a: Message[], b: Message[]) => rows(b).map((row, index) => sameRow(rows(a)[index] ?? row, row));

describe("sameRow", () => {
  const messages = [message(1, "bob", noon), message(2, "bob", noon + 1000)];

  it("knows rows that were made again", () => {
    expect(same(messages, [...messages])).toEqual([true, true]);
  });

  it("sees a new state, and a group that goes on", () => {
    expect(same(messages, messages.with(0, message(1, "bob", noon, { delivery: "read" })))).toEqual([false, true]);
    const rest = rows(messages)[1];
    const longer = rows([...messages, message(3, "bob", noon + 2000)])[1];
    expect(rest !== undefined && longer !== undefined && sameRow(rest, longer)).toBe(false);
  });
});
