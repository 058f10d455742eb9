// The part of a timeline that is held here: a contiguous window of messages.
// Pure functions; the cache stores what they return.

import type { Message, MessagePage } from "./types";

/** Messages held per conversation; more are dropped at the far end. */
export const WINDOW_MAX = 800;
/** Messages asked for at once. */
export const PAGE = 50;

export type Window = {
  /** Ascending by position, without gaps against the node's timeline. */
  messages: Message[];
  moreBefore: boolean;
  moreAfter: boolean;
};

export function fromPage(page: MessagePage): Window {
  return { messages: page.messages, moreBefore: page.more_before, moreAfter: page.more_after };
}

/** Index of the first message at or behind `position`. */
function lowerBound(messages: readonly Message[], position: number): number {
  let low = 0;
  let high = messages.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((messages[middle]?.position ?? 0) < position) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** A new or changed message. Outside of the window nothing changes. */
export function applyMessage(window: Window, message: Message): Window {
  const { messages } = window;
  const index = lowerBound(messages, message.position);
  const there = messages[index];
  if (there !== undefined && there.position === message.position) {
    return { ...window, messages: messages.with(index, message) };
  }
  if (index === messages.length && window.moreAfter) return window;
  if (index === 0 && messages.length > 0 && window.moreBefore) return window;
  // A message that found another place has left its old one.
  const kept = (m: Message) => m.id !== message.id;
  const next = [...messages.slice(0, index).filter(kept), message, ...messages.slice(index).filter(kept)];
  // Somebody who reads further up keeps their place; the far end is dropped.
  if (next.length > WINDOW_MAX * 1.5) {
    return { ...window, messages: next.slice(next.length - WINDOW_MAX), moreBefore: true };
  }
  return { ...window, messages: next };
}

/** A message is gone from its place. */
export function removeMessage(window: Window, position: number): Window {
  const index = lowerBound(window.messages, position);
  if (window.messages[index]?.position !== position) return window;
  return { ...window, messages: window.messages.toSpliced(index, 1) };
}

/** Puts an older page before the window. */
export function prepend(window: Window, page: MessagePage): Window {
  const first = window.messages[0];
  const older = first === undefined ? page.messages : page.messages.filter((m) => m.position < first.position);
  const messages = [...older, ...window.messages];
  const cut = messages.length > WINDOW_MAX;
  return {
    messages: cut ? messages.slice(0, WINDOW_MAX) : messages,
    moreBefore: page.more_before,
    moreAfter: cut || window.moreAfter,
  };
}

/** Puts a newer page behind the window. */
export function append(window: Window, page: MessagePage): Window {
  const last = window.messages.at(-1);
  const newer = last === undefined ? page.messages : page.messages.filter((m) => m.position > last.position);
  const messages = [...window.messages, ...newer];
  const cut = messages.length > WINDOW_MAX;
  return {
    messages: cut ? messages.slice(messages.length - WINDOW_MAX) : messages,
    moreBefore: cut || window.moreBefore,
    moreAfter: page.more_after,
  };
}
