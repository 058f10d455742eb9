// What is about to be sent: files that were chosen, dropped or pasted, with
// words beside them. Nothing leaves before the person says so.

import { useEffect, useRef, useState } from "react";
import { sendFiles, stage, useStaged } from "../../api/files";
import type { Quote } from "../../api/types";
import { t } from "../../i18n";
import { size } from "../../lib/size";
import { signal } from "../../lib/signals";
import { byteLength } from "../../lib/text";
import { Button, IconButton } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { Area } from "../../ui/field";
import { Icon } from "../../ui/icon";
import { toast } from "../../ui/toasts";
import { kindOfType } from "./kind";

/** Bytes of the words beside a file. */
const CAPTION_BYTES_MAX = 16 * 1024;
/** A picture that is larger is not decoded only to be looked at. */
const THUMB_BYTES_MAX = 64 * 1024 * 1024;
/** Pixels of a drawn picture. */
const THUMB_PIXELS = 80;
/** Pictures drawn here; further files are named only. */
const THUMBS_MAX = 12;

function Thumb({ file }: { file: File }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [broken, setBroken] = useState(false);
  useEffect(() => {
    let gone = false;
    createImageBitmap(file).then(
      (picture) => {
        const { width, height } = picture;
        const [place, side] = [canvas.current, Math.min(width, height)];
        // The middle of it, as a square.
        if (!gone) place?.getContext("2d")?.drawImage(picture, (width - side) / 2, (height - side) / 2, side, side, 0, 0, THUMB_PIXELS, THUMB_PIXELS);
        picture.close();
      },
      () => {
        if (!gone) setBroken(true);
      },
    );
    return () => {
      gone = true;
    };
  }, [file]);
  if (broken) return <Icon name="file" size={22} />;
  return <canvas ref={canvas} width={THUMB_PIXELS} height={THUMB_PIXELS} className="h-full w-full" />;
}

function Line({ file, pictured, onRemove }: { file: File; pictured: boolean; onRemove: () => void }) {
  return (
    <li className="flex items-center gap-3">
      <span className="file-icon overflow-hidden">{pictured ? <Thumb file={file} /> : <Icon name={kindOfType(file.type) === "video" ? "film" : "file"} size={22} />}</span>
      <span className="flex min-w-0 flex-1 flex-col">
        <bdi className="truncate text-sm">{file.name}</bdi>
        <span className="text-xs text-soft">{size(file.size)}</span>
      </span>
      <IconButton icon="x" size={16} label={t.files.leaveOut(file.name)} onPress={onRemove} />
    </li>
  );
}

type Props = {
  conversation: string;
  /** What stands in the field already: it becomes the words beside the files. */
  text: string;
  replyTo: Quote | null;
  onSent: () => void;
};

export function Attach({ conversation, text, replyTo, onSent }: Props) {
  const files = useStaged(conversation);
  if (files.length === 0) return null;
  return <Staged key={conversation} conversation={conversation} files={files} text={text} replyTo={replyTo} onSent={onSent} />;
}

function Staged({ conversation, files, text, replyTo, onSent }: Props & { files: readonly File[] }) {
  const [caption, setCaption] = useState(text);
  const [keep, setKeep] = useState(false);
  const pictures = files.filter((file) => file.type.startsWith("image/")).length;
  const over = byteLength(caption) > CAPTION_BYTES_MAX;
  const close = () => stage(conversation, []);
  const submit = () => {
    if (over) return;
    close();
    if (sendFiles(conversation, files, { replyTo, caption: caption.trim(), keepMetadata: keep }) > 0) toast.refusal(t.files.tooMany);
    onSent();
    signal("sent");
  };
  return (
    <Dialog title={t.files.sendTitle(files.length)} open onClose={close}>
      <ul aria-label={t.files.chosen} className="flex max-h-64 flex-col gap-2 overflow-y-auto">
        {files.map((file, index) => (
          <Line
            // The same file may have been chosen twice.
            key={`${index}/${file.name}`}
            file={file}
            pictured={index < THUMBS_MAX && kindOfType(file.type) === "image" && file.size <= THUMB_BYTES_MAX}
            onRemove={() => stage(conversation, files.filter((other) => other !== file))}
          />
        ))}
      </ul>
      <Area
        label={t.files.caption}
        hint={files.length > 1 ? t.files.captionFirst : undefined}
        problem={over ? t.files.captionLong : null}
        value={caption}
        rows={2}
        dir="auto"
        autoFocus
        onChange={(event) => setCaption(event.target.value)}
        onKeyDown={(event) => {
          if (event.key !== "Enter" || event.shiftKey || event.altKey || event.nativeEvent.isComposing) return;
          event.preventDefault();
          submit();
        }}
      />
      {pictures === 0 ? null : (
        <label className="flex min-h-11 items-center gap-3 text-sm">
          <input type="checkbox" checked={keep} onChange={(event) => setKeep(event.target.checked)} />
          <span>
            {t.files.keepMetadata}
            <span className="block text-xs text-soft">{t.files.keepMetadataHint}</span>
          </span>
        </label>
      )}
      <div className="flex flex-wrap justify-end gap-2">
        <Button onPress={close}>{t.app.cancel}</Button>
        <Button look="primary" icon="send" isDisabled={over} onPress={submit}>
          {t.files.sendNow(files.length)}
        </Button>
      </div>
    </Dialog>
  );
}
