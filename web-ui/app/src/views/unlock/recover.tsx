// A forgotten passphrase: the recovery words open the vault and set a new one.

import { useState } from "react";
import { useAction } from "../../api/action";
import { sessionChanged } from "../../api/cache";
import { api } from "../../api/client";
import { t } from "../../i18n";
import { useForm } from "../../lib/form";
import { Button } from "../../ui/button";
import { Area } from "../../ui/field";
import { NewPassphrase, useNewPassphrase } from "../../ui/passphrase";
import { Refusal } from "../../ui/problem";
import { Card } from "../card";

const WORDS = 24;

export function Recover({ onBack }: { onBack: () => void }) {
  const [words, setWords] = useState("");
  const next = useNewPassphrase();
  const [shown, setShown] = useState(false);
  const recover = useAction((body: { words: string; passphrase: string }) => api.post("/vault/recover", body), {
    quiet: true,
    done: sessionChanged,
  });
  const list = words.trim().toLowerCase().split(/[\s,.\d]+/u).filter((word) => word !== "");
  const form = useForm({ words: list.length === WORDS ? null : t.unlock.needWords, ...next.problems }, () =>
    recover.mutate({ words: list.join(" "), passphrase: next.passphrase }),
  );
  return (
    <Card title={t.unlock.recover} lead={t.unlock.recoverBody}>
      <form noValidate onSubmit={form.submit} className="flex flex-col gap-4">
        <Area
          label={t.unlock.words}
          hint={t.unlock.wordCount(list.length)}
          problem={form.problem("words")}
          value={words}
          rows={4}
          maxLength={1024}
          autoCapitalize="off"
          spellCheck={false}
          autoFocus
          onChange={(event) => setWords(event.target.value)}
        />
        <NewPassphrase value={next} label={t.unlock.newPassphrase} problem={form.problem} shown={shown} onShow={setShown} />
        <Refusal error={recover.error} />
        <Button type="submit" look="primary" wide busy={recover.isPending}>
          {recover.isPending ? t.unlock.recovering : t.unlock.recoverButton}
        </Button>
        <Button look="quiet" wide onPress={onBack}>
          {t.unlock.backToUnlock}
        </Button>
      </form>
    </Card>
  );
}
