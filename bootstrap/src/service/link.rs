//! One link: who is at the far end, what it has proven, what it may still do.

use std::collections::{BTreeMap, BTreeSet};

use kith_wire::ids::{PeerKey, TopicId, hash};
use kith_wire::labels;
use kith_wire::relay::{Call, Code, Refusal};
use kith_wire::topic::Right;

use super::{Ctx, Now, Relay, Stop, answer_bytes, no};
use crate::rate::Bucket;
use crate::rows::Charge;

/// Rights proven on a topic.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rights {
    read: bool,
    write: bool,
}

pub(super) struct Link {
    pub client: PeerKey,
    pub nonce: [u8; 32],
    source: [u8; 32],
    greeted: bool,
    /// May start topics.
    pub member: bool,
    pub charge: Charge,
    pub malformed: u32,
    calls: Bucket,
    bytes: Bucket,
    pub open: BTreeMap<TopicId, Rights>,
    /// Watched topics: index of the last entry sent.
    pub watch: BTreeMap<TopicId, u64>,
    /// Watched topics that may have entries not yet sent.
    pub behind: BTreeSet<TopicId>,
    pub credit: u64,
    /// Minted TURN credentials.
    pub turns: super::turn::Minted,
}

impl Link {
    pub(super) fn new(relay: &Relay, now: Now, client: PeerKey, nonce: [u8; 32], source: &[u8]) -> Self {
        Self {
            client,
            nonce,
            source: hash(labels::ID_RELAY_SOURCE, &[&relay.charge_secret, source]),
            greeted: false,
            member: false,
            charge: Charge::default(),
            malformed: 0,
            calls: Bucket::full(relay.limits.calls_per_s, now.mono_ms),
            bytes: Bucket::full(relay.limits.bytes_per_s, now.mono_ms),
            open: BTreeMap::new(),
            watch: BTreeMap::new(),
            behind: BTreeSet::new(),
            credit: 0,
            turns: super::turn::Minted::default(),
        }
    }

    /// The greeting was accepted. Members and guests behind one address are
    /// charged apart.
    pub(super) fn greet(&mut self, relay: &Relay, member: bool) {
        self.greeted = true;
        self.member = member;
        let digest =
            hash(labels::ID_RELAY_SENDER, &[&relay.charge_secret, &self.source, &[u8::from(member)]]);
        for (to, from) in self.charge.iter_mut().zip(digest) {
            *to = from;
        }
    }

    /// Whether a call may be looked at now: greeting first, then rates.
    pub(super) fn admit(&mut self, ctx: &Ctx<'_>, frame_bytes: usize, call: &Call) -> Result<(), Stop> {
        let limits = &ctx.relay.limits;
        let now = ctx.now.mono_ms;
        let slow = |limit, wait| Stop::Refused(Refusal::of(Code::Rate).limit(limit).retry_ms(wait));
        let bytes = (frame_bytes as u64).saturating_add(answer_bytes(call));
        self.calls.take(1, limits.calls_per_s, now).map_err(|wait| slow(limits.calls_per_s, wait))?;
        self.bytes.take(bytes, limits.bytes_per_s, now).map_err(|wait| slow(limits.bytes_per_s, wait))?;
        if self.greeted || matches!(call, Call::Hello { .. } | Call::Statement {}) {
            Ok(())
        } else {
            no(Code::NotGreeted)
        }
    }

    /// Records a right; `Err` when too many topics are open.
    pub(super) fn record(&mut self, topic: TopicId, right: Right, max: u64) -> Result<(), Stop> {
        if !self.open.contains_key(&topic) && self.open.len() as u64 >= max {
            return Err(Refusal::of(Code::TooMany).limit(max).into());
        }
        let rights = self.open.entry(topic).or_default();
        match right {
            Right::Read => rights.read = true,
            Right::Write => rights.write = true,
        }
        Ok(())
    }

    pub(super) fn may_write(&self, topic: &TopicId) -> bool {
        self.open.get(topic).is_some_and(|r| r.write)
    }

    /// `Err` unless the topic was opened with this right.
    pub(super) fn need(&self, topic: &TopicId, right: Right) -> Result<(), Stop> {
        let rights = self.open.get(topic).copied().unwrap_or_default();
        let has = match right {
            Right::Read => rights.read,
            Right::Write => rights.write,
        };
        if has { Ok(()) } else { no(Code::NotOpen) }
    }
}
