// Files that a conversation brought: pictures and films to look at, the others
// by name, all to be saved.

import { useState } from "react";
import { Button as AriaButton } from "react-aria-components";
import { useAction } from "../../api/action";
import { keys } from "../../api/cache";
import { api } from "../../api/client";
import { contentUrl, viewed } from "../../api/files";
import { useFiles } from "../../api/queries";
import type { NodeFile } from "../../api/types";
import { t } from "../../i18n";
import { length, size } from "../../lib/size";
import { Button, IconButton } from "../../ui/button";
import { Icon } from "../../ui/icon";
import { kindOf } from "../chat/kind";
import { Tile } from "../chat/viewer";

/** Between two files that are saved: browsers drop what comes at once. */
const SAVE_EVERY_MS = 400;

function saveAll(files: readonly NodeFile[]) {
  files.forEach((file, index) => {
    setTimeout(() => {
      const link = document.createElement("a");
      link.href = contentUrl(file.id, true);
      link.download = file.name;
      link.click();
    }, index * SAVE_EVERY_MS);
  });
}

function Look({ file }: { file: NodeFile }) {
  const [broken, setBroken] = useState(false);
  const film = kindOf(file) === "video";
  // A film is not fetched only to be drawn small.
  const source = film || file.state !== "here" ? file.preview : contentUrl(file.id);
  if (broken || source === null) return <Tile file={file} />;
  return (
    <>
      <img src={source} alt="" loading="lazy" decoding="async" onError={() => setBroken(true)} />
      {film ? <span className="film-length">{file.duration_ms > 0 ? length(file.duration_ms) : <Icon name="film" size={14} />}</span> : null}
    </>
  );
}

const seen = (file: NodeFile) => kindOf(file) === "image" || kindOf(file) === "video";

export function Files({ conversation }: { conversation: string }) {
  const pages = useFiles(conversation);
  const fetch = useAction((id: string) => api.post(`/files/${id}/fetch`), { refresh: [keys.files(conversation)], parallel: true });
  const all = (pages.data?.pages ?? []).flatMap((page) => page.files).map((shared) => shared.file);
  const files = all.filter((file, index) => all.findIndex((other) => other.id === file.id) === index);
  if (files.length === 0) return null;
  const pictures = files.filter(seen);
  const others = files.filter((file) => !seen(file));
  const here = files.filter((file) => file.state === "here");
  return (
    <section aria-label={t.files.all} className="flex flex-col gap-3">
      <div className="flex items-center justify-between gap-2">
        <h3 className="text-sm font-semibold">{t.files.all}</h3>
        <Button look="quiet" icon="down" isDisabled={here.length === 0} onPress={() => saveAll(here)}>
          {t.files.saveAll}
        </Button>
      </div>
      {pictures.length === 0 ? null : (
        <ul className="gallery">
          {pictures.map((file) => (
            <li key={file.id}>
              {file.state === "here" ? (
                <AriaButton className="gallery-item" aria-label={t.files.open(file.name)} onPress={() => viewed.set({ conversation, file })}>
                  <Look file={file} />
                </AriaButton>
              ) : (
                <AriaButton className="gallery-item absent" aria-label={t.files.fetch(file.name)} onPress={() => fetch.mutate(file.id)}>
                  <Look file={file} />
                  <span className="film-play">
                    <Icon name="down" size={22} />
                  </span>
                </AriaButton>
              )}
            </li>
          ))}
        </ul>
      )}
      <ul className="flex flex-col gap-1">
        {others.map((file) => (
          <li key={file.id} className="flex items-center gap-2 text-sm">
            <Icon name={kindOf(file) === "audio" ? "sound" : "file"} size={16} className="shrink-0 text-soft" />
            <bdi className="min-w-0 flex-1 truncate" title={file.name}>
              {file.voice ? t.files.voiceName : file.name}
            </bdi>
            <span className="text-xs text-soft tabular-nums">{file.state === "here" ? size(file.size) : t.files.notHere(size(file.size))}</span>
            {file.state === "here" ? (
              <a className="icon-button" href={contentUrl(file.id, true)} download={file.name} aria-label={t.files.save(file.name)}>
                <Icon name="down" size={16} />
              </a>
            ) : (
              <IconButton icon="down" size={16} label={t.files.fetch(file.name)} onPress={() => fetch.mutate(file.id)} />
            )}
          </li>
        ))}
      </ul>
      {pages.hasNextPage ? (
        <Button look="quiet" busy={pages.isFetchingNextPage} onPress={() => void pages.fetchNextPage()}>
          {t.files.more}
        </Button>
      ) : null}
    </section>
  );
}
