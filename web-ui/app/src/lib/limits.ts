// Bounds of what a person types, and what is wrong beyond them.

import { t } from "../i18n";
import { byteLength } from "./text";

/** A bound that keeps key derivation from a body of any size. */
export const PASSPHRASE_CHARS_MAX = 1024;
const PASSPHRASE_CHARS_MIN = 8;
export const NAME_BYTES_MAX = 128;
/** Names of groups and nicknames. */
export const TITLE_CHARS_MAX = 128;

/** What a member says to a report. */
export const REPORT_REASON_BYTES_MAX = 1024;

/** What is wrong with a new passphrase, if anything. */
export function passphraseProblem(passphrase: string): string | null {
  return [...passphrase].length < PASSPHRASE_CHARS_MIN ? t.onboarding.needPassphrase : null;
}

/** What is wrong with an own name, if anything. */
export function nameProblem(name: string): string | null {
  if (name === "") return t.onboarding.needName;
  return byteLength(name) > NAME_BYTES_MAX ? t.onboarding.nameLong : null;
}
