// Short notices at the edge of the page: refusals, and changes that were not
// applied. Announced politely; they go away by themselves unless they matter.

import { useEffect } from "react";
import { Button } from "react-aria-components";
import { t } from "../i18n";
import { useValue, Value } from "../api/store";
import { Icon } from "./icon";

type Toast = { id: number; kind: "info" | "refusal"; text: string };

/** Shown at once; the oldest goes when another comes. */
const TOASTS_MAX = 4;
const INFO_MS = 5_000;
const REFUSAL_MS = 12_000;

const shown = new Value<readonly Toast[]>([]);
let next = 1;

function show(kind: Toast["kind"], text: string) {
  const now = shown.get().filter((item) => item.text !== text);
  shown.set([...now, { id: next, kind, text }].slice(-TOASTS_MAX));
  next += 1;
}

export const toast = {
  info: (text: string) => show("info", text),
  refusal: (text: string) => show("refusal", text),
};

function dismiss(id: number) {
  shown.set(shown.get().filter((item) => item.id !== id));
}

function Item({ item }: { item: Toast }) {
  useEffect(() => {
    const timer = setTimeout(() => dismiss(item.id), item.kind === "info" ? INFO_MS : REFUSAL_MS);
    return () => clearTimeout(timer);
  }, [item]);
  return (
    <div className={`toast pointer-events-auto flex items-start gap-3 rounded-lg px-4 py-3 text-sm shadow-float ${item.kind}`}>
      <Icon name={item.kind === "info" ? "check" : "alert"} className="mt-0.5 shrink-0" />
      <span className="min-w-0 flex-1 break-words">{item.text}</span>
      <Button aria-label={t.app.dismiss} onPress={() => dismiss(item.id)} className="-m-1 grid size-6 shrink-0 place-items-center rounded">
        <Icon name="x" size={14} />
      </Button>
    </div>
  );
}

export function Toasts() {
  const items = useValue(shown);
  return (
    <section aria-label={t.toast.region} className="pointer-events-none fixed inset-x-0 top-0 z-50 flex justify-center p-3 wide:top-auto wide:right-auto wide:bottom-0 wide:w-80">
      <div role="log" aria-label={t.toast.region} className="flex w-full max-w-md flex-col gap-2">
        {items.map((item) => (
          <Item key={item.id} item={item} />
        ))}
      </div>
    </section>
  );
}
