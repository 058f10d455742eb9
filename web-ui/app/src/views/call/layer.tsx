// What lies over every view: calls that ring, and the call that this page
// carries. The heavy part is fetched when there is a call.

import { Suspense, lazy, useEffect } from "react";
import { calls, tab } from "../../api/calls";
import { useValue } from "../../api/store";
import type { Call } from "../../api/types";
import { shown } from "../../lib/call/session";
import { ring, ringBack } from "../../lib/call/ring";
import { Incoming } from "./incoming";

const Talk = lazy(() => import("./talk").then((m) => ({ default: m.Talk })));

/** Rings here, and is to be answered by a person. */
function rings(call: Call): boolean {
  return call.phase === "incoming" && !(call.auto && call.tab === tab);
}

function Ringing() {
  useEffect(() => ring(), []);
  return null;
}

function RingingThere() {
  useEffect(() => ringBack(), []);
  return null;
}

export function CallLayer() {
  const all = useValue(calls);
  const talk = useValue(shown);
  const incoming = all.filter((call) => rings(call) && call.id !== talk?.call?.id);
  const own = (talk?.call ?? null) === null ? null : all.find((call) => call.id === talk?.call?.id);
  return (
    <>
      {incoming.length > 0 && talk === null ? <Ringing /> : null}
      {own?.phase === "ringing" ? <RingingThere /> : null}
      {incoming.map((call) => (
        <Incoming key={call.id} call={call} />
      ))}
      {talk === null ? null : (
        <Suspense fallback={null}>
          <Talk talk={talk} />
        </Suspense>
      )}
    </>
  );
}
