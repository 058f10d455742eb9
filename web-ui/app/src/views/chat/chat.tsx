// One conversation: header, timeline, composer and, when open, its details.

import { Suspense, lazy, useState } from "react";
import { addStaged, viewed } from "../../api/files";
import { useConversations } from "../../api/queries";
import { useValue } from "../../api/store";
import { t } from "../../i18n";
import { Link, paths } from "../../lib/router";
import { Empty, Skeleton } from "../../ui/panel";
import { toast } from "../../ui/toasts";
import { CatchingUp } from "./catching-up";
import { Composer } from "./composer";
import { Header } from "./header";
import { Timeline } from "./timeline";
import { Viewer } from "./viewer";

const Details = lazy(() => import("../details/details").then((m) => ({ default: m.Details })));

export function Chat({ id, details }: { id: string; details: boolean }) {
  const [over, setOver] = useState(false);
  const seen = useValue(viewed);
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
      <div
        className="chat-main"
        data-drop={over ? true : undefined}
        onDragOver={(event) => {
          if (!event.dataTransfer.types.includes("Files") || conversation.standing !== "active") return;
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={(event) => {
          if (!event.currentTarget.contains(event.relatedTarget as Node | null)) setOver(false);
        }}
        onDrop={(event) => {
          setOver(false);
          const files = [...event.dataTransfer.files];
          if (files.length === 0 || conversation.standing !== "active") return;
          event.preventDefault();
          if (addStaged(id, files) > 0) toast.refusal(t.files.tooMany);
        }}
      >
        {over ? <p className="drop-hint">{t.files.drop}</p> : null}
        <Header conversation={conversation} details={details} />
        <CatchingUp conversation={conversation} />
        <Timeline conversation={conversation} />
        <Composer conversation={conversation} />
      </div>
      <Viewer conversation={id} file={seen?.conversation === id ? seen.file : null} onClose={() => viewed.set(null)} />
      {details ? (
        <Suspense fallback={<aside className="details" aria-label={t.group.details} />}>
          <Details conversation={conversation} />
        </Suspense>
      ) : null}
    </div>
  );
}
