// A named list of people, each a link to their view.

import type { Contact } from "../../api/types";
import { shownName } from "../../lib/names";
import { Link, paths } from "../../lib/router";
import { clean } from "../../lib/text";
import { Avatar } from "../../ui/avatar";
import { VerifiedMark } from "../../ui/verified";

function PersonLine({ contact, note }: { contact: Contact; note: string | null }) {
  const name = clean(shownName(contact));
  return (
    <li>
      <Link href={paths.person(contact.account)} className="entry">
        <Avatar id={contact.account} name={name} />
        <span className="min-w-0 flex-1">
          <span className="flex items-center gap-1.5">
            <bdi className="truncate text-left text-sm font-medium">{name}</bdi>
            {contact.verified ? <VerifiedMark size={15} /> : null}
          </span>
          {note === null && contact.about === "" ? null : (
            <span className="block truncate text-sm text-soft">
              <bdi>{note ?? contact.about}</bdi>
            </span>
          )}
        </span>
      </Link>
    </li>
  );
}

type Props = {
  label: string;
  contacts: readonly Contact[];
  /** What to say of a person instead of what they say of themselves. */
  note?: (contact: Contact) => string | null;
};

export function ContactList({ label, contacts, note }: Props) {
  return (
    <ul aria-label={label} className="-mx-2 flex flex-col">
      {contacts.map((contact) => (
        <PersonLine key={contact.account} contact={contact} note={note?.(contact) ?? null} />
      ))}
    </ul>
  );
}
