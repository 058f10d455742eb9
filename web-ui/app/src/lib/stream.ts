// The event stream while the node is unlocked: what each batch of events sets
// off, and what is forgotten when it ends.

import { useEffect } from "react";
import { applyEvents, forgetSession } from "../api/apply";
import { client, sessionChanged } from "../api/cache";
import { openStream, type StreamState } from "../api/events";
import { wakeOutbox } from "../api/outbox";
import { Value } from "../api/store";
import type { NodeEvent } from "../api/types";
import { toast } from "../ui/toasts";
import { announcement, notify } from "./notify";
import { currentRoute, navigate, paths } from "./router";
import { dropCalls, onCallEvents, resyncCalls } from "./call/session";
import { forgetTyping, noteTyping } from "./typing";
import { onTheirWay } from "./unsent";

export const streamState = new Value<StreamState>("connecting");

function onEvents(events: NodeEvent[]) {
  applyEvents(events);
  for (const event of events) {
    noteTyping(event);
    if (event.type === "notice") toast.refusal(event.message);
    else if (event.type === "conversation_removed") {
      const route = currentRoute();
      if (route.view === "chat" && route.id === event.id) navigate(paths.home, { replace: true });
    }
  }
  notify(events);
  onCallEvents(events);
}

/** Keeps the stream open while the node is unlocked. */
export function useStream() {
  useEffect(() => {
    const close = openStream({
      events: onEvents,
      resync: () => {
        void client.invalidateQueries({ predicate: (query) => query.queryKey[0] !== "session" });
        resyncCalls();
      },
      state: (state) => {
        streamState.set(state);
        if (state === "open") wakeOutbox();
      },
      ended: sessionChanged,
    });
    const leaving = (event: BeforeUnloadEvent) => {
      if (onTheirWay()) event.preventDefault();
    };
    window.addEventListener("beforeunload", leaving);
    return () => {
      close();
      window.removeEventListener("beforeunload", leaving);
      forgetTyping();
      dropCalls();
      announcement.set("");
      // What waits to be sent stays: it goes out after the next unlock.
      forgetSession();
    };
  }, []);
}
