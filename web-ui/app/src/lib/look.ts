// How a picture or film looks, worked out by its sender's browser: size and a
// small preview, so that it has its place before it is fetched.

import type { Look } from "../api/types";
import { contentUrl } from "../api/files";

const PREVIEW_PIXELS = 320;
/** Bytes of a preview that the node takes. */
const PREVIEW_BYTES_MAX = 24 * 1024;
/** A picture that is larger is sent without a preview: decoding it could take too much memory. */
const PICTURE_BYTES_MAX = 64 * 1024 * 1024;
const FILM_MS_MAX = 3_000;

const none: Look = { width: 0, height: 0, duration_ms: 0, preview: "", waveform: [], voice: false };

async function encode(canvas: HTMLCanvasElement): Promise<string> {
  for (const quality of [0.7, 0.5, 0.3, 0.1]) {
    const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/jpeg", quality));
    if (blob !== null && blob.size <= PREVIEW_BYTES_MAX) {
      const bytes = new Uint8Array(await blob.arrayBuffer());
      return btoa(Array.from(bytes, (b) => String.fromCharCode(b)).join(""));
    }
  }
  return "";
}

async function draw(source: CanvasImageSource, width: number, height: number): Promise<string> {
  const scale = Math.min(1, PREVIEW_PIXELS / Math.max(width, height, 1));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d");
  if (context === null) return "";
  // JPEG has no transparency: what is see-through becomes the page's white.
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  return encode(canvas);
}

/** The look of a picture; null for everything else. */
export async function lookOf(file: File): Promise<Look | null> {
  if (!/^image\/(jpeg|png|webp|gif|avif)$/u.test(file.type) || file.size > PICTURE_BYTES_MAX) return null;
  try {
    const picture = await createImageBitmap(file);
    const { width, height } = picture;
    const preview = await draw(picture, width, height);
    picture.close();
    return { ...none, width, height, preview };
  } catch {
    // It is no picture after all; it is sent as a file.
    return null;
  }
}

/** The look of a film that the node has: size, length, a frame. */
export function remoteLook(id: string): Promise<Look | null> {
  return new Promise((resolve) => {
    const film = document.createElement("video");
    const end = (look: Look | null) => {
      clearTimeout(timer);
      film.removeAttribute("src");
      film.load();
      resolve(look);
    };
    const timer = setTimeout(() => end(null), FILM_MS_MAX);
    film.muted = true;
    film.preload = "auto";
    film.addEventListener("error", () => end(null));
    film.addEventListener("loadeddata", () => {
      const { videoWidth: width, videoHeight: height } = film;
      const duration = Number.isFinite(film.duration) ? Math.round(film.duration * 1000) : 0;
      void draw(film, width, height).then((preview) => end({ ...none, width, height, duration_ms: duration, preview }));
    });
    film.src = contentUrl(id);
  });
}

/** At most `wanted` values of 0 to 255, loudest = 255. */
export function waveformOf(levels: readonly number[], wanted = 64): number[] {
  if (levels.length === 0) return [];
  const size = Math.min(wanted, levels.length);
  const peaks = Array.from({ length: size }, (_, index) => {
    const from = Math.floor((index * levels.length) / size);
    const to = Math.max(from + 1, Math.floor(((index + 1) * levels.length) / size));
    return Math.max(...levels.slice(from, to));
  });
  const top = Math.max(...peaks, 1e-6);
  return peaks.map((peak) => Math.round(Math.max(0, Math.min(1, peak / top)) * 255));
}

export { none as noLook };
