//! One allocation: its relayed address, to whom it may send, its budget.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::machine::{Client, RelayId};
use crate::rate::Bucket;

/// How long a permission lasts, ms (RFC 8656, section 9).
const PERMISSION_MS: u64 = 300_000;
/// How long a channel lasts, ms (RFC 8656, section 12).
const CHANNEL_MS: u64 = 600_000;
/// Addresses that one allocation may send to.
const PERMISSIONS_MAX: usize = 64;
/// Channels of one allocation.
const CHANNELS_MAX: usize = 64;
/// Channel numbers.
const CHANNELS: core::ops::RangeInclusive<u16> = 0x4000..=0x7FFE;

pub(super) struct Allocation {
    pub(super) client: Client,
    pub(super) relay: RelayId,
    pub(super) relayed: SocketAddr,
    pub(super) username: String,
    pub(super) key: [u8; 16],
    /// Transaction that made it: asked again, it is answered again.
    pub(super) made_by: [u8; 12],
    pub(super) until_ms: u64,
    /// Refreshed or not, it ends then.
    pub(super) end_ms: u64,
    pub(super) budget: Bucket,
    permissions: BTreeMap<IpAddr, u64>,
    channels: BTreeMap<u16, (SocketAddr, u64)>,
    numbers: BTreeMap<SocketAddr, u16>,
}

/// What a new allocation consists of.
pub(super) struct Made {
    pub(super) client: Client,
    pub(super) relay: RelayId,
    pub(super) relayed: SocketAddr,
    pub(super) username: String,
    pub(super) key: [u8; 16],
    pub(super) made_by: [u8; 12],
    pub(super) budget: Bucket,
}

impl Allocation {
    pub(super) fn new(made: Made, until_ms: u64, end_ms: u64) -> Self {
        let Made { client, relay, relayed, username, key, made_by, budget } = made;
        Self {
            client,
            relay,
            relayed,
            username,
            key,
            made_by,
            until_ms,
            end_ms,
            budget,
            permissions: BTreeMap::new(),
            channels: BTreeMap::new(),
            numbers: BTreeMap::new(),
        }
    }

    /// Lets this address in and out for a while; `false`: too many.
    pub(super) fn permit(&mut self, ip: IpAddr, now_ms: u64) -> bool {
        if !self.permissions.contains_key(&ip) && self.permissions.len() >= PERMISSIONS_MAX {
            self.permissions.retain(|_, until| *until > now_ms);
        }
        let room = self.permissions.contains_key(&ip) || self.permissions.len() < PERMISSIONS_MAX;
        if room {
            self.permissions.insert(ip, now_ms + PERMISSION_MS);
        }
        room
    }

    pub(super) fn permits(&self, ip: IpAddr, now_ms: u64) -> bool {
        self.permissions.get(&ip).is_some_and(|until| *until > now_ms)
    }

    /// Binds a channel, or binds it again; `false`: not these two, or too many.
    pub(super) fn bind(&mut self, number: u16, peer: SocketAddr, now_ms: u64) -> bool {
        self.expire(now_ms);
        let same = match (self.channels.get(&number), self.numbers.get(&peer)) {
            (None, None) => self.channels.len() < CHANNELS_MAX,
            (Some((bound, _)), Some(known)) => *bound == peer && *known == number,
            _ => false,
        };
        if !CHANNELS.contains(&number) || !same || !self.permit(peer.ip(), now_ms) {
            return false;
        }
        self.channels.insert(number, (peer, now_ms + CHANNEL_MS));
        self.numbers.insert(peer, number);
        true
    }

    pub(super) fn channel(&self, number: u16, now_ms: u64) -> Option<SocketAddr> {
        self.channels.get(&number).filter(|(_, until)| *until > now_ms).map(|(peer, _)| *peer)
    }

    pub(super) fn number(&self, peer: &SocketAddr, now_ms: u64) -> Option<u16> {
        let number = self.numbers.get(peer)?;
        self.channel(*number, now_ms).map(|_| *number)
    }

    /// Forgets what has ended.
    pub(super) fn expire(&mut self, now_ms: u64) {
        self.permissions.retain(|_, until| *until > now_ms);
        self.channels.retain(|_, (_, until)| *until > now_ms);
        let channels = &self.channels;
        self.numbers.retain(|_, number| channels.contains_key(number));
    }
}
