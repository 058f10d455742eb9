// Somebody asks to be a contact: who it is, and the three answers.

import type { Contact } from "../../api/types";
import { t } from "../../i18n";
import { shortWhen } from "../../i18n/format";
import { shownName } from "../../lib/names";
import { Link, paths } from "../../lib/router";
import { clean } from "../../lib/text";
import { Avatar } from "../../ui/avatar";
import { Button } from "../../ui/button";
import { useAnswer } from "./answer";

export function Request({ contact, now }: { contact: Contact; now: number }) {
  const name = clean(shownName(contact));
  const answer = useAnswer(contact);
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
        <Button look="quiet" busy={answer.busy("block")} onPress={() => answer.give("block")}>
          {t.people.block}
        </Button>
        <Button busy={answer.busy("refuse")} onPress={() => answer.give("refuse")}>
          {t.people.refuse}
        </Button>
        <Button look="primary" busy={answer.busy("accept")} onPress={() => answer.give("accept")}>
          {t.people.accept}
        </Button>
      </div>
    </li>
  );
}
