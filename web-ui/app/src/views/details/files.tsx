// Files of a conversation that are here: pictures to look at, all to be saved.

import { contentUrl } from "../../api/files";
import { useStorage } from "../../api/queries";
import type { NodeFile } from "../../api/types";
import { t } from "../../i18n";
import { size } from "../../lib/size";
import { Button } from "../../ui/button";
import { Icon } from "../../ui/icon";
import { kindOf } from "../chat/file";

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

export function Files({ conversation }: { conversation: string }) {
  const storage = useStorage().data;
  const files = storage?.conversations.find((c) => c.conversation === conversation)?.list ?? [];
  if (files.length === 0) return null;
  const pictures = files.filter((file) => kindOf(file) === "image");
  const others = files.filter((file) => kindOf(file) !== "image");
  return (
    <section aria-label={t.files.here} className="flex flex-col gap-3">
      <div className="flex items-center justify-between gap-2">
        <h3 className="text-sm font-semibold">{t.files.here}</h3>
        <Button look="quiet" icon="down" onPress={() => saveAll(files)}>
          {t.files.saveAll}
        </Button>
      </div>
      {pictures.length === 0 ? null : (
        <ul className="gallery">
          {pictures.map((file) => (
            <li key={file.id}>
              <a href={contentUrl(file.id)} target="_blank" rel="noopener noreferrer" aria-label={t.files.open(file.name)} title={file.name}>
                <img src={contentUrl(file.id)} alt={file.name} loading="lazy" decoding="async" />
              </a>
            </li>
          ))}
        </ul>
      )}
      <ul className="flex flex-col gap-1">
        {others.map((file) => (
          <li key={file.id} className="flex items-center gap-2 text-sm">
            <Icon name="file" size={16} className="shrink-0 text-soft" />
            <bdi className="min-w-0 flex-1 truncate" title={file.name}>
              {file.name}
            </bdi>
            <span className="text-xs text-soft tabular-nums">{size(file.size)}</span>
            <a className="icon-button" href={contentUrl(file.id, true)} download={file.name} aria-label={t.files.save(file.name)}>
              <Icon name="down" size={16} />
            </a>
          </li>
        ))}
      </ul>
    </section>
  );
}
