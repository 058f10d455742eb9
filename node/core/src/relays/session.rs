//! The session with one relay: its greeting, its answers, what it pushes.

use std::collections::{BTreeMap, BTreeSet};

use kith_wire::ids::{AccountId, DeviceId, EntryId, PeerKey, RelayId, TopicId};
use kith_wire::net::{LinkId, NetCommand, Path};
use kith_wire::relay::{
    Answer, Call, ClientFrame, Code, CommunityLink, PackageRecord, Push, Receipt, ServerFrame, Statement,
    Turn, common_version,
};
use kith_wire::topic::{LinkContext, Right, TopicKeys};

use super::POOL;
use super::audit::{self, Audit};
use super::pulse::Pulse;
use crate::files::port::{Do, Relayed, Token};
use crate::live::{Dial, Live};
use crate::{doctor, view};

/// Appends of one relay that wait for their receipt.
const APPENDS_MAX: usize = 256;
/// How long relays are asked to keep things, seconds (less if they keep less).
const KEEP_S: u64 = 30 * 24 * 3600;
/// Clocks further apart than this are worth a sentence, ms.
const CLOCK_MS: u64 = 10 * 60 * 1000;

/// What a call was for.
#[derive(Debug)]
pub(super) enum Pending {
    Hello,
    OpenRead(TopicId),
    OpenWrite(TopicId),
    Quiet,
    Append {
        number: u64,
        topic: TopicId,
        entry: EntryId,
    },
    TakePackage {
        account: AccountId,
        device: DeviceId,
    },
    PutPackages,
    PutChunk(Token),
    GetChunk(Token),
    Turn,
    Audit {
        entry: EntryId,
        index: u64,
    },
    /// How far a topic goes.
    Listen(TopicId),
}

/// One relay.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) relay: CommunityLink,
    /// Named by the person, not only by a group.
    pub(super) own: bool,
    pub(super) link: Option<(LinkId, PeerKey)>,
    pub(super) nonce: [u8; 32],
    pub(super) ready: bool,
    pub(super) statement: Option<Statement>,
    pub(super) next_number: u64,
    /// What waits for an answer, and how many bytes have to pass for it.
    pub(super) calls: BTreeMap<u64, (Pending, u64)>,
    /// Whether it still answers.
    pub(super) pulse: Pulse,
    pub(super) appends: usize,
    pub(super) watching: BTreeSet<TopicId>,
    pub(super) writable: BTreeSet<TopicId>,
    pub(super) consumed: u64,
    pub(super) problem: Option<String>,
    pub(super) dial: Dial,
    pub(super) pool_filled: bool,
    /// Credentials of its TURN server, and when they end, monotonic ms.
    pub(super) turn: Option<(Turn, u64)>,
    /// Receipts that are to be held against it, and whether it has lied.
    pub(super) audits: Vec<Audit>,
    pub(super) lied: bool,
    /// The newest receipt of each topic.
    pub(super) newest: BTreeMap<TopicId, (EntryId, u64)>,
    /// Since when it cannot be spoken to, monotonic ms, and whether it could
    /// before.
    pub(super) away_since: Option<u64>,
    pub(super) stood: bool,
    /// How the link travels, since when (Unix ms), and its round trip.
    pub(super) path: Option<Path>,
    pub(super) since_ms: u64,
    pub(super) rtt_ms: Option<u32>,
}

impl Session {
    pub(super) fn new(relay: CommunityLink, own: bool) -> Self {
        Self {
            relay,
            own,
            link: None,
            nonce: [0; 32],
            ready: false,
            statement: None,
            next_number: 1,
            calls: BTreeMap::new(),
            pulse: Pulse::default(),
            appends: 0,
            watching: BTreeSet::new(),
            writable: BTreeSet::new(),
            consumed: 0,
            problem: None,
            dial: Dial::now(0),
            pool_filled: false,
            turn: None,
            audits: Vec::new(),
            lied: false,
            newest: BTreeMap::new(),
            away_since: None,
            stood: false,
            path: None,
            since_ms: 0,
            rtt_ms: None,
        }
    }

    pub(super) fn call(&mut self, call: Call, pending: Pending, net: &mut Vec<NetCommand>) {
        let Some((link, _)) = self.link else { return };
        let number = self.next_number;
        self.next_number += 1;
        if matches!(pending, Pending::Append { .. }) {
            self.appends += 1;
        }
        // A chunk that is asked for takes its time, too.
        let answer = if let Call::GetChunk { len, .. } = &call { *len } else { 0 };
        let frame = ClientFrame { number, call }.to_bytes();
        self.calls.insert(number, (pending, frame.len() as u64 + answer));
        net.push(NetCommand::Send { link, frame });
    }

    pub(super) fn open(&mut self, keys: &TopicKeys, right: Right, net: &mut Vec<NetCommand>) {
        let Some((_, local)) = self.link else { return };
        let context = LinkContext { relay: &self.relay.key, client: &local, nonce: &self.nonce };
        let call = Call::open(keys, &context, right);
        let pending = match right {
            Right::Read => Pending::OpenRead(keys.id()),
            Right::Write => Pending::OpenWrite(keys.id()),
        };
        self.call(call, pending, net);
    }

    /// Lets the relay send more live entries.
    pub(super) fn credit(&mut self, bytes: u64, net: &mut Vec<NetCommand>) {
        self.call(Call::Credit { bytes }, Pending::Quiet, net);
    }

    /// Another append may be sent.
    pub(super) fn has_room(&self) -> bool {
        self.appends < APPENDS_MAX
    }

    pub(super) fn keep_s(&self) -> u64 {
        self.statement.as_ref().map_or(KEEP_S, |s| s.retention_s.min(KEEP_S))
    }

    fn refuses(&self, number: u64, problem: String) -> Work {
        Work::Refused { relay: self.relay.key, name: self.relay.name.clone(), number, problem }
    }

    /// The link is gone. Answers the questions about chunks that nobody will
    /// answer now.
    pub(super) fn lost(&mut self) -> Vec<Token> {
        self.link = None;
        self.path = None;
        self.rtt_ms = None;
        self.ready = false;
        let calls = core::mem::take(&mut self.calls);
        self.appends = 0;
        self.watching.clear();
        self.writable.clear();
        self.consumed = 0;
        let chunk = |pending| match pending {
            Pending::PutChunk(token) | Pending::GetChunk(token) => Some(token),
            _ => None,
        };
        self.pulse.ended();
        calls.into_values().filter_map(|(pending, _)| chunk(pending)).collect()
    }
}

/// What a person sees of a relay.
pub(super) fn session_view(s: &Session, own: &doctor::Own) -> view::Relay {
    let up = s.path.filter(|_| s.ready);
    let doctor::Finding { sentence, advice } = doctor::relay(own, up, s.rtt_ms, s.problem.as_deref());
    view::Relay {
        path: up.map(|p| crate::network::path_name(p).to_owned()),
        since: s.ready.then_some(s.since_ms),
        rtt_ms: s.rtt_ms,
        sentence,
        advice,
        id: s.relay.key.hex(),
        name: s.relay.name.clone(),
        up: s.ready,
        problem: if s.ready && s.problem.is_none() { None } else { s.problem.clone() },
        retention_s: s.statement.as_ref().map(|st| st.retention_s),
        link: s.relay.to_text(),
    }
}

/// What a frame of a relay asks to be done in transactions of its own.
pub(crate) enum Work {
    /// A topic's entry.
    Entry { relay: RelayId, topic: TopicId, index: u64, bytes: Vec<u8> },
    /// A receipt for an outbox row.
    Stored { relay: RelayId, name: String, number: u64, receipt: (TopicId, EntryId, u64), until_ms: u64 },
    /// A key package of an account.
    Package { account: AccountId, package: Vec<u8> },
    /// A topic's entries went up to this one when it was looked at.
    Listened { relay: RelayId, topic: TopicId, last: u64 },
    /// The own pool at a relay wants more.
    Fill { relay: RelayId },
    /// Credentials of a relay's TURN server.
    Turn { relay: RelayId, turn: Turn },
    /// A refused row may go to another relay or wait.
    Refused { relay: RelayId, name: String, number: u64, problem: String },
}

/// Reads a frame of a relay: keeps the session going and answers what is left
/// to do.
pub(crate) fn frame(live: &mut Live, link: LinkId, bytes: &[u8], wall_ms: u64) -> Vec<Work> {
    let Some(relay) = live.relays.by_link.get(&link).copied() else { return Vec::new() };
    if let Some(s) = live.relays.sessions.get_mut(&relay) {
        s.pulse.heard();
    }
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
            if s.lied {
                s.problem = Some(audit::LIED.into());
            }
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
    let Some((pending, _)) = s.calls.remove(&number) else { return Vec::new() };
    match (pending, answer) {
        (Pending::Hello, Answer::Hello { .. }) => {
            s.ready = true;
            s.dial = Dial::now(0);
            live.relays.dirty = true;
            live.outbox.relay_lost(&relay);
            live.network_changed = true;
            live.files.sources_changed();
            super::turn::ask(live, &relay);
            Vec::new()
        }
        (Pending::Turn, Answer::Turn { turn }) if turn.is_sound() => vec![Work::Turn { relay, turn }],
        (Pending::OpenWrite(topic), Answer::Opened { packages, .. }) => {
            s.writable.insert(topic);
            let inbox = live.relays.topics.get(&topic).is_some_and(|t| t.group.is_none());
            if inbox && packages < POOL.1 { vec![Work::Fill { relay }] } else { Vec::new() }
        }
        (Pending::Listen(topic), Answer::Ids { next, end, .. }) => {
            if end {
                return vec![Work::Listened { relay, topic, last: next }];
            }
            s.call(Call::Have { topic, after: next }, Pending::Listen(topic), &mut live.net);
            Vec::new()
        }
        (Pending::Append { number, topic, entry }, Answer::Receipt { receipt }) => {
            s.appends = s.appends.saturating_sub(1);
            match Receipt::verify(&receipt, &relay, &topic, &entry) {
                Ok(_) if s.lied => vec![s.refuses(number, audit::LIED.into())],
                Ok(receipt) => vec![Work::Stored {
                    relay,
                    name: s.relay.name.clone(),
                    number,
                    receipt: (topic, entry, receipt.index),
                    until_ms: receipt.stored_until_ms,
                }],
                Err(_) => {
                    let problem = "The relay's receipt is not valid. Tell its operator.";
                    s.problem = Some(problem.into());
                    vec![s.refuses(number, problem.into())]
                }
            }
        }
        (Pending::Audit { entry, index }, Answer::Ids { ids, .. }) => {
            if audit::answered(s, entry, index, &ids) {
                let name = s.relay.name.clone();
                live.network_changed = true;
                live.notice(None, "relay_lied", format!("{name}: {}", audit::LIED));
            }
            Vec::new()
        }
        (Pending::TakePackage { account, device }, Answer::Package { record }) => {
            match PackageRecord::verify(&record, &device) {
                Ok(record) => vec![Work::Package { account, package: record.package }],
                Err(_) => Vec::new(),
            }
        }
        (Pending::PutChunk(token), Answer::ChunkStored { stored_until_ms }) => {
            live.files.out.push(Do::Relayed { token, answer: Relayed::Stored(stored_until_ms) });
            Vec::new()
        }
        (Pending::GetChunk(token), Answer::Chunk { bytes, .. }) => {
            live.files.out.push(Do::Relayed { token, answer: Relayed::Chunk(bytes) });
            Vec::new()
        }
        (Pending::PutChunk(token) | Pending::GetChunk(token), _) => {
            live.files.out.push(Do::Relayed { token, answer: Relayed::Later });
            Vec::new()
        }
        _ => Vec::new(),
    }
}

fn refused(live: &mut Live, relay: RelayId, number: u64, refusal: kith_wire::relay::Refusal) -> Vec<Work> {
    let Some(s) = live.relays.sessions.get_mut(&relay) else { return Vec::new() };
    let Some((pending, _)) = s.calls.remove(&number) else { return Vec::new() };
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
            s.problem = Some(sentence.clone());
            vec![s.refuses(number, sentence)]
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
        Pending::PutChunk(token) | Pending::GetChunk(token) => {
            let answer = match refusal.code {
                Code::NotFound => Relayed::Missing,
                Code::TopicFull | Code::ShareFull | Code::QuotaFull | Code::RelayFull | Code::Size => {
                    Relayed::Full(sentence)
                }
                _ => Relayed::Later,
            };
            live.files.out.push(Do::Relayed { token, answer });
            Vec::new()
        }
        // Nothing to take: asked again later, or when the person is online.
        Pending::TakePackage { .. }
        | Pending::PutPackages
        | Pending::Quiet
        | Pending::Turn
        | Pending::Listen(_)
        | Pending::Audit { .. } => Vec::new(),
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
