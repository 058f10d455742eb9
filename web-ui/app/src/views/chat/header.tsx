// The head of a conversation: with whom, by which way, the link to its details.

import { useEffect, useRef } from "react";
import { useNetwork } from "../../api/queries";
import type { Conversation, Network } from "../../api/types";
import { t } from "../../i18n";
import { useValue } from "../../api/store";
import { calling, shown } from "../../lib/call/session";
import { Link, paths } from "../../lib/router";
import { clean } from "../../lib/text";
import { useTyping } from "../../lib/typing";
import { Avatar } from "../../ui/avatar";
import { IconButton } from "../../ui/button";
import { Icon } from "../../ui/icon";
import { BackLink } from "../page";
import { TypingNames } from "../typing-names";

/** How messages travel to a person right now, as a sentence. */
function pathSentence(network: Network, peer: string): string {
  const link = network.peers.find((p) => p.account === peer);
  if (link === undefined) return network.relays.some((r) => r.up) ? t.connection.away : t.connection.awayNoRelay;
  return link.path === "circuit" ? t.connection.circuit : t.connection.direct;
}

function Subtitle({ conversation }: { conversation: Conversation }) {
  const typing = useTyping(conversation.id);
  const network = useNetwork().data;
  if (typing.length > 0) {
    return (
      <span className="text-accent-text">
        <TypingNames accounts={typing} />
      </span>
    );
  }
  if (conversation.kind === "group") return <>{t.connection.members(conversation.member_count)}</>;
  if (network === undefined || conversation.peer === null) return null;
  return <>{pathSentence(network, conversation.peer)}</>;
}

export function Header({ conversation, details }: { conversation: Conversation; details: boolean }) {
  const { id, title, kind, peer } = conversation;
  const inCall = useValue(shown) !== null;
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    // With a keyboard the composer takes the focus; on touch that would raise
    // the keyboard of the screen.
    const active = document.activeElement;
    if (active === null || active === document.body) heading.current?.focus({ preventScroll: true });
  }, []);
  return (
    <header className="flex h-14 shrink-0 items-center gap-3 border-b border-line px-4">
      <BackLink href={paths.home} />
      <Avatar id={peer ?? id} name={title} group={kind === "group"} size="s" />
      <div className="min-w-0 flex-1">
        <h1 ref={heading} tabIndex={-1} className="truncate text-sm outline-none leading-5 font-semibold">
          <bdi>{clean(title)}</bdi>
        </h1>
        <p className="truncate text-xs text-soft">
          <Subtitle conversation={conversation} />
        </p>
      </div>
      {kind === "direct" && peer !== null && conversation.standing === "active" ? (
        <>
          <IconButton icon="phone" label={t.call.callVoice(clean(title))} isDisabled={inCall} onPress={() => calling.dial({ conversation: id, peer, name: title }, false)} />
          <IconButton icon="camera" label={t.call.callVideo(clean(title))} isDisabled={inCall} onPress={() => calling.dial({ conversation: id, peer, name: title }, true)} />
        </>
      ) : null}
      <Link
        href={details ? paths.chat(id) : paths.details(id)}
        aria-label={t.timeline.details}
        title={t.timeline.details}
        aria-expanded={details}
        className="icon-button"
      >
        <Icon name="info" size={20} />
      </Link>
    </header>
  );
}
