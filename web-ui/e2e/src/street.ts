// Two houses behind address translation, and a relay on the street between
// them: network namespaces with nftables. Needs the right to make them.

import { execFileSync } from "node:child_process";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Place } from "./lab.js";

export const KINDS = ["full-cone", "port-restricted", "symmetric", "udp-blocked"] as const;
export type Kind = (typeof KINDS)[number];

const ID = process.pid;
const WAN = `ks-wan-${ID}`;
const HOUSES = [`ks-a-${ID}`, `ks-b-${ID}`] as const;
const GATES = [`ks-na-${ID}`, `ks-nb-${ID}`] as const;
export const RELAY = "198.51.100.1";
/** What the street sees of each house. */
export const OUTSIDE = ["198.51.100.11", "198.51.100.12"] as const;

function run(words: string[], input = ""): string {
  const [program, ...args] = words;
  return execFileSync(program ?? "", args, { encoding: "utf8", input, stdio: ["pipe", "pipe", "pipe"] });
}
const ip = (ns: string, ...args: string[]) => run(["ip", "-n", ns, ...args]);

/** Rules of a gate of this kind in front of a house. */
function rules(kind: Kind, house: string): string {
  const after = kind === "symmetric" ? "masquerade fully-random" : "masquerade";
  const before = kind === "full-cone" ? `iifname "wan" meta l4proto { tcp, udp } th dport 1024-65535 dnat to ${house};` : "";
  const blocked = kind === "udp-blocked" ? "meta l4proto udp drop;" : "";
  return `table ip n {
    chain c_pre { type nat hook prerouting priority dstnat; ${before} }
    chain c_post { type nat hook postrouting priority srcnat; oifname "wan" ${after}; }
    chain c_fwd { type filter hook forward priority filter; policy drop; ${blocked}
      ct state established,related accept; ct status dnat accept; iifname "lan" accept; }
    chain c_in { type filter hook input priority filter; policy drop;
      ct state established,related accept; iifname { "lan", "lo" } accept; }
  }\n`;
}

export class Street {
  readonly houses: readonly [Place, Place];
  readonly relay: Place = { prefix: ["ip", "netns", "exec", WAN], address: RELAY };

  constructor() {
    for (const name of [WAN, ...HOUSES, ...GATES]) run(["ip", "netns", "add", name]);
    ip(WAN, "link", "add", "br0", "type", "bridge");
    ip(WAN, "addr", "add", `${RELAY}/24`, "dev", "br0");
    for (const link of ["lo", "br0"]) ip(WAN, "link", "set", link, "up");
    this.houses = [0, 1].map((side) => {
      const [house, gate] = [HOUSES[side as 0 | 1], GATES[side as 0 | 1]];
      ip(WAN, "link", "add", `p${side}`, "type", "veth", "peer", "name", "wan", "netns", gate);
      ip(WAN, "link", "set", `p${side}`, "master", "br0", "up");
      ip(gate, "link", "add", "lan", "type", "veth", "peer", "name", "eth", "netns", house);
      ip(gate, "addr", "add", `${OUTSIDE[side as 0 | 1]}/24`, "dev", "wan");
      ip(gate, "addr", "add", `10.0.${side + 1}.1/24`, "dev", "lan");
      const address = `10.0.${side + 1}.2`;
      ip(house, "addr", "add", `${address}/24`, "dev", "eth");
      for (const link of ["lo", "wan", "lan"]) ip(gate, "link", "set", link, "up");
      for (const link of ["lo", "eth"]) ip(house, "link", "set", link, "up");
      ip(gate, "route", "add", "default", "via", RELAY);
      ip(house, "route", "add", "default", "via", `10.0.${side + 1}.1`);
      run(["ip", "netns", "exec", gate, "sysctl", "-qw", "net.ipv4.ip_forward=1"]);
      return { prefix: ["ip", "netns", "exec", house], address };
    }) as unknown as [Place, Place];
    ip(WAN, "route", "add", "default", "via", OUTSIDE[0]);
  }

  /** Puts a gate of a kind in front of a house; what stood through it is forgotten. */
  gate(side: 0 | 1, kind: Kind) {
    const inside = ["ip", "netns", "exec", GATES[side]];
    run([...inside, "nft", "flush", "ruleset"]);
    run([...inside, "nft", "-f", "-"], rules(kind, `10.0.${side + 1}.2`));
    try {
      run([...inside, "conntrack", "-F"]);
    } catch {
      // There was nothing to forget.
    }
  }

  /** Counts UDP packets that come to a house's gate from an address. */
  count(side: 0 | 1, from: string) {
    const inside = ["ip", "netns", "exec", GATES[side]];
    run([...inside, "nft", "-f", "-"], `table ip seen {\n chain c {\n type filter hook prerouting priority -300;\n iifname "wan" ip saddr ${from} meta l4proto udp counter\n }\n}\n`);
  }

  /** What was counted since. */
  counted(side: 0 | 1): number {
    const text = run(["ip", "netns", "exec", GATES[side], "nft", "list", "table", "ip", "seen"]);
    return Number(/counter packets (\d+)/.exec(text)?.[1] ?? Number.NaN);
  }

  browser(folder: string, side: 0 | 1): string {
    const path = join(folder, `chromium-${side}.sh`);
    const chromium = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
    writeFileSync(path, `#!/bin/sh\nexec ip netns exec ${HOUSES[side]} ${chromium} "$@"\n`);
    chmodSync(path, 0o755);
    return path;
  }

  close() {
    for (const name of [...HOUSES, ...GATES, WAN]) {
      try {
        run(["ip", "netns", "del", name]);
      } catch {
        // It was not there.
      }
    }
  }
}
