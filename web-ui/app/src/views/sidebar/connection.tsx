// The connection in one line, only when something is in the way of messages.

import type { ReactNode } from "react";
import { useNetwork } from "../../api/queries";
import { useValue } from "../../api/store";
import { t } from "../../i18n";
import { Link, paths } from "../../lib/router";
import { streamState } from "../../lib/stream";
import { Icon } from "../../ui/icon";

function Banner({ children }: { children: ReactNode }) {
  return (
    <p role="status" className="banner">
      <Icon name="wifiOff" size={16} className="mt-0.5 shrink-0" />
      <span>{children}</span>
    </p>
  );
}

export function Connection() {
  const stream = useValue(streamState);
  const network = useNetwork().data;
  if (stream === "lost") return <Banner>{t.connection.lost}</Banner>;
  // Without any relay that is how it is meant to be; each message says itself
  // what it waits for.
  if (network === undefined || network.relays.length === 0 || network.relays.some((relay) => relay.up)) return null;
  return (
    <Banner>
      {t.connection.noRelay}{" "}
      <Link href={paths.settings("network")} className="link">
        {t.connection.check}
      </Link>
    </Banner>
  );
}
