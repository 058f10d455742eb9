//! Objects that still have to leave: which device or relay each one waits
//! for, and when it is done. The rows are the truth; this index is rebuilt
//! from them at start.
//!
//! An object for a group goes straight to every member device that has a
//! synced link. If some device has none, or does not answer in time, it also
//! goes to the group's topic at the relays: to as many as are wanted, and to the
//! next one for each that refuses or is away. It is done when every device has
//! it. Until then a row for which enough relays have signed is *kept*: it waits
//! no more, but when one of those relays goes silent or is found lying, it is
//! brought to another.
//!
//! Every input looks at the rows that are to be offered to relays. A row that
//! has been offered to all that can take it now is parked; what changes its
//! chances (a relay comes up, a card is learnt, a refusal ages) unparks it.

use std::collections::{BTreeMap, BTreeSet};

use kith_store::{Read, StoreError};
use kith_wire::ids::{DeviceId, GroupId, RelayId};

use crate::rows::{self, Outgoing, To};

/// Rows that may wait. Beyond it new messages are refused with a sentence.
pub(crate) const ROWS_MAX: usize = 20_000;
/// How long a linked device may take to answer before relays are used too.
pub(crate) const DIRECT_MS: u64 = 2_000;
/// Relays that are to hold an object (all, if there are fewer).
pub(crate) const COPIES_WANTED: usize = 2;
/// Rows that are kept although enough relays hold them; beyond it the oldest
/// are forgotten here.
const KEPT_MAX: usize = 2_048;
/// The same in bytes.
const KEPT_BYTES_MAX: usize = 32 << 20;

/// One row in short.
#[derive(Debug)]
pub(crate) struct Item {
    pub to: To,
    /// Devices that have not answered yet.
    pub pending: BTreeSet<DeviceId>,
    /// Relays are to hold it as well.
    pub via_relay: bool,
    /// Relays asked and not yet answered.
    pub asked: BTreeSet<RelayId>,
    /// Relays that signed a receipt, and until when, Unix ms.
    pub receipts: BTreeMap<RelayId, u64>,
    /// Relays that refused; asked again after a while.
    pub refused: BTreeSet<RelayId>,
    /// When relays are used although links stand, monotonic ms.
    pub fallback_at: u64,
    /// Enough relays hold it.
    pub kept: bool,
    /// Of so many receipts the store knows.
    pub noted: usize,
    bytes: usize,
}

impl Item {
    /// A person would miss it: own events and inbox entries.
    fn is_missed(&self) -> bool {
        matches!(self.to, To::Inbox { .. } | To::Group { seq: Some(_), .. })
    }
}

/// The index.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    items: BTreeMap<u64, Item>,
    next: u64,
    by_seq: BTreeMap<(GroupId, u64), u64>,
    fallbacks: BTreeSet<(u64, u64)>,
    /// Rows to be offered to relays.
    to_offer: BTreeSet<u64>,
    /// How many rows are inbox entries.
    inbox_rows: usize,
    /// How many rows somebody would miss.
    missed: usize,
    /// Rows that enough relays hold, and their bytes.
    kept: BTreeSet<u64>,
    kept_bytes: usize,
}

impl Outbox {
    /// Rebuilds the index. Nobody is known to have answered: what waits goes
    /// to the relays as well.
    pub(crate) fn load(r: &dyn Read) -> Result<Self, StoreError> {
        let mut outbox = Self::default();
        let mut from = 0;
        loop {
            let rows = Outgoing::from(r, from, 256)?;
            let Some(last) = rows.last() else { break };
            from = last.number + 1;
            for row in rows {
                let pending = match &row.to {
                    To::Group { group, state, .. } => {
                        rows::audience(r, group, state)?.into_iter().map(|(d, _)| d).collect()
                    }
                    To::Inbox { device, .. } => BTreeSet::from([*device]),
                };
                let number = row.number;
                outbox.insert(number, row.to, row.object.len(), pending, 0);
                outbox.want_relay(number);
                let kept = Outgoing::kept(r, number)?;
                if let Some(item) = outbox.items.get_mut(&number).filter(|_| !kept.is_empty()) {
                    item.noted = kept.len();
                    item.receipts = kept.into_iter().collect();
                    outbox.keep(number);
                }
            }
        }
        outbox.next = outbox.next.max(from);
        Ok(outbox)
    }

    /// The number for the next row.
    pub(crate) fn take_number(&mut self) -> u64 {
        let n = self.next;
        self.next += 1;
        n
    }
    /// Numbers given out so far are below this.
    pub(crate) fn next_number(&self) -> u64 {
        self.next
    }
    /// Rows that wait for a device or a relay.
    pub(crate) fn len(&self) -> usize {
        self.items.len() - self.kept.len()
    }
    /// Own events and inbox entries that wait; marks and the like go
    /// unmentioned.
    pub(crate) fn waiting(&self) -> usize {
        self.missed
    }
    pub(crate) fn get(&self, number: u64) -> Option<&Item> {
        self.items.get(&number)
    }
    /// Rows of one group below a number, ascending.
    pub(crate) fn of_group(&self, group: &GroupId, below: u64) -> Vec<u64> {
        self.items
            .range(..below)
            .filter(|(_, i)| matches!(&i.to, To::Group { group: g, .. } if g == group))
            .map(|(n, _)| *n)
            .collect()
    }
    /// Inbox rows for one device.
    pub(crate) fn inbox_of(&self, device: &DeviceId) -> Vec<u64> {
        self.items
            .iter()
            .filter(|(_, i)| matches!(&i.to, To::Inbox { device: d, .. } if d == device))
            .map(|(n, _)| *n)
            .collect()
    }

    /// Adds a row that was just written.
    pub(crate) fn insert(
        &mut self,
        number: u64,
        to: To,
        bytes: usize,
        pending: BTreeSet<DeviceId>,
        fallback_at: u64,
    ) {
        if let To::Group { group, seq: Some(seq), .. } = &to {
            self.by_seq.insert((*group, *seq), number);
        }
        self.inbox_rows += usize::from(matches!(to, To::Inbox { .. }));
        self.fallbacks.insert((fallback_at, number));
        self.next = self.next.max(number + 1);
        let item = Item {
            to,
            pending,
            via_relay: false,
            asked: BTreeSet::new(),
            receipts: BTreeMap::new(),
            refused: BTreeSet::new(),
            fallback_at,
            kept: false,
            noted: 0,
            bytes,
        };
        self.missed += usize::from(item.is_missed());
        self.items.insert(number, item);
    }

    /// Forgets a row.
    pub(crate) fn remove(&mut self, number: u64) -> Option<Item> {
        self.unkeep(number);
        let item = self.items.remove(&number)?;
        self.missed -= usize::from(item.is_missed());
        self.fallbacks.remove(&(item.fallback_at, number));
        self.to_offer.remove(&number);
        self.inbox_rows -= usize::from(matches!(item.to, To::Inbox { .. }));
        if let To::Group { group, seq: Some(seq), .. } = &item.to
            && self.by_seq.get(&(*group, *seq)) == Some(&number)
        {
            self.by_seq.remove(&(*group, *seq));
        }
        Some(item)
    }

    /// Relays are to hold this one.
    pub(crate) fn want_relay(&mut self, number: u64) {
        if let Some(item) = self.items.get_mut(&number) {
            item.via_relay = true;
            self.fallbacks.remove(&(item.fallback_at, number));
            if !item.kept {
                self.to_offer.insert(number);
            }
        }
    }

    /// Enough relays hold a row: it waits no more.
    pub(crate) fn keep(&mut self, number: u64) {
        let Some(item) = self.items.get_mut(&number).filter(|i| !i.kept) else { return };
        item.kept = true;
        self.missed -= usize::from(item.is_missed());
        self.kept_bytes += item.bytes;
        self.kept.insert(number);
        self.to_offer.remove(&number);
    }

    fn unkeep(&mut self, number: u64) {
        if let Some(item) = self.items.get_mut(&number)
            && core::mem::take(&mut item.kept)
        {
            self.missed += usize::from(item.is_missed());
            self.kept_bytes -= item.bytes;
            self.kept.remove(&number);
        }
    }

    /// The oldest kept row, if there are too many.
    pub(crate) fn too_many_kept(&self) -> Option<u64> {
        let too_many = self.kept.len() > KEPT_MAX || self.kept_bytes > KEPT_BYTES_MAX;
        self.kept.first().copied().filter(|_| too_many)
    }

    /// Kept rows that no relay holds any more at that time.
    pub(crate) fn ended(&self, wall_ms: u64) -> Vec<u64> {
        let over =
            |n: &&u64| self.items.get(n).is_some_and(|i| i.receipts.values().all(|until| *until < wall_ms));
        self.kept.iter().filter(over).copied().collect()
    }

    /// Kept rows that relays have to be asked about again: they are offered
    /// anew. Those that are, with their destination.
    pub(crate) fn unsettle(&mut self, mut which: impl FnMut(&Item) -> bool) -> Vec<(u64, To)> {
        let again: Vec<(u64, To)> = self
            .kept
            .iter()
            .filter_map(|n| Some((*n, self.items.get(n)?)))
            .filter(|(_, item)| which(item))
            .map(|(n, item)| (n, item.to.clone()))
            .collect();
        for (number, _) in &again {
            self.unkeep(*number);
            self.to_offer.insert(*number);
        }
        again
    }

    /// A device has the object. `true`: every device has it now.
    pub(crate) fn reached(&mut self, number: u64, device: &DeviceId) -> bool {
        self.items.get_mut(&number).is_some_and(|item| {
            item.pending.remove(device);
            item.pending.is_empty()
        })
    }

    /// A device acknowledged own events of a group up to `seq`: rows that are
    /// now with every device.
    pub(crate) fn reached_up_to(&mut self, group: &GroupId, device: &DeviceId, seq: u64) -> Vec<u64> {
        let numbers: Vec<u64> =
            self.by_seq.range((*group, 0)..=(*group, seq)).map(|(_, number)| *number).collect();
        numbers.into_iter().filter(|n| self.reached(*n, device)).collect()
    }

    /// Rows whose linked devices took too long; they are wanted at relays now.
    pub(crate) fn due(&mut self, now_ms: u64) -> bool {
        let due: Vec<u64> = self.fallbacks.range(..=(now_ms, u64::MAX)).map(|(_, number)| *number).collect();
        for number in &due {
            self.want_relay(*number);
        }
        !due.is_empty()
    }
    /// When the next row falls due, monotonic ms.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.fallbacks.first().map(|(at, _)| *at)
    }

    /// The first row from this number on that is to be offered to relays.
    pub(crate) fn to_offer(&self, from: u64) -> Option<u64> {
        self.to_offer.range(from..).next().copied()
    }
    /// All relays that can take a row now were asked.
    pub(crate) fn park(&mut self, number: u64) {
        self.to_offer.remove(&number);
    }
    /// Rows for relays are offered anew, where `which` says so.
    pub(crate) fn unpark(&mut self, mut which: impl FnMut(&mut Item) -> bool) {
        let again = self.items.iter_mut().filter(|(_, item)| item.via_relay && !item.kept);
        self.to_offer.extend(again.filter_map(|(number, item)| which(item).then_some(*number)));
    }
    /// A device's inbox may be reachable now.
    pub(crate) fn unpark_inbox(&mut self, of: &DeviceId) {
        if self.inbox_rows > 0 {
            self.unpark(|item| matches!(item.to, To::Inbox { device, .. } if device == *of));
        }
    }
    /// A relay was asked to hold a row.
    pub(crate) fn asked(&mut self, number: u64, relay: RelayId) {
        if let Some(item) = self.items.get_mut(&number) {
            item.asked.insert(relay);
        }
    }
    /// A relay signed that it holds a row until then, or refused: another one
    /// may be asked.
    pub(crate) fn answered(&mut self, number: u64, relay: RelayId, until_ms: Option<u64>) -> Option<&Item> {
        let item = self.items.get_mut(&number)?;
        item.asked.remove(&relay);
        match until_ms {
            Some(until_ms) => {
                item.receipts.insert(relay, until_ms);
            }
            None => {
                item.refused.insert(relay);
            }
        }
        if !item.kept {
            self.to_offer.insert(number);
        }
        Some(item)
    }
    /// The store knows of all receipts of a row.
    pub(crate) fn noted(&mut self, number: u64) {
        if let Some(item) = self.items.get_mut(&number) {
            item.noted = item.receipts.len();
        }
    }
    /// A link to a device is gone: what was to reach it that way goes to the
    /// relays.
    pub(crate) fn link_lost(&mut self, device: &DeviceId) {
        let waiting: Vec<u64> =
            self.items.iter().filter(|(_, i)| i.pending.contains(device)).map(|(n, _)| *n).collect();
        for number in waiting {
            self.want_relay(number);
        }
    }
    /// A relay's connection ended or began: what it was asked, or refused, is
    /// open again.
    pub(crate) fn relay_lost(&mut self, relay: &RelayId) {
        self.unpark(|item| {
            item.asked.remove(relay);
            item.refused.remove(relay);
            !item.receipts.contains_key(relay)
        });
    }
    /// Refusals are old enough: the relays are asked again.
    pub(crate) fn forgive(&mut self) {
        self.unpark(|item| !core::mem::take(&mut item.refused).is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kith_wire::ids::{StateId, TopicId};

    fn to(group: u8, seq: u64) -> To {
        To::Group {
            group: GroupId([group; 32]),
            state: StateId([0; 32]),
            topic: TopicId([0; 32]),
            seq: Some(seq),
        }
    }

    #[test]
    fn an_acknowledgement_covers_everything_before_it() {
        let (a, b) = (DeviceId([1; 32]), DeviceId([2; 32]));
        let mut outbox = Outbox::default();
        for seq in 1..=3 {
            let n = outbox.take_number();
            outbox.insert(n, to(1, seq), 9, BTreeSet::from([a, b]), 10);
        }
        assert!(outbox.reached_up_to(&GroupId([1; 32]), &a, 3).is_empty());
        assert_eq!(outbox.reached_up_to(&GroupId([1; 32]), &b, 2), vec![0, 1]);
        assert!(outbox.reached_up_to(&GroupId([9; 32]), &b, 9).is_empty());
    }

    #[test]
    fn unanswered_rows_fall_due_once() {
        let mut outbox = Outbox::default();
        outbox.insert(0, to(1, 1), 9, BTreeSet::from([DeviceId([1; 32])]), 10);
        assert_eq!(outbox.next_due(), Some(10));
        assert!(!outbox.due(9));
        assert!(outbox.due(10));
        assert_eq!(outbox.next_due(), None);
        assert_eq!(outbox.to_offer(0), Some(0));
        outbox.remove(0);
        assert_eq!(outbox.to_offer(0), None);
    }

    #[test]
    fn a_refused_row_is_parked_and_offered_again_later() {
        let relay = RelayId([7; 32]);
        let mut outbox = Outbox::default();
        outbox.insert(0, to(1, 1), 9, BTreeSet::from([DeviceId([1; 32])]), 10);
        outbox.want_relay(0);
        outbox.asked(0, relay);
        outbox.park(0);
        assert_eq!(outbox.to_offer(0), None);
        outbox.answered(0, relay, None);
        assert_eq!(outbox.to_offer(0), Some(0), "the next relay may take it");
        outbox.park(0);
        outbox.forgive();
        assert_eq!(outbox.to_offer(0), Some(0));
        assert!(outbox.get(0).is_some_and(|item| item.refused.is_empty()));
        outbox.park(0);
        outbox.forgive();
        assert_eq!(outbox.to_offer(0), None, "nothing was refused since");
        outbox.relay_lost(&relay);
        assert_eq!(outbox.to_offer(0), Some(0));
    }

    #[test]
    fn a_kept_row_waits_no_more_until_one_of_its_relays_is_gone() {
        let (a, b) = (RelayId([7; 32]), RelayId([8; 32]));
        let mut outbox = Outbox::default();
        outbox.insert(0, to(1, 1), 9, BTreeSet::from([DeviceId([1; 32])]), 10);
        outbox.want_relay(0);
        outbox.answered(0, a, Some(100));
        outbox.answered(0, b, Some(200));
        outbox.keep(0);
        assert_eq!((outbox.len(), outbox.waiting(), outbox.to_offer(0)), (0, 0, None));
        outbox.unpark(|_| true);
        outbox.relay_lost(&a);
        assert_eq!(outbox.to_offer(0), None, "a lost connection alone changes nothing");
        assert_eq!(outbox.ended(150), Vec::<u64>::new());
        assert_eq!(outbox.ended(201), [0]);
        assert!(outbox.unsettle(|i| i.receipts.contains_key(&RelayId([9; 32]))).is_empty());
        assert_eq!(outbox.unsettle(|i| i.receipts.contains_key(&a)), [(0, to(1, 1))]);
        assert_eq!((outbox.len(), outbox.waiting(), outbox.to_offer(0)), (1, 1, Some(0)));
    }

    #[test]
    fn the_oldest_kept_rows_are_too_many_first() {
        let mut outbox = Outbox::default();
        for number in 0..=KEPT_MAX as u64 {
            outbox.insert(number, to(1, number), 9, BTreeSet::from([DeviceId([1; 32])]), 0);
            assert_eq!(outbox.too_many_kept(), None);
            outbox.keep(number);
        }
        assert_eq!(outbox.too_many_kept(), Some(0));
        outbox.remove(0);
        assert_eq!(outbox.too_many_kept(), None);
        let large = KEPT_MAX as u64 + 1;
        outbox.insert(large, to(1, large), KEPT_BYTES_MAX, BTreeSet::from([DeviceId([1; 32])]), 0);
        outbox.keep(large);
        assert_eq!(outbox.too_many_kept(), Some(1));
    }

    #[test]
    fn only_what_a_person_would_miss_counts_as_waiting() {
        let mut outbox = Outbox::default();
        let mark = To::Group {
            group: GroupId([1; 32]),
            state: StateId([0; 32]),
            topic: TopicId([0; 32]),
            seq: None,
        };
        let inbox = To::Inbox { account: kith_wire::ids::AccountId([1; 32]), device: DeviceId([1; 32]) };
        for (number, to) in [mark, to(1, 1), inbox].into_iter().enumerate() {
            outbox.insert(number as u64, to, 9, BTreeSet::from([DeviceId([1; 32])]), 0);
        }
        assert_eq!((outbox.len(), outbox.waiting()), (3, 2));
        outbox.remove(2);
        outbox.remove(1);
        assert_eq!((outbox.len(), outbox.waiting()), (1, 0));
    }
}
