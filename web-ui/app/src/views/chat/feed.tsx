// The messages of a conversation as a virtual feed that grows at both ends and
// never moves what is being read.

import { defaultRangeExtractor, type Range, useVirtualizer } from "@tanstack/react-virtual";
import { lazy, Suspense, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import { Button as AriaButton } from "react-aria-components";
import { sentence } from "../../api/client";
import { usePending, withoutShown } from "../../api/outbox";
import { loadMore, loadNewest } from "../../api/paging";
import type { Conversation, Message } from "../../api/types";
import type { Window } from "../../api/window";
import { t } from "../../i18n";
import { count } from "../../i18n/format";
import { setDraft } from "../../lib/drafts";
import { useNow } from "../../lib/hooks";
import { buildRows, type Row } from "../../lib/rows";
import { signal, useSignal } from "../../lib/signals";
import { Icon } from "../../ui/icon";
import { toast } from "../../ui/toasts";
import { MessageRow } from "./message";
import { usePages } from "./pages";
import { placeIn, remember } from "./places";
import { useReadMark } from "./read-mark";
import { quoteOf } from "./words";

const ReportDialog = lazy(() => import("./report-dialog").then((m) => ({ default: m.ReportDialog })));

/** Rows from an edge at which the next page is asked for. */
const EDGE_ROWS = 12;
/** This close to the end counts as being there, in pixels. */
const END_PX = 96;
/** Pages searched for a quoted message. */
const QUOTE_PAGES_MAX = 10;

/** A first guess of a row's height, in pixels; measured once it is drawn. */
function estimate(row: Row | undefined): number {
  if (row === undefined) return 40;
  let height = (row.day === null ? 0 : 48) + (row.unread ? 36 : 0) + (row.first ? 10 : 2);
  if (row.kind === "message" && row.message.content.kind === "report" && row.message.content.open) return height + 190;
  if (row.kind === "message" && row.message.content.kind !== "text") return height + 28;
  const text = row.kind === "pending" ? row.pending.text : row.message.content.kind === "text" ? row.message.content.text : "";
  const lines = text.split("\n").reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / 62)), 0);
  const quote = row.kind === "pending" ? row.pending.replyTo : row.message.reply_to;
  height += 15 + 21 * lines + (quote === null ? 0 : 46);
  return height;
}

/** From the choice of a conversation to its messages, for the browser tests' report. */
function timeSwitch() {
  performance.clearMeasures("kith:switch");
  if (performance.getEntriesByName("kith:navigate").length > 0) performance.measure("kith:switch", "kith:navigate");
}

type FeedProps = { conversation: Conversation; data: Window };

export function Feed({ conversation, data }: FeedProps) {
  const { id } = conversation;
  const scroller = useRef<HTMLDivElement>(null);
  const now = useNow();
  const pending = usePending(id);
  const [unreadAfter] = useState(() => (conversation.unread > 0 ? conversation.read_position : null));
  const rows = useMemo(
    () => buildRows(data.messages, data.moreAfter ? [] : withoutShown(pending, data.messages), unreadAfter),
    [data, pending, unreadAfter],
  );
  const [atEnd, setAtEnd] = useState(true);
  const [flash, setFlash] = useState<string | null>(null);
  const [focused, setFocused] = useState<string | null>(null);
  const [reporting, setReporting] = useState<Message | null>(null);

  // The row that Tab leads to, and that the focus is on, is drawn wherever the
  // list has scrolled to: else the focus would be lost with it.
  const tabStop = focused !== null && rows.some((row) => row.key === focused) ? focused : rows.at(-1)?.key;
  const stop = rows.findIndex((row) => row.key === tabStop);
  const rangeExtractor = useCallback(
    (range: Range) => {
      const drawn = defaultRangeExtractor(range);
      return stop < 0 || drawn.includes(stop) ? drawn : [...drawn, stop].toSorted((a, b) => a - b);
    },
    [stop],
  );

  const getItemKey = useCallback((index: number) => rows[index]?.key ?? index, [rows]);
  const virtualizer = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: (index) => estimate(rows[index]),
    getItemKey,
    rangeExtractor,
    overscan: 8,
    paddingStart: 16,
    paddingEnd: 12,
    anchorTo: "end",
    followOnAppend: !data.moreAfter,
    scrollEndThreshold: END_PX,
  });
  const items = virtualizer.getVirtualItems();
  // The row of the focus may be drawn alone: pages are fetched by the others.
  const near = items.filter((item) => item.index !== stop);
  const first = near[0]?.index ?? 0;
  const last = near.at(-1)?.index ?? -1;

  // Once, at the beginning: the place left last time, the first unread
  // message, or the end.
  const placed = useRef(false);
  useLayoutEffect(() => {
    if (placed.current || rows.length === 0) return;
    placed.current = true;
    timeSwitch();
    const place = placeIn(id);
    const kept = rows.findIndex((row) => row.key === place);
    const divider = rows.findIndex((row) => row.unread);
    if (kept >= 0 && divider < 0) virtualizer.scrollToIndex(kept, { align: "start" });
    else if (divider > 0) virtualizer.scrollToIndex(divider, { align: "start" });
    else virtualizer.scrollToEnd();
  }, [id, rows, virtualizer]);

  const wantBefore = placed.current && data.moreBefore && first < EDGE_ROWS;
  const wantAfter = placed.current && data.moreAfter && last >= rows.length - EDGE_ROWS;
  const busy = usePages(id, wantBefore, wantAfter);

  const mark = useReadMark(conversation);
  const newest = data.messages.at(-1);
  const look = useCallback(() => {
    const element = scroller.current;
    if (element === null || !placed.current) return;
    const distance = element.scrollHeight - element.scrollTop - element.clientHeight;
    setAtEnd(distance < END_PX);
    const bottom = element.scrollTop + element.clientHeight;
    const seen = virtualizer.getVirtualItems().findLast((item) => item.end <= bottom + 8);
    const row = seen === undefined ? undefined : rows.slice(0, seen.index + 1).findLast((r) => r.kind === "message");
    if (row?.kind === "message") mark(row.message.position, row.message.id === newest?.id && !data.moreAfter);
    const top = virtualizer.getVirtualItemForOffset(element.scrollTop);
    remember(id, distance < END_PX || top === undefined ? null : String(top.key));
  }, [data.moreAfter, id, mark, newest?.id, rows, virtualizer]);

  useEffect(() => {
    const frame = requestAnimationFrame(look);
    window.addEventListener("focus", look);
    document.addEventListener("visibilitychange", look);
    return () => {
      cancelAnimationFrame(frame);
      window.removeEventListener("focus", look);
      document.removeEventListener("visibilitychange", look);
    };
  }, [look]);

  const toNewest = useCallback(async () => {
    if (data.moreAfter) {
      await loadNewest(id).catch((error: unknown) => toast.refusal(sentence(error)));
    }
    requestAnimationFrame(() => virtualizer.scrollToEnd());
  }, [data.moreAfter, id, virtualizer]);

  useSignal(
    "sent",
    useCallback(() => void toNewest(), [toNewest]),
  );

  // The row that the focus is on its way to: one far away is drawn a moment
  // after the list has scrolled there, and further keys count from it.
  const reaching = useRef<string | null>(null);
  const arrive = useCallback(() => {
    const key = reaching.current;
    const row = key === null ? null : scroller.current?.querySelector<HTMLElement>(`[data-row="${CSS.escape(key)}"]`);
    if (row === null || row === undefined) return;
    reaching.current = null;
    // Whoever has gone elsewhere since stays there.
    const active = document.activeElement;
    if (active === null || active === document.body || scroller.current?.contains(active)) row.focus({ preventScroll: true });
  }, []);
  useLayoutEffect(arrive);
  const focusRow = useCallback(
    (index: number) => {
      const row = rows[index];
      if (row === undefined) return;
      setFocused(row.key);
      reaching.current = row.key;
      arrive();
      virtualizer.scrollToIndex(index, { align: "auto" });
    },
    [arrive, rows, virtualizer],
  );

  const reply = useCallback(
    (message: Message) => {
      const quote = quoteOf(message);
      if (quote === null || conversation.standing !== "active") return;
      setDraft(id, { reply: quote });
      signal("compose");
    },
    [conversation.standing, id],
  );

  const replyHere = useCallback(() => {
    const active = document.activeElement?.closest<HTMLElement>("[data-row]")?.dataset["row"];
    const texts = data.messages.filter((m) => m.content.kind === "text");
    const message = texts.find((m) => m.id === active) ?? texts.at(-1);
    if (message !== undefined) reply(message);
  }, [data.messages, reply]);
  useSignal("reply", replyHere);

  // A quoted message: here, or a few pages further up.
  const [wanted, setWanted] = useState<{ id: string; pages: number } | null>(null);
  const goTo = useCallback((quoted: string) => setWanted({ id: quoted, pages: 0 }), []);
  useEffect(() => {
    if (wanted === null) return;
    const index = rows.findIndex((row) => row.key === wanted.id);
    if (index >= 0) {
      setWanted(null);
      setFlash(wanted.id);
      virtualizer.scrollToIndex(index, { align: "center" });
      focusRow(index);
    } else if (data.moreBefore && wanted.pages < QUOTE_PAGES_MAX) {
      loadMore(id, "before").then(
        () => setWanted((w) => (w === null ? w : { ...w, pages: w.pages + 1 })),
        (error: unknown) => {
          setWanted(null);
          toast.refusal(sentence(error));
        },
      );
    } else {
      setWanted(null);
      toast.info(t.timeline.quoteFar);
    }
  }, [data.moreBefore, focusRow, id, rows, virtualizer, wanted]);
  useEffect(() => {
    if (flash === null) return undefined;
    const timer = setTimeout(() => setFlash(null), 1500);
    return () => clearTimeout(timer);
  }, [flash]);

  const onKeyDown = (event: React.KeyboardEvent<HTMLDivElement>) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const own = reaching.current ?? (event.target as HTMLElement).closest<HTMLElement>("[data-row]")?.dataset["row"];
    const index = rows.findIndex((row) => row.key === own);
    if (index < 0) return;
    const next = { ArrowUp: index - 1, ArrowDown: index + 1, PageUp: index - 10, PageDown: index + 10, Home: 0, End: rows.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    focusRow(Math.max(0, Math.min(rows.length - 1, next)));
  };

  const unreadBelow = data.messages.filter((m) => !m.mine && m.position > conversation.read_position).length;

  return (
    <div className="relative flex min-h-0 flex-1 flex-col">
      <div
        ref={scroller}
        className="timeline"
        onScroll={look}
        tabIndex={rows.length === 0 ? 0 : -1}
      >
        {rows.length === 0 && !data.moreBefore ? <p className="m-auto max-w-xs p-8 text-center text-sm text-soft">{t.timeline.empty}</p> : null}
        <div
          role={rows.length > 0 ? "feed" : undefined}
          aria-label={rows.length > 0 ? t.timeline.feed : undefined}
          aria-busy={busy}
          className="feed relative mx-auto w-full max-w-4xl flex-none"
          style={{ height: virtualizer.getTotalSize() }}
          onKeyDown={onKeyDown}
        >
          {items.map((item) => {
            const row = rows[item.index];
            return row === undefined ? null : (
              <div
                key={item.key}
                data-index={item.index}
                ref={virtualizer.measureElement}
                className="absolute inset-x-0 top-0"
                style={{ transform: `translateY(${item.start}px)` }}
              >
                <MessageRow
                  row={row}
                  place={item.index + 1}
                  size={data.moreBefore || data.moreAfter ? -1 : rows.length}
                  conversation={id}
                  group={conversation.kind === "group"}
                  active={conversation.standing === "active"}
                  now={now}
                  tabStop={row.key === tabStop}
                  flash={row.key === flash}
                  onFocus={setFocused}
                  onReply={reply}
                  onQuote={goTo}
                  onReport={setReporting}
                />
              </div>
            );
          })}
        </div>
      </div>
      {reporting === null ? null : (
        <Suspense>
          <ReportDialog conversation={id} message={reporting} onClose={() => setReporting(null)} />
        </Suspense>
      )}
      {atEnd && !data.moreAfter ? null : (
        <AriaButton aria-label={t.timeline.newest} onPress={() => void toNewest()} className="newest">
          <Icon name="down" />
          {unreadBelow > 0 ? <span className="badge absolute -top-2 right-0">{count(unreadBelow)}</span> : null}
        </AriaButton>
      )}
    </div>
  );
}
