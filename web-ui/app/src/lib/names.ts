// Names of people who type, as they are shown here.

import { useContacts, shownName } from "../api/queries";
import { t } from "../i18n";
import { useTyping } from "./live";
import { clean } from "./text";

export function useTypingNames(conversation: string): string[] {
  const accounts = useTyping(conversation);
  const contacts = useContacts().data;
  return accounts.map((account) => {
    const contact = contacts?.find((c) => c.account === account);
    return contact === undefined ? t.connection.somebody : clean(shownName(contact));
  });
}
