//! Reading a group without an engine: for the API's snapshots and for the
//! core. Nothing here changes anything.

use kith_store::{Key, Read, Table};
use kith_wire::crypto::Secret;
use kith_wire::group::{OrderKind, Target};
use kith_wire::ids::{AccountId, DeviceId, EventId, GroupId, StateId};

use crate::EngineError;
use crate::api::{GroupView, MemberView, TopicSecret, Topics};
use crate::{rows, valid};

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
        role: own_role,
    })
}

/// States that are looked back over for an order to leave.
const LEAVE_STATES_MAX: usize = 256;

/// Orders to leave that are still to be carried out at a state: their issuer
/// has been a member from where the order was given until there. Somebody who
/// left and was added again has not left anew.
pub(crate) fn open_leaves(
    read: &dyn Read,
    gid: &GroupId,
    tip: &rows::State,
) -> Result<Vec<(AccountId, Vec<u8>)>, EngineError> {
    let mut open = Vec::new();
    for signed in rows::orders(read, gid)? {
        let Ok(order) = valid::order(gid, tip, &signed) else { continue };
        if order.order == OrderKind::Leave
            && order.target == Target::Account(order.issuer)
            && member_since(read, gid, tip, &order.at, &order.issuer)?
        {
            open.push((order.issuer, signed));
        }
    }
    Ok(open)
}

/// Whether an account is in every state from `since` to `tip`.
fn member_since(
    read: &dyn Read,
    gid: &GroupId,
    tip: &rows::State,
    since: &StateId,
    account: &AccountId,
) -> Result<bool, EngineError> {
    let mut at = tip.id;
    for _ in 0..LEAVE_STATES_MAX {
        let Some(state) = rows::state(read, gid, &at)? else { return Ok(false) };
        if !state.has_account(account) {
            return Ok(false);
        }
        if at == *since {
            return Ok(true);
        }
        let Some(parent) = state.row.parent else { return Ok(false) };
        at = parent;
    }
    Ok(false)
}

/// Accounts that have asked to leave and are still in.
pub fn leavers(read: &dyn Read, gid: GroupId) -> Result<Vec<AccountId>, EngineError> {
    let row = rows::group(read, &gid)?.ok_or(EngineError::UnknownGroup)?;
    let Some(tip) = rows::state(read, &gid, &row.tip)?.filter(|tip| tip.row.me_in) else {
        return Ok(Vec::new());
    };
    Ok(open_leaves(read, &gid, &tip)?.into_iter().map(|(account, _)| account).collect())
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
        Ok(rows::state(read, &gid, state)?.map(|s| s.row.topic))
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
    Ok(rows::state(read, &gid, &state)?.map(|s| s.row.topic))
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

/// A stored event in its bare signed form, for a proven stream.
pub fn event_bytes(read: &dyn Read, gid: GroupId, event: EventId) -> Result<Vec<u8>, EngineError> {
    let (_, _, row) = rows::event(read, &gid, &event)?.ok_or(EngineError::UnknownEvent)?;
    Ok(row.bare)
}

/// Whether a device is a member of any state of the group that is known to
/// hold it at the tip or in the secret window: what a proof on a stream is
/// checked against.
pub fn member_account(
    read: &dyn Read,
    gid: GroupId,
    device: DeviceId,
) -> Result<Option<AccountId>, EngineError> {
    let Some(row) = rows::group(read, &gid)? else { return Ok(None) };
    for state in [row.tip].iter().chain(row.held.iter().rev().map(|(s, _)| s)) {
        if let Some(state) = rows::state(read, &gid, state)?
            && let Some(m) = state.device(&device)
        {
            return Ok(Some(m.account));
        }
    }
    Ok(None)
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
