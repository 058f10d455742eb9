//! One attempt to reach a contact: which ways are tried when, and what is
//! said when none works. Pure; the swarm's owner performs the steps.

use std::time::{Duration, Instant};

use kith_wire::ids::PeerKey;
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{Multiaddr, PeerId};

use crate::link::Failed;
use crate::streams::OpenError;

/// Head start of the direct addresses before circuits are tried too.
const CIRCUIT_HEAD_START: Duration = Duration::from_millis(400);
/// How often all relays are tried in one attempt: the far end may just be
/// coming to them, too.
const ROUNDS_MAX: u32 = 4;
/// The pause before the second round; each later one is twice as long.
const ROUND_PAUSE: Duration = Duration::from_millis(700);
/// A direct dial that fails this soon may have met the far end’s own.
const MET: Duration = Duration::from_secs(2);
/// How long the larger of two keys waits before it dials again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// How long an attempt may take in all.
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(25);
/// How long the far end's own stream is waited for after it refused ours.
const THEIRS_TIMEOUT: Duration = Duration::from_secs(3);

pub(crate) const NO_ANSWER: &str = "nobody answers at any known address";
pub(crate) const NO_ADDRESS: &str = "no address is known at which this peer could be reached";
pub(crate) const OTHER_VERSION: &str =
    "the other side speaks another version of Kith’s protocol; update the older of the two programs";
pub(crate) const DIRECT_OFF: &str = "direct connections are switched off, and no relay leads to this peer";

/// What the attempt wants done next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing until something happens or that moment comes.
    Wait(Instant),
    /// Dial these addresses straight.
    Direct(Vec<Multiaddr>),
    /// See whether this relay is ready, then dial through it or skip it.
    Circuit(PeerId, Multiaddr),
    /// Give up, with the reason.
    Fail(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leg {
    Todo,
    Dialing(ConnectionId),
    Done,
}

/// See the module.
pub(crate) struct Attempt {
    pub(crate) key: PeerKey,
    direct: Vec<Multiaddr>,
    direct_leg: Leg,
    direct_at: Instant,
    /// For a second try; see [`Attempt::dial_again`].
    again: Vec<Multiaddr>,
    direct_since: Instant,
    /// Those left in this round, and all.
    circuits: Vec<(PeerId, Multiaddr)>,
    all_circuits: Vec<(PeerId, Multiaddr)>,
    round: u32,
    rounds_max: u32,
    circuit_leg: Leg,
    circuit_at: Instant,
    deadline: Instant,
    hold_until: Option<Instant>,
    /// Connections on which opening failed.
    bad: Vec<ConnectionId>,
    error: String,
}

impl Attempt {
    /// Starts now; `patient` as in `NetCommand::Dial`.
    pub(crate) fn new(
        key: PeerKey,
        direct: Vec<Multiaddr>,
        circuits: Vec<(PeerId, Multiaddr)>,
        patient: bool,
        error: &str,
        now: Instant,
    ) -> Self {
        let direct_leg = if direct.is_empty() { Leg::Done } else { Leg::Todo };
        Self {
            key,
            again: direct.clone(),
            direct,
            direct_leg,
            direct_at: now,
            direct_since: now,
            all_circuits: circuits.clone(),
            round: 1,
            rounds_max: if patient { ROUNDS_MAX } else { 1 },
            circuits,
            circuit_leg: Leg::Todo,
            circuit_at: now + CIRCUIT_HEAD_START,
            deadline: now + ATTEMPT_TIMEOUT,
            hold_until: None,
            bad: Vec::new(),
            error: error.into(),
        }
    }

    /// The far end makes itself known in the own network: it is dialled there at
    /// once. What was known before may be an address of yesterday, of which QUIC
    /// learns only after seconds that nobody is there.
    pub(crate) fn nearby(&mut self, addr: Multiaddr, now: Instant) {
        if self.direct_leg != Leg::Todo {
            self.direct.clear();
            self.direct_leg = Leg::Todo;
            self.direct_at = now;
        }
        self.direct.push(addr);
        self.again.clone_from(&self.direct);
    }

    /// Whether this connection comes from a dial of this attempt.
    pub(crate) fn is_dialing(&self, conn: ConnectionId) -> bool {
        [self.direct_leg, self.circuit_leg].contains(&Leg::Dialing(conn))
    }

    /// Whether a link may be tried over this connection.
    pub(crate) fn may_use(&self, conn: ConnectionId, now: Instant) -> bool {
        !self.bad.contains(&conn) && self.hold_until.is_none_or(|t| now >= t)
    }

    /// What to do while no link is being opened. `theirs`: a stream of the far
    /// end is about to become the link.
    pub(crate) fn step(&mut self, theirs: bool, now: Instant) -> Step {
        if now >= self.deadline {
            return Step::Fail(std::mem::take(&mut self.error));
        }
        if theirs {
            return Step::Wait(self.deadline);
        }
        if let Some(until) = self.hold_until
            && now < until
        {
            return Step::Wait(until.min(self.deadline));
        }
        if self.direct_leg == Leg::Todo {
            if now < self.direct_at {
                return Step::Wait(self.direct_at);
            }
            return Step::Direct(std::mem::take(&mut self.direct));
        }
        let due = now >= self.circuit_at || (self.round == 1 && self.direct_leg == Leg::Done);
        if self.circuit_leg == Leg::Todo && due {
            match self.circuits.first() {
                Some((relay, at)) => return Step::Circuit(*relay, at.clone()),
                None if self.all_circuits.is_empty() || self.round >= self.rounds_max => {
                    self.circuit_leg = Leg::Done;
                }
                None => {
                    self.circuit_at = now + ROUND_PAUSE * (1 << (self.round - 1));
                    self.circuits.clone_from(&self.all_circuits);
                    self.round += 1;
                }
            }
        }
        match (self.direct_leg, self.circuit_leg) {
            (Leg::Done, Leg::Done) => Step::Fail(std::mem::take(&mut self.error)),
            (_, Leg::Todo) => {
                Step::Wait(self.circuit_at.max(now + Duration::from_millis(1)).min(self.deadline))
            }
            _ => Step::Wait(self.deadline),
        }
    }

    /// The direct dial was started, or could not be.
    pub(crate) fn direct_dialed(&mut self, conn: Option<ConnectionId>, now: Instant) {
        self.direct_since = now;
        self.direct_leg = conn.map_or(Leg::Done, Leg::Dialing);
    }

    /// The first circuit was dialled (`Some`), or its relay is out of reach.
    pub(crate) fn circuit_dialed(&mut self, conn: Option<ConnectionId>) {
        if !self.circuits.is_empty() {
            self.circuits.remove(0);
        }
        if let Some(conn) = conn {
            self.circuit_leg = Leg::Dialing(conn);
        }
    }

    /// A dial of ours ended, with a connection or an error.
    pub(crate) fn dial_ended(&mut self, conn: ConnectionId, error: Option<String>) {
        if self.direct_leg == Leg::Dialing(conn) {
            self.direct_leg = Leg::Done;
        } else if self.circuit_leg == Leg::Dialing(conn) {
            // The next relay, if there is one.
            self.circuit_leg = Leg::Todo;
        } else {
            return;
        }
        if let Some(error) = error {
            self.error = error;
        }
    }

    /// Tries the direct addresses once more if `conn`, which has just failed,
    /// was dialled to them.
    ///
    /// Two nodes that dial each other at one moment, both out of the TCP port
    /// that they listen on (hole punching needs that), get a single connection
    /// of which each believes to be the dialler, and its encryption fails. So
    /// the smaller key dials again at once and the larger one a little later.
    pub(crate) fn dial_again(&mut self, conn: ConnectionId, smaller: bool, now: Instant) -> bool {
        let met = now.duration_since(self.direct_since) < MET;
        let again = met && self.direct_leg == Leg::Dialing(conn) && !self.again.is_empty();
        if again {
            self.direct = std::mem::take(&mut self.again);
            self.direct_leg = Leg::Todo;
            self.direct_at = if smaller { now } else { now + AGAIN_AFTER };
        }
        again
    }

    /// Opening a link failed on `conn`. `Some`: the attempt is over.
    pub(crate) fn open_failed(&mut self, conn: ConnectionId, why: Failed, now: Instant) -> Option<String> {
        match why {
            Failed::Unknown => Some(OTHER_VERSION.into()),
            Failed::Full => Some("the other side has no room for another connection; try again later".into()),
            Failed::Duplicate | Failed::Needless => {
                // Theirs is on its way; if it does not come, ours is tried again.
                self.hold_until = Some(now + THEIRS_TIMEOUT);
                None
            }
            Failed::Timeout | Failed::Broken => {
                self.bad.push(conn);
                self.error = "the other side does not answer".into();
                None
            }
        }
    }
}

/// Why a stream could not be opened, as a failed link.
pub(crate) fn open_error(error: OpenError) -> Failed {
    match error {
        OpenError::Unsupported => Failed::Unknown,
        OpenError::Timeout => Failed::Timeout,
        OpenError::Broken => Failed::Broken,
    }
}

/// Why a dial failed, without addresses.
pub(crate) fn dial_error(error: &DialError) -> String {
    match error {
        DialError::WrongPeerId { .. } | DialError::LocalPeerId { .. } => {
            "somebody else answers at that address; the address is out of date".into()
        }
        DialError::NoAddresses => NO_ADDRESS.into(),
        DialError::Denied { .. } => "this node has too many connections; try again later".into(),
        DialError::Transport(_) | DialError::Aborted | DialError::DialPeerConditionFalse(_) => {
            NO_ANSWER.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys;
    use kith_wire::crypto::Secret;

    fn addr(n: u8) -> Multiaddr {
        format!("/ip4/192.0.2.{n}/tcp/1").parse().unwrap()
    }
    fn conn(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    #[test]
    fn direct_first_then_each_relay_then_the_reason() {
        let relay = keys::peer_id(&keys::public_key(&Secret::new([1; 32])).unwrap()).unwrap();
        let now = Instant::now();
        let circuits = vec![(relay, addr(2)), (relay, addr(3))];
        let mut a = Attempt::new(PeerKey([1; 32]), vec![addr(1)], circuits, true, NO_ANSWER, now);
        assert_eq!(a.step(false, now), Step::Direct(vec![addr(1)]));
        a.direct_dialed(Some(conn(1)), now);
        assert_eq!(a.step(false, now), Step::Wait(now + CIRCUIT_HEAD_START));
        assert_eq!(a.step(false, now + CIRCUIT_HEAD_START), Step::Circuit(relay, addr(2)));
        a.circuit_dialed(None);
        a.dial_ended(conn(1), Some("first".into()));
        assert_eq!(a.step(false, now), Step::Circuit(relay, addr(3)));
        a.circuit_dialed(Some(conn(2)));
        assert_eq!(a.step(false, now), Step::Wait(now + ATTEMPT_TIMEOUT));
        a.dial_ended(conn(2), Some("last".into()));
        // The far end may just be coming to its relays: they are tried again.
        let mut at = now;
        for round in 2..=ROUNDS_MAX {
            let Step::Wait(next) = a.step(false, at) else { panic!() };
            assert_eq!(next, at + ROUND_PAUSE * (1 << (round - 2)));
            at = next;
            assert_eq!(a.step(false, at), Step::Circuit(relay, addr(2)));
            a.circuit_dialed(None);
            assert_eq!(a.step(false, at), Step::Circuit(relay, addr(3)));
            a.circuit_dialed(None);
        }
        assert_eq!(a.step(false, at), Step::Fail("last".into()));
        // Who was away for long is looked for once.
        let mut a = Attempt::new(PeerKey([1; 32]), vec![], vec![(relay, addr(2))], false, NO_ANSWER, now);
        assert_eq!(a.step(false, now), Step::Circuit(relay, addr(2)));
        a.circuit_dialed(None);
        assert_eq!(a.step(false, now), Step::Fail(NO_ANSWER.into()));
    }

    #[test]
    fn a_neighbour_is_dialled_while_an_old_address_is_silent() {
        let now = Instant::now();
        let mut a = Attempt::new(PeerKey([1; 32]), vec![addr(1)], vec![], true, NO_ANSWER, now);
        a.step(false, now);
        a.direct_dialed(Some(conn(1)), now);
        a.nearby(addr(2), now);
        a.nearby(addr(3), now);
        assert_eq!(a.step(false, now), Step::Direct(vec![addr(2), addr(3)]));
        a.direct_dialed(Some(conn(2)), now);
        // The old one's end ends nothing any more.
        a.dial_ended(conn(1), Some("old".into()));
        assert_eq!(a.step(false, now + CIRCUIT_HEAD_START), Step::Wait(now + ATTEMPT_TIMEOUT));
        // Beside addresses that are still to be dialled it is one more of them.
        let mut a = Attempt::new(PeerKey([1; 32]), vec![addr(1)], vec![], true, NO_ANSWER, now);
        a.nearby(addr(2), now);
        assert_eq!(a.step(false, now), Step::Direct(vec![addr(1), addr(2)]));
    }

    #[test]
    fn direct_addresses_are_tried_twice_the_larger_key_later() {
        let now = Instant::now();
        for smaller in [true, false] {
            let mut a = Attempt::new(PeerKey([1; 32]), vec![addr(1)], vec![], true, NO_ANSWER, now);
            a.step(false, now);
            a.direct_dialed(Some(conn(1)), now);
            assert!(!a.dial_again(conn(9), smaller, now));
            assert!(!a.dial_again(conn(1), smaller, now + MET), "a silent address stays silent");
            assert!(a.dial_again(conn(1), smaller, now));
            if !smaller {
                assert_eq!(a.step(false, now), Step::Wait(now + AGAIN_AFTER));
            }
            assert_eq!(a.step(false, now + AGAIN_AFTER), Step::Direct(vec![addr(1)]));
            a.direct_dialed(Some(conn(2)), now);
            assert!(!a.dial_again(conn(2), smaller, now));
            a.dial_ended(conn(2), Some("no".into()));
            assert_eq!(a.step(false, now), Step::Fail("no".into()));
        }
    }

    #[test]
    fn a_refusal_because_theirs_is_under_way_waits_for_it() {
        let now = Instant::now();
        let mut a = Attempt::new(PeerKey([1; 32]), vec![addr(1)], vec![], true, NO_ANSWER, now);
        a.step(false, now);
        a.direct_dialed(Some(conn(1)), now);
        a.dial_ended(conn(1), None);
        assert_eq!(a.open_failed(conn(1), Failed::Duplicate, now), None);
        assert!(!a.may_use(conn(1), now));
        assert_eq!(a.step(false, now), Step::Wait(now + THEIRS_TIMEOUT));
        assert!(a.may_use(conn(1), now + THEIRS_TIMEOUT));
        assert_eq!(a.step(true, now + THEIRS_TIMEOUT), Step::Wait(now + ATTEMPT_TIMEOUT));
        assert!(a.open_failed(conn(1), Failed::Unknown, now).unwrap().contains("another version"));
    }
}
