// What is being written, per conversation. In memory only.

import { useSyncExternalStore } from "react";
import type { Quote } from "../api/types";

type Draft = { text: string; reply: Quote | null };

const empty: Draft = { text: "", reply: null };
/** Drafts kept; when full the oldest goes. */
const DRAFTS_MAX = 200;
const drafts = new Map<string, Draft>();
const listeners = new Set<() => void>();

export function setDraft(conversation: string, fields: Partial<Draft>) {
  const next = { ...(drafts.get(conversation) ?? empty), ...fields };
  drafts.delete(conversation);
  if (next.text !== "" || next.reply !== null) drafts.set(conversation, next);
  if (drafts.size > DRAFTS_MAX) {
    const oldest = drafts.keys().next().value;
    if (oldest !== undefined) drafts.delete(oldest);
  }
  for (const listener of listeners) listener();
}

export function replyTo(conversation: string): Quote | null {
  return drafts.get(conversation)?.reply ?? null;
}

function subscribe(listener: () => void) {
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
  };
}

export function useDraft(conversation: string): Draft {
  return useSyncExternalStore(subscribe, () => drafts.get(conversation) ?? empty);
}
