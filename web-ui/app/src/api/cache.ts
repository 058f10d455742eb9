// The TanStack cache: keys, fetches that events cannot overtake, and what
// each event of the node changes.

import { MutationCache, QueryCache, QueryClient, notifyManager } from "@tanstack/react-query";
import { ApiError, api } from "./client";
import { applyChanges, Memory, putContact, type ConversationChange, type MessageChange } from "./patch";
import { append, applyMessage, fromPage, PAGE, prepend, removeMessage, type Window } from "./window";
import type { Contact, Conversation, ConversationDetails, Me, Message, MessagePage, Network, NodeEvent } from "./types";

export const keys = {
  health: ["health"] as const,
  session: ["session"] as const,
  me: ["me"] as const,
  settings: ["settings"] as const,
  network: ["network"] as const,
  contacts: ["contacts"] as const,
  invites: ["invites"] as const,
  conversations: ["conversations"] as const,
  details: (id: string) => ["details", id] as const,
  window: (id: string) => ["window", id] as const,
  delivery: (id: string, event: string) => ["delivery", id, event] as const,
  safety: (account: string) => ["safety", account] as const,
};

/** The node says that the session ended or was locked: look again. */
export function checkSession(error: unknown) {
  if (error instanceof ApiError && (error.status === 401 || error.status === 423)) {
    void client.invalidateQueries({ queryKey: keys.session });
  }
}

export const client: QueryClient = new QueryClient({
  queryCache: new QueryCache({ onError: checkSession }),
  mutationCache: new MutationCache({ onError: checkSession }),
  defaultOptions: {
    queries: {
      staleTime: Number.POSITIVE_INFINITY,
      gcTime: 10 * 60_000,
      refetchOnWindowFocus: false,
      networkMode: "always",
      retry: (failures, error) => error instanceof ApiError && (error.offline || error.status >= 500) && failures < 3,
      retryDelay: (attempt) => Math.min(4_000, 300 * 2 ** attempt),
    },
    mutations: { networkMode: "always" },
  },
});

const conversationMemory = new Memory<ConversationChange>();
const contactMemory = new Memory<Contact>();
const messageMemory = new Memory<MessageChange>();

type Context = { signal?: AbortSignal | undefined };

/** Fetches, and applies what events told meanwhile. */
async function fetchOver<T, C>(memory: Memory<C>, fetch: () => Promise<T>, apply: (value: T, changes: C[]) => T): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    const mark = memory.mark();
    const value = await fetch();
    const changes = memory.since(mark);
    if (changes !== null) return apply(value, changes);
    // More came during one answer than is remembered; a later one will fit.
    if (attempt >= 4) return value;
  }
}

export const fetchConversations = ({ signal }: Context = {}) =>
  fetchOver(conversationMemory, () => api.get<Conversation[]>("/conversations", { signal }), applyChanges);

export const fetchContacts = ({ signal }: Context = {}) =>
  fetchOver(
    contactMemory,
    () => api.get<Contact[]>("/contacts", { signal }),
    (list, changes) => changes.reduce(putContact, list),
  );

export const fetchMe = ({ signal }: Context = {}) => api.get<Me>("/me", { signal });

type PageQuery = { before: number } | { after: number } | null;

function fetchPage(id: string, query: PageQuery, signal?: AbortSignal): Promise<MessagePage> {
  const params = new URLSearchParams({ limit: String(PAGE) });
  if (query !== null && "before" in query) params.set("before", String(query.before));
  if (query !== null && "after" in query) params.set("after", String(query.after));
  return api.get<MessagePage>(`/conversations/${id}/messages?${params}`, { signal });
}

function applyMessages(id: string, window: Window, changes: readonly MessageChange[]): Window {
  return changes.reduce((now, change) => {
    if (change.conversation !== id) return now;
    return "message" in change ? applyMessage(now, change.message) : removeMessage(now, change.removed);
  }, window);
}

function overWindow(id: string, fetch: () => Promise<Window>): Promise<Window> {
  return fetchOver(messageMemory, fetch, (window, changes) => applyMessages(id, window, changes));
}

/** The newest page, or the pages around the first unread message. */
async function openWindow(id: string, signal?: AbortSignal): Promise<Window> {
  const conversation = (await client.ensureQueryData({ queryKey: keys.conversations, queryFn: fetchConversations })).find(
    (c) => c.id === id,
  );
  if (conversation === undefined || conversation.unread <= PAGE / 2) return fromPage(await fetchPage(id, null, signal));
  const [older, newer] = await Promise.all([
    fetchPage(id, { before: conversation.read_position + 1 }, signal),
    fetchPage(id, { after: conversation.read_position }, signal),
  ]);
  return append(fromPage({ ...older, more_after: true }), newer);
}

/** Fetches what is held again, so that a reader keeps the place. */
async function refreshWindow(id: string, held: Window, signal?: AbortSignal): Promise<Window> {
  const first = held.messages[0];
  const last = held.messages.at(-1);
  if (first === undefined || last === undefined) return openWindow(id, signal);
  let window = fromPage(await fetchPage(id, { after: first.position - 1 }, signal));
  while (window.moreAfter && (window.messages.at(-1)?.position ?? 0) < last.position && window.messages.length < held.messages.length + PAGE) {
    const from = window.messages.at(-1);
    if (from === undefined) break;
    window = append(window, await fetchPage(id, { after: from.position }, signal));
  }
  // Whoever was at the end stays there: go on to it when it is near.
  for (let page = 0; !held.moreAfter && window.moreAfter && page < 4; page += 1) {
    const from = window.messages.at(-1);
    if (from === undefined) break;
    window = append(window, await fetchPage(id, { after: from.position }, signal));
  }
  return { ...window, moreBefore: window.moreBefore || held.moreBefore };
}

export const windowQuery = (id: string) => ({
  queryKey: keys.window(id),
  queryFn: ({ signal }: Context) =>
    overWindow(id, () => {
      const held = client.getQueryData<Window>(keys.window(id));
      return held === undefined ? openWindow(id, signal) : refreshWindow(id, held, signal);
    }),
  structuralSharing: false as const,
});

const paging = new Map<string, Promise<void>>();

function once(id: string, work: () => Promise<void>): Promise<void> {
  const running = paging.get(id);
  if (running !== undefined) return running;
  const promise = work().finally(() => paging.delete(id));
  paging.set(id, promise);
  return promise;
}

/** Loads older or newer messages; one page at a time per conversation. */
export function loadMore(id: string, direction: "before" | "after"): Promise<void> {
  return once(id, async () => {
    const held = client.getQueryData<Window>(keys.window(id));
    const edge = direction === "before" ? held?.messages[0] : held?.messages.at(-1);
    if (held === undefined || edge === undefined) return;
    const mark = messageMemory.mark();
    const page = await fetchPage(id, direction === "before" ? { before: edge.position } : { after: edge.position });
    const changes = messageMemory.since(mark) ?? [];
    client.setQueryData<Window>(keys.window(id), (now) => {
      if (now === undefined) return now;
      const at = direction === "before" ? now.messages[0] : now.messages.at(-1);
      // A resync replaced the window meanwhile; this page no longer fits.
      if (at?.position !== edge.position) return now;
      const joined = direction === "before" ? prepend(now, page) : append(now, page);
      return applyMessages(id, joined, changes);
    });
  });
}

/** Replaces what is held by the newest page. */
export async function loadNewest(id: string): Promise<void> {
  const window = await overWindow(id, async () => fromPage(await fetchPage(id, null)));
  client.setQueryData<Window>(keys.window(id), window);
}

/** Shows a message that the node just accepted, before its event comes. */
export function showAccepted(id: string, message: Message) {
  client.setQueryData<Window>(keys.window(id), (now) => {
    if (now === undefined || now.messages.some((m) => m.id === message.id)) return now;
    return applyMessage(now, message);
  });
}

/** Marks everything up to `position` as read here; the node's event confirms it. */
export function showRead(id: string, position: number, unreadLeft: number) {
  client.setQueryData<Conversation[]>(keys.conversations, (list) =>
    list?.map((c) => (c.id === id && position > c.read_position ? { ...c, read_position: position, unread: unreadLeft } : c)),
  );
}

const detailsTimers = new Map<string, ReturnType<typeof setTimeout>>();

/** Members change without an event of their own: look again, at most once a second. */
function refreshDetails(id: string) {
  if (detailsTimers.has(id) || client.getQueryState(keys.details(id)) === undefined) return;
  detailsTimers.set(
    id,
    setTimeout(() => {
      detailsTimers.delete(id);
      void client.invalidateQueries({ queryKey: keys.details(id) });
    }, 250),
  );
}

function applyEvent(event: NodeEvent) {
  switch (event.type) {
    case "message": {
      const { conversation: id, message } = event;
      messageMemory.put(`${id}/${message.id}`, { conversation: id, message });
      client.setQueryData<Window>(keys.window(id), (window) => (window === undefined ? window : applyMessage(window, message)));
      if (client.getQueryState(keys.delivery(id, message.id)) !== undefined) {
        void client.invalidateQueries({ queryKey: keys.delivery(id, message.id) });
      }
      if (message.content.kind === "notice") refreshDetails(id);
      break;
    }
    case "message_removed": {
      const { conversation: id, position } = event;
      messageMemory.put(`${id}@${position}`, { conversation: id, removed: position });
      client.setQueryData<Window>(keys.window(id), (window) => (window === undefined ? window : removeMessage(window, position)));
      break;
    }
    case "conversation": {
      const { conversation } = event;
      conversationMemory.put(conversation.id, { conversation });
      client.setQueryData<Conversation[]>(keys.conversations, (list) => (list === undefined ? list : applyChanges(list, [{ conversation }])));
      client.setQueryData<ConversationDetails>(keys.details(conversation.id), (d) => (d === undefined ? d : { ...d, conversation }));
      refreshDetails(conversation.id);
      break;
    }
    case "conversation_removed":
      conversationMemory.put(event.id, { removed: event.id });
      client.setQueryData<Conversation[]>(keys.conversations, (list) => (list === undefined ? list : applyChanges(list, [{ removed: event.id }])));
      client.removeQueries({ queryKey: keys.window(event.id) });
      client.removeQueries({ queryKey: keys.details(event.id) });
      break;
    case "contact":
      contactMemory.put(event.contact.account, event.contact);
      client.setQueryData<Contact[]>(keys.contacts, (list) => (list === undefined ? list : putContact(list, event.contact)));
      // A use of an invite shows up as a contact.
      void client.invalidateQueries({ queryKey: keys.invites });
      void client.invalidateQueries({ queryKey: keys.safety(event.contact.account) });
      break;
    case "network":
      client.setQueryData<Network>(keys.network, event.network);
      break;
    default:
      // `typing`, `notice` and types of a newer node change nothing here.
      break;
  }
}

/** Applies a batch of events at one stroke. */
export function applyEvents(events: readonly NodeEvent[]) {
  notifyManager.batch(() => {
    for (const event of events) applyEvent(event);
  });
}

/** Forgets everything of a session that ended. */
export function forgetSession() {
  client.removeQueries({ predicate: (query) => query.queryKey[0] !== "session" && query.queryKey[0] !== "health" });
}
