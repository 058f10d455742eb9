// Somebody calls: in every open page, without taking the focus from what the
// person is writing.

import { useEffect } from "react";
import type { Call } from "../../api/types";
import { t } from "../../i18n";
import { calling, shown } from "../../lib/call/session";
import { useValue } from "../../api/store";
import { notifications } from "../../lib/remembered";
import { clean } from "../../lib/text";
import { Avatar } from "../../ui/avatar";
import { Button } from "../../ui/button";

export function Incoming({ call }: { call: Call }) {
  const name = clean(call.name);
  const busy = useValue(shown) !== null;
  const title = call.video ? t.call.videoFrom(name) : t.call.voiceFrom(name);

  useEffect(() => {
    if (document.hasFocus() || !notifications.get() || !("Notification" in window) || Notification.permission !== "granted") return;
    const note = new Notification(title, { tag: call.id, icon: "/favicon.svg", requireInteraction: true });
    note.addEventListener("click", () => {
      window.focus();
      note.close();
    });
    return () => note.close();
  }, [title, call.id]);

  useEffect(() => {
    const down = (event: KeyboardEvent) => {
      if (!event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
      if (event.code === "KeyY" && !busy) {
        event.preventDefault();
        calling.answer(call, false);
      } else if (event.code === "KeyN") {
        event.preventDefault();
        calling.decline(call);
      }
    };
    window.addEventListener("keydown", down);
    return () => window.removeEventListener("keydown", down);
  }, [call, busy]);

  return (
    <section aria-label={title} className="incoming">
      <div role="alert" className="flex min-w-0 items-center gap-3">
        <Avatar id={call.peer} name={call.name} />
        <div className="min-w-0">
          <p className="truncate font-semibold">
            <bdi>{name}</bdi>
          </p>
          <p className="text-sm text-soft">{call.video ? t.call.videoRings : t.call.voiceRings}</p>
          <p className="sr-only">{t.call.keys}</p>
        </div>
      </div>
      {busy ? <p className="text-xs text-soft">{t.call.busyHere}</p> : null}
      <div className="flex flex-wrap gap-2">
        <Button look="danger" icon="hangUp" aria-keyshortcuts="Alt+N" onPress={() => calling.decline(call)}>
          {t.call.decline}
        </Button>
        <Button look="primary" icon="phone" aria-keyshortcuts="Alt+Y" isDisabled={busy} onPress={() => calling.answer(call, false)}>
          {t.call.answer}
        </Button>
        {call.video ? (
          <Button look="primary" icon="film" isDisabled={busy} onPress={() => calling.answer(call, true)}>
            {t.call.answerVideo}
          </Button>
        ) : null}
      </div>
    </section>
  );
}
