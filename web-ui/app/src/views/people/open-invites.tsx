// Invites that are out: what they are for, how long they last, withdrawing them.

import { useState } from "react";
import { keys } from "../../api/cache";
import { api } from "../../api/client";
import { useConversations } from "../../api/queries";
import type { Invite } from "../../api/types";
import { t } from "../../i18n";
import { until } from "../../i18n/format";
import { clean } from "../../lib/text";
import { AskFirst } from "../../ui/ask";
import { Button } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { InviteLink } from "./invite";

function InviteLine({ invite, group, now }: { invite: Invite; group: string | null; now: number }) {
  const [shown, setShown] = useState(false);
  const expired = invite.expires_at <= now;
  return (
    <li className="flex flex-wrap items-center gap-x-3 gap-y-2 rounded-lg border border-line bg-raised py-2 pr-2 pl-4">
      <span className="min-w-40 flex-1 text-sm">
        <bdi className="block truncate text-left font-medium">{group === null ? t.people.forContact : t.people.forGroup(group)}</bdi>
        <span className="text-xs text-soft">
          {t.people.usesLeft(invite.uses_left, invite.uses)}, {expired ? t.people.expired : t.people.expires(until(invite.expires_at, now))}
        </span>
      </span>
      <AskFirst
        title={t.people.withdrawTitle}
        body={t.people.withdrawBody}
        action={t.people.withdraw}
        run={() => api.delete(`/invites/${invite.id}`)}
        refresh={[keys.invites]}
      >
        {(ask) => (
          <Button look="quiet" onPress={ask}>
            {t.people.withdraw}
          </Button>
        )}
      </AskFirst>
      <Button onPress={() => setShown(true)}>{t.people.show}</Button>
      <Dialog title={t.invite.shownTitle} open={shown} onClose={() => setShown(false)}>
        <InviteLink invite={invite} onDone={() => setShown(false)} />
      </Dialog>
    </li>
  );
}

export function OpenInvites({ invites, now }: { invites: readonly Invite[]; now: number }) {
  const conversations = useConversations().data;
  return (
    <ul aria-label={t.people.openInvites} className="flex flex-col gap-2">
      {invites.map((invite) => (
        <InviteLine
          key={invite.id}
          invite={invite}
          group={invite.conversation === null ? null : clean(conversations?.find((c) => c.id === invite.conversation)?.title ?? "")}
          now={now}
        />
      ))}
    </ul>
  );
}
