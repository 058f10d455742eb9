// What the browser measures of a call, in the few words that a person needs.
// Pure: from reports to figures.

export type PathKind = "network" | "direct" | "relay";

/** The last seconds of a call. */
export type Quality = {
  /** On the same network, through the internet, or through a relay. */
  path: PathKind;
  /** Round trip, ms. */
  rtt: number | null;
  /** Of what was sent to us, in percent. */
  loss: number;
  /** Received, kbit/s. */
  down: number;
  /** Sent, kbit/s. */
  up: number;
  /** Pictures shown per second. */
  frames: number;
};

export type Grade = "good" | "fair" | "poor";

/** Sums at one moment. */
export type Sample = { at: number; lost: number; received: number; bytesIn: number; bytesOut: number; frames: number; rtt: number | null; path: PathKind; fingerprint: string | null };

type Report = Record<string, unknown> & { id: string; type: string };

const number = (value: unknown): number => (typeof value === "number" && Number.isFinite(value) ? value : 0);

/** The first three parts of four, or the first four groups of eight. */
function prefix(address: string): string {
  return (address.includes(":") ? address.split(":").slice(0, 4) : address.split(".").slice(0, 3)).join(":");
}

/** Whether two addresses may be of one network: an address of the internet from elsewhere is not. */
function near(local: unknown, remote: unknown): boolean {
  if (typeof local !== "string" || typeof remote !== "string" || local === "" || remote === "") return true;
  if (/^(10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|169\.254\.|f[cd]|fe[89ab])/i.test(remote)) return true;
  return prefix(local) === prefix(remote);
}

function pathOf(local: Report | undefined, remote: Report | undefined): PathKind {
  const [mine, theirs] = [local?.["candidateType"], remote?.["candidateType"]];
  if (mine === "relay" || theirs === "relay") return "relay";
  const bare = mine === "host" && (theirs === "host" || theirs === "prflx");
  return bare && near(local?.["address"], remote?.["address"]) ? "network" : "direct";
}

/** Reads a report of `RTCPeerConnection.getStats`. Null: no path yet. */
export function sampleOf(reports: ReadonlyMap<string, Report>, at: number): Sample | null {
  const all = [...reports.values()];
  const transport = all.find((r) => r.type === "transport");
  const pair = reports.get(String(transport?.["selectedCandidatePairId"] ?? ""));
  if (transport === undefined || pair === undefined) return null;
  const [local, remote] = [reports.get(String(pair["localCandidateId"])), reports.get(String(pair["remoteCandidateId"]))];
  const certificate = reports.get(String(transport["remoteCertificateId"] ?? ""));
  const inbound = all.filter((r) => r.type === "inbound-rtp");
  const sum = (name: string) => inbound.reduce((total, r) => total + number(r[name]), 0);
  const rtt = pair["currentRoundTripTime"];
  return {
    at,
    lost: sum("packetsLost"),
    received: sum("packetsReceived"),
    bytesIn: number(pair["bytesReceived"]),
    bytesOut: number(pair["bytesSent"]),
    frames: sum("framesDecoded"),
    rtt: typeof rtt === "number" ? rtt * 1000 : null,
    path: pathOf(local, remote),
    fingerprint: typeof certificate?.["fingerprint"] === "string" ? certificate["fingerprint"].toUpperCase() : null,
  };
}

/** What happened between two moments. */
export function qualityOf(before: Sample, now: Sample): Quality {
  const seconds = Math.max(0.001, (now.at - before.at) / 1000);
  const lost = Math.max(0, now.lost - before.lost);
  const received = Math.max(0, now.received - before.received);
  const rate = (bytes: number) => Math.max(0, Math.round((bytes * 8) / 1000 / seconds));
  return {
    path: now.path,
    rtt: now.rtt,
    loss: lost + received === 0 ? 0 : (100 * lost) / (lost + received),
    down: rate(now.bytesIn - before.bytesIn),
    up: rate(now.bytesOut - before.bytesOut),
    frames: Math.max(0, Math.round((now.frames - before.frames) / seconds)),
  };
}

export function gradeOf(quality: Quality): Grade {
  const rtt = quality.rtt ?? 0;
  if (quality.loss > 8 || rtt > 600) return "poor";
  if (quality.loss > 2 || rtt > 250) return "fair";
  return "good";
}
