// People: who asks, who is here, invites that are out.

import { useState } from "react";
import { useContacts, useInvites } from "../../api/queries";
import type { Contact } from "../../api/types";
import { t } from "../../i18n";
import { useNow } from "../../lib/hooks";
import { shownName } from "../../lib/names";
import { Button } from "../../ui/button";
import { Section, Skeleton } from "../../ui/panel";
import { Refusal } from "../../ui/problem";
import { Page } from "../page";
import { ContactList } from "./contact-list";
import { NewInvite } from "./invite";
import { OpenInvites } from "./open-invites";
import { Request } from "./request";
import { UseInvite } from "./use-invite";

function byName(a: Contact, b: Contact): number {
  return shownName(a).localeCompare(shownName(b));
}

/** What became of an own request. */
function askedNote(contact: Contact): string | null {
  if (contact.state === "requested") return contact.problem ?? t.people.waiting;
  return contact.state === "refused" ? t.people.refused : null;
}

export function People() {
  const contacts = useContacts();
  const invites = useInvites();
  const now = useNow();
  const [inviting, setInviting] = useState(false);

  const all = contacts.data ?? [];
  const of = (...states: Contact["state"][]) => all.filter((c) => states.includes(c.state)).toSorted(byName);
  const incoming = of("incoming").toSorted((a, b) => b.since - a.since);
  const accepted = of("accepted");
  const asked = [...of("requested"), ...of("refused")];
  const known = of("known");
  const blocked = of("blocked");
  const open = invites.data ?? [];

  return (
    <Page title={t.people.title}>
      <Refusal error={contacts.error} />
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
        {contacts.data !== undefined && accepted.length === 0 && !asked.some((c) => c.state === "requested") ? (
          <p className="text-sm text-soft">{t.people.noContacts}</p>
        ) : null}
        {accepted.length + asked.length > 0 ? <ContactList label={t.people.contacts} contacts={[...accepted, ...asked]} note={askedNote} /> : null}
      </Section>
      {open.length > 0 ? (
        <Section title={t.people.openInvites}>
          <OpenInvites invites={open} now={now} />
        </Section>
      ) : null}
      {known.length > 0 ? (
        <Section title={t.people.known}>
          <ContactList label={t.people.known} contacts={known} />
        </Section>
      ) : null}
      {blocked.length > 0 ? (
        <Section title={t.people.blocked}>
          <ContactList label={t.people.blocked} contacts={blocked} />
        </Section>
      ) : null}
      <NewInvite open={inviting} onClose={() => setInviting(false)} />
    </Page>
  );
}
