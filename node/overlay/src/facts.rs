//! What is found out about connections and about the own network, for people
//! to read. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use kith_wire::net::Mapping;
use libp2p::{Multiaddr, PeerId};

/// Far ends whose sight of this node is kept; the first ones stay.
const OBSERVERS_MAX: usize = 16;

/// A round trip in whole milliseconds, at least one.
pub(crate) fn ms(rtt: Duration) -> u32 {
    u32::try_from(rtt.as_millis()).unwrap_or(u32::MAX).max(1)
}

/// Whether a round trip is worth telling again: a quarter and 5 ms off.
pub(crate) fn differs(told: Option<Duration>, now: Duration) -> bool {
    told.is_none_or(|told| {
        let off = told.abs_diff(now);
        off >= Duration::from_millis(5) && off * 4 >= told
    })
}

/// Peers that make themselves known in the own network; more are ignored.
const NEARBY_MAX: usize = 256;
/// Addresses of each that are kept.
const NEARBY_ADDRS_MAX: usize = 8;

/// Who makes itself known in the own network, and where. Only what the own
/// network can hold is believed, and a dial proves who answers.
#[derive(Debug, Default)]
pub(crate) struct Nearby(BTreeMap<PeerId, Vec<Multiaddr>>);

impl Nearby {
    /// A peer says that it is there; whether that is new.
    pub(crate) fn found(&mut self, peer: PeerId, addr: Multiaddr) -> bool {
        let near = crate::addr::ip(&addr).is_some_and(crate::addr::is_near);
        if !near || (!self.0.contains_key(&peer) && self.0.len() >= NEARBY_MAX) {
            return false;
        }
        let addrs = self.0.entry(peer).or_default();
        let new = !addrs.contains(&addr) && addrs.len() < NEARBY_ADDRS_MAX;
        if new {
            addrs.push(addr);
        }
        new
    }
    /// It has not said so for long.
    pub(crate) fn gone(&mut self, peer: &PeerId, addr: &Multiaddr) {
        if let Some(addrs) = self.0.get_mut(peer) {
            addrs.retain(|a| a != addr);
            if addrs.is_empty() {
                self.0.remove(peer);
            }
        }
    }
    /// Where it says to be.
    pub(crate) fn of(&self, peer: &PeerId) -> &[Multiaddr] {
        self.0.get(peer).map_or(&[], Vec::as_slice)
    }
}

/// Under which UDP addresses far ends see this node. Only those that it dialled
/// out of the port that it listens on count.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    by: BTreeMap<PeerId, Multiaddr>,
}

impl Observed {
    /// A far end has told what it sees.
    pub(crate) fn seen(&mut self, by: PeerId, addr: Multiaddr) {
        if self.by.contains_key(&by) || self.by.len() < OBSERVERS_MAX {
            self.by.insert(by, addr);
        }
    }
    /// A far end is gone.
    pub(crate) fn gone(&mut self, by: &PeerId) {
        self.by.remove(by);
    }
    /// The address that all of them see.
    pub(crate) fn agreed(&self) -> Option<&Multiaddr> {
        let mut seen = self.by.values();
        let first = seen.next()?;
        seen.all(|a| a == first).then_some(first)
    }
    /// What follows from it; `own`: addresses that are listened on.
    pub(crate) fn mapping(&self, own: &[Multiaddr]) -> Mapping {
        if self.by.is_empty() {
            return Mapping::Unknown;
        }
        if self.by.values().all(|a| own.contains(a)) {
            return Mapping::None;
        }
        match self.by.len() {
            1 => Mapping::Unknown,
            _ if self.agreed().is_some() => Mapping::Same,
            _ => Mapping::Varies,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> Multiaddr {
        format!("/ip4/192.0.2.1/udp/{port}/quic-v1").parse().unwrap()
    }

    #[test]
    fn two_far_ends_tell_what_the_router_does() {
        let mut seen = Observed::default();
        assert_eq!(seen.mapping(&[]), Mapping::Unknown);
        let (a, b) = (PeerId::random(), PeerId::random());
        seen.seen(a, at(1));
        assert_eq!(seen.mapping(&[]), Mapping::Unknown);
        assert_eq!(seen.mapping(&[at(1)]), Mapping::None);
        seen.seen(b, at(1));
        assert_eq!(seen.mapping(&[]), Mapping::Same);
        seen.seen(b, at(2));
        assert_eq!(seen.mapping(&[]), Mapping::Varies);
        seen.gone(&b);
        assert_eq!(seen.mapping(&[]), Mapping::Unknown);
        for _ in 0..100 {
            seen.seen(PeerId::random(), at(3));
        }
        assert_eq!(seen.by.len(), OBSERVERS_MAX);
    }

    #[test]
    fn only_near_addresses_are_believed_and_few_of_them() {
        let mut near = Nearby::default();
        let peer = PeerId::random();
        let at = |n: u8| -> Multiaddr { format!("/ip4/10.0.0.{n}/tcp/1").parse().unwrap() };
        assert!(!near.found(peer, self::at(1)), "not of this network");
        assert!(near.found(peer, at(1)) && !near.found(peer, at(1)));
        for n in 2..50 {
            near.found(peer, at(n));
        }
        assert_eq!(near.of(&peer).len(), NEARBY_ADDRS_MAX);
        for n in 1..50 {
            near.gone(&peer, &at(n));
        }
        assert!(near.of(&peer).is_empty() && near.0.is_empty());
        for _ in 0..=NEARBY_MAX {
            near.found(PeerId::random(), at(1));
        }
        assert_eq!(near.0.len(), NEARBY_MAX);
    }

    #[test]
    fn a_round_trip_is_told_when_it_has_changed_much() {
        let ms = Duration::from_millis;
        assert!(differs(None, ms(1)));
        assert!(!differs(Some(ms(1)), ms(5)));
        assert!(!differs(Some(ms(100)), ms(110)));
        assert!(differs(Some(ms(100)), ms(130)));
        assert!(differs(Some(ms(100)), ms(10)));
        assert_eq!(super::ms(Duration::ZERO), 1);
    }
}
