// The details of a group: members, name, relays, leaving it.

import { useState, type FormEvent } from "react";
import { useAction } from "../../api/action";
import { keys } from "../../api/cache";
import { api, sentence } from "../../api/client";
import type { Conversation, ConversationDetails } from "../../api/types";
import { t } from "../../i18n";
import { keepFocus } from "../../lib/focus";
import { TITLE_CHARS_MAX } from "../../lib/limits";
import { clean } from "../../lib/text";
import { AskFirst } from "../../ui/ask";
import { Portrait } from "../../ui/avatar";
import { Button } from "../../ui/button";
import { Input } from "../../ui/field";
import { NewInvite } from "../people/invite";
import { DeleteConversation } from "./delete";
import { AddMembers, Members } from "./members";
import { Files } from "./files";
import { Technical } from "./technical";

function Rename({ conversation }: { conversation: Conversation }) {
  const [title, setTitle] = useState(conversation.title);
  const own = title.trim();
  const rename = useAction(() => api.put(`/conversations/${conversation.id}`, { title: own }), {
    quiet: true,
    refresh: [keys.details(conversation.id), keys.conversations],
    // The form begins anew with the new name.
    done: keepFocus,
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (own !== "" && own !== conversation.title) rename.mutate();
  };
  return (
    <form onSubmit={submit} className="flex flex-col gap-2">
      <Input
        label={t.group.name}
        value={title}
        maxLength={TITLE_CHARS_MAX}
        problem={rename.error === null ? (own === "" ? t.group.needName : null) : sentence(rename.error)}
        onChange={(event) => setTitle(event.target.value)}
      />
      <div>
        <Button type="submit" busy={rename.isPending} isDisabled={own === "" || own === conversation.title}>
          {t.group.rename}
        </Button>
      </div>
    </form>
  );
}

export function Group({ conversation, details }: { conversation: Conversation; details: ConversationDetails }) {
  const { id, standing } = conversation;
  const [adding, setAdding] = useState(false);
  const [inviting, setInviting] = useState(false);
  const active = standing === "active";
  return (
    <>
      <Portrait id={id} name={conversation.title} group>
        <p className="text-sm text-soft">{t.connection.members(details.members.length)}</p>
      </Portrait>
      <section aria-label={t.group.members} className="flex flex-col gap-1">
        <Members id={id} details={details} />
        {details.may_add ? (
          <div className="mt-2 flex flex-wrap gap-2">
            <Button icon="plus" onPress={() => setAdding(true)}>
              {t.group.add}
            </Button>
            <Button icon="link" onPress={() => setInviting(true)}>
              {t.group.invite}
            </Button>
          </div>
        ) : null}
      </section>
      {details.may_rename ? <Rename key={conversation.title} conversation={conversation} /> : null}
      <section className="flex flex-col gap-1 text-sm">
        <p className="font-medium">{t.group.relays}</p>
        <p className="break-words text-soft">{details.relays.length === 0 ? t.group.noRelays : details.relays.map(clean).join(", ")}</p>
      </section>
      <Files conversation={id} />
      <Technical details={details} />
      <div className="flex flex-col gap-2">
        {active ? (
          <AskFirst
            title={t.group.leaveTitle}
            body={t.group.leaveBody}
            action={t.group.leave}
            run={() => api.post(`/conversations/${id}/leave`)}
            refresh={[keys.details(id), keys.conversations]}
          >
            {(ask) => (
              <Button icon="leave" wide onPress={ask}>
                {t.group.leave}
              </Button>
            )}
          </AskFirst>
        ) : null}
        <DeleteConversation conversation={conversation} />
      </div>
      <AddMembers id={id} details={details} open={adding} onClose={() => setAdding(false)} />
      <NewInvite open={inviting} onClose={() => setInviting(false)} group={{ id, title: clean(conversation.title) }} />
    </>
  );
}
