// A message on its way to the node, or one that the node refused.

import { Button as AriaButton } from "react-aria-components";
import { discard, resend, type Pending } from "../../api/outbox";
import { t } from "../../i18n";
import { setDraft } from "../../lib/drafts";
import { signal } from "../../lib/signals";
import { Tick } from "../../ui/tick";
import { Meta } from "./meta";
import { QuoteBox, Words } from "./words";

/** The state of a pending message among those of delivery. */
export function pendingState(pending: Pending): "sending" | "queued" | "failed" {
  return pending.state === "waiting" ? "queued" : pending.state;
}

export function PendingBody({ pending }: { pending: Pending }) {
  return (
    <div className="flex max-w-full flex-col items-end gap-1">
      <div className="bubble mine" data-pending>
        {pending.replyTo === null ? null : <QuoteBox quote={pending.replyTo} tab={0} onQuote={null} />}
        <div dir="auto" className="words">
          <Words text={pending.text} tab={0} />
          <Meta at={pending.at}>
            <Tick state={pendingState(pending)} />
          </Meta>
        </div>
      </div>
      {pending.state === "failed" ? (
        <p role="alert" className="flex flex-wrap items-center justify-end gap-x-3 gap-y-1 text-xs text-bad">
          <span>
            {t.composer.failed} {pending.problem}
          </span>
          <AriaButton className="link" onPress={() => resend(pending)}>
            {t.composer.retry}
          </AriaButton>
          <AriaButton
            className="link"
            onPress={() => {
              setDraft(pending.conversation, { text: pending.text, reply: pending.replyTo });
              discard(pending);
              signal("compose");
            }}
          >
            {t.composer.edit}
          </AriaButton>
          <AriaButton className="link" onPress={() => discard(pending)}>
            {t.composer.discard}
          </AriaButton>
        </p>
      ) : null}
      {pending.state === "waiting" ? <p className="text-xs text-soft">{t.composer.waiting}</p> : null}
    </div>
  );
}
