// Messages between the composer and the node: shown at once, sent in order,
// repeated with the same key until the node has accepted or refused them.
// In memory only: what a person writes is never kept by the browser.

import { ApiError, api, sentence } from "./client";
import { checkSession } from "./cache";
import { type Accepted, showAccepted } from "./paging";
import { useValueOf, Values } from "./store";
import type { Message, Quote } from "./types";

export type Pending = {
  /** Idempotency key; also the row's key. */
  key: string;
  conversation: string;
  text: string;
  replyTo: Quote | null;
  at: number;
  /** `waiting`: the node does not answer; goes on by itself. */
  state: "sending" | "waiting" | "failed";
  problem: string | null;
};

/** Per conversation; the composer refuses more. */
const PENDING_MAX = 500;
const PAUSE_MS_MIN = 500;
const PAUSE_MS_MAX = 10_000;

const boxes = new Values<readonly Pending[]>([]);
const chains = new Map<string, Promise<void>>();

function change(conversation: string, edit: (list: readonly Pending[]) => readonly Pending[]) {
  const next = edit(boxes.get(conversation));
  boxes.set(conversation, next.length === 0 ? null : next);
}

function update(item: Pending, fields: Partial<Pending>) {
  change(item.conversation, (list) => list.map((p) => (p.key === item.key ? { ...p, ...fields } : p)));
}

function held(item: Pending): boolean {
  return boxes.get(item.conversation).some((p) => p.key === item.key);
}

const sleepers = new Set<() => void>();

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      sleepers.delete(done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    sleepers.add(done);
  });
}

/** The node answers again: what waits is tried at once. */
export function wakeOutbox() {
  for (const done of sleepers) done();
}

async function deliver(item: Pending): Promise<void> {
  const body = {
    text: item.text,
    key: item.key,
    ...(item.replyTo === null ? {} : { reply_to: item.replyTo.id }),
  };
  for (let attempt = 0; held(item); attempt += 1) {
    try {
      const accepted = await api.post<Accepted>(`/conversations/${item.conversation}/messages`, body);
      showAccepted(item.conversation, accepted, {
        at: item.at,
        content: { kind: "text", text: item.text },
        reply_to: item.replyTo,
      });
      change(item.conversation, (list) => list.filter((p) => p.key !== item.key));
      return;
    } catch (error) {
      const later = error instanceof ApiError && (error.offline || [401, 423, 429, 502, 503, 504].includes(error.status));
      if (!later) {
        update(item, { state: "failed", problem: sentence(error) });
        return;
      }
      checkSession(error);
      update(item, { state: "waiting", problem: sentence(error) });
      const wait = error.retryAfterS === null ? PAUSE_MS_MIN * 2 ** Math.min(attempt, 6) : error.retryAfterS * 1000;
      await pause(Math.min(PAUSE_MS_MAX, wait));
    }
  }
}

function enqueue(item: Pending) {
  const before = chains.get(item.conversation) ?? Promise.resolve();
  const mine = before.then(() => deliver(item));
  chains.set(item.conversation, mine);
  void mine.finally(() => {
    if (chains.get(item.conversation) === mine) chains.delete(item.conversation);
  });
}

/** Sends a text; false when too many wait already. */
export function send(conversation: string, text: string, replyTo: Quote | null): boolean {
  if (boxes.get(conversation).length >= PENDING_MAX) return false;
  const item: Pending = {
    key: crypto.randomUUID(),
    conversation,
    text,
    replyTo,
    at: Date.now(),
    state: "sending",
    problem: null,
  };
  change(conversation, (list) => [...list, item]);
  enqueue(item);
  return true;
}

/** Tries a refused message again, with the same key. */
export function resend(item: Pending) {
  update(item, { state: "sending", problem: null });
  enqueue(item);
}

export function discard(item: Pending) {
  change(item.conversation, (list) => list.filter((p) => p.key !== item.key));
}

/** Forgets everything, after signing out. */
export function clearOutbox() {
  boxes.clear();
  wakeOutbox();
}

/** Whether closing the page would lose something. */
export function hasPending(): boolean {
  return boxes.size > 0;
}

export function usePending(conversation: string): readonly Pending[] {
  return useValueOf(boxes, conversation);
}

/**
 * Leaves out what the timeline shows already: the event of a message can be
 * quicker than the answer to its request.
 */
export function withoutShown(pending: readonly Pending[], messages: readonly Message[]): readonly Pending[] {
  if (pending.length === 0) return pending;
  const oldest = pending.reduce((at, p) => Math.min(at, p.at), Number.POSITIVE_INFINITY);
  const fresh = messages
    .slice(-100)
    .filter((m) => m.mine && m.at >= oldest - 1000)
    .map((m) => (m.content.kind === "text" ? m.content.text : null));
  return pending.filter((p) => {
    if (p.state !== "sending") return true;
    const index = fresh.indexOf(p.text);
    if (index < 0) return true;
    fresh[index] = null;
    return false;
  });
}
