import { describe, expect, it } from "vitest";
import { withoutShown, type Pending } from "./outbox";
import type { Message } from "./types";

const pending = (key: string, text: string, at: number, state: Pending["state"] = "sending"): Pending => ({
  key,
  conversation: "c",
  text,
  replyTo: null,
  at,
  state,
  problem: null,
});
const message = (position: number, text: string, at: number, mine = true): Message => ({
  id: `m${position}`,
  position,
  author: "me",
  author_name: "Me",
  mine,
  at,
  content: { kind: "text", text },
  reply_to: null,
  delivery: "queued",
  stored_until: null,
  stored_at: 0,
  may_report: false,
});
const keys = (list: readonly Pending[]) => list.map((p) => p.key).join("");

describe("withoutShown", () => {
  it("hides a message whose event came before its answer", () => {
    expect(keys(withoutShown([pending("a", "hi", 100), pending("b", "there", 110)], [message(1, "hi", 101)]))).toBe("b");
  });

  it("hides one of two equal ones for one event", () => {
    expect(keys(withoutShown([pending("a", "ok", 100), pending("b", "ok", 110)], [message(1, "ok", 101)]))).toBe("b");
  });

  it("is not misled by old messages, by others, or by what failed", () => {
    expect(keys(withoutShown([pending("a", "ok", 100_000)], [message(1, "ok", 5)]))).toBe("a");
    expect(keys(withoutShown([pending("a", "ok", 100)], [message(1, "ok", 101, false)]))).toBe("a");
    expect(keys(withoutShown([pending("a", "ok", 100, "failed")], [message(1, "ok", 101)]))).toBe("a");
  });
});
