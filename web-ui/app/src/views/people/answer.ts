// What one may answer to a person: accept, refuse, block, unblock.

import { useAction } from "../../api/action";
import { keys } from "../../api/cache";
import { api } from "../../api/client";
import type { Contact } from "../../api/types";
import { t } from "../../i18n";
import { keepFocus } from "../../lib/focus";
import { shownName } from "../../lib/names";
import { clean } from "../../lib/text";
import { toast } from "../../ui/toasts";

type Answer = "accept" | "refuse" | "block" | "unblock";

/** What an answer changes. */
export const answerTouches = [keys.contacts, keys.conversations];

export function sendAnswer(contact: Contact, answer: Answer) {
  return api.post(`/contacts/${contact.account}/${answer}`);
}

export function useAnswer(contact: Contact) {
  const act = useAction((answer: Answer) => sendAnswer(contact, answer), {
    refresh: answerTouches,
    done: (_, answer) => {
      if (answer === "accept") toast.info(t.people.acceptedToast(clean(shownName(contact))));
      // The buttons go with the question.
      keepFocus();
    },
  });
  return {
    give: (answer: Answer) => act.mutate(answer),
    busy: (answer: Answer) => act.isPending && act.variables === answer,
  };
}
