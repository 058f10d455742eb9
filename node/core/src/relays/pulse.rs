//! Whether relays still answer. A link on which something stays unanswered is
//! ended, so that it is made anew over a path that works; and while something is
//! going on, a relay that has been silent for a while is asked for a word.
//!
//! A network that changes without a trace (a router with a new address, UDP that
//! is dropped from now on) shows in no other way: the transports give up after
//! ten seconds and more, and a link without traffic would never notice.

use kith_wire::net::NetCommand;
use kith_wire::relay::Call;

use super::session::{Pending, Session};
use crate::api::Now;
use crate::live::{Live, Timer};

/// How long a relay may leave something unanswered at first, and at most, ms:
/// twice as long after each link that ended for it, so that one that is merely
/// slow is not left for ever.
const PATIENCE_MS: (u64, u64) = (3_000, 48_000);
/// A relay that has answered in time for so long is not slow: the patience is
/// the first again, ms. Else each network that is left behind, on a way by
/// train, would make the next one be noticed later.
const STEADY_MS: u64 = 10_000;
/// The slowest network that is waited for: bytes for each ms.
const BYTES_PER_MS_MIN: u64 = 16;
/// A relay that was silent for so long is asked for a word, ms.
const QUIET_MS: u64 = 3_000;

/// Between two looks at the links to people, ms: one that nobody says anything
/// on would otherwise be taken for alive long after it is not.
const LINKS_MS: u64 = 10_000;

/// What is known of one relay's answers.
#[derive(Debug)]
pub(super) struct Pulse {
    /// Something came in since the last look.
    heard: bool,
    heard_ms: u64,
    /// Since when an answer is owed.
    owed_since: Option<u64>,
    /// The link is being ended.
    cut: bool,
    /// When an answer came late, or not.
    late_ms: u64,
    patience_ms: u64,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            heard: false,
            heard_ms: 0,
            owed_since: None,
            cut: false,
            late_ms: 0,
            patience_ms: PATIENCE_MS.0,
        }
    }
}

/// What is to be done about a link.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    /// Nothing before that moment, if at all.
    Later(Option<u64>),
    /// Ask for a word.
    Ask,
    /// End it.
    Cut,
}

impl Pulse {
    /// The relay has said something.
    pub(super) fn heard(&mut self) {
        self.heard = true;
    }

    /// The link is gone.
    pub(super) fn ended(&mut self) {
        (self.heard, self.owed_since, self.cut) = (false, None, false);
    }

    /// `owed`: bytes that were sent and not answered yet; none if nothing is
    /// owed.
    fn look(&mut self, owed: Option<u64>, attentive_until: u64, now: u64) -> Due {
        if self.cut {
            return Due::Later(None);
        }
        if core::mem::take(&mut self.heard) {
            self.heard_ms = now;
            if self.owed_since.take().is_some_and(|since| now > since + PATIENCE_MS.0) {
                self.late_ms = now;
            }
            if now >= self.late_ms + STEADY_MS {
                self.patience_ms = PATIENCE_MS.0;
            }
        }
        let Some(bytes) = owed else {
            self.owed_since = None;
            let ask_at = self.heard_ms + QUIET_MS;
            return match ask_at {
                at if at >= attentive_until => Due::Later(None),
                at if at > now => Due::Later(Some(at)),
                _ if now < attentive_until => Due::Ask,
                _ => Due::Later(None),
            };
        };
        let since = *self.owed_since.get_or_insert(now);
        let until = since + self.patience_ms + bytes / BYTES_PER_MS_MIN;
        if now < until {
            return Due::Later(Some(until));
        }
        self.cut = true;
        self.late_ms = now;
        self.patience_ms = (self.patience_ms * 2).min(PATIENCE_MS.1);
        Due::Cut
    }
}

impl Session {
    /// Bytes sent and not answered; none if nothing is owed. The relay speaks
    /// first, so it owes its greeting, too.
    fn owed(&self) -> Option<u64> {
        (!self.ready || !self.calls.is_empty()).then(|| self.calls.values().map(|(_, bytes)| bytes).sum())
    }
}

/// Looks at all links to relays. Runs after every input.
pub(crate) fn look(now: Now, live: &mut Live) {
    let mut next: Option<u64> = None;
    for s in live.relays.sessions.values_mut() {
        let Some((link, _)) = s.link else { continue };
        let owed = s.owed();
        let due = match s.pulse.look(owed, live.attentive_until, now.mono_ms) {
            Due::Ask => {
                // No credit: only an answer is wanted.
                s.call(Call::Credit { bytes: 0 }, Pending::Quiet, &mut live.net);
                s.pulse.look(s.owed(), live.attentive_until, now.mono_ms)
            }
            due => due,
        };
        match due {
            Due::Later(at) => next = next.into_iter().chain(at).min(),
            Due::Cut => live.net.extend([NetCommand::Cut { link }, NetCommand::Check]),
            Due::Ask => {}
        }
    }
    if live.links.iter().next().is_some() && now.mono_ms < live.attentive_until {
        if now.mono_ms >= live.checked_ms + LINKS_MS {
            live.checked_ms = now.mono_ms;
            live.net.push(NetCommand::Check);
        }
        let at = live.checked_ms + LINKS_MS;
        next = Some(next.map_or(at, |n| n.min(at)));
    }
    if let Some(at) = next {
        live.at(at, Timer::Pulse);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_relay_is_asked_only_while_something_goes_on() {
        let mut p = Pulse::default();
        p.heard();
        assert_eq!(p.look(None, 10_000, 1_000), Due::Later(Some(1_000 + QUIET_MS)));
        assert_eq!(p.look(None, 10_000, 1_000 + QUIET_MS), Due::Ask);
        p.heard();
        assert_eq!(p.look(None, 10_000, 8_000), Due::Later(None), "nothing goes on by then");
        assert_eq!(p.look(None, 10_000, 20_000), Due::Later(None));
    }

    #[test]
    fn what_stays_unanswered_ends_the_link_once_and_later_each_time() {
        let mut p = Pulse::default();
        assert_eq!(p.look(Some(0), 0, 100), Due::Later(Some(100 + PATIENCE_MS.0)));
        assert_eq!(p.look(Some(0), 0, 100 + PATIENCE_MS.0), Due::Cut);
        assert_eq!(p.look(Some(0), 0, 50_000), Due::Later(None), "it is being ended");
        p.ended();
        let mut now = 100_000;
        for _ in 0..10 {
            let Due::Later(Some(at)) = p.look(Some(0), 0, now) else { panic!() };
            assert!(at - now > PATIENCE_MS.0 && at - now <= PATIENCE_MS.1);
            now = at;
            assert_eq!(p.look(Some(0), 0, now), Due::Cut);
            p.ended();
        }
    }

    #[test]
    fn a_relay_that_is_late_is_given_time_until_it_is_quick_again() {
        let mut p = Pulse::default();
        p.look(Some(0), 0, 0);
        assert_eq!(p.look(Some(0), 0, PATIENCE_MS.0), Due::Cut);
        p.ended();
        let patient = 2 * PATIENCE_MS.0;
        let mut now = 10_000;
        // Late, but in time: it stays, for as long as that goes on.
        for _ in 0..5 {
            assert_eq!(p.look(Some(0), 0, now), Due::Later(Some(now + patient)));
            p.heard();
            now += patient - 1;
            p.look(None, 0, now);
            now += STEADY_MS - 1;
        }
        // Quick answers, first soon after a late one, then for a while.
        assert_eq!(p.look(Some(0), 0, now), Due::Later(Some(now + patient)));
        p.heard();
        now += 1;
        p.look(None, 0, now);
        assert_eq!(p.look(Some(0), 0, now), Due::Later(Some(now + PATIENCE_MS.0)));
    }

    #[test]
    fn an_answer_or_a_long_way_gives_more_time() {
        let mut p = Pulse::default();
        p.look(Some(0), 0, 0);
        p.heard();
        assert_eq!(p.look(Some(0), 0, 2_000), Due::Later(Some(2_000 + PATIENCE_MS.0)));
        let large = 1 << 20;
        assert_eq!(
            p.look(Some(large), 0, 2_500),
            Due::Later(Some(2_000 + PATIENCE_MS.0 + large / BYTES_PER_MS_MIN))
        );
    }
}
