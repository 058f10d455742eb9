// What of the network view can be shown to somebody who helps: no names, no
// ids, no addresses.

import type { Network } from "../api/types";

/** The doctor's words, with numbers in the place of names. */
export function report(network: Network): string {
  const relays = network.relays.map((relay, i) => [relay.name, `relay ${i + 1}`] as const);
  const hide = (text: string) =>
    relays.reduce((all, [name, number]) => (name === "" ? all : all.replaceAll(name, number)), text);
  const lines: string[] = [];
  const add = (head: string, sentence: string, advice: string | null) => {
    lines.push(`${head}${sentence}`);
    if (advice !== null) lines.push(`    ${advice}`);
  };
  for (const { sentence, advice } of network.findings) add("", sentence, advice);
  network.relays.forEach((relay, i) => {
    const trip = relay.rtt_ms === null ? "" : ` (${relay.rtt_ms} ms)`;
    add(`relay ${i + 1}${trip}: `, hide(relay.sentence), relay.advice);
  });
  network.peers.forEach((peer, i) => {
    const known = relays.some(([name]) => name === peer.relay);
    const sentence = peer.relay === null || known ? peer.sentence : peer.sentence.replace(peer.relay, "another relay");
    const trip = peer.rtt_ms === null ? "" : ` (${peer.rtt_ms} ms)`;
    add(`person ${i + 1}${trip}: `, hide(sentence), peer.advice);
  });
  network.away.forEach((away, i) => {
    // Relays of others are named in it.
    const sentence = away.sentence.replace(/ kept at .* until /, " kept at relays until ");
    add(`person ${network.peers.length + i + 1}: `, hide(sentence), away.advice);
  });
  return lines.join("\n");
}
