// A node in memory for working on the app: speaks docs/api.md, keeps nothing.
// A development aid: never shipped, not used by tests.
//   node dev/server.mjs [--watch] [--state fresh|locked|unlocked] [--port N] [--empty]
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createHash, randomBytes } from "node:crypto";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { WebSocketServer } from "ws";

const arg = (name) => {
  const index = process.argv.indexOf(`--${name}`);
  return index < 0 ? null : (process.argv[index + 1] ?? "");
};
const dist = join(fileURLToPath(new URL("..", import.meta.url)), "dist");
const hex = (text) => createHash("sha256").update(text).digest("hex");
const MIN = 60_000;
const DAY = 1440 * MIN;
const start = Date.now();

let vault = arg("state") ?? "unlocked";
let failures = 0;
const me = { account: `kith1${hex("me").slice(0, 52)}`, device: hex("device"), name: "Alice", about: "Gardens, mostly.", since: start - 90 * DAY };
let settings = { read_receipts: true, typing: true, direct: true };
const storage = {
  settings: { auto_bytes: 8 << 20, cache_bytes: 5 * (1 << 30), up_bytes_per_s: 0, down_bytes_per_s: 0 },
  cached_bytes: 340 << 20,
  free_bytes: 41 * (1 << 30),
  conversations: [],
};
const relays = [
  { id: hex("r1"), name: "Harbor", up: true, problem: null, retention_s: 30 * 86400, link: "kith-relay:harbor", path: "direct_quic", since: Date.now() - 3600e3, rtt_ms: 34, sentence: "Connected over QUIC.", advice: null },
  { id: hex("r2"), name: "relay.allotment.example", up: false, problem: "It has not answered since this morning.", retention_s: 14 * 86400, link: "kith-relay:allot", path: null, since: null, rtt_ms: null, sentence: "Not connected: It has not answered since this morning.", advice: "Kith tries again by itself. If this stays, ask the relay’s operator, or use another relay." },
];
const network = {
  relays,
  peers: [],
  addrs: ["/ip4/192.168.1.20/udp/4433/quic-v1"],
  waiting: 0,
  away: [],
  findings: [
    { sentence: "1 of 2 relays are connected.", advice: null },
    { sentence: "The router keeps one port for all far ends: direct connections to most people work.", advice: null },
  ],
};
const words = "abandon ability able about above absent absorb abstract absurd abuse access accident account accuse achieve acid acoustic acquire across act action actor actress actual".split(" ");

const account = (name) => `kith1${hex(name).slice(0, 52)}`;
const contacts = new Map();
function person(name, state, extra = {}) {
  const c = { account: account(name), name, about: "", nickname: null, state, greeting: "", verified: false, conversation: null, problem: null, since: start - 3 * DAY, ...extra };
  contacts.set(c.account, c);
  return c;
}
const conversations = new Map();
function conversation(title, kind, members, extra = {}) {
  const id = hex(`${title}/${kind}`);
  const c = {
    view: { id, kind, title, peer: kind === "direct" ? members[0].account : null, standing: "active", unread: 0, last: null, active_at: start - 5 * DAY, read_position: 0, member_count: members.length + 1, catching_up: null, ...extra },
    members, messages: [], keys: new Map(),
  };
  if (kind === "direct") members[0].conversation = id;
  conversations.set(id, c);
  return c;
}
function put(c, author, content, at, extra = {}) {
  const mine = author === null;
  const position = (c.messages.at(-1)?.position ?? 0) + 1;
  const message = {
    id: hex(`${c.view.id}/${position}`), position, author: mine ? me.account : author.account, author_name: mine ? me.name : (author.nickname ?? author.name), mine, at,
    content: typeof content === "string" ? { kind: "text", text: content } : content,
    reply_to: null, delivery: mine && typeof content === "string" ? "read" : null, stored_until: null, stored_at: 0, may_report: c.view.kind === "group" && !mine && typeof content === "string", ...extra,
  };
  c.messages.push(message);
  summarize(c);
  return message;
}
function summarize(c) {
  const last = c.messages.findLast((m) => m.content.kind === "text");
  if (last === undefined) return;
  c.view.last = { author: last.mine ? null : last.author_name, text: last.content.text.slice(0, 200), at: last.at, state: last.delivery };
  c.view.active_at = last.at;
  c.view.unread = c.messages.filter((m) => !m.mine && m.position > c.view.read_position && m.content.kind === "text").length;
}
const notice = (code, ...args) => ({ kind: "notice", code, args });

if (process.argv.includes("--empty")) {
  relays.length = 0;
} else {
  seed();
}
function seed() {
  const bob = person("Bob Marin", "accepted", { about: "On the water until Sunday", verified: true });
  const carol = person("Carol Nwosu", "accepted", { nickname: "Carol", about: "" });
  const dana = person("דנה לוי", "accepted", { about: "ירושלים" });
  const emil = person("Emil Hartmann", "accepted");
  const fatima = person("Fatima Zahra", "accepted", { about: "Back on Monday" });
  const jun = person("小林 潤", "accepted");
  person("Grigory", "requested", { since: start - 40 * MIN });
  person("Hanna Virtanen", "incoming", { greeting: "Hi Alice! Bob said you might lend me the seed catalogue. We met at the market in May.", since: start - 25 * MIN });
  person("Ivo", "known");
  person("Spam Bot 3000", "blocked");
  network.peers.push(
    { account: bob.account, name: bob.name, path: "direct_quic", label: "punched", relay: null, since: Date.now(), rtt_ms: 41, sentence: "Punched through the routers of both sides, over QUIC.", advice: null },
    { account: carol.account, name: "Carol", path: "circuit", label: "relayed", relay: "Harbor", since: Date.now(), rtt_ms: 88, sentence: "Connected through relay Harbor: your router would let a direct connection in, the one on the other side does not.", advice: "Nothing is wrong here. The other person can read in their own doctor what would help." },
  );
  network.away.push({ account: hex("away"), name: "Dave Meadow", sentence: "Not connected. Messages are kept at Harbor until they come back. The last try: nobody answers at any known address.", advice: null });

  const c = conversation("Bob Marin", "direct", [bob]);
  let at = start - 2 * DAY - 3 * 60 * MIN;
  const say = (who, text, gap = 1, extra = {}) => put(c, who, text, (at += gap * MIN), extra);
  say(bob, "Made it past the lighthouse before the wind turned.");
  say(bob, "The new sail is worth every coin.");
  say(null, "I could see you from the hill! Tiny white triangle.", 4);
  say(bob, "😀", 1);
  say(null, "When are you back? I have far too many tomatoes and nobody to give them to.", 30);
  at = start - DAY - 5 * 60 * MIN;
  say(bob, "Sunday, if the weather holds. Here is the forecast I trust: https://weather.example/coast/north?days=5 — the other one is nonsense.", 20);
  const q = say(bob, "Keep me a box?", 1);
  say(null, "Two boxes.\n\nOne of them is the ugly ones for soup, as always. They taste best anyway.", 3, { reply_to: { id: q.id, author_name: "Bob Marin", text: "Keep me a box?" } });
  at = start - 55 * MIN;
  say(bob, "Careful with this one, somebody sent it to me: https://аррӏе.com/login", 2);
  say(null, "Ha. Not clicking.", 2, { delivery: "read" });
  say(null, "Also: should I invite Hanna to the boat group?", 1, { delivery: "delivered_all" });
  say(null, "She asked at the market.", 1, { delivery: "delivered" });
  say(null, "I will leave the key under the blue pot in case the ferry is early.", 20, { delivery: "stored", stored_until: start + 29 * DAY, stored_at: 2 });
  c.view.read_position = c.messages.at(-1).position;
  summarize(c);

  const g = conversation("Allotment 14", "group", [bob, carol, fatima, emil]);
  put(g, null, notice("created", "Alice"), start - 20 * DAY);
  put(g, null, notice("added", "Alice", "Bob Marin", "Carol", "Fatima Zahra"), start - 20 * DAY + MIN);
  at = start - 6 * 60 * MIN;
  const gsay = (who, text, gap = 1, extra = {}) => put(g, who, text, (at += gap * MIN), extra);
  gsay(carol, "The water is back on since this morning.");
  gsay(carol, "Please close the tap behind the shed fully, it drips.");
  gsay(null, "Done. I also moved the compost sieve to the left hut.", 12);
  gsay(emil, "Who has the wheelbarrow?", 60);
  gsay(bob, "Guilty. Back on Sunday.", 2);
  put(g, null, notice("renamed", "Carol", "Allotment 14"), at + MIN);
  g.view.read_position = g.messages.at(-1).position;
  gsay(fatima, "I can bring seedlings tomorrow: 12 courgettes, 8 pumpkins, some basil.", 40);
  gsay(fatima, "Tell me by tonight if you want any, the rest goes to the school garden.", 1);
  gsay(carol, "Basil please! 🌿", 5);
  summarize(g);

  const d = conversation("דנה לוי", "direct", [dana]);
  put(d, dana, "שלום! תודה על הזרעים, הם כבר נובטים 🌱", start - 3 * 60 * MIN);
  put(d, null, "How lovely! תמונה בבקשה", start - 3 * 60 * MIN + 2 * MIN, { delivery: "delivered_all" });
  d.view.read_position = 2;
  summarize(d);

  const big = conversation("Reading circle", "group", [carol, emil, jun]);
  const lines = ["I liked chapter three best.", "The translation of the old edition reads better, honestly. Compare the first page: the new one drops half a sentence.", "Next meeting on Thursday?", "Yes.", "Could somebody bring the big lamp?", "👍", "I am half way through and I do not trust the narrator at all."];
  const n = Number(arg("many") ?? 5000);
  for (let i = 0; i < n; i += 1) put0(big, [carol, null, emil, jun][Math.floor(i / 3) % 4], `${lines[i % lines.length]} (${i + 1})`, start - 4 * DAY - (n - i) * 3 * MIN);
  big.view.read_position = n;
  summarize(big);

  const f = conversation("Fatima Zahra", "direct", [fatima]);
  put(f, fatima, "Did you get my letter?", start - 4 * DAY);
  put(f, null, "This one did not get out.", start - 4 * DAY + MIN, { delivery: "failed" });
  f.view.read_position = 1;
  summarize(f);
  const j = conversation("小林 潤", "direct", [jun]);
  put(j, jun, "土曜日に会いましょう。", start - 6 * DAY);
  j.view.read_position = 1;
  summarize(j);
  for (let i = 0; i < Number(arg("conversations") ?? 0); i += 1) {
    const who = person(`Person ${i}`, "accepted");
    put(conversation(`Person ${i}`, "direct", [who]), who, `Hello number ${i}, a line long enough to be cut off somewhere`, start - i * 60 * MIN);
  }
  const crew = conversation("Harbour crew", "group", [bob, carol, jun], { catching_up: { asked: 3, next_at: start + 12 * MIN } });
  put(crew, null, notice("created", "Alice"), start - 8 * DAY);
  put(crew, null, notice("role", "Alice", "Bob Marin", "admin"), start - 7 * DAY);
  put(crew, bob, notice("role", "Bob Marin", "Carol", "admin"), start - 7 * DAY + MIN);
  const ad = put(crew, jun, "Cheap life jackets, only today! https://jackets.example/deal", start - 2 * DAY);
  put(crew, bob, { kind: "report", event: ad.id, author: jun.account, author_name: jun.name, quote: ad.content.text, held: true, reason: "The third advert this week. Could you have a word with them?", open: true, may_remove: true }, start - 2 * DAY + 20 * MIN);
  put(crew, carol, { kind: "report", event: hex("gone"), author: jun.account, author_name: jun.name, quote: "Something from before you were here", held: false, reason: "", open: true, may_remove: true }, start - 2 * DAY + 30 * MIN);
  put(crew, carol, { kind: "report", event: ad.id, author: jun.account, author_name: jun.name, quote: ad.content.text, held: true, reason: "", open: false, may_remove: true }, start - 2 * DAY + 40 * MIN);
  put(crew, null, notice("withdrawn_added", "Fatima Zahra"), start - DAY);
  put(crew, null, notice("again"), start - DAY + MIN);
  put(crew, null, notice("added", "Alice", "Fatima Zahra"), start - DAY + 2 * MIN);
  put(crew, null, notice("role", "", "Carol", "member"), start - DAY + 3 * MIN);
  put(crew, carol, "Did everybody get the tide table?", start - 5 * 60 * MIN);
  crew.view.read_position = crew.messages.at(-1).position;
  summarize(crew);

  conversation("Old neighbours", "group", [emil], { standing: "left", active_at: start - 40 * DAY });
  conversation("Harbour watch", "group", [bob], { standing: "joining", active_at: start - 2 * DAY });
}
function put0(c, author, text, at) {
  const position = c.messages.length + 1;
  const mine = author === null;
  c.messages.push({ id: hex(`${c.view.id}/${position}`), position, author: mine ? me.account : author.account, author_name: mine ? me.name : author.name, mine, at, content: { kind: "text", text }, reply_to: null, delivery: mine ? "read" : null, stored_until: null, stored_at: 0, may_report: !mine });
}
const invites = process.argv.includes("--empty")
  ? []
  : [{ id: hex("inv"), link: `kith-invite:${hex("a")}${hex("b")}${hex("c")}`, conversation: null, uses_left: 4, uses: 5, expires_at: start + 6 * DAY }];

// The event stream.
let seq = 1000;
const run = randomBytes(4).toString("hex");
const sockets = new Set();
function emit(event) {
  seq += 1;
  const frame = JSON.stringify({ seq, event });
  for (const socket of sockets) socket.send(frame);
}
const emitConversation = (c) => emit({ type: "conversation", conversation: c.view });
const emitMessage = (c, message) => emit({ type: "message", conversation: c.view.id, message });
function deliver(c, message, steps) {
  steps.forEach(([ms, delivery, extra = {}]) =>
    setTimeout(() => {
      Object.assign(message, { delivery, ...extra });
      summarize(c);
      emitMessage(c, message);
      emitConversation(c);
    }, ms),
  );
}
function answer(c, text) {
  const who = c.members[Math.floor(Math.random() * c.members.length)];
  setTimeout(() => emit({ type: "typing", conversation: c.view.id, account: who.account }), 900);
  setTimeout(() => {
    emitMessage(c, put(c, who, `You said: ${text.slice(0, 120)}`, Date.now()));
    emitConversation(c);
  }, 2500);
}

const member = (who, i) => {
  const role = who.role ?? (i === 0 ? "admin" : "member");
  return {
    account: who.account, name: who.nickname ?? who.name, role, devices: 1 + (i % 2), seen: i !== 2, me: false, verified: who.verified,
    may_make_owner: role !== "owner", may_make_admin: role === "member", may_make_member: role !== "member", may_remove: true,
  };
};

class Refusal extends Error {
  constructor(status, code, message, more = {}) {
    super(message);
    Object.assign(this, { status, body: { code, message, ...more } });
  }
}
const must = (value) => {
  if (value === undefined) throw new Refusal(404, "not_found", "This is not known here.");
  return value;
};

function route(method, path, query, body) {
  const p = path.split("/").slice(1);
  const key = `${method} ${p.map((part, i) => (i > 0 && part.length > 30 ? ":id" : part)).join("/")}`;
  if (key === "GET health") return { version: "0.1.0-dev", state: vault };
  if (key === "GET session") return { state: vault, ...(vault === "fresh" ? {} : { name: me.name }) };
  if (key === "POST vault/create") {
    me.name = body.name;
    return { words };
  }
  if (key === "GET vault/challenge") return { indexes: [4, 10, 22] };
  if (key === "POST vault/confirm") {
    if (!body.answers.every((a) => words[a.index] === a.word)) throw new Refusal(409, "wrong_words", "At least one word is not the one from your list. Look at your paper again.");
    vault = "unlocked";
    return {};
  }
  if (key === "POST vault/recover") return (vault = "unlocked"), {};
  if (key === "POST vault/unlock") {
    if (body.passphrase === "wrong") throw new Refusal(++failures > 2 ? 429 : 403, "wrong_passphrase", "This is not the passphrase.", failures > 2 ? { retry_after_s: 5 } : {});
    vault = "unlocked";
    return {};
  }
  if (vault !== "unlocked") throw new Refusal(423, "locked", "Your node is locked.");
  switch (key) {
    case "POST vault/lock":
      vault = "locked";
      for (const socket of sockets) socket.close();
      return {};
    case "POST vault/passphrase":
      return {};
    case "DELETE session":
      return {};
    case "GET me":
      return me;
    case "PUT me":
      return Object.assign(me, body), {};
    case "GET settings":
      return settings;
    case "PUT settings":
      return (settings = body), {};
    case "GET storage":
      return storage;
    case "PUT storage":
      return Object.assign(storage.settings, body), {};
    case "GET network":
      return network;
    case "POST relays/test":
      if (!body.link.startsWith("kith-relay:")) throw new Refusal(400, "bad_link", "This is not a community link. It begins with kith-relay:");
      return { ok: true, name: "Test relay", retention_s: 30 * 86400 };
    case "POST relays": {
      if (!body.link.startsWith("kith-relay:")) throw new Refusal(400, "bad_link", "This is not a community link. It begins with kith-relay:");
      const relay = { id: hex(body.link), name: "New relay", up: true, problem: null, retention_s: 30 * 86400, link: body.link, path: "direct_quic", since: Date.now(), rtt_ms: 20, sentence: "Connected over QUIC.", advice: null };
      relays.push(relay);
      emit({ type: "network", network });
      return relay;
    }
    case "DELETE relays/:id":
      relays.splice(relays.findIndex((r) => r.id === p[1]), 1);
      return emit({ type: "network", network }), {};
    case "GET calls":
      return [];
    case "GET contacts":
      return [...contacts.values()];
    case "POST contacts": {
      if (!body.link.startsWith("kith-invite:")) throw new Refusal(400, "bad_link", "This is not an invite link. Copy all of it, from kith-invite: to its end.");
      const c = person(`Guest ${contacts.size}`, "requested", { since: Date.now() });
      emit({ type: "contact", contact: c });
      return { account: c.account };
    }
    case "GET invites":
      return invites;
    case "POST invites": {
      const invite = { id: hex(String(Math.random())), link: `kith-invite:${hex(String(Math.random()))}${hex("x")}${hex("y")}`, conversation: body.conversation ?? null, uses_left: body.uses, uses: body.uses, expires_at: Date.now() + body.valid_s * 1000 };
      invites.push(invite);
      return invite;
    }
    case "DELETE invites/:id":
      return invites.splice(invites.findIndex((i) => i.id === p[1]), 1), {};
    case "GET conversations":
      return [...conversations.values()].map((c) => c.view).toSorted((a, b) => b.active_at - a.active_at);
    case "POST conversations": {
      const c = conversation(body.title, "group", body.members.map((m) => must(contacts.get(m))), { active_at: Date.now() });
      put(c, null, notice("created", me.name), Date.now());
      return emitConversation(c), { conversation: c.view.id };
    }
  }
  if (p[0] === "contacts") {
    const contact = must(contacts.get(p[1]));
    if (method === "GET" && p[2] === "safety") return { digits: Array.from({ length: 12 }, (_, i) => String(parseInt(hex(`${p[1]}${i}`).slice(0, 8), 16) % 100000).padStart(5, "0")), qr_text: hex(p[1]), verified: contact.verified };
    if (method === "PUT") {
      if (body.nickname !== undefined) contact.nickname = body.nickname;
      if (body.verified !== undefined) contact.verified = body.verified;
    } else {
      contact.state = { accept: "accepted", refuse: "refused", block: "blocked", unblock: "accepted" }[p[2]];
      contact.since = Date.now();
      if (p[2] === "accept") emitConversation(conversation(contact.name, "direct", [contact], { active_at: Date.now() }));
    }
    return emit({ type: "contact", contact }), {};
  }
  const c = must(conversations.get(p[1]));
  const rest = key.replace(/^(\w+) conversations\/:id\/?/u, "$1 ");
  switch (rest) {
    case "GET ": {
      return { conversation: c.view, members: [{ account: me.account, name: me.name, role: "owner", devices: 1, seen: true, me: true, verified: false, may_make_owner: false, may_make_admin: false, may_make_member: true, may_remove: false }, ...c.members.map(member)], role: "owner", may_add: c.view.standing === "active", may_rename: c.view.standing === "active", relays: relays.map((r) => r.name), epoch: 7, state: hex(c.view.id) };
    }
    case "PUT ":
      c.view.title = body.title;
      emitMessage(c, put(c, null, notice("renamed", me.name, body.title), Date.now()));
      return emitConversation(c), {};
    case "DELETE ":
      conversations.delete(c.view.id);
      return emit({ type: "conversation_removed", id: c.view.id }), {};
    case "POST members":
      c.members.push(...body.members.map((m) => must(contacts.get(m))));
      c.view.member_count = c.members.length + 1;
      return emitConversation(c), {};
    case "DELETE members/:id":
      c.members = c.members.filter((m) => m.account !== p[3]);
      c.view.member_count = c.members.length + 1;
      return emitConversation(c), {};
    case "PUT members/:id/role": {
      const who = must(c.members.find((m) => m.account === p[3]));
      who.role = body.role;
      emitMessage(c, put(c, null, notice("role", me.name, who.name, body.role), Date.now()));
      return emitConversation(c), {};
    }
    case "POST leave":
      c.view.standing = "left";
      return emitConversation(c), {};
    case "POST messages/:id/report":
      if (body.reason === "full") throw new Refusal(429, "slow_down", "You have sent many reports to this group within an hour. Wait a while before the next one.", { retry_after_s: 1 });
      emitMessage(c, put(c, null, notice("reported", me.name, must(c.messages.find((m) => m.id === p[3])).author_name), Date.now()));
      return {};
    case "POST reports/:id/settle": {
      const row = must(c.messages.find((m) => m.id === p[3]));
      row.content = { ...row.content, open: false };
      return emitMessage(c, row), {};
    }
    case "GET messages": {
      const limit = Number(query.get("limit") ?? 50);
      const before = query.has("before") ? Number(query.get("before")) : null;
      const after = query.has("after") ? Number(query.get("after")) : null;
      const from = after !== null ? c.messages.findIndex((m) => m.position > after) : null;
      const to = before !== null ? c.messages.findLastIndex((m) => m.position < before) + 1 : c.messages.length;
      const a = from === null ? Math.max(0, to - limit) : from < 0 ? c.messages.length : from;
      const b = from === null ? to : Math.min(c.messages.length, a + limit);
      return { messages: c.messages.slice(a, b), more_before: a > 0, more_after: b < c.messages.length };
    }
    case "GET files":
      return { files: [], more: false };
    case "POST messages": {
      if (Buffer.byteLength(body.text) > 65536) throw new Refusal(413, "too_long", "This message is too long.");
      const known = c.keys.get(body.key);
      if (known !== undefined) return known;
      const quoted = body.reply_to === undefined ? null : c.messages.find((m) => m.id === body.reply_to);
      const message = put(c, null, body.text, Date.now(), { delivery: "queued", reply_to: quoted ? { id: quoted.id, author_name: quoted.author_name, text: quoted.content.text.slice(0, 200) } : null });
      const reply = { id: message.id, position: message.position };
      c.keys.set(body.key, reply);
      emitMessage(c, message);
      emitConversation(c);
      deliver(c, message, [[300, "stored", { stored_until: Date.now() + 30 * DAY, stored_at: 2 }], [900, "delivered"], [1300, "delivered_all"], [2200, "read"]]);
      answer(c, body.text);
      return reply;
    }
    case "POST read":
      c.view.read_position = Math.max(c.view.read_position, body.position);
      summarize(c);
      return emitConversation(c), {};
    case "POST typing":
      return {};
    case "GET messages/:id/delivery": {
      const m = must(c.messages.find((x) => x.id === p[3]));
      return { state: m.delivery, relays: m.stored_at > 0 ? relays.map((r) => ({ relay: r.name, until: m.stored_until, state: "stored", problem: null })) : [], devices: c.members.map((x) => ({ account: x.account, name: x.name, device: hex(x.account), state: m.delivery === "delivered_all" ? "delivered" : m.delivery, at: ["queued", "stored", "failed"].includes(m.delivery) ? null : m.at + 3 * MIN })), problem: m.delivery === "failed" ? "Their device has no key left for new conversations. It works again as soon as they are online." : null };
    }
    case "POST messages/:id/retry":
      return deliver(c, must(c.messages.find((x) => x.id === p[3])), [[100, "queued"], [900, "delivered"]]), {};
  }
  throw new Refusal(404, "not_found", "There is no such address.");
}

/** Not a readable code, but of its looks. */
function qr(text) {
  const bytes = createHash("sha512").update(text).digest();
  let cells = "";
  for (let y = 0; y < 29; y += 1) for (let x = 0; x < 29; x += 1) if ((bytes[(x * 7 + y * 13) % 64] >> (x + y) % 8) & 1) cells += `M${x} ${y}h1v1h-1z`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 29 29" shape-rendering="crispEdges"><path d="${cells}"/></svg>`;
}

const types = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
const secure = { "content-security-policy": "default-src 'self'; img-src 'self' data:", "x-content-type-options": "nosniff", "referrer-policy": "no-referrer" };
const server = createServer(async (request, response) => {
  const url = new URL(request.url, "http://localhost");
  const send = (status, type, data) => response.writeHead(status, { ...secure, "content-type": type }).end(data);
  try {
    if (url.pathname === "/api/v1/qr") return send(200, "image/svg+xml", qr(url.searchParams.get("text") ?? ""));
    if (url.pathname.startsWith("/api/v1/")) {
      const chunks = [];
      for await (const chunk of request) chunks.push(chunk);
      const body = chunks.length > 0 ? JSON.parse(Buffer.concat(chunks).toString()) : {};
      const result = route(request.method, url.pathname.slice("/api/v1".length), url.searchParams, body);
      return send(200, "application/json", JSON.stringify(result));
    }
    const file = join(dist, normalize(url.pathname));
    const asset = extname(file) !== "" && file.startsWith(dist);
    return send(200, types[asset ? extname(file) : ".html"] ?? "text/plain", await readFile(asset ? file : join(dist, "index.html")));
  } catch (error) {
    if (error instanceof Refusal) return send(error.status, "application/problem+json", JSON.stringify(error.body));
    if (error.code === "ENOENT") return send(404, "text/plain", "not found");
    return send(500, "application/problem+json", JSON.stringify({ code: "dev", message: String(error) }));
  }
});
const stream = new WebSocketServer({ noServer: true });
server.on("upgrade", (request, socket, head) => {
  if (!request.url.startsWith("/api/v1/events") || vault !== "unlocked") return socket.destroy();
  stream.handleUpgrade(request, socket, head, (ws) => {
    sockets.add(ws);
    ws.on("close", () => sockets.delete(ws));
    const after = new URL(request.url, "http://localhost").searchParams.get("after");
    ws.send(JSON.stringify({ hello: { seq, resync: after !== null && Number(after) !== seq, run } }));
  });
});
server.listen(Number(arg("port") ?? 5173), "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/`));
if (process.argv.includes("--watch")) spawn("npx", ["vite", "build", "--watch"], { stdio: "inherit" });
