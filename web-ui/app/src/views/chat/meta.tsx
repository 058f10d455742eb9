// The time of a message, and beside it what became of it.

import type { ReactNode } from "react";
import { full, time } from "../../i18n/format";

export function Meta({ at, children }: { at: number; children?: ReactNode }) {
  return (
    <span className="meta" dir="ltr">
      <time title={full(at)} dateTime={new Date(at).toISOString()}>
        {time(at)}
      </time>
      {children}
    </span>
  );
}
