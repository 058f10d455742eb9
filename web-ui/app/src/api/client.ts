// The one place that speaks HTTP with the node. Every failure becomes an
// ApiError whose message is a sentence for the person.

import { t } from "../i18n";

/** A refusal by the node, or the node not answering (`status` 0). */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  /** How long to wait before the next try, in seconds, if the node said so. */
  readonly retryAfterS: number | null;

  constructor(status: number, code: string, message: string, retryAfterS: number | null = null) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
    this.retryAfterS = retryAfterS;
  }

  /** The node was not reached, or the answer got lost on the way. */
  get offline(): boolean {
    return this.status === 0;
  }
}

const REQUEST_MS_MAX = 30_000;

function problem(status: number, body: unknown): ApiError {
  const fields = typeof body === "object" && body !== null ? (body as Record<string, unknown>) : {};
  const code = typeof fields["code"] === "string" ? fields["code"] : `http_${status}`;
  const message = typeof fields["message"] === "string" ? fields["message"] : t.error.status(status);
  const wait = typeof fields["retry_after_s"] === "number" ? fields["retry_after_s"] : null;
  return new ApiError(status, code, message, wait);
}

type Options = { signal?: AbortSignal | undefined };

async function request<T>(method: string, path: string, body?: unknown, options: Options = {}): Promise<T> {
  const timeout = AbortSignal.timeout(REQUEST_MS_MAX);
  const init: RequestInit = {
    method,
    credentials: "same-origin",
    cache: "no-store",
    redirect: "error",
    signal: options.signal ? AbortSignal.any([options.signal, timeout]) : timeout,
  };
  if (body !== undefined) {
    init.headers = { "content-type": "application/json" };
    init.body = JSON.stringify(body);
  }
  let response: Response;
  let text: string;
  try {
    response = await fetch(`/api/v1${path}`, init);
    text = await response.text();
  } catch (cause) {
    if (options.signal?.aborted) throw cause;
    throw new ApiError(0, "unreachable", t.error.unreachable);
  }
  let json: unknown = null;
  if (text !== "") {
    try {
      json = JSON.parse(text);
    } catch {
      if (response.ok) throw new ApiError(response.status, "not_json", t.error.notJson);
    }
  }
  if (!response.ok) throw problem(response.status, json);
  return json as T;
}

export const api = {
  get: <T>(path: string, options?: Options) => request<T>("GET", path, undefined, options),
  post: <T = unknown>(path: string, body: unknown = {}) => request<T>("POST", path, body),
  put: <T = unknown>(path: string, body: unknown) => request<T>("PUT", path, body),
  delete: <T = unknown>(path: string) => request<T>("DELETE", path),
};

/** The sentence of any error. */
export function sentence(error: unknown): string {
  return error instanceof Error && error.message !== "" ? error.message : t.error.unknown;
}

/** Address of a picture of a QR code for `text`. */
export function qrUrl(text: string): string {
  return `/api/v1/qr?text=${encodeURIComponent(text)}`;
}
