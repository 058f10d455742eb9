// What views are laid out with: sections, rows of facts, a row with its action,
// and what stands where there is nothing yet.

import { useId, type ReactNode } from "react";
import { t } from "../i18n";
import { Icon, type IconName } from "./icon";

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

/** Names and values, for instance ids. */
export function Facts({ rows, className = "" }: { rows: readonly (readonly [name: string, value: string])[]; className?: string }) {
  return (
    <dl className={`flex flex-col gap-2 text-xs text-soft ${className}`}>
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt className="font-medium">{name}</dt>
          <dd className="font-mono break-all">{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** A sentence and the button that it explains. */
export function ActionRow({ hint, children }: { hint: string; children: ReactNode }) {
  return (
    <div className="flex items-center justify-between gap-4">
      <p className="text-sm text-soft">{hint}</p>
      <div className="shrink-0">{children}</div>
    </div>
  );
}
