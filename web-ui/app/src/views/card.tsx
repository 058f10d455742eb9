// The frame of everything before the app proper: one calm card.

import { useEffect, useRef, type ReactNode } from "react";
import { t } from "../i18n";
import { Logo } from "../ui/icon";

type Props = {
  title: string;
  /** A sentence below the title. */
  lead?: string;
  step?: { n: number; of: number };
  children: ReactNode;
  wide?: boolean;
};

export function Card({ title, lead, step, children, wide = false }: Props) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} – ${t.app.name}`;
    // A field with autofocus keeps it; else reading starts at the heading.
    if (document.activeElement === document.body || document.activeElement === null) heading.current?.focus();
  }, [title]);
  return (
    <main className="gate relative flex min-h-dvh flex-col items-center overflow-y-auto p-4">
      <div className={`my-auto w-full ${wide ? "max-w-2xl" : "max-w-md"}`}>
        <div className="mb-6 flex items-center justify-between">
          <span className="flex items-center gap-3 text-base font-semibold">
            <Logo size={32} />
            {t.app.name}
          </span>
          {step === undefined ? null : (
            <span className="flex items-center gap-2 text-xs text-soft">
              <span>{t.onboarding.step(step.n, step.of)}</span>
              <span aria-hidden="true" className="flex gap-1">
                {Array.from({ length: step.of }, (_, index) => (
                  <span key={index} className={`h-1 w-5 rounded ${index < step.n ? "bg-accent" : "bg-line"}`} />
                ))}
              </span>
            </span>
          )}
        </div>
        <div className="flex flex-col gap-5 rounded-xl border border-line bg-raised p-6 wide:p-8">
          <h1 ref={heading} tabIndex={-1} className="text-xl leading-tight font-semibold outline-none">
            {title}
          </h1>
          {lead === undefined ? null : <p className="-mt-3 text-sm text-soft">{lead}</p>}
          {children}
        </div>
      </div>
    </main>
  );
}
