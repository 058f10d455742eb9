// The left column: who I am, where to go, the connection when it matters, and
// the conversations.

import type { ReactNode } from "react";
import { Button } from "react-aria-components";
import { useContacts, useMe } from "../../api/queries";
import { t } from "../../i18n";
import { jumpKey } from "../../lib/keys";
import { Link, paths, type Route } from "../../lib/router";
import { clean } from "../../lib/text";
import { Avatar } from "../../ui/avatar";
import { Icon } from "../../ui/icon";
import { Connection } from "./connection";
import { Conversations } from "./conversations";
import { NewMenu } from "./new-menu";

export function Sidebar({ route, onJump, children }: { route: Route; onJump: () => void; children: ReactNode }) {
  const me = useMe().data;
  const requests = (useContacts().data ?? []).filter((c) => c.state === "incoming").length;
  return (
    <nav aria-label={t.nav.main} className="sidebar">
      <div className="flex items-center gap-1 px-3 pt-3 pb-2">
        <span className="mr-auto flex min-w-0 items-center gap-2.5 p-1">
          <Avatar id={me?.account ?? ""} name={me?.name ?? " "} size="s" />
          <span className="truncate text-sm font-semibold">{clean(me?.name ?? "")}</span>
        </span>
        <Link
          href={paths.people}
          title={t.nav.people}
          aria-current={route.view === "people" || route.view === "person" ? "page" : undefined}
          className="icon-button relative"
        >
          <Icon name="people" size={20} />
          <span className="sr-only">{t.nav.people}</span>
          {requests > 0 ? (
            <span className="dot">
              <span aria-hidden="true">{requests}</span>
              <span className="sr-only">{t.nav.requests(requests)}</span>
            </span>
          ) : null}
        </Link>
        <Link
          href={paths.settings()}
          aria-label={t.nav.settings}
          title={t.nav.settings}
          aria-current={route.view === "settings" ? "page" : undefined}
          className="icon-button"
        >
          <Icon name="settings" size={20} />
        </Link>
        <NewMenu />
      </div>
      <div className="px-3 pb-2">
        <Button onPress={onJump} className="jump">
          <Icon name="search" size={16} />
          <span className="flex-1 text-left">{t.nav.jump}</span>
          <kbd className="key pointer-coarse:hidden">{jumpKey}</kbd>
        </Button>
      </div>
      <Connection />
      <Conversations openId={route.view === "chat" ? route.id : null} />
      {children}
    </nav>
  );
}
