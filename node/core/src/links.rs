//! Links to people's devices: greeting, proof, flow control, what is in
//! flight. Knows frames, not what the objects in them mean.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kith_wire::ids::{AccountId, DeviceId, GroupId, PeerKey};
use kith_wire::net::{LinkFacts, LinkId, NetCommand, Path};
use kith_wire::peer::{Frame, ProofContext, VERSIONS};

use crate::identity::Identity;

/// Unanswered objects on one link.
const IN_FLIGHT_MAX: usize = 512;
/// Bytes of unanswered objects on one link.
const IN_FLIGHT_BYTES_MAX: usize = 1 << 20;
/// Objects that wait for room on one link. Beyond it the link is closed: the
/// sync after the next contact brings what was meant for it.
const WAITING_MAX: usize = 8_192;
/// Bytes that wait for room on one link.
const WAITING_BYTES_MAX: usize = 16 << 20;
/// Links at once. The overlay bounds connections; this bounds us.
pub(crate) const LINKS_MAX: usize = 1_024;

/// What an answered object stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// A row of the outbox.
    Item(u64),
    /// Part of a sync: nothing follows from its answer.
    Part,
    /// The last object of a sync: everything of the group that stood in the
    /// outbox below this number has reached the device.
    Synced {
        /// The group.
        group: GroupId,
        /// Outbox numbers below this are covered.
        below: u64,
        /// More is to be had: sync again.
        more: bool,
    },
}

/// One link.
#[derive(Debug)]
pub(crate) struct PeerLink {
    /// Which link it was that came up, counted from the start.
    nth: u64,
    pub peer: PeerKey,
    pub local: PeerKey,
    pub path: Path,
    /// Since when, Unix ms.
    pub since_ms: u64,
    /// What the overlay has found out about it.
    pub facts: LinkFacts,
    my_nonce: [u8; 32],
    their_nonce: Option<[u8; 32]>,
    proved: bool,
    /// A device key that was proven before we knew whose it is.
    claimed: Option<DeviceId>,
    /// The far end, once it has proven its device key.
    pub device: Option<(DeviceId, AccountId)>,
    /// Whom its transport key belongs to by a card or invite that we hold.
    pub expected: Option<(DeviceId, AccountId)>,
    /// Objects that it brought before any proof.
    pub stranger_objects: u32,
    /// Key packages given to it.
    pub packages_given: u32,
    next_number: u64,
    in_flight: BTreeMap<u64, (Token, usize)>,
    in_flight_bytes: usize,
    waiting: VecDeque<(Token, Vec<u8>, GroupOrInbox)>,
    waiting_bytes: usize,
    /// Groups in which the far end's hello was answered on this link: own new
    /// objects follow without a gap.
    pub synced: BTreeSet<GroupId>,
    /// Hash of the last hello that was answered in a group, and of what was
    /// known here then: nothing new would come of answering it again.
    pub answered: BTreeMap<GroupId, [u8; 32]>,
}

#[derive(Debug, Clone, Copy)]
enum GroupOrInbox {
    Group(GroupId),
    Inbox,
}

/// All links to people.
#[derive(Debug, Default)]
pub(crate) struct Links {
    links: BTreeMap<LinkId, PeerLink>,
    by_device: BTreeMap<DeviceId, LinkId>,
    /// Links that ever came up.
    came_up: u64,
}

/// What a greeting or proof led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing yet.
    Wait,
    /// The far end speaks no version of ours.
    OtherVersion,
    /// Both sides have proven themselves.
    Proven(DeviceId),
}

impl Links {
    /// A link came up. Greets.
    pub(crate) fn up(
        &mut self,
        link: LinkId,
        (peer, local, path): (PeerKey, PeerKey, Path),
        nonce: [u8; 32],
        net: &mut Vec<NetCommand>,
    ) {
        if self.links.len() >= LINKS_MAX {
            net.push(NetCommand::Close { link });
            return;
        }
        self.came_up += 1;
        self.links.insert(
            link,
            PeerLink {
                nth: self.came_up,
                peer,
                local,
                path,
                since_ms: 0,
                facts: LinkFacts::default(),
                my_nonce: nonce,
                their_nonce: None,
                proved: false,
                claimed: None,
                device: None,
                expected: None,
                stranger_objects: 0,
                packages_given: 0,
                next_number: 0,
                in_flight: BTreeMap::new(),
                in_flight_bytes: 0,
                waiting: VecDeque::new(),
                waiting_bytes: 0,
                synced: BTreeSet::new(),
                answered: BTreeMap::new(),
            },
        );
        let hello = Frame::Hello { lowest: VERSIONS.0, highest: VERSIONS.1, nonce };
        net.push(NetCommand::Send { link, frame: hello.to_bytes() });
    }

    /// A link is gone.
    pub(crate) fn down(&mut self, link: LinkId) -> Option<PeerLink> {
        let gone = self.links.remove(&link)?;
        if let Some((device, _)) = gone.device
            && self.by_device.get(&device) == Some(&link)
        {
            self.by_device.remove(&device);
            // Another link to the same device takes over, if there is one.
            let to_it = self.links.iter().filter(|(_, l)| l.device.is_some_and(|(d, _)| d == device));
            if let Some((newest, _)) = to_it.max_by_key(|(_, l)| l.nth) {
                self.by_device.insert(device, *newest);
            }
        }
        Some(gone)
    }

    /// A link has proven to lead to a device, which is reached over it from now
    /// on, unless a link is in use that came up later: that one was to take this
    /// one's place, however long either's proof took.
    fn take(&mut self, device: DeviceId, link: LinkId) {
        let nth = |link: &LinkId| self.links.get(link).map(|l| l.nth);
        if self.by_device.get(&device).and_then(nth) < nth(&link) {
            self.by_device.insert(device, link);
        }
    }

    pub(crate) fn get(&self, link: LinkId) -> Option<&PeerLink> {
        self.links.get(&link)
    }
    pub(crate) fn get_mut(&mut self, link: LinkId) -> Option<&mut PeerLink> {
        self.links.get_mut(&link)
    }
    pub(crate) fn iter(&self) -> impl Iterator<Item = (LinkId, &PeerLink)> {
        self.links.iter().map(|(id, l)| (*id, l))
    }
    /// The link to a device that has proven itself.
    pub(crate) fn of_device(&self, device: &DeviceId) -> Option<LinkId> {
        self.by_device.get(device).copied()
    }
    /// A link on which an inbox object reaches a device: proven, or greeted by
    /// the transport key that its card or invite names.
    pub(crate) fn for_inbox(&self, device: &DeviceId) -> Option<LinkId> {
        self.of_device(device).or_else(|| {
            self.links
                .iter()
                .find(|(_, l)| l.their_nonce.is_some() && l.expected.is_some_and(|(d, _)| d == *device))
                .map(|(id, _)| *id)
        })
    }
    /// Any link to this transport key, proven or not.
    pub(crate) fn of_peer(&self, peer: &PeerKey) -> Option<LinkId> {
        self.links.iter().find(|(_, l)| l.peer == *peer).map(|(id, _)| *id)
    }

    /// The far end greeted. `expected`: whose transport key it is, by a card.
    pub(crate) fn hello(
        &mut self,
        link: LinkId,
        (lowest, highest): (u16, u16),
        nonce: [u8; 32],
        expected: Option<(DeviceId, AccountId)>,
        me: &Identity,
        net: &mut Vec<NetCommand>,
    ) -> Step {
        let Some(l) = self.links.get_mut(&link) else { return Step::Wait };
        if lowest > VERSIONS.1 || highest < VERSIONS.0 {
            return Step::OtherVersion;
        }
        if l.their_nonce.is_none() {
            l.their_nonce = Some(nonce);
            l.expected = expected;
            if expected.is_some() {
                l.prove(link, me, net);
            }
        }
        Step::Wait
    }

    /// The far end proved a device key. `account`: the account that this
    /// device belongs to, by a card or group that we hold; none = a stranger.
    pub(crate) fn proof(
        &mut self,
        link: LinkId,
        device: DeviceId,
        sig: &[u8; 64],
        account: Option<AccountId>,
        me: &Identity,
        net: &mut Vec<NetCommand>,
    ) -> Step {
        let Some(l) = self.links.get_mut(&link) else { return Step::Wait };
        let Some(their_nonce) = l.their_nonce else { return Step::Wait };
        let context = ProofContext {
            prover: &l.peer,
            verifier: &l.local,
            prover_nonce: &their_nonce,
            verifier_nonce: &l.my_nonce,
        };
        if l.device.is_some() || context.verify(&device, sig).is_err() {
            return Step::Wait;
        }
        let Some(account) = account else {
            l.claimed = Some(device);
            return Step::Wait;
        };
        l.device = Some((device, account));
        l.prove(link, me, net);
        self.take(device, link);
        Step::Proven(device)
    }

    /// A transport key is known to be this device's now: its links are proven
    /// to, and proofs that came too early count. Answers links whose far end
    /// is proven by that.
    pub(crate) fn expect(
        &mut self,
        peer: &PeerKey,
        (device, account): (DeviceId, AccountId),
        me: &Identity,
        net: &mut Vec<NetCommand>,
    ) -> Vec<LinkId> {
        let mut proven = Vec::new();
        for (link, l) in self.links.iter_mut().filter(|(_, l)| l.peer == *peer && l.device.is_none()) {
            l.expected = Some((device, account));
            l.prove(*link, me, net);
            if l.claimed == Some(device) {
                l.device = Some((device, account));
                proven.push(*link);
            }
        }
        for link in &proven {
            self.take(device, *link);
        }
        proven
    }

    /// Sends an object of a group, or queues it for room on the link. `false`:
    /// there is no such link, or it is hopelessly behind and was closed.
    pub(crate) fn send_object(
        &mut self,
        link: LinkId,
        group: GroupId,
        object: Vec<u8>,
        token: Token,
        net: &mut Vec<NetCommand>,
    ) -> bool {
        self.queue(link, GroupOrInbox::Group(group), object, token, net)
    }

    /// Sends an object to the far end's inbox.
    pub(crate) fn send_inbox(
        &mut self,
        link: LinkId,
        sealed: Vec<u8>,
        token: Token,
        net: &mut Vec<NetCommand>,
    ) -> bool {
        self.queue(link, GroupOrInbox::Inbox, sealed, token, net)
    }

    fn queue(
        &mut self,
        link: LinkId,
        to: GroupOrInbox,
        object: Vec<u8>,
        token: Token,
        net: &mut Vec<NetCommand>,
    ) -> bool {
        let Some(l) = self.links.get_mut(&link) else { return false };
        // Inbox objects are offered at the greeting and at the proof.
        if matches!(to, GroupOrInbox::Inbox)
            && (l.in_flight.values().any(|(t, _)| *t == token) || l.waiting.iter().any(|w| w.0 == token))
        {
            return true;
        }
        if l.waiting.len() >= WAITING_MAX || l.waiting_bytes + object.len() > WAITING_BYTES_MAX {
            net.push(NetCommand::Close { link });
            return false;
        }
        l.waiting_bytes += object.len();
        l.waiting.push_back((token, object, to));
        l.pump(link, net);
        true
    }

    /// An object was answered, well or badly: its token, and room for more.
    pub(crate) fn answered(&mut self, link: LinkId, number: u64, net: &mut Vec<NetCommand>) -> Option<Token> {
        let l = self.links.get_mut(&link)?;
        let (token, bytes) = l.in_flight.remove(&number)?;
        l.in_flight_bytes = l.in_flight_bytes.saturating_sub(bytes);
        l.pump(link, net);
        Some(token)
    }
}

impl PeerLink {
    fn prove(&mut self, link: LinkId, me: &Identity, net: &mut Vec<NetCommand>) {
        let Some(their_nonce) = self.their_nonce else { return };
        if core::mem::replace(&mut self.proved, true) {
            return;
        }
        let context = ProofContext {
            prover: &self.local,
            verifier: &self.peer,
            prover_nonce: &self.my_nonce,
            verifier_nonce: &their_nonce,
        };
        net.push(NetCommand::Send { link, frame: context.prove(me.device_key()).to_bytes() });
    }

    fn pump(&mut self, link: LinkId, net: &mut Vec<NetCommand>) {
        while self.in_flight.len() < IN_FLIGHT_MAX && self.in_flight_bytes < IN_FLIGHT_BYTES_MAX {
            let Some((token, object, to)) = self.waiting.pop_front() else { return };
            let (number, bytes) = (self.next_number, object.len());
            self.next_number += 1;
            self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes);
            self.in_flight.insert(number, (token, bytes));
            self.in_flight_bytes += bytes;
            let frame = match to {
                GroupOrInbox::Group(group) => Frame::Object { number, group, object },
                GroupOrInbox::Inbox => Frame::Inbox { number, sealed: object },
            };
            net.push(NetCommand::Send { link, frame: frame.to_bytes() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: DeviceId = DeviceId([7; 32]);

    fn proves(links: &mut Links, link: LinkId) {
        links.get_mut(link).unwrap().device = Some((DEVICE, AccountId([8; 32])));
        links.take(DEVICE, link);
    }

    #[test]
    fn a_device_is_reached_over_the_link_that_came_up_last_whichever_was_proven_first() {
        // The numbers are given when a link is begun, not when it is up.
        let (relayed, direct, again) = (LinkId(9), LinkId(2), LinkId(4));
        let (mut links, mut net) = (Links::default(), Vec::new());
        let ends = (PeerKey([1; 32]), PeerKey([2; 32]));
        links.up(relayed, (ends.0, ends.1, Path::Circuit), [0; 32], &mut net);
        links.up(direct, (ends.0, ends.1, Path::DirectQuic), [0; 32], &mut net);
        proves(&mut links, direct);
        proves(&mut links, relayed);
        assert_eq!(links.of_device(&DEVICE), Some(direct));

        // A circuit comes again where a direct path has died unnoticed.
        links.up(again, (ends.0, ends.1, Path::Circuit), [0; 32], &mut net);
        assert_eq!(links.of_device(&DEVICE), Some(direct), "not proven yet");
        proves(&mut links, again);
        assert_eq!(links.of_device(&DEVICE), Some(again));

        links.down(again);
        assert_eq!(links.of_device(&DEVICE), Some(direct));
        links.down(direct);
        assert_eq!(links.of_device(&DEVICE), Some(relayed));
        links.down(relayed);
        assert_eq!(links.of_device(&DEVICE), None);
    }
}
