// One person: who they are to us, nickname, safety number, block.

import { useState } from "react";
import { api, qrUrl, sentence } from "../api/client";
import { keys } from "../api/cache";
import { shownName, useAction, useContacts, useSafety } from "../api/queries";
import type { Contact } from "../api/types";
import { t } from "../i18n";
import { dayAndTime } from "../i18n/format";
import { useNow } from "../lib/hooks";
import { Link, navigate, paths } from "../lib/router";
import { clean } from "../lib/text";
import { Avatar } from "../ui/avatar";
import { Confirm, Dialog } from "../ui/dialog";
import { Icon } from "../ui/icon";
import { Button, Copyable, Empty, Input, Skeleton, Switch } from "../ui/kit";
import { toast } from "../ui/toasts";
import { Problem } from "./onboarding";
import { Page } from "./page";

function SafetyDialog({ contact, open, onClose }: { contact: Contact; open: boolean; onClose: () => void }) {
  const safety = useSafety(contact.account, open);
  const verify = useAction((verified: boolean) => api.put(`/contacts/${contact.account}`, { verified }), {
    refresh: [keys.contacts, keys.safety(contact.account)],
  });
  const name = clean(shownName(contact));
  return (
    <Dialog title={t.person.safetyTitle} open={open} onClose={onClose}>
      <p className="text-sm text-soft">{t.person.safetyBody(name)}</p>
      {safety.error === null ? null : <Problem text={sentence(safety.error)} />}
      {safety.data === undefined ? (
        safety.error === null ? (
          <Skeleton rows={3} />
        ) : null
      ) : (
        <>
          <img src={qrUrl(safety.data.qr_text)} alt={t.person.qr} width={208} height={208} className="qr" />
          <div role="group" aria-label={t.person.digits} className="mx-auto grid w-fit grid-cols-4 gap-x-5 gap-y-2 font-mono text-base tabular-nums">
            {safety.data.digits.map((five, index) => (
              // The groups have no identity but their place.
              <span key={`${index}-${five}`}>{five}</span>
            ))}
          </div>
          <Switch
            label={t.person.verified}
            hint={t.person.verifiedHint}
            checked={verify.isPending ? verify.variables : safety.data.verified}
            onChange={(checked) => verify.mutate(checked)}
          />
        </>
      )}
      <div className="flex justify-end">
        <Button look="primary" onPress={onClose}>
          {t.app.done}
        </Button>
      </div>
    </Dialog>
  );
}

function Nickname({ contact }: { contact: Contact }) {
  const [nickname, setNickname] = useState(contact.nickname ?? "");
  const own = nickname.trim();
  const save = useAction(() => api.put(`/contacts/${contact.account}`, { nickname: own === "" ? null : own }), {
    refresh: [keys.contacts, keys.conversations],
    done: () => toast.info(t.settings.saved),
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
        maxLength={128}
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

/** The inside of a person's view; also the details of a direct conversation. */
export function PersonPanel({ contact, inChat = false }: { contact: Contact; inChat?: boolean }) {
  const now = useNow();
  const name = clean(shownName(contact));
  const [safety, setSafety] = useState(false);
  const [blocking, setBlocking] = useState(false);
  const act = useAction((what: "accept" | "refuse" | "block" | "unblock") => api.post(`/contacts/${contact.account}/${what}`), {
    refresh: [keys.contacts, keys.conversations],
    done: () => setBlocking(false),
  });
  const { conversation } = contact;
  return (
    <div className="flex flex-col gap-6">
      <div className="flex flex-col items-center gap-2 text-center">
        <Avatar id={contact.account} name={name} size="l" />
        <p className="max-w-full text-lg font-semibold break-words">
          <bdi>{name}</bdi>
        </p>
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
      </div>
      {contact.state === "incoming" ? (
        <div className="flex flex-col gap-3">
          {contact.greeting === "" ? null : (
            <p dir="auto" className="rounded-lg bg-tint p-3 text-sm break-words whitespace-pre-wrap">
              {contact.greeting}
            </p>
          )}
          <div className="flex justify-center gap-2">
            <Button onPress={() => act.mutate("refuse")}>{t.people.refuse}</Button>
            <Button look="primary" onPress={() => act.mutate("accept")}>
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
      <Nickname key={contact.nickname} contact={contact} />
      <div className="flex flex-col gap-1">
        <p className="text-sm font-medium">{t.person.account}</p>
        <p className="font-mono text-xs break-all text-soft">{contact.account}</p>
      </div>
      <div className="flex flex-wrap gap-2">
        <Copyable text={contact.account} label={t.person.copyAccount} />
        {contact.state === "blocked" ? (
          <Button busy={act.isPending} onPress={() => act.mutate("unblock")}>
            {t.person.unblock}
          </Button>
        ) : (
          <Button look="danger" onPress={() => setBlocking(true)}>
            {t.person.block}
          </Button>
        )}
      </div>
      <SafetyDialog contact={contact} open={safety} onClose={() => setSafety(false)} />
      <Confirm
        title={t.person.blockTitle(name)}
        body={t.person.blockBody}
        action={t.person.block}
        open={blocking}
        busy={act.isPending}
        onClose={() => setBlocking(false)}
        onConfirm={() => act.mutate("block")}
      />
    </div>
  );
}

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
