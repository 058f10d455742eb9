// Pictures and films of a conversation in full size, one after the other.

import { useEffect, useState } from "react";
import { Dialog as AriaDialog, Modal, ModalOverlay } from "react-aria-components";
import { contentUrl } from "../../api/files";
import { useFiles } from "../../api/queries";
import type { NodeFile } from "../../api/types";
import { t } from "../../i18n";
import { size } from "../../lib/size";
import { IconButton } from "../../ui/button";
import { Icon } from "../../ui/icon";
import { kindOf } from "./kind";

/** The browser cannot show it, whatever its name says: a tile in its place. */
export function Tile({ file, className = "" }: { file: NodeFile; className?: string }) {
  return (
    <span className={`tile ${className}`}>
      <Icon name={kindOf(file) === "video" ? "film" : "file"} size={28} />
      <bdi className="max-w-full truncate text-xs">{file.name}</bdi>
    </span>
  );
}

function Shown({ file }: { file: NodeFile }) {
  const [broken, setBroken] = useState(false);
  if (broken) {
    return (
      <span className="flex flex-col items-center gap-2">
        <Tile file={file} className="h-48 w-64" />
        <span className="text-sm text-white">{t.files.cannotShow}</span>
      </span>
    );
  }
  if (kindOf(file) === "video") {
    return (
      // Nobody but its maker could caption it.
      // oxlint-disable-next-line jsx-a11y/media-has-caption
      <video controls autoPlay aria-label={file.name} className="viewer" poster={file.preview ?? undefined} src={contentUrl(file.id)} onError={() => setBroken(true)} />
    );
  }
  return <img src={contentUrl(file.id)} alt={file.name} className="viewer" onError={() => setBroken(true)} />;
}

const viewable = (file: NodeFile) => file.state === "here" && (kindOf(file) === "image" || kindOf(file) === "video");

function Looking({ conversation, file, onClose }: { conversation: string; file: NodeFile; onClose: () => void }) {
  const [id, setId] = useState(file.id);
  const pages = useFiles(conversation);
  const all = (pages.data?.pages ?? []).flatMap((page) => page.files).map((shared) => shared.file);
  const shown = all.filter((f, index) => viewable(f) && all.findIndex((other) => other.id === f.id) === index);
  // Newest first, as the node lists them.
  const at = shown.findIndex((f) => f.id === id);
  const now = shown[at] ?? file;
  const [older, newer] = at < 0 ? [undefined, undefined] : [shown[at + 1], shown[at - 1]];
  const { hasNextPage, isFetchingNextPage, fetchNextPage } = pages;
  const wantsMore = older === undefined && hasNextPage && !isFetchingNextPage;
  useEffect(() => {
    if (wantsMore) void fetchNextPage();
  }, [wantsMore, fetchNextPage]);
  const go = (to: NodeFile | undefined) => {
    if (to !== undefined) setId(to.id);
  };
  // Wherever the focus is in it, or if it is on the dialog itself.
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      // A film's own controls use the arrows to seek.
      if (event.target instanceof HTMLVideoElement || event.altKey || event.ctrlKey || event.metaKey) return;
      if (event.key === "ArrowLeft" && older !== undefined) setId(older.id);
      else if (event.key === "ArrowRight" && newer !== undefined) setId(newer.id);
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, [older, newer]);
  return (
    <AriaDialog aria-label={now.name} className="outline-none">
      <div
        role="group"
        aria-label={t.files.viewer}
        className="flex max-h-full flex-col items-center gap-3"
      >
        <Shown key={now.id} file={now} />
        <div className="flex max-w-full items-center gap-2 rounded-full bg-raised px-4 py-1 shadow-float">
          <IconButton icon="back" label={t.files.older} isDisabled={older === undefined} onPress={() => go(older)} />
          <bdi className="max-w-60 min-w-0 truncate text-sm" title={now.name}>
            {now.name}
          </bdi>
          <span className="shrink-0 text-xs text-soft">{size(now.size)}</span>
          <a className="icon-button" href={contentUrl(now.id, true)} download={now.name} aria-label={t.files.save(now.name)}>
            <Icon name="down" />
          </a>
          <IconButton icon="next" label={t.files.newer} isDisabled={newer === undefined} onPress={() => go(newer)} />
          <IconButton icon="x" label={t.app.close} onPress={onClose} />
        </div>
      </div>
    </AriaDialog>
  );
}

type Props = {
  conversation: string;
  /** The one that is opened; null = closed. */
  file: NodeFile | null;
  onClose: () => void;
};

/** Opens at one file; arrows go on to the others that are here. */
export function Viewer({ conversation, file, onClose }: Props) {
  return (
    <ModalOverlay
      isOpen={file !== null}
      onOpenChange={(open) => {
        if (!open) onClose();
      }}
      isDismissable
      className="overlay viewer-overlay fixed inset-0 z-40 grid place-items-center p-4"
    >
      <Modal className="max-h-full max-w-full outline-none">
        {file === null ? null : <Looking key={file.id} conversation={conversation} file={file} onClose={onClose} />}
      </Modal>
    </ModalOverlay>
  );
}
