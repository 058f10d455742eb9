// Hooks over the cache: what views read.

import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { api, ApiError } from "./client";
import { keys } from "./cache";
import { fetchContacts, fetchConversations, fetchMe } from "./fetch";
import { windowQuery } from "./paging";
import type { Contact, Conversation, ConversationDetails, Delivery, FilePage, Health, Invite, Network, Safety, Session, Settings, Storage } from "./types";

/** Files of a conversation that are asked for at once. */
const FILES_PAGE = 60;

export type Gate = Session | { state: "signed_out" };

export const useSession = () =>
  useQuery<Gate>({
    queryKey: keys.session,
    queryFn: async ({ signal }) => {
      try {
        return await api.get<Session>("/session", { signal });
      } catch (error) {
        if (error instanceof ApiError && error.status === 401) return { state: "signed_out" };
        throw error;
      }
    },
    retry: false,
    // A node that restarts, and what another tab did, are found without a
    // reload. While unlocked the event stream tells.
    refetchInterval: (query) => {
      const { status, data } = query.state;
      return status === "error" || data?.state === "signed_out" || data?.state === "locked" ? 2_000 : false;
    },
  });

export const useHealth = () => useQuery({ queryKey: keys.health, queryFn: ({ signal }) => api.get<Health>("/health", { signal }) });
export const useMe = () => useQuery({ queryKey: keys.me, queryFn: fetchMe });
export const useSettings = () =>
  useQuery({ queryKey: keys.settings, queryFn: ({ signal }) => api.get<Settings>("/settings", { signal }) });
export const useStorage = () =>
  useQuery({ queryKey: keys.storage, queryFn: ({ signal }) => api.get<Storage>("/storage", { signal }), staleTime: 0 });
/** Files of a conversation, newest first, a page at a time. */
export const useFiles = (id: string, enabled = true) =>
  useInfiniteQuery({
    queryKey: keys.files(id),
    queryFn: ({ signal, pageParam }) =>
      api.get<FilePage>(`/conversations/${id}/files?limit=${FILES_PAGE}${pageParam === null ? "" : `&before=${pageParam}`}`, { signal }),
    initialPageParam: null as number | null,
    getNextPageParam: (page) => (page.more ? (page.files.at(-1)?.position ?? null) : null),
    staleTime: 0,
    enabled,
  });
export const useNetwork = () =>
  useQuery({ queryKey: keys.network, queryFn: ({ signal }) => api.get<Network>("/network", { signal }) });
export const useContacts = () => useQuery<Contact[]>({ queryKey: keys.contacts, queryFn: fetchContacts });
export const useInvites = () =>
  useQuery({ queryKey: keys.invites, queryFn: ({ signal }) => api.get<Invite[]>("/invites", { signal }) });
export const useConversations = () =>
  useQuery<Conversation[]>({ queryKey: keys.conversations, queryFn: fetchConversations });
export const useWindow = (id: string) => useQuery(windowQuery(id));
export const useDetails = (id: string) =>
  useQuery({
    queryKey: keys.details(id),
    queryFn: ({ signal }) => api.get<ConversationDetails>(`/conversations/${id}`, { signal }),
    staleTime: 0,
  });
export const useDelivery = (id: string, event: string) =>
  useQuery({
    queryKey: keys.delivery(id, event),
    queryFn: ({ signal }) => api.get<Delivery>(`/conversations/${id}/messages/${event}/delivery`, { signal }),
    staleTime: 0,
    gcTime: 0,
  });
export const useSafety = (account: string, enabled: boolean) =>
  useQuery({
    queryKey: keys.safety(account),
    queryFn: ({ signal }) => api.get<Safety>(`/contacts/${account}/safety`, { signal }),
    enabled,
  });
