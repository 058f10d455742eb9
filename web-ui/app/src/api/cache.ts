// The TanStack cache: what its entries are called and how it behaves.

import { MutationCache, QueryCache, QueryClient } from "@tanstack/react-query";
import { ApiError } from "./client";

export const keys = {
  health: ["health"] as const,
  session: ["session"] as const,
  me: ["me"] as const,
  settings: ["settings"] as const,
  storage: ["storage"] as const,
  network: ["network"] as const,
  contacts: ["contacts"] as const,
  invites: ["invites"] as const,
  conversations: ["conversations"] as const,
  files: (id: string) => ["files", id] as const,
  details: (id: string) => ["details", id] as const,
  window: (id: string) => ["window", id] as const,
  delivery: (id: string, event: string) => ["delivery", id, event] as const,
  safety: (account: string) => ["safety", account] as const,
};

/** The session began, ended, was locked or unlocked, or may have been: look again. */
export function sessionChanged() {
  void client.invalidateQueries({ queryKey: keys.session });
}

/** The node says that the session ended or was locked. */
export function checkSession(error: unknown) {
  if (error instanceof ApiError && (error.status === 401 || error.status === 423)) sessionChanged();
}

export const client: QueryClient = new QueryClient({
  queryCache: new QueryCache({ onError: checkSession }),
  mutationCache: new MutationCache({ onError: checkSession }),
  defaultOptions: {
    queries: {
      staleTime: Number.POSITIVE_INFINITY,
      gcTime: 10 * 60_000,
      refetchOnWindowFocus: false,
      networkMode: "always",
      retry: (failures, error) => error instanceof ApiError && (error.offline || error.status >= 500) && failures < 3,
      retryDelay: (attempt) => Math.min(4_000, 300 * 2 ** attempt),
    },
    mutations: { networkMode: "always" },
  },
});
