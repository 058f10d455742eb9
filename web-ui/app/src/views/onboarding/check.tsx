// The third step: three of the words again, from the paper.

import { useState } from "react";
import { useQuery } from "@tanstack/react-query";
import { useAction } from "../../api/action";
import { api } from "../../api/client";
import { t } from "../../i18n";
import { useForm } from "../../lib/form";
import { Button } from "../../ui/button";
import { Input } from "../../ui/field";
import { Skeleton } from "../../ui/panel";
import { Refusal } from "../../ui/problem";
import { Step } from "./step";

export function Check({ onBack, onConfirmed }: { onBack: () => void; onConfirmed: () => void }) {
  const challenge = useQuery({
    queryKey: ["challenge"],
    queryFn: ({ signal }) => api.get<{ indexes: number[] }>("/vault/challenge", { signal }),
    gcTime: 0,
  });
  const [answers, setAnswers] = useState<Record<number, string>>({});
  const confirm = useAction(
    (body: { answers: { index: number; word: string }[] }) => api.post("/vault/confirm", body),
    { quiet: true, done: onConfirmed },
  );
  const indexes = challenge.data?.indexes ?? [];
  const word = (index: number) => (answers[index] ?? "").trim().toLowerCase();
  const problems: Record<string, string | null> = Object.fromEntries(
    indexes.map((index) => [index, word(index) === "" ? t.onboarding.wordMissing : null]),
  );
  const form = useForm(problems, () => {
    if (indexes.length > 0) confirm.mutate({ answers: indexes.map((index) => ({ index, word: word(index) })) });
  });

  return (
    <Step n={3} title={t.onboarding.check} lead={t.onboarding.checkBody}>
      <Refusal error={challenge.error} />
      {challenge.isPending ? <Skeleton rows={3} /> : null}
      <form noValidate onSubmit={form.submit} className="flex flex-col gap-4">
        {indexes.map((index, place) => (
          <Input
            key={index}
            label={t.onboarding.word(index + 1)}
            problem={form.problem(String(index))}
            value={answers[index] ?? ""}
            maxLength={32}
            autoCapitalize="off"
            autoCorrect="off"
            autoFocus={place === 0}
            onChange={(event) => setAnswers({ ...answers, [index]: event.target.value })}
          />
        ))}
        <Refusal error={confirm.error} />
        <Button type="submit" look="primary" wide busy={confirm.isPending}>
          {t.onboarding.checkButton}
        </Button>
        <Button look="quiet" wide onPress={onBack}>
          {t.onboarding.again}
        </Button>
      </form>
    </Step>
  );
}
