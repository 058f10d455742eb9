//! Reading a group without an engine: for the API's snapshots and for the
//! core. Nothing here changes anything.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use kith_store::{Key, Read, Table};
use kith_wire::crypto::Secret;
use kith_wire::group::{OrderKind, Target};
use kith_wire::ids::{AccountId, CommitId, DeviceId, EventId, GroupId, OrderId, StateId};
use kith_wire::object::Versioned as _;

use crate::EngineError;
use crate::api::{CommitFact, Duties, Facts, GroupView, MemberView, StateFact, TopicSecret, Topics};
use crate::rows::{self, Child};

/// The group at its tip.
pub fn group(read: &dyn Read, gid: GroupId) -> Result<GroupView, EngineError> {
    let row = rows::group(read, &gid)?.ok_or(EngineError::UnknownGroup)?;
    let tip =
        rows::state(read, &gid, &row.tip)?.ok_or_else(|| EngineError::Broken("a state is missing".into()))?;
    let mut members = Vec::with_capacity(tip.members.len());
    let mut own_role = kith_wire::group::Role::Member;
    for m in &tip.members {
        let role = tip.role(&m.account);
        let me = m.device == row.me;
        if me {
            own_role = role;
        }
        let seen = me || rows::device(read, &gid, &m.device)?.is_some_and(|d| d.mark_at.is_some());
        members.push(MemberView {
            account: m.account,
            device: m.device,
            leaf: m.leaf,
            role,
            box_key: m.box_key,
            seen,
        });
    }
    Ok(GroupView {
        kind: row.kind,
        tip: row.tip,
        epoch: tip.row.epoch,
        ext: tip.ext,
        members,
        me_in: tip.row.me_in,
        behind: row.goal.is_some() || row.put_back,
        role: own_role,
    })
}

/// Time between two refreshes of this device's keys in a group, ms; each
/// device adds up to an hour of its own.
pub(crate) const UPDATE_MS: u64 = 7 * 24 * 3_600_000;
/// So much each device's own time differs at most, ms.
const SPREAD_MS: u64 = 3_600_000;

/// What this device should do in a group.
pub fn duties(read: &dyn Read, gid: GroupId) -> Result<Duties, EngineError> {
    let row = rows::group(read, &gid)?.ok_or(EngineError::UnknownGroup)?;
    let tip =
        rows::state(read, &gid, &row.tip)?.ok_or_else(|| EngineError::Broken("a state is missing".into()))?;
    if !tip.row.me_in {
        return Ok(Duties { behind: row.goal.is_some(), update_at: u64::MAX, ..Duties::default() });
    }
    let me = tip.device(&row.me).map(|m| m.account);
    let mut duties = Duties {
        tainted: !row.open.is_empty(),
        behind: row.goal.is_some() || row.put_back,
        update_at: row.updated_at.saturating_add(UPDATE_MS).saturating_add(spread(&gid, &row.me)),
        ..Duties::default()
    };
    let mut own = false;
    for id in &row.open {
        let Some(order) = stored_order(read, &gid, id)? else { continue };
        own |= order.order != OrderKind::Demote
            && (order.target == Target::Device(row.me) || me.map(Target::Account) == Some(order.target));
        let target = match order.target {
            Target::Account(a) => Some(a),
            Target::Device(d) => tip.device(&d).map(|m| m.account),
        };
        let may = target.zip(me).is_some_and(|(t, me)| tip.may_remove(&me, &t));
        duties.enact |= !row.resign.contains(id) || (may && row.may_resign());
        // Who is to lose a role stays.
        if order.order != OrderKind::Demote {
            duties.targets.push(order.target);
        }
    }
    duties.enact = duties.enact && !own && !duties.behind;
    Ok(duties)
}

/// A time of a device's own in a group, below an hour, ms: so that not all act
/// at once.
pub(crate) fn spread(gid: &GroupId, device: &DeviceId) -> u64 {
    let hash = kith_wire::group::rank(gid, 0, &AccountId(device.0));
    let n = hash.first_chunk::<8>().map_or(0, |b| u64::from_be_bytes(*b));
    n % SPREAD_MS
}

fn stored_order(
    read: &dyn Read,
    gid: &GroupId,
    id: &OrderId,
) -> Result<Option<kith_wire::group::Order>, EngineError> {
    let Some(place) = read.get(Key::of(Table::Orders, &rows::pair(gid, &id.0)))? else { return Ok(None) };
    let Some(bytes) = read.get(Key::at(Table::Orders, &gid.0, &place))? else { return Ok(None) };
    Ok(Some(kith_wire::signed::Raw::from_bytes(&bytes)?.body()?))
}

/// The devices of the tip, or of the state that this device should stand in,
/// with their accounts in the order in which they should act for the group:
/// by rank of their accounts (role, then a hash that nobody chooses), then by
/// leaf. Those that are to go are left out.
pub fn line(read: &dyn Read, gid: GroupId) -> Result<Vec<(AccountId, DeviceId)>, EngineError> {
    let row = rows::group(read, &gid)?.ok_or(EngineError::UnknownGroup)?;
    let tip = rows::state(read, &gid, &row.goal.unwrap_or(row.tip))?
        .ok_or_else(|| EngineError::Broken("a state is missing".into()))?;
    let targets = duties(read, gid)?.targets;
    let mut line: Vec<_> = tip
        .members
        .iter()
        .filter(|m| {
            !targets.contains(&Target::Account(m.account)) && !targets.contains(&Target::Device(m.device))
        })
        .map(|m| {
            let rank = kith_wire::group::rank(&gid, tip.row.epoch, &m.account);
            (core::cmp::Reverse(tip.role(&m.account)), rank, m.leaf, m.account, m.device)
        })
        .collect();
    line.sort_unstable();
    Ok(line.into_iter().map(|(.., account, device)| (account, device)).collect())
}

/// The highest number of a mark of a device that is known; 0 without one.
pub fn last_mark(read: &dyn Read, gid: GroupId, device: DeviceId) -> Result<u64, EngineError> {
    Ok(rows::device(read, &gid, &device)?.map_or(0, |d| d.mark_n))
}

/// Whether more than one branch of a group, or an order, has ever been known
/// here: the fork rule decides.
pub fn is_contested(read: &dyn Read, gid: GroupId) -> Result<bool, EngineError> {
    Ok(rows::group(read, &gid)?.is_some_and(|row| row.contested))
}

/// The highest number of an own event; 0 without one.
pub fn own_events(read: &dyn Read, gid: GroupId) -> Result<u64, EngineError> {
    Ok(rows::group(read, &gid)?.ok_or(EngineError::UnknownGroup)?.seq)
}

/// Counts the changes to what is known of a group.
pub fn version(read: &dyn Read, gid: GroupId) -> Result<u64, EngineError> {
    rows::writes(read, &gid)?.ok_or(EngineError::UnknownGroup)
}

/// A known commit, for the curious and for tests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommitView {
    /// Its id.
    pub id: CommitId,
    /// State that it leaves.
    pub parent: StateId,
    /// State that it leads to.
    pub child: StateId,
    /// Author.
    pub account: AccountId,
    /// Its device.
    pub device: DeviceId,
    /// The signed envelope.
    pub envelope: Vec<u8>,
    /// Devices that it lets in again.
    pub readds: usize,
    /// Orders that it carries.
    pub orders: usize,
}

/// Number and id of the last mark or order of this device.
pub fn own_chain(read: &dyn Read, gid: GroupId) -> Result<(u64, Option<[u8; 32]>), EngineError> {
    let row = rows::group(read, &gid)?.ok_or(EngineError::UnknownGroup)?;
    Ok((row.mark_n, row.mark_prev))
}

/// The commits that are known from the anchor on, in no particular order, and
/// how often this device left a branch that had lost.
pub fn commits(read: &dyn Read, gid: GroupId) -> Result<(Vec<CommitView>, u64), EngineError> {
    let row = rows::group(read, &gid)?.ok_or(EngineError::UnknownGroup)?;
    let mut out = Vec::new();
    let mut open = vec![row.anchor];
    while let Some(at) = open.pop() {
        let Some(state) = rows::state_row(read, &gid, &at)? else { continue };
        for child in state.children {
            let id = child.commit;
            let Some(commit) = rows::commit(read, &id)? else { continue };
            open.push(commit.child);
            let (readds, orders) = (commit.used.len(), commit.orders.len());
            out.push(CommitView {
                id,
                parent: at,
                child: commit.child,
                account: commit.account,
                device: commit.device,
                envelope: rows::envelope(read, &id)?,
                readds,
                orders,
            });
        }
    }
    Ok((out, row.switches))
}

/// All facts that bear on the choice between branches, as they are stored,
/// from the anchor on.
pub fn facts(read: &dyn Read, gid: GroupId) -> Result<Facts, EngineError> {
    let row = rows::group(read, &gid)?.ok_or(EngineError::UnknownGroup)?;
    let mut facts = Facts {
        gid,
        anchor: row.anchor,
        tip: row.tip,
        goal: row.goal,
        hold_until: row.hold_until,
        contested: row.contested,
        states: Vec::new(),
        commits: Vec::new(),
        marks: Vec::new(),
        orders: rows::orders(read, &gid)?,
        rivals: Vec::new(),
        mutes: BTreeMap::new(),
    };
    let missing = |what: &str| EngineError::Broken(format!("a {what} is missing"));
    let mut open = vec![row.anchor];
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let state = rows::state(read, &gid, &id)?.ok_or_else(|| missing("state"))?;
        for Child { commit: id, .. } in &state.row.children {
            let c = rows::commit(read, id)?.ok_or_else(|| missing("commit"))?;
            open.push(c.child);
            facts.commits.push(CommitFact {
                id: *id,
                parent: c.parent,
                child: c.child,
                account: c.account,
                device: c.device,
                orders: c.orders,
            });
        }
        let members = state.members.iter().map(|m| (m.leaf, m.device, m.account)).collect();
        facts.states.push(StateFact { id, epoch: state.row.epoch, ext: state.ext, members });
    }
    let mut devices: BTreeSet<DeviceId> = rows::devices(read, &gid)?.into_iter().collect();
    devices.insert(row.me);
    for device in devices {
        let name = rows::pair(&gid, &device.0);
        let marks = rows::numbered(read, Table::Marks, &name, 0, usize::MAX)?;
        facts.marks.extend(marks.into_iter().map(|(_, bytes)| bytes));
        facts.rivals.extend(read.get(Key::of(Table::Marks, &rows::rival(&gid, &device)))?);
        if let Some(n) = rows::device(read, &gid, &device)?.and_then(|d| d.mute) {
            facts.mutes.insert(device, n);
        }
    }
    Ok(facts)
}

fn topic(read: &dyn Read, state: StateId) -> Result<Option<TopicSecret>, EngineError> {
    let bytes = read.get(Key::of(Table::Topics, &state.0))?;
    Ok(bytes.as_deref().and_then(Secret::from_slice).map(|secret| TopicSecret { state, secret }))
}

/// The topic that begins at a state, if its secret is held.
pub fn topic_secret(read: &dyn Read, state: StateId) -> Result<Option<TopicSecret>, EngineError> {
    topic(read, state)
}

/// The group's topics: where to publish, what to watch, what to poll.
pub fn topics(read: &dyn Read, gid: GroupId) -> Result<Topics, EngineError> {
    let row = rows::group(read, &gid)?.ok_or(EngineError::UnknownGroup)?;
    let of = |state: &StateId| -> Result<Option<StateId>, EngineError> {
        Ok(rows::state_row(read, &gid, state)?.map(|s| s.topic))
    };
    let current_state = of(&row.tip)?;
    let current = match current_state {
        Some(state) => topic(read, state)?,
        None => None,
    };
    let mut watched_states = Vec::new();
    for (state, _) in row.held.iter().rev() {
        if let Some(topic) = of(state)?
            && Some(topic) != current_state
            && !watched_states.contains(&topic)
        {
            watched_states.push(topic);
        }
    }
    let mut watched = Vec::new();
    for state in &watched_states {
        watched.extend(topic(read, *state)?);
    }
    let mut old = Vec::new();
    for (state, _) in &row.topics {
        if Some(*state) != current_state && !watched_states.contains(state) {
            old.extend(topic(read, *state)?);
        }
    }
    Ok(Topics { current, watched, old })
}

/// State at which the topic of a state began; `None` for unknown states.
pub fn topic_of(read: &dyn Read, gid: GroupId, state: StateId) -> Result<Option<StateId>, EngineError> {
    Ok(rows::state_row(read, &gid, &state)?.map(|s| s.topic))
}

/// For each other device of the tip: the highest own event number up to
/// which it has all (0 = none known).
pub fn delivered(read: &dyn Read, gid: GroupId) -> Result<Vec<(AccountId, DeviceId, u64)>, EngineError> {
    let row = rows::group(read, &gid)?.ok_or(EngineError::UnknownGroup)?;
    let tip =
        rows::state(read, &gid, &row.tip)?.ok_or_else(|| EngineError::Broken("a state is missing".into()))?;
    let mut out = Vec::new();
    for m in tip.members.iter().filter(|m| m.device != row.me) {
        let acked = rows::device(read, &gid, &m.device)?.map_or(0, |d| d.acked);
        out.push((m.account, m.device, acked));
    }
    Ok(out)
}

/// Ancestors of a device's state that are looked at for what it lacks.
const LACK_DEPTH: usize = 256;
/// Own events that are looked at for each device.
const LACK_EVENTS: usize = 64;

/// An own event that members lack although they are past it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacked {
    /// Own event number.
    pub seq: u64,
    /// Id.
    pub event: EventId,
    /// The members that lack it.
    pub by: Vec<(AccountId, DeviceId)>,
}

/// Own events from before `sent_before` (Unix ms) that these devices of the
/// tip lack and will not get from the topic where they were put: the device
/// stands further down the chain, or has spoken since (its mark number is
/// above the one in `spoke`). Oldest first, each for those it was written for.
pub fn lacked(
    read: &dyn Read,
    gid: GroupId,
    of: &BTreeSet<DeviceId>,
    spoke: &BTreeMap<DeviceId, u64>,
    sent_before: u64,
) -> Result<Vec<Lacked>, EngineError> {
    let row = rows::group(read, &gid)?.ok_or(EngineError::UnknownGroup)?;
    let tip =
        rows::state(read, &gid, &row.tip)?.ok_or_else(|| EngineError::Broken("a state is missing".into()))?;
    let name = rows::pair(&gid, &row.me.0);
    let mut audiences: BTreeMap<StateId, BTreeSet<AccountId>> = BTreeMap::new();
    let mut above: BTreeMap<StateId, Above> = BTreeMap::new();
    let mut out: BTreeMap<u64, Lacked> = BTreeMap::new();
    for m in tip.members.iter().filter(|m| m.device != row.me && of.contains(&m.device)) {
        let Some(device) = rows::device(read, &gid, &m.device)? else { continue };
        let Some(stands) = device.mark_at.filter(|_| device.acked < row.seq) else { continue };
        let spoke_since = spoke.get(&m.device).is_some_and(|n| device.mark_n > *n);
        for (seq, value) in rows::numbered(read, Table::Events, &name, device.acked + 1, LACK_EVENTS)? {
            let event: rows::EventRow = rows::decode(&value)?;
            if event.hlc >> 16 > sent_before {
                break;
            }
            let sealed = event.sealed.unwrap_or(event.at);
            let above = match above.entry(stands) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(Above::of(read, gid, stands)?),
            };
            let passed = spoke_since || above.holds(read, gid, &sealed)?;
            if !passed {
                continue;
            }
            let accounts = match audiences.entry(event.at) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    new.insert(audience(read, gid, event.at)?.into_iter().map(|(a, _)| a).collect())
                }
            };
            if accounts.contains(&m.account) {
                let lacked =
                    out.entry(seq).or_insert_with(|| Lacked { seq, event: event.id, by: Vec::new() });
                lacked.by.push((m.account, m.device));
            }
        }
    }
    Ok(out.into_values().collect())
}

/// The states above one, without itself.
struct Above {
    states: BTreeSet<StateId>,
    /// Epoch of the highest of them.
    from: u64,
}

impl Above {
    fn of(read: &dyn Read, gid: GroupId, state: StateId) -> Result<Self, EngineError> {
        let mut out = Self { states: BTreeSet::new(), from: 0 };
        let mut at = rows::state_row(read, &gid, &state)?;
        while let Some(here) = at {
            out.from = here.epoch;
            let Some(parent) = here.parent.filter(|_| out.states.len() < LACK_DEPTH) else { break };
            out.states.insert(parent);
            at = rows::state_row(read, &gid, &parent)?;
        }
        Ok(out)
    }

    /// Whether a state is one of them, or lies further up than was looked.
    fn holds(&self, read: &dyn Read, gid: GroupId, state: &StateId) -> Result<bool, EngineError> {
        Ok(self.states.contains(state)
            || rows::state_row(read, &gid, state)?.is_some_and(|s| s.epoch < self.from))
    }
}

/// A stored event in its bare signed form, for a proven stream.
pub fn event_bytes(read: &dyn Read, gid: GroupId, event: EventId) -> Result<Vec<u8>, EngineError> {
    let (_, _, row) = rows::event(read, &gid, &event)?.ok_or(EngineError::UnknownEvent)?;
    Ok(row.bare)
}

/// Whether a device is, or was, a member of the group as far as is known here:
/// what a proof on a stream is checked against. One that was removed may still
/// be told so, and may bring a branch on which it was not; the engine judges
/// each object by the state that it belongs to.
pub fn knows_device(read: &dyn Read, gid: GroupId, device: DeviceId) -> Result<bool, EngineError> {
    if rows::device(read, &gid, &device)?.is_some() {
        return Ok(true);
    }
    let Some(row) = rows::group(read, &gid)? else { return Ok(false) };
    for state in [row.tip].iter().chain(row.held.iter().rev().map(|(s, _)| s)) {
        if rows::state(read, &gid, state)?.is_some_and(|s| s.device(&device).is_some()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The accounts and devices that an event was written for.
pub fn audience(
    read: &dyn Read,
    gid: GroupId,
    at: StateId,
) -> Result<Vec<(AccountId, DeviceId)>, EngineError> {
    let state = rows::state(read, &gid, &at)?;
    Ok(state.map(|s| s.members.iter().map(|m| (m.account, m.device)).collect()).unwrap_or_default())
}

/// Whether a member's hello tells more of what this device has said than its own
/// store: then that is an older copy.
pub fn knows_more_of_me(read: &dyn Read, gid: GroupId, hello: &[u8]) -> Result<bool, EngineError> {
    let hello = kith_wire::group::Hello::from_bytes(hello)?;
    let row = rows::group(read, &gid)?.ok_or(EngineError::UnknownGroup)?;
    let marks = hello.marks.get(&row.me).map_or(0, |end| end.n);
    let events = hello.vv.get(&row.me).copied().unwrap_or(0);
    Ok(marks > row.mark_n || events > row.seq)
}
