// Who types, in words. Apart, so that only what shows it follows the contacts.

import { useContacts } from "../api/queries";
import { t } from "../i18n";
import { shownName } from "../lib/names";
import { clean } from "../lib/text";

export function TypingNames({ accounts }: { accounts: readonly string[] }) {
  const contacts = useContacts().data;
  const names = accounts.map((account) => {
    const contact = contacts?.find((c) => c.account === account);
    return contact === undefined ? t.connection.somebody : clean(shownName(contact));
  });
  return <>{t.connection.typing(names)}</>;
}
