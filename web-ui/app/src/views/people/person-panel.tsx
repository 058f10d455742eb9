// What there is to know and to do about one person: nickname, safety number,
// answers. Stands in their own view and in the details of a conversation.

import { useState } from "react";
import { useAction } from "../../api/action";
import { keys } from "../../api/cache";
import { api } from "../../api/client";
import type { Contact } from "../../api/types";
import { t } from "../../i18n";
import { dayAndTime } from "../../i18n/format";
import { keepFocus } from "../../lib/focus";
import { useNow } from "../../lib/hooks";
import { TITLE_CHARS_MAX } from "../../lib/limits";
import { shownName } from "../../lib/names";
import { navigate, paths } from "../../lib/router";
import { clean } from "../../lib/text";
import { AskFirst } from "../../ui/ask";
import { Portrait } from "../../ui/avatar";
import { Button, Copyable } from "../../ui/button";
import { Input, Switch } from "../../ui/field";
import { Icon } from "../../ui/icon";
import { Problem } from "../../ui/problem";
import { toast } from "../../ui/toasts";
import { answerTouches, sendAnswer, useAnswer } from "./answer";
import { SafetyDialog } from "./safety";

function Nickname({ contact }: { contact: Contact }) {
  const [nickname, setNickname] = useState(contact.nickname ?? "");
  const own = nickname.trim();
  const save = useAction(() => api.put(`/contacts/${contact.account}`, { nickname: own === "" ? null : own }), {
    refresh: [keys.contacts, keys.conversations],
    done: () => {
      toast.info(t.settings.saved);
      keepFocus();
    },
  });
  return (
    <form
      className="flex flex-col gap-2"
      onSubmit={(event) => {
        event.preventDefault();
        save.mutate();
      }}
    >
      <Input
        label={t.person.nickname}
        hint={t.person.nicknameHint}
        value={nickname}
        maxLength={TITLE_CHARS_MAX}
        placeholder={clean(contact.name)}
        onChange={(event) => setNickname(event.target.value)}
      />
      <div>
        <Button type="submit" busy={save.isPending} isDisabled={own === (contact.nickname ?? "")}>
          {t.person.saveNickname}
        </Button>
      </div>
    </form>
  );
}

function HideAddress({ contact }: { contact: Contact }) {
  const save = useAction((hide: boolean) => api.put(`/contacts/${contact.account}/hide-address`, { hide }), { refresh: [keys.contacts], done: keepFocus });
  const now = save.isPending ? save.variables : contact.hide_address;
  return <Switch label={t.call.hide} hint={t.call.hideHint} checked={now} onChange={(hide) => save.mutate(hide)} />;
}

export function PersonPanel({ contact, inChat = false }: { contact: Contact; inChat?: boolean }) {
  const now = useNow();
  const name = clean(shownName(contact));
  const [safety, setSafety] = useState(false);
  const answer = useAnswer(contact);
  const { conversation } = contact;
  return (
    <div className="flex flex-col gap-6">
      <Portrait id={contact.account} name={name}>
        {contact.nickname === null ? null : (
          <p className="text-sm text-soft">
            <bdi>{clean(contact.name)}</bdi>
          </p>
        )}
        {contact.about === "" ? null : (
          <p dir="auto" className="max-w-full text-sm break-words text-soft">
            {contact.about}
          </p>
        )}
        <p className="text-xs text-soft">
          {t.person.state[contact.state]} {t.person.since(dayAndTime(contact.since, now))}
        </p>
        {contact.problem === null ? null : <Problem text={contact.problem} />}
      </Portrait>
      {contact.state === "incoming" ? (
        <div className="flex flex-col gap-3">
          {contact.greeting === "" ? null : (
            <p dir="auto" className="rounded-lg bg-tint p-3 text-sm break-words whitespace-pre-wrap">
              {contact.greeting}
            </p>
          )}
          <div className="flex justify-center gap-2">
            <Button busy={answer.busy("refuse")} onPress={() => answer.give("refuse")}>
              {t.people.refuse}
            </Button>
            <Button look="primary" busy={answer.busy("accept")} onPress={() => answer.give("accept")}>
              {t.people.accept}
            </Button>
          </div>
        </div>
      ) : null}
      <div className="flex flex-wrap justify-center gap-2">
        {conversation === null || inChat ? null : (
          <Button look="primary" icon="chat" onPress={() => navigate(paths.chat(conversation))}>
            {t.person.message}
          </Button>
        )}
        <Button icon={contact.verified ? "shieldCheck" : "shield"} onPress={() => setSafety(true)}>
          {t.person.safety}
        </Button>
      </div>
      <p className={`-mt-3 flex items-center justify-center gap-1.5 text-sm ${contact.verified ? "text-accent-text" : "text-soft"}`}>
        <Icon name={contact.verified ? "shieldCheck" : "shield"} size={16} />
        {contact.verified ? t.person.verifiedYes : t.person.verifiedNo}
      </p>
      {contact.state === "accepted" || contact.state === "known" ? <HideAddress contact={contact} /> : null}
      <Nickname key={contact.nickname} contact={contact} />
      <div className="flex flex-col gap-1">
        <p className="text-sm font-medium">{t.person.account}</p>
        <p className="font-mono text-xs break-all text-soft">{contact.account}</p>
      </div>
      <div className="flex flex-wrap gap-2">
        <Copyable text={contact.account} label={t.person.copyAccount} />
        {contact.state === "blocked" ? (
          <Button busy={answer.busy("unblock")} onPress={() => answer.give("unblock")}>
            {t.person.unblock}
          </Button>
        ) : (
          <AskFirst
            title={t.person.blockTitle(name)}
            body={t.person.blockBody}
            action={t.person.block}
            run={() => sendAnswer(contact, "block")}
            refresh={answerTouches}
          >
            {(ask) => (
              <Button look="danger" onPress={ask}>
                {t.person.block}
              </Button>
            )}
          </AskFirst>
        )}
      </div>
      <SafetyDialog contact={contact} open={safety} onClose={() => setSafety(false)} />
    </div>
  );
}
