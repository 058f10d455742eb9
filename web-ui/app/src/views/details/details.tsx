// Details of a conversation: the person, or the group with its members.

import { useContacts, useDetails } from "../../api/queries";
import type { Conversation, ConversationDetails } from "../../api/types";
import { t } from "../../i18n";
import { useMedia } from "../../lib/hooks";
import { Link, paths } from "../../lib/router";
import { Icon } from "../../ui/icon";
import { Skeleton } from "../../ui/panel";
import { Refusal } from "../../ui/problem";
import { PersonPanel } from "../people/person-panel";
import { DeleteConversation } from "./delete";
import { Files } from "./files";
import { Group } from "./group";
import { Technical } from "./technical";

function Direct({ conversation, details }: { conversation: Conversation; details: ConversationDetails | undefined }) {
  const contact = useContacts().data?.find((c) => c.account === conversation.peer);
  return (
    <>
      {contact === undefined ? null : <PersonPanel contact={contact} inChat />}
      <Files conversation={conversation.id} />
      {details === undefined ? null : <Technical details={details} />}
      <DeleteConversation conversation={conversation} />
    </>
  );
}

export function Details({ conversation }: { conversation: Conversation }) {
  const details = useDetails(conversation.id);
  // Where the details stand alone, their heading is the page's.
  const Heading = useMedia("(min-width: 68rem)") ? "h2" : "h1";
  return (
    <aside className="details" aria-label={t.group.details}>
      <header className="flex h-14 shrink-0 items-center gap-3 border-b border-line px-4">
        <Link href={paths.chat(conversation.id)} aria-label={t.app.close} title={t.app.close} className="icon-button -ml-1">
          <Icon name="x" />
        </Link>
        <Heading className="text-sm font-semibold">{t.group.details}</Heading>
      </header>
      <div className="relative flex min-h-0 flex-1 flex-col gap-6 overflow-y-auto p-5">
        <Refusal error={details.error} />
        {conversation.kind === "direct" ? (
          <Direct conversation={conversation} details={details.data} />
        ) : details.data === undefined ? (
          details.error === null ? (
            <Skeleton />
          ) : null
        ) : (
          <Group conversation={conversation} details={details.data} />
        )}
      </div>
    </aside>
  );
}
