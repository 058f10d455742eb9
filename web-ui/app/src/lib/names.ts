// Names of people as they are shown here.

import type { Contact } from "../api/types";

export function shownName(contact: Contact): string {
  return contact.nickname ?? contact.name;
}
