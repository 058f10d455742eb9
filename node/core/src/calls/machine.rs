//! Calls as one device sees them: a pure state machine.
//!
//! Owns who rings, who answers, who gives way, and when it is over. The device
//! that calls is the arbiter of its call: it takes the first answer and says
//! what became of it, and every other device takes its verdict over. Whatever
//! the order in which signals come, each call ends on every device, none rings
//! after its end or its time, and all devices that hear the verdict agree.
//! Knows nothing of groups' keys, rows or addresses.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kith_wire::call::{Body, CallId, Media, Outcome, Reason, Signal};
use kith_wire::ids::{AccountId, DeviceId, GroupId};

use crate::api::{Now, Refusal};

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

fn over() -> Refusal {
    Refusal::new("call_over", "This call is over.")
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
    /// Calls that would have to be ended after a restart.
    #[must_use]
    pub fn left(&self, now: Now) -> Vec<Left> {
        let open = self.calls.values().filter(|c| !matches!(c.phase, Phase::Watching { .. }));
        open.map(|c| {
            let mine = !matches!(c.phase, Phase::Incoming);
            let (outcome, talked_ms) = c.so_far(now);
            Left { record: c.record(outcome, Reason::Lost, talked_ms, false), mine }
        })
        .collect()
    }
    /// Ends what stood open when the node stopped.
    pub fn resume(&mut self, left: Vec<Left>) {
        for Left { mut record, mine } in left {
            let Record { id, group, outcome, reason, talked_ms, .. } = record.clone();
            let signal = |body| Signal { call: id, leg: 0, seq: RESTARTED_SEQ, body };
            if record.caller == self.me {
                record.verdict = true;
                let body = Body::End { outcome, reason, talked_ms };
                self.out.push(Out::Send(group, signal(body)));
            } else if mine {
                self.out.push(Out::Send(group, signal(Body::Leave { reason: Reason::Lost })));
            }
            self.remember(record);
        }
    }

    fn busy(&self) -> bool {
        self.calls
            .values()
            .any(|c| matches!(c.phase, Phase::Calling { .. } | Phase::Answering | Phase::Active { .. }))
    }

    // ---- what the own person does ----

    /// Calls somebody.
    pub fn dial(
        &mut self,
        now: Now,
        id: CallId,
        (group, peer): (GroupId, AccountId),
        (sdp, video): (String, bool),
        tab: String,
    ) -> Result<(), Refusal> {
        if self.busy() {
            return Err(Refusal::new("in_a_call", "This device is in a call already. Hang up first."));
        }
        if self.calls.values().any(|c| c.peer == peer && c.phase == Phase::Incoming) {
            return Err(Refusal::new("they_call", "This person is calling you right now. Answer instead."));
        }
        self.dialled.retain(|at| now.mono_ms < at + RATE_MS);
        if self.dialled.len() >= DIAL_MAX {
            return Err(Refusal::new(
                "slow_down",
                "That were many calls in two minutes. Wait a moment before the next one.",
            ));
        }
        if self.calls.len() >= CALLS_MAX || self.calls.contains_key(&id) || self.record(&id).is_some() {
            return Err(Refusal::new(
                "slow_down",
                "Too many calls are open. Wait a moment, then call again.",
            ));
        }
        self.dialled.push_back(now.mono_ms);
        let mut call = Call {
            id,
            group,
            peer,
            caller: self.me,
            outgoing: true,
            video,
            phase: Phase::Calling { ringing: false },
            begun_ms: now.wall_ms,
            tab: Some(tab),
            other: None,
            their_media: Media::default(),
            remote: Vec::new(),
            auto: false,
            deadline: now.mono_ms + RING_MS,
            offer_seq: 1,
            my_seq: 0,
            numbers: 0,
            candidates: 0,
            heard: BTreeMap::new(),
            shed: false,
        };
        let signal = call.signal(Body::Offer { sdp, video, to: None });
        self.calls.insert(id, call);
        self.out.push(Out::Send(group, signal));
        self.out.push(Out::Changed(id));
        Ok(())
    }

    /// Something that a page does in a call.
    pub fn ask(&mut self, now: Now, id: &CallId, tab: &str, ask: Ask) -> Result<(), Refusal> {
        let Some(call) = self.calls.get_mut(id) else { return Err(over()) };
        if let Ask::Answer(sdp) = ask {
            if call.phase != Phase::Incoming {
                return Err(match call.phase {
                    Phase::Watching { .. } => Refusal::new(
                        "answered_elsewhere",
                        "This call was answered on another device of yours.",
                    ),
                    _ => Refusal::new("answered_here", "This call was answered here already."),
                });
            }
            if call.auto && call.tab.as_deref() != Some(tab) {
                return Err(Refusal::new("answered_here", "Another window takes this call."));
            }
            // Whoever takes a call puts no other one off by it.
            let other = self.calls.values().find(|c| {
                c.id != *id
                    && matches!(c.phase, Phase::Calling { .. } | Phase::Answering | Phase::Active { .. })
            });
            if other.is_some() {
                return Err(Refusal::new("in_a_call", "This device is in a call already. Hang up first."));
            }
            let Some(call) = self.calls.get_mut(id) else { return Err(over()) };
            call.phase = Phase::Answering;
            call.tab = Some(tab.to_owned());
            call.other = Some(call.caller.1);
            call.deadline = now.mono_ms + ANSWER_MS;
            let to_offer = call.offer_seq;
            let signal = call.signal(Body::Answer { sdp, to_offer });
            let group = call.group;
            self.out.push(Out::Send(group, signal));
            self.out.push(Out::Changed(*id));
            return Ok(());
        }
        if call.tab.as_deref() != Some(tab) {
            return Err(Refusal::new("other_window", "This call belongs to another window."));
        }
        let active = matches!(call.phase, Phase::Active { .. });
        let caller = call.caller == self.me;
        let body = match ask {
            Ask::Answer(_) => return Err(over()),
            Ask::Candidates(lines) => {
                if lines.is_empty() || matches!(call.phase, Phase::Incoming | Phase::Watching { .. }) {
                    return Ok(());
                }
                Body::Candidates { lines }
            }
            Ask::Offer(sdp) if active && caller => {
                let (video, to) = (call.video, call.other);
                let signal = call.signal(Body::Offer { sdp, video, to });
                call.offer_seq = signal.seq;
                self.out.push(Out::Send(call.group, signal));
                return Ok(());
            }
            Ask::Again { to_offer, sdp } if active && !caller => Body::Answer { sdp, to_offer },
            Ask::Restart if active && !caller => Body::Restart,
            Ask::Media(media) if active => Body::Media(media),
            Ask::Keep => {
                if active {
                    call.deadline = now.mono_ms + KEEP_MS;
                }
                return Ok(());
            }
            Ask::Offer(_) | Ask::Again { .. } | Ask::Restart | Ask::Media(_) => {
                return Err(Refusal::new("not_now", "This call is not at a point where that is possible."));
            }
        };
        let signal = call.signal(body);
        self.out.push(Out::Send(call.group, signal));
        Ok(())
    }

    /// Declines, gives up, or hangs up. What is over already stays it.
    pub fn hang_up(&mut self, now: Now, id: &CallId, reason: Reason) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let (outcome, talked_ms) = call.so_far(now);
        match call.phase {
            Phase::Watching { .. } => {}
            _ if call.caller == self.me => self.decide(id, (outcome, reason, talked_ms)),
            phase => {
                let (outcome, reason) = match phase {
                    Phase::Incoming if reason == Reason::HungUp => (Outcome::Declined, Reason::Declined),
                    Phase::Incoming => (Outcome::Unanswered, reason),
                    _ => (outcome, reason),
                };
                let signal = call.signal(Body::Leave { reason });
                let group = call.group;
                self.out.push(Out::Send(group, signal));
                self.close(id, (outcome, reason, talked_ms), false);
            }
        }
    }

    /// Ends every call for which `gone` holds: its other side may not be in it
    /// any more.
    pub fn end_where(&mut self, now: Now, gone: impl Fn(&Call) -> bool) {
        let ids: Vec<CallId> = self.calls.values().filter(|c| gone(c)).map(|c| c.id).collect();
        for id in ids {
            self.hang_up(now, &id, Reason::Removed);
            let watching = self.calls.get(&id).map(|c| c.so_far(now));
            if let Some((outcome, talked)) = watching {
                self.close(&id, (outcome, Reason::Removed, talked), false);
            }
        }
    }

    // ---- what other devices say ----

    /// A signal of a device of the own account or of the account at the other
    /// end of `group`. `sent_ms`: the author's clock.
    pub fn hear(
        &mut self,
        now: Now,
        (group, peer): (GroupId, AccountId),
        from: (AccountId, DeviceId),
        sent_ms: u64,
        signal: Signal,
    ) {
        if from == self.me || (from.0 != peer && from.0 != self.me.0) || signal.leg != 0 {
            return;
        }
        let id = signal.call;
        if let Some(record) = self.done.iter().find(|r| r.id == id) {
            if record.group == group {
                self.afterwards(from, &signal);
            }
            return;
        }
        if let Some(call) = self.calls.get(&id) {
            if call.group == group {
                self.in_call(now, from, signal);
            }
            return;
        }
        if let Body::Offer { sdp, video, to: None } = signal.body.clone() {
            self.offered(now, (group, peer), from, (id, signal.seq, sent_ms), (sdp, video));
            if let Some(early) = self.early.remove(&id) {
                for (from, sent, signal) in early.signals {
                    self.hear(now, (group, peer), from, sent, signal);
                }
            }
            return;
        }
        if let Body::End { outcome, reason, talked_ms } = signal.body {
            self.out.push(Out::Verdict(from.1, id, outcome, reason, talked_ms));
        }
        if self.early.len() < EARLY_CALLS_MAX || self.early.contains_key(&id) {
            let until = now.mono_ms + EARLY_MS;
            let early = self.early.entry(id).or_insert(Early { until, signals: Vec::new() });
            if early.signals.len() < EARLY_SIGNALS_MAX {
                early.signals.push((from, sent_ms, signal));
            }
        }
    }

    /// A new call.
    fn offered(
        &mut self,
        now: Now,
        (group, peer): (GroupId, AccountId),
        from: (AccountId, DeviceId),
        (id, seq, sent_ms): (CallId, u32, u64),
        (sdp, video): (String, bool),
    ) {
        let age = now.wall_ms.saturating_sub(sent_ms);
        let left = (RING_MS + SLACK_MS).saturating_sub(age).min(RING_MS + 5_000);
        let outgoing = from.0 == self.me.0;
        let mut call = Call {
            id,
            group,
            peer,
            caller: from,
            outgoing,
            video,
            phase: Phase::Watching { answered: false },
            begun_ms: sent_ms.min(now.wall_ms),
            tab: None,
            other: None,
            their_media: Media { microphone: true, video, screen: false },
            remote: Vec::new(),
            auto: false,
            deadline: now.mono_ms + RING_MS + SLACK_MS + ANSWER_MS,
            offer_seq: seq,
            my_seq: 0,
            numbers: 0,
            candidates: 0,
            heard: BTreeMap::from([(from.1, BTreeSet::from([seq]))]),
            shed: false,
        };
        let ended = self.early.get(&id).and_then(|early| {
            early.signals.iter().find_map(|(author, _, signal)| match signal.body {
                Body::End { outcome, reason, talked_ms } if *author == from => {
                    Some((outcome, reason, talked_ms))
                }
                _ => None,
            })
        });
        if let Some((outcome, reason, talked_ms)) = ended {
            // Its end was here before it.
            let mut record = call.record(outcome, reason, talked_ms, true);
            record.hidden = outcome == Outcome::GaveWay;
            return self.remember(record);
        }
        if left == 0 {
            // Too late to ring: a missed call.
            let record = call.record(Outcome::Unanswered, Reason::Lost, 0, false);
            return self.remember(record);
        }
        if self.calls.len() >= CALLS_MAX {
            return;
        }
        // Both call each other at once: the call with the higher id gives way.
        let rival = self
            .calls
            .values()
            .find(|c| c.group == group && c.outgoing != outgoing && c.unanswered())
            .map(|c| (c.id, c.caller == self.me, c.tab.clone()));
        if let Some((other, own, tab)) = rival {
            if other < id {
                let mut record = call.record(Outcome::GaveWay, Reason::Lost, 0, false);
                record.hidden = true;
                return self.remember(record);
            }
            if own {
                self.decide(&other, (Outcome::GaveWay, Reason::HungUp, 0));
                call.phase = Phase::Incoming;
                call.auto = true;
                call.tab = tab;
                call.deadline = now.mono_ms + left;
                call.keep(from.1, seq, Body::Offer { sdp, video, to: None }, &mut self.out);
                self.calls.insert(id, call);
                self.out.push(Out::Changed(id));
                return;
            }
            // Another own device gives way and answers; if it rings here, it stops.
            if self.calls.get(&other).is_some_and(|c| c.phase == Phase::Incoming) {
                self.close(&other, (Outcome::GaveWay, Reason::Lost, 0), false);
            }
        }
        let rivalled = rival_of(&self.calls, &call);
        if outgoing || rivalled {
            self.calls.insert(id, call);
            return;
        }
        let rung = self.rung.entry(from.0).or_default();
        rung.retain(|at| now.mono_ms < at + RATE_MS);
        if rung.len() >= RATE_MAX {
            call.shed = true;
            self.calls.insert(id, call);
            return;
        }
        rung.push_back(now.mono_ms);
        self.rung.retain(|_, times| !times.is_empty());
        let ringing = self.calls.values().filter(|c| c.phase == Phase::Incoming).count();
        if self.busy() || ringing >= RINGS_MAX {
            let busy = call.signal(Body::Leave { reason: Reason::Busy });
            self.calls.insert(id, call);
            self.out.push(Out::Send(group, busy));
            return;
        }
        call.phase = Phase::Incoming;
        call.deadline = now.mono_ms + left;
        let ringing = call.signal(Body::Ringing);
        call.keep(from.1, seq, Body::Offer { sdp, video, to: None }, &mut self.out);
        self.calls.insert(id, call);
        self.out.push(Out::Send(group, ringing));
        self.out.push(Out::Changed(id));
    }

    /// A signal in a call that stands.
    fn in_call(&mut self, now: Now, from: (AccountId, DeviceId), signal: Signal) {
        let me = self.me;
        let Some(call) = self.calls.get_mut(&signal.call) else { return };
        let (id, seq) = (signal.call, signal.seq);
        let (from_caller, from_called) = (from == call.caller, from.0 != call.caller.0);
        let last = matches!(signal.body, Body::Leave { .. } | Body::End { .. });
        let heard = call.heard.entry(from.1).or_default();
        let new = (last || heard.len() < HEARD_MAX) && heard.insert(seq);
        if !new && !last {
            return;
        }
        match signal.body {
            // A second offer under the id of a call is none.
            Body::Offer { to: None, .. } => {}
            Body::Offer { to: Some(to), sdp, video } => {
                if from_caller && to == me.1 && matches!(call.phase, Phase::Active { .. } | Phase::Answering)
                {
                    call.keep(from.1, seq, Body::Offer { sdp, video, to: Some(to) }, &mut self.out);
                }
            }
            Body::Ringing => {
                if let Phase::Calling { ringing } = &mut call.phase
                    && from_called
                    && !*ringing
                {
                    *ringing = true;
                    self.out.push(Out::Changed(id));
                }
            }
            Body::Answer { sdp, to_offer } => {
                if !from_called {
                    return;
                }
                match call.phase {
                    Phase::Calling { .. } if to_offer == call.offer_seq => {
                        call.phase = Phase::Active { since: now.mono_ms };
                        call.other = Some(from.1);
                        call.deadline = now.mono_ms + KEEP_MS;
                        let taken = call.signal(Body::Taken { device: from.1 });
                        self.out.push(Out::Send(call.group, taken));
                        call.keep(from.1, seq, Body::Answer { sdp, to_offer }, &mut self.out);
                        self.out.push(Out::Changed(id));
                    }
                    // An answer to a new offer.
                    Phase::Active { .. } if call.caller == me && call.other == Some(from.1) => {
                        call.keep(from.1, seq, Body::Answer { sdp, to_offer }, &mut self.out);
                    }
                    // Answered on another own device.
                    Phase::Incoming => {
                        call.watch(now, true);
                        self.out.push(Out::Changed(id));
                    }
                    Phase::Watching { .. } => call.watch(now, true),
                    _ => {}
                }
            }
            Body::Taken { device } => {
                if !from_caller {
                    return;
                }
                match call.phase {
                    Phase::Answering if device == me.1 => {
                        call.phase = Phase::Active { since: now.mono_ms };
                        call.deadline = now.mono_ms + KEEP_MS;
                        self.out.push(Out::Changed(id));
                    }
                    Phase::Answering | Phase::Incoming => {
                        call.watch(now, true);
                        self.out.push(Out::Changed(id));
                    }
                    Phase::Watching { .. } => call.watch(now, true),
                    _ => {}
                }
            }
            Body::Candidates { lines } => {
                let wanted = if call.caller == me { from_called } else { from_caller };
                let room = CANDIDATES_MAX.saturating_sub(call.candidates);
                if wanted && room > 0 && !matches!(call.phase, Phase::Watching { .. }) {
                    let lines: Vec<String> = lines.into_iter().take(room).collect();
                    call.candidates += lines.len();
                    call.keep(from.1, seq, Body::Candidates { lines }, &mut self.out);
                }
            }
            Body::Leave { reason } => {
                if call.caller != me || !from_called {
                    // Declined on another own device: it stops here at once.
                    if from.0 == me.0 && reason == Reason::Declined && call.phase == Phase::Incoming {
                        self.close(&id, (Outcome::Declined, Reason::Declined, 0), false);
                    }
                    return;
                }
                let talked = call.so_far(now).1;
                match call.phase {
                    Phase::Calling { ringing } => match reason {
                        Reason::Declined | Reason::HungUp => {
                            self.decide(&id, (Outcome::Declined, reason, 0));
                        }
                        Reason::Busy if !ringing => self.decide(&id, (Outcome::Busy, reason, 0)),
                        // Another of their devices rings on.
                        Reason::Busy => {}
                        Reason::Lost | Reason::WrongKey | Reason::Removed => {
                            self.decide(&id, (Outcome::Failed, reason, 0));
                        }
                    },
                    Phase::Active { .. } if call.other == Some(from.1) => {
                        self.decide(&id, (Outcome::Answered, reason, talked));
                    }
                    _ => {}
                }
            }
            Body::End { outcome, reason, talked_ms } => {
                if from_caller {
                    self.close(&id, (outcome, reason, talked_ms), true);
                }
            }
            Body::Media(media) => {
                if call.other == Some(from.1) && call.their_media != media {
                    call.their_media = media;
                    self.out.push(Out::Changed(id));
                }
            }
            Body::Restart => {
                if call.caller == me && call.other == Some(from.1) {
                    call.keep(from.1, seq, Body::Restart, &mut self.out);
                }
            }
        }
    }

    /// A signal in a call that is over here.
    fn afterwards(&mut self, from: (AccountId, DeviceId), signal: &Signal) {
        let me = self.me;
        let Some(record) = self.done.iter_mut().find(|r| r.id == signal.call) else { return };
        match signal.body {
            // Whoever takes a call that is over is told again that it is.
            Body::Answer { .. } | Body::Ringing
                if record.caller == me && from.0 != me.0 && record.told < TOLD_MAX =>
            {
                record.told += 1;
                let Record { id, group, outcome, reason, talked_ms, .. } = *record;
                let body = Body::End { outcome, reason, talked_ms };
                self.out.push(Out::Send(
                    group,
                    Signal { call: id, leg: 0, seq: RESTARTED_SEQ + signal.seq % 1_000, body },
                ));
            }
            Body::End { outcome, reason, talked_ms } if from == record.caller && !record.verdict => {
                record.verdict = true;
                (record.outcome, record.reason, record.talked_ms) = (outcome, reason, talked_ms);
                record.hidden = outcome == Outcome::GaveWay;
                let record = record.clone();
                self.out.push(Out::Over(record));
            }
            _ => {}
        }
    }

    // ---- time ----

    /// Ends what has run out of time.
    pub fn tick(&mut self, now: Now) {
        self.early.retain(|_, early| early.until > now.mono_ms);
        let due: Vec<CallId> =
            self.calls.values().filter(|c| c.deadline <= now.mono_ms).map(|c| c.id).collect();
        for id in due {
            let Some(call) = self.calls.get(&id) else { continue };
            match call.phase {
                Phase::Calling { .. } => self.decide(&id, (Outcome::Unanswered, Reason::Lost, 0)),
                Phase::Answering | Phase::Active { .. } => self.hang_up(now, &id, Reason::Lost),
                Phase::Incoming => self.close(&id, (Outcome::Unanswered, Reason::Lost, 0), false),
                Phase::Watching { answered } => {
                    let outcome = if answered { Outcome::Answered } else { Outcome::Unanswered };
                    self.close(&id, (outcome, Reason::Lost, 0), false);
                }
            }
        }
    }

    // ---- ends ----

    /// As the caller: the call is over, and everybody is told.
    fn decide(&mut self, id: &CallId, (outcome, reason, talked_ms): (Outcome, Reason, u64)) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let signal = call.signal(Body::End { outcome, reason, talked_ms });
        let group = call.group;
        self.out.push(Out::Send(group, signal));
        self.close(id, (outcome, reason, talked_ms), true);
    }

    fn close(&mut self, id: &CallId, (outcome, reason, talked_ms): (Outcome, Reason, u64), verdict: bool) {
        let Some(call) = self.calls.remove(id) else { return };
        let mut record = call.record(outcome, reason, talked_ms, verdict);
        record.hidden = outcome == Outcome::GaveWay || call.shed;
        self.remember(record);
    }

    fn remember(&mut self, record: Record) {
        self.out.push(Out::Over(record.clone()));
        self.done.push_back(record);
        while self.done.len() > DONE_MAX {
            self.done.pop_front();
        }
    }
}

/// Whether another call between the same people, the other way round and with
/// a higher id, is about to give way to this one on another own device.
fn rival_of(calls: &BTreeMap<CallId, Call>, call: &Call) -> bool {
    calls
        .values()
        .any(|c| c.group == call.group && c.outgoing != call.outgoing && c.unanswered() && c.id > call.id)
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
