// The view of one person.

import { useContacts } from "../../api/queries";
import { t } from "../../i18n";
import { shownName } from "../../lib/names";
import { Link, paths } from "../../lib/router";
import { clean } from "../../lib/text";
import { Empty, Skeleton } from "../../ui/panel";
import { Page } from "../page";
import { PersonPanel } from "./person-panel";

export function PersonView({ account }: { account: string }) {
  const contacts = useContacts();
  const contact = contacts.data?.find((c) => c.account === account);
  if (contact === undefined) {
    if (contacts.data === undefined) return <Skeleton />;
    return (
      <Empty icon="people" title={t.person.notFound}>
        <Link href={paths.people} className="button button-plain">
          {t.people.title}
        </Link>
      </Empty>
    );
  }
  return (
    <Page title={clean(shownName(contact))} back={paths.people}>
      <div className="mx-auto w-full max-w-md">
        <PersonPanel contact={contact} />
      </div>
    </Page>
  );
}
