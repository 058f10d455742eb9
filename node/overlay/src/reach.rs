//! Reachability through relays, as a pure state machine: connect to a relay,
//! wait until it has said what it is, reserve, renew after every loss.
//!
//! libp2p itself never reserves a second time, and dialling a circuit before
//! the relay is identified fails; so this file decides when to do what. It
//! performs nothing: time comes in, [`Action`]s go out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kith_wire::net::Path;
use libp2p::core::transport::ListenerId;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};

use crate::addr;

/// Relays at which reservations may be wanted.
pub(crate) const RESERVATIONS_MAX: usize = 8;
/// Relays that are known at once, those of contacts included.
pub(crate) const RELAYS_MAX: usize = 64;
/// How long a relay may take to say what it is.
const IDENTIFY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a relay may take to answer a request for a reservation.
const RESERVE_TIMEOUT: Duration = Duration::from_secs(15);
/// First and largest pause between two tries.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// While a relay has not failed for very long the pauses stay below this:
/// everybody is back soon after it returns.
const BACKOFF_SOON: Duration = Duration::from_secs(20);
/// That many failures.
const SOON_MAX: u32 = 100;
/// A relay that was reached over TCP is tried over QUIC at once, and again after
/// growing pauses, this first and this at most. TCP is quicker where a relay
/// comes up in the moment in which QUIC alone is tried, and would stay for as
/// long as the connection does; but only over QUIC do far ends see the port that
/// contacts can be let in by.
const BETTER_MIN: Duration = Duration::from_secs(30);
const BETTER_MAX: Duration = Duration::from_secs(3_600);
/// A reservation that stood this long ends the back-off.
const STEADY: Duration = Duration::from_secs(60);

/// What has to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Connect to the relay.
    Dial(PeerId, Vec<Multiaddr>),
    /// Connect to the relay at these addresses, too, beside the connection that
    /// stands.
    Better(PeerId, Vec<Multiaddr>),
    /// Ask for a reservation over that connection; then call `listening`.
    Listen(PeerId, ConnectionId),
    /// Close that connection: it is of no use.
    Close(ConnectionId),
    /// Tell that a reservation stands or fell.
    Report(PeerId, bool),
}

/// Whether circuits can be dialled through a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ready {
    /// Yes.
    Yes,
    /// Perhaps soon.
    Wait,
    /// Not now.
    No,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Down,
    Dialing,
    Identifying(ConnectionId, Instant),
    Ready(ConnectionId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reservation {
    None,
    Asking(Option<ListenerId>, Instant),
    Active(ListenerId, Instant),
}

struct Slot {
    addrs: Vec<Multiaddr>,
    reserve: bool,
    circuits_until: Option<Instant>,
    link: Link,
    reservation: Reservation,
    failures: u32,
    retry_at: Instant,
    reported: Option<bool>,
    /// Over TCP: when QUIC is tried, and how often it was.
    better: Option<(Instant, u32)>,
}

impl Slot {
    fn new(addrs: Vec<Multiaddr>, now: Instant) -> Self {
        Self {
            addrs,
            reserve: false,
            circuits_until: None,
            link: Link::Down,
            reservation: Reservation::None,
            failures: 0,
            retry_at: now,
            reported: None,
            better: None,
        }
    }

    fn wanted(&self, now: Instant) -> bool {
        self.reserve || self.circuits_until.is_some_and(|t| now < t)
    }

    fn conn(&self) -> Option<ConnectionId> {
        match self.link {
            Link::Identifying(c, _) | Link::Ready(c) => Some(c),
            Link::Down | Link::Dialing => None,
        }
    }

    /// When QUIC is to be tried beside TCP, and how often it was. Only where
    /// this node is to be reached does it matter.
    fn better_due(&self) -> Option<(Instant, u32)> {
        self.better.filter(|_| self.reserve && matches!(self.link, Link::Ready(_)))
    }

    fn backoff(&mut self, now: Instant, jitter: u64) {
        if let Reservation::Active(_, since) = self.reservation
            && now.duration_since(since) >= STEADY
        {
            self.failures = 0;
        }
        let longest = if self.failures < SOON_MAX { BACKOFF_SOON } else { BACKOFF_MAX };
        let full = BACKOFF_MIN.saturating_mul(1 << self.failures.min(16)).min(longest);
        // Between half and all of it: clients of one relay do not return together.
        let full_ms = u64::try_from(full.as_millis()).unwrap_or(u64::MAX);
        self.retry_at = now + Duration::from_millis(full_ms / 2 + jitter % (full_ms / 2 + 1));
        self.failures = self.failures.saturating_add(1);
    }

    /// The reservation is gone.
    fn fell(&mut self, peer: PeerId, out: &mut Vec<Action>) {
        self.reservation = Reservation::None;
        if self.reserve && self.reported != Some(false) {
            self.reported = Some(false);
            out.push(Action::Report(peer, false));
        }
    }
}

/// All relays of interest.
pub(crate) struct Relays {
    slots: BTreeMap<PeerId, Slot>,
    random: u64,
    out: Vec<Action>,
}

impl Relays {
    /// None yet; `seed` feeds the jitter.
    pub(crate) fn new(seed: u64) -> Self {
        Self { slots: BTreeMap::new(), random: seed, out: Vec::new() }
    }

    /// SplitMix64: spread is all that jitter needs.
    fn jitter(random: &mut u64) -> u64 {
        *random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Reservations are wanted at exactly these relays.
    pub(crate) fn reserve(&mut self, relays: Vec<(PeerId, Vec<Multiaddr>)>, now: Instant) {
        let wanted: BTreeMap<_, _> = relays.into_iter().take(RESERVATIONS_MAX).collect();
        for (peer, slot) in &mut self.slots {
            if slot.reserve && !wanted.contains_key(peer) {
                slot.fell(*peer, &mut self.out);
                slot.reserve = false;
                slot.reported = None;
                slot.circuits_until = None;
                // Removing only the listener can race with the relay's answer;
                // without its connection the listener ends by itself.
                if let Some(conn) = slot.conn() {
                    self.out.push(Action::Close(conn));
                }
            }
        }
        for (peer, addrs) in wanted {
            let slot = self.slots.entry(peer).or_insert_with(|| Slot::new(Vec::new(), now));
            if slot.addrs != addrs || !slot.reserve {
                slot.addrs = addrs;
                slot.retry_at = slot.retry_at.min(now);
            }
            slot.reserve = true;
        }
    }

    /// Circuits through this relay are wanted for a while.
    pub(crate) fn circuits(&mut self, peer: PeerId, addr: &Multiaddr, now: Instant, until: Instant) {
        if !self.slots.contains_key(&peer) && self.slots.len() >= RELAYS_MAX {
            return;
        }
        let slot = self.slots.entry(peer).or_insert_with(|| Slot::new(Vec::new(), now));
        if !slot.addrs.contains(addr) && !slot.reserve && slot.addrs.len() < addr::DIAL_ADDRS_MAX {
            slot.addrs.push(addr.clone());
        }
        slot.circuits_until = slot.circuits_until.max(Some(until));
    }

    /// Whether circuits can be dialled through it.
    pub(crate) fn ready(&self, peer: &PeerId, now: Instant) -> Ready {
        match self.slots.get(peer) {
            None => Ready::No,
            Some(slot) => match slot.link {
                Link::Ready(_) => Ready::Yes,
                // A relay that has just failed is not waited for.
                Link::Down if slot.failures > 0 && slot.retry_at > now => Ready::No,
                Link::Dialing | Link::Identifying(..) | Link::Down => Ready::Wait,
            },
        }
    }

    /// Where a relay is dialled.
    pub(crate) fn addrs(&self, peer: &PeerId) -> Vec<Multiaddr> {
        self.slots.get(peer).map(|s| s.addrs.clone()).unwrap_or_default()
    }

    /// A direct connection to a peer stands. One over QUIC takes the place of
    /// one over TCP, and the reservation is made again on it.
    pub(crate) fn connected(&mut self, peer: PeerId, conn: ConnectionId, path: Path, now: Instant) {
        let Some(slot) = self.slots.get_mut(&peer) else { return };
        let quic = path == Path::DirectQuic;
        match slot.conn() {
            None => {
                let better = !quic && slot.addrs.iter().any(addr::is_quic);
                slot.better = better.then_some((now, 0));
            }
            Some(old) if slot.better.is_some() && quic => {
                slot.better = None;
                slot.reservation = Reservation::None;
                self.out.push(Action::Close(old));
            }
            Some(_) => return,
        }
        slot.link = Link::Identifying(conn, now);
    }

    /// A dial of ours failed.
    pub(crate) fn dial_failed(&mut self, peer: PeerId, now: Instant) {
        if let Some(slot) = self.slots.get_mut(&peer)
            && slot.link == Link::Dialing
        {
            slot.link = Link::Down;
            slot.backoff(now, Self::jitter(&mut self.random));
            slot.fell(peer, &mut self.out);
        }
    }

    /// A peer has said which protocols it speaks.
    pub(crate) fn identified(&mut self, peer: PeerId, conn: ConnectionId, hop: bool, now: Instant) {
        let Some(slot) = self.slots.get_mut(&peer) else { return };
        if !matches!(slot.link, Link::Identifying(c, _) if c == conn) {
            return;
        }
        if hop {
            slot.link = Link::Ready(conn);
        } else {
            slot.backoff(now, Self::jitter(&mut self.random));
            slot.fell(peer, &mut self.out);
            self.out.push(Action::Close(conn));
        }
    }

    /// The listener that asks for the reservation; `None`: it could not start.
    pub(crate) fn listening(&mut self, peer: PeerId, listener: Option<ListenerId>, now: Instant) {
        if let Some(slot) = self.slots.get_mut(&peer) {
            if listener.is_some() {
                slot.reservation = Reservation::Asking(listener, now);
            } else {
                slot.backoff(now, Self::jitter(&mut self.random));
                slot.fell(peer, &mut self.out);
            }
        }
    }

    /// A relay granted (or renewed) a reservation.
    pub(crate) fn granted(&mut self, peer: PeerId, now: Instant) {
        if let Some(slot) = self.slots.get_mut(&peer)
            && let Reservation::Asking(Some(listener), _) = slot.reservation
        {
            slot.reservation = Reservation::Active(listener, now);
            if slot.reported != Some(true) {
                slot.reported = Some(true);
                self.out.push(Action::Report(peer, true));
            }
        }
    }

    /// A listener ended: the reservation was refused, or is gone.
    pub(crate) fn listener_closed(&mut self, id: ListenerId, now: Instant) {
        for (peer, slot) in &mut self.slots {
            let ours = match slot.reservation {
                Reservation::Asking(l, _) => l == Some(id),
                Reservation::Active(l, _) => l == id,
                Reservation::None => false,
            };
            if ours {
                slot.backoff(now, Self::jitter(&mut self.random));
                slot.fell(*peer, &mut self.out);
            }
        }
    }

    /// A connection ended.
    pub(crate) fn disconnected(&mut self, peer: PeerId, conn: ConnectionId, now: Instant) {
        if let Some(slot) = self.slots.get_mut(&peer)
            && slot.conn() == Some(conn)
        {
            slot.link = Link::Down;
            if slot.retry_at <= now {
                slot.backoff(now, Self::jitter(&mut self.random));
            }
            slot.fell(peer, &mut self.out);
        }
    }

    /// Every connection is gone (the swarm was rebuilt).
    pub(crate) fn reset(&mut self, now: Instant) {
        for (peer, slot) in &mut self.slots {
            slot.link = Link::Down;
            slot.failures = 0;
            slot.retry_at = now;
            slot.fell(*peer, &mut self.out);
        }
    }

    /// Does what is due and hands out what has to be done.
    pub(crate) fn poll(&mut self, now: Instant) -> Vec<Action> {
        for (peer, slot) in &mut self.slots {
            if let Some((at, tries)) = slot.better_due().filter(|(at, _)| now >= *at) {
                let pause = BETTER_MIN.saturating_mul(1 << tries.min(10)).min(BETTER_MAX);
                slot.better = Some((at + pause, tries + 1));
                let addrs: Vec<Multiaddr> = slot.addrs.iter().filter(|a| addr::is_quic(a)).cloned().collect();
                self.out.push(Action::Better(*peer, addrs));
            }
            match slot.link {
                Link::Down if slot.wanted(now) && now >= slot.retry_at && !slot.addrs.is_empty() => {
                    slot.link = Link::Dialing;
                    self.out.push(Action::Dial(*peer, slot.addrs.clone()));
                }
                Link::Identifying(conn, since) if now >= since + IDENTIFY_TIMEOUT => {
                    slot.backoff(now, Self::jitter(&mut self.random));
                    slot.link = Link::Down;
                    slot.fell(*peer, &mut self.out);
                    self.out.push(Action::Close(conn));
                }
                Link::Ready(conn) if slot.reserve => match slot.reservation {
                    Reservation::None if now >= slot.retry_at => {
                        slot.reservation = Reservation::Asking(None, now);
                        self.out.push(Action::Listen(*peer, conn));
                    }
                    Reservation::Asking(_, since) if now >= since + RESERVE_TIMEOUT => {
                        slot.backoff(now, Self::jitter(&mut self.random));
                        slot.link = Link::Down;
                        slot.fell(*peer, &mut self.out);
                        self.out.push(Action::Close(conn));
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        // A relay of a contact is forgotten with its connection; libp2p closes
        // that when no circuit uses it any more.
        self.slots.retain(|_, s| s.wanted(now) || s.conn().is_some() || s.link == Link::Dialing);
        std::mem::take(&mut self.out)
    }

    /// When [`Relays::poll`] has something to do next.
    pub(crate) fn next_wake(&self, now: Instant) -> Option<Instant> {
        let due = |slot: &Slot| match (slot.link, slot.reservation) {
            (Link::Down, _) if slot.wanted(now) && !slot.addrs.is_empty() => Some(slot.retry_at),
            (Link::Identifying(_, since), _) => Some(since + IDENTIFY_TIMEOUT),
            (Link::Ready(_), Reservation::None) if slot.reserve => Some(slot.retry_at),
            (Link::Ready(_), Reservation::Asking(_, since)) => Some(since + RESERVE_TIMEOUT),
            _ => None,
        };
        let better = |slot: &Slot| slot.better_due().map(|(at, _)| at);
        self.slots.values().flat_map(|s| [due(s), better(s)]).flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys;
    use kith_wire::crypto::Secret;

    fn relay(n: u8) -> PeerId {
        keys::peer_id(&keys::public_key(&Secret::new([n; 32])).unwrap()).unwrap()
    }
    fn conn(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }
    fn addr() -> Multiaddr {
        "/ip4/192.0.2.1/tcp/1".parse().unwrap()
    }

    fn reserved(r: &mut Relays, id: PeerId, c: ConnectionId, now: Instant) -> ListenerId {
        assert_eq!(r.poll(now), [Action::Dial(id, vec![addr()])]);
        r.connected(id, c, Path::DirectQuic, now);
        assert_eq!(r.poll(now), []);
        assert_eq!(r.ready(&id, now), Ready::Wait);
        r.identified(id, c, true, now);
        assert_eq!(r.ready(&id, now), Ready::Yes);
        assert_eq!(r.poll(now), [Action::Listen(id, c)]);
        let listener = ListenerId::next();
        r.listening(id, Some(listener), now);
        r.granted(id, now);
        assert_eq!(r.poll(now), [Action::Report(id, true)]);
        listener
    }

    #[test]
    fn a_lost_reservation_is_made_again_with_growing_pauses() {
        let (mut r, id, mut now) = (Relays::new(1), relay(1), Instant::now());
        r.reserve(vec![(id, vec![addr()])], now);
        let listener = reserved(&mut r, id, conn(1), now);
        r.granted(id, now); // a renewal says nothing new
        assert_eq!(r.poll(now), []);
        assert_eq!(r.next_wake(now), None);
        now += STEADY;
        r.listener_closed(listener, now);
        r.disconnected(id, conn(1), now);
        assert_eq!(r.poll(now), [Action::Report(id, false)]);
        let mut pause = Duration::ZERO;
        for tries in 0..SOON_MAX + 3 {
            let wake = r.next_wake(now).unwrap();
            let next = wake - now;
            let longest = if tries < SOON_MAX { BACKOFF_SOON } else { BACKOFF_MAX };
            assert!(next <= longest && next >= BACKOFF_MIN / 2);
            assert!(next * 3 > pause, "pauses grow, up to the jitter");
            pause = next;
            assert_eq!(r.poll(wake - Duration::from_millis(1)), []);
            now = wake;
            assert_eq!(r.poll(now), [Action::Dial(id, vec![addr()])]);
            r.dial_failed(id, now);
        }
        assert!(pause >= BACKOFF_MAX / 2);
        now = r.next_wake(now).unwrap();
        reserved(&mut r, id, conn(2), now);
    }

    #[test]
    fn quic_takes_the_place_of_tcp_and_tcp_stays_where_there_is_no_quic() {
        let (mut r, id, mut now) = (Relays::new(5), relay(1), Instant::now());
        let quic: Multiaddr = "/ip4/192.0.2.1/udp/1/quic-v1".parse().unwrap();
        let (tcp, better) = (conn(1), Action::Better(id, vec![quic.clone()]));
        r.reserve(vec![(id, vec![quic.clone(), addr()])], now);
        assert_eq!(r.poll(now), [Action::Dial(id, vec![quic, addr()])]);
        r.connected(id, tcp, Path::DirectTcp, now);
        r.identified(id, tcp, true, now);
        assert_eq!(r.poll(now), [better.clone(), Action::Listen(id, tcp)]);
        let old = ListenerId::next();
        r.listening(id, Some(old), now);
        r.granted(id, now);
        assert_eq!(r.poll(now), [Action::Report(id, true)]);

        // UDP does not get through: ever more seldom.
        for pause in [30, 60, 120] {
            r.dial_failed(id, now);
            assert_eq!(r.next_wake(now), Some(now + Duration::from_secs(pause)));
            now += Duration::from_secs(pause);
            assert_eq!(r.poll(now), std::slice::from_ref(&better));
        }

        // It does by now: nobody is told that the reservation moves.
        r.connected(id, conn(2), Path::DirectQuic, now);
        assert_eq!(r.poll(now), [Action::Close(tcp)]);
        r.listener_closed(old, now);
        r.disconnected(id, tcp, now);
        r.identified(id, conn(2), true, now);
        assert_eq!(r.poll(now), [Action::Listen(id, conn(2))]);
        r.listening(id, Some(ListenerId::next()), now);
        r.granted(id, now);
        assert_eq!(r.poll(now), []);
        assert_eq!(r.next_wake(now), None);
        // Another one changes nothing.
        r.connected(id, conn(3), Path::DirectQuic, now);
        assert_eq!(r.poll(now), []);
    }

    #[test]
    fn a_denied_reservation_keeps_the_connection_and_asks_again_later() {
        let (mut r, id, mut now) = (Relays::new(2), relay(1), Instant::now());
        r.reserve(vec![(id, vec![addr()])], now);
        r.poll(now);
        r.connected(id, conn(1), Path::DirectQuic, now);
        r.identified(id, conn(1), true, now);
        r.poll(now);
        let listener = ListenerId::next();
        r.listening(id, Some(listener), now);
        r.listener_closed(listener, now);
        assert_eq!(r.poll(now), [Action::Report(id, false)]);
        assert_eq!(r.ready(&id, now), Ready::Yes);
        now = r.next_wake(now).unwrap();
        assert_eq!(r.poll(now), [Action::Listen(id, conn(1))]);
    }

    #[test]
    fn no_relay_and_silent_relays_are_left() {
        let (mut r, id, mut now) = (Relays::new(3), relay(1), Instant::now());
        r.reserve(vec![(id, vec![addr()])], now);
        r.poll(now);
        r.connected(id, conn(1), Path::DirectQuic, now);
        r.identified(id, conn(1), false, now);
        assert_eq!(r.poll(now), [Action::Report(id, false), Action::Close(conn(1))]);
        r.disconnected(id, conn(1), now);
        now = r.next_wake(now).unwrap();
        r.poll(now);
        r.connected(id, conn(2), Path::DirectQuic, now);
        now += IDENTIFY_TIMEOUT;
        assert_eq!(r.poll(now), [Action::Close(conn(2))]);
        assert_eq!(r.ready(&id, now), Ready::No);
        now = r.next_wake(now).unwrap();
        r.poll(now);
        r.connected(id, conn(3), Path::DirectQuic, now);
        r.identified(id, conn(3), true, now);
        assert_eq!(r.poll(now), [Action::Listen(id, conn(3))]);
        r.listening(id, Some(ListenerId::next()), now);
        now += RESERVE_TIMEOUT;
        assert_eq!(r.poll(now), [Action::Close(conn(3))]);
    }

    #[test]
    fn what_is_not_wanted_any_more_is_closed_and_forgotten() {
        let (mut r, id, other, now) = (Relays::new(4), relay(1), relay(2), Instant::now());
        r.reserve(vec![(id, vec![addr()])], now);
        reserved(&mut r, id, conn(1), now);
        r.reserve(vec![], now);
        assert_eq!(r.poll(now), [Action::Report(id, false), Action::Close(conn(1))]);
        r.disconnected(id, conn(1), now);
        r.circuits(other, &addr(), now, now + STEADY);
        assert_eq!(r.poll(now), [Action::Dial(other, vec![addr()])]);
        assert!(!r.slots.contains_key(&id));
        r.dial_failed(other, now);
        assert_eq!(r.ready(&other, now), Ready::No);
        assert_eq!(r.poll(now + STEADY), []);
        assert!(!r.slots.contains_key(&other));
        for n in 0..=255 {
            r.circuits(relay(n), &addr(), now, now + STEADY);
        }
        assert_eq!(r.slots.len(), RELAYS_MAX);
    }
}
