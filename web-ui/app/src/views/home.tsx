// Nothing is open: say the next step.

import { useConversations, useMe, useNetwork } from "../api/queries";
import { t } from "../i18n";
import { jumpKey } from "../lib/keys";
import { Link, paths } from "../lib/router";
import { clean } from "../lib/text";
import { Icon } from "../ui/icon";
import { Empty } from "../ui/panel";

export function Home() {
  const conversations = useConversations().data;
  const me = useMe().data;
  const network = useNetwork().data;
  if (conversations === undefined || me === undefined) return null;
  if (conversations.length > 0) {
    return (
      <Empty icon="chat" title={t.home.title}>
        <p>
          {t.home.body} <kbd className="key">{jumpKey}</kbd> {t.home.bodyAfter}
        </p>
      </Empty>
    );
  }
  return (
    <Empty icon="people" title={t.home.firstTitle(clean(me.name))}>
      <p>{t.home.firstBody}</p>
      <div className="flex flex-wrap justify-center gap-2">
        <Link href={paths.people} className="button button-primary">
          <Icon name="people" size={16} />
          {t.nav.invite}
        </Link>
      </div>
      {network !== undefined && network.relays.length === 0 ? (
        <div className="mt-4 flex flex-col items-center gap-2 rounded-lg border border-line p-4">
          <p className="font-semibold text-ink">{t.home.noRelayTitle}</p>
          <p>{t.home.noRelayBody}</p>
          <Link href={paths.settings("network")} className="link">
            {t.home.addRelay}
          </Link>
        </div>
      ) : null}
    </Empty>
  );
}
