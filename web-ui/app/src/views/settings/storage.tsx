// What files take of the disk, per conversation, and how to free it.

import { useState } from "react";
import { useAction } from "../../api/action";
import { keys } from "../../api/cache";
import { api } from "../../api/client";
import { useStorage } from "../../api/queries";
import type { FileSettings, StoredFiles } from "../../api/types";
import { t } from "../../i18n";
import { size } from "../../lib/size";
import { clean } from "../../lib/text";
import { Button } from "../../ui/button";
import { Confirm } from "../../ui/dialog";
import { Skeleton } from "../../ui/panel";
import { Refusal } from "../../ui/problem";

const MB = 1_000_000;
const CACHE = [250 * MB, 1_000 * MB, 2_000 * MB, 4_000 * MB, 8_000 * MB, 16_000 * MB, 64_000 * MB];
const AUTO = [0, MB, 16 * MB, 64 * MB, 256 * MB, 2_000 * MB];
const RATE = [0, MB / 8, MB / 2, MB, 5 * MB, 20 * MB];

const rate = (value: number) => (value === 0 ? t.storage.noLimit : t.files.rate(size(value)));

type ChoiceProps = { label: string; value: number; options: readonly number[]; name: (value: number) => string; onChange: (value: number) => void };

function Choice({ label, value, options, name, onChange }: ChoiceProps) {
  const all = options.includes(value) ? options : [...options, value].toSorted((a, b) => a - b);
  return (
    <label className="flex min-h-11 items-center justify-between gap-4 text-sm">
      <span>{label}</span>
      <select className="select" value={value} onChange={(event) => onChange(Number(event.target.value))}>
        {all.map((option) => (
          <option key={option} value={option}>
            {name(option)}
          </option>
        ))}
      </select>
    </label>
  );
}

function Row({ stored }: { stored: StoredFiles }) {
  const [asking, setAsking] = useState(false);
  const [open, setOpen] = useState(false);
  const free = useAction(
    async () => {
      for (const file of stored.list.filter((f) => !f.own && !f.keep)) await api.delete(`/files/${file.id}`);
    },
    { refresh: [keys.storage], done: () => setAsking(false) },
  );
  const keep = useAction(({ id, keep: stays }: { id: string; keep: boolean }) => api.put(`/files/${id}/keep`, { keep: stays }), { refresh: [keys.storage] });
  const remove = useAction((id: string) => api.delete(`/files/${id}`), { refresh: [keys.storage] });
  const freeable = stored.bytes - stored.own_bytes - stored.kept_bytes;
  const title = stored.conversation === "" ? t.storage.unsent : clean(stored.title);
  return (
    <li className="flex flex-col gap-2 border-t border-line py-3">
      <div className="flex flex-wrap items-center justify-between gap-3">
        <span className="min-w-0 flex-1">
          <bdi className="block truncate text-sm font-medium">{title}</bdi>
          <span className="text-xs text-soft">{t.storage.files(stored.files, size(stored.bytes), size(stored.own_bytes))}</span>
        </span>
        <Button onPress={() => setOpen(!open)} aria-expanded={open}>
          {open ? t.storage.hide : t.storage.show}
        </Button>
        <Button isDisabled={freeable <= 0} onPress={() => setAsking(true)}>
          {t.storage.free(size(Math.max(0, freeable)))}
        </Button>
      </div>
      {open ? (
        <ul className="flex flex-col gap-1">
          {stored.list.map((file) => (
            <li key={file.id} className="flex items-center gap-3 text-sm">
              <bdi className="min-w-0 flex-1 truncate">{file.name}</bdi>
              <span className="text-xs text-soft tabular-nums">{size(file.size)}</span>
              <label className="flex items-center gap-1 text-xs">
                <input type="checkbox" checked={file.keep || file.own} disabled={file.own} onChange={(event) => keep.mutate({ id: file.id, keep: event.target.checked })} />
                {t.storage.keep}
              </label>
              <Button look="quiet" onPress={() => remove.mutate(file.id)} aria-label={t.storage.removeOne(file.name)}>
                {t.storage.remove}
              </Button>
            </li>
          ))}
        </ul>
      ) : null}
      <Confirm
        title={t.storage.freeTitle(title)}
        body={t.storage.freeBody}
        action={t.storage.free(size(Math.max(0, freeable)))}
        open={asking}
        busy={free.isPending}
        look="primary"
        onClose={() => setAsking(false)}
        onConfirm={() => free.mutate()}
      />
    </li>
  );
}

export function StorageSection() {
  const storage = useStorage();
  const save = useAction((body: FileSettings) => api.put("/storage", body), { refresh: [keys.storage], parallel: true });
  if (storage.data === undefined) return storage.error === null ? <Skeleton rows={3} /> : <Refusal error={storage.error} />;
  const now = save.isPending ? save.variables : storage.data.settings;
  const set = (fields: Partial<FileSettings>) => save.mutate({ ...now, ...fields });
  const total = storage.data.conversations.reduce((sum, c) => sum + c.bytes, 0);
  return (
    <div className="flex flex-col gap-2">
      <p className="text-sm text-soft">{t.storage.summary(size(total), size(storage.data.free_bytes))}</p>
      <Choice label={t.storage.cache} value={now.cache_bytes} options={CACHE} name={size} onChange={(value) => set({ cache_bytes: value })} />
      <Choice label={t.storage.auto} value={now.auto_bytes} options={AUTO} name={(v) => (v === 0 ? t.storage.never : t.storage.upTo(size(v)))} onChange={(value) => set({ auto_bytes: value })} />
      <Choice label={t.storage.down} value={now.down_bytes_per_s} options={RATE} name={rate} onChange={(value) => set({ down_bytes_per_s: value })} />
      <Choice label={t.storage.up} value={now.up_bytes_per_s} options={RATE} name={rate} onChange={(value) => set({ up_bytes_per_s: value })} />
      <ul aria-label={t.storage.perConversation}>
        {storage.data.conversations.map((stored) => (
          <Row key={stored.conversation} stored={stored} />
        ))}
      </ul>
    </div>
  );
}
