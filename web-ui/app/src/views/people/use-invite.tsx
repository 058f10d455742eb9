// The field for an invite link that one was sent.

import { useState } from "react";
import { useAction } from "../../api/action";
import { keys } from "../../api/cache";
import { api } from "../../api/client";
import { t } from "../../i18n";
import { useForm } from "../../lib/form";
import { takeInvite } from "../../lib/handoff";
import { Button } from "../../ui/button";
import { Input } from "../../ui/field";
import { Refusal } from "../../ui/problem";
import { toast } from "../../ui/toasts";

export function UseInvite() {
  const [link, setLink] = useState(takeInvite);
  const [greeting, setGreeting] = useState("");
  const own = link.trim();
  const use = useAction((body: { link: string; greeting: string }) => api.post<{ account: string }>("/contacts", body), {
    quiet: true,
    refresh: [keys.contacts, keys.conversations],
    done: () => {
      setLink("");
      setGreeting("");
      form.fresh();
      toast.info(t.people.sent);
    },
  });
  const form = useForm({ link: own === "" ? t.people.needLink : null }, () => use.mutate({ link: own, greeting: greeting.trim() }));
  return (
    <form noValidate onSubmit={form.submit} className="flex flex-col gap-3">
      <Input
        label={t.people.inviteLink}
        hint={t.people.inviteLinkHint}
        problem={form.problem("link")}
        value={link}
        maxLength={8192}
        onChange={(event) => setLink(event.target.value)}
      />
      <Input
        label={t.people.greeting}
        hint={t.people.greetingHint}
        value={greeting}
        maxLength={300}
        spellCheck
        onChange={(event) => setGreeting(event.target.value)}
      />
      <Refusal error={use.error} />
      <div>
        <Button type="submit" look="primary" busy={use.isPending}>
          {t.people.send}
        </Button>
      </div>
    </form>
  );
}
