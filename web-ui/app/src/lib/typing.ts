// Who types where, for a few seconds after each sign of it.

import { useValueOf, Values } from "../api/store";
import type { NodeEvent } from "../api/types";

/** How long "is typing" stays after the last sign. */
const TYPING_MS = 6_000;
/** Bounded by what is shown anyway. */
const TYPING_MAX = 8;

/** By account: when its sign ends. */
type Typing = ReadonlyMap<string, number>;
const typing = new Values<Typing>(new Map());

function set(conversation: string, account: string, until: number | null) {
  const now = new Map(typing.get(conversation));
  if (until === null) {
    if (!now.delete(account)) return;
  } else {
    if (!now.has(account) && now.size >= TYPING_MAX) return;
    now.set(account, until);
    setTimeout(() => {
      if ((typing.get(conversation).get(account) ?? 0) <= Date.now()) set(conversation, account, null);
    }, TYPING_MS + 50);
  }
  typing.set(conversation, now.size === 0 ? null : now);
}

/** What an event says about typing: that somebody does, or that a message came of it. */
export function noteTyping(event: NodeEvent) {
  if (event.type === "typing") set(event.conversation, event.account, Date.now() + TYPING_MS);
  else if (event.type === "message") set(event.conversation, event.message.author, null);
}

export function forgetTyping() {
  typing.clear();
}

export function typesIn(conversation: string): readonly string[] {
  return [...typing.get(conversation).keys()];
}

/** Accounts that type in a conversation. */
export function useTyping(conversation: string): readonly string[] {
  return [...useValueOf(typing, conversation).keys()];
}
