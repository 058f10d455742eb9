// The shapes of the HTTP API as the app uses them. Written by hand after
// node/core/src/view.rs; `npm run gen` makes schema.ts once openapi.json exists.

export type Me = { account: string; device: string; name: string; about: string; since: number };

export type Settings = { read_receipts: boolean; typing: boolean; direct: boolean };

export type ContactState = "requested" | "incoming" | "accepted" | "refused" | "known" | "blocked";

export type Contact = {
  account: string;
  name: string;
  about: string;
  nickname: string | null;
  state: ContactState;
  greeting: string;
  verified: boolean;
  conversation: string | null;
  problem: string | null;
  since: number;
};

export type Safety = { digits: string[]; qr_text: string; verified: boolean };

export type Invite = {
  id: string;
  link: string;
  conversation: string | null;
  uses_left: number;
  uses: number;
  expires_at: number;
};

export type DeliveryState = "queued" | "stored" | "delivered" | "delivered_all" | "read" | "failed";

export type Preview = { author: string | null; text: string; at: number; state: DeliveryState | null };

export type Standing = "active" | "joining" | "left" | "removed";

export type Conversation = {
  id: string;
  kind: "direct" | "group";
  title: string;
  peer: string | null;
  standing: Standing;
  unread: number;
  last: Preview | null;
  active_at: number;
  read_position: number;
  member_count: number;
};

export type Role = "owner" | "admin" | "member";

export type Member = {
  account: string;
  name: string;
  role: Role;
  devices: number;
  seen: boolean;
  me: boolean;
  verified: boolean;
};

export type ConversationDetails = {
  conversation: Conversation;
  members: Member[];
  role: Role;
  relays: string[];
  epoch: number;
  state: string;
};

export type RelayCopy = { relay: string; until: number };

export type DeviceDelivery = {
  account: string;
  name: string;
  device: string;
  state: DeliveryState;
  at: number | null;
};

export type Delivery = {
  state: DeliveryState;
  relays: RelayCopy[];
  devices: DeviceDelivery[];
  problem: string | null;
};

export type Content =
  | { kind: "text"; text: string }
  | { kind: "notice"; code: string; args: string[] }
  | { kind: "newer" };

export type Quote = { id: string; author_name: string; text: string };

export type Message = {
  id: string;
  position: number;
  author: string;
  author_name: string;
  mine: boolean;
  at: number;
  content: Content;
  reply_to: Quote | null;
  delivery: DeliveryState | null;
  stored_until: number | null;
  stored_at: number;
};

export type MessagePage = { messages: Message[]; more_before: boolean; more_after: boolean };

export type Relay = {
  id: string;
  name: string;
  up: boolean;
  problem: string | null;
  retention_s: number | null;
  link: string;
};

export type RelayTest = { ok: boolean; name: string; retention_s: number | null; problem?: string | null };

export type PeerLink = { account: string | null; name: string; path: string };

export type Network = { relays: Relay[]; peers: PeerLink[]; addrs: string[]; waiting: number };

export type NodeEvent =
  | { type: "message"; conversation: string; message: Message }
  | { type: "conversation"; conversation: Conversation }
  | { type: "conversation_removed"; id: string }
  | { type: "contact"; contact: Contact }
  | { type: "typing"; conversation: string; account: string }
  | { type: "network"; network: Network }
  | { type: "notice"; conversation: string | null; code: string; message: string };

export type VaultState = "fresh" | "locked" | "unlocked";
export type Session = { state: VaultState; name?: string | null };
export type Health = { version: string; state: VaultState };
