// One conversation: header, timeline, composer and, when open, its details.

import { Suspense, lazy } from "react";
import { useConversations } from "../../api/queries";
import { t } from "../../i18n";
import { Link, paths } from "../../lib/router";
import { Empty, Skeleton } from "../../ui/panel";
import { CatchingUp } from "./catching-up";
import { Composer } from "./composer";
import { Header } from "./header";
import { Timeline } from "./timeline";

const Details = lazy(() => import("../details/details").then((m) => ({ default: m.Details })));

export function Chat({ id, details }: { id: string; details: boolean }) {
  const conversations = useConversations().data;
  const conversation = conversations?.find((c) => c.id === id);
  if (conversation === undefined) {
    if (conversations === undefined) return <Skeleton />;
    return (
      <Empty icon="chat" title={t.timeline.notFound}>
        <p>{t.timeline.notFoundBody}</p>
        <Link href={paths.home} className="button button-plain">
          {t.app.back}
        </Link>
      </Empty>
    );
  }
  return (
    <div className="chat" data-details={details ? "open" : undefined}>
      <div className="chat-main">
        <Header conversation={conversation} details={details} />
        <CatchingUp conversation={conversation} />
        <Timeline conversation={conversation} />
        <Composer conversation={conversation} />
      </div>
      {details ? (
        <Suspense fallback={<aside className="details" aria-label={t.group.details} />}>
          <Details conversation={conversation} />
        </Suspense>
      ) : null}
    </div>
  );
}
