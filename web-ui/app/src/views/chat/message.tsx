// One row of a timeline: a message, a notice, or a message on its way.

import { memo } from "react";
import { Button as AriaButton } from "react-aria-components";
import type { Message } from "../../api/types";
import { t } from "../../i18n";
import { dayName, full, time } from "../../i18n/format";
import { copyText } from "../../lib/copy";
import { sameRow, type Row } from "../../lib/rows";
import { clean, isFewEmoji } from "../../lib/text";
import { Avatar } from "../../ui/avatar";
import { Icon } from "../../ui/icon";
import { stateName } from "../../ui/tick";
import { CallRow } from "../call/row";
import { DeliveryButton } from "./delivery";
import { FileBody } from "./file";
import { MessageMenu } from "./message-menu";
import { Meta } from "./meta";
import { PendingBody, pendingState } from "./pending";
import { ReportRow } from "./report";
import { plainText, QuoteBox, Words } from "./words";

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
  onReport: (message: Message) => void;
};

type ToolsProps = {
  message: Message;
  tab: number;
  onReply: ((message: Message) => void) | null;
  onReport: ((message: Message) => void) | null;
};

function Tools({ message, tab, onReply, onReport }: ToolsProps) {
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
        onPress={() => void copyText(plainText(message))}
      >
        <Icon name="copy" size={16} />
      </AriaButton>
      {onReport === null ? null : <MessageMenu tab={tab} onReport={() => onReport(message)} />}
    </div>
  );
}

type BodyProps = Omit<Props, "place" | "size" | "flash" | "onFocus"> & { message: Message };

function MessageBody({ message, row, conversation, group, active, now, tabStop, onReply, onQuote, onReport }: BodyProps) {
  // The whole feed is one stop for Tab; arrows move inside of it.
  const tab = tabStop ? 0 : -1;
  const { mine, content } = message;
  const text = plainText(message);
  const large = content.kind === "text" && message.reply_to === null && isFewEmoji(text);
  return (
    <div className={`line ${mine ? "line-mine" : ""}`}>
      {group && !mine ? <span className="w-8 shrink-0 self-end">{row.last ? <Avatar id={message.author} name={message.author_name} size="s" /> : null}</span> : null}
      <div className={`bubble ${mine ? "mine" : "theirs"} ${row.last ? "tail" : ""} ${large ? "large" : ""} ${content.kind === "file" ? "with-file" : ""}`}>
        {group && !mine && row.first ? (
          <bdi className="author mb-0.5 block truncate text-xs font-semibold text-accent-text">{clean(message.author_name)}</bdi>
        ) : null}
        {message.reply_to === null ? null : <QuoteBox quote={message.reply_to} tab={tab} onQuote={onQuote} />}
        {content.kind === "file" ? <FileBody file={content.file} conversation={conversation} tab={tab} /> : null}
        <div dir="auto" className={`words ${content.kind === "newer" ? "italic text-soft" : ""}`}>
          {content.kind === "text" ? <Words text={text} tab={tab} /> : content.kind === "file" ? <Words text={content.caption} tab={tab} /> : text}
          <Meta at={message.at}>
            <DeliveryButton conversation={conversation} message={message} now={now} tab={tab} />
          </Meta>
        </div>
      </div>
      <Tools
        message={message}
        tab={tab}
        onReply={(content.kind === "text" || content.kind === "file") && active ? onReply : null}
        onReport={message.may_report && active ? onReport : null}
      />
    </div>
  );
}

function label(row: Row): string {
  if (row.kind === "pending") {
    return t.timeline.unit(t.timeline.you, time(row.pending.at), row.pending.text, stateName(pendingState(row.pending)));
  }
  const { message } = row;
  if (message.content.kind === "notice" || message.content.kind === "report") return plainText(message);
  if (message.content.kind === "call") return t.call.unit(plainText(message), time(message.at));
  const quote = message.reply_to === null ? "" : t.timeline.unitReply(clean(message.reply_to.author_name), message.reply_to.text);
  return t.timeline.unit(
    message.mine ? t.timeline.you : clean(message.author_name),
    time(message.at),
    quote + plainText(message),
    message.delivery === null ? "" : stateName(message.delivery),
  );
}

function Unit({ row, place, size, conversation, group, active, now, tabStop, flash, onFocus, onReply, onQuote, onReport }: Props) {
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
        ) : message.content.kind === "call" ? (
          <CallRow conversation={conversation} message={message} content={message.content} tab={tabStop ? 0 : -1} />
        ) : message.content.kind === "report" ? (
          <ReportRow conversation={conversation} message={message} content={message.content} tab={tabStop ? 0 : -1} onQuote={onQuote} />
        ) : (
          <MessageBody
            message={message}
            row={row}
            conversation={conversation}
            group={group}
            active={active}
            now={now}
            tabStop={tabStop}
            onReply={onReply}
            onQuote={onQuote}
            onReport={onReport}
          />
        )}
        {row.kind === "pending" ? (
          <div className="line line-mine">
            <PendingBody pending={row.pending} />
          </div>
        ) : null}
      </div>
    </>
  );
}

/** Drawn again only when it shows something else. */
export const MessageRow = memo(Unit, (before, after) =>
  (Object.keys(after) as (keyof Props)[]).every((name) => (name === "row" ? sameRow(before.row, after.row) : Object.is(before[name], after[name]))),
);
