// The doctor: a drawn map of the connections, and each path in sentences.

import type { Network } from "../../api/types";
import { t } from "../../i18n";
import { copyText } from "../../lib/copy";
import { report } from "../../lib/doctor";
import { useMedia } from "../../lib/hooks";
import { clean } from "../../lib/text";
import { Button } from "../../ui/button";

/** People on the map; the list below has all. */
const DRAWN_MAX = 12;
const ROW = 40;
/** Where things stand, in pixels of a usual screen and of a phone's. */
const WIDE = { own: 44, relay: 230, person: 416, width: 560, chars: 18 };
const NARROW = { own: 24, relay: 128, person: 232, width: 344, chars: 14 };

function short(name: string, chars: number): string {
  const text = clean(name);
  return text.length > chars ? `${text.slice(0, chars - 1)}…` : text;
}

/** Heights of `count` things spread over the picture. */
function spread(count: number, height: number): number[] {
  return Array.from({ length: count }, (_, i) => ((i + 0.5) * height) / count);
}

function NetworkMap({ network }: { network: Network }) {
  const at = useMedia("(max-width: 719px)") ? NARROW : WIDE;
  const people = [
    ...network.peers.map((peer) => ({ name: peer.name, label: peer.label, relay: peer.relay })),
    ...network.away.map((away) => ({ name: away.name, label: "away", relay: null })),
  ].slice(0, DRAWN_MAX);
  const height = Math.max(2, network.relays.length, people.length) * ROW;
  const relayY = spread(network.relays.length, height);
  const personY = spread(people.length, height);
  const middle = height / 2;
  return (
    <svg
      role="img"
      aria-label={t.doctor.map}
      viewBox={`0 0 ${at.width} ${height}`}
      className="w-full rounded-lg border border-line bg-raised text-xs"
    >
      {network.relays.map((relay, i) => (
        <line
          key={`to ${relay.id}`}
          x1={at.own}
          y1={middle}
          x2={at.relay}
          y2={relayY[i]}
          stroke={relay.up ? "var(--accent)" : "var(--bad)"}
          strokeWidth={1.5}
          strokeDasharray={relay.up ? undefined : "3 5"}
        />
      ))}
      {people.map((person, i) => {
        const y = personY[i] ?? middle;
        const through = network.relays.findIndex((relay) => relay.name === person.relay);
        if (person.label === "away") return null;
        const from = person.label === "relayed" ? { x: at.relay, y: relayY[through] ?? middle } : { x: at.own, y: middle };
        // A direct line leaves the relays aside.
        const over = y <= middle ? -0.4 * ROW : height + 0.4 * ROW;
        const bend = person.label === "relayed" ? (from.y + y) / 2 : over;
        return (
          <path
            key={`${i}/${person.name}`}
            d={`M ${from.x} ${from.y} Q ${(from.x + at.person) / 2} ${bend} ${at.person} ${y}`}
            fill="none"
            stroke={person.label === "relayed" ? "var(--soft)" : "var(--accent)"}
            strokeWidth={person.label === "relayed" ? 1.5 : 2.5}
            strokeDasharray={person.label === "punched" ? "8 3" : undefined}
          />
        );
      })}
      <circle cx={at.own} cy={middle} r={8} fill="var(--accent)" />
      <text x={at.own} y={middle + 22} textAnchor="middle" fill="var(--ink)">
        {t.doctor.you}
      </text>
      {network.relays.map((relay, i) => (
        <g key={relay.id}>
          <rect
            x={at.relay - 6}
            y={(relayY[i] ?? middle) - 6}
            width={12}
            height={12}
            rx={2}
            fill={relay.up ? "var(--accent)" : "var(--bad)"}
          />
          <text x={at.relay} y={(relayY[i] ?? middle) + 20} textAnchor="middle" fill="var(--ink)">
            {short(relay.name, at.chars)}
          </text>
        </g>
      ))}
      {people.map((person, i) => (
        <g key={`${i}/${person.name}`}>
          <circle
            cx={at.person}
            cy={personY[i]}
            r={6}
            fill={person.label === "away" ? "var(--raised)" : "var(--accent)"}
            stroke={person.label === "away" ? "var(--soft)" : "var(--accent)"}
          />
          <text x={at.person + 14} y={(personY[i] ?? middle) + 4} fill="var(--ink)">
            {short(person.name, at.chars)}
          </text>
        </g>
      ))}
    </svg>
  );
}

function Line({ head, tag, sentence, advice }: { head: string; tag: string | null; sentence: string; advice: string | null }) {
  return (
    <li className="flex flex-col gap-0.5">
      <span>
        {head === "" ? null : (
          <>
            <bdi className="font-medium">{head}</bdi>
            {tag === null ? null : <span className="text-soft"> ({tag})</span>}
            {": "}
          </>
        )}
        {clean(sentence)}
      </span>
      {advice === null ? null : <span className="pl-4 text-soft">{clean(advice)}</span>}
    </li>
  );
}

function trip(ms: number | null): string | null {
  return ms === null ? null : t.doctor.trip(ms);
}

export function Doctor({ network }: { network: Network }) {
  return (
    <div className="flex flex-col gap-3 text-sm">
      <h3 className="font-medium">{t.settings.state}</h3>
      <NetworkMap network={network} />
      <ul aria-label={t.settings.state} className="flex flex-col gap-2">
        {network.findings.map((finding) => (
          <Line key={finding.sentence} head="" tag={null} {...finding} />
        ))}
        {network.relays.map((relay) => (
          <Line key={relay.id} head={clean(relay.name)} tag={trip(relay.rtt_ms)} sentence={relay.sentence} advice={relay.advice} />
        ))}
        {network.peers.map((peer, i) => (
          <Line key={`${i}/${peer.name}`} head={clean(peer.name)} tag={trip(peer.rtt_ms)} sentence={peer.sentence} advice={peer.advice} />
        ))}
        {network.away.map((away) => (
          <Line key={away.account} head={clean(away.name)} tag={null} sentence={away.sentence} advice={away.advice} />
        ))}
      </ul>
      <p className="text-soft">{t.settings.waiting(network.waiting)}</p>
      <div className="flex flex-col gap-1">
        <div>
          <Button onPress={() => void copyText(report(network))}>{t.doctor.copy}</Button>
        </div>
        <p className="text-xs text-soft">{t.doctor.copyHint}</p>
      </div>
      {network.addrs.length === 0 ? null : (
        <details>
          <summary className="cursor-pointer text-soft">{t.settings.addrs}</summary>
          <ul className="mt-1 font-mono text-xs break-all text-soft">
            {network.addrs.map((addr) => (
              <li key={addr}>{addr}</li>
            ))}
          </ul>
        </details>
      )}
    </div>
  );
}
