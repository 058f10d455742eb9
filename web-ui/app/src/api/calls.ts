// Calls as the node tells of them: which there are, and the requests about them.

import { api } from "./client";
import { Value } from "./store";
import type { Call, CallNow, CallServers, NodeEvent } from "./types";

/** This page, towards the node: whose media are carried here. */
export const tab = crypto.randomUUID().replaceAll("-", "");

/** Calls that are not over. */
export const calls = new Value<readonly Call[]>([]);

/** How often events told of calls: an answer that they overtook is stale. */
let told = 0;

/** Takes over what an event says of a call. */
export function applyCall(call: Call) {
  told += 1;
  const others = calls.get().filter((known) => known.id !== call.id);
  calls.set(call.phase === "over" ? others : [...others, call]);
}

/** Asks the node how it stands, again while events overtake the answer. Null if they always did: then they told. */
export async function notOvertaken<T>(ask: () => Promise<T>): Promise<T | null> {
  for (let attempt = 0; attempt < 5; attempt += 1) {
    const before = told;
    const answer = await ask();
    if (told === before) return answer;
  }
  return null;
}

/** Looks anew: something may have been missed. */
export async function refreshCalls() {
  const list = await notOvertaken(callApi.list);
  if (list !== null) calls.set(list);
}

export type CallMedia = { microphone: boolean; video: boolean; screen: boolean };

type Deed =
  | { do: "answer" | "offer"; sdp: string }
  | { do: "again"; sdp: string; to_offer: number }
  | { do: "restart" | "keep" }
  | { do: "candidates"; candidates: string[] }
  | { do: "media"; media: CallMedia };

export type HangUpReason = "hung_up" | "lost" | "wrong_key";

export const callApi = {
  list: () => api.get<Call[]>("/calls"),
  dial: (conversation: string, sdp: string, video: boolean) =>
    api.post<{ call: string }>(`/conversations/${conversation}/call`, { sdp, video, tab }),
  act: (call: string, deed: Deed) => api.post<null>(`/calls/${call}`, { tab, ...deed }),
  hangUp: (call: string, reason: HangUpReason = "hung_up") => api.post<null>(`/calls/${call}/hangup`, { reason }),
  now: (call: string, after: number) => api.get<CallNow>(`/calls/${call}?after=${after}`),
  servers: (account: string | null) => api.get<CallServers>(account === null ? "/call-servers" : `/call-servers?account=${account}`),
  /** For a page that is being closed. */
  leave: (call: string) => {
    const body = JSON.stringify({ reason: "hung_up" });
    void fetch(`/api/v1/calls/${call}/hangup`, { method: "POST", keepalive: true, credentials: "same-origin", headers: { "content-type": "application/json" }, body });
  },
};

/** Whether an event is about calls. */
export function isCallEvent(event: NodeEvent): event is Extract<NodeEvent, { type: "call" | "call_signal" }> {
  return event.type === "call" || event.type === "call_signal";
}
