// Adding a relay by its community link: the field, and what comes of it. In the
// first run and in the settings.

import { useState } from "react";
import { useAction } from "../api/action";
import { keys } from "../api/cache";
import { api } from "../api/client";
import type { Relay } from "../api/types";
import { t } from "../i18n";
import { useForm } from "../lib/form";
import { Input } from "../ui/field";

const LINK_CHARS_MAX = 4096;

export function useRelayLink(done: () => void) {
  const [typed, setTyped] = useState("");
  const link = typed.trim();
  const add = useAction((body: { link: string }) => api.post<Relay>("/relays", body), {
    quiet: true,
    refresh: [keys.network],
    done: () => {
      setTyped("");
      form.fresh();
      done();
    },
  });
  const form = useForm({ link: link === "" ? t.onboarding.needLink : null }, () => add.mutate({ link }));
  return { typed, setTyped, link, add, form };
}

type Props = {
  value: ReturnType<typeof useRelayLink>;
  label: string;
  autoFocus?: boolean;
  /** Answers to what was typed before no longer hold. */
  onChange?: () => void;
};

export function RelayLinkInput({ value, label, autoFocus = false, onChange }: Props) {
  return (
    <Input
      label={label}
      hint={t.onboarding.communityHint}
      problem={value.form.problem("link")}
      value={value.typed}
      maxLength={LINK_CHARS_MAX}
      autoFocus={autoFocus}
      onChange={(event) => {
        value.setTyped(event.target.value);
        value.add.reset();
        onChange?.();
      }}
    />
  );
}
