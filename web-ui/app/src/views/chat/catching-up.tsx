// What is going on while this device has fallen behind in a conversation and
// looks for its way back.

import type { Conversation } from "../../api/types";
import { t } from "../../i18n";
import { dayAndTime } from "../../i18n/format";
import { useNow } from "../../lib/hooks";

/** What happens, and what it means for what is written here. */
export function catchingUpText(state: NonNullable<Conversation["catching_up"]>, now: number): string {
  const { asked, next_at: next } = state;
  const what = asked === 0 ? t.catchingUp.looking : t.catchingUp.asked(asked);
  const then = next === null || next <= now ? "" : ` ${t.catchingUp.next(dayAndTime(next, now))}`;
  return `${what}${then} ${t.catchingUp.kept}`;
}

export function CatchingUp({ conversation }: { conversation: Conversation }) {
  const now = useNow();
  const state = conversation.catching_up;
  return (
    // There before it says something, so that a screen reader hears it.
    <div role="status" className={state === null ? "" : "catching-up"}>
      {state === null ? null : (
        <>
          <p className="text-sm font-medium">{conversation.kind === "group" ? t.catchingUp.group : t.catchingUp.direct}</p>
          <p className="text-xs text-soft">{catchingUpText(state, now)}</p>
        </>
      )}
    </div>
  );
}
