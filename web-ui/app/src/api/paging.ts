// The messages that are held of each conversation: opening, paging in both
// directions, fetching again after a gap.

import { client, keys } from "./cache";
import { api } from "./client";
import { fetchConversations, fetchOver, memory, type Context } from "./fetch";
import type { MessageChange } from "./patch";
import { Values } from "./store";
import { append, applyMessage, fromPage, PAGE, prepend, removeMessage, type Window } from "./window";
import type { Me, Message, MessagePage } from "./types";

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
  return fetchOver(memory.messages, fetch, (window, changes) => applyMessages(id, window, changes));
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

/** `failed` for a while after a failure: the next page is not asked for at once. */
export type Paging = "idle" | "busy" | "failed";
export const PAGING_RETRY_MS = 3_000;

export const paging = new Values<Paging>("idle");
const running = new Map<string, Promise<void>>();

function once(id: string, work: () => Promise<void>): Promise<void> {
  const before = running.get(id);
  if (before !== undefined) return before;
  const end = (state: Paging | null) => {
    running.delete(id);
    paging.set(id, state);
  };
  const mine = work().then(
    () => end(null),
    (error: unknown) => {
      end("failed");
      setTimeout(() => {
        if (paging.get(id) === "failed") paging.set(id, null);
      }, PAGING_RETRY_MS);
      throw error;
    },
  );
  running.set(id, mine);
  paging.set(id, "busy");
  return mine;
}

/** Loads older or newer messages; one page at a time per conversation. */
export function loadMore(id: string, direction: "before" | "after"): Promise<void> {
  return once(id, async () => {
    const held = client.getQueryData<Window>(keys.window(id));
    const edge = direction === "before" ? held?.messages[0] : held?.messages.at(-1);
    if (held === undefined || edge === undefined) return;
    const mark = memory.messages.mark();
    const page = await fetchPage(id, direction === "before" ? { before: edge.position } : { after: edge.position });
    const changes = memory.messages.since(mark) ?? [];
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

/** What the node answers when it takes a message. */
export type Accepted = { id: string; position: number };

/** Shows an own message that the node just accepted, before its event comes. */
export function showAccepted(id: string, accepted: Accepted, own: Pick<Message, "at" | "content" | "reply_to">) {
  const me = client.getQueryData<Me>(keys.me);
  const message: Message = {
    ...accepted,
    ...own,
    author: me?.account ?? "",
    author_name: me?.name ?? "",
    mine: true,
    delivery: "queued",
    stored_until: null,
    stored_at: 0,
    may_report: false,
  };
  client.setQueryData<Window>(keys.window(id), (now) => {
    if (now === undefined || now.messages.some((m) => m.id === message.id)) return now;
    return applyMessage(now, message);
  });
}
