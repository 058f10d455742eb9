// Details of a conversation: the person, or the group with its members.

import { useState, type FormEvent } from "react";
import { api, sentence } from "../api/client";
import { client, keys } from "../api/cache";
import { useAction, useContacts, useDetails } from "../api/queries";
import type { Conversation, ConversationDetails, Member } from "../api/types";
import { t } from "../i18n";
import { keepFocus } from "../lib/focus";
import { useMedia } from "../lib/hooks";
import { Link, navigate, paths } from "../lib/router";
import { clean } from "../lib/text";
import { Avatar } from "../ui/avatar";
import { Confirm, Dialog } from "../ui/dialog";
import { Icon } from "../ui/icon";
import { Button, IconButton, Input, Skeleton } from "../ui/kit";
import { NewInvite } from "./invite";
import { Problem } from "./onboarding";
import { PersonPanel } from "./person";
import { PickContacts } from "./pick";

function MemberLine({ id, member, mayRemove }: { id: string; member: Member; mayRemove: boolean }) {
  const [asking, setAsking] = useState(false);
  const remove = useAction(() => api.delete(`/conversations/${id}/members/${member.account}`), {
    refresh: [keys.details(id), keys.conversations],
    done: () => {
      setAsking(false);
      keepFocus();
    },
  });
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
          {member.verified ? (
            <span className="text-accent-text" title={t.people.verified}>
              <Icon name="shieldCheck" size={14} />
              <span className="sr-only">{t.people.verified}</span>
            </span>
          ) : null}
        </p>
        <p className="text-xs text-soft">
          {t.group.role[member.role]}
          {member.devices > 1 ? ` · ${t.group.devices(member.devices)}` : ""}
          {member.seen || member.me ? null : (
            <span title={t.group.notSeenHint} className="text-warn">
              {" · "}
              {t.group.notSeen}
            </span>
          )}
        </p>
      </div>
      {mayRemove ? (
        <>
          <IconButton icon="x" size={16} label={t.group.remove(name)} onPress={() => setAsking(true)} />
          <Confirm
            title={t.group.removeTitle(name)}
            body={t.group.removeBody}
            action={t.group.removeAction}
            open={asking}
            busy={remove.isPending}
            onClose={() => setAsking(false)}
            onConfirm={() => remove.mutate()}
          />
        </>
      ) : null}
    </li>
  );
}

function AddMembers({ id, details, open, onClose }: { id: string; details: ConversationDetails; open: boolean; onClose: () => void }) {
  const contacts = useContacts().data ?? [];
  const [chosen, setChosen] = useState<Set<string>>(() => new Set());
  const inside = new Set(details.members.map((m) => m.account));
  const addable = contacts.filter((c) => c.state === "accepted" && !inside.has(c.account));
  const add = useAction(() => api.post(`/conversations/${id}/members`, { members: [...chosen] }), {
    quiet: true,
    refresh: [keys.details(id), keys.conversations],
    done: () => {
      setChosen(new Set());
      onClose();
    },
  });
  return (
    <Dialog title={t.group.add} open={open} onClose={onClose}>
      {addable.length === 0 ? (
        <p className="text-sm text-soft">{t.group.allIn}</p>
      ) : (
        <PickContacts label={t.people.contacts} contacts={addable} chosen={chosen} onChange={setChosen} />
      )}
      {add.error === null ? null : <Problem text={sentence(add.error)} />}
      <div className="flex justify-end gap-2">
        <Button onPress={onClose}>{t.app.cancel}</Button>
        <Button look="primary" isDisabled={chosen.size === 0} busy={add.isPending} onPress={() => add.mutate()}>
          {t.group.addButton}
        </Button>
      </div>
    </Dialog>
  );
}

function Rename({ conversation }: { conversation: Conversation }) {
  const [title, setTitle] = useState(conversation.title);
  const own = title.trim();
  const rename = useAction(() => api.put(`/conversations/${conversation.id}`, { title: own }), {
    quiet: true,
    refresh: [keys.details(conversation.id), keys.conversations],
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (own !== "" && own !== conversation.title) rename.mutate();
  };
  return (
    <form onSubmit={submit} className="flex flex-col gap-2">
      <Input
        label={t.group.name}
        value={title}
        maxLength={128}
        problem={rename.error === null ? (own === "" ? t.group.needName : null) : sentence(rename.error)}
        onChange={(event) => setTitle(event.target.value)}
      />
      <div>
        <Button type="submit" busy={rename.isPending} isDisabled={own === "" || own === conversation.title}>
          {t.group.rename}
        </Button>
      </div>
    </form>
  );
}

function DeleteConversation({ conversation }: { conversation: Conversation }) {
  const [asking, setAsking] = useState(false);
  const { id } = conversation;
  const remove = useAction(() => api.delete(`/conversations/${id}`), {
    refresh: [keys.conversations],
    done: () => {
      setAsking(false);
      navigate(paths.home, { replace: true });
      client.setQueryData<Conversation[]>(keys.conversations, (list) => list?.filter((c) => c.id !== id));
    },
  });
  const leaving = conversation.kind === "group" && conversation.standing === "active";
  return (
    <>
      <Button look="danger" icon="trash" wide onPress={() => setAsking(true)}>
        {t.group.delete}
      </Button>
      <Confirm
        title={t.group.deleteTitle}
        body={leaving ? t.group.deleteBodyGroup : t.group.deleteBody}
        action={t.group.delete}
        open={asking}
        busy={remove.isPending}
        onClose={() => setAsking(false)}
        onConfirm={() => remove.mutate()}
      />
    </>
  );
}

function Technical({ details }: { details: ConversationDetails }) {
  const rows = [
    [t.group.groupId, details.conversation.id],
    [t.group.epoch, String(details.epoch)],
    [t.group.stateId, details.state],
  ];
  return (
    <details className="text-sm">
      <summary className="cursor-pointer text-soft">{t.group.technical}</summary>
      <dl className="mt-2 flex flex-col gap-2 text-xs text-soft">
        {rows.map(([name, value]) => (
          <div key={name}>
            <dt className="font-medium">{name}</dt>
            <dd className="font-mono break-all">{value}</dd>
          </div>
        ))}
      </dl>
    </details>
  );
}

function Group({ conversation, details }: { conversation: Conversation; details: ConversationDetails }) {
  const { id, standing } = conversation;
  const [adding, setAdding] = useState(false);
  const [inviting, setInviting] = useState(false);
  const [leaving, setLeaving] = useState(false);
  const leave = useAction(() => api.post(`/conversations/${id}/leave`), {
    refresh: [keys.details(id), keys.conversations],
    done: () => {
      setLeaving(false);
      keepFocus();
    },
  });
  const active = standing === "active";
  const manages = active && details.role !== "member";
  return (
    <>
      <div className="flex flex-col items-center gap-2 text-center">
        <Avatar id={id} name={conversation.title} group size="l" />
        <p className="max-w-full text-lg font-semibold break-words">
          <bdi>{clean(conversation.title)}</bdi>
        </p>
        <p className="text-sm text-soft">{t.connection.members(details.members.length)}</p>
      </div>
      <section aria-label={t.group.members} className="flex flex-col gap-1">
        <ul aria-label={t.group.members}>
          {details.members.map((member) => (
            <MemberLine key={member.account} id={id} member={member} mayRemove={manages && !member.me && member.role !== "owner"} />
          ))}
        </ul>
        {manages ? (
          <div className="mt-2 flex flex-wrap gap-2">
            <Button icon="plus" onPress={() => setAdding(true)}>
              {t.group.add}
            </Button>
            <Button icon="link" onPress={() => setInviting(true)}>
              {t.group.invite}
            </Button>
          </div>
        ) : null}
      </section>
      {manages ? <Rename key={conversation.title} conversation={conversation} /> : null}
      <section className="flex flex-col gap-1 text-sm">
        <p className="font-medium">{t.group.relays}</p>
        <p className="break-words text-soft">{details.relays.length === 0 ? t.group.noRelays : details.relays.map(clean).join(", ")}</p>
      </section>
      <Technical details={details} />
      <div className="flex flex-col gap-2">
        {active ? (
          <Button icon="leave" wide onPress={() => setLeaving(true)}>
            {t.group.leave}
          </Button>
        ) : null}
        <DeleteConversation conversation={conversation} />
      </div>
      <AddMembers id={id} details={details} open={adding} onClose={() => setAdding(false)} />
      <NewInvite open={inviting} onClose={() => setInviting(false)} group={{ id, title: clean(conversation.title) }} />
      <Confirm
        title={t.group.leaveTitle}
        body={t.group.leaveBody}
        action={t.group.leave}
        open={leaving}
        busy={leave.isPending}
        onClose={() => setLeaving(false)}
        onConfirm={() => leave.mutate()}
      />
    </>
  );
}

function Direct({ conversation, details }: { conversation: Conversation; details: ConversationDetails | undefined }) {
  const contact = useContacts().data?.find((c) => c.account === conversation.peer);
  return (
    <>
      {contact === undefined ? null : <PersonPanel contact={contact} inChat />}
      {details === undefined ? null : <Technical details={details} />}
      <DeleteConversation conversation={conversation} />
    </>
  );
}

export function Details({ conversation }: { conversation: Conversation }) {
  const details = useDetails(conversation.id);
  // Where the details stand alone, their heading is the page's.
  const Heading = useMedia("(min-width: 68rem)") ? "h2" : "h1";
  return (
    <aside className="details" aria-label={t.group.details}>
      <header className="flex h-14 shrink-0 items-center gap-3 border-b border-line px-4">
        <Link href={paths.chat(conversation.id)} aria-label={t.app.close} title={t.app.close} className="icon-button -ml-1">
          <Icon name="x" />
        </Link>
        <Heading className="text-sm font-semibold">{t.group.details}</Heading>
      </header>
      <div className="relative flex min-h-0 flex-1 flex-col gap-6 overflow-y-auto p-5">
        {details.error === null ? null : <Problem text={sentence(details.error)} />}
        {conversation.kind === "direct" ? (
          <Direct conversation={conversation} details={details.data} />
        ) : details.data === undefined ? (
          details.error === null ? (
            <Skeleton />
          ) : null
        ) : (
          <Group conversation={conversation} details={details.data} />
        )}
      </div>
    </aside>
  );
}
