// Calls from one part of a conversation's view to another, within this page.

import { useEffect } from "react";

type Signal =
  /** The field for messages takes the focus. */
  | "compose"
  /** The reply that is being written becomes a message of its own. */
  | "cancel-reply"
  /** A reply to the message in focus, or to the newest. */
  | "reply"
  /** A message was sent: its timeline shows it. */
  | "sent";

const page = new EventTarget();

export function signal(name: Signal) {
  page.dispatchEvent(new Event(name));
}

/** Calls `heard` at each such signal; give it a stable function. */
export function useSignal(name: Signal, heard: () => void) {
  useEffect(() => {
    page.addEventListener(name, heard);
    return () => page.removeEventListener(name, heard);
  }, [name, heard]);
}
