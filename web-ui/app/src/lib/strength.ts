// A hint, not a judge: roughly how hard a passphrase is to guess.

export type Strength = "empty" | "weak" | "fair" | "good" | "strong";

const COMMON = /password|passwort|qwert|12345|letmein|iloveyou|welcome|admin|abc123|dragon|monkey|football|kith/giu;

/** Estimated bits: characters by their variety, words by a word list's size. */
function bits(passphrase: string): number {
  const text = passphrase.replace(COMMON, "#").replace(/(.)\1{2,}/gu, "$1$1");
  let pool = 0;
  if (/\p{Ll}/u.test(text)) pool += 26;
  if (/\p{Lu}/u.test(text)) pool += 26;
  if (/\p{N}/u.test(text)) pool += 10;
  if (/[^\p{L}\p{N}\s]/u.test(text)) pool += 20;
  if (/\p{Lo}/u.test(text)) pool += 200;
  const unique = new Set(text).size;
  // Letters of a language carry fewer bits than random ones.
  const letters = [...text].length * Math.log2(Math.max(pool, 2)) * 0.6;
  const byVariety = unique * 4.5;
  const words = text.split(/[\s\-_.,]+/u).filter((word) => word.length > 2);
  const byWords = new Set(words).size * 12 + 8;
  return words.length >= 3 ? Math.min(letters, byWords) : Math.min(letters, byVariety);
}

export function strength(passphrase: string): Strength {
  if (passphrase === "") return "empty";
  const estimate = bits(passphrase);
  if ([...passphrase].length < 8 || estimate < 28) return "weak";
  if (estimate < 42) return "fair";
  return estimate < 56 ? "good" : "strong";
}
