//! What a node holds in memory only: links, relay sessions, indexes of stored
//! rows, deadlines. All of it can be thrown away and rebuilt.

use std::collections::{BTreeMap, BTreeSet};

use kith_wire::ids::{AccountId, DeviceId, GroupId, PeerKey};
use kith_wire::net::NetCommand;

use crate::api::Event;
use crate::links::Links;
use crate::outbox::Outbox;
use crate::relays::Relays;
use crate::view;

/// Back-off of a dial, in ms: first and longest wait.
const DIAL_BACKOFF_MS: (u64, u64) = (2_000, 600_000);

/// In-memory state.
pub(crate) struct Live {
    pub links: Links,
    pub relays: Relays,
    pub outbox: Outbox,
    pub dials: BTreeMap<DeviceId, Dial>,
    /// Transport keys of the cards that we hold.
    pub directory: BTreeMap<PeerKey, (DeviceId, AccountId)>,
    /// Own addresses as the overlay reports them.
    pub addrs: Vec<String>,
    /// Deadlines, monotonic ms.
    pub timers: BTreeSet<(u64, Timer)>,
    /// Commands for the overlay, released after the commit.
    pub net: Vec<NetCommand>,
    /// Events for the UI, released after the commit.
    pub events: Vec<Event>,
    /// Messages whose state changed; each is shown once per burst.
    pub touched: BTreeSet<(GroupId, u64)>,
    /// Conversations that changed; each is shown once per burst.
    pub changed: BTreeSet<GroupId>,
    /// The network view changed.
    pub network_changed: bool,
    /// Blobs being fetched: join bundles.
    pub joins: BTreeMap<GroupId, crate::join::Waiting>,
    /// Adds that wait for a key package or for their moment.
    pub adds: crate::membership::Adds,
    pub settings: view::Settings,
    /// Direct links are allowed at all (configuration).
    pub direct_allowed: bool,
}

/// When a device is dialled next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dial {
    pub next_at: u64,
    backoff_ms: u64,
    pub dialling: bool,
}

/// What a deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Dial people's devices whose time has come.
    Dials,
    /// Dial relays whose time has come.
    RelayDials,
    /// Send own mark of a group: acknowledgements and the vote.
    Mark(GroupId),
    /// Compare notes with linked members of a group.
    Sync(GroupId),
    /// Send Welcomes of a settled commit.
    Welcome(GroupId),
    /// Ask again for key packages.
    Adds,
    /// Keep key pools at relays filled and cards fresh.
    Upkeep,
}

impl Live {
    /// Sets a deadline; an earlier one for the same thing stays.
    pub(crate) fn at(&mut self, mono_ms: u64, timer: Timer) {
        match self.timers.iter().find(|(_, t)| *t == timer).copied() {
            Some((at, _)) if at <= mono_ms => {}
            Some(later) => {
                self.timers.remove(&later);
                self.timers.insert((mono_ms, timer));
            }
            None => {
                self.timers.insert((mono_ms, timer));
            }
        }
    }

    /// Direct links may be used.
    pub(crate) fn direct(&self) -> bool {
        self.direct_allowed && self.settings.direct
    }
}

impl Dial {
    pub(crate) fn now(mono_ms: u64) -> Self {
        Self { next_at: mono_ms, backoff_ms: DIAL_BACKOFF_MS.0, dialling: false }
    }
    /// A dial failed; `jitter` in 0..256 spreads the next one.
    pub(crate) fn failed(&mut self, mono_ms: u64, jitter: u8) {
        self.dialling = false;
        let spread = self.backoff_ms * u64::from(jitter) / 512;
        self.next_at = mono_ms + self.backoff_ms + spread;
        self.backoff_ms = (self.backoff_ms * 2).min(DIAL_BACKOFF_MS.1);
    }
    /// A link ended that had stood: try again soon.
    pub(crate) fn lost(&mut self, mono_ms: u64, jitter: u8) {
        *self = Self::now(mono_ms + 200 + u64::from(jitter) * 4);
    }
}
