// A refusal that stands next to the control that caused it.

import { sentence } from "../api/client";
import { Icon } from "./icon";

export function Problem({ text }: { text: string }) {
  return (
    <p role="alert" className="flex items-start gap-2 rounded-lg bg-bad-tint p-3 text-sm text-bad">
      <Icon name="alert" size={16} className="mt-0.5 shrink-0" />
      <span className="min-w-0 break-words">{text}</span>
    </p>
  );
}

/** The refusal of a request, or nothing while there is none. */
export function Refusal({ error }: { error: Error | null }) {
  return error === null ? null : <Problem text={sentence(error)} />;
}
