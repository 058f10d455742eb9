//! What other devices say: their offers and answers, who gives way when both
//! call, and what is heard of a call that is over.

use std::collections::{BTreeMap, BTreeSet};

use kith_wire::call::{Body, CallId, Media, Outcome, Reason, Signal};
use kith_wire::ids::{AccountId, DeviceId, GroupId};

use super::{
    ANSWER_MS, CALLS_MAX, CANDIDATES_MAX, Call, EARLY_CALLS_MAX, EARLY_MS, EARLY_SIGNALS_MAX, Early,
    HEARD_MAX, KEEP_MS, Machine, Out, Phase, RATE_MAX, RATE_MS, RESTARTED_SEQ, RING_MS, RINGS_MAX, Record,
    SLACK_MS, TOLD_MAX,
};
use crate::api::Now;

impl Machine {
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
            met: false,
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
                let (outcome, talked) = call.ended(now, reason);
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
                        self.decide(&id, (outcome, reason, talked));
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
                if call.other == Some(from.1) {
                    call.met = true;
                    if call.their_media != media {
                        call.their_media = media;
                        self.out.push(Out::Changed(id));
                    }
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
}

/// Whether another call between the same people, the other way round and with
/// a higher id, is about to give way to this one on another own device.
fn rival_of(calls: &BTreeMap<CallId, Call>, call: &Call) -> bool {
    calls
        .values()
        .any(|c| c.group == call.group && c.outgoing != call.outgoing && c.unanswered() && c.id > call.id)
}
