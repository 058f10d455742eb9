// The members of a group: who they are, and adding more.

import { useState } from "react";
import { useAction } from "../../api/action";
import { keys } from "../../api/cache";
import { api } from "../../api/client";
import { useContacts } from "../../api/queries";
import type { ConversationDetails, Member } from "../../api/types";
import { t } from "../../i18n";
import { Link, paths } from "../../lib/router";
import { clean } from "../../lib/text";
import { Avatar } from "../../ui/avatar";
import { Button } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { Refusal } from "../../ui/problem";
import { VerifiedMark } from "../../ui/verified";
import { PickContacts } from "../people/pick";
import { MemberMenu } from "./member-menu";

function MemberLine({ id, member, alone }: { id: string; member: Member; alone: boolean }) {
  const name = member.me ? t.group.you : clean(member.name);
  return (
    <li className="flex items-center gap-3 py-1.5">
      <Avatar id={member.account} name={member.name} size="s" />
      <div className="min-w-0 flex-1">
        <p className="flex items-center gap-1.5 text-sm font-medium">
          {member.me ? (
            <bdi className="truncate text-left">{name}</bdi>
          ) : (
            <Link href={paths.person(member.account)} className="truncate hover:underline">
              <bdi>{name}</bdi>
            </Link>
          )}
          {member.verified ? <VerifiedMark size={14} /> : null}
        </p>
        <p className="text-xs text-soft">
          {t.group.role[member.role]}
          {member.devices > 1 ? ` · ${t.group.devices(member.devices)}` : ""}
        </p>
        {member.seen || member.me ? null : (
          <p className="text-xs text-warn">
            {t.group.notSeen}
            <span className="text-soft">{t.group.notSeenHint}</span>
          </p>
        )}
      </div>
      <MemberMenu id={id} member={member} alone={alone} />
    </li>
  );
}

export function Members({ id, details }: { id: string; details: ConversationDetails }) {
  const withRole = details.members.filter((m) => m.role !== "member").length;
  return (
    <ul aria-label={t.group.members}>
      {details.members.map((member) => (
        <MemberLine key={member.account} id={id} member={member} alone={withRole === 1} />
      ))}
    </ul>
  );
}

export function AddMembers({ id, details, open, onClose }: { id: string; details: ConversationDetails; open: boolean; onClose: () => void }) {
  const contacts = useContacts().data ?? [];
  const [chosen, setChosen] = useState<Set<string>>(() => new Set());
  const inside = new Set(details.members.map((m) => m.account));
  const addable = contacts.filter((c) => c.state === "accepted" && !inside.has(c.account));
  const add = useAction(() => api.post(`/conversations/${id}/members`, { members: [...chosen] }), {
    quiet: true,
    refresh: [keys.details(id), keys.conversations],
    done: () => close(),
  });
  const close = () => {
    onClose();
    setChosen(new Set());
    add.reset();
  };
  return (
    <Dialog title={t.group.add} open={open} onClose={close}>
      {addable.length === 0 ? (
        <p className="text-sm text-soft">{t.group.allIn}</p>
      ) : (
        <PickContacts label={t.people.contacts} contacts={addable} chosen={chosen} onChange={setChosen} />
      )}
      <Refusal error={add.error} />
      <div className="flex justify-end gap-2">
        <Button onPress={close}>{t.app.cancel}</Button>
        <Button look="primary" isDisabled={chosen.size === 0} busy={add.isPending} onPress={() => add.mutate()}>
          {t.group.addButton}
        </Button>
      </div>
    </Dialog>
  );
}
