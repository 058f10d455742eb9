// Lists from the node that events cannot overtake: what an event told while the
// answer was on its way is applied to the answer.

import { api } from "./client";
import { applyChanges, Memory, putContact, type ConversationChange, type MessageChange } from "./patch";
import type { Contact, Conversation, Me } from "./types";

/** What events told lately. */
export const memory = {
  conversations: new Memory<ConversationChange>(),
  contacts: new Memory<Contact>(),
  messages: new Memory<MessageChange>(),
};

export type Context = { signal?: AbortSignal | undefined };

/** Fetches, and applies what events told meanwhile. */
export async function fetchOver<T, C>(told: Memory<C>, fetch: () => Promise<T>, apply: (value: T, changes: C[]) => T): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    const mark = told.mark();
    const value = await fetch();
    const changes = told.since(mark);
    if (changes !== null) return apply(value, changes);
    // More came during one answer than is remembered; a later one will fit.
    if (attempt >= 4) return value;
  }
}

export const fetchConversations = ({ signal }: Context = {}) =>
  fetchOver(memory.conversations, () => api.get<Conversation[]>("/conversations", { signal }), applyChanges);

export const fetchContacts = ({ signal }: Context = {}) =>
  fetchOver(
    memory.contacts,
    () => api.get<Contact[]>("/contacts", { signal }),
    (list, changes) => changes.reduce(putContact, list),
  );

export const fetchMe = ({ signal }: Context = {}) => api.get<Me>("/me", { signal });
