// What a person wrote or chose that the node does not have yet. It lives in
// this page only, so leaving or signing out would lose it.

import { clearFiles, hasUploads } from "../api/files";
import { clearOutbox, hasPending } from "../api/outbox";
import { clearDrafts, hasDrafts } from "./drafts";

/** Messages and files are on their way to the node. */
export function onTheirWay(): boolean {
  return hasPending() || hasUploads();
}

/** The same, or something is begun that was not sent. */
export function hasUnsent(): boolean {
  return onTheirWay() || hasDrafts();
}

/** Forgets everything, after signing out. */
export function clearUnsent() {
  clearOutbox();
  clearFiles();
  clearDrafts();
}
