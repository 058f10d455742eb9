import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { client, keys } from "./cache";
import { loadMore, paging, PAGING_RETRY_MS } from "./paging";
import type { Message } from "./types";
import type { Window } from "./window";

const message = (position: number): Message => ({
  id: `m${position}`,
  position,
  author: "bob",
  author_name: "Bob",
  mine: false,
  at: position,
  content: { kind: "text", text: "x" },
  reply_to: null,
  delivery: null,
  stored_until: null,
  stored_at: 0,
  may_report: false,
});
const positions = () => client.getQueryData<Window>(keys.window("c"))?.messages.map((m) => m.position);
const answer = (...page: number[]) => Response.json({ messages: page.map(message), more_before: true, more_after: false });

beforeEach(() => {
  vi.useFakeTimers();
  client.setQueryData<Window>(keys.window("c"), { messages: [message(5)], moreBefore: true, moreAfter: false });
});
afterEach(() => {
  vi.runAllTimers();
  client.clear();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

describe("loadMore", () => {
  it("asks once, however often it is called", async () => {
    const fetch = vi.fn(async () => answer(3, 4));
    vi.stubGlobal("fetch", fetch);
    const both = Promise.all([loadMore("c", "before"), loadMore("c", "before")]);
    expect(paging.get("c")).toBe("busy");
    await both;
    expect(fetch).toHaveBeenCalledTimes(1);
    expect(positions()).toEqual([3, 4, 5]);
    expect(paging.get("c")).toBe("idle");
  });

  it("waits after a failure, and lets another call try", async () => {
    vi.stubGlobal("fetch", async () => {
      throw new TypeError("no network");
    });
    await expect(loadMore("c", "before")).rejects.toThrow();
    expect(paging.get("c")).toBe("failed");
    vi.advanceTimersByTime(PAGING_RETRY_MS);
    expect(paging.get("c")).toBe("idle");
    vi.stubGlobal("fetch", async () => answer(4));
    await loadMore("c", "before");
    expect(positions()).toEqual([4, 5]);
  });
});
