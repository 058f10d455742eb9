// The left column: who I am, where to go, the connection when it matters, and
// the conversations.

import { memo, useEffect, type ReactNode } from "react";
import { Button, Menu, MenuItem, MenuTrigger, Popover } from "react-aria-components";
import { sentence } from "../api/client";
import { client, windowQuery } from "../api/cache";
import { useContacts, useConversations, useMe, useNetwork } from "../api/queries";
import { useValue } from "../api/store";
import type { Conversation } from "../api/types";
import { t } from "../i18n";
import { shortWhen } from "../i18n/format";
import { isMac } from "../lib/keys";
import { useNow } from "../lib/hooks";
import { streamState } from "../lib/live";
import { useTypingNames } from "../lib/names";
import { Link, navigate, paths, type Route } from "../lib/router";
import { clean } from "../lib/text";
import { useDraft } from "../lib/drafts";
import { Avatar } from "../ui/avatar";
import { Icon } from "../ui/icon";
import { Button as TextButton, Skeleton } from "../ui/kit";
import { stateName, Tick } from "../ui/tick";

function NewMenu() {
  return (
    <MenuTrigger>
      <Button aria-label={t.nav.new} className="icon-button">
        <Icon name="plus" size={20} />
      </Button>
      <Popover placement="bottom end" className="popover">
        <Menu className="menu">
          <MenuItem className="menu-item" onAction={() => navigate(paths.newGroup)}>
            <Icon name="group" /> {t.nav.newGroup}
          </MenuItem>
          <MenuItem className="menu-item" onAction={() => navigate(paths.people)}>
            <Icon name="people" /> {t.nav.invite}
          </MenuItem>
          <MenuItem className="menu-item" onAction={() => navigate(paths.people)}>
            <Icon name="link" /> {t.nav.pasteInvite}
          </MenuItem>
        </Menu>
      </Popover>
    </MenuTrigger>
  );
}

/** One line, only when something is in the way of messages. */
function Connection() {
  const stream = useValue(streamState);
  const network = useNetwork().data;
  if (stream === "lost") {
    return (
      <p role="status" className="banner">
        <Icon name="wifiOff" size={16} className="mt-0.5 shrink-0" />
        <span>{t.connection.lost}</span>
      </p>
    );
  }
  // Without any relay that is how it is meant to be; each message says itself
  // what it waits for.
  if (network === undefined || network.relays.length === 0 || network.relays.some((relay) => relay.up)) return null;
  return (
    <p role="status" className="banner">
      <Icon name="wifiOff" size={16} className="mt-0.5 shrink-0" />
      <span>
        {t.connection.noRelay}{" "}
        <Link href={paths.settings("network")} className="link">
          {t.connection.check}
        </Link>
      </span>
    </p>
  );
}

function PreviewLine({ conversation, open }: { conversation: Conversation; open: boolean }) {
  const typing = useTypingNames(conversation.id);
  const draft = useDraft(conversation.id);
  const { last, standing, kind } = conversation;
  if (typing.length > 0) return <span className="truncate text-accent-text">{t.connection.typing(typing)}</span>;
  if (!open && draft.text !== "") {
    return (
      <span className="truncate">
        <span className="text-warn">✎ </span>
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
            {last === null ? null : <time className="shrink-0 text-xs text-soft tabular-nums">{shortWhen(last.at, now)}</time>}
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

function Conversations({ openId }: { openId: string | null }) {
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
        <TextButton onPress={() => void conversations.refetch()}>{t.gate.retry}</TextButton>
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
          <kbd className="key pointer-coarse:hidden">{isMac ? "⌘ K" : "Ctrl K"}</kbd>
        </Button>
      </div>
      <Connection />
      <Conversations openId={route.view === "chat" ? route.id : null} />
      {children}
    </nav>
  );
}
