//! Relays: which ones are in use, for which topics, and what their entries
//! lead to. Which object goes to a relay is the outbox's business; what an
//! entry means is the engine's.
//!
//! `session` speaks the log protocol with one relay, `offer` opens and watches
//! topics and hands over what waits, `packages` takes and leaves key packages,
//! `chunks` puts and gets chunks of files, `turn` has credentials for calls ready,
//! `pulse` ends links that nobody answers on, `standing` says what receipts are worth
//! and which relays take an object.

mod audit;
mod chunks;
mod offer;
mod packages;
mod pulse;
mod session;
mod standing;
mod turn;

use std::collections::{BTreeMap, BTreeSet};

use kith_store::{StoreError, Table};
use kith_wire::identity::{Inbox, RelayHint};
use kith_wire::ids::{GroupId, PeerKey, RelayId, TopicId};
use kith_wire::net::{LinkId, LinkKind, NetCommand, Path};
use kith_wire::relay::CommunityLink;
use kith_wire::topic::{Descriptor, Mode, TopicKeys};

use crate::ctx::Ctx;
use crate::files::port::Token;
use crate::groups::{self, Reject};
use crate::live::{Dial, Live, Timer};
use crate::rows::{self, RelayStanding, RelayStandings};
use crate::{delivery, heard, inbox, membership, view};

pub(crate) use audit::run as audit;
pub(crate) use offer::pump;
pub(crate) use packages::{fill_packages, take_package};
pub(crate) use pulse::look as pulse;
use session::{Session, session_view};
pub(crate) use session::{Work, frame};
pub(crate) use turn::{renew as renew_turn, servers as turn_servers};

/// Relays in use at once: own ones and those of groups.
const RELAYS_MAX: usize = 32;
/// Key packages kept at each relay, and the number at which more are put.
const POOL: (u64, u64) = (16, 8);
/// How soon a relay that refused something is asked again, ms.
const REFUSED_MS: u64 = 60_000;
/// Credit for live entries, bytes.
const CREDIT_BYTES: u64 = kith_wire::relay::CREDIT_MAX;

/// A topic that we hold the keys of.
#[derive(Debug)]
struct Topic {
    keys: TopicKeys,
    /// None: the own inbox.
    group: Option<GroupId>,
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
    /// Questions about chunks whose relay is gone.
    dropped: Vec<Token>,
    /// Relays that do not stand well.
    standings: RelayStandings,
    /// Since when one relay at least can be spoken to, monotonic ms.
    some_up_since: Option<u64>,
}

#[derive(Debug, Default)]
struct GroupTopics {
    relays: Vec<RelayHint>,
    topics: Vec<TopicId>,
}

impl Relays {
    /// The relays that the person named.
    pub(crate) fn load(r: &dyn kith_store::Read) -> Result<Self, StoreError> {
        let mut relays = Self { standings: rows::relay_standings(r)?, ..Self::default() };
        for row in r.scan_table(Table::Relays)? {
            if let Some(link) = core::str::from_utf8(&row).ok().and_then(|t| CommunityLink::from_text(t).ok())
            {
                let lied = relays.standings.get(&link.key) == Some(&RelayStanding::Lied);
                relays.sessions.insert(link.key, Session { lied, ..Session::new(link, true) });
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
                let lied = self.standings.get(&hint.id) == Some(&RelayStanding::Lied);
                self.sessions.entry(hint.id).or_insert_with(|| {
                    let link = CommunityLink {
                        name: hint.name.clone(),
                        key: hint.id,
                        addrs: hint.addrs.clone(),
                        admission: Vec::new(),
                    };
                    Session { lied, ..Session::new(link, false) }
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

    /// The group that a topic is of; none: an inbox, or not known any more.
    pub(crate) fn group_of(&self, topic: &TopicId) -> Option<GroupId> {
        self.topics.get(topic).and_then(|t| t.group)
    }

    /// Relays of a group's list.
    pub(crate) fn of_group(&self, group: &GroupId) -> BTreeSet<RelayId> {
        self.relays_of(group)
    }

    /// Relays of a group's list that can be spoken to now.
    pub(crate) fn ready_of(&self, group: &GroupId) -> Vec<RelayId> {
        self.relays_of(group).into_iter().filter(|r| self.sessions.get(r).is_some_and(|s| s.ready)).collect()
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
    pub(crate) fn views(&self, own: &crate::doctor::Own) -> Vec<view::Relay> {
        self.sessions.values().filter(|s| s.own).map(|s| session_view(s, own)).collect()
    }

    /// The name of a relay that is in use here.
    pub(crate) fn name_of(&self, relay: &RelayId) -> Option<String> {
        self.sessions.get(relay).map(|s| s.relay.name.clone())
    }

    /// Own relays, and how many of them are connected.
    pub(crate) fn standing(&self) -> (usize, usize) {
        let own = || self.sessions.values().filter(|s| s.own);
        (own().count(), own().filter(|s| s.ready).count())
    }

    /// Whether UDP leaves this network: what relays that offer QUIC are
    /// reached by.
    pub(crate) fn udp(&self) -> Option<bool> {
        let up = || self.sessions.values().filter(|s| s.link.is_some());
        if up().any(|s| s.path == Some(Path::DirectQuic)) {
            return Some(true);
        }
        let offers = |s: &&Session| s.relay.addrs.iter().any(|a| a.contains("/quic-v1"));
        up().any(|s| offers(&s)).then_some(false)
    }

    /// The round trip to a relay; whether it is the first one.
    pub(crate) fn measured(&mut self, link: LinkId, rtt_ms: Option<u32>) -> bool {
        let Some(s) = self.by_link.get(&link).and_then(|id| self.sessions.get_mut(id)) else { return false };
        let first = s.rtt_ms.is_none();
        s.rtt_ms = rtt_ms;
        first
    }

    pub(crate) fn add(&mut self, link: CommunityLink, own: &crate::doctor::Own) -> view::Relay {
        self.dirty = true;
        let session = self
            .sessions
            .entry(link.key)
            .and_modify(|s| {
                s.relay = link.clone();
                s.own = true;
                s.lied = false;
                s.dial = Dial::now(0);
            })
            .or_insert_with(|| Session::new(link, true));
        session_view(session, own)
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

    /// Whether a link to this relay stands.
    pub(crate) fn is_linked(&self, relay: &RelayId) -> bool {
        self.sessions.get(relay).is_some_and(|s| s.link.is_some())
    }

    /// A link to a relay came up; the relay speaks first.
    pub(crate) fn up(
        &mut self,
        link: LinkId,
        (peer, local, path): (PeerKey, PeerKey, Path),
        wall_ms: u64,
        net: &mut Vec<NetCommand>,
    ) {
        let relay = RelayId(peer.0);
        let Some(s) = self.sessions.get_mut(&relay).filter(|s| s.link.is_none()) else {
            net.push(NetCommand::Close { link });
            return;
        };
        self.dropped.extend(s.lost());
        s.link = Some((link, local));
        s.path = Some(path);
        s.since_ms = wall_ms;
        s.dial.dialling = false;
        self.by_link.insert(link, relay);
    }

    /// A link to a relay is gone. Answers the relay.
    pub(crate) fn down(&mut self, link: LinkId, reason: &str, mono_ms: u64, jitter: u8) -> Option<RelayId> {
        let relay = self.by_link.remove(&link)?;
        if let Some(s) = self.sessions.get_mut(&relay) {
            let stood = s.ready;
            self.dropped.extend(s.lost());
            s.problem.get_or_insert_with(|| reason.to_owned());
            if stood { s.dial.lost(mono_ms, jitter) } else { s.dial.relay_failed(mono_ms, jitter) }
        }
        Some(relay)
    }

    pub(crate) fn dial_failed(&mut self, peer: &PeerKey, reason: &str, mono_ms: u64, jitter: u8) {
        if let Some(s) = self.sessions.get_mut(&RelayId(peer.0)) {
            s.dial.relay_failed(mono_ms, jitter);
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
                patient: true,
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
            groups::ingest(ctx, live, group, None, &object)
        }
    }?;
    heard::read_up_to(ctx, live, relay, topic, index)
}

/// Moves the cursor behind an entry that could not be taken.
pub(crate) fn skip(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    relay: RelayId,
    topic: TopicId,
    index: u64,
) -> Result<(), Reject> {
    rows::set_cursor(&mut ctx.tx, &relay, &topic, index);
    heard::read_up_to(ctx, live, relay, topic, index)
}

/// An entry was dealt with: its bytes may be sent again as credit.
pub(crate) fn consumed(live: &mut Live, relay: RelayId, bytes: usize) {
    if let Some(s) = live.relays.sessions.get_mut(&relay) {
        s.consumed += kith_wire::relay::credit_cost(bytes);
        if s.consumed >= CREDIT_BYTES / 4 {
            let bytes = core::mem::take(&mut s.consumed);
            s.credit(bytes, &mut live.net);
        }
    }
}

/// Carries out one piece of work in its transaction.
pub(crate) fn work(ctx: &mut Ctx<'_>, live: &mut Live, work: &Work) -> Result<(), Reject> {
    match work {
        Work::Entry { relay, topic, index, bytes } => entry(ctx, live, *relay, (*topic, *index), bytes),
        Work::Stored { relay, name, number, receipt, until_ms } => {
            audit::note(ctx, live, relay, *receipt);
            Ok(delivery::stored(ctx, live, *number, (*relay, name), *until_ms)?)
        }
        Work::Refused { relay, name, number, problem } => {
            live.at(ctx.now.mono_ms + REFUSED_MS, Timer::Refused);
            Ok(delivery::refused(ctx, live, *number, (*relay, name), problem)?)
        }
        Work::Package { account, package } => {
            membership::package(ctx, live, *account, package.clone());
            Ok(())
        }
        Work::Listened { relay, topic, last } => heard::listened(ctx, live, *relay, *topic, *last),
        Work::Fill { relay } => packages::fill(ctx, live, *relay),
        Work::Turn { relay, turn } => {
            turn::granted(ctx, live, relay, turn.clone());
            Ok(())
        }
    }
}

fn descriptor(inbox: &Inbox) -> Descriptor {
    Descriptor { read_pub: inbox.read_pub, write_pub: inbox.write_pub, mode: Mode::Inbox }
}
