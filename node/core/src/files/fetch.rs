//! Which chunk of one file is asked from whom: windows, order, sources that
//! stall or lie. Knows places, not bytes: whoever drives it verifies a chunk
//! and says whether it was one.
//!
//! The order is that of reading: from the place that is being read to the
//! end, then from the start; the lists that name a chunk come before it.
//! Relays are asked only while no member's device has what is missing.

use std::collections::{BTreeMap, BTreeSet};

use kith_wire::blob::tree::{LIST_IDS, Spot, Tree};
use kith_wire::bulk::WINDOW_MAX;

/// Sources of one file at once; more are refused.
pub const SOURCES_MAX: usize = 32;
/// A source that was asked and brings nothing for so long is given up, ms.
pub const STALL_MS: u64 = 15_000;
/// A device that has nothing more for us is asked again after this, ms.
const REFRESH_MS: u64 = 3_000;
/// A relay that lacked chunks is asked again after this, ms.
const RELAY_REFRESH_MS: u64 = 30_000;
/// How long devices are waited for before relays are used, ms.
const RELAY_AFTER_MS: u64 = 1_500;
/// A chunk that is on its way for so long is asked from an idle source too, ms.
const LATE_MS: u64 = 2_000;
/// Chunks asked from a source whose pace is unknown.
const WINDOW_FIRST: usize = 8;
/// Chunks asked from a relay: its answers share a link with messages.
const WINDOW_RELAY: usize = 3;
/// Chunks asked from a slow source at least.
const WINDOW_MIN: usize = 2;
/// What is asked from a source is what it brings in about this time, ms.
const AHEAD_MS: u64 = 1_000;
/// The pace is measured over this time, ms.
const PACE_MS: u64 = 500;

/// Names a source for its life; chosen by the driver, never used again.
pub type SourceId = u64;

/// What a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A device of a member.
    Device,
    /// A relay.
    Relay,
}

/// What the driver is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Ask a source for a chunk.
    Get {
        /// Whom.
        source: SourceId,
        /// Which.
        spot: Spot,
    },
    /// Ask a device again what it has.
    Refresh {
        /// Whom.
        source: SourceId,
    },
    /// Part with a source. It is forgotten here.
    Part {
        /// Whom.
        source: SourceId,
        /// Why.
        why: Why,
    },
}

/// Why a source was parted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It brought something else than was asked for.
    Lied,
    /// It was asked and brought nothing.
    Stalled,
}

#[derive(Debug, Clone, Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn full(len: u64) -> Self {
        let words = usize::try_from(len.div_ceil(64)).unwrap_or(0);
        let mut bits = vec![u64::MAX; words];
        if !len.is_multiple_of(64)
            && let Some(last) = bits.last_mut()
        {
            *last = (1 << (len % 64)) - 1;
        }
        Self(bits)
    }
    /// From bytes, lowest bit first; empty = all.
    fn from_bytes(bytes: &[u8], len: u64) -> Self {
        let mut bits = Self::full(len);
        if !bytes.is_empty() {
            for (at, word) in bits.0.iter_mut().enumerate() {
                let byte = |n: usize| u64::from(bytes.get(at * 8 + n).copied().unwrap_or(0)) << (8 * n);
                *word &= (0..8).map(byte).sum::<u64>();
            }
        }
        bits
    }
    fn split(index: u64) -> (usize, u64) {
        (usize::try_from(index / 64).unwrap_or(usize::MAX), 1 << (index % 64))
    }
    fn get(&self, index: u64) -> bool {
        let (at, mask) = Self::split(index);
        self.0.get(at).is_some_and(|word| word & mask != 0)
    }
    fn set(&mut self, index: u64, on: bool) {
        let (at, mask) = Self::split(index);
        if let Some(word) = self.0.get_mut(at) {
            if on {
                *word |= mask;
            } else {
                *word &= !mask;
            }
        }
    }
    /// The first index in `[from, to)` that is set in both.
    fn first_common(&self, other: &Self, from: u64, to: u64) -> Option<u64> {
        let mut at = from;
        while at < to {
            let (word, _) = Self::split(at);
            let both = self.0.get(word)? & other.0.get(word)? & (u64::MAX << (at % 64));
            let start = at - at % 64;
            if both != 0 {
                let found = start + u64::from(both.trailing_zeros());
                return (found < to).then_some(found);
            }
            at = start + 64;
        }
        None
    }
}

#[derive(Debug)]
struct Source {
    class: Class,
    holds: Bits,
    /// Lists that it said it does not have.
    lacks: BTreeSet<Spot>,
    asked: BTreeMap<Spot, u64>,
    window: usize,
    /// When it last brought something, or was asked while idle, ms.
    moved_at: u64,
    pace_from: u64,
    pace_count: u64,
    /// Chunks in a thousand seconds; 0 = unknown.
    pace: u64,
    refresh_at: Option<u64>,
}

/// The fetching of one file.
#[derive(Debug)]
pub struct Fetch {
    tree: Tree,
    /// Chunks of the file that are neither here nor asked for.
    missing: Bits,
    /// Lists that are here.
    lists: BTreeSet<Spot>,
    left: u64,
    sources: BTreeMap<SourceId, Source>,
    /// How many sources a chunk is asked from.
    flights: BTreeMap<Spot, usize>,
    focus: u64,
    devices_useful_at: u64,
    started: bool,
}

impl Fetch {
    /// Starts with what is here already.
    pub fn new(tree: Tree, has: impl Fn(Spot) -> bool) -> Self {
        let mut missing = Bits::full(tree.data_chunks());
        let mut lists = BTreeSet::new();
        let mut left = 0;
        for spot in (0..tree.chunks()).filter_map(|number| tree.spot(number)) {
            match (has(spot), spot.level) {
                (true, 0) => missing.set(spot.index, false),
                (true, _) => {
                    lists.insert(spot);
                }
                (false, _) => left += 1,
            }
        }
        Self {
            tree,
            missing,
            lists,
            left,
            sources: BTreeMap::new(),
            flights: BTreeMap::new(),
            focus: 0,
            devices_useful_at: 0,
            started: false,
        }
    }

    /// Everything is here.
    #[must_use]
    pub fn done(&self) -> bool {
        self.left == 0
    }
    /// Sources at the moment, by kind: devices, relays.
    #[must_use]
    pub fn sources(&self) -> (usize, usize) {
        let relays = self.sources.values().filter(|s| s.class == Class::Relay).count();
        (self.sources.len() - relays, relays)
    }

    /// Somebody reads here: fetch from this chunk on.
    pub fn focus(&mut self, index: u64) {
        self.focus = index.min(self.tree.data_chunks().saturating_sub(1));
    }

    /// A source can be asked. `holds`: a bit for each chunk of the file,
    /// lowest first; empty = all of them. `false`: there are too many.
    pub fn join(&mut self, now: u64, id: SourceId, class: Class, holds: &[u8]) -> bool {
        if self.sources.len() >= SOURCES_MAX && !self.sources.contains_key(&id) {
            return false;
        }
        if !self.started {
            (self.started, self.devices_useful_at) = (true, now);
        }
        let holds = Bits::from_bytes(holds, self.tree.data_chunks());
        if let Some(source) = self.sources.get_mut(&id) {
            source.holds = holds;
            source.lacks.clear();
            source.refresh_at = None;
            return true;
        }
        let window = if class == Class::Relay { WINDOW_RELAY } else { WINDOW_FIRST };
        self.sources.insert(
            id,
            Source {
                class,
                holds,
                lacks: BTreeSet::new(),
                asked: BTreeMap::new(),
                window,
                moved_at: now,
                pace_from: now,
                pace_count: 0,
                pace: 0,
                refresh_at: None,
            },
        );
        true
    }

    /// A source is gone. What was asked from it is asked elsewhere.
    pub fn leave(&mut self, id: SourceId) {
        if let Some(source) = self.sources.remove(&id) {
            for spot in source.asked.keys() {
                self.release(*spot);
            }
        }
    }

    fn release(&mut self, spot: Spot) {
        let Some(count) = self.flights.get_mut(&spot) else { return };
        *count -= 1;
        if *count == 0 {
            self.flights.remove(&spot);
            if spot.level == 0 {
                self.missing.set(spot.index, true);
            }
        }
    }

    /// A chunk came and was verified. `true`: it was still wanted; keep it.
    pub fn arrived(&mut self, now: u64, id: SourceId, spot: Spot) -> bool {
        if let Some(source) = self.sources.get_mut(&id)
            && source.asked.remove(&spot).is_some()
        {
            source.brought(now);
        } else {
            return false;
        }
        // Whoever else was asked for it may still bring it; it is dropped then.
        if self.flights.remove(&spot).is_none() {
            return false;
        }
        self.left = self.left.saturating_sub(1);
        if spot.level > 0 {
            self.lists.insert(spot);
        }
        true
    }

    /// What was settled as here turned out damaged: it is missing again.
    pub fn lost(&mut self, spot: Spot) {
        if !self.tree.contains(spot) || self.flights.contains_key(&spot) {
            return;
        }
        let was = if spot.level == 0 { !self.missing.get(spot.index) } else { self.lists.remove(&spot) };
        if was {
            self.left += 1;
            if spot.level == 0 {
                self.missing.set(spot.index, true);
            }
        }
    }

    /// A source does not have a chunk that it was asked for.
    pub fn lacks(&mut self, now: u64, id: SourceId, spot: Spot) {
        let Some(source) = self.sources.get_mut(&id) else { return };
        if source.asked.remove(&spot).is_none() {
            return;
        }
        source.moved_at = now;
        if spot.level == 0 {
            source.holds.set(spot.index, false);
        } else {
            source.lacks.insert(spot);
        }
        let wait = if source.class == Class::Relay { RELAY_REFRESH_MS } else { REFRESH_MS };
        source.refresh_at.get_or_insert(now + wait);
        self.release(spot);
    }

    /// What a source brought is not what was asked for.
    pub fn lied(&mut self, id: SourceId) -> Step {
        self.leave(id);
        Step::Part { source: id, why: Why::Lied }
    }

    /// The next thing to do; `None` until something happens or time passes.
    pub fn poll(&mut self, now: u64) -> Option<Step> {
        if self.done() {
            return None;
        }
        if let Some((id, _)) = self.sources.iter().find(|(_, s)| s.stalled_at().is_some_and(|at| at <= now)) {
            let id = *id;
            self.leave(id);
            return Some(Step::Part { source: id, why: Why::Stalled });
        }
        let mut devices_useful = false;
        for class in [Class::Device, Class::Relay] {
            if class == Class::Relay {
                if devices_useful {
                    self.devices_useful_at = now;
                }
                if now < self.devices_useful_at + RELAY_AFTER_MS {
                    return None;
                }
            }
            let ids: Vec<SourceId> =
                self.sources.iter().filter(|(_, s)| s.class == class).map(|(id, _)| *id).collect();
            for id in ids {
                let Some(source) = self.sources.get_mut(&id) else { continue };
                if source.refresh_at.is_some_and(|at| at <= now) {
                    match class {
                        Class::Device => {
                            source.refresh_at = Some(now + REFRESH_MS);
                            return Some(Step::Refresh { source: id });
                        }
                        Class::Relay => {
                            source.refresh_at = None;
                            source.lacks.clear();
                            source.holds = Bits::full(self.tree.data_chunks());
                        }
                    }
                }
                let busy = !source.asked.is_empty();
                if source.asked.len() < source.window
                    && let Some(spot) = self.next_for(id, now)
                {
                    return Some(self.ask(id, spot, now));
                }
                devices_useful |= class == Class::Device && busy;
                if class == Class::Device
                    && !busy
                    && let Some(source) = self.sources.get_mut(&id)
                {
                    source.refresh_at.get_or_insert(now + REFRESH_MS);
                }
            }
        }
        None
    }

    /// When to poll again at the latest, ms.
    #[must_use]
    pub fn next_due(&self) -> Option<u64> {
        let sources =
            self.sources.values().filter_map(|s| [s.stalled_at(), s.refresh_at].into_iter().flatten().min());
        let relays = self.sources.values().any(|s| s.class == Class::Relay && s.asked.is_empty());
        let late = self.sources.values().flat_map(|s| s.asked.values()).min().map(|at| at + LATE_MS);
        sources.chain(relays.then_some(self.devices_useful_at + RELAY_AFTER_MS)).chain(late).min()
    }

    fn ask(&mut self, id: SourceId, spot: Spot, now: u64) -> Step {
        if let Some(source) = self.sources.get_mut(&id) {
            if source.asked.is_empty() {
                source.moved_at = now;
            }
            source.refresh_at = None;
            source.asked.insert(spot, now);
        }
        *self.flights.entry(spot).or_default() += 1;
        if spot.level == 0 {
            self.missing.set(spot.index, false);
        }
        Step::Get { source: id, spot }
    }

    /// The list to ask for before a chunk can be, or the chunk's own list is
    /// here (`Ok`). `Err(None)`: it is on its way.
    fn named(&self, mut spot: Spot) -> Result<(), Option<Spot>> {
        let top = self.tree.top();
        let mut wanted = None;
        while spot != top {
            spot = spot.parent();
            if self.lists.contains(&spot) {
                break;
            }
            wanted = Some(spot);
        }
        match wanted {
            None => Ok(()),
            Some(list) if self.flights.contains_key(&list) => Err(None),
            Some(list) => Err(Some(list)),
        }
    }

    fn next_for(&self, id: SourceId, now: u64) -> Option<Spot> {
        let source = self.sources.get(&id)?;
        let end = self.tree.data_chunks();
        for (from, to) in [(self.focus, end), (0, self.focus)] {
            let mut at = from;
            while let Some(index) = self.missing.first_common(&source.holds, at, to) {
                match self.named(Spot::data(index)) {
                    Ok(()) => return Some(Spot::data(index)),
                    Err(Some(list)) if !source.lacks.contains(&list) => return Some(list),
                    // What the list names has to wait; look behind it.
                    Err(_) => at = (index / LIST_IDS + 1) * LIST_IDS,
                }
            }
        }
        // Lists whose chunks are all here, and what is late elsewhere.
        let list = (0..self.tree.chunks() - end).filter_map(|n| self.tree.spot(n)).find(|list| {
            !self.lists.contains(list)
                && !self.flights.contains_key(list)
                && !source.lacks.contains(list)
                && (*list == self.tree.top() || self.named(*list).is_ok())
        });
        if list.is_some() || !source.asked.is_empty() {
            return list;
        }
        let late = |s: &Source| {
            s.asked
                .iter()
                .find(|(spot, at)| {
                    **at + LATE_MS <= now
                        && self.flights.get(spot) == Some(&1)
                        && if spot.level == 0 {
                            source.holds.get(spot.index)
                        } else {
                            !source.lacks.contains(spot)
                        }
                })
                .map(|(spot, _)| *spot)
        };
        self.sources.iter().filter(|(other, _)| **other != id).find_map(|(_, s)| late(s))
    }
}

impl Source {
    fn stalled_at(&self) -> Option<u64> {
        (!self.asked.is_empty()).then_some(self.moved_at + STALL_MS)
    }

    fn brought(&mut self, now: u64) {
        self.moved_at = now;
        self.pace_count += 1;
        let passed = now.saturating_sub(self.pace_from);
        if passed >= PACE_MS {
            let pace = self.pace_count * 1_000_000 / passed;
            self.pace = if self.pace == 0 { pace } else { self.pace.midpoint(pace) };
            (self.pace_from, self.pace_count) = (now, 0);
        }
        if self.class == Class::Relay {
            return;
        }
        let ahead = usize::try_from(self.pace * AHEAD_MS / 1_000_000).unwrap_or(WINDOW_MAX);
        // Some more than its pace, so that the pace can rise.
        let cap =
            if self.pace == 0 { WINDOW_MAX } else { (ahead + ahead / 2 + 1).clamp(WINDOW_MIN, WINDOW_MAX) };
        self.window = if self.window > cap { self.window - 1 } else { (self.window + 1).min(cap) };
    }
}

#[cfg(test)]
mod tests;
