// What two browsers say of a call between them, by their own statistics.

import type { Page } from "playwright-core";
import type { Person } from "./browser.js";

/** Keeps the page's connections where a test finds them. Before the page is loaded. */
export async function watch(person: Person): Promise<void> {
  await person.context.addInitScript(() => {
    const all: RTCPeerConnection[] = [];
    (globalThis as any).kithConnections = all;
    globalThis.RTCPeerConnection = class extends RTCPeerConnection {
      constructor(configuration?: RTCConfiguration) {
        super(configuration);
        all.push(this);
      }
    };
  });
}

/** What the browser itself says of the call that stands. */
export interface Truth {
  state: string;
  frames: number;
  energy: number;
  concealed: number;
  packets: number;
  lost: number;
  /** How often the picture stood still, and for how many seconds in all. */
  freezes: number;
  frozen: number;
  local: string;
  remote: string;
}

export async function truth(page: Page): Promise<Truth> {
  return page.evaluate(async () => {
    const all = (globalThis as any).kithConnections as RTCPeerConnection[];
    const pc = all.filter((c) => c.connectionState !== "closed").at(-1);
    const none = { state: "none", frames: 0, energy: 0, concealed: 0, packets: 0, lost: 0, freezes: 0, frozen: 0, local: "", remote: "" };
    if (pc === undefined) return none;
    const stats = new Map<string, any>();
    (await pc.getStats()).forEach((report: any) => stats.set(report.id, report));
    const list = [...stats.values()];
    const transport = list.find((r) => r.type === "transport");
    const pair = stats.get(transport?.selectedCandidatePairId);
    const inbound = list.filter((r) => r.type === "inbound-rtp");
    const sum = (name: string) => inbound.reduce((total, r) => total + (r[name] ?? 0), 0);
    return {
      state: pc.connectionState,
      frames: sum("framesDecoded"),
      energy: sum("totalAudioEnergy"),
      concealed: sum("concealedSamples"),
      packets: sum("packetsReceived"),
      lost: sum("packetsLost"),
      freezes: sum("freezeCount"),
      frozen: sum("totalFreezesDuration"),
      local: stats.get(pair?.localCandidateId)?.candidateType ?? "",
      remote: stats.get(pair?.remoteCandidateId)?.candidateType ?? "",
    };
  });
}

/** Looks again until what the browser says fits. */
export async function until(page: Page, what: string, fits: (now: Truth) => boolean | Promise<boolean>, ms = 20_000): Promise<Truth> {
  const end = Date.now() + ms;
  for (;;) {
    const now = await truth(page);
    if (await fits(now)) return now;
    if (Date.now() > end) throw new Error(`not in time: ${what}: ${JSON.stringify(now)}`);
    await page.waitForTimeout(100);
  }
}

/** When the browser has decoded a first picture of the next call, by the machine's clock, ms. */
export async function pictured(page: Page): Promise<number> {
  return page.evaluate(async () => {
    for (;;) {
      const all = (globalThis as any).kithConnections as RTCPeerConnection[];
      const pc = all.filter((c) => c.connectionState !== "closed").at(-1);
      const reports: any[] = [];
      (await pc?.getStats())?.forEach((report: any) => reports.push(report));
      if (reports.some((r) => r.type === "inbound-rtp" && r.framesDecoded > 0)) return Date.now();
      await new Promise((done) => setTimeout(done, 20));
    }
  });
}

/** From now on the key that comes with a description is not the one that was sent, once. */
export async function bendKey(page: Page): Promise<void> {
  await page.evaluate(() => {
    const prototype = RTCPeerConnection.prototype as any;
    const plain = prototype.setRemoteDescription;
    prototype.setRemoteDescription = function (this: RTCPeerConnection, description: RTCSessionDescriptionInit) {
      prototype.setRemoteDescription = plain;
      const bend = (_: string, byte: string) => `a=fingerprint:sha-256 ${byte === "00" ? "01" : "00"}`;
      const sdp = (description.sdp ?? "").replace(/a=fingerprint:sha-256 (..)/g, bend);
      return plain.call(this, { type: description.type, sdp });
    };
  });
}

/** Through which kind of path a browser says that the call goes. */
export function path(now: Truth): string {
  return now.local === "relay" || now.remote === "relay" ? "relay" : "direct";
}
