import { describe, expect, it } from "vitest";
import type { Message } from "./types";
import { append, applyMessage, prepend, removeMessage, WINDOW_MAX, type Window } from "./window";

const message = (position: number, fields: Partial<Message> = {}): Message => ({
  id: `m${position}`,
  position,
  author: "a",
  author_name: "a",
  mine: false,
  at: position,
  content: { kind: "text", text: String(position) },
  reply_to: null,
  delivery: null,
  stored_until: null,
  stored_at: 0,
  may_report: false,
  ...fields,
});
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => message(from + i));
const window = (from: number, to: number, before = true, after = false): Window => ({ messages: range(from, to), moreBefore: before, moreAfter: after });
const positions = (w: Window) => w.messages.map((m) => m.position);

describe("applyMessage", () => {
  it("appends at the end, but not across a gap", () => {
    expect(positions(applyMessage(window(5, 8), message(8)))).toEqual([5, 6, 7, 8]);
    const open = window(5, 8, true, true);
    expect(applyMessage(open, message(20))).toBe(open);
    expect(applyMessage(open, message(2))).toBe(open);
  });

  it("starts an empty timeline", () => {
    expect(positions(applyMessage({ messages: [], moreBefore: false, moreAfter: false }, message(1)))).toEqual([1]);
  });

  it("replaces what changed and leaves the rest untouched", () => {
    const before = window(5, 8);
    const after = applyMessage(before, message(6, { delivery: "read" }));
    expect(after.messages[1]?.delivery).toBe("read");
    expect(after.messages[0]).toBe(before.messages[0]);
    expect(positions(after)).toEqual([5, 6, 7]);
  });

  it("inserts in between", () => {
    const gap = { ...window(0, 0), messages: [message(1), message(4)] };
    expect(positions(applyMessage(gap, message(2)))).toEqual([1, 2, 4]);
  });

  it("takes a message away, and lets one move", () => {
    expect(positions(removeMessage(window(5, 8), 6))).toEqual([5, 7]);
    const same = window(5, 8);
    expect(removeMessage(same, 4)).toBe(same);
    expect(positions(applyMessage(window(5, 8), { ...message(9), id: "m6" }))).toEqual([5, 7, 9]);
  });

  it("does not grow without bound", () => {
    let w = window(0, 1, false);
    for (let p = 1; p < WINDOW_MAX * 3; p += 1) w = applyMessage(w, message(p));
    expect(w.messages.length).toBeLessThanOrEqual(WINDOW_MAX * 1.5);
    expect(w.moreBefore).toBe(true);
    expect(w.messages.at(-1)?.position).toBe(WINDOW_MAX * 3 - 1);
  });
});

describe("pages", () => {
  it("join without doubles", () => {
    const older = prepend(window(10, 15), { messages: range(5, 12), more_before: false, more_after: true });
    expect(positions(older)).toEqual([5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
    expect(older).toMatchObject({ moreBefore: false, moreAfter: false });
    const newer = append(window(10, 12, true, true), { messages: range(11, 14), more_before: true, more_after: true });
    expect(positions(newer)).toEqual([10, 11, 12, 13]);
    expect(newer.moreAfter).toBe(true);
  });

  it("drop the far end when the window is full", () => {
    const up = prepend(window(1000, 1000 + WINDOW_MAX), { messages: range(950, 1000), more_before: true, more_after: true });
    expect(up.messages.length).toBe(WINDOW_MAX);
    expect(up.messages[0]?.position).toBe(950);
    expect(up.moreAfter).toBe(true);
    const down = append({ ...up }, { messages: range(950 + WINDOW_MAX, 1000 + WINDOW_MAX), more_before: true, more_after: false });
    expect(down.messages.length).toBe(WINDOW_MAX);
    expect(down).toMatchObject({ moreBefore: true, moreAfter: false });
  });
});
