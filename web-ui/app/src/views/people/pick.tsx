// Choosing contacts: a list of checkboxes with a filter once it is long.

import { useState } from "react";
import type { Contact } from "../../api/types";
import { t } from "../../i18n";
import { shownName } from "../../lib/names";
import { clean } from "../../lib/text";
import { Avatar } from "../../ui/avatar";
import { Input } from "../../ui/field";

const FILTER_FROM = 8;

type Props = { label: string; contacts: readonly Contact[]; chosen: ReadonlySet<string>; onChange: (chosen: Set<string>) => void };

export function PickContacts({ label, contacts, chosen, onChange }: Props) {
  const [filter, setFilter] = useState("");
  const wanted = filter.trim().toLocaleLowerCase();
  const shown = contacts.filter((c) => wanted === "" || shownName(c).toLocaleLowerCase().includes(wanted));
  const toggle = (account: string) => {
    const next = new Set(chosen);
    if (!next.delete(account)) next.add(account);
    onChange(next);
  };
  return (
    <fieldset className="flex flex-col gap-2">
      <legend className="mb-1 text-sm font-medium">{label}</legend>
      {contacts.length >= FILTER_FROM ? <Input label={t.people.filter} value={filter} onChange={(event) => setFilter(event.target.value)} /> : null}
      <div className="relative flex max-h-[50vh] flex-col overflow-y-auto rounded-lg border border-line bg-raised p-1">
        {shown.length === 0 ? <p className="p-3 text-sm text-soft">{t.jump.nothing}</p> : null}
        {shown.map((contact) => (
          <label key={contact.account} className="entry cursor-pointer">
            <Avatar id={contact.account} name={shownName(contact)} size="s" />
            <bdi className="min-w-0 flex-1 truncate text-left text-sm">{clean(shownName(contact))}</bdi>
            <input type="checkbox" className="check" checked={chosen.has(contact.account)} onChange={() => toggle(contact.account)} />
          </label>
        ))}
      </div>
    </fieldset>
  );
}
