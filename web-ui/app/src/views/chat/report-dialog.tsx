// Reporting a message to the group's admins: what they get, and an optional
// reason.

import { useState, type FormEvent } from "react";
import { useAction } from "../../api/action";
import { api, sentence } from "../../api/client";
import type { Message } from "../../api/types";
import { t } from "../../i18n";
import { REPORT_REASON_BYTES_MAX } from "../../lib/limits";
import { byteLength, clean } from "../../lib/text";
import { Button } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { Area } from "../../ui/field";
import { toast } from "../../ui/toasts";
import { QuoteBox, quoteOf } from "./words";

type Props = { conversation: string; message: Message; onClose: () => void };

export function ReportDialog({ conversation, message, onClose }: Props) {
  const [reason, setReason] = useState("");
  const long = byteLength(reason) > REPORT_REASON_BYTES_MAX;
  const report = useAction(() => api.post(`/conversations/${conversation}/messages/${message.id}/report`, { reason: reason.trim() }), {
    quiet: true,
    done: () => {
      toast.info(t.report.sent);
      onClose();
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!long) report.mutate();
  };
  const quote = quoteOf(message);
  return (
    <Dialog title={t.report.title} open onClose={onClose}>
      <form onSubmit={submit} className="flex flex-col gap-4">
        <p className="text-sm text-soft">{t.report.body(clean(message.author_name))}</p>
        {quote === null ? null : <QuoteBox quote={quote} tab={-1} onQuote={null} />}
        <Area
          label={t.report.reason}
          hint={t.report.reasonHint}
          value={reason}
          problem={long ? t.report.reasonLong : report.error === null ? null : sentence(report.error)}
          onChange={(event) => setReason(event.target.value)}
        />
        <div className="flex flex-wrap justify-end gap-2">
          <Button onPress={onClose}>{t.app.cancel}</Button>
          <Button type="submit" look="primary" busy={report.isPending} isDisabled={long}>
            {t.report.send}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
