// A locked node: unlock with the passphrase, or recover with the words.

import { useEffect, useState } from "react";
import { useAction } from "../../api/action";
import { sessionChanged } from "../../api/cache";
import { ApiError, api, sentence } from "../../api/client";
import { t } from "../../i18n";
import { useForm } from "../../lib/form";
import { clean } from "../../lib/text";
import { Button } from "../../ui/button";
import { Passphrase } from "../../ui/passphrase";
import { Problem } from "../../ui/problem";
import { Card } from "../card";
import { Recover } from "./recover";

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

export function Unlock({ name }: { name: string | null }) {
  const [recovering, setRecovering] = useState(false);
  const [passphrase, setPassphrase] = useState("");
  const [shown, setShown] = useState(false);
  const unlock = useAction((body: { passphrase: string }) => api.post("/vault/unlock", body), { quiet: true, done: sessionChanged });
  const left = useCountdown(unlock.error);
  const form = useForm({ passphrase: passphrase === "" ? t.unlock.need : null }, () => {
    if (left === 0) unlock.mutate({ passphrase });
  });

  if (recovering) return <Recover onBack={() => setRecovering(false)} />;

  const problem = unlock.error === null ? null : `${sentence(unlock.error)}${left > 0 ? ` ${t.unlock.wait(left)}` : ""}`;
  return (
    <Card title={t.unlock.title} lead={name === null || name === "" ? t.unlock.body : t.unlock.bodyName(clean(name))}>
      <form noValidate onSubmit={form.submit} className="flex flex-col gap-4">
        <Passphrase
          label={t.unlock.passphrase}
          problem={form.problem("passphrase")}
          value={passphrase}
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
