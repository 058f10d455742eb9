// The keyboard of the whole page, apart from what dialogs and fields do.

import { useEffect } from "react";
import { client, keys } from "../api/cache";
import type { Conversation } from "../api/types";
import { t } from "../i18n";
import { replyTo } from "./drafts";
import { currentRoute, goBack, navigate, paths } from "./router";
import { signal } from "./signals";

export const isMac = typeof navigator !== "undefined" && /mac|iphone|ipad/iu.test(navigator.platform);

/** The keys that open the jump, as they are written on this system. */
export const jumpKey = isMac ? t.keyboard.jump.mac : t.keyboard.jump.keys;

function editing(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(?:INPUT|TEXTAREA|SELECT)$/u.test(target.tagName));
}

function step(direction: -1 | 1) {
  const list = client.getQueryData<Conversation[]>(keys.conversations) ?? [];
  const route = currentRoute();
  const index = route.view === "chat" ? list.findIndex((c) => c.id === route.id) : -1;
  const next = list[index < 0 ? (direction > 0 ? 0 : list.length - 1) : index + direction];
  if (next !== undefined) navigate(paths.chat(next.id));
}

/** One step out: reply, details, view, list. */
function back() {
  const route = currentRoute();
  if (route.view === "chat") {
    if (replyTo(route.id) !== null) {
      signal("cancel-reply");
    } else if (route.details) {
      navigate(paths.chat(route.id));
    } else {
      const narrow = window.matchMedia("(max-width: 719px)").matches;
      if (narrow) goBack(paths.home);
      else document.querySelector<HTMLElement>("[data-list] [aria-current='page'], [data-list] a")?.focus();
    }
  } else if (route.view !== "home") {
    goBack(paths.home);
  }
}

type Handlers = { onJump: () => void; onHelp: () => void };

export function useGlobalKeys({ onJump, onHelp }: Handlers) {
  useEffect(() => {
    const down = (event: KeyboardEvent) => {
      if (event.defaultPrevented || event.isComposing) return;
      const mod = isMac ? event.metaKey : event.ctrlKey;
      if (mod && !event.shiftKey && !event.altKey && event.key.toLowerCase() === "k") {
        event.preventDefault();
        onJump();
        return;
      }
      // While a dialog is open the rest belongs to it.
      if (document.querySelector("[role='dialog'], [role='alertdialog'], [role='menu']") !== null) return;
      if (event.altKey && !event.ctrlKey && !event.metaKey && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
        event.preventDefault();
        step(event.key === "ArrowUp" ? -1 : 1);
      } else if (event.key === "Escape") {
        event.preventDefault();
        const composing = event.target instanceof HTMLTextAreaElement && currentRoute().view === "chat";
        // Leaving a field must not throw away what stands in it.
        if (editing(event.target) && !composing) document.getElementById("main")?.focus({ preventScroll: true });
        else back();
      } else if (!editing(event.target) && !event.ctrlKey && !event.metaKey && !event.altKey) {
        if (event.key === "?") {
          event.preventDefault();
          onHelp();
        } else if (event.key.toLowerCase() === "r" && currentRoute().view === "chat") {
          event.preventDefault();
          signal("reply");
        }
      }
    };
    window.addEventListener("keydown", down);
    return () => window.removeEventListener("keydown", down);
  }, [onJump, onHelp]);
}
