// A new group: a name and whom to add.

import { useState } from "react";
import { useAction } from "../api/action";
import { keys } from "../api/cache";
import { api } from "../api/client";
import { useContacts } from "../api/queries";
import { t } from "../i18n";
import { useForm } from "../lib/form";
import { TITLE_CHARS_MAX } from "../lib/limits";
import { Link, navigate, paths } from "../lib/router";
import { Button } from "../ui/button";
import { Input } from "../ui/field";
import { Skeleton } from "../ui/panel";
import { Refusal } from "../ui/problem";
import { Page } from "./page";
import { PickContacts } from "./people/pick";

export function NewGroup() {
  const contacts = useContacts().data;
  const [title, setTitle] = useState("");
  const [chosen, setChosen] = useState<Set<string>>(() => new Set());
  const create = useAction(
    (body: { title: string; members: string[] }) => api.post<{ conversation: string }>("/conversations", body),
    {
      quiet: true,
      refresh: [keys.conversations],
      done: (answer) => navigate(paths.chat(answer.conversation), { replace: true }),
    },
  );
  const own = title.trim();
  const form = useForm({ title: own === "" ? t.group.needName : null }, () => create.mutate({ title: own, members: [...chosen] }));
  const accepted = (contacts ?? []).filter((c) => c.state === "accepted");
  return (
    <Page title={t.group.title}>
      <form noValidate onSubmit={form.submit} className="flex flex-col gap-5">
        <Input
          label={t.group.name}
          problem={form.problem("title")}
          value={title}
          maxLength={TITLE_CHARS_MAX}
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
        <Refusal error={create.error} />
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
