// What a message says: with its links and marks for the eye, as plain text for
// the screen reader and for copying; and what it answers.

import type { Message, Quote } from "../../api/types";
import { callText } from "../call/row";
import { t } from "../../i18n";
import { offerInvite } from "../../lib/handoff";
import { Link, paths } from "../../lib/router";
import { length, size } from "../../lib/size";
import { clean, parts } from "../../lib/text";

const QUOTE_CHARS_MAX = 200;

export function Words({ text, tab }: { text: string; tab: number }) {
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
  if (typeof build === "string") return build;
  return build === undefined ? t.notice.other : build(args.map(clean));
}

/** The words of a message, for the screen reader and for copying. */
export function plainText(message: Message): string {
  switch (message.content.kind) {
    case "text":
      return message.content.text;
    case "file": {
      const { file, caption } = message.content;
      const name = file.voice ? t.files.voiceUnit(length(file.duration_ms)) : t.files.unit(file.name, size(file.size));
      return caption === "" ? name : `${name} ${caption}`;
    }
    case "notice":
      return noticeText(message.content.code, message.content.args);
    case "report": {
      const { author_name: author, open, quote, reason } = message.content;
      const [reporter, name] = [clean(message.author_name), clean(author)];
      return open ? t.report.unit(t.report.head(reporter, name), quote, reason) : t.report.settled(reporter, name);
    }
    case "call":
      return callText(message.content);
    case "newer":
      return t.timeline.newer;
  }
}

export function QuoteBox({ quote, tab, onQuote }: { quote: Quote; tab: number; onQuote: ((id: string) => void) | null }) {
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

/** What an answer to this message carries of it; null when it has no words. */
export function quoteOf(message: Message): Quote | null {
  const { content } = message;
  if (content.kind !== "text" && content.kind !== "file") return null;
  const text = content.kind === "text" ? content.text : content.caption === "" ? content.file.name : content.caption;
  return {
    id: message.id,
    author_name: message.mine ? t.timeline.you : message.author_name,
    text: text.slice(0, QUOTE_CHARS_MAX),
  };
}
