// The small parts that every view is made of: buttons, fields, panels.

import { useId, useState, type InputHTMLAttributes, type ReactNode, type Ref, type SelectHTMLAttributes, type TextareaHTMLAttributes } from "react";
import { Button as AriaButton, type ButtonProps as AriaButtonProps } from "react-aria-components";
import { t } from "../i18n";
import { copyText } from "../lib/copy";
import { strength } from "../lib/strength";
import { Icon, type IconName } from "./icon";

type Look = "primary" | "plain" | "quiet" | "danger";

type ButtonProps = Omit<AriaButtonProps, "className" | "children"> & {
  look?: Look;
  icon?: IconName;
  busy?: boolean;
  wide?: boolean;
  children: ReactNode;
  ref?: Ref<HTMLButtonElement>;
};

export function Button({ look = "plain", icon, busy = false, wide = false, children, ...rest }: ButtonProps) {
  // Busy is not disabled: the focus stays. useAction ignores a second press.
  return (
    <AriaButton {...rest} data-busy={busy ? true : undefined} className={`button button-${look} ${wide ? "w-full" : ""}`}>
      {icon === undefined ? null : <Icon name={icon} size={16} />}
      <span className="min-w-0 truncate">{children}</span>
    </AriaButton>
  );
}

type IconButtonProps = Omit<AriaButtonProps, "className" | "children"> & { icon: IconName; label: string; size?: number; className?: string };

export function IconButton({ icon, label, size = 20, className = "", ...rest }: IconButtonProps) {
  return (
    <AriaButton {...rest} aria-label={label} className={`icon-button ${className}`}>
      <Icon name={icon} size={size} />
    </AriaButton>
  );
}

type FieldProps = {
  label: string;
  hint?: ReactNode;
  /** A sentence that says what to change. */
  problem?: string | null | undefined;
};

function useField(hint: ReactNode, problem: string | null | undefined) {
  const id = useId();
  const described = [hint === undefined ? null : `${id}-hint`, problem ? `${id}-problem` : null].filter((part) => part !== null).join(" ");
  return {
    id,
    aria: {
      id,
      "aria-invalid": problem ? true : undefined,
      "aria-describedby": described === "" ? undefined : described,
    },
  };
}

function Frame({ id, label, hint, problem, children, after }: FieldProps & { id: string; children: ReactNode; after?: ReactNode }) {
  return (
    <div className="flex flex-col gap-1">
      <div className="flex items-baseline justify-between gap-2">
        <label htmlFor={id} className="text-sm font-medium">
          {label}
        </label>
        {after}
      </div>
      {children}
      {problem ? (
        <p id={`${id}-problem`} role="alert" className="flex items-start gap-1.5 text-sm text-bad">
          <Icon name="alert" size={15} className="mt-[3px] shrink-0" />
          <span className="min-w-0 break-words">{problem}</span>
        </p>
      ) : null}
      {hint === undefined ? null : (
        <div id={`${id}-hint`} className="text-xs text-soft">
          {hint}
        </div>
      )}
    </div>
  );
}

type InputProps = FieldProps & Omit<InputHTMLAttributes<HTMLInputElement>, "className"> & { ref?: Ref<HTMLInputElement> };

export function Input({ label, hint, problem, ...rest }: InputProps) {
  const { id, aria } = useField(hint, problem);
  return (
    <Frame id={id} label={label} hint={hint} problem={problem}>
      <input type="text" autoComplete="off" spellCheck={false} {...rest} {...aria} className="field" />
    </Frame>
  );
}

type AreaProps = FieldProps & Omit<TextareaHTMLAttributes<HTMLTextAreaElement>, "className">;

export function Area({ label, hint, problem, rows = 3, ...rest }: AreaProps) {
  const { id, aria } = useField(hint, problem);
  return (
    <Frame id={id} label={label} hint={hint} problem={problem}>
      <textarea autoComplete="off" rows={rows} {...rest} {...aria} className="field resize-y py-2" />
    </Frame>
  );
}

type SelectProps = FieldProps & Omit<SelectHTMLAttributes<HTMLSelectElement>, "className">;

export function Select({ label, hint, problem, children, ...rest }: SelectProps) {
  const { id, aria } = useField(hint, problem);
  return (
    <Frame id={id} label={label} hint={hint} problem={problem}>
      <select {...rest} {...aria} className="field">
        {children}
      </select>
    </Frame>
  );
}

type PassphraseProps = InputProps & { shown: boolean; onShow?: (shown: boolean) => void };

export function Passphrase({ label, hint, problem, shown, onShow, ...rest }: PassphraseProps) {
  const { id, aria } = useField(hint, problem);
  return (
    <Frame
      id={id}
      label={label}
      hint={hint}
      problem={problem}
      after={
        onShow === undefined ? null : (
          <label className="flex items-center gap-1.5 text-xs text-soft">
            <input type="checkbox" checked={shown} onChange={(event) => onShow(event.target.checked)} />
            {t.onboarding.show}
          </label>
        )
      }
    >
      <input {...rest} {...aria} type={shown ? "text" : "password"} autoCapitalize="off" autoCorrect="off" spellCheck={false} className="field" />
    </Frame>
  );
}

export function StrengthHint({ passphrase }: { passphrase: string }) {
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

type SwitchProps = { label: string; hint?: string; checked: boolean; onChange: (checked: boolean) => void; disabled?: boolean };

export function Switch({ label, hint, checked, onChange, disabled = false }: SwitchProps) {
  const id = useId();
  return (
    <div className="flex items-start justify-between gap-4 py-2">
      <div className="min-w-0">
        <label htmlFor={id} className="text-sm font-medium">
          {label}
        </label>
        {hint === undefined ? null : (
          <p id={`${id}-hint`} className="text-xs text-soft">
            {hint}
          </p>
        )}
      </div>
      <input
        id={id}
        type="checkbox"
        role="switch"
        className="switch"
        checked={checked}
        disabled={disabled}
        aria-describedby={hint === undefined ? undefined : `${id}-hint`}
        onChange={(event) => onChange(event.target.checked)}
      />
    </div>
  );
}

/** A heading with what belongs to it. */
export function Section({ title, id, children, action }: { title: string; id?: string; children: ReactNode; action?: ReactNode }) {
  const own = useId();
  const heading = id ?? own;
  return (
    <section aria-labelledby={heading} className="flex flex-col gap-3">
      <div className="flex min-h-8 items-center justify-between gap-2">
        <h2 id={heading} tabIndex={-1} className="scroll-mt-4 text-base font-semibold outline-none">
          {title}
        </h2>
        {action}
      </div>
      {children}
    </section>
  );
}

export function Empty({ icon, title, children }: { icon: IconName; title: string; children?: ReactNode }) {
  return (
    <div className="m-auto flex max-w-sm flex-col items-center gap-3 p-8 text-center">
      <span className="grid size-14 place-items-center rounded-full bg-tint text-accent-text">
        <Icon name={icon} size={26} />
      </span>
      <h1 className="text-lg font-semibold">{title}</h1>
      <div className="flex flex-col items-center gap-4 text-sm text-soft">{children}</div>
    </div>
  );
}

/** Bars in place of text that is on its way; invisible for the first 300 ms. */
export function Skeleton({ rows = 6 }: { rows?: number }) {
  return (
    <div role="status" aria-label={t.app.loading} className="skeleton flex flex-col gap-4 p-4">
      {Array.from({ length: rows }, (_, index) => (
        <div key={index} className="flex items-center gap-3">
          <span className="size-10 shrink-0 rounded-full bg-line" />
          <span className="flex flex-1 flex-col gap-2">
            <span className="h-3 w-1/3 rounded bg-line" />
            <span className="h-3 w-2/3 rounded bg-line" />
          </span>
        </div>
      ))}
    </div>
  );
}

/** A text that is there to be copied. */
export function Copyable({ text, label }: { text: string; label: string }) {
  const [done, setDone] = useState(false);
  return (
    <Button
      icon={done ? "check" : "copy"}
      onPress={() => {
        void copyText(text).then(setDone);
      }}
    >
      {label}
    </Button>
  );
}
