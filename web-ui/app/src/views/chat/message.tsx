// One row of a timeline: a message, a notice, or a message on its way.

import { memo, type ReactNode } from "react";
import { DialogTrigger, Button as AriaButton, Popover, Dialog } from "react-aria-components";
import { discard, resend, type Pending } from "../api/outbox";
import type { Message, Quote } from "../api/types";
import { t } from "../i18n";
import { dayName, full, time, until } from "../i18n/format";
import { copyText } from "../lib/copy";
import { setDraft } from "../lib/drafts";
import { offerInvite } from "../lib/handoff";
import { Link, paths } from "../lib/router";
import type { Row } from "../lib/rows";
import { clean, isFewEmoji, parts } from "../lib/text";
import { Avatar } from "../ui/avatar";
import { Icon } from "../ui/icon";
import { stateName, Tick } from "../ui/tick";
import { toast } from "../ui/toasts";
import { DeliveryDetails } from "./delivery";

function Text({ text, tab }: { text: string; tab: number }) {
  return parts(text).map((part, index) => {
    const key = `${index}`;
    switch (part.kind) {
      case "text":
        return <span key={key}>{part.text}</span>;
      case "hidden":
        return (
          <span key={key} className="hidden-char">
            {t.timeline.hidden(part.code)}
          </span>
        );
      case "invite":
        return (
          <Link key={key} href={paths.people} className="link" tabIndex={tab} title={t.timeline.opensInvite} onClick={() => offerInvite(part.text)}>
            {part.text}
          </Link>
        );
      case "link":
        return (
          <span key={key}>
            <a href={part.href} target="_blank" rel="noopener noreferrer" className="link" tabIndex={tab} title={t.timeline.opens(part.host)}>
              <bdi>{part.text}</bdi>
            </a>
            {part.warn ? <span className="real-host">{t.timeline.realHost(part.host)}</span> : null}
          </span>
        );
    }
  });
}

function noticeText(code: string, args: readonly string[]): string {
  const sentences: Record<string, ((a: readonly string[]) => string) | string> = t.notice;
  const build = Object.hasOwn(sentences, code) ? sentences[code] : undefined;
  return typeof build === "function" ? build(args.map(clean)) : t.notice.other;
}

/** The words of a message, for the screen reader and for copying. */
function plainText(message: Message): string {
  switch (message.content.kind) {
    case "text":
      return message.content.text;
    case "notice":
      return noticeText(message.content.code, message.content.args);
    case "newer":
      return t.timeline.newer;
  }
}

function QuoteBox({ quote, tab, onQuote }: { quote: Quote; tab: number; onQuote: ((id: string) => void) | null }) {
  if (quote.author_name === "" && quote.text === "") return <span className="quote text-xs italic">{t.timeline.quoteMissing}</span>;
  const body = (
    <>
      <span className="block truncate text-xs font-semibold">{clean(quote.author_name)}</span>
      <bdi className="line-clamp-2 text-xs">{quote.text}</bdi>
    </>
  );
  if (onQuote === null) return <span className="quote">{body}</span>;
  return (
    <button type="button" className="quote" tabIndex={tab} title={t.timeline.quoteGo(clean(quote.author_name))} onClick={() => onQuote(quote.id)}>
      {body}
    </button>
  );
}

function storedLine(message: Message, now: number): string | null {
  if (message.delivery !== "stored" || message.stored_until === null) return null;
  return t.delivery.storedAt(Math.max(1, message.stored_at), until(message.stored_until, now));
}

function DeliveryButton({ conversation, message, now, tab }: { conversation: string; message: Message; now: number; tab: number }) {
  const state = message.delivery;
  if (state === null) return null;
  return (
    <DialogTrigger>
      <AriaButton aria-label={t.delivery.button(t.delivery.state[state])} excludeFromTabOrder={tab < 0} className="tick-button">
        <Tick state={state} />
      </AriaButton>
      <Popover placement="top end" className="popover w-80 max-w-[92vw]">
        <Dialog aria-label={t.delivery.dialog} className="outline-none">
          <DeliveryDetails conversation={conversation} message={message} summary={storedLine(message, now)} />
        </Dialog>
      </Popover>
    </DialogTrigger>
  );
}

type Props = {
  row: Row;
  place: number;
  size: number;
  conversation: string;
  /** Several people write here: authors are named. */
  group: boolean;
  /** The person may write here. */
  active: boolean;
  now: number;
  tabStop: boolean;
  flash: boolean;
  onFocus: (key: string) => void;
  onReply: (message: Message) => void;
  onQuote: (id: string) => void;
};

function Meta({ at, children }: { at: number; children?: ReactNode }) {
  return (
    <span className="meta" dir="ltr">
      <time title={full(at)} dateTime={new Date(at).toISOString()}>
        {time(at)}
      </time>
      {children}
    </span>
  );
}

function PendingBody({ pending }: { pending: Pending }) {
  const state = pending.state === "sending" ? "sending" : pending.state === "waiting" ? "queued" : "failed";
  return (
    <div className="flex max-w-full flex-col items-end gap-1">
      <div className="bubble mine" data-pending>
        {pending.replyTo === null ? null : <QuoteBox quote={pending.replyTo} tab={0} onQuote={null} />}
        <div dir="auto" className="words">
          <Text text={pending.text} tab={0} />
          <Meta at={pending.at}>
            <Tick state={state} />
          </Meta>
        </div>
      </div>
      {pending.state === "failed" ? (
        <p role="alert" className="flex flex-wrap items-center justify-end gap-x-3 gap-y-1 text-xs text-bad">
          <span>
            {t.composer.failed} {pending.problem}
          </span>
          <AriaButton className="link" onPress={() => resend(pending)}>
            {t.composer.retry}
          </AriaButton>
          <AriaButton
            className="link"
            onPress={() => {
              setDraft(pending.conversation, { text: pending.text, reply: pending.replyTo });
              discard(pending);
              window.dispatchEvent(new CustomEvent("kith:compose"));
            }}
          >
            {t.composer.edit}
          </AriaButton>
          <AriaButton className="link" onPress={() => discard(pending)}>
            {t.composer.discard}
          </AriaButton>
        </p>
      ) : null}
      {pending.state === "waiting" ? <p className="text-xs text-soft">{t.composer.waiting}</p> : null}
    </div>
  );
}

function Tools({ message, tab, onReply }: { message: Message; tab: number; onReply: ((message: Message) => void) | null }) {
  return (
    <div className="tools">
      {onReply === null ? null : (
        <AriaButton aria-label={t.timeline.reply} excludeFromTabOrder={tab < 0} className="tool" onPress={() => onReply(message)}>
          <Icon name="reply" size={16} />
        </AriaButton>
      )}
      <AriaButton
        aria-label={t.timeline.copy}
        excludeFromTabOrder={tab < 0}
        className="tool"
        onPress={() => void copyText(plainText(message)).then((done) => (done ? toast.info(t.timeline.copied) : undefined))}
      >
        <Icon name="copy" size={16} />
      </AriaButton>
    </div>
  );
}

type BodyProps = Omit<Props, "place" | "size" | "flash" | "onFocus"> & { message: Message };

function MessageBody({ message, row, conversation, group, active, now, tabStop, onReply, onQuote }: BodyProps) {
  // The whole feed is one stop for Tab; arrows move inside of it.
  const tab = tabStop ? 0 : -1;
  const { mine, content } = message;
  const text = plainText(message);
  const large = content.kind === "text" && message.reply_to === null && isFewEmoji(text);
  return (
    <div className={`line ${mine ? "line-mine" : ""}`}>
      {group && !mine ? <span className="w-8 shrink-0 self-end">{row.last ? <Avatar id={message.author} name={message.author_name} size="s" /> : null}</span> : null}
      <div className={`bubble ${mine ? "mine" : "theirs"} ${row.last ? "tail" : ""} ${large ? "large" : ""}`}>
        {group && !mine && row.first ? (
          <bdi className="author mb-0.5 block truncate text-xs font-semibold text-accent-text">{clean(message.author_name)}</bdi>
        ) : null}
        {message.reply_to === null ? null : <QuoteBox quote={message.reply_to} tab={tab} onQuote={onQuote} />}
        <div dir="auto" className={`words ${content.kind === "newer" ? "italic text-soft" : ""}`}>
          {content.kind === "text" ? <Text text={text} tab={tab} /> : text}
          <Meta at={message.at}>
            <DeliveryButton conversation={conversation} message={message} now={now} tab={tab} />
          </Meta>
        </div>
      </div>
      <Tools message={message} tab={tab} onReply={content.kind === "text" && active ? onReply : null} />
    </div>
  );
}

function label(row: Row): string {
  if (row.kind === "pending") {
    const state = row.pending.state === "failed" ? t.delivery.state.failed : row.pending.state === "waiting" ? t.delivery.state.queued : t.delivery.sending;
    return t.timeline.unit(t.timeline.you, time(row.pending.at), row.pending.text, state);
  }
  const { message } = row;
  if (message.content.kind === "notice") return plainText(message);
  const quote = message.reply_to === null ? "" : t.timeline.unitReply(clean(message.reply_to.author_name), message.reply_to.text);
  return t.timeline.unit(
    message.mine ? t.timeline.you : clean(message.author_name),
    time(message.at),
    quote + plainText(message),
    message.delivery === null ? "" : stateName(message.delivery),
  );
}

export const MessageRow = memo(function MessageRow({ row, place, size, conversation, group, active, now, tabStop, flash, onFocus, onReply, onQuote }: Props) {
  const message = row.kind === "message" ? row.message : null;
  return (
    <>
      {row.day === null ? null : (
        <div className="day">
          <span>{dayName(row.day, now)}</span>
        </div>
      )}
      {row.unread ? (
        <div className="unread-mark">
          <span>{t.timeline.unread}</span>
        </div>
      ) : null}
      <div
        role="article"
        aria-label={label(row)}
        aria-posinset={place}
        aria-setsize={size}
        tabIndex={tabStop ? 0 : -1}
        data-row={row.key}
        data-first={row.first ? true : undefined}
        className={`message ${flash ? "flash" : ""}`}
        onFocus={(event) => {
          if (event.target === event.currentTarget) onFocus(row.key);
        }}
      >
        {message === null ? null : message.content.kind === "notice" ? (
          <p className="notice" title={full(message.at)}>
            <bdi>{plainText(message)}</bdi>
          </p>
        ) : (
          <MessageBody message={message} row={row} conversation={conversation} group={group} active={active} now={now} tabStop={tabStop} onReply={onReply} onQuote={onQuote} />
        )}
        {row.kind === "pending" ? (
          <div className="line line-mine">
            <PendingBody pending={row.pending} />
          </div>
        ) : null}
      </div>
    </>
  );
});
