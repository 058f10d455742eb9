//! What the own person does: calls, takes a call, hangs up, and what their page
//! asks for meanwhile.

use std::collections::BTreeMap;

use kith_wire::call::{Body, CallId, Media, Outcome, Reason};
use kith_wire::ids::{AccountId, GroupId};

use super::{ANSWER_MS, Ask, CALLS_MAX, Call, DIAL_MAX, KEEP_MS, Machine, Out, Phase, RATE_MS, RING_MS};
use crate::api::{Now, Refusal};

fn over() -> Refusal {
    Refusal::new("call_over", "This call is over.")
}

impl Machine {
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
            met: false,
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
            Ask::Media(media) if active => {
                call.met = true;
                Body::Media(media)
            }
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
        let (outcome, talked_ms) = call.ended(now, reason);
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
}
