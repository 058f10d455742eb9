//! Relays: sessions of the log protocol, topics watched at them, what they
//! are asked to keep and what they hand out. Which object goes to a relay is
//! the outbox's business; what an entry means is the engine's.

use std::collections::{BTreeMap, BTreeSet};

use kith_store::{StoreError, Table};
use kith_wire::crypto;
use kith_wire::identity::{Inbox, RelayHint};
use kith_wire::ids::{AccountId, DeviceId, EntryId, GroupId, PeerKey, RelayId, TopicId};
use kith_wire::labels;
use kith_wire::net::{LinkId, LinkKind, NetCommand};
use kith_wire::relay::{
    Answer, Bytes, Call, ClientFrame, Code, CommunityLink, PackageRecord, Push, Receipt, ServerFrame,
    Statement, Watch, common_version,
};
use kith_wire::topic::{Descriptor, LinkContext, Mode, Right, TopicKeys};
use rand_core::Rng as _;

use crate::ctx::Ctx;
use crate::groups::{self, Reject};
use crate::live::{Dial, Live, Timer};
use crate::rows::{self, Outgoing, To};
use crate::{delivery, inbox, membership, people, view};

/// Relays in use at once: own ones and those of groups.
const RELAYS_MAX: usize = 32;
/// Appends of one relay that wait for their receipt.
const APPENDS_MAX: usize = 256;
/// Credit for live entries, bytes.
const CREDIT_BYTES: u64 = kith_wire::relay::CREDIT_MAX;
/// How long relays are asked to keep things, seconds (less if they keep less).
const KEEP_S: u64 = 30 * 24 * 3600;
/// Key packages kept at each relay, and the number at which more are put.
const POOL: (u64, u64) = (16, 8);
/// Clocks further apart than this are worth a sentence, ms.
const CLOCK_MS: u64 = 10 * 60 * 1000;

/// A topic that we hold the keys of.
#[derive(Debug)]
struct Topic {
    keys: TopicKeys,
    /// None: the own inbox.
    group: Option<GroupId>,
}

/// What a call was for.
#[derive(Debug)]
enum Pending {
    Hello,
    OpenRead(TopicId),
    OpenWrite(TopicId),
    Quiet,
    Append { number: u64, topic: TopicId, entry: EntryId },
    TakePackage { account: AccountId, device: DeviceId },
    PutPackages,
}

/// One relay.
#[derive(Debug)]
struct Session {
    relay: CommunityLink,
    /// Named by the person, not only by a group.
    own: bool,
    link: Option<(LinkId, PeerKey)>,
    nonce: [u8; 32],
    ready: bool,
    statement: Option<Statement>,
    next_number: u64,
    calls: BTreeMap<u64, Pending>,
    appends: usize,
    watching: BTreeSet<TopicId>,
    writable: BTreeSet<TopicId>,
    consumed: u64,
    problem: Option<String>,
    dial: Dial,
    pool_filled: bool,
}

/// All relays and topics.
#[derive(Debug, Default)]
pub(crate) struct Relays {
    sessions: BTreeMap<RelayId, Session>,
    by_link: BTreeMap<LinkId, RelayId>,
    topics: BTreeMap<TopicId, Topic>,
    groups: BTreeMap<GroupId, GroupTopics>,
    /// What is to be watched may have changed.
    dirty: bool,
}

#[derive(Debug, Default)]
struct GroupTopics {
    relays: Vec<RelayHint>,
    topics: Vec<TopicId>,
}

impl Session {
    fn new(relay: CommunityLink, own: bool) -> Self {
        Self {
            relay,
            own,
            link: None,
            nonce: [0; 32],
            ready: false,
            statement: None,
            next_number: 1,
            calls: BTreeMap::new(),
            appends: 0,
            watching: BTreeSet::new(),
            writable: BTreeSet::new(),
            consumed: 0,
            problem: None,
            dial: Dial::now(0),
            pool_filled: false,
        }
    }

    fn call(&mut self, call: Call, pending: Pending, net: &mut Vec<NetCommand>) {
        let Some((link, _)) = self.link else { return };
        let number = self.next_number;
        self.next_number += 1;
        if matches!(pending, Pending::Append { .. }) {
            self.appends += 1;
        }
        self.calls.insert(number, pending);
        net.push(NetCommand::Send { link, frame: ClientFrame { number, call }.to_bytes() });
    }

    fn open(&mut self, keys: &TopicKeys, right: Right, net: &mut Vec<NetCommand>) {
        let Some((_, local)) = self.link else { return };
        let context = LinkContext { relay: &self.relay.key, client: &local, nonce: &self.nonce };
        let call = Call::open(keys, &context, right);
        let pending = match right {
            Right::Read => Pending::OpenRead(keys.id()),
            Right::Write => Pending::OpenWrite(keys.id()),
        };
        self.call(call, pending, net);
    }

    fn keep_s(&self) -> u64 {
        self.statement.as_ref().map_or(KEEP_S, |s| s.retention_s.min(KEEP_S))
    }

    fn lost(&mut self) {
        self.link = None;
        self.ready = false;
        self.calls.clear();
        self.appends = 0;
        self.watching.clear();
        self.writable.clear();
        self.consumed = 0;
    }
}

impl Relays {
    /// The relays that the person named.
    pub(crate) fn load(r: &dyn kith_store::Read) -> Result<Self, StoreError> {
        let mut relays = Self::default();
        for row in r.scan_table(Table::Relays)? {
            if let Some(link) = core::str::from_utf8(&row).ok().and_then(|t| CommunityLink::from_text(t).ok())
            {
                relays.sessions.insert(link.key, Session::new(link, true));
            }
        }
        Ok(relays)
    }

    /// Own relays as contacts and new groups are told about them.
    pub(crate) fn hints(&self) -> Vec<RelayHint> {
        self.sessions
            .values()
            .filter(|s| s.own)
            .take(kith_wire::limits::CARD_RELAYS_MAX)
            .map(|s| RelayHint { id: s.relay.key, name: s.relay.name.clone(), addrs: s.relay.addrs.clone() })
            .collect()
    }

    /// Circuit reservations are kept at own relays.
    pub(crate) fn reserve(&self, net: &mut Vec<NetCommand>) {
        let relays = self.hints().into_iter().map(|h| (PeerKey(h.id.0), h.addrs)).collect();
        net.push(NetCommand::Reserve { relays });
    }

    /// Watches the own inbox.
    pub(crate) fn set_inbox(&mut self, keys: &TopicKeys) {
        self.topics.insert(keys.id(), Topic { keys: keys.clone(), group: None });
        self.dirty = true;
    }

    /// A group's relays and topics as they are now.
    pub(crate) fn set_group(&mut self, group: GroupId, relays: Vec<RelayHint>, topics: &kith_mls::Topics) {
        for hint in &relays {
            if self.sessions.len() < RELAYS_MAX {
                self.sessions.entry(hint.id).or_insert_with(|| {
                    let link = CommunityLink {
                        name: hint.name.clone(),
                        key: hint.id,
                        addrs: hint.addrs.clone(),
                        admission: Vec::new(),
                    };
                    Session::new(link, false)
                });
            }
        }
        let old = self.groups.remove(&group).unwrap_or_default();
        let mut ids = Vec::new();
        for secret in topics.current.iter().chain(&topics.watched).chain(&topics.old) {
            let known = old
                .topics
                .iter()
                .find(|id| self.topics.get(id).is_some_and(|t| t.keys.secret() == &secret.secret));
            let id = match known {
                Some(id) => *id,
                None => {
                    let keys = TopicKeys::derive(&secret.secret, Mode::Group);
                    let id = keys.id();
                    self.topics.insert(id, Topic { keys, group: Some(group) });
                    id
                }
            };
            ids.push(id);
        }
        for gone in old.topics.iter().filter(|t| !ids.contains(t)) {
            self.topics.remove(gone);
        }
        self.groups.insert(group, GroupTopics { relays, topics: ids });
        self.dirty = true;
    }

    /// The topic that new objects of a group go to. Before the group's first
    /// refresh: none that any relay knows.
    pub(crate) fn current_topic(&self, group: &GroupId) -> TopicId {
        self.groups.get(group).and_then(|g| g.topics.first().copied()).unwrap_or_default()
    }

    fn relays_of(&self, group: &GroupId) -> BTreeSet<RelayId> {
        self.groups.get(group).map(|g| g.relays.iter().map(|r| r.id).collect()).unwrap_or_default()
    }

    /// Relays that could hold something for this destination.
    pub(crate) fn count_for(&self, to: &To) -> usize {
        match to {
            To::Group { group, .. } => self.relays_of(group).len(),
            To::Inbox { .. } => 1,
        }
    }

    fn watched_at(&self, relay: &RelayId) -> Vec<TopicId> {
        let own = self.sessions.get(relay).is_some_and(|s| s.own);
        self.topics
            .iter()
            .filter(|(_, t)| match &t.group {
                None => own,
                Some(group) => self.relays_of(group).contains(relay),
            })
            .map(|(id, _)| *id)
            .collect()
    }

    /// For people: every relay that the person named.
    pub(crate) fn views(&self) -> Vec<view::Relay> {
        self.sessions.values().filter(|s| s.own).map(session_view).collect()
    }

    pub(crate) fn add(&mut self, link: CommunityLink) -> view::Relay {
        self.dirty = true;
        let session = self
            .sessions
            .entry(link.key)
            .and_modify(|s| {
                s.relay = link.clone();
                s.own = true;
                s.dial = Dial::now(0);
            })
            .or_insert_with(|| Session::new(link, true));
        session_view(session)
    }

    pub(crate) fn own(&self, relay: &RelayId) -> bool {
        self.sessions.get(relay).is_some_and(|s| s.own)
    }

    pub(crate) fn own_count(&self) -> usize {
        self.sessions.values().filter(|s| s.own).count()
    }

    pub(crate) fn remove(&mut self, relay: &RelayId, net: &mut Vec<NetCommand>) {
        if let Some(s) = self.sessions.get_mut(relay) {
            s.own = false;
            self.dirty = true;
            let used = self.groups.values().any(|g| g.relays.iter().any(|r| r.id == *relay));
            if !used && let Some((link, _)) = s.link {
                net.push(NetCommand::Close { link });
            }
        }
    }

    pub(crate) fn is_link(&self, link: LinkId) -> bool {
        self.by_link.contains_key(&link)
    }

    /// A link to a relay came up; the relay speaks first.
    pub(crate) fn up(&mut self, link: LinkId, peer: PeerKey, local: PeerKey, net: &mut Vec<NetCommand>) {
        let relay = RelayId(peer.0);
        let Some(s) = self.sessions.get_mut(&relay).filter(|s| s.link.is_none()) else {
            net.push(NetCommand::Close { link });
            return;
        };
        s.lost();
        s.link = Some((link, local));
        s.dial.dialling = false;
        self.by_link.insert(link, relay);
    }

    /// A link to a relay is gone. Answers the relay.
    pub(crate) fn down(&mut self, link: LinkId, reason: &str, mono_ms: u64, jitter: u8) -> Option<RelayId> {
        let relay = self.by_link.remove(&link)?;
        if let Some(s) = self.sessions.get_mut(&relay) {
            let stood = s.ready;
            s.lost();
            s.problem.get_or_insert_with(|| reason.to_owned());
            if stood { s.dial.lost(mono_ms, jitter) } else { s.dial.failed(mono_ms, jitter) }
        }
        Some(relay)
    }

    pub(crate) fn dial_failed(&mut self, peer: &PeerKey, reason: &str, mono_ms: u64, jitter: u8) {
        if let Some(s) = self.sessions.get_mut(&RelayId(peer.0)) {
            s.dial.failed(mono_ms, jitter);
            s.problem = Some(reason.to_owned());
        }
    }

    pub(crate) fn next_dial(&self) -> Option<u64> {
        self.sessions
            .values()
            .filter(|s| s.link.is_none() && !s.dial.dialling && !s.relay.addrs.is_empty())
            .map(|s| s.dial.next_at)
            .min()
    }
}

fn session_view(s: &Session) -> view::Relay {
    view::Relay {
        id: s.relay.key.hex(),
        name: s.relay.name.clone(),
        up: s.ready,
        problem: if s.ready && s.problem.is_none() { None } else { s.problem.clone() },
        retention_s: s.statement.as_ref().map(|st| st.retention_s),
        link: s.relay.to_text(),
    }
}

/// Dials the relays whose time has come.
pub(crate) fn dial(ctx: &Ctx<'_>, live: &mut Live) {
    let now = ctx.now.mono_ms;
    for s in live.relays.sessions.values_mut() {
        if s.link.is_none() && !s.dial.dialling && s.dial.next_at <= now && !s.relay.addrs.is_empty() {
            s.dial.dialling = true;
            live.net.push(NetCommand::Dial {
                kind: LinkKind::Log,
                peer: PeerKey(s.relay.key.0),
                addrs: s.relay.addrs.clone(),
            });
        }
    }
    schedule(live);
}

/// Sets the next relay dial.
pub(crate) fn schedule(live: &mut Live) {
    if let Some(at) = live.relays.next_dial() {
        live.at(at, Timer::RelayDials);
    }
}

/// What a frame of a relay asks to be done in transactions of its own.
pub(crate) enum Work {
    /// A topic's entry.
    Entry { relay: RelayId, topic: TopicId, index: u64, bytes: Vec<u8> },
    /// A receipt for an outbox row.
    Stored { relay: RelayId, name: String, number: u64, until_ms: u64 },
    /// A key package of an account.
    Package { account: AccountId, package: Vec<u8> },
    /// The own pool at a relay wants more.
    Fill { relay: RelayId },
    /// A refused row may go to another relay or wait.
    Refused { relay: RelayId, number: u64 },
}

/// Reads a frame of a relay: keeps the session going and answers what is left
/// to do.
pub(crate) fn frame(live: &mut Live, link: LinkId, bytes: &[u8], wall_ms: u64) -> Vec<Work> {
    let Some(relay) = live.relays.by_link.get(&link).copied() else { return Vec::new() };
    match ServerFrame::from_bytes(bytes) {
        Ok(ServerFrame::Hello { lowest, highest, nonce, statement }) => {
            greeted(live, relay, (lowest, highest), nonce, &statement, wall_ms);
            Vec::new()
        }
        Ok(ServerFrame::Answer { number, answer }) => answered(live, relay, number, answer),
        Ok(ServerFrame::Refused { number, refusal }) => refused(live, relay, number, refusal),
        Ok(ServerFrame::Push { push }) => pushed(relay, push),
        Err(e) => {
            let reason = format!("The relay sends what Kith cannot read ({e}). Tell its operator.");
            if let Some(s) = live.relays.sessions.get_mut(&relay) {
                s.problem = Some(reason);
            }
            live.net.push(NetCommand::Close { link });
            Vec::new()
        }
    }
}

fn greeted(
    live: &mut Live,
    relay: RelayId,
    versions: (u16, u16),
    nonce: [u8; 32],
    statement: &[u8],
    wall_ms: u64,
) {
    let Some(s) = live.relays.sessions.get_mut(&relay) else { return };
    let Some((link, _)) = s.link else { return };
    let statement = Statement::verify(statement, &relay);
    match (common_version(versions), statement) {
        (Some(_), Ok(statement)) => {
            s.problem = (statement.issued_ms.abs_diff(wall_ms) > CLOCK_MS).then(|| {
                "The clocks of this computer and of the relay are far apart. Check date and time here: messages would be sorted wrongly.".into()
            });
            if !statement.name.is_empty() {
                s.relay.name.clone_from(&statement.name);
            }
            s.statement = Some(statement);
            s.nonce = nonce;
            let hello = Call::hello(&s.relay.admission);
            s.call(hello, Pending::Hello, &mut live.net);
        }
        (version, _) => {
            s.problem = Some(if version.is_none() {
                "This relay speaks another version of Kith's protocol. Update Kith, or ask the relay's operator to update.".into()
            } else {
                "This relay could not prove who it is. Do not use it, and tell its operator.".into()
            });
            live.net.push(NetCommand::Close { link });
        }
    }
    live.network_changed = true;
}

fn answered(live: &mut Live, relay: RelayId, number: u64, answer: Answer) -> Vec<Work> {
    let Some(s) = live.relays.sessions.get_mut(&relay) else { return Vec::new() };
    let Some(pending) = s.calls.remove(&number) else { return Vec::new() };
    match (pending, answer) {
        (Pending::Hello, Answer::Hello { .. }) => {
            s.ready = true;
            s.dial = Dial::now(0);
            live.relays.dirty = true;
            live.outbox.relay_lost(&relay);
            live.network_changed = true;
            Vec::new()
        }
        (Pending::OpenWrite(topic), Answer::Opened { packages, .. }) => {
            s.writable.insert(topic);
            let inbox = live.relays.topics.get(&topic).is_some_and(|t| t.group.is_none());
            if inbox && packages < POOL.1 { vec![Work::Fill { relay }] } else { Vec::new() }
        }
        (Pending::Append { number, topic, entry }, Answer::Receipt { receipt }) => {
            s.appends = s.appends.saturating_sub(1);
            match Receipt::verify(&receipt, &relay, &topic, &entry) {
                Ok(receipt) => vec![Work::Stored {
                    relay,
                    name: s.relay.name.clone(),
                    number,
                    until_ms: receipt.stored_until_ms,
                }],
                Err(_) => {
                    s.problem = Some("The relay's receipt is not valid. Tell its operator.".into());
                    vec![Work::Refused { relay, number }]
                }
            }
        }
        (Pending::TakePackage { account, device }, Answer::Package { record }) => {
            match PackageRecord::verify(&record, &device) {
                Ok(record) => vec![Work::Package { account, package: record.package }],
                Err(_) => Vec::new(),
            }
        }
        _ => Vec::new(),
    }
}

fn refused(live: &mut Live, relay: RelayId, number: u64, refusal: kith_wire::relay::Refusal) -> Vec<Work> {
    let Some(s) = live.relays.sessions.get_mut(&relay) else { return Vec::new() };
    let Some(pending) = s.calls.remove(&number) else { return Vec::new() };
    let sentence = sentence(&refusal);
    live.network_changed = true;
    match pending {
        Pending::Hello => {
            s.problem = Some(sentence);
            if let Some((link, _)) = s.link {
                live.net.push(NetCommand::Close { link });
            }
            Vec::new()
        }
        Pending::Append { number, topic, .. } => {
            s.appends = s.appends.saturating_sub(1);
            if refusal.code == Code::NotOpen {
                s.writable.remove(&topic);
            }
            s.problem = Some(sentence);
            vec![Work::Refused { relay, number }]
        }
        Pending::OpenRead(topic) => {
            s.watching.remove(&topic);
            s.problem = Some(sentence);
            Vec::new()
        }
        Pending::OpenWrite(topic) => {
            s.writable.remove(&topic);
            s.problem = Some(sentence);
            Vec::new()
        }
        // Nothing to take: asked again later, or when the person is online.
        Pending::TakePackage { .. } | Pending::PutPackages | Pending::Quiet => Vec::new(),
    }
}

fn sentence(refusal: &kith_wire::relay::Refusal) -> String {
    let text = refusal.to_string();
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).chain(['.']).collect())
}

fn pushed(relay: RelayId, push: Push) -> Vec<Work> {
    match push {
        Push::Entry { topic, index, bytes } => vec![Work::Entry { relay, topic, index, bytes }],
        Push::PackagesLow { .. } => vec![Work::Fill { relay }],
        Push::Evicted { .. } => Vec::new(),
    }
}

/// Takes in one entry of a topic and moves the cursor behind it.
pub(crate) fn entry(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    relay: RelayId,
    (topic, index): (TopicId, u64),
    bytes: &[u8],
) -> Result<(), Reject> {
    rows::set_cursor(&mut ctx.tx, &relay, &topic, index);
    let Some(t) = live.relays.topics.get(&topic) else { return Ok(()) };
    match t.group {
        None => inbox::receive(ctx, live, bytes),
        Some(group) => {
            let object = t.keys.open(bytes)?;
            groups::ingest(ctx, live, group, &object)
        }
    }
}

/// Moves the cursor behind an entry that could not be taken.
pub(crate) fn skip(ctx: &mut Ctx<'_>, relay: RelayId, topic: TopicId, index: u64) {
    rows::set_cursor(&mut ctx.tx, &relay, &topic, index);
}

/// An entry was dealt with: its bytes may be sent again as credit.
pub(crate) fn consumed(live: &mut Live, relay: RelayId, bytes: usize) {
    if let Some(s) = live.relays.sessions.get_mut(&relay) {
        s.consumed += kith_wire::relay::credit_cost(bytes);
        if s.consumed >= CREDIT_BYTES / 4 {
            let bytes = core::mem::take(&mut s.consumed);
            s.call(Call::Credit { bytes }, Pending::Quiet, &mut live.net);
        }
    }
}

/// Opens and watches what is to be watched, and asks relays to keep what
/// waits for them. Runs after every input.
pub(crate) fn pump(ctx: &mut Ctx<'_>, live: &mut Live) -> Result<(), Reject> {
    let ready: Vec<RelayId> =
        live.relays.sessions.iter().filter(|(_, s)| s.ready).map(|(id, _)| *id).collect();
    if ready.is_empty() {
        return Ok(());
    }
    if core::mem::take(&mut live.relays.dirty) {
        for relay in &ready {
            watch(ctx, live, relay)?;
        }
    }
    let wanted: Vec<u64> = live.outbox.wanted_at_relays().collect();
    for number in wanted {
        if ready.iter().all(|r| live.relays.sessions.get(r).is_none_or(|s| s.appends >= APPENDS_MAX)) {
            break;
        }
        append(ctx, live, number)?;
    }
    Ok(())
}

fn watch(ctx: &mut Ctx<'_>, live: &mut Live, relay: &RelayId) -> Result<(), Reject> {
    let topics = live.relays.watched_at(relay);
    let Relays { sessions, topics: keys, .. } = &mut live.relays;
    let Some(s) = sessions.get_mut(relay) else { return Ok(()) };
    let first = s.watching.is_empty();
    let mut fresh = Vec::new();
    for topic in &topics {
        let Some(t) = keys.get(topic).filter(|_| !s.watching.contains(topic)) else { continue };
        s.open(&t.keys, Right::Read, &mut live.net);
        if t.group.is_none() {
            s.open(&t.keys, Right::Write, &mut live.net);
        }
        fresh.push(Watch { topic: *topic, after: rows::cursor(&ctx.tx, relay, topic)? });
    }
    for (i, chunk) in fresh.chunks(kith_wire::relay::WATCH_TOPICS_MAX).enumerate() {
        let credit = if first && i == 0 { CREDIT_BYTES } else { 0 };
        s.watching.extend(chunk.iter().map(|w| w.topic));
        s.call(Call::Watch { topics: chunk.to_vec(), credit }, Pending::Quiet, &mut live.net);
    }
    let gone: Vec<TopicId> = s.watching.iter().filter(|t| !topics.contains(t)).copied().collect();
    for chunk in gone.chunks(kith_wire::relay::WATCH_TOPICS_MAX) {
        s.watching.retain(|t| !chunk.contains(t));
        s.call(Call::Unwatch { topics: chunk.to_vec() }, Pending::Quiet, &mut live.net);
    }
    Ok(())
}

fn append(ctx: &mut Ctx<'_>, live: &mut Live, number: u64) -> Result<(), Reject> {
    let Some(item) = live.outbox.get(number) else { return Ok(()) };
    let relays: BTreeSet<RelayId> = match &item.to {
        To::Group { group, .. } => live.relays.relays_of(group),
        To::Inbox { device, .. } => live.card_relays(device),
    };
    let open: Vec<RelayId> = relays
        .into_iter()
        .filter(|r| !item.asked.contains(r) && !item.receipts.contains(r) && !item.refused.contains(r))
        .filter(|r| live.relays.sessions.get(r).is_some_and(|s| s.ready && s.appends < APPENDS_MAX))
        .collect();
    if open.is_empty() {
        return Ok(());
    }
    let Some(row) = Outgoing::load(&ctx.tx, number)? else {
        live.outbox.remove(number);
        return Ok(());
    };
    for relay in open {
        let sent = match &row.to {
            To::Group { topic, .. } => append_group(live, &relay, topic, number, &row.object)?,
            To::Inbox { device, .. } => deliver(ctx, live, &relay, device, number, &row.object)?,
        };
        if sent {
            live.outbox.asked(number, relay);
        }
    }
    Ok(())
}

fn append_group(
    live: &mut Live,
    relay: &RelayId,
    topic: &TopicId,
    number: u64,
    object: &[u8],
) -> Result<bool, Reject> {
    let Relays { sessions, topics, .. } = &mut live.relays;
    let (Some(s), Some(t)) = (sessions.get_mut(relay), topics.get(topic)) else { return Ok(false) };
    if s.writable.insert(*topic) {
        s.open(&t.keys, Right::Write, &mut live.net);
    }
    // The same object always makes the same entry, so that the relay
    // recognises a second try. Only equal plaintexts share a nonce.
    let mut nonce = [0; 24];
    let digest = EntryId::of(object);
    crypto::derive_into(t.keys.secret(), labels::TOPIC_NONCE, &digest.0, &mut nonce);
    let bytes = t.keys.seal(object, &nonce)?;
    let entry = EntryId::of(&bytes);
    let keep_s = s.keep_s();
    s.call(
        Call::append(*topic, bytes, keep_s),
        Pending::Append { number, topic: *topic, entry },
        &mut live.net,
    );
    Ok(true)
}

fn deliver(
    ctx: &Ctx<'_>,
    live: &mut Live,
    relay: &RelayId,
    device: &DeviceId,
    number: u64,
    sealed: &[u8],
) -> Result<bool, Reject> {
    let Some(reach) = people::reach(&ctx.tx, device)? else { return Ok(false) };
    let descriptor = descriptor(&reach.inbox);
    let token = people::token_for(&ctx.tx, device)?;
    let Some(s) = live.relays.sessions.get_mut(relay) else { return Ok(false) };
    let keep_s = s.keep_s();
    let call = match token {
        Some(token) => Call::deliver(&token, descriptor, relay, sealed.to_vec(), keep_s),
        None => {
            let bits = s.statement.as_ref().map_or(0, |st| st.work_bits);
            Call::request(descriptor, relay, bits, sealed.to_vec(), keep_s)?
        }
    };
    let pending = Pending::Append { number, topic: descriptor.id(), entry: EntryId::of(sealed) };
    s.call(call, pending, &mut live.net);
    Ok(true)
}

fn descriptor(inbox: &Inbox) -> Descriptor {
    Descriptor { read_pub: inbox.read_pub, write_pub: inbox.write_pub, mode: Mode::Inbox }
}

/// Asks the relays of a device for one of its key packages.
pub(crate) fn take_package(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    account: AccountId,
    reach: &people::Reach,
) -> Result<(), Reject> {
    let Some(token) = people::token_for(&ctx.tx, &reach.device)? else { return Ok(()) };
    for hint in &reach.relays {
        let mut request = [0; 32];
        ctx.rng.fill_bytes(&mut request);
        if let Some(s) = live.relays.sessions.get_mut(&hint.id).filter(|s| s.ready) {
            let call = Call::take_package(&token, descriptor(&reach.inbox), &hint.id, EntryId(request));
            s.call(call, Pending::TakePackage { account, device: reach.device }, &mut live.net);
            return Ok(());
        }
    }
    Ok(())
}

/// Fills the pools of key packages at all own relays that are up.
pub(crate) fn fill_packages(ctx: &mut Ctx<'_>, live: &mut Live) -> Result<(), Reject> {
    let own: Vec<RelayId> =
        live.relays.sessions.iter().filter(|(_, s)| s.own && s.ready).map(|(id, _)| *id).collect();
    for relay in own {
        let inbox = ctx.me.inbox_topic();
        if let Some(s) = live.relays.sessions.get_mut(&relay) {
            // The answer says how many are left, and asks for more if few.
            s.open(&inbox, Right::Write, &mut live.net);
        }
    }
    Ok(())
}

/// Puts fresh key packages at a relay.
pub(crate) fn fill(ctx: &mut Ctx<'_>, live: &mut Live, relay: RelayId) -> Result<(), Reject> {
    let inbox = ctx.me.inbox_topic().id();
    let mut records = Vec::new();
    let key = ctx.me.device_key();
    for _ in 0..POOL.0 {
        let package = ctx.engine.key_package(&mut ctx.tx, false)?;
        records.push(Bytes(PackageRecord::sign(key, package, ctx.now.wall_ms, false)));
    }
    let Some(s) = live.relays.sessions.get_mut(&relay) else { return Ok(()) };
    let last_resort = if core::mem::replace(&mut s.pool_filled, true) {
        None
    } else {
        let package = ctx.engine.key_package(&mut ctx.tx, true)?;
        Some(Bytes(PackageRecord::sign(key, package, ctx.now.wall_ms, true)))
    };
    s.call(Call::PutPackages { inbox, records, last_resort }, Pending::PutPackages, &mut live.net);
    Ok(())
}

/// Carries out one piece of work in its transaction.
pub(crate) fn work(ctx: &mut Ctx<'_>, live: &mut Live, work: &Work) -> Result<(), Reject> {
    match work {
        Work::Entry { relay, topic, index, bytes } => entry(ctx, live, *relay, (*topic, *index), bytes),
        Work::Stored { relay, name, number, until_ms } => {
            Ok(delivery::stored(ctx, live, *number, (*relay, name), *until_ms)?)
        }
        Work::Package { account, package } => {
            membership::package(ctx, live, *account, package.clone());
            Ok(())
        }
        Work::Fill { relay } => fill(ctx, live, *relay),
        Work::Refused { relay, number } => {
            live.outbox.answered(*number, *relay, false);
            Ok(())
        }
    }
}
