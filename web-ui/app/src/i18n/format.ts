// Dates, times and numbers, by the person's own locale habits.

import { t } from "./index";

const DAY_MS = 86_400_000;

// The interface speaks English, but order and clock follow the browser.
const tags = typeof navigator === "undefined" ? ["en"] : navigator.languages.filter((tag) => tag.startsWith("en"));
const tag = tags.length > 0 ? [...tags] : ["en-GB"];

const timeFormat = new Intl.DateTimeFormat(tag, { hour: "numeric", minute: "2-digit" });
const weekdayFormat = new Intl.DateTimeFormat(tag, { weekday: "short" });
const longWeekday = new Intl.DateTimeFormat(tag, { weekday: "long" });
const dayFormat = new Intl.DateTimeFormat(tag, { day: "numeric", month: "short" });
const dayYearFormat = new Intl.DateTimeFormat(tag, { day: "numeric", month: "short", year: "numeric" });
const longDay = new Intl.DateTimeFormat(tag, { weekday: "long", day: "numeric", month: "long" });
const longDayYear = new Intl.DateTimeFormat(tag, { day: "numeric", month: "long", year: "numeric" });
const fullFormat = new Intl.DateTimeFormat(tag, { dateStyle: "long", timeStyle: "medium" });
const numberFormat = new Intl.NumberFormat(tag);

/** Midnight before `at`, local time: equal for two times of one day. */
export function dayOf(at: number): number {
  const date = new Date(at);
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}

function daysAgo(at: number, now: number): number {
  return Math.round((dayOf(now) - dayOf(at)) / DAY_MS);
}

/** "14 June", with the year when it is another one. */
function shortDate(at: number, now: number): string {
  return (new Date(at).getFullYear() === new Date(now).getFullYear() ? dayFormat : dayYearFormat).format(at);
}

/** "14:05" */
export function time(at: number): string {
  return timeFormat.format(at);
}

/** Everything there is to say about a time. */
export function full(at: number): string {
  return fullFormat.format(at);
}

/** For lists: today the time, this week the day, else the date. */
export function shortWhen(at: number, now: number): string {
  const days = daysAgo(at, now);
  if (days === 0) return time(at);
  if (days > 0 && days < 7) return weekdayFormat.format(at);
  return shortDate(at, now);
}

/** For day separators. */
export function dayName(at: number, now: number): string {
  const days = daysAgo(at, now);
  if (days === 0) return t.when.today;
  if (days === 1) return t.when.yesterday;
  if (days > 1 && days < 7) return longWeekday.format(at);
  return new Date(at).getFullYear() === new Date(now).getFullYear() ? longDay.format(at) : longDayYear.format(at);
}

/** "today, 14:05", "14 June, 14:05" */
export function dayAndTime(at: number, now: number): string {
  const days = daysAgo(at, now);
  const day =
    days === 0 ? t.when.todayLower : days === 1 ? t.when.yesterdayLower : days === -1 ? t.when.tomorrowLower : null;
  return t.when.dayTime(day ?? shortDate(at, now), time(at));
}

/** "14 June" or, when near, "today, 14:05". */
export function until(at: number, now: number): string {
  return Math.abs(daysAgo(at, now)) < 2 ? dayAndTime(at, now) : shortDate(at, now);
}

export function count(n: number): string {
  return numberFormat.format(n);
}

/** "30 days", "12 hours", "5 minutes" */
export function duration(seconds: number): string {
  if (seconds >= 2 * 86_400) return t.when.days(Math.round(seconds / 86_400));
  if (seconds >= 2 * 3_600) return t.when.hours(Math.round(seconds / 3_600));
  return t.when.minutes(Math.max(1, Math.round(seconds / 60)));
}
