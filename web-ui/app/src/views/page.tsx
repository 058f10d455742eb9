// The frame of a view in the main column: a heading, the way back where there is
// one column only, a readable width.

import type { ReactNode } from "react";
import { t } from "../i18n";
import { Link, paths } from "../lib/router";
import { Icon } from "../ui/icon";

export function BackLink({ href }: { href: string }) {
  return (
    <Link href={href} aria-label={t.app.back} className="icon-button -ml-1 wide:hidden">
      <Icon name="back" size={20} />
    </Link>
  );
}

export function Page({ title, back = paths.home, children }: { title: string; back?: string; children: ReactNode }) {
  return (
    <div className="flex min-h-0 min-w-0 flex-1 flex-col">
      <header className="flex h-14 shrink-0 items-center gap-3 border-b border-line px-4 wide:px-8">
        <BackLink href={back} />
        <h1 className="min-w-0 flex-1 truncate text-base font-semibold">
          <bdi>{title}</bdi>
        </h1>
      </header>
      <div className="@container relative min-h-0 flex-1 overflow-y-auto">
        <div className="mx-auto flex w-full max-w-2xl flex-col gap-8 px-4 py-6 wide:px-8">{children}</div>
      </div>
    </div>
  );
}
