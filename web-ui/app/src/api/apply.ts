// What each event of the node, and what was read here, changes in the cache.

import { notifyManager } from "@tanstack/react-query";
import { client, keys } from "./cache";
import { memory } from "./fetch";
import { noteProgress } from "./files";
import { applyChanges, putContact } from "./patch";
import { applyMessage, removeMessage, type Window } from "./window";
import type { Contact, Conversation, ConversationDetails, Network, NodeEvent } from "./types";

/** Marks everything up to `position` as read here; the node's event confirms it. */
export function showRead(id: string, position: number, unreadLeft: number) {
  client.setQueryData<Conversation[]>(keys.conversations, (list) =>
    list?.map((c) => (c.id === id && position > c.read_position ? { ...c, read_position: position, unread: unreadLeft } : c)),
  );
}

const detailsTimers = new Map<string, ReturnType<typeof setTimeout>>();

/** Members change without an event of their own: look again, at most once a second. */
function refreshDetails(id: string) {
  if (detailsTimers.has(id) || client.getQueryState(keys.details(id)) === undefined) return;
  detailsTimers.set(
    id,
    setTimeout(() => {
      detailsTimers.delete(id);
      void client.invalidateQueries({ queryKey: keys.details(id) });
    }, 250),
  );
}

const filesTimers = new Map<string, ReturnType<typeof setTimeout>>();

/** What is known of a conversation's files is looked at again, at most every quarter of a second. */
function refreshFiles(id: string) {
  if (filesTimers.has(id) || client.getQueryState(keys.files(id)) === undefined) return;
  filesTimers.set(
    id,
    setTimeout(() => {
      filesTimers.delete(id);
      void client.invalidateQueries({ queryKey: keys.files(id) });
    }, 250),
  );
}

function applyEvent(event: NodeEvent) {
  switch (event.type) {
    case "message": {
      const { conversation: id, message } = event;
      memory.messages.put(`${id}/${message.id}`, { conversation: id, message });
      client.setQueryData<Window>(keys.window(id), (window) => (window === undefined ? window : applyMessage(window, message)));
      if (client.getQueryState(keys.delivery(id, message.id)) !== undefined) {
        void client.invalidateQueries({ queryKey: keys.delivery(id, message.id) });
      }
      if (message.content.kind === "notice") refreshDetails(id);
      if (message.content.kind === "file") refreshFiles(id);
      break;
    }
    case "message_removed": {
      const { conversation: id, position } = event;
      memory.messages.put(`${id}@${position}`, { conversation: id, removed: position });
      client.setQueryData<Window>(keys.window(id), (window) => (window === undefined ? window : removeMessage(window, position)));
      refreshFiles(id);
      break;
    }
    case "conversation": {
      const { conversation } = event;
      memory.conversations.put(conversation.id, { conversation });
      client.setQueryData<Conversation[]>(keys.conversations, (list) => (list === undefined ? list : applyChanges(list, [{ conversation }])));
      client.setQueryData<ConversationDetails>(keys.details(conversation.id), (d) => (d === undefined ? d : { ...d, conversation }));
      refreshDetails(conversation.id);
      break;
    }
    case "conversation_removed":
      memory.conversations.put(event.id, { removed: event.id });
      client.setQueryData<Conversation[]>(keys.conversations, (list) => (list === undefined ? list : applyChanges(list, [{ removed: event.id }])));
      client.removeQueries({ queryKey: keys.window(event.id) });
      client.removeQueries({ queryKey: keys.details(event.id) });
      client.removeQueries({ queryKey: keys.files(event.id) });
      break;
    case "contact":
      memory.contacts.put(event.contact.account, event.contact);
      client.setQueryData<Contact[]>(keys.contacts, (list) => (list === undefined ? list : putContact(list, event.contact)));
      // A use of an invite shows up as a contact.
      void client.invalidateQueries({ queryKey: keys.invites });
      void client.invalidateQueries({ queryKey: keys.safety(event.contact.account) });
      break;
    case "file_progress":
      noteProgress(event.progress);
      break;
    case "network":
      client.setQueryData<Network>(keys.network, event.network);
      break;
    default:
      // `typing`, `notice` and types of a newer node change nothing here.
      break;
  }
}

/** Applies a batch of events at one stroke. */
export function applyEvents(events: readonly NodeEvent[]) {
  notifyManager.batch(() => {
    for (const event of events) applyEvent(event);
  });
}

/** Forgets everything of a session that ended. */
export function forgetSession() {
  for (const timer of detailsTimers.values()) clearTimeout(timer);
  detailsTimers.clear();
  for (const timer of filesTimers.values()) clearTimeout(timer);
  filesTimers.clear();
  for (const told of Object.values(memory)) told.clear();
  client.removeQueries({ predicate: (query) => query.queryKey[0] !== "session" && query.queryKey[0] !== "health" });
}
