// Where messages are written. Typing never waits for anything.

import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";
import { api } from "../../api/client";
import { addStaged, sendFiles } from "../../api/files";
import { send } from "../../api/outbox";
import { useSettings } from "../../api/queries";
import type { Conversation, Look } from "../../api/types";
import { t } from "../../i18n";
import { count } from "../../i18n/format";
import { setDraft, useDraft } from "../../lib/drafts";
import { useMedia } from "../../lib/hooks";
import { signal, useSignal } from "../../lib/signals";
import { byteLength, clean } from "../../lib/text";
import { IconButton } from "../../ui/button";
import { Icon } from "../../ui/icon";
import { toast } from "../../ui/toasts";
import { Attach } from "./attach";
import { Recorder } from "./recorder";
import { Uploads } from "./uploads";

/** The largest body of a message, in bytes. */
const TEXT_BYTES_MAX = 64 * 1024;
const WARN_BYTES = 56 * 1024;
const TYPING_EVERY_MS = 4_000;
const canRecord = typeof MediaRecorder !== "undefined" && typeof navigator.mediaDevices !== "undefined";
const growsItself = typeof CSS !== "undefined" && CSS.supports("field-sizing", "content");

function Reply({ author, text }: { author: string; text: string }) {
  return (
    <div className="flex items-center gap-3 border-b border-line px-4 py-2 text-sm">
      <Icon name="reply" size={16} className="shrink-0 text-accent-text" />
      <div className="min-w-0 flex-1">
        <p className="truncate text-xs font-semibold text-accent-text">{t.composer.replyingTo(author)}</p>
        <p className="truncate text-soft">
          <bdi>{text}</bdi>
        </p>
      </div>
      <IconButton icon="x" size={16} label={t.composer.cancelReply} onPress={() => signal("cancel-reply")} />
    </div>
  );
}

export function Composer({ conversation }: { conversation: Conversation }) {
  const { id, standing } = conversation;
  const draft = useDraft(id);
  const settings = useSettings().data;
  const area = useRef<HTMLTextAreaElement>(null);
  const typedAt = useRef(0);
  const picker = useRef<HTMLInputElement>(null);
  const [recording, setRecording] = useState(false);
  const finePointer = useMedia("(pointer: fine)");

  useEffect(() => {
    if (finePointer) area.current?.focus({ preventScroll: true });
  }, [finePointer]);

  const focus = useCallback(() => area.current?.focus(), []);
  const cancel = useCallback(() => {
    setDraft(id, { reply: null });
    focus();
  }, [focus, id]);
  const stopRecording = useCallback(() => setRecording(false), []);
  useSignal("compose", focus);
  useSignal("cancel-reply", cancel);

  useLayoutEffect(() => {
    const element = area.current;
    if (growsItself || element === null) return;
    element.style.height = "auto";
    element.style.height = `${Math.min(element.scrollHeight, 200)}px`;
  }, [draft.text]);

  if (standing !== "active") {
    return <p className="border-t border-line px-4 py-4 text-center text-sm text-soft">{t.composer.closed[standing]}</p>;
  }

  // Counting bytes only matters near the limit.
  const bytes = draft.text.length * 3 > WARN_BYTES ? byteLength(draft.text) : 0;
  const over = bytes - TEXT_BYTES_MAX;
  const sendable = draft.text.trim() !== "" && over <= 0;

  const attach = (files: readonly File[]) => {
    if (addStaged(id, files) > 0) toast.refusal(t.files.tooMany);
  };
  // A recording was listened for already: it goes at once.
  const speak = (file: File, look: Look) => {
    if (sendFiles(id, [file], { replyTo: draft.reply, look }) > 0) toast.refusal(t.files.tooMany);
    if (draft.reply !== null) setDraft(id, { reply: null });
    signal("sent");
  };

  const submit = () => {
    if (sendable) {
      if (send(id, draft.text.replace(/\s+$/u, ""), draft.reply)) {
        setDraft(id, { text: "", reply: null });
        typedAt.current = 0;
        signal("sent");
      } else {
        toast.refusal(t.composer.tooMany);
      }
    }
    focus();
  };

  const typing = () => {
    const now = Date.now();
    if (settings?.typing !== true || now - typedAt.current < TYPING_EVERY_MS) return;
    typedAt.current = now;
    api.post(`/conversations/${id}/typing`).catch(() => {
      // A courtesy; nobody misses it.
    });
  };

  return (
    <div className="composer">
      <Uploads conversation={id} />
      <Attach conversation={id} text={draft.text} replyTo={draft.reply} onSent={() => setDraft(id, { text: "", reply: null })} />
      {draft.reply === null ? null : <Reply author={clean(draft.reply.author_name)} text={draft.reply.text} />}
      {recording ? <Recorder onDone={speak} onEnd={stopRecording} /> : null}
      <div className={`flex items-end gap-1 p-2 ${recording ? "hidden" : ""}`}>
        <input
          ref={picker}
          type="file"
          multiple
          hidden
          onChange={(event) => {
            attach([...(event.target.files ?? [])]);
            event.target.value = "";
          }}
        />
        <IconButton icon="clip" label={t.files.attach} onPress={() => picker.current?.click()} />
        <textarea
          ref={area}
          aria-label={t.composer.label}
          aria-invalid={over > 0 ? true : undefined}
          aria-describedby={bytes > WARN_BYTES ? "composer-limit" : undefined}
          placeholder={t.composer.placeholder(clean(conversation.title))}
          value={draft.text}
          rows={1}
          dir="auto"
          enterKeyHint={finePointer ? "send" : "enter"}
          className="composer-area"
          onChange={(event) => {
            setDraft(id, { text: event.target.value });
            if (event.target.value !== "") typing();
          }}
          onPaste={(event) => {
            const files = [...event.clipboardData.files];
            if (files.length === 0) return;
            event.preventDefault();
            attach(files);
          }}
          onKeyDown={(event) => {
            if (event.key !== "Enter" || event.shiftKey || event.altKey || event.nativeEvent.isComposing) return;
            // On touch keyboards Enter is a new line; the button sends.
            if (!finePointer && !event.ctrlKey && !event.metaKey) return;
            event.preventDefault();
            submit();
          }}
        />
        {draft.text.trim() === "" && canRecord ? (
          <IconButton icon="mic" label={t.files.record} onPress={() => setRecording(true)} />
        ) : null}
        <IconButton icon="send" label={t.composer.send} isDisabled={!sendable} onPress={submit} className="send" />
      </div>
      {bytes > WARN_BYTES ? (
        <p id="composer-limit" role="status" className={`px-4 pb-2 text-xs ${over > 0 ? "text-bad" : "text-soft"}`}>
          {over > 0 ? t.composer.tooLong(count(over)) : t.composer.left(count(-over))}
        </p>
      ) : null}
    </div>
  );
}
