// The first step: a name and a passphrase.

import { useState } from "react";
import { useAction } from "../../api/action";
import { api } from "../../api/client";
import { t } from "../../i18n";
import { useForm } from "../../lib/form";
import { NAME_BYTES_MAX, nameProblem } from "../../lib/limits";
import { Button } from "../../ui/button";
import { Input } from "../../ui/field";
import { NewPassphrase, useNewPassphrase } from "../../ui/passphrase";
import { Refusal } from "../../ui/problem";
import { Step } from "./step";

export function Identity({ onWords }: { onWords: (words: string[]) => void }) {
  const [name, setName] = useState("");
  const next = useNewPassphrase();
  const [shown, setShown] = useState(false);
  const create = useAction(
    (body: { name: string; passphrase: string }) => api.post<{ words: string[] }>("/vault/create", body),
    { quiet: true, done: (answer) => onWords(answer.words) },
  );
  const own = name.trim();
  const form = useForm({ name: nameProblem(own), ...next.problems }, () => create.mutate({ name: own, passphrase: next.passphrase }));
  return (
    <Step n={1} title={t.onboarding.welcome} lead={t.onboarding.welcomeBody}>
      <form noValidate onSubmit={form.submit} className="flex flex-col gap-4">
        <Input
          label={t.onboarding.name}
          hint={t.onboarding.nameHint}
          problem={form.problem("name")}
          value={name}
          maxLength={NAME_BYTES_MAX}
          autoComplete="nickname"
          autoFocus
          onChange={(event) => setName(event.target.value)}
        />
        <NewPassphrase
          value={next}
          label={t.onboarding.passphrase}
          hint={t.onboarding.passphraseHint}
          problem={form.problem}
          shown={shown}
          onShow={setShown}
        />
        <Refusal error={create.error} />
        <Button type="submit" look="primary" wide busy={create.isPending}>
          {create.isPending ? t.onboarding.working : t.onboarding.continue}
        </Button>
      </form>
    </Step>
  );
}
