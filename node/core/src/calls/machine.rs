//! Calls as one device sees them: a pure state machine.
//!
//! Owns who rings, who answers, who gives way, and when it is over. The device
//! that calls is the arbiter of its call: it takes the first answer and says
//! what became of it, and every other device takes its verdict over. Whatever
//! the order in which signals come, each call ends on every device, none rings
//! after its end or its time, and all devices that hear the verdict agree.
//! Knows nothing of groups' keys, rows or addresses.

mod ends;
mod others;
mod person;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kith_wire::call::{Body, CallId, Media, Outcome, Reason, Signal};
use kith_wire::ids::{AccountId, DeviceId, GroupId};

use crate::api::Now;

/// How long a call rings, ms.
pub const RING_MS: u64 = 45_000;
/// How far the clocks of two devices may be apart, and how long an offer may
/// be on its way beyond its ringing time, ms.
pub const SLACK_MS: u64 = 30_000;
/// How long an answer waits for the caller, ms.
const ANSWER_MS: u64 = 20_000;
/// How long a page may be silent before its call is over, ms.
pub const KEEP_MS: u64 = 45_000;
/// How long the verdict on a call that another own device took is waited for, ms.
const WATCH_MS: u64 = 24 * 3_600_000;
/// How long signals wait for the offer that they belong to, ms.
const EARLY_MS: u64 = 120_000;
/// Calls that are followed at once; further ones are shed.
const CALLS_MAX: usize = 32;
/// Calls that ring at once; further callers are told that this device is busy.
const RINGS_MAX: usize = 3;
/// Calls of one account that may ring within [`RATE_MS`]; further ones are shed.
const RATE_MAX: usize = 12;
/// See [`RATE_MAX`] and [`DIAL_MAX`].
const RATE_MS: u64 = 120_000;
/// Calls that this device may make within [`RATE_MS`].
const DIAL_MAX: usize = 16;
/// Ended calls that are remembered.
const DONE_MAX: usize = 128;
/// Calls of which something came before their offer.
const EARLY_CALLS_MAX: usize = 16;
/// Signals that wait for one offer.
const EARLY_SIGNALS_MAX: usize = 48;
/// Signals of one device that are taken in one call; leaving and ending are
/// always heard.
const HEARD_MAX: usize = 512;
/// Things of the other side kept for the page of one call.
const REMOTE_MAX: usize = 128;
/// Candidates of the other side that are taken in one call; of a flood the rest is dropped.
pub const CANDIDATES_MAX: usize = 96;
/// How often the end of one call is told again.
const TOLD_MAX: u8 = 8;
/// Number of the last signals of a call that a restart ended.
const RESTARTED_SEQ: u32 = u32::MAX / 2;

/// What a page gets of the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// The device that sent it.
    pub from: DeviceId,
    /// Counts what came in this call, from 1.
    pub number: u32,
    /// The number of the signal, which an answer to it names.
    pub seq: u32,
    /// What it is: offer, answer, candidates or restart.
    pub body: Body,
}

/// Where a call stands on this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// This device calls.
    Calling {
        /// It rings somewhere.
        ringing: bool,
    },
    /// It rings here.
    Incoming,
    /// Answered here; the caller has not taken it yet.
    Answering,
    /// They talk.
    Active {
        /// Since, monotonic ms.
        since: u64,
    },
    /// Another own device has to do with it, or it may not ring here.
    Watching {
        /// Somebody answered.
        answered: bool,
    },
}

/// A call that is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its id.
    pub id: CallId,
    /// The group that its signals travel in.
    pub group: GroupId,
    /// The account at the other end.
    pub peer: AccountId,
    /// Who calls.
    pub caller: (AccountId, DeviceId),
    /// The own account calls.
    pub outgoing: bool,
    /// Begins with a picture.
    pub video: bool,
    /// Where it stands.
    pub phase: Phase,
    /// When it began, by the caller's clock, bounded by ours.
    pub begun_ms: u64,
    /// The page that its media belong to.
    pub tab: Option<String>,
    /// The device that media go to, once known.
    pub other: Option<DeviceId>,
    /// What the other side sends.
    pub their_media: Media,
    /// What came for the page.
    pub remote: Vec<Remote>,
    /// Answered by the page of the own call that gave way.
    pub auto: bool,
    /// There was a path: one of the two pages has said what it sends.
    met: bool,
    deadline: u64,
    offer_seq: u32,
    my_seq: u32,
    numbers: u32,
    candidates: usize,
    heard: BTreeMap<DeviceId, BTreeSet<u32>>,
    /// Not to be shown in the timeline unless its verdict says so.
    shed: bool,
}

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The call.
    pub id: CallId,
    /// Its group.
    pub group: GroupId,
    /// Who called.
    pub caller: (AccountId, DeviceId),
    /// The account at the other end.
    pub peer: AccountId,
    /// The own account called.
    pub outgoing: bool,
    /// It began with a picture.
    pub video: bool,
    /// When it began.
    pub begun_ms: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it ended.
    pub reason: Reason,
    /// How long they talked, ms.
    pub talked_ms: u64,
    /// The caller's verdict; else what this device saw of it.
    pub verdict: bool,
    /// Not to be shown.
    pub hidden: bool,
    told: u8,
}

/// A call that must be ended properly after a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// What is known of it.
    pub record: Record,
    /// This device has answered it, or called.
    pub mine: bool,
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Out {
    /// Send a signal to the group.
    Send(GroupId, Signal),
    /// A call is new or stands differently.
    Changed(CallId),
    /// Something came for the page of a call.
    Remote(CallId, Remote),
    /// A call is over, or its verdict says something else than was thought.
    Over(Record),
    /// A verdict on a call that is not remembered; by this device.
    Verdict(DeviceId, CallId, Outcome, Reason, u64),
}

/// What a page asks for in a call of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Take it. `sdp`: the answer.
    Answer(String),
    /// Further addresses of this side.
    Candidates(Vec<String>),
    /// A new offer of the caller, to find another path.
    Offer(String),
    /// The answer to a new offer.
    Again {
        /// Number of the offer.
        to_offer: u32,
        /// The answer.
        sdp: String,
    },
    /// Ask the caller for a new offer.
    Restart,
    /// What is sent now.
    Media(Media),
    /// The page still lives.
    Keep,
}

/// A signal that came before its offer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Early {
    until: u64,
    signals: Vec<((AccountId, DeviceId), u64, Signal)>,
}

/// All calls of one device.
#[derive(Debug, Clone)]
pub struct Machine {
    me: (AccountId, DeviceId),
    calls: BTreeMap<CallId, Call>,
    done: VecDeque<Record>,
    early: BTreeMap<CallId, Early>,
    rung: BTreeMap<AccountId, VecDeque<u64>>,
    dialled: VecDeque<u64>,
    out: Vec<Out>,
}

impl Machine {
    /// Nothing rings.
    #[must_use]
    pub fn new(me: (AccountId, DeviceId)) -> Self {
        Self {
            me,
            calls: BTreeMap::new(),
            done: VecDeque::new(),
            early: BTreeMap::new(),
            rung: BTreeMap::new(),
            dialled: VecDeque::new(),
            out: Vec::new(),
        }
    }

    /// What follows from what was done, in order.
    pub fn take(&mut self) -> Vec<Out> {
        core::mem::take(&mut self.out)
    }
    /// Calls that are not over.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        self.calls.values()
    }
    /// One call.
    #[must_use]
    pub fn get(&self, id: &CallId) -> Option<&Call> {
        self.calls.get(id)
    }
    /// What became of a call, as far as is remembered.
    #[must_use]
    pub fn record(&self, id: &CallId) -> Option<&Record> {
        self.done.iter().find(|r| r.id == *id)
    }
    /// The earliest deadline, monotonic ms.
    #[must_use]
    pub fn next_due(&self) -> Option<u64> {
        let calls = self.calls.values().map(|c| c.deadline);
        calls.chain(self.early.values().map(|e| e.until)).min()
    }

    fn busy(&self) -> bool {
        self.calls
            .values()
            .any(|c| matches!(c.phase, Phase::Calling { .. } | Phase::Answering | Phase::Active { .. }))
    }
}

impl Record {
    /// A call that a stop left open.
    #[must_use]
    pub fn unfinished(
        (id, group): (CallId, GroupId),
        (caller, peer): ((AccountId, DeviceId), AccountId),
        (outgoing, video, begun_ms): (bool, bool, u64),
        (outcome, talked_ms): (Outcome, u64),
    ) -> Self {
        let reason = Reason::Lost;
        Self {
            id,
            group,
            caller,
            peer,
            outgoing,
            video,
            begun_ms,
            outcome,
            reason,
            talked_ms,
            verdict: false,
            hidden: false,
            told: 0,
        }
    }
}

impl Call {
    fn signal(&mut self, body: Body) -> Signal {
        self.my_seq += 1;
        Signal { call: self.id, leg: 0, seq: self.my_seq, body }
    }

    fn unanswered(&self) -> bool {
        matches!(self.phase, Phase::Calling { .. } | Phase::Incoming | Phase::Watching { answered: false })
    }

    fn watch(&mut self, now: Now, answered: bool) {
        if self.phase != (Phase::Watching { answered }) {
            self.phase = Phase::Watching { answered };
            self.deadline = now.mono_ms + WATCH_MS;
            self.remote.clear();
            self.tab = None;
        }
    }

    /// What it would be if it ended now: outcome, and how long they talked.
    fn so_far(&self, now: Now) -> (Outcome, u64) {
        match self.phase {
            Phase::Calling { .. } => (Outcome::Cancelled, 0),
            Phase::Incoming | Phase::Watching { answered: false } => (Outcome::Unanswered, 0),
            Phase::Answering => (Outcome::Failed, 0),
            Phase::Active { since } => (Outcome::Answered, now.mono_ms.saturating_sub(since)),
            Phase::Watching { answered: true } => (Outcome::Answered, 0),
        }
    }

    /// What it is when it ends now for this reason.
    fn ended(&self, now: Now, reason: Reason) -> (Outcome, u64) {
        match (self.phase, reason) {
            (Phase::Active { .. }, Reason::Lost | Reason::WrongKey) if !self.met => (Outcome::Failed, 0),
            _ => self.so_far(now),
        }
    }

    /// Keeps something for the page.
    fn keep(&mut self, from: DeviceId, seq: u32, body: Body, out: &mut Vec<Out>) {
        let described = |b: &Body| matches!(b, Body::Offer { .. } | Body::Answer { .. });
        if described(&body) && self.remote.iter().any(|r| described(&r.body)) {
            // A new description: what belonged to the old one is of no use.
            self.remote.clear();
            self.candidates = 0;
        }
        if self.remote.len() >= REMOTE_MAX {
            return;
        }
        self.numbers += 1;
        let remote = Remote { from, number: self.numbers, seq, body };
        self.remote.push(remote.clone());
        out.push(Out::Remote(self.id, remote));
    }

    fn record(&self, outcome: Outcome, reason: Reason, talked_ms: u64, verdict: bool) -> Record {
        Record {
            id: self.id,
            group: self.group,
            caller: self.caller,
            peer: self.peer,
            outgoing: self.outgoing,
            video: self.video,
            begun_ms: self.begun_ms,
            outcome,
            reason,
            talked_ms,
            verdict,
            hidden: false,
            told: 0,
        }
    }
}

#[cfg(test)]
mod tests;
