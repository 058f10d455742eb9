import { describe, expect, it } from "vitest";
import { gradeOf, qualityOf, sampleOf } from "./quality";

function reports(local: string, remote: string, more: Record<string, unknown> = {}, addresses: [string, string] = ["", ""]) {
  const list = [
    { id: "T", type: "transport", selectedCandidatePairId: "P", remoteCertificateId: "C" },
    { id: "P", type: "candidate-pair", localCandidateId: "L", remoteCandidateId: "R", currentRoundTripTime: 0.04, bytesReceived: 1000, bytesSent: 500, ...more },
    { id: "L", type: "local-candidate", candidateType: local, address: addresses[0] },
    { id: "R", type: "remote-candidate", candidateType: remote, address: addresses[1] },
    { id: "C", type: "certificate", fingerprint: "aa:bb" },
    { id: "A", type: "inbound-rtp", packetsLost: 2, packetsReceived: 98 },
    { id: "V", type: "inbound-rtp", packetsLost: 0, packetsReceived: 100, framesDecoded: 30 },
  ];
  return new Map(list.map((r) => [r.id, r]));
}

const path = (local: string, remote: string) => sampleOf(reports("host", "prflx", {}, [local, remote]), 0)?.path;

describe("quality", () => {
  it("tells the path from the kinds of both addresses", () => {
    expect(sampleOf(reports("host", "host"), 0)?.path).toBe("network");
    expect(sampleOf(reports("host", "prflx"), 0)?.path).toBe("network");
    expect(sampleOf(reports("srflx", "prflx"), 0)?.path).toBe("direct");
    expect(sampleOf(reports("host", "relay"), 0)?.path).toBe("relay");
    expect(sampleOf(reports("relay", "srflx"), 0)?.path).toBe("relay");
  });
  it("takes nobody elsewhere in the internet for a neighbour", () => {
    expect(path("192.168.1.5", "192.168.1.9")).toBe("network");
    expect(path("203.0.113.5", "203.0.113.9")).toBe("network");
    expect(path("203.0.113.5", "198.51.100.9")).toBe("direct");
    expect(path("2001:db8:1:2::5", "2001:db8:1:2::9")).toBe("network");
    expect(path("2001:db8:1:2::5", "2001:db8:7:2::9")).toBe("direct");
  });
  it("has nothing to say before there is a path", () => {
    expect(sampleOf(new Map(), 0)).toBeNull();
    expect(sampleOf(new Map([["T", { id: "T", type: "transport" }]]), 0)).toBeNull();
  });
  it("names the key of the far end", () => {
    expect(sampleOf(reports("host", "host"), 0)?.fingerprint).toBe("AA:BB");
  });
  it("measures between two moments", () => {
    const before = sampleOf(reports("host", "host"), 0);
    const now = sampleOf(reports("host", "host", { bytesReceived: 126_000, bytesSent: 500 }), 1000);
    if (before === null || now === null) throw new Error("no sample");
    const quality = qualityOf(before, { ...now, lost: before.lost + 10, received: before.received + 90, frames: before.frames + 25 });
    expect(quality).toMatchObject({ rtt: 40, loss: 10, down: 1000, up: 0, frames: 25 });
    expect(gradeOf(quality)).toBe("poor");
    expect(gradeOf({ ...quality, loss: 3 })).toBe("fair");
    expect(gradeOf({ ...quality, loss: 0 })).toBe("good");
    expect(gradeOf({ ...quality, loss: 0, rtt: 300 })).toBe("fair");
  });
});
