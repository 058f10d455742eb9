// Files on their way to the node, above the field for messages.

import { cancelUpload, retryUpload, useUploads, type Upload } from "../../api/files";
import { t } from "../../i18n";
import { size, timeLeft } from "../../lib/size";
import { Button, IconButton } from "../../ui/button";
import { Icon } from "../../ui/icon";

function state(upload: Upload): string {
  switch (upload.state) {
    case "waiting":
      return t.files.waits;
    case "uploading":
      return [t.files.of(size(upload.sent), size(upload.size)), timeLeft(upload.size - upload.sent, upload.rate)].filter((part) => part !== "").join(" · ");
    case "sending":
      return t.files.sending;
    case "failed":
      return upload.problem ?? t.composer.failed;
  }
}

function Row({ upload }: { upload: Upload }) {
  const failed = upload.state === "failed";
  return (
    <li className="flex items-center gap-3 px-4 py-2">
      <Icon name="file" className="shrink-0 text-soft" />
      <div className="flex min-w-0 flex-1 flex-col gap-1">
        <bdi className="truncate text-sm">{upload.name}</bdi>
        {failed ? null : <progress className="bar" aria-label={t.files.progress(upload.name)} max={Math.max(1, upload.size)} value={upload.sent} />}
        <span role={failed ? "alert" : undefined} className={`text-xs ${failed ? "text-bad" : "text-soft"}`}>
          {state(upload)}
        </span>
        {failed ? (
          <span className="flex flex-wrap gap-2">
            {upload.metadata ? (
              <Button onPress={() => retryUpload(upload.key, true)}>{t.files.sendAnyway}</Button>
            ) : (
              <Button onPress={() => retryUpload(upload.key)}>{t.composer.retry}</Button>
            )}
          </span>
        ) : null}
      </div>
      <IconButton icon="x" size={16} label={t.files.cancel(upload.name)} onPress={() => cancelUpload(upload.key)} />
    </li>
  );
}

export function Uploads({ conversation }: { conversation: string }) {
  const uploads = useUploads(conversation);
  if (uploads.length === 0) return null;
  return (
    <ul aria-label={t.files.uploads} className="max-h-48 overflow-y-auto border-b border-line">
      {uploads.map((upload) => (
        <Row key={upload.key} upload={upload} />
      ))}
    </ul>
  );
}
