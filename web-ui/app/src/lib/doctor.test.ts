import { expect, test } from "vitest";
import type { Network } from "../api/types";
import { report } from "./doctor";

const relay = {
  id: "abcd",
  name: "Chess club",
  up: true,
  problem: null,
  retention_s: null,
  link: "kith-relay:secret",
  path: "direct_quic",
  since: 1,
  rtt_ms: 20,
  sentence: "Connected over QUIC.",
  advice: null,
};

const peer = (through: string) => ({
  account: "kith1alice",
  name: "Alice",
  path: "circuit",
  label: "relayed",
  relay: through,
  since: 1,
  rtt_ms: null,
  sentence: `Connected through relay ${through}: because.`,
  advice: "Open a port.",
});

test("a report names nobody and nothing", () => {
  const network: Network = {
    relays: [relay],
    peers: [peer("Chess club"), peer("Family")],
    addrs: ["/ip4/192.0.2.1/tcp/1"],
    waiting: 0,
    away: [
      {
        account: "kith1bob",
        name: "Bob",
        sentence: "Not connected. Messages are kept at Family and Chess club until they come back.",
        advice: null,
      },
    ],
    findings: [{ sentence: "One relay is connected.", advice: null }],
  };
  const text = report(network);
  for (const word of ["Alice", "Bob", "Chess", "Family", "kith1", "192.0.2", "secret", "abcd"]) {
    expect(text).not.toContain(word);
  }
  expect(text).toContain("person 1: Connected through relay relay 1: because.");
  expect(text).toContain("person 3: Not connected.");
  expect(text).toContain("relay 1 (20 ms): Connected over QUIC.");
});
