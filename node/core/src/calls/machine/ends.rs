//! How calls end: by the clock, by the caller's verdict, by a stop of the node;
//! and what is remembered of them.

use kith_wire::call::{Body, CallId, Outcome, Reason, Signal};

use super::{DONE_MAX, Left, Machine, Out, Phase, RESTARTED_SEQ, Record};
use crate::api::Now;

impl Machine {
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

    /// As the caller: the call is over, and everybody is told.
    pub(super) fn decide(&mut self, id: &CallId, (outcome, reason, talked_ms): (Outcome, Reason, u64)) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let signal = call.signal(Body::End { outcome, reason, talked_ms });
        let group = call.group;
        self.out.push(Out::Send(group, signal));
        self.close(id, (outcome, reason, talked_ms), true);
    }

    pub(super) fn close(
        &mut self,
        id: &CallId,
        (outcome, reason, talked_ms): (Outcome, Reason, u64),
        verdict: bool,
    ) {
        let Some(call) = self.calls.remove(id) else { return };
        let mut record = call.record(outcome, reason, talked_ms, verdict);
        record.hidden = outcome == Outcome::GaveWay || call.shed;
        self.remember(record);
    }

    pub(super) fn remember(&mut self, record: Record) {
        self.out.push(Out::Over(record.clone()));
        self.done.push_back(record);
        while self.done.len() > DONE_MAX {
            self.done.pop_front();
        }
    }
}
