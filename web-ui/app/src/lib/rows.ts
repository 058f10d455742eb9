// From messages to the rows of a timeline: days, groups of one author, the
// mark before the first unread message, messages that are still on their way.

import type { Message } from "../api/types";
import type { Pending } from "../api/outbox";
import { dayOf } from "../i18n/format";

/** Messages of one author closer than this stand together. */
export const GROUP_MS = 5 * 60_000;

export type Row = {
  key: string;
  /** Midnight of a new day, when this row is its first. */
  day: number | null;
  /** The mark "New messages" stands before this row. */
  unread: boolean;
  /** First and last of a group of one author. */
  first: boolean;
  last: boolean;
} & ({ kind: "message"; message: Message } | { kind: "pending"; pending: Pending });

type Authored = { author: string; at: number };

function authored(row: Row): Authored | null {
  if (row.kind === "pending") return { author: "", at: row.pending.at };
  const { message } = row;
  return message.content.kind === "notice" || message.content.kind === "report" || message.content.kind === "call" ? null : { author: message.mine ? "" : message.author, at: message.at };
}

function together(a: Row, b: Row): boolean {
  if (b.day !== null || b.unread) return false;
  const x = authored(a);
  const y = authored(b);
  return x !== null && y !== null && x.author === y.author && Math.abs(y.at - x.at) < GROUP_MS;
}

/**
 * `unreadAfter`: the position up to which everything was read when the
 * conversation was opened, or null for no mark.
 */
export function buildRows(messages: readonly Message[], pending: readonly Pending[], unreadAfter: number | null): Row[] {
  const rows: Row[] = [];
  let day: number | null = null;
  let marked = unreadAfter === null;
  for (const message of messages) {
    const own = dayOf(message.at);
    // Clocks of authors differ: a day only begins, it never goes back.
    const newDay = day === null || own > day;
    if (newDay) day = own;
    const unread = !marked && unreadAfter !== null && message.position > unreadAfter && !message.mine;
    if (unread) marked = true;
    rows.push({ key: message.id, kind: "message", message, day: newDay ? own : null, unread, first: true, last: true });
  }
  for (const item of pending) {
    const own = dayOf(item.at);
    const newDay = day === null || own > day;
    if (newDay) day = own;
    rows.push({ key: item.key, kind: "pending", pending: item, day: newDay ? own : null, unread: false, first: true, last: true });
  }
  rows.forEach((row, index) => {
    const before = rows[index - 1];
    if (before !== undefined && together(before, row)) {
      row.first = false;
      before.last = false;
    }
  });
  return rows;
}

/** Whether two rows show the same; rows are made anew with each event. */
export function sameRow(a: Row, b: Row): boolean {
  const shown = (row: Row) => (row.kind === "message" ? row.message : row.pending);
  return a.key === b.key && a.day === b.day && a.unread === b.unread && a.first === b.first && a.last === b.last && shown(a) === shown(b);
}
