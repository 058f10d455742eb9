// What the event stream tells besides data: its state, who is typing, what to
// announce, notifications of the desktop, the title of the page.

import { useEffect, useSyncExternalStore } from "react";
import { applyEvents, client, keys, forgetSession } from "../api/cache";
import { openStream, type StreamState } from "../api/events";
import { hasPending, wakeOutbox } from "../api/outbox";
import { useConversations } from "../api/queries";
import { totalUnread } from "../api/patch";
import { Value } from "../api/store";
import type { Conversation, NodeEvent } from "../api/types";
import { t } from "../i18n";
import { toast } from "../ui/toasts";
import { currentRoute, navigate, paths } from "./router";
import { clean } from "./text";
import { notifications } from "./theme";

export const streamState = new Value<StreamState>("connecting");
/** The newest message of the open conversation, for screen readers. */
export const announcement = new Value<string>("");

/** How long "is typing" stays after the last sign. */
const TYPING_MS = 6_000;
/** Notifications per batch; more become one. */
const NOTIFICATIONS_MAX = 3;
const BODY_CHARS_MAX = 200;

type Typing = ReadonlyMap<string, number>;
const nobody: Typing = new Map();
const typing = new Map<string, Typing>();
const typingListeners = new Set<() => void>();

function typingChanged() {
  for (const listener of typingListeners) listener();
}

function setTyping(conversation: string, account: string, until: number | null) {
  const now = new Map(typing.get(conversation) ?? nobody);
  if (until === null) {
    if (!now.delete(account)) return;
  } else {
    // Bounded by what is shown anyway.
    if (!now.has(account) && now.size >= 8) return;
    now.set(account, until);
    setTimeout(() => {
      if ((typing.get(conversation)?.get(account) ?? 0) <= Date.now()) setTyping(conversation, account, null);
    }, TYPING_MS + 50);
  }
  if (now.size === 0) typing.delete(conversation);
  else typing.set(conversation, now);
  typingChanged();
}

function subscribeTyping(listener: () => void) {
  typingListeners.add(listener);
  return () => {
    typingListeners.delete(listener);
  };
}

/** Accounts that type in a conversation. */
export function useTyping(conversation: string): readonly string[] {
  const now = useSyncExternalStore(subscribeTyping, () => typing.get(conversation) ?? nobody);
  return [...now.keys()];
}

/** Whether the person looks at this conversation right now. */
export function looksAt(conversation: string): boolean {
  const route = currentRoute();
  return document.visibilityState === "visible" && document.hasFocus() && route.view === "chat" && route.id === conversation;
}

function show(title: string, body: string, tag: string, id: string) {
  const shown = new Notification(title, { body, tag, icon: "/favicon.svg" });
  shown.addEventListener("click", () => {
    window.focus();
    navigate(paths.chat(id));
    shown.close();
  });
}

function notify(events: readonly NodeEvent[]) {
  const news = events.filter((e) => e.type === "message" && !e.message.mine && e.message.content.kind === "text");
  const conversations = client.getQueryData<Conversation[]>(keys.conversations) ?? [];
  const away: { id: string; message: string; title: string; body: string }[] = [];
  for (const event of news) {
    if (event.type !== "message" || event.message.content.kind !== "text") continue;
    const { conversation: id, message } = event;
    const known = conversations.find((c) => c.id === id);
    // Receipts change old messages too: only what is unread is news.
    if (known !== undefined && message.position <= known.read_position) continue;
    const author = clean(message.author_name);
    const body = event.message.content.text.slice(0, BODY_CHARS_MAX);
    // A second equal text is news too.
    const again = announcement.get().endsWith("\u00A0") ? "" : "\u00A0";
    if (looksAt(id)) announcement.set(t.live.message(author, body) + again);
    else away.push({ id, message: message.id, title: known?.kind === "group" ? `${author} · ${clean(known.title)}` : author, body });
  }
  if (away.length === 0 || !notifications.get() || !("Notification" in window) || Notification.permission !== "granted") return;
  const last = away.at(-1);
  if (away.length > NOTIFICATIONS_MAX && last !== undefined) {
    show(t.app.name, t.toast.more(away.length), "kith-many", last.id);
  } else {
    for (const item of away) show(item.title, item.body, item.message, item.id);
  }
}

function onEvents(events: NodeEvent[]) {
  applyEvents(events);
  for (const event of events) {
    if (event.type === "typing") setTyping(event.conversation, event.account, Date.now() + TYPING_MS);
    else if (event.type === "message") setTyping(event.conversation, event.message.author, null);
    else if (event.type === "notice") toast.refusal(event.message);
    else if (event.type === "conversation_removed") {
      const route = currentRoute();
      if (route.view === "chat" && route.id === event.id) navigate(paths.home, { replace: true });
    }
  }
  notify(events);
}

/** Keeps the stream open while the node is unlocked. */
export function useStream() {
  useEffect(() => {
    const close = openStream({
      events: onEvents,
      resync: () => void client.invalidateQueries({ predicate: (query) => query.queryKey[0] !== "session" }),
      state: (state) => {
        streamState.set(state);
        if (state === "open") wakeOutbox();
      },
      ended: () => void client.invalidateQueries({ queryKey: keys.session }),
    });
    const leaving = (event: BeforeUnloadEvent) => {
      if (hasPending()) event.preventDefault();
    };
    window.addEventListener("beforeunload", leaving);
    return () => {
      close();
      window.removeEventListener("beforeunload", leaving);
      typing.clear();
      // What waits to be sent stays: it goes out after the next unlock.
      forgetSession();
    };
  }, []);
}

/** "(3) Bob – Kith", and a dot on the icon. */
export function useTitle(view: string | null) {
  const unread = totalUnread(useConversations().data ?? []);
  useEffect(() => {
    const name = view === null || view === "" ? t.app.name : `${clean(view)} – ${t.app.name}`;
    document.title = unread > 0 ? `(${unread}) ${name}` : name;
    document.getElementById("favicon")?.setAttribute("href", unread > 0 ? "/favicon-unread.svg" : "/favicon.svg");
  }, [unread, view]);
}
