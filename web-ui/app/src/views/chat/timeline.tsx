// The messages of a conversation, or why they are not there yet.

import { sentence } from "../../api/client";
import { useWindow } from "../../api/queries";
import type { Conversation } from "../../api/types";
import { t } from "../../i18n";
import { Button } from "../../ui/button";
import { Skeleton } from "../../ui/panel";
import { Feed } from "./feed";

export function Timeline({ conversation }: { conversation: Conversation }) {
  const held = useWindow(conversation.id);
  if (held.data === undefined) {
    if (held.error === null) return <div className="min-h-0 flex-1"><Skeleton /></div>;
    return (
      <div role="alert" className="m-auto flex max-w-sm flex-col items-center gap-3 p-6 text-center text-sm">
        <p>{t.timeline.failed}</p>
        <p className="text-soft">{sentence(held.error)}</p>
        <Button onPress={() => void held.refetch()}>{t.gate.retry}</Button>
      </div>
    );
  }
  return <Feed conversation={conversation} data={held.data} />;
}
