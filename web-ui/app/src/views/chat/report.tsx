// A message that a member reported, as the group's admins see it: what it says,
// why, and what to do about it.

import { useAction } from "../../api/action";
import { keys } from "../../api/cache";
import { api } from "../../api/client";
import type { Message } from "../../api/types";
import { t } from "../../i18n";
import { full } from "../../i18n/format";
import { keepFocus } from "../../lib/focus";
import { clean } from "../../lib/text";
import { AskFirst } from "../../ui/ask";
import { Button } from "../../ui/button";
import { Icon } from "../../ui/icon";

export type Reported = Extract<Message["content"], { kind: "report" }>;

type Props = {
  conversation: string;
  message: Message;
  content: Reported;
  tab: number;
  onQuote: (id: string) => void;
};

export function ReportRow({ conversation, message, content, tab, onQuote }: Props) {
  const { author, event, held, may_remove: mayRemove, open, quote, reason } = content;
  const [reporter, name] = [clean(message.author_name), clean(content.author_name)];
  const settlePlace = `/conversations/${conversation}/reports/${message.id}/settle`;
  const settle = useAction(() => api.post(settlePlace), { done: keepFocus });
  if (!open) {
    return (
      <p className="notice" title={full(message.at)}>
        <bdi>{t.report.settled(reporter, name)}</bdi>
      </p>
    );
  }
  const skip = tab < 0;
  return (
    <div className="report">
      <p className="flex items-start gap-2 text-sm font-semibold">
        <Icon name="flag" size={16} className="mt-0.5 shrink-0 text-warn" />
        <bdi className="min-w-0 break-words">{t.report.head(reporter, name)}</bdi>
      </p>
      <blockquote className="report-quote">
        <bdi className="line-clamp-6 break-words whitespace-pre-wrap">{quote}</bdi>
      </blockquote>
      {held ? null : <p className="text-xs text-warn">{t.report.claimed(reporter)}</p>}
      {reason === "" ? null : (
        <p className="text-sm break-words whitespace-pre-wrap">
          <span className="text-soft">{t.report.because(reporter)}</span> <bdi>{reason}</bdi>
        </p>
      )}
      <div className="flex flex-wrap gap-2">
        {held ? (
          <Button excludeFromTabOrder={skip} onPress={() => onQuote(event)}>
            {t.report.show}
          </Button>
        ) : null}
        {mayRemove ? (
          <AskFirst
            title={t.group.act.remove.title(name)}
            body={t.group.act.remove.body}
            action={t.group.act.remove.action}
            run={async () => {
              await api.delete(`/conversations/${conversation}/members/${author}`);
              await api.post(settlePlace);
            }}
            refresh={[keys.details(conversation), keys.conversations]}
          >
            {(ask) => (
              <Button look="danger" excludeFromTabOrder={skip} onPress={ask}>
                {t.report.remove(name)}
              </Button>
            )}
          </AskFirst>
        ) : null}
        <Button busy={settle.isPending} excludeFromTabOrder={skip} onPress={() => settle.mutate()}>
          {t.report.dismiss}
        </Button>
      </div>
    </div>
  );
}
