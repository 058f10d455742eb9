// The conversations, newest first, each with what was said last.

import { memo, useEffect } from "react";
import { client } from "../../api/cache";
import { sentence } from "../../api/client";
import { windowQuery } from "../../api/paging";
import { useConversations } from "../../api/queries";
import type { Conversation } from "../../api/types";
import { t } from "../../i18n";
import { shortWhen } from "../../i18n/format";
import { useDraft } from "../../lib/drafts";
import { useNow } from "../../lib/hooks";
import { Link, paths } from "../../lib/router";
import { clean } from "../../lib/text";
import { useTyping } from "../../lib/typing";
import { Avatar } from "../../ui/avatar";
import { Button } from "../../ui/button";
import { Icon } from "../../ui/icon";
import { Skeleton } from "../../ui/panel";
import { stateName, Tick } from "../../ui/tick";
import { TypingNames } from "../typing-names";

function PreviewLine({ conversation, open }: { conversation: Conversation; open: boolean }) {
  const typing = useTyping(conversation.id);
  const draft = useDraft(conversation.id);
  const { last, standing, kind } = conversation;
  if (typing.length > 0) {
    return (
      <span className="truncate text-accent-text">
        <TypingNames accounts={typing} />
      </span>
    );
  }
  if (!open && draft.text !== "") {
    return (
      <span className="truncate">
        <span className="text-warn">
          <span aria-hidden="true">✎ </span>
          <span className="sr-only">{t.list.draft}: </span>
        </span>
        {draft.text.slice(0, 200)}
      </span>
    );
  }
  if (standing === "joining") return <span className="truncate italic">{t.list.joining}</span>;
  if (standing === "removed") return <span className="truncate italic">{t.list.removed}</span>;
  if (standing === "left") return <span className="truncate italic">{t.list.left}</span>;
  if (last === null) return <span className="truncate italic">{t.list.nothing}</span>;
  const author = last.author === null && last.state !== null ? t.list.you : kind === "group" && last.author !== null ? clean(last.author) : null;
  return (
    <>
      {last.state === null ? null : (
        <>
          <Tick state={last.state} />
          <span className="sr-only">{stateName(last.state)}. </span>
        </>
      )}
      <bdi className="truncate text-left">{author === null || last.state !== null ? last.text : t.list.preview(author, last.text)}</bdi>
    </>
  );
}

const Item = memo(function Item({ conversation, open, now }: { conversation: Conversation; open: boolean; now: number }) {
  const { id, title, unread, last } = conversation;
  return (
    <li className="list-row">
      <Link
        href={paths.chat(id)}
        aria-current={open ? "page" : undefined}
        onPointerEnter={() => void client.prefetchQuery(windowQuery(id))}
        className="entry"
      >
        <Avatar id={conversation.peer ?? id} name={title} group={conversation.kind === "group"} />
        <span className="flex min-w-0 flex-1 flex-col">
          <span className="flex items-baseline gap-2">
            <bdi className={`min-w-0 flex-1 truncate text-left text-sm ${unread > 0 ? "font-semibold" : "font-medium"}`}>{clean(title)}</bdi>
            <span className="sr-only">. </span>
            {last === null ? null : (
              <time dateTime={new Date(last.at).toISOString()} className="shrink-0 text-xs text-soft tabular-nums">
                {shortWhen(last.at, now)}
              </time>
            )}
          </span>
          <span className="flex h-5 items-center gap-1 text-sm text-soft">
            <span className="sr-only">. </span>
            <PreviewLine conversation={conversation} open={open} />
            {unread > 0 ? (
              <span className="badge ml-auto">
                <span aria-hidden="true">{unread > 999 ? "999+" : unread}</span>
                <span className="sr-only">{t.list.unread(unread)}</span>
              </span>
            ) : null}
          </span>
        </span>
      </Link>
    </li>
  );
});

/** Arrow keys inside of the list. */
function move(event: React.KeyboardEvent<HTMLUListElement>) {
  if (event.altKey || (event.key !== "ArrowDown" && event.key !== "ArrowUp" && event.key !== "Home" && event.key !== "End")) return;
  const items = [...event.currentTarget.querySelectorAll<HTMLElement>("a")];
  const index = items.findIndex((item) => item === document.activeElement);
  if (index < 0) return;
  event.preventDefault();
  const next = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: items.length - 1 }[event.key];
  items[next]?.focus();
}

export function Conversations({ openId }: { openId: string | null }) {
  const conversations = useConversations();
  const now = useNow();
  const ready = conversations.data !== undefined;
  useEffect(() => {
    if (ready) performance.mark("kith:list");
  }, [ready]);
  if (conversations.data === undefined && conversations.error !== null) {
    return (
      <div role="alert" className="flex flex-col items-start gap-3 px-5 py-6 text-sm">
        <p>{sentence(conversations.error)}</p>
        <Button onPress={() => void conversations.refetch()}>{t.gate.retry}</Button>
      </div>
    );
  }
  if (conversations.data === undefined) return <Skeleton rows={8} />;
  if (conversations.data.length === 0) {
    return (
      <div className="flex flex-col items-start gap-3 px-5 py-6 text-sm text-soft">
        <p className="text-base font-semibold text-ink">{t.list.emptyTitle}</p>
        <p>{t.list.emptyBody}</p>
        <Link href={paths.people} className="button button-primary wide:hidden">
          <Icon name="people" size={16} />
          {t.nav.invite}
        </Link>
      </div>
    );
  }
  return (
    <ul aria-label={t.list.label} data-list className="list" onKeyDown={move}>
      {conversations.data.map((conversation) => (
        <Item key={conversation.id} conversation={conversation} open={conversation.id === openId} now={now} />
      ))}
    </ul>
  );
}
