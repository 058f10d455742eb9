// What this browser remembers: appearance, width of the list, notifications.
// Never anything that a person wrote.

import { Value } from "../api/store";

export const themes = ["system", "light", "dark", "contrast"] as const;
export type Theme = (typeof themes)[number];

function read(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function write(key: string, value: string) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // A browser that remembers nothing still works.
  }
}

export function readTheme(): Theme {
  const stored = read("kith.theme");
  return themes.find((theme) => theme === stored) ?? "system";
}

export function applyTheme(theme: Theme) {
  document.documentElement.dataset["theme"] = theme;
}

export const theme = new Value<Theme>(readTheme());

export function setTheme(next: Theme) {
  write("kith.theme", next);
  applyTheme(next);
  theme.set(next);
}

export const LIST_WIDTH_MIN = 240;
export const LIST_WIDTH_MAX = 480;

export function clampWidth(px: number): number {
  return Math.round(Math.min(LIST_WIDTH_MAX, Math.max(LIST_WIDTH_MIN, px)));
}

export function readListWidth(): number {
  const stored = Number(read("kith.list"));
  return Number.isFinite(stored) && stored > 0 ? clampWidth(stored) : 320;
}

export function writeListWidth(px: number) {
  write("kith.list", String(px));
}

export const notifications = new Value<boolean>(read("kith.notify") === "yes");

export function setNotifications(wanted: boolean) {
  write("kith.notify", wanted ? "yes" : "no");
  notifications.set(wanted);
}
