// Which Kith this is, the ids, the keys of the keyboard.

import { useHealth } from "../../api/queries";
import type { Me } from "../../api/types";
import { t } from "../../i18n";
import { Facts } from "../../ui/panel";
import { KeyRows } from "../keyboard";

export function About({ me }: { me: Me | undefined }) {
  const health = useHealth().data;
  return (
    <div className="flex flex-col gap-4 text-sm">
      <p className="text-soft">{health === undefined ? null : t.settings.version(health.version)}</p>
      {me === undefined ? null : (
        <Facts
          rows={[
            [t.settings.account, me.account],
            [t.settings.device, me.device],
          ]}
        />
      )}
      <h3 className="font-medium">{t.keyboard.title}</h3>
      <KeyRows />
    </div>
  );
}
