//! What the engine stores, row by row. Local shapes: never sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kith_store::{Key, Range, Read, Table, Tx};
use kith_wire::cbor;
use kith_wire::group::{BadCommit, ConversationKind, GroupExt, Role};
use kith_wire::ids::{AccountId, CommitId, DeviceId, EventId, GroupId, OrderId, StateId};
use kith_wire::signed::Raw;
use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};

use crate::EngineError;
use crate::news::News;

/// A group's head: everything that changes with most inputs.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct GroupRow {
    /// Counts writes of this row; a loaded copy with another number is stale.
    #[n(0)]
    pub(crate) writes: u64,
    #[n(1)]
    pub(crate) kind: ConversationKind,
    #[n(2)]
    pub(crate) tip: StateId,
    /// Genesis, or the state joined.
    #[n(3)]
    pub(crate) anchor: StateId,
    /// Own events sent.
    #[n(4)]
    pub(crate) seq: u64,
    #[n(5)]
    pub(crate) last_event: Option<EventId>,
    /// Others' progress since the last own event. In rows of their own, as is
    /// `unmarked`: see [`crate::news`].
    #[cbor(skip)]
    pub(crate) deps: News<u64>,
    /// Own chain of marks and orders.
    #[n(7)]
    pub(crate) mark_n: u64,
    #[cbor(n(8), with = "minicbor::bytes")]
    pub(crate) mark_prev: Option<[u8; 32]>,
    #[n(9)]
    pub(crate) mark_at: Option<StateId>,
    /// Others' progress since the last own mark.
    #[cbor(skip)]
    pub(crate) unmarked: News<(u64, u64)>,
    /// Some of it is worth a mark of its own.
    #[n(11)]
    pub(crate) mark_due: bool,
    #[n(12)]
    pub(crate) bad: Vec<BadCommit>,
    #[n(13)]
    pub(crate) hlc: u64,
    /// States whose images are held, oldest first, and how many events this
    /// device has encrypted in each.
    #[n(14)]
    pub(crate) held: Vec<(StateId, u32)>,
    /// Key package that the group was joined with, kept until the join has
    /// settled.
    #[cbor(n(15), with = "minicbor::bytes")]
    pub(crate) package: Option<Vec<u8>>,
    #[n(16)]
    pub(crate) inviter: Option<DeviceId>,
    #[n(17)]
    pub(crate) orphan_next: u64,
    #[n(18)]
    pub(crate) orphan_count: u32,
    #[n(19)]
    pub(crate) orphan_bytes: u64,
    /// States that topics began at, with the time of last use.
    #[n(20)]
    pub(crate) topics: Vec<(StateId, u64)>,
    /// This device.
    #[n(21)]
    pub(crate) me: DeviceId,
    /// Joined, and nobody but the inviter has been seen to stand there: the
    /// commit that added this device may yet lose.
    #[n(22)]
    pub(crate) unsettled: bool,
    /// The history has branches, orders or disputes: the fork rule decides.
    /// Else the tip is the end of the one line of commits.
    #[n(23)]
    pub(crate) contested: bool,
    /// The state to stand in, which cannot be entered with what is held here:
    /// this device has to be let in again.
    #[n(24)]
    pub(crate) goal: Option<StateId>,
    /// Orders that hold and that the tip has not carried out: nothing is sent
    /// on it.
    #[n(25)]
    pub(crate) open: Vec<OrderId>,
    /// Of these, orders that must be signed anew to be carried out here.
    #[n(26)]
    pub(crate) resign: Vec<OrderId>,
    /// Until then the tip is not left, so that somebody may carry out a new
    /// order on it.
    #[n(27)]
    pub(crate) hold_until: u64,
    /// When this device last refreshed its keys.
    #[n(28)]
    pub(crate) updated_at: u64,
    /// Own request to be let in again, with its key package.
    #[cbor(n(29), with = "minicbor::bytes")]
    pub(crate) readd: Option<Vec<u8>>,
    /// The last event of each removed device that counts.
    #[n(30)]
    pub(crate) cuts: BTreeMap<DeviceId, u64>,
    /// How often the tip left a branch that had lost.
    #[n(31)]
    pub(crate) switches: u64,
    /// Numbers of own events that were last encrypted where the others may not
    /// be able to read them: to be sent again.
    #[n(32)]
    pub(crate) stray: BTreeSet<u64>,
    /// This store is an older copy than one that has spoken already: nothing
    /// is said until the device has been let in again.
    #[n(33)]
    pub(crate) put_back: bool,
    /// Until then no order is signed anew, Unix ms: marks are missing that may
    /// say that it never counted. 0: they have been waited for long enough.
    #[n(34)]
    pub(crate) wait_for_marks: Option<u64>,
}

impl GroupRow {
    /// Whether orders that no commit may carry can be signed anew now.
    pub(crate) fn may_resign(&self) -> bool {
        self.wait_for_marks.is_none_or(|until| until == 0)
    }
}

/// A known state.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct StateRow {
    #[n(0)]
    pub(crate) gid: GroupId,
    #[n(1)]
    pub(crate) epoch: u64,
    #[n(2)]
    pub(crate) parent: Option<StateId>,
    #[n(3)]
    pub(crate) commit: Option<CommitId>,
    /// Names the member list.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub(crate) members: [u8; 32],
    #[cbor(n(5), with = "minicbor::bytes")]
    pub(crate) ext: Vec<u8>,
    /// State at which its topic began.
    #[n(6)]
    pub(crate) topic: StateId,
    /// Valid commits that leave it.
    #[n(7)]
    pub(crate) children: Vec<Child>,
    #[n(8)]
    pub(crate) me_in: bool,
}

/// A valid commit that leaves a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(crate) struct Child {
    #[n(0)]
    pub(crate) commit: CommitId,
    /// The state that it leads to.
    #[n(1)]
    pub(crate) state: StateId,
}

/// One leaf.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(crate) struct Member {
    #[n(0)]
    pub(crate) leaf: u32,
    #[n(1)]
    pub(crate) device: DeviceId,
    #[n(2)]
    pub(crate) account: AccountId,
    #[cbor(n(3), with = "minicbor::bytes")]
    pub(crate) box_key: [u8; 32],
    /// SHA-256 of the credential that was verified.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub(crate) credential: [u8; 32],
}

/// What is known of a valid commit. Its envelope lies beside it: see
/// [`envelope`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct CommitRow {
    #[n(0)]
    pub(crate) gid: GroupId,
    #[n(1)]
    pub(crate) parent: StateId,
    #[n(2)]
    pub(crate) child: StateId,
    #[n(3)]
    pub(crate) account: AccountId,
    #[n(4)]
    pub(crate) device: DeviceId,
    #[n(5)]
    pub(crate) rotate: bool,
    /// Own commits: what it wanted.
    #[n(7)]
    pub(crate) intent: Option<crate::api::Intent>,
    /// Accounts that it let go by their own order.
    #[n(8)]
    pub(crate) left: Vec<AccountId>,
    /// SHA-256 of the key packages by which it lets devices in again.
    #[n(9)]
    pub(crate) used: Vec<ByteArray<32>>,
    /// Orders that it carries.
    #[n(10)]
    pub(crate) orders: Vec<OrderId>,
}

/// What is known of one device in a group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub(crate) struct DeviceRow {
    /// Events received.
    #[n(0)]
    pub(crate) events: SeqSet,
    /// Highest mark or order number.
    #[n(1)]
    pub(crate) mark_n: u64,
    /// State of the highest mark.
    #[n(2)]
    pub(crate) mark_at: Option<StateId>,
    /// Events that it had sent by then.
    #[n(3)]
    pub(crate) mark_seq: u64,
    /// Own events that it has.
    #[n(4)]
    pub(crate) acked: u64,
    /// The first number of its chain under which it signed two objects.
    #[n(5)]
    pub(crate) mute: Option<u64>,
    /// Numbers of its marks and orders that are here, or are not needed.
    #[n(6)]
    pub(crate) chain: SeqSet,
}

impl DeviceRow {
    /// A mark or order came in. One with too many gaps before it is asked for
    /// again.
    pub(crate) fn note_number(&mut self, n: u64) {
        self.chain.floor_once(0);
        let _noted = self.chain.insert(n);
    }
}

/// Ranges of numbers that are not yet without a gap, at most.
const RANGES_MAX: usize = 256;

/// Numbers received, above a floor below which nothing is for this device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(array)]
pub(crate) struct SeqSet {
    #[n(0)]
    floor: Option<u64>,
    /// Inclusive, ascending, not adjacent.
    #[n(1)]
    ranges: Vec<(u64, u64)>,
}

impl SeqSet {
    /// Lowers the floor; answers whether it moved.
    pub(crate) fn floor(&mut self, floor: u64) -> bool {
        if self.floor.is_some_and(|f| f <= floor) {
            return false;
        }
        self.floor = Some(floor);
        true
    }
    /// Sets the floor if there is none yet.
    fn floor_once(&mut self, floor: u64) {
        self.floor.get_or_insert(floor);
    }
    /// Counts all numbers up to this one as received.
    pub(crate) fn skip(&mut self, to: u64) {
        self.floor = Some(self.floor.map_or(to, |f| f.max(to)));
        self.ranges.retain(|(_, last)| *last > to);
    }
    /// The highest number up to which nothing is missing, once that is known.
    pub(crate) fn contiguous(&self) -> Option<u64> {
        let floor = self.floor?;
        let mut at = floor;
        for (from, to) in &self.ranges {
            if *from > at.saturating_add(1) {
                break;
            }
            at = at.max(*to);
        }
        Some(at)
    }
    /// Takes a number in; false when there are too many gaps to remember it.
    pub(crate) fn insert(&mut self, n: u64) -> bool {
        let at = self.ranges.partition_point(|r| r.1 < n);
        if self.ranges.get(at).is_some_and(|r| r.0 <= n) {
            return true;
        }
        let joins_left = at.checked_sub(1).is_some_and(|i| self.ranges.get(i).is_some_and(|r| r.1 + 1 == n));
        let joins_right = self.ranges.get(at).is_some_and(|r| n.checked_add(1) == Some(r.0));
        match (joins_left, joins_right) {
            (true, true) => {
                let right = self.ranges.remove(at);
                if let Some(left) = self.ranges.get_mut(at - 1) {
                    left.1 = right.1;
                }
            }
            (true, false) => {
                if let Some(left) = self.ranges.get_mut(at - 1) {
                    left.1 = n;
                }
            }
            (false, true) => {
                if let Some(right) = self.ranges.get_mut(at) {
                    right.0 = n;
                }
            }
            (false, false) => {
                if self.ranges.len() >= RANGES_MAX {
                    return false;
                }
                self.ranges.insert(at, (n, n));
            }
        }
        true
    }
}

/// A stored event: the bare signed form and the clock to order it by.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(array)]
pub(crate) struct EventRow {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(crate) bare: Vec<u8>,
    #[n(1)]
    pub(crate) id: EventId,
    #[n(2)]
    pub(crate) at: StateId,
    #[n(3)]
    pub(crate) hlc: u64,
    /// Own events: the state that it was last encrypted in.
    #[n(4)]
    pub(crate) sealed: Option<StateId>,
}

/// An object that waits.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(array)]
pub(crate) struct OrphanRow {
    /// The state that must become known.
    #[n(0)]
    pub(crate) needs: StateId,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(crate) object: Vec<u8>,
    #[n(2)]
    pub(crate) since_ms: u64,
}

/// A state with its parts resolved.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) id: StateId,
    pub(crate) row: StateRow,
    pub(crate) members: Vec<Member>,
    pub(crate) ext: GroupExt,
    /// The same as the fork rule sees it.
    pub(crate) rule: kith_rule::State,
}

impl State {
    pub(crate) fn new(id: StateId, row: StateRow, members: Vec<Member>, ext: GroupExt) -> Self {
        let leaves = members
            .iter()
            .map(|m| kith_rule::Leaf { index: m.leaf, device: m.device, account: m.account })
            .collect();
        let rights = kith_rule::Rights { add: ext.policy.add, remove: ext.policy.remove };
        let roles = Arc::new(ext.roles.clone());
        let rule = kith_rule::State::new(id, row.epoch, ext.kind, rights, leaves, roles);
        Self { id, row, members, ext, rule }
    }
    pub(crate) fn device(&self, device: &DeviceId) -> Option<&Member> {
        self.members.iter().find(|m| m.device == *device)
    }
    pub(crate) fn leaf(&self, leaf: u32) -> Option<&Member> {
        let at = self.members.binary_search_by_key(&leaf, |m| m.leaf).ok()?;
        self.members.get(at)
    }
    pub(crate) fn has_account(&self, account: &AccountId) -> bool {
        self.members.iter().any(|m| m.account == *account)
    }
    /// The account's role, as the fork rule sees it.
    pub(crate) fn role(&self, account: &AccountId) -> Role {
        self.rule.role(&self.row.gid, account)
    }
    /// Whether `issuer` may have `target` removed or demoted.
    pub(crate) fn may_remove(&self, issuer: &AccountId, target: &AccountId) -> bool {
        self.rule.may_remove(&self.row.gid, issuer, target)
    }
}

pub(crate) fn put<T: Encode<()>>(tx: &mut Tx<'_>, key: Key<'_>, value: &T) {
    tx.put(key, cbor::encode(value));
}

pub(crate) fn get<T: for<'b> Decode<'b, ()>>(
    read: &dyn Read,
    key: Key<'_>,
) -> Result<Option<T>, EngineError> {
    let Some(bytes) = read.get(key)? else { return Ok(None) };
    decode(&bytes).map(Some)
}

pub(crate) fn decode<T: for<'b> Decode<'b, ()>>(bytes: &[u8]) -> Result<T, EngineError> {
    minicbor::decode(bytes).map_err(|e| EngineError::Broken(format!("a row does not decode ({e})")))
}

/// Group id and another id in one name.
pub(crate) fn pair(gid: &GroupId, other: &[u8; 32]) -> [u8; 64] {
    let mut out = [0; 64];
    out[..32].copy_from_slice(&gid.0);
    out[32..].copy_from_slice(other);
    out
}

pub(crate) fn group(read: &dyn Read, gid: &GroupId) -> Result<Option<GroupRow>, EngineError> {
    get(read, Key::of(Table::Groups, &gid.0))
}

pub(crate) fn device(
    read: &dyn Read,
    gid: &GroupId,
    device: &DeviceId,
) -> Result<Option<DeviceRow>, EngineError> {
    get(read, Key::of(Table::Groups, &pair(gid, &device.0)))
}

/// A state's row alone, without its members.
pub(crate) fn state_row(
    read: &dyn Read,
    gid: &GroupId,
    id: &StateId,
) -> Result<Option<StateRow>, EngineError> {
    // A state id binds its group; another group's state is not a state here.
    Ok(get::<StateRow>(read, Key::of(Table::Public, &id.0))?.filter(|row| row.gid == *gid))
}

pub(crate) fn state(read: &dyn Read, gid: &GroupId, id: &StateId) -> Result<Option<State>, EngineError> {
    let Some(row) = state_row(read, gid, id)? else { return Ok(None) };
    let members = get(read, Key::of(Table::Public, &pair(gid, &row.members)))?
        .ok_or_else(|| EngineError::Broken("a member list is missing".into()))?;
    let ext = GroupExt::from_bytes(&row.ext)
        .map_err(|e| EngineError::Broken(format!("a group's settings do not decode ({e})")))?;
    Ok(Some(State::new(*id, row, members, ext)))
}

/// How many events this device encrypted in a state, as it was when the
/// state's keys were destroyed.
pub(crate) fn spent(read: &dyn Read, id: &StateId) -> Result<u32, EngineError> {
    Ok(get(read, Key::at(Table::Public, &id.0, b"spent"))?.unwrap_or(0))
}

pub(crate) fn put_spent(tx: &mut Tx<'_>, id: &StateId, spent: u32) {
    if spent > 0 {
        put(tx, Key::at(Table::Public, &id.0, b"spent"), &spent);
    }
}

/// How often a group's row has been written: of a loaded copy with another
/// number something never became durable.
pub(crate) fn writes(read: &dyn Read, gid: &GroupId) -> Result<Option<u64>, EngineError> {
    let row = read.get(Key::of(Table::Groups, &gid.0))?;
    Ok(row.map(|row| cbor::field(&row, 0)).transpose()?)
}

pub(crate) fn commit(read: &dyn Read, id: &CommitId) -> Result<Option<CommitRow>, EngineError> {
    get(read, Key::of(Table::Commits, &id.0))
}

/// The signed envelope of a known commit: much larger than its row, and seldom
/// needed.
pub(crate) fn envelope(read: &dyn Read, id: &CommitId) -> Result<Vec<u8>, EngineError> {
    read.get(Key::at(Table::Commits, &id.0, b"envelope"))?
        .ok_or_else(|| EngineError::Broken("a commit is missing".into()))
}

/// The state that a stored mark was made at.
pub(crate) fn mark_at(mark: &[u8]) -> Result<StateId, EngineError> {
    Ok(cbor::field(&Raw::from_bytes(mark)?.body, 6)?)
}

pub(crate) fn put_commit(tx: &mut Tx<'_>, id: &CommitId, row: &CommitRow, envelope: &[u8]) {
    put(tx, Key::of(Table::Commits, &id.0), row);
    tx.put(Key::at(Table::Commits, &id.0, b"envelope"), envelope.to_vec());
}

/// Devices of which anything is known, in the order in which they came.
pub(crate) fn devices(read: &dyn Read, gid: &GroupId) -> Result<Vec<DeviceId>, EngineError> {
    Ok(get(read, Key::at(Table::Groups, &gid.0, &[1]))?.unwrap_or_default())
}

pub(crate) fn put_devices(tx: &mut Tx<'_>, gid: &GroupId, devices: &Vec<DeviceId>) {
    put(tx, Key::at(Table::Groups, &gid.0, &[1]), devices);
}

fn numbers(rows: Vec<kith_store::Row>) -> Result<Vec<(u64, Vec<u8>)>, EngineError> {
    rows.into_iter()
        .map(|(order, value)| {
            let number = order
                .as_slice()
                .try_into()
                .map(u64::from_be_bytes)
                .map_err(|_| EngineError::Broken("a row has a malformed number".into()))?;
            Ok((number, value))
        })
        .collect()
}

/// Numbered rows of one (table, name), ascending from a number on.
pub(crate) fn numbered(
    read: &dyn Read,
    table: Table,
    name: &[u8],
    from: u64,
    limit: usize,
) -> Result<Vec<(u64, Vec<u8>)>, EngineError> {
    let from = from.to_be_bytes();
    numbers(read.scan(Range { table, name, from: &from, to: None, reverse: false, limit })?)
}

/// Numbered rows of one (table, name), the highest first.
pub(crate) fn numbered_down(
    read: &dyn Read,
    table: Table,
    name: &[u8],
    limit: usize,
) -> Result<Vec<(u64, Vec<u8>)>, EngineError> {
    numbers(read.scan(Range { table, name, from: &[], to: None, reverse: true, limit })?)
}

/// The highest numbered row of one (table, name) up to a number.
pub(crate) fn numbered_up_to(
    read: &dyn Read,
    table: Table,
    name: &[u8],
    to: u64,
) -> Result<Option<(u64, Vec<u8>)>, EngineError> {
    let end = to.checked_add(1).map(u64::to_be_bytes);
    let to = end.as_ref().map(<[u8; 8]>::as_slice);
    Ok(numbers(read.scan(Range { table, name, from: &[], to, reverse: true, limit: 1 })?)?.pop())
}

/// An event by its id: device, number, row.
pub(crate) fn event(
    read: &dyn Read,
    gid: &GroupId,
    id: &EventId,
) -> Result<Option<(DeviceId, u64, EventRow)>, EngineError> {
    let place: Option<(DeviceId, u64)> = get(read, Key::of(Table::Events, &pair(gid, &id.0)))?;
    let Some((device, seq)) = place else { return Ok(None) };
    let name = pair(gid, &device.0);
    let row = get(read, Key::at(Table::Events, &name, &seq.to_be_bytes()))?;
    Ok(row.map(|row| (device, seq, row)))
}

/// Name of the second object under a number of a device's chain: with the
/// first one the proof that it signed two.
pub(crate) fn rival(gid: &GroupId, device: &DeviceId) -> Vec<u8> {
    [&gid.0[..], &device.0, b"rival"].concat()
}

/// Signed orders of a group, oldest first.
pub(crate) fn orders(read: &dyn Read, gid: &GroupId) -> Result<Vec<Vec<u8>>, EngineError> {
    let rows = numbered(read, Table::Orders, &gid.0, 0, usize::MAX)?;
    Ok(rows.into_iter().map(|(_, v)| v).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranges_remember_what_came(numbers in proptest::collection::vec(1u64..60, 0..120), floor in 0u64..30) {
            let mut set = SeqSet::default();
            let mut all = BTreeSet::new();
            for n in &numbers {
                prop_assert!(set.insert(*n));
                all.insert(*n);
            }
            prop_assert_eq!(set.contiguous(), None);
            set.floor(floor);
            let mut expected = floor;
            while all.contains(&(expected + 1)) {
                expected += 1;
            }
            prop_assert_eq!(set.contiguous(), Some(expected));
        }
    }

    #[test]
    fn too_many_gaps_are_refused_and_known_numbers_are_not() {
        let mut set = SeqSet::default();
        for n in 0..RANGES_MAX as u64 {
            assert!(set.insert(n * 2 + 10));
        }
        assert!(!set.insert(5000));
        assert!(set.insert(10));
        assert!(set.insert(11));
    }
}
