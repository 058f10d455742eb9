// The words that only developers need, one click away.

import type { ConversationDetails } from "../../api/types";
import { t } from "../../i18n";
import { Facts } from "../../ui/panel";

export function Technical({ details }: { details: ConversationDetails }) {
  return (
    <details className="text-sm">
      <summary className="cursor-pointer text-soft">{t.group.technical}</summary>
      <Facts
        className="mt-2"
        rows={[
          [t.group.groupId, details.conversation.id],
          [t.group.epoch, String(details.epoch)],
          [t.group.stateId, details.state],
        ]}
      />
    </details>
  );
}
