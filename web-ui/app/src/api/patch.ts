// How an event changes what is cached. Pure functions and a short memory of
// events, so that an answer that was on its way meanwhile cannot undo them.

import type { Contact, Conversation, Message } from "./types";

function newestFirst(a: Conversation, b: Conversation): number {
  return b.active_at - a.active_at || (a.id < b.id ? -1 : 1);
}

/** Inserts or replaces a conversation; newest activity first. */
export function putConversation(list: readonly Conversation[], conversation: Conversation): Conversation[] {
  const index = list.findIndex((c) => c.id === conversation.id);
  const before = list[index];
  if (before !== undefined && before.active_at === conversation.active_at) return list.with(index, conversation);
  return [...list.filter((c) => c.id !== conversation.id), conversation].toSorted(newestFirst);
}

function dropConversation(list: readonly Conversation[], id: string): Conversation[] {
  return list.filter((c) => c.id !== id);
}

export function putContact(list: readonly Contact[], contact: Contact): Contact[] {
  const index = list.findIndex((c) => c.account === contact.account);
  return index < 0 ? [...list, contact] : list.with(index, contact);
}

/** All unread messages, for the title and the badge. */
export function totalUnread(list: readonly Conversation[]): number {
  return list.reduce((sum, c) => sum + c.unread, 0);
}

/** Entries kept; when full the oldest go, and fetches older than that are made again. */
export const MEMORY_MAX = 4096;

/**
 * Remembers the latest event of each thing. A fetch notes the mark when it
 * starts and, when it has its answer, applies what came later.
 */
export class Memory<T> {
  private readonly entries = new Map<string, { mark: number; value: T }>();
  private last = 0;
  private forgotten = 0;

  /** The point in time to hand to `since`. */
  mark(): number {
    return this.last;
  }

  put(id: string, value: T) {
    this.last += 1;
    this.entries.delete(id);
    this.entries.set(id, { mark: this.last, value });
    if (this.entries.size > MEMORY_MAX) {
      const oldest = this.entries.entries().next().value;
      if (oldest !== undefined) {
        this.entries.delete(oldest[0]);
        this.forgotten = oldest[1].mark;
      }
    }
  }

  /** Forgets everything; a fetch that is on its way is made again. */
  clear() {
    this.entries.clear();
    this.last += 1;
    this.forgotten = this.last;
  }

  /** What came after `mark`, oldest first; null when some of it is forgotten. */
  since(mark: number): T[] | null {
    if (mark < this.forgotten) return null;
    const out: T[] = [];
    for (const entry of this.entries.values()) if (entry.mark > mark) out.push(entry.value);
    return out;
  }
}

export type ConversationChange = { conversation: Conversation } | { removed: string };
export type MessageChange = { conversation: string } & ({ message: Message } | { removed: number });

export function applyChanges(list: Conversation[], changes: readonly ConversationChange[]): Conversation[] {
  return changes.reduce(
    (now, change) => ("removed" in change ? dropConversation(now, change.removed) : putConversation(now, change.conversation)),
    list,
  );
}
