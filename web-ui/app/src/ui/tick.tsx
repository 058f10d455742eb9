// What happened to a message, as a small picture. Shape carries the meaning,
// colour only helps.

import { t } from "../i18n";
import type { DeliveryState } from "../api/types";

type State = DeliveryState | "sending";

export function stateName(state: State): string {
  return state === "sending" ? t.delivery.sending : t.delivery.state[state];
}

const line = { fill: "none", stroke: "currentColor", strokeWidth: 1.5, strokeLinecap: "round", strokeLinejoin: "round" } as const;

function Drawing({ state }: { state: State }) {
  switch (state) {
    case "sending":
      return <circle cx="9" cy="7" r="4.6" {...line} strokeDasharray="2.2 2.6" />;
    case "queued":
      return (
        <g {...line}>
          <circle cx="9" cy="7" r="5" />
          <path d="M9 4.200V7.200l2 1.3" />
        </g>
      );
    case "stored":
      return (
        <g {...line} strokeWidth={1.3}>
          <circle cx="9" cy="7" r="5.3" />
          <path d="m6.7 7.2 1.7 1.7 3-3.5" />
        </g>
      );
    case "delivered":
      return <path d="m4.5 7.5 3 3 6-7" {...line} />;
    case "delivered_all":
      return <path d="m1.5 7.5 3 3 6-7M8.5 9.700l.9.8 6-7" {...line} />;
    case "read":
      return (
        <>
          <circle cx="9" cy="7" r="6" fill="currentColor" />
          <path d="m6.2 7.2 2 2 3.6-4.2" {...line} className="tick-cut" />
        </>
      );
    case "failed":
      return (
        <g {...line}>
          <circle cx="9" cy="7" r="5.3" />
          <path d="M9 4.300v3.200M9 9.700v.1" />
        </g>
      );
  }
}

export function Tick({ state }: { state: State }) {
  return (
    <svg aria-hidden="true" width="18" height="14" viewBox="0 0 18 14" className={`tick tick-${state} inline-block shrink-0`}>
      <Drawing state={state} />
    </svg>
  );
}
