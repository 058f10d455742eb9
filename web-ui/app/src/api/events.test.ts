import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { openStream, parseFrame, type StreamHandlers } from "./events";

/** The browser's socket, driven by hand. */
class Socket extends EventTarget {
  static all: Socket[] = [];
  readonly url: string;
  constructor(url: string) {
    super();
    this.url = url;
    Socket.all.push(this);
  }
  say(frame: unknown) {
    this.dispatchEvent(Object.assign(new Event("message"), { data: typeof frame === "string" ? frame : JSON.stringify(frame) }));
  }
  close() {
    this.dispatchEvent(new Event("close"));
  }
}

const hello = (seq: number, resync = false, run = "r1") => ({ hello: { seq, resync, run } });
const typing = (seq: number) => ({ seq, event: { type: "typing", conversation: "c", account: String(seq) } });
const newest = () => {
  const socket = Socket.all.at(-1);
  if (socket === undefined) throw new Error("no socket was opened");
  return socket;
};

let log: string[] = [];
let stop = () => {};
const handlers: StreamHandlers = {
  events: (events) => log.push(events.map((e) => (e.type === "typing" ? e.account : e.type)).join(",")),
  resync: () => log.push("resync"),
  state: (state) => log.push(state),
  ended: () => log.push("ended"),
};

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("WebSocket", Socket);
  vi.stubGlobal("window", new EventTarget());
  vi.stubGlobal("document", Object.assign(new EventTarget(), { visibilityState: "hidden" }));
  vi.stubGlobal("location", { protocol: "http:", host: "127.0.0.1:1" });
  Socket.all = [];
  log = [];
  stop = openStream(handlers);
});

afterEach(() => {
  stop();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

describe("openStream", () => {
  it("fetches at the beginning, then hands on events in batches", () => {
    expect(newest().url).toBe("ws://127.0.0.1:1/api/v1/events");
    newest().say(hello(7));
    newest().say(typing(8));
    newest().say(typing(9));
    vi.advanceTimersByTime(50);
    expect(log).toEqual(["connecting", "open", "resync", "8,9"]);
  });

  it("drops doubles and resyncs over a gap, after what came before it", () => {
    newest().say(hello(7));
    newest().say(typing(8));
    newest().say(typing(8));
    newest().say(typing(11));
    expect(log.slice(3)).toEqual(["8,11", "resync"]);
  });

  it("resyncs on a frame that makes no sense", () => {
    newest().say(hello(7));
    newest().say("{");
    expect(log.at(-1)).toBe("resync");
  });

  it("comes back where it stopped and fetches nothing when nothing was missed", () => {
    newest().say(hello(7));
    newest().say(typing(8));
    newest().close();
    expect(log.slice(3)).toEqual(["8", "connecting", "ended"]);
    vi.advanceTimersByTime(1_000);
    expect(newest().url).toBe("ws://127.0.0.1:1/api/v1/events?after=8&run=r1");
    log = [];
    newest().say(hello(8));
    newest().say(typing(9));
    vi.advanceTimersByTime(50);
    expect(log).toEqual(["open", "9"]);
  });

  it("fetches again after another run of the node, or when told to", () => {
    newest().say(hello(7));
    newest().close();
    vi.advanceTimersByTime(1_000);
    newest().say(hello(7, false, "r2"));
    expect(log.at(-1)).toBe("resync");
    newest().close();
    vi.advanceTimersByTime(1_000);
    log = [];
    newest().say(hello(50, true, "r2"));
    newest().say(typing(51));
    vi.advanceTimersByTime(50);
    expect(log).toEqual(["open", "resync", "51"]);
  });

  it("waits longer each time, and says that the connection is lost from the second time on", () => {
    for (let n = 0; n < 12; n += 1) {
      const before = Socket.all.length;
      newest().close();
      vi.advanceTimersByTime(10_000);
      expect(Socket.all.length).toBe(before + 1);
    }
    expect(log.filter((entry) => entry !== "ended").slice(0, 4)).toEqual(["connecting", "connecting", "lost", "lost"]);
  });

  it("stops for good", () => {
    stop();
    vi.advanceTimersByTime(60_000);
    expect(Socket.all.length).toBe(1);
  });
});

describe("parseFrame", () => {
  it("reads hello and events", () => {
    expect(parseFrame('{"hello":{"seq":7,"resync":false,"run":"r"}}')).toEqual({ hello: { seq: 7, resync: false, run: "r" } });
    expect(parseFrame('{"seq":8,"event":{"type":"typing","conversation":"c","account":"a"}}')).toMatchObject({ seq: 8 });
  });

  it("refuses everything else", () => {
    for (const text of ["", "null", "[]", "{", '{"seq":"8","event":{}}', '{"seq":8}', '{"seq":8,"event":null}', '{"seq":8,"event":{}}', '{"hello":{"resync":true}}', '{"hello":null}']) {
      expect(parseFrame(text), text).toBeNull();
    }
  });

  it("asks for a resync when it is not told", () => {
    expect(parseFrame('{"hello":{"seq":1}}')).toEqual({ hello: { seq: 1, resync: true, run: "" } });
  });
});
