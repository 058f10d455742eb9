// What others see of me.

import { useState, type FormEvent } from "react";
import { useAction } from "../../api/action";
import { keys } from "../../api/cache";
import { api } from "../../api/client";
import type { Me } from "../../api/types";
import { t } from "../../i18n";
import { keepFocus } from "../../lib/focus";
import { NAME_BYTES_MAX, nameProblem } from "../../lib/limits";
import { Button, Copyable } from "../../ui/button";
import { Input } from "../../ui/field";
import { Refusal } from "../../ui/problem";
import { toast } from "../../ui/toasts";

export function Profile({ me }: { me: Me }) {
  const [name, setName] = useState(me.name);
  const [about, setAbout] = useState(me.about);
  const own = name.trim();
  const save = useAction((body: { name: string; about: string }) => api.put("/me", body), {
    quiet: true,
    refresh: [keys.me],
    done: () => {
      toast.info(t.settings.saved);
      // The form begins anew with what was saved.
      keepFocus();
    },
  });
  const problem = nameProblem(own);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (problem === null) save.mutate({ name: own, about: about.trim() });
  };
  return (
    <form noValidate onSubmit={submit} className="flex flex-col gap-4">
      <Input label={t.onboarding.name} problem={problem} value={name} maxLength={NAME_BYTES_MAX} onChange={(event) => setName(event.target.value)} />
      <Input label={t.settings.about} hint={t.settings.aboutHint} value={about} maxLength={300} spellCheck onChange={(event) => setAbout(event.target.value)} />
      <Refusal error={save.error} />
      <div className="flex flex-wrap gap-2">
        <Button type="submit" look="primary" busy={save.isPending} isDisabled={own === me.name && about.trim() === me.about}>
          {t.settings.saveProfile}
        </Button>
        <Copyable text={me.account} label={t.settings.copyAccount} />
      </div>
    </form>
  );
}
