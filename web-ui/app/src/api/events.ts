// The event stream: one WebSocket, sequence numbers, reconnection with a
// growing pause, and a resync when something was missed.

import type { NodeEvent } from "./types";

export type StreamState = "connecting" | "open" | "lost";

export type StreamHandlers = {
  /** Events in order, gathered over one frame of the screen. */
  events: (events: NodeEvent[]) => void;
  /** Something was missed, or this is the beginning: fetch what is shown again. */
  resync: () => void;
  state: (state: StreamState) => void;
  /** The stream was refused or ended: the session may have changed. */
  ended: () => void;
};

const PAUSE_MS_MIN = 400;
const PAUSE_MS_MAX = 8_000;
/** Events gathered before they are handed on at once, whatever the screen does. */
const BATCH_MAX = 512;

type Hello = { seq: number; resync: boolean; run: string };

/** A frame of the stream, or null when it is none. */
export function parseFrame(text: string): { hello: Hello } | { seq: number; event: NodeEvent } | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null) return null;
  if ("hello" in value) {
    const hello = value.hello;
    if (typeof hello !== "object" || hello === null) return null;
    const { seq, resync, run } = hello as Record<string, unknown>;
    if (typeof seq !== "number") return null;
    return { hello: { seq, resync: resync !== false, run: typeof run === "string" ? run : "" } };
  }
  if (!("seq" in value) || typeof value.seq !== "number" || !("event" in value)) return null;
  const event = value.event;
  if (typeof event !== "object" || event === null || !("type" in event)) return null;
  return { seq: value.seq, event: event as NodeEvent };
}

/** Opens the stream and keeps it open until the returned function is called. */
export function openStream(handlers: StreamHandlers): () => void {
  let socket: WebSocket | null = null;
  let stopped = false;
  let failures = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let last: number | null = null;
  let run: string | null = null;
  let queue: NodeEvent[] = [];
  let flushing: { cancel: () => void } | null = null;

  const flush = () => {
    flushing?.cancel();
    flushing = null;
    const batch = queue;
    queue = [];
    if (batch.length > 0) handlers.events(batch);
  };
  const schedule = () => {
    if (queue.length >= BATCH_MAX) {
      flush();
    } else if (flushing === null) {
      if (document.visibilityState === "visible") {
        const frame = requestAnimationFrame(flush);
        // A window that is covered may get no frames.
        const late = setTimeout(flush, 100);
        flushing = { cancel: () => (cancelAnimationFrame(frame), clearTimeout(late)) };
      } else {
        const late = setTimeout(flush, 30);
        flushing = { cancel: () => clearTimeout(late) };
      }
    }
  };

  const resync = () => {
    flush();
    handlers.resync();
  };

  const onFrame = (text: string) => {
    const frame = parseFrame(text);
    if (frame === null) {
      resync();
    } else if ("hello" in frame) {
      const { hello } = frame;
      const fresh = last === null || run !== hello.run || hello.resync;
      if (fresh) last = hello.seq;
      run = hello.run;
      failures = 0;
      handlers.state("open");
      if (fresh) resync();
    } else {
      if (last !== null && frame.seq <= last) return;
      const gap = last !== null && frame.seq !== last + 1;
      last = frame.seq;
      queue.push(frame.event);
      if (gap) resync();
      else schedule();
    }
  };

  const connect = () => {
    if (stopped) return;
    clearTimeout(timer);
    timer = undefined;
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const after = last === null ? "" : `?${new URLSearchParams({ after: String(last), run: run ?? "" })}`;
    const mine = new WebSocket(`${scheme}://${location.host}/api/v1/events${after}`);
    socket = mine;
    mine.addEventListener("message", (message) => {
      if (socket === mine && typeof message.data === "string") onFrame(message.data);
    });
    mine.addEventListener("close", () => {
      if (socket !== mine || stopped) return;
      socket = null;
      flush();
      failures += 1;
      // One quiet second chance: a restart of the node is not worth a word.
      handlers.state(failures > 1 ? "lost" : "connecting");
      handlers.ended();
      const pause = Math.min(PAUSE_MS_MAX, PAUSE_MS_MIN * 2 ** (failures - 1));
      timer = setTimeout(connect, pause * (0.75 + Math.random() / 2));
    });
  };

  const hurry = () => {
    if (timer !== undefined && document.visibilityState === "visible") connect();
  };
  window.addEventListener("online", hurry);
  document.addEventListener("visibilitychange", hurry);
  handlers.state("connecting");
  connect();

  return () => {
    stopped = true;
    clearTimeout(timer);
    flushing?.cancel();
    window.removeEventListener("online", hurry);
    document.removeEventListener("visibilitychange", hurry);
    socket?.close();
    socket = null;
  };
}
