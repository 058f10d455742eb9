import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { forgetTyping, noteTyping, typesIn } from "./typing";
import type { NodeEvent } from "../api/types";

const sign = (account: string): NodeEvent => ({ type: "typing", conversation: "c", account });

beforeEach(() => vi.useFakeTimers());
afterEach(() => {
  forgetTyping();
  vi.useRealTimers();
});

describe("typing", () => {
  it("lasts until a while after the last sign", () => {
    noteTyping(sign("bob"));
    vi.advanceTimersByTime(4_000);
    noteTyping(sign("bob"));
    vi.advanceTimersByTime(4_000);
    expect(typesIn("c")).toEqual(["bob"]);
    vi.advanceTimersByTime(3_000);
    expect(typesIn("c")).toEqual([]);
  });

  it("ends when it is forgotten, whatever timers are left", () => {
    noteTyping(sign("bob"));
    forgetTyping();
    expect(typesIn("c")).toEqual([]);
    noteTyping(sign("carol"));
    vi.advanceTimersByTime(10_000);
    expect(typesIn("c")).toEqual([]);
  });
});
