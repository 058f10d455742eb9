// Files on their way to the node, and how far those are that the node fetches.
// In memory only: a page that closes gives up what it had not handed over.

import { ApiError, api, sentence } from "./client";
import { type Accepted, showAccepted } from "./paging";
import { useValueOf, Value, Values } from "./store";
import type { FileNow, FileProgress, Look, NodeFile, Quote } from "./types";
import { t } from "../i18n";
import { lookOf, remoteLook } from "../lib/look";

/** Files that wait in one conversation; more are refused. */
export const UPLOADS_MAX = 50;
/** Progress remembered; the oldest goes. */
const PROGRESS_MAX = 200;

export type Upload = {
  key: string;
  conversation: string;
  name: string;
  size: number;
  /** Bytes that the node has. */
  sent: number;
  state: "waiting" | "uploading" | "sending" | "failed";
  problem: string | null;
  /** It failed because its metadata could not be taken out: the person may decide to send it all the same. */
  metadata: boolean;
  /** Bytes per second. */
  rate: number;
};

/** What goes along with files. Reply and words go with the first. */
export type Along = { replyTo?: Quote | null; caption?: string; keepMetadata?: boolean; look?: Look | null };

type Work = Upload & { file: File; look: Look | null; replyTo: Quote | null; caption: string; keepMetadata: boolean; id: string | null };

const boxes = new Values<readonly Upload[]>([]);
const works = new Map<string, Work>();
const requests = new Map<string, XMLHttpRequest>();
const chains = new Map<string, Promise<void>>();
const progresses = new Values<FileProgress | null>(null, PROGRESS_MAX);
/** Files that were chosen and wait for the person's word, by conversation. */
const staged = new Values<readonly File[]>([]);
/** The picture or film that is looked at in full size. */
export const viewed = new Value<{ conversation: string; file: NodeFile } | null>(null);

function change(conversation: string, edit: (list: readonly Upload[]) => readonly Upload[]) {
  const next = edit(boxes.get(conversation));
  boxes.set(conversation, next.length === 0 ? null : next);
}

function update(key: string, fields: Partial<Upload>) {
  const work = works.get(key);
  if (work === undefined) return;
  Object.assign(work, fields);
  change(work.conversation, (list) => list.map((u) => (u.key === key ? { ...u, ...fields } : u)));
}

function forget(key: string) {
  const work = works.get(key);
  works.delete(key);
  if (work !== undefined) change(work.conversation, (list) => list.filter((u) => u.key !== key));
}

/** Hands a file's bytes to the node, telling how far it is. */
function hand(work: Work): Promise<NodeFile> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const query = new URLSearchParams({ name: work.file.name, type: work.file.type.slice(0, 127) });
    if (work.keepMetadata) query.set("keep_metadata", "true");
    request.open("POST", `/api/v1/files?${query}`);
    request.setRequestHeader("content-type", "application/octet-stream");
    const start = performance.now();
    request.upload.addEventListener("progress", (event) => {
      const passed = (performance.now() - start) / 1000;
      update(work.key, { sent: event.loaded, rate: passed > 0.5 ? event.loaded / passed : 0 });
    });
    request.addEventListener("load", () => {
      requests.delete(work.key);
      let body: unknown = null;
      try {
        body = JSON.parse(request.responseText);
      } catch {
        // Said below, by its status.
      }
      if (request.status === 201) {
        resolve(body as NodeFile);
        return;
      }
      const fields = typeof body === "object" && body !== null ? (body as Record<string, unknown>) : {};
      const message = typeof fields["message"] === "string" ? fields["message"] : t.error.status(request.status);
      reject(new ApiError(request.status, String(fields["code"] ?? ""), message));
    });
    request.addEventListener("error", () => {
      requests.delete(work.key);
      reject(new ApiError(0, "unreachable", t.error.unreachable));
    });
    request.addEventListener("abort", () => {
      requests.delete(work.key);
      reject(new ApiError(0, "cancelled", ""));
    });
    requests.set(work.key, request);
    request.send(work.file);
  });
}

async function deliver(work: Work): Promise<void> {
  if (!works.has(work.key)) return;
  try {
    update(work.key, { state: "uploading", problem: null, metadata: false, sent: 0 });
    work.look ??= await lookOf(work.file);
    if (work.id === null) {
      const file = await hand(work);
      work.id = file.id;
    }
    if (!works.has(work.key)) return;
    update(work.key, { state: "sending", sent: work.size });
    if (work.file.type.startsWith("video/") && work.look === null) work.look = await remoteLook(work.id);
    const body = {
      file: work.id,
      key: work.key,
      ...(work.caption === "" ? {} : { caption: work.caption }),
      ...(work.look === null ? {} : { look: work.look }),
      ...(work.replyTo === null ? {} : { reply_to: work.replyTo.id }),
    };
    const accepted = await api.post<Accepted>(`/conversations/${work.conversation}/files`, body);
    const { file } = await api.get<FileNow>(`/files/${work.id}`);
    showAccepted(work.conversation, accepted, {
      at: Date.now(),
      content: { kind: "file", file: { ...file, ...shownLook(work.look) }, caption: work.caption },
      reply_to: work.replyTo,
    });
    forget(work.key);
  } catch (error) {
    if (!works.has(work.key)) return;
    update(work.key, {
      state: "failed",
      problem: sentence(error),
      metadata: error instanceof ApiError && error.code === "metadata_stays",
    });
  }
}

function shownLook(look: Look | null): Partial<NodeFile> {
  if (look === null) return {};
  const { preview, ...rest } = look;
  return { ...rest, preview: preview === "" ? null : `data:${preview.startsWith("/9j/") ? "image/jpeg" : "image/webp"};base64,${preview}` };
}

function enqueue(work: Work) {
  const before = chains.get(work.conversation) ?? Promise.resolve();
  const mine = before.then(() => deliver(work));
  chains.set(work.conversation, mine);
  void mine.finally(() => {
    if (chains.get(work.conversation) === mine) chains.delete(work.conversation);
  });
}

/** Sends files, one after the other. Answers how many were too many. */
export function sendFiles(conversation: string, files: readonly File[], along: Along = {}): number {
  const room = UPLOADS_MAX - boxes.get(conversation).length;
  let { replyTo = null, caption = "" } = along;
  for (const file of files.slice(0, Math.max(0, room))) {
    const upload: Upload = {
      key: crypto.randomUUID(),
      conversation,
      name: file.name,
      size: file.size,
      sent: 0,
      state: "waiting",
      problem: null,
      metadata: false,
      rate: 0,
    };
    const work: Work = { ...upload, file, look: along.look ?? null, replyTo, caption, keepMetadata: along.keepMetadata ?? false, id: null };
    [replyTo, caption] = [null, ""];
    works.set(upload.key, work);
    change(conversation, (list) => [...list, upload]);
    enqueue(work);
  }
  return Math.max(0, files.length - room);
}

/** Tries a failed file again; with its metadata if the person decided so. */
export function retryUpload(key: string, keepMetadata = false) {
  const work = works.get(key);
  if (work === undefined) return;
  work.keepMetadata ||= keepMetadata;
  update(key, { state: "waiting", problem: null });
  enqueue(work);
}

export function cancelUpload(key: string) {
  requests.get(key)?.abort();
  forget(key);
}

/** Whether closing the page would lose a file that is being handed over. */
export function hasUploads(): boolean {
  return works.size > 0;
}

/** Forgets everything, after signing out. */
export function clearFiles() {
  for (const request of requests.values()) request.abort();
  works.clear();
  boxes.clear();
  progresses.clear();
  staged.clear();
  viewed.set(null);
}

export function useUploads(conversation: string): readonly Upload[] {
  return useValueOf(boxes, conversation);
}

/** Lays files before the person: they are sent when they say so. Answers how many are too many. */
export function stage(conversation: string, files: readonly File[]): number {
  const taken = files.slice(0, UPLOADS_MAX);
  staged.set(conversation, taken.length === 0 ? null : taken);
  return files.length - taken.length;
}

export function addStaged(conversation: string, files: readonly File[]): number {
  return files.length === 0 ? 0 : stage(conversation, [...staged.get(conversation), ...files]);
}

export function useStaged(conversation: string): readonly File[] {
  return useValueOf(staged, conversation);
}

export function noteProgress(progress: FileProgress) {
  progresses.set(progress.id, progress);
}

export function useProgress(id: string): FileProgress | null {
  return useValueOf(progresses, id);
}

/** Where a file's bytes are to be had. */
export function contentUrl(id: string, download = false): string {
  return `/api/v1/files/${id}/content${download ? "?download=true" : ""}`;
}
