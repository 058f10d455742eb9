// Fields for passphrases: one that is known, and a new one typed twice.

import { useState } from "react";
import { t } from "../i18n";
import { passphraseProblem, PASSPHRASE_CHARS_MAX } from "../lib/limits";
import { strength } from "../lib/strength";
import { Field, type InputProps } from "./field";

type PassphraseProps = InputProps & { shown: boolean; onShow?: ((shown: boolean) => void) | undefined };

export function Passphrase({ label, hint, problem, shown, onShow, ...rest }: PassphraseProps) {
  const show =
    onShow === undefined ? null : (
      <label className="flex items-center gap-1.5 text-xs text-soft">
        <input type="checkbox" checked={shown} onChange={(event) => onShow(event.target.checked)} />
        {t.onboarding.show}
      </label>
    );
  return (
    <Field label={label} hint={hint} problem={problem} after={show}>
      {(control) => (
        <input
          maxLength={PASSPHRASE_CHARS_MAX}
          {...rest}
          {...control}
          type={shown ? "text" : "password"}
          autoCapitalize="off"
          autoCorrect="off"
          spellCheck={false}
          className="field"
        />
      )}
    </Field>
  );
}

function StrengthHint({ passphrase }: { passphrase: string }) {
  const value = strength(passphrase);
  const level = { empty: 0, weak: 1, fair: 2, good: 3, strong: 4 }[value];
  return (
    <div className="-mt-1 flex min-h-5 items-center gap-2 text-xs text-soft">
      <div role="meter" aria-label={t.strength.label} aria-valuemin={0} aria-valuemax={4} aria-valuenow={level} aria-valuetext={t.strength[value]} className={`strength strength-${value}`}>
        <span />
        <span />
        <span />
        <span />
      </div>
      <span aria-live="polite">{t.strength[value]}</span>
    </div>
  );
}

/** A passphrase to be, what is wrong with it, and how to forget what was typed. */
export function useNewPassphrase() {
  const [passphrase, setPassphrase] = useState("");
  const [repeat, setRepeat] = useState("");
  return {
    passphrase,
    setPassphrase,
    repeat,
    setRepeat,
    problems: { passphrase: passphraseProblem(passphrase), repeat: repeat === passphrase ? null : t.onboarding.differ },
    clear: () => {
      setPassphrase("");
      setRepeat("");
    },
  };
}

type NewPassphraseProps = {
  value: ReturnType<typeof useNewPassphrase>;
  label: string;
  hint?: string;
  /** What is wrong, once it is to be shown. */
  problem: (field: "passphrase" | "repeat") => string | null;
  shown: boolean;
  onShow?: (shown: boolean) => void;
};

export function NewPassphrase({ value, label, hint, problem, shown, onShow }: NewPassphraseProps) {
  return (
    <>
      <Passphrase
        label={label}
        hint={hint}
        problem={problem("passphrase")}
        value={value.passphrase}
        autoComplete="new-password"
        shown={shown}
        onShow={onShow}
        onChange={(event) => value.setPassphrase(event.target.value)}
      />
      <StrengthHint passphrase={value.passphrase} />
      <Passphrase
        label={t.onboarding.repeat}
        problem={problem("repeat")}
        value={value.repeat}
        autoComplete="new-password"
        shown={shown}
        onChange={(event) => value.setRepeat(event.target.value)}
      />
    </>
  );
}
