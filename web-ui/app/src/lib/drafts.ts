// What is being written, per conversation. In memory only.

import { useValueOf, Values } from "../api/store";
import type { Quote } from "../api/types";

type Draft = { text: string; reply: Quote | null };

/** Drafts kept; when full the oldest goes. */
const DRAFTS_MAX = 200;
const drafts = new Values<Draft>({ text: "", reply: null }, DRAFTS_MAX);

export function setDraft(conversation: string, fields: Partial<Draft>) {
  const next = { ...drafts.get(conversation), ...fields };
  drafts.set(conversation, next.text === "" && next.reply === null ? null : next);
}

export function replyTo(conversation: string): Quote | null {
  return drafts.get(conversation).reply;
}

/** Whether anything is begun that was not sent. */
export function hasDrafts(): boolean {
  return drafts.size > 0;
}

/** Forgets everything, after signing out. */
export function clearDrafts() {
  drafts.clear();
}

export function useDraft(conversation: string): Draft {
  return useValueOf(drafts, conversation);
}
