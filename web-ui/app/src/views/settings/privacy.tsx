// What others learn without a message.

import { useAction } from "../../api/action";
import { keys } from "../../api/cache";
import { api } from "../../api/client";
import type { Settings } from "../../api/types";
import { t } from "../../i18n";
import { Switch } from "../../ui/field";

export function Privacy({ settings }: { settings: Settings }) {
  const save = useAction((body: Settings) => api.put("/settings", body), { refresh: [keys.settings], parallel: true });
  // What was just chosen, until the node says the same.
  const now = save.isPending ? save.variables : settings;
  const set = (fields: Partial<Settings>) => save.mutate({ ...now, ...fields });
  return (
    <div className="flex flex-col">
      <Switch
        label={t.settings.readReceipts}
        hint={t.settings.readReceiptsHint}
        checked={now.read_receipts}
        onChange={(checked) => set({ read_receipts: checked })}
      />
      <Switch label={t.settings.typing} hint={t.settings.typingHint} checked={now.typing} onChange={(checked) => set({ typing: checked })} />
      <Switch label={t.settings.direct} hint={t.settings.directHint} checked={now.direct} onChange={(checked) => set({ direct: checked })} />
    </div>
  );
}
