// A control that asks once before it acts, because something will be lost.

import { useState, type ReactNode } from "react";
import { useAction } from "../api/action";
import { keepFocus } from "../lib/focus";
import { Confirm } from "./dialog";

type Props = {
  title: string;
  body: string;
  /** The name of what is done. */
  action: string;
  run: () => Promise<unknown>;
  /** What to fetch again afterwards. */
  refresh: readonly (readonly unknown[])[];
  done?: () => void;
  /** The control; `ask` opens the question. */
  children: (ask: () => void) => ReactNode;
};

export function AskFirst({ title, body, action, run, refresh, done, children }: Props) {
  const [asking, setAsking] = useState(false);
  const act = useAction(run, {
    refresh,
    done: () => {
      setAsking(false);
      done?.();
      keepFocus();
    },
  });
  return (
    <>
      {children(() => setAsking(true))}
      <Confirm
        title={title}
        body={body}
        action={action}
        open={asking}
        busy={act.isPending}
        onClose={() => setAsking(false)}
        onConfirm={() => act.mutate()}
      />
    </>
  );
}
