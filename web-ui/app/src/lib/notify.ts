// New messages in words: spoken by screen readers when their conversation is
// open, else shown by the desktop.

import { client, keys } from "../api/cache";
import { Value } from "../api/store";
import type { Conversation, Message, NodeEvent } from "../api/types";
import { t } from "../i18n";
import { notifications } from "./remembered";
import { currentRoute, navigate, paths } from "./router";
import { clean } from "./text";

/** The newest message of the open conversation, for screen readers. */
export const announcement = new Value<string>("");

/** Notifications per batch; more become one. */
const NOTIFICATIONS_MAX = 3;
const BODY_CHARS_MAX = 200;

/** Whether the person looks at this conversation right now. */
function looksAt(conversation: string): boolean {
  const route = currentRoute();
  return document.visibilityState === "visible" && document.hasFocus() && route.view === "chat" && route.id === conversation;
}

function show(title: string, body: string, tag: string, id: string) {
  let shown: Notification;
  try {
    shown = new Notification(title, { body, tag, icon: "/favicon.svg" });
  } catch {
    // Some phones show them for installed apps only; the title still counts.
    return;
  }
  shown.addEventListener("click", () => {
    window.focus();
    navigate(paths.chat(id));
    shown.close();
  });
}

/** What a message or an open report says; null for what is no news. */
function newsOf(message: Message): string | null {
  const { content } = message;
  if (content.kind === "text") return content.text;
  return content.kind === "report" && content.open ? t.report.news(clean(content.author_name)) : null;
}

export function notify(events: readonly NodeEvent[]) {
  const conversations = client.getQueryData<Conversation[]>(keys.conversations) ?? [];
  const away: { id: string; message: string; title: string; body: string }[] = [];
  for (const event of events) {
    if (event.type !== "message" || event.message.mine) continue;
    const words = newsOf(event.message);
    if (words === null) continue;
    const { conversation: id, message } = event;
    const known = conversations.find((c) => c.id === id);
    // Receipts change old messages too: only what is unread is news.
    if (known !== undefined && message.position <= known.read_position) continue;
    const author = clean(message.author_name);
    const body = words.slice(0, BODY_CHARS_MAX);
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
