// The title and the icon of the page: what is open, how much is unread.

import { useEffect } from "react";
import { totalUnread } from "../api/patch";
import { useConversations } from "../api/queries";
import type { Conversation } from "../api/types";
import { t } from "../i18n";
import type { Route } from "./router";
import { clean } from "./text";

const nobody: readonly Conversation[] = [];

function viewName(route: Route, conversations: readonly Conversation[]): string {
  switch (route.view) {
    case "chat":
      return clean(conversations.find((c) => c.id === route.id)?.title ?? "");
    case "people":
    case "person":
      return t.people.title;
    case "new-group":
      return t.group.title;
    case "settings":
      return t.settings.title;
    case "home":
      return "";
  }
}

function setIcon(unread: boolean) {
  document.getElementById("favicon")?.setAttribute("href", unread ? "/favicon-unread.svg" : "/favicon.svg");
}

/** "(3) Bob – Kith", and a dot on the icon. */
export function useTitle(route: Route) {
  const conversations = useConversations().data ?? nobody;
  const unread = totalUnread(conversations);
  const view = viewName(route, conversations);
  useEffect(() => {
    const name = view === "" ? t.app.name : `${view} – ${t.app.name}`;
    document.title = unread > 0 ? `(${unread}) ${name}` : name;
  }, [unread, view]);
  useEffect(() => {
    setIcon(unread > 0);
    // A locked node says nothing about messages.
    return () => setIcon(false);
  }, [unread]);
}
