// Sizes, rates and lengths of files as people say them.

import { t } from "../i18n";
import { count } from "../i18n/format";

/** "3.2 MB" */
export function size(bytes: number): string {
  const units = t.files.units;
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : 1;
  return `${count(Number(value.toFixed(digits)))} ${units[unit] ?? ""}`;
}

const two = (n: number) => String(n).padStart(2, "0");

/** "1:05", "1:02:03" */
export function length(ms: number): string {
  const s = Math.round(ms / 1000);
  const [hours, minutes, seconds] = [Math.floor(s / 3600), Math.floor(s / 60) % 60, s % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds)}` : `${minutes}:${two(seconds)}`;
}

/** "12 s left", "5 min left"; empty while nobody can tell. */
export function timeLeft(bytes: number, rate: number): string {
  if (rate <= 0) return "";
  const s = Math.ceil(bytes / rate);
  return s < 90 ? t.files.secondsLeft(s) : s < 5400 ? t.files.minutesLeft(Math.round(s / 60)) : t.files.hoursLeft(Math.round(s / 3600));
}
