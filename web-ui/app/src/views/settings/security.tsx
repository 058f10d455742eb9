// Locking, signing out, another passphrase.

import { useState } from "react";
import { useAction } from "../../api/action";
import { sessionChanged } from "../../api/cache";
import { api } from "../../api/client";
import { t } from "../../i18n";
import { useForm } from "../../lib/form";
import { clearUnsent, hasUnsent } from "../../lib/unsent";
import { Button } from "../../ui/button";
import { Confirm } from "../../ui/dialog";
import { ActionRow } from "../../ui/panel";
import { NewPassphrase, Passphrase, useNewPassphrase } from "../../ui/passphrase";
import { Refusal } from "../../ui/problem";
import { toast } from "../../ui/toasts";

export function ChangePassphrase() {
  const [old, setOld] = useState("");
  const next = useNewPassphrase();
  const [shown, setShown] = useState(false);
  const change = useAction((body: { old: string; new: string }) => api.post("/vault/passphrase", body), {
    quiet: true,
    done: () => {
      setOld("");
      next.clear();
      form.fresh();
      toast.info(t.settings.changed);
    },
  });
  const form = useForm({ old: old === "" ? t.unlock.need : null, ...next.problems }, () => change.mutate({ old, new: next.passphrase }));
  return (
    <form noValidate onSubmit={form.submit} className="flex flex-col gap-4">
      <Passphrase
        label={t.settings.current}
        problem={form.problem("old")}
        value={old}
        autoComplete="current-password"
        shown={shown}
        onShow={setShown}
        onChange={(event) => setOld(event.target.value)}
      />
      <NewPassphrase value={next} label={t.unlock.newPassphrase} problem={form.problem} shown={shown} />
      <Refusal error={change.error} />
      <div>
        <Button type="submit" busy={change.isPending}>
          {t.settings.changePassphrase}
        </Button>
      </div>
    </form>
  );
}

export function SessionButtons() {
  const lock = useAction(() => api.post("/vault/lock"), { done: sessionChanged });
  const signOut = useAction(() => api.delete("/session"), {
    done: () => {
      clearUnsent();
      sessionChanged();
    },
  });
  const [asking, setAsking] = useState(false);
  return (
    <div className="flex flex-col gap-4">
      <ActionRow hint={t.settings.lockHint}>
        <Button icon="lock" busy={lock.isPending} onPress={() => lock.mutate()}>
          {t.settings.lock}
        </Button>
      </ActionRow>
      <ActionRow hint={t.settings.signOutHint}>
        <Button icon="leave" busy={signOut.isPending} onPress={() => (hasUnsent() ? setAsking(true) : signOut.mutate())}>
          {t.settings.signOut}
        </Button>
      </ActionRow>
      <Confirm
        title={t.settings.signOutTitle}
        body={t.settings.signOutBody}
        action={t.settings.signOutAction}
        open={asking}
        busy={signOut.isPending}
        onClose={() => setAsking(false)}
        onConfirm={() => signOut.mutate()}
      />
    </div>
  );
}
