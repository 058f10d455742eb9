import { describe, expect, it } from "vitest";
import { applyChanges, Memory, MEMORY_MAX, putContact, putConversation, totalUnread } from "./patch";
import type { Contact, Conversation } from "./types";

const conversation = (id: string, at: number, unread = 0): Conversation => ({
  id,
  kind: "group",
  title: id,
  peer: null,
  standing: "active",
  unread,
  last: null,
  active_at: at,
  read_position: 0,
  member_count: 2,
  catching_up: null,
});
const ids = (list: Conversation[]) => list.map((c) => c.id).join("");

describe("conversations", () => {
  const list = [conversation("a", 30), conversation("b", 20), conversation("c", 10)];

  it("move to the top when something happens", () => {
    expect(ids(putConversation(list, conversation("c", 40)))).toBe("cab");
    expect(ids(putConversation(list, conversation("d", 25)))).toBe("adbc");
  });

  it("stay where they are when nothing did", () => {
    const next = putConversation(list, { ...conversation("b", 20), title: "new" });
    expect(ids(next)).toBe("abc");
    expect(next[1]?.title).toBe("new");
    expect(next[0]).toBe(list[0]);
  });

  it("apply changes in order", () => {
    expect(ids(applyChanges(list, [{ removed: "a" }, { conversation: conversation("e", 5) }, { removed: "zz" }]))).toBe("bce");
  });

  it("add up to the number in the title", () => {
    expect(totalUnread([conversation("a", 1, 2), conversation("b", 1, 3)])).toBe(5);
  });
});

describe("contacts", () => {
  it("are replaced by account", () => {
    const bob = { account: "kith1b", name: "Bob" } as Contact;
    const list = putContact([], bob);
    expect(putContact(list, { ...bob, name: "Robert" })).toEqual([{ account: "kith1b", name: "Robert" }]);
  });
});

describe("Memory", () => {
  it("gives the latest of each thing since a mark", () => {
    const memory = new Memory<number>();
    memory.put("a", 1);
    const mark = memory.mark();
    memory.put("b", 2);
    memory.put("a", 3);
    memory.put("b", 4);
    expect(memory.since(mark)).toEqual([3, 4]);
    expect(memory.since(memory.mark())).toEqual([]);
  });

  it("says so when it has forgotten", () => {
    const memory = new Memory<number>();
    const mark = memory.mark();
    for (let n = 0; n <= MEMORY_MAX; n += 1) memory.put(String(n), n);
    expect(memory.since(mark)).toBeNull();
    expect(memory.since(memory.mark())).toEqual([]);
  });

  it("forgets everything at once, and tells those who wait", () => {
    const memory = new Memory<number>();
    memory.put("a", 1);
    const mark = memory.mark();
    memory.clear();
    expect(memory.since(mark)).toBeNull();
    const later = memory.mark();
    memory.put("b", 2);
    expect(memory.since(later)).toEqual([2]);
  });
});
