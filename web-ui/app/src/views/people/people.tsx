// People: who asks, who is here, invites that are out.

import { useState, type FormEvent, type ReactNode } from "react";
import { api, sentence } from "../api/client";
import { keys } from "../api/cache";
import { shownName, useAction, useContacts, useConversations, useInvites } from "../api/queries";
import type { Contact, Invite } from "../api/types";
import { t } from "../i18n";
import { shortWhen, until } from "../i18n/format";
import { keepFocus } from "../lib/focus";
import { takeInvite } from "../lib/handoff";
import { useNow } from "../lib/hooks";
import { Link, paths } from "../lib/router";
import { clean } from "../lib/text";
import { Avatar } from "../ui/avatar";
import { Confirm, Dialog } from "../ui/dialog";
import { Icon } from "../ui/icon";
import { Button, Input, Section, Skeleton } from "../ui/kit";
import { toast } from "../ui/toasts";
import { InviteLink, NewInvite } from "./invite";
import { Problem } from "./onboarding";
import { Page } from "./page";

type Answer = "accept" | "refuse" | "block";

function Request({ contact, now }: { contact: Contact; now: number }) {
  const name = clean(shownName(contact));
  const [answer, setAnswer] = useState<Answer | null>(null);
  const act = useAction((what: Answer) => api.post(`/contacts/${contact.account}/${what}`), {
    refresh: [keys.contacts, keys.conversations],
    done: keepFocus,
  });
  const run = (what: Answer) => {
    setAnswer(what);
    act.mutate(what, {
      onSuccess: () => {
        if (what === "accept") toast.info(t.people.acceptedToast(name));
      },
    });
  };
  return (
    <li className="flex flex-col gap-3 rounded-lg border border-line bg-raised p-4">
      <div className="flex items-start gap-3">
        <Avatar id={contact.account} name={name} />
        <div className="min-w-0 flex-1">
          <p className="truncate font-medium">
            <Link href={paths.person(contact.account)} className="hover:underline">
              <bdi>{name}</bdi>
            </Link>
          </p>
          {contact.greeting === "" ? null : (
            <p dir="auto" className="text-sm break-words whitespace-pre-wrap">
              {contact.greeting}
            </p>
          )}
          <p className="text-xs text-soft">{t.people.requestFrom(shortWhen(contact.since, now))}</p>
          {contact.problem === null ? null : <p className="text-xs text-bad">{contact.problem}</p>}
        </div>
      </div>
      <div className="flex flex-wrap justify-end gap-2">
        <Button look="quiet" busy={act.isPending && answer === "block"} onPress={() => run("block")}>
          {t.people.block}
        </Button>
        <Button busy={act.isPending && answer === "refuse"} onPress={() => run("refuse")}>
          {t.people.refuse}
        </Button>
        <Button look="primary" busy={act.isPending && answer === "accept"} onPress={() => run("accept")}>
          {t.people.accept}
        </Button>
      </div>
    </li>
  );
}

export function PersonLine({ contact, note }: { contact: Contact; note?: ReactNode }) {
  const name = clean(shownName(contact));
  return (
    <li>
      <Link href={paths.person(contact.account)} className="entry">
        <Avatar id={contact.account} name={name} />
        <span className="min-w-0 flex-1">
          <span className="flex items-center gap-1.5">
            <bdi className="truncate text-left text-sm font-medium">{name}</bdi>
            {contact.verified ? (
              <span className="text-accent-text" title={t.people.verified}>
                <Icon name="shieldCheck" size={15} />
                <span className="sr-only">{t.people.verified}</span>
              </span>
            ) : null}
          </span>
          {note === undefined && contact.about === "" ? null : (
            <span className="block truncate text-sm text-soft">
              <bdi>{note ?? contact.about}</bdi>
            </span>
          )}
        </span>
      </Link>
    </li>
  );
}

function UseInvite() {
  const [link, setLink] = useState(takeInvite);
  const [greeting, setGreeting] = useState("");
  const [tried, setTried] = useState(false);
  const use = useAction((body: { link: string; greeting: string }) => api.post<{ account: string }>("/contacts", body), {
    quiet: true,
    refresh: [keys.contacts, keys.conversations],
    done: () => {
      setLink("");
      setGreeting("");
      setTried(false);
      toast.info(t.people.sent);
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setTried(true);
    if (link.trim() !== "") use.mutate({ link: link.trim(), greeting: greeting.trim() });
  };
  return (
    <form noValidate onSubmit={submit} className="flex flex-col gap-3">
      <Input
        label={t.people.inviteLink}
        hint={t.people.inviteLinkHint}
        problem={tried && link.trim() === "" ? t.people.needLink : null}
        value={link}
        maxLength={8192}
        onChange={(event) => setLink(event.target.value)}
      />
      <Input
        label={t.people.greeting}
        hint={t.people.greetingHint}
        value={greeting}
        maxLength={300}
        spellCheck
        onChange={(event) => setGreeting(event.target.value)}
      />
      {use.error === null ? null : <Problem text={sentence(use.error)} />}
      <div>
        <Button type="submit" look="primary" busy={use.isPending}>
          {t.people.send}
        </Button>
      </div>
    </form>
  );
}

function InviteLine({ invite, group, now }: { invite: Invite; group: string | null; now: number }) {
  const [shown, setShown] = useState(false);
  const [asking, setAsking] = useState(false);
  const withdraw = useAction(() => api.delete(`/invites/${invite.id}`), { refresh: [keys.invites],
    done: () => {
      setAsking(false);
      keepFocus();
    },
  });
  const expired = invite.expires_at <= now;
  return (
    <li className="flex flex-wrap items-center gap-x-3 gap-y-2 rounded-lg border border-line bg-raised py-2 pr-2 pl-4">
      <span className="min-w-40 flex-1 text-sm">
        <bdi className="block truncate text-left font-medium">{group === null ? t.people.forContact : t.people.forGroup(group)}</bdi>
        <span className="text-xs text-soft">
          {t.people.usesLeft(invite.uses_left, invite.uses)}, {expired ? t.people.expired : t.people.expires(until(invite.expires_at, now))}
        </span>
      </span>
      <Button look="quiet" onPress={() => setAsking(true)}>
        {t.people.withdraw}
      </Button>
      <Button onPress={() => setShown(true)}>{t.people.show}</Button>
      <Dialog title={t.invite.shownTitle} open={shown} onClose={() => setShown(false)}>
        <InviteLink invite={invite} onDone={() => setShown(false)} />
      </Dialog>
      <Confirm
        title={t.people.withdrawTitle}
        body={t.people.withdrawBody}
        action={t.people.withdraw}
        open={asking}
        busy={withdraw.isPending}
        onClose={() => setAsking(false)}
        onConfirm={() => withdraw.mutate()}
      />
    </li>
  );
}

function byName(a: Contact, b: Contact): number {
  return shownName(a).localeCompare(shownName(b));
}

export function People() {
  const contacts = useContacts();
  const invites = useInvites();
  const conversations = useConversations().data;
  const now = useNow();
  const [inviting, setInviting] = useState(false);

  const all = contacts.data ?? [];
  const of = (...states: Contact["state"][]) => all.filter((c) => states.includes(c.state)).toSorted(byName);
  const incoming = of("incoming").toSorted((a, b) => b.since - a.since);
  const accepted = of("accepted");
  const waiting = of("requested");
  const refused = of("refused");
  const known = of("known");
  const blocked = of("blocked");
  const open = invites.data ?? [];

  return (
    <Page title={t.people.title}>
      {contacts.error === null ? null : <Problem text={sentence(contacts.error)} />}
      {incoming.length > 0 ? (
        <Section title={t.people.requests}>
          <ul aria-label={t.people.requests} className="flex flex-col gap-2">
            {incoming.map((contact) => (
              <Request key={contact.account} contact={contact} now={now} />
            ))}
          </ul>
        </Section>
      ) : null}
      <div className="grid gap-8 @xl:grid-cols-2">
        <Section title={t.people.invitePanel}>
          <p className="text-sm text-soft">{t.people.inviteBody}</p>
          <div>
            <Button look="primary" icon="link" onPress={() => setInviting(true)}>
              {t.people.newInvite}
            </Button>
          </div>
        </Section>
        <Section title={t.people.pastePanel}>
          <UseInvite />
        </Section>
      </div>
      <Section title={t.people.contacts}>
        {contacts.data === undefined && contacts.error === null ? <Skeleton rows={4} /> : null}
        {contacts.data !== undefined && accepted.length === 0 && waiting.length === 0 ? (
          <p className="text-sm text-soft">{t.people.noContacts}</p>
        ) : null}
        {accepted.length + waiting.length + refused.length > 0 ? (
          <ul aria-label={t.people.contacts} className="-mx-2 flex flex-col">
            {accepted.map((contact) => (
              <PersonLine key={contact.account} contact={contact} />
            ))}
            {waiting.map((contact) => (
              <PersonLine key={contact.account} contact={contact} note={contact.problem ?? t.people.waiting} />
            ))}
            {refused.map((contact) => (
              <PersonLine key={contact.account} contact={contact} note={t.people.refused} />
            ))}
          </ul>
        ) : null}
      </Section>
      {open.length > 0 ? (
        <Section title={t.people.openInvites}>
          <ul aria-label={t.people.openInvites} className="flex flex-col gap-2">
            {open.map((invite) => (
              <InviteLine
                key={invite.id}
                invite={invite}
                group={invite.conversation === null ? null : clean(conversations?.find((c) => c.id === invite.conversation)?.title ?? "")}
                now={now}
              />
            ))}
          </ul>
        </Section>
      ) : null}
      {known.length > 0 ? (
        <Section title={t.people.known}>
          <ul aria-label={t.people.known} className="-mx-2 flex flex-col">
            {known.map((contact) => (
              <PersonLine key={contact.account} contact={contact} />
            ))}
          </ul>
        </Section>
      ) : null}
      {blocked.length > 0 ? (
        <Section title={t.people.blocked}>
          <ul aria-label={t.people.blocked} className="-mx-2 flex flex-col">
            {blocked.map((contact) => (
              <PersonLine key={contact.account} contact={contact} />
            ))}
          </ul>
        </Section>
      ) : null}
      <NewInvite open={inviting} onClose={() => setInviting(false)} />
    </Page>
  );
}
