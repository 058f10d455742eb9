// A locked node: unlock with the passphrase, or recover with the words.

import { useEffect, useState, type FormEvent } from "react";
import { ApiError, api, sentence } from "../api/client";
import { client, keys } from "../api/cache";
import { useAction } from "../api/queries";
import { t } from "../i18n";
import { clean } from "../lib/text";
import { Area, Button, Passphrase, StrengthHint } from "../ui/kit";
import { Card } from "./card";
import { passphraseProblem, Problem } from "./onboarding";

/** Seconds left until the node listens again. */
function useCountdown(error: Error | null): number {
  const [left, setLeft] = useState(0);
  useEffect(() => {
    const wait = error instanceof ApiError ? (error.retryAfterS ?? 0) : 0;
    const end = Date.now() + wait * 1000;
    const tick = () => setLeft(Math.max(0, Math.ceil((end - Date.now()) / 1000)));
    tick();
    if (wait === 0) return undefined;
    const timer = setInterval(tick, 250);
    return () => clearInterval(timer);
  }, [error]);
  return left;
}

function useOpened() {
  return { quiet: true, done: () => void client.invalidateQueries({ queryKey: keys.session }) };
}

function Recover({ onBack }: { onBack: () => void }) {
  const [words, setWords] = useState("");
  const [passphrase, setPassphrase] = useState("");
  const [repeat, setRepeat] = useState("");
  const [shown, setShown] = useState(false);
  const [tried, setTried] = useState(false);
  const recover = useAction((body: { words: string; passphrase: string }) => api.post("/vault/recover", body), useOpened());
  const list = words.trim().toLowerCase().split(/[\s,.\d]+/u).filter((word) => word !== "");
  const problems = {
    words: list.length === 24 ? null : t.unlock.needWords,
    passphrase: passphraseProblem(passphrase),
    repeat: repeat === passphrase ? null : t.onboarding.differ,
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setTried(true);
    if (problems.words ?? problems.passphrase ?? problems.repeat) return;
    recover.mutate({ words: list.join(" "), passphrase });
  };
  return (
    <Card title={t.unlock.recover}>
      <p className="-mt-3 text-sm text-soft">{t.unlock.recoverBody}</p>
      <form noValidate onSubmit={submit} className="flex flex-col gap-4">
        <Area
          label={t.unlock.words}
          hint={t.unlock.wordCount(list.length)}
          problem={tried ? problems.words : null}
          value={words}
          rows={4}
          maxLength={1024}
          autoCapitalize="off"
          spellCheck={false}
          autoFocus
          onChange={(event) => setWords(event.target.value)}
        />
        <Passphrase
          label={t.unlock.newPassphrase}
          problem={tried ? problems.passphrase : null}
          value={passphrase}
          maxLength={1024}
          autoComplete="new-password"
          shown={shown}
          onShow={setShown}
          onChange={(event) => setPassphrase(event.target.value)}
        />
        <StrengthHint passphrase={passphrase} />
        <Passphrase
          label={t.onboarding.repeat}
          problem={tried ? problems.repeat : null}
          value={repeat}
          maxLength={1024}
          autoComplete="new-password"
          shown={shown}
          onChange={(event) => setRepeat(event.target.value)}
        />
        {recover.error === null ? null : <Problem text={sentence(recover.error)} />}
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

export function Unlock({ name }: { name: string | null }) {
  const [recovering, setRecovering] = useState(false);
  const [passphrase, setPassphrase] = useState("");
  const [shown, setShown] = useState(false);
  const [tried, setTried] = useState(false);
  const unlock = useAction((body: { passphrase: string }) => api.post("/vault/unlock", body), useOpened());
  const left = useCountdown(unlock.error);

  if (recovering) return <Recover onBack={() => setRecovering(false)} />;

  const submit = (event: FormEvent) => {
    event.preventDefault();
    setTried(true);
    if (passphrase !== "" && left === 0) unlock.mutate({ passphrase });
  };
  const problem = unlock.error === null ? null : `${sentence(unlock.error)}${left > 0 ? ` ${t.unlock.wait(left)}` : ""}`;
  return (
    <Card title={t.unlock.title}>
      <p className="-mt-3 text-sm text-soft">{name === null || name === "" ? t.unlock.body : t.unlock.bodyName(clean(name))}</p>
      <form noValidate onSubmit={submit} className="flex flex-col gap-4">
        <Passphrase
          label={t.unlock.passphrase}
          problem={tried && passphrase === "" ? t.unlock.need : null}
          value={passphrase}
          maxLength={1024}
          autoComplete="current-password"
          autoFocus
          shown={shown}
          onShow={setShown}
          onChange={(event) => setPassphrase(event.target.value)}
        />
        {problem === null ? null : <Problem text={problem} />}
        <Button type="submit" look="primary" wide busy={unlock.isPending} isDisabled={left > 0}>
          {unlock.isPending ? t.unlock.working : t.unlock.button}
        </Button>
        <Button look="quiet" wide onPress={() => setRecovering(true)}>
          {t.unlock.forgot}
        </Button>
      </form>
    </Card>
  );
}
