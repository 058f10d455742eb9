// The list of keys.

import { t } from "../i18n";
import { isMac } from "../lib/keys";
import { Dialog } from "../ui/dialog";

export function KeyRows() {
  return (
    <dl className="flex flex-col gap-2 text-sm">
      {t.keyboard.rows.map((row) => (
        <div key={row.what} className="flex items-center justify-between gap-4">
          <dt className="order-2 flex shrink-0 gap-1">
            {(isMac ? row.mac : row.keys).map((key) => (
              <kbd key={key} className="key">
                {key}
              </kbd>
            ))}
          </dt>
          <dd className="order-1">{row.what}</dd>
        </div>
      ))}
    </dl>
  );
}

export function Keyboard({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title={t.keyboard.title} open onClose={onClose}>
      <KeyRows />
    </Dialog>
  );
}
