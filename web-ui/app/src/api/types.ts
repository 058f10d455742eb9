// The shapes of the HTTP API under the app's own names. schema.ts is generated
// from openapi.json by `npm run gen`; a change there shows up here.

import type { components } from "./schema";

type Schemas = components["schemas"];

/** The document calls nullable fields optional; the node always sends them. */
type Sent<T> = T extends (infer U)[]
  ? Sent<U>[]
  : T extends object
    ? { [K in keyof T]-?: Sent<Exclude<T[K], undefined>> }
    : T;

export type Me = Sent<Schemas["Me"]>;
export type Settings = Sent<Schemas["Settings"]>;
export type Contact = Sent<Schemas["Contact"]>;
export type Safety = Sent<Schemas["Safety"]>;
export type Invite = Sent<Schemas["Invite"]>;
export type DeliveryState = Schemas["DeliveryState"];
export type Conversation = Sent<Schemas["Conversation"]>;
export type Member = Sent<Schemas["Member"]>;
export type ConversationDetails = Sent<Schemas["ConversationDetails"]>;
export type Delivery = Sent<Schemas["Delivery"]>;
export type Quote = Sent<Schemas["Quote"]>;
export type Message = Sent<Schemas["Message"]>;
export type MessagePage = Sent<Schemas["MessagePage"]>;
export type Relay = Sent<Schemas["Relay"]>;
export type RelayTest = Schemas["RelayTest"];
export type Network = Sent<Schemas["Network"]>;
export type NodeFile = Sent<Schemas["File"]>;
export type FileNow = Sent<Schemas["FileNow"]>;
export type SharedFile = Sent<Schemas["SharedFile"]>;
export type FilePage = Sent<Schemas["FilePage"]>;
export type FileProgress = Sent<Schemas["FileProgress"]>;
export type FileSettings = Sent<Schemas["FileSettings"]>;
export type StoredFiles = Sent<Schemas["StoredFiles"]>;
export type Storage = Sent<Schemas["Storage"]>;
export type Look = Sent<Schemas["NewLook"]>;
export type Call = Sent<Schemas["Call"]>;
export type CallSignal = Sent<Schemas["CallSignal"]>;
export type CallNow = Sent<Schemas["CallNow"]>;
export type CallServers = Sent<Schemas["CallServers"]>;
export type NodeEvent = Sent<Schemas["Event"]>;
export type Session = Schemas["Session"];
export type Health = Sent<Schemas["Health"]>;
