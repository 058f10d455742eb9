// A new group: a name and whom to add.

import { useState, type FormEvent } from "react";
import { sentence } from "../api/client";
import { keys } from "../api/cache";
import { startConversation, useAction, useContacts } from "../api/queries";
import { t } from "../i18n";
import { Link, navigate, paths } from "../lib/router";
import { Button, Input, Skeleton } from "../ui/kit";
import { Problem } from "./onboarding";
import { Page } from "./page";
import { PickContacts } from "./pick";

export function NewGroup() {
  const contacts = useContacts().data;
  const [title, setTitle] = useState("");
  const [chosen, setChosen] = useState<Set<string>>(() => new Set());
  const [tried, setTried] = useState(false);
  const create = useAction((body: { title: string; members: string[] }) => startConversation(body.title, body.members), {
    quiet: true,
    refresh: [keys.conversations],
    done: (answer) => navigate(paths.chat(answer.conversation), { replace: true }),
  });
  const own = title.trim();
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setTried(true);
    if (own !== "") create.mutate({ title: own, members: [...chosen] });
  };
  const accepted = (contacts ?? []).filter((c) => c.state === "accepted");
  return (
    <Page title={t.group.title}>
      <form noValidate onSubmit={submit} className="flex flex-col gap-5">
        <Input
          label={t.group.name}
          problem={tried && own === "" ? t.group.needName : null}
          value={title}
          maxLength={128}
          autoFocus
          spellCheck
          onChange={(event) => setTitle(event.target.value)}
        />
        {contacts === undefined ? <Skeleton rows={4} /> : null}
        {contacts !== undefined && accepted.length === 0 ? (
          <p className="text-sm text-soft">
            {t.group.noContacts}{" "}
            <Link href={paths.people} className="link">
              {t.people.title}
            </Link>
          </p>
        ) : null}
        {accepted.length > 0 ? <PickContacts label={t.group.members} contacts={accepted} chosen={chosen} onChange={setChosen} /> : null}
        {create.error === null ? null : <Problem text={sentence(create.error)} />}
        <div className="flex flex-wrap items-center gap-3">
          <Button type="submit" look="primary" busy={create.isPending}>
            {create.isPending ? t.group.creating : t.group.create}
          </Button>
          {chosen.size > 0 ? <span className="text-sm text-soft">{t.group.selected(chosen.size)}</span> : null}
        </div>
      </form>
    </Page>
  );
}
