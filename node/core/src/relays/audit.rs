//! Whether a relay keeps what it signed for: some receipts are held against
//! what the relay has, soon after and again later, and the newest of each topic
//! whenever the relay has been away: it may have come back with an empty disk.
//! One that lacks an entry has lied, is named, and its receipts count no more.

use kith_wire::ids::{EntryId, RelayId, TopicId};
use kith_wire::relay::{Call, Numbered};

use super::session::{Pending, Session};
use crate::ctx::Ctx;
use crate::live::{Live, Timer};

/// One receipt of so many is looked after.
const SAMPLE: u8 = 8;
/// Receipts of one relay that wait to be held against it; others are not.
const AUDITS_MAX: usize = 32;
/// When a receipt is looked at first, and once more, ms after it.
const LOOKS_MS: [u64; 2] = [5_000, 6 * 3_600_000];
/// Topics whose newest receipt is remembered; those after them are not.
const NEWEST_MAX: usize = 256;
/// Questions to one relay at once.
const AT_ONCE_MAX: usize = 4;

/// What a person is told of a relay that lied.
pub(super) const LIED: &str = "This relay signed for messages and does not have them any more. Its receipts are not counted: use another relay, and tell its operator.";

/// A receipt that is to be held against its relay.
#[derive(Debug, Clone, Copy)]
pub(super) struct Audit {
    topic: TopicId,
    entry: EntryId,
    index: u64,
    due_ms: u64,
    /// Which look comes next.
    look: usize,
}

/// A receipt came in: perhaps it is looked after.
pub(super) fn note(ctx: &Ctx<'_>, live: &mut Live, relay: &RelayId, receipt: (TopicId, EntryId, u64)) {
    let (topic, entry, index) = receipt;
    let Some(s) = live.relays.sessions.get_mut(relay) else { return };
    if index > 0 && (s.newest.len() < NEWEST_MAX || s.newest.contains_key(&topic)) {
        s.newest.insert(topic, (entry, index));
    }
    // The relay cannot know which: the entry's name is a hash that it did not choose.
    let chosen = entry.0.first().is_some_and(|b| b % SAMPLE == 0);
    if !chosen || s.audits.len() >= AUDITS_MAX || !s.watching.contains(&topic) || index == 0 {
        return;
    }
    let due_ms = ctx.now.mono_ms + LOOKS_MS[0];
    s.audits.push(Audit { topic, entry, index, due_ms, look: 0 });
    live.at(due_ms, Timer::Audit);
}

/// The relay is there again: what it signed for last is asked for at once.
pub(super) fn look_soon(s: &mut Session) {
    let last = LOOKS_MS.len();
    for (topic, (entry, index)) in &s.newest {
        if s.audits.len() < AUDITS_MAX {
            s.audits.push(Audit { topic: *topic, entry: *entry, index: *index, due_ms: 0, look: last });
        }
    }
}

/// Asks for what is due.
pub(crate) fn run(ctx: &Ctx<'_>, live: &mut Live) {
    let now = ctx.now.mono_ms;
    let mut next = None;
    for s in live.relays.sessions.values_mut() {
        let mut asked = 0;
        let mut kept = Vec::new();
        for audit in core::mem::take(&mut s.audits) {
            if audit.due_ms > now || !s.ready || asked == AT_ONCE_MAX {
                let due_ms = audit.due_ms.max(now + LOOKS_MS[0]);
                next = Some(next.map_or(due_ms, |n: u64| n.min(due_ms)));
                kept.push(Audit { due_ms, ..audit });
            } else if s.watching.contains(&audit.topic) {
                asked += 1;
                let call = Call::Have { topic: audit.topic, after: audit.index - 1 };
                s.call(call, Pending::Audit { entry: audit.entry, index: audit.index }, &mut live.net);
                if let Some(wait) = LOOKS_MS.get(audit.look + 1) {
                    let due_ms = now + wait;
                    next = Some(next.map_or(due_ms, |n: u64| n.min(due_ms)));
                    kept.push(Audit { due_ms, look: audit.look + 1, ..audit });
                }
            }
        }
        s.audits = kept;
    }
    if let Some(at) = next {
        live.at(at, Timer::Audit);
    }
}

/// What the relay has from that place on. `true`: it has been found lying.
pub(super) fn answered(s: &mut Session, entry: EntryId, index: u64, ids: &[Numbered]) -> bool {
    let has = ids.iter().any(|n| n.index == index && n.id == entry);
    let found = !has && !s.lied;
    if !has {
        s.lied = true;
        s.audits.clear();
        s.problem = Some(LIED.into());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use kith_wire::relay::CommunityLink;

    #[test]
    fn a_relay_that_lacks_what_it_signed_for_is_named_once() {
        let link = CommunityLink {
            name: "Club".into(),
            key: RelayId([1; 32]),
            addrs: Vec::new(),
            admission: Vec::new(),
        };
        let mut s = Session::new(link, true);
        let (entry, other) = (EntryId([2; 32]), EntryId([3; 32]));
        let at = |index, id| Numbered { index, id };
        assert!(!answered(&mut s, entry, 7, &[at(7, entry), at(8, other)]));
        assert!(!s.lied && s.problem.is_none());
        // Another entry in its place, or the entry elsewhere, is not it.
        assert!(answered(&mut s, entry, 7, &[at(7, other), at(8, entry)]));
        assert!(s.lied && s.problem.as_deref() == Some(LIED));
        assert!(!answered(&mut s, entry, 7, &[]), "told once");
    }
}
