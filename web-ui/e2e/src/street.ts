// Two houses behind address translation, and a relay on the street between
// them: network namespaces with nftables.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Place } from "./lab.js";
import { Namespace } from "./namespaces.js";

export const KINDS = ["full-cone", "address-restricted", "port-restricted", "symmetric", "udp-blocked"] as const;
export type Kind = (typeof KINDS)[number];

export const RELAY = "198.51.100.1";
/** What the street sees of each house. */
export const OUTSIDE = ["198.51.100.11", "198.51.100.12"] as const;
/** Each house as it sees itself. */
export const INSIDE = ["10.0.1.2", "10.0.2.2"] as const;

/** Rules of a gate of this kind in front of a house. */
function rules(kind: Kind, house: string): string {
  const after = kind === "symmetric" ? "masquerade fully-random" : "masquerade";
  const inwards = `meta l4proto { tcp, udp } th dport 1024-65535 dnat to ${house};`;
  const before =
    kind === "full-cone" ? `iifname "wan" ${inwards}` : kind === "address-restricted" ? `iifname "wan" ip saddr @seen ${inwards}` : "";
  const blocked = kind === "udp-blocked" ? "meta l4proto udp drop;" : "";
  return `table ip n {
    set seen { type ipv4_addr; flags dynamic,timeout; timeout 300s; }
    chain c_pre { type nat hook prerouting priority dstnat; ${before} }
    chain c_post { type nat hook postrouting priority srcnat; oifname "wan" ${after}; }
    chain c_fwd { type filter hook forward priority filter; policy drop; ${blocked}
      iifname "lan" oifname "wan" update @seen { ip daddr }
      ct state established,related accept; ct status dnat accept; iifname "lan" accept; }
    chain c_in { type filter hook input priority filter; policy drop;
      ct state established,related accept; iifname { "lan", "lo" } accept; }
  }\n`;
}

type Side = 0 | 1;

export class Street {
  private readonly wan = new Namespace("wan");
  readonly homes: readonly [Namespace, Namespace] = [new Namespace("a"), new Namespace("b")];
  private readonly gates: readonly [Namespace, Namespace] = [new Namespace("ga"), new Namespace("gb")];
  readonly houses: readonly [Place, Place];
  readonly relay: Place;

  constructor() {
    const { wan } = this;
    wan.ip("link", "add", "br0", "type", "bridge");
    wan.ip("addr", "add", `${RELAY}/24`, "dev", "br0");
    wan.ip("link", "set", "br0", "up");
    this.relay = wan.place(RELAY);
    this.houses = this.homes.map((home, n) => {
      const gate = this.gates[n as Side];
      const [inner, outer, address] = [`10.0.${n + 1}.1`, OUTSIDE[n as Side], INSIDE[n as Side]];
      wan.ip("link", "add", `p${n}`, "type", "veth", "peer", "name", "wan", "netns", gate.name);
      wan.ip("link", "set", `p${n}`, "master", "br0", "up");
      gate.ip("link", "add", "lan", "type", "veth", "peer", "name", "eth", "netns", home.name);
      gate.ip("addr", "add", `${outer}/24`, "dev", "wan");
      gate.ip("addr", "add", `${inner}/24`, "dev", "lan");
      home.ip("addr", "add", `${address}/24`, "dev", "eth");
      for (const link of ["wan", "lan"]) gate.ip("link", "set", link, "up");
      home.ip("link", "set", "eth", "up");
      gate.ip("route", "add", "default", "via", RELAY);
      home.ip("route", "add", "default", "via", inner);
      gate.run(["sysctl", "-qw", "net.ipv4.ip_forward=1"]);
      return home.place(address);
    }) as unknown as [Place, Place];
    wan.ip("route", "add", "default", "via", OUTSIDE[0]);
  }

  /** Puts a gate of a kind in front of a house; what stood through it is forgotten. */
  gate(side: Side, kind: Kind) {
    const gate = this.gates[side];
    gate.run(["nft", "-f", "-"], `flush ruleset\n${rules(kind, INSIDE[side])}`);
    try {
      gate.run(["conntrack", "-F"]);
    } catch {
      // There was nothing to forget.
    }
  }

  /** Makes the way to and from a house long and lossy until what is returned is called. */
  async far(side: Side, tripMs: number, lossPermille: number): Promise<() => Promise<void>> {
    return this.gates[side].far(["FORWARD"], tripMs / 2, lossPermille);
  }

  /**
   * Writes down what passes in a house, or on the street in front of its gate,
   * until what is returned is called.
   */
  async record(where: "house" | "street", side: Side, folder: string): Promise<() => Promise<Packet[]>> {
    const file = join(folder, `${where}-${side}.pcap`);
    const [at, link] = where === "house" ? [this.homes[side], "eth"] : [this.wan, `p${side}`];
    const words = ["tcpdump", "-i", link, "-Z", "root", "--immediate-mode", "-U", "-n", "-s", "0", "-w", file, "ip"];
    const end = await at.start(words, "listening on");
    return async () => {
      await end();
      return packets(readFileSync(file));
    };
  }

  close() {
    for (const place of [...this.homes, ...this.gates, this.wan]) place.close();
  }
}

/** An IPv4 packet that was written down. */
export interface Packet {
  from: string;
  to: string;
  udp: boolean;
  payload: Buffer;
}

/** The packets of a recording (pcap of Ethernet frames, in this machine's byte order). */
function packets(file: Buffer): Packet[] {
  const found: Packet[] = [];
  const dotted = (bytes: Buffer) => [...bytes].join(".");
  for (let at = 24; at + 16 <= file.length; ) {
    const length = file.readUInt32LE(at + 8);
    const ip = file.subarray(at + 16 + 14, at + 16 + length);
    at += 16 + length;
    if (ip.length < 20) continue;
    const udp = ip[9] === 17;
    const head = ((ip[0] ?? 0) & 15) * 4;
    found.push({ from: dotted(ip.subarray(12, 16)), to: dotted(ip.subarray(16, 20)), udp, payload: ip.subarray(head + (udp ? 8 : 0)) });
  }
  return found;
}

/** What every STUN message has in it (RFC 8489). */
const COOKIE = [0x21, 0x12, 0xa4, 0x42] as const;

/** Whether a packet says an address: as one of its ends, or inside a STUN or TURN message. */
export function says(packet: Packet, address: string): boolean {
  if (packet.from === address || packet.to === address) return true;
  const { payload } = packet;
  if (!COOKIE.every((byte, n) => payload[4 + n] === byte)) return false;
  const plain = address.split(".").map(Number);
  const masked = plain.map((byte, n) => byte ^ (COOKIE[n] ?? 0));
  return [plain, masked].some((bytes) => payload.includes(Buffer.from(bytes), 20));
}
