// Text from other people: links found in it, and tricks in it made visible.
// Nothing here makes HTML; the answer is a list of parts to render.

/** A piece of a message. */
export type Part =
  | { kind: "text"; text: string }
  /** A character that would change what the eye sees; `code` names it. */
  | { kind: "hidden"; code: string }
  /** `host` is the real one, in ASCII; `warn` when the shown text may mislead. */
  | { kind: "link"; text: string; href: string; host: string; warn: boolean }
  /** An invite of Kith's own; opens inside of the app. */
  | { kind: "invite"; text: string };

/** Embeddings and overrides reorder what follows, for instance file endings. */
const BIDI_TRICKS = /[\u202A-\u202E\u2066-\u2069]/gu;
/** Characters without width that can hide inside an address. */
const INVISIBLE = /[\u00AD\u034F\u061C\u115F\u1160\u17B4\u17B5\u180B-\u180F\u200B-\u200F\u202A-\u202E\u2060-\u206F\u3164\uFE00-\uFE0F\uFEFF\uFFA0\u{E0000}-\u{E0FFF}]/u;

const URL_START = /\b(?:https?:\/\/|www\.|kith-invite:)/giu;
/** How long an address may be before it is left as text. */
const URL_CHARS_MAX = 2048;
/** Links per message; more stay text. */
const LINKS_MAX = 200;

function isEnd(char: string): boolean {
  return /[\s<>"`{}|\\^\u0000-\u001F\u007F]/u.test(char) || INVISIBLE.test(char);
}

/** Takes off what rather belongs to the sentence: full stops, closing brackets. */
function trimEnd(url: string): string {
  let end = url.length;
  while (end > 0) {
    const char = url[end - 1] ?? "";
    if (/[.,;:!?'"“”‘’…*~]/u.test(char)) {
      end -= 1;
      continue;
    }
    const open = char === ")" ? "(" : char === "]" ? "[" : null;
    if (open !== null) {
      const body = url.slice(0, end);
      if (body.split(char).length > body.split(open).length) {
        end -= 1;
        continue;
      }
    }
    break;
  }
  return url.slice(0, end);
}

function link(text: string): Part | null {
  if (/^kith-invite:/iu.test(text)) return /^kith-invite:[\w\-+/=.#?&]{16,}$/iu.test(text) ? { kind: "invite", text } : null;
  const candidate = /^www\./iu.test(text) ? `https://${text}` : text;
  let url: URL;
  try {
    url = new URL(candidate);
  } catch {
    return null;
  }
  if ((url.protocol !== "https:" && url.protocol !== "http:") || url.hostname === "") return null;
  if (!url.hostname.includes(".") && !url.hostname.includes(":") && url.hostname !== "localhost") return null;
  // What the eye takes for the host: everything up to the path.
  const shown = (candidate.replace(/^https?:\/\//iu, "").split(/[/?#]/u)[0] ?? "").toLowerCase();
  const warn = shown !== url.host && shown.replace(/:(?:80|443)$/u, "") !== url.host;
  return { kind: "link", text, href: url.href, host: url.host, warn };
}

function pushText(out: Part[], text: string) {
  let last = 0;
  for (const match of text.matchAll(BIDI_TRICKS)) {
    if (match.index > last) out.push({ kind: "text", text: text.slice(last, match.index) });
    const point = match[0].codePointAt(0) ?? 0;
    // Isolates balance themselves and are what well-behaved programs insert.
    if (point < 0x2066) out.push({ kind: "hidden", code: `U+${point.toString(16).toUpperCase()}` });
    last = match.index + match[0].length;
  }
  if (last < text.length) out.push({ kind: "text", text: text.slice(last) });
}

/** Splits a message into text, links and marks for hidden characters. */
export function parts(text: string): Part[] {
  const out: Part[] = [];
  let last = 0;
  let links = 0;
  // Each character is looked at once, whatever the message is made of.
  let scanned = 0;
  for (const match of text.matchAll(URL_START)) {
    if (match.index < scanned || links >= LINKS_MAX) continue;
    let end = match.index;
    for (const char of text.slice(match.index)) {
      if (isEnd(char)) break;
      end += char.length;
    }
    scanned = end;
    const url = end - match.index > URL_CHARS_MAX ? "" : trimEnd(text.slice(match.index, end));
    const part = link(url);
    if (part === null) continue;
    if (match.index > last) pushText(out, text.slice(last, match.index));
    out.push(part);
    links += 1;
    last = match.index + url.length;
  }
  if (last < text.length) pushText(out, text.slice(last));
  return out;
}

/** A name for a place where it stands among our own words: one line, no tricks. */
export function clean(name: string): string {
  return name
    .replace(BIDI_TRICKS, "")
    .replace(/[\u0000-\u001F\u007F\u2028\u2029]+/gu, " ")
    .trim();
}

const segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** One to three emoji and nothing else: they are shown large. */
export function isFewEmoji(text: string): boolean {
  if (text.length > 40 || !/\p{Extended_Pictographic}|\p{Regional_Indicator}/u.test(text)) return false;
  let n = 0;
  for (const { segment } of segmenter.segment(text.trim())) {
    if (!/^(?:\p{Extended_Pictographic}|\p{Regional_Indicator})/u.test(segment)) return false;
    n += 1;
    if (n > 3) return false;
  }
  return n > 0;
}

function letter(word: string | undefined): string {
  if (word === undefined) return "";
  for (const { segment } of segmenter.segment(word)) if (/[\p{L}\p{N}\p{Extended_Pictographic}]/u.test(segment)) return segment;
  return "";
}

/** One or two letters that stand for a name. */
export function initials(name: string): string {
  const words = clean(name)
    .split(/[\s\-_.]+/u)
    .filter((word) => /[\p{L}\p{N}\p{Extended_Pictographic}]/u.test(word));
  const first = letter(words[0]);
  const last = words.length > 1 ? letter(words[words.length - 1]) : "";
  return (first + last).toLocaleUpperCase() || "?";
}

const encoder = new TextEncoder();

/** Size in bytes as it is sent. */
export function byteLength(text: string): number {
  return encoder.encode(text).length;
}
