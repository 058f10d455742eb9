// Fields with their label, hint and problem: text, several lines, choices, switches.

import { useId, type InputHTMLAttributes, type ReactNode, type Ref, type SelectHTMLAttributes, type TextareaHTMLAttributes } from "react";
import { Icon } from "./icon";

type FieldProps = {
  label: string;
  hint?: ReactNode;
  /** A sentence that says what to change. */
  problem?: string | null | undefined;
};

type ControlProps = { id: string; "aria-invalid": true | undefined; "aria-describedby": string | undefined };
type FrameProps = FieldProps & {
  /** Beside the label. */
  after?: ReactNode;
  children: (control: ControlProps) => ReactNode;
};

/** What stands around a control; `children` get what ties the control to it. */
export function Field({ label, hint, problem, after, children }: FrameProps) {
  const id = useId();
  const described = [hint === undefined ? null : `${id}-hint`, problem ? `${id}-problem` : null].filter((part) => part !== null).join(" ");
  return (
    <div className="flex flex-col gap-1">
      <div className="flex items-baseline justify-between gap-2">
        <label htmlFor={id} className="text-sm font-medium">
          {label}
        </label>
        {after}
      </div>
      {children({ id, "aria-invalid": problem ? true : undefined, "aria-describedby": described === "" ? undefined : described })}
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

export type InputProps = FieldProps & Omit<InputHTMLAttributes<HTMLInputElement>, "className"> & { ref?: Ref<HTMLInputElement> };

export function Input({ label, hint, problem, ...rest }: InputProps) {
  return (
    <Field label={label} hint={hint} problem={problem}>
      {(control) => <input type="text" autoComplete="off" spellCheck={false} {...rest} {...control} className="field" />}
    </Field>
  );
}

type AreaProps = FieldProps & Omit<TextareaHTMLAttributes<HTMLTextAreaElement>, "className">;

export function Area({ label, hint, problem, rows = 3, ...rest }: AreaProps) {
  return (
    <Field label={label} hint={hint} problem={problem}>
      {(control) => <textarea autoComplete="off" rows={rows} {...rest} {...control} className="field resize-y py-2" />}
    </Field>
  );
}

type SelectProps = FieldProps & Omit<SelectHTMLAttributes<HTMLSelectElement>, "className">;

export function Select({ label, hint, problem, children, ...rest }: SelectProps) {
  return (
    <Field label={label} hint={hint} problem={problem}>
      {(control) => (
        <select {...rest} {...control} className="field">
          {children}
        </select>
      )}
    </Field>
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
