//! Texts and files that wait to be said: their groups have to be listened to
//! first, or their author is alone in a group to which others are being added.

use std::collections::{BTreeMap, BTreeSet};

use kith_mls::EngineError;
use kith_store::StoreError;
use kith_wire::ids::{AccountId, EventId, GroupId, StateId};
use rand_core::Rng as _;

use crate::api::Refusal;
use crate::ctx::Ctx;
use crate::groups::Reject;
use crate::live::Live;
use crate::rows::{self, Conversation, Early, Entry, GroupInfo, Sent};
use crate::saying::{NOT_FOR_NEW, Words, send_anew};
use crate::timeline;

/// Texts that may wait for groups' first members, or until their groups were
/// listened to.
const EARLY_MAX: usize = 1_000;

const MAYBE_SAID: &str = "This device was put back to an earlier copy of its data, and may have sent this message since that copy was made. If the others do not have it, send it again.";

/// Shows a message that is sent as soon as this device may speak.
pub(crate) fn hold(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    conversation: &Conversation,
    words: Words,
    key: &str,
) -> Result<(EventId, u64), Refusal> {
    let store = |e: StoreError| crate::node::disk(&e);
    let group = conversation.write_group();
    let mut id = EventId([0; 32]);
    ctx.rng.fill_bytes(&mut id.0);
    let at = tip(ctx, &group)?;
    wait(ctx, live, Early { group, event: id, key: key.to_owned(), problem: None, at })?;
    let new = words.entry(ctx, group, id, None);
    let position = timeline::append(ctx, live, &conversation.id, new).map_err(store)?;
    Ok((id, position))
}

/// The state for whose members something is written now.
fn tip(ctx: &Ctx<'_>, group: &GroupId) -> Result<Option<StateId>, Refusal> {
    let info = GroupInfo::load(&ctx.tx, group).map_err(|e| crate::node::disk(&e))?;
    Ok(info.map(|info| info.tip))
}

/// Whether everybody who would read a text now was there when it was written.
fn is_for_them(ctx: &Ctx<'_>, early: &Early, now: &GroupId) -> Result<bool, StoreError> {
    let (Some(at), Some(info)) = (early.at, GroupInfo::load(&ctx.tx, now)?) else { return Ok(true) };
    let then: BTreeSet<AccountId> =
        rows::audience(&ctx.tx, &early.group, &at)?.into_iter().map(|(_, account)| account).collect();
    let me = ctx.me.account();
    Ok(info.members.iter().all(|m| m.account == me || then.contains(&m.account)))
}

fn wait(ctx: &mut Ctx<'_>, live: &mut Live, one: Early) -> Result<(), Refusal> {
    let mut all = Early::all(&ctx.tx).map_err(|e| crate::node::disk(&e))?;
    if all.len() >= EARLY_MAX {
        // Of those that failed, some may have been deleted since.
        all.retain(|early| matches!(Entry::place(&ctx.tx, &early.event), Ok(Some(_))));
    }
    if all.len() >= EARLY_MAX {
        return Err(Refusal::new(
            "outbox_full",
            "Too many messages wait for a group's first members, or for a connection. Write on when somebody is reached.",
        ));
    }
    live.heard.wrote(one.event);
    all.push(one);
    Early::save_all(&mut ctx.tx, &all);
    Ok(())
}

/// Notes a text that nobody could be sent yet, because those for whom the
/// group was made are still being added.
pub(crate) fn note(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    group: GroupId,
    event: EventId,
    key: &str,
) -> Result<(), Refusal> {
    if !live.adds.wanted_in(&group) {
        return Ok(());
    }
    let store = |e: StoreError| crate::node::disk(&e);
    let Some(info) = GroupInfo::load(&ctx.tx, &group).map_err(store)? else { return Ok(()) };
    if !rows::audience(&ctx.tx, &group, &info.tip).map_err(store)?.is_empty() {
        return Ok(());
    }
    wait(ctx, live, Early { group, event, key: key.to_owned(), problem: None, at: None })
}

/// Sends what waited for the group's first members, or to be said at all.
pub(crate) fn send(ctx: &mut Ctx<'_>, live: &mut Live, group: GroupId) -> Result<(), Reject> {
    let (due, rest): (Vec<Early>, Vec<Early>) =
        Early::all(&ctx.tx)?.into_iter().partition(|early| early.group == group && early.problem.is_none());
    if due.is_empty() {
        return Ok(());
    }
    Early::save_all(&mut ctx.tx, &rest);
    let mut renamed = BTreeMap::new();
    let mut waits = Vec::new();
    for early in due {
        // Deleted meanwhile, or the conversation with it.
        let Some((home, position)) = Entry::place(&ctx.tx, &early.event)? else { continue };
        let (Some(old), Some(conversation)) =
            (Entry::load(&ctx.tx, &home, position)?, Conversation::load(&ctx.tx, &home)?)
        else {
            continue;
        };
        if !is_for_them(ctx, &early, &conversation.write_group())? {
            give_up(ctx, live, early, NOT_FOR_NEW)?;
            continue;
        }
        let reply_to = old.reply_to.map(|id| renamed.get(&id).copied().unwrap_or(id));
        let (event, position) = match send_anew(ctx, live, &conversation, &old, reply_to) {
            Ok(sent) => sent,
            Err(EngineError::Store(e)) => return Err(e.into()),
            Err(EngineError::NotHeard | EngineError::Tainted | EngineError::NotMember) => {
                waits.push(early);
                continue;
            }
            Err(e) => {
                give_up(ctx, live, early, &crate::groups::refusal(e).message)?;
                continue;
            }
        };
        live.heard.said(&early.event);
        renamed.insert(old.id, event);
        rows::set_answered(&mut ctx.tx, &early.key, event, position);
    }
    if !waits.is_empty() {
        let mut all = Early::all(&ctx.tx)?;
        all.append(&mut waits);
        Early::save_all(&mut ctx.tx, &all);
    }
    Ok(())
}

/// What waited is not sent by itself any more: its row says why, and its author
/// decides.
fn give_up(ctx: &mut Ctx<'_>, live: &mut Live, early: Early, why: &str) -> Result<(), StoreError> {
    live.heard.said(&early.event);
    let mut all = Early::all(&ctx.tx)?;
    all.retain(|other| other.event != early.event);
    if let Some((home, position)) = Entry::place(&ctx.tx, &early.event)?
        && let Some(entry) = Entry::load(&ctx.tx, &home, position)?
    {
        match Sent::load(&ctx.tx, &entry.group, entry.seq)?.filter(|sent| sent.event == early.event) {
            Some(mut sent) => {
                sent.problem = Some(why.into());
                sent.save(&mut ctx.tx, &entry.group, entry.seq);
            }
            None => all.push(Early { problem: Some(why.into()), ..early }),
        }
        live.touched.insert((home, position));
        live.changed.insert(home);
    }
    Early::save_all(&mut ctx.tx, &all);
    Ok(())
}

/// Whether this device is in a group or out has changed: what waits there looks
/// different.
pub(crate) fn redraw(ctx: &Ctx<'_>, live: &mut Live, group: &GroupId) -> Result<(), StoreError> {
    for early in Early::all(&ctx.tx)?.into_iter().filter(|early| early.group == *group) {
        live.touched.extend(Entry::place(&ctx.tx, &early.event)?);
    }
    Ok(())
}

/// Another copy of this store has spoken in a group. It may have said what
/// waited there when the store was copied; whether it did, its author can see
/// at the others.
pub(crate) fn doubt(ctx: &mut Ctx<'_>, live: &mut Live, group: GroupId) -> Result<(), StoreError> {
    for early in Early::all(&ctx.tx)? {
        if early.group == group && early.problem.is_none() && !live.heard.is_new(&early.event) {
            give_up(ctx, live, early, MAYBE_SAID)?;
        }
    }
    Ok(())
}

/// Sends a text that never left and waits no longer, because its author wants
/// it sent. Answers its id and position.
pub(crate) fn retry(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    conversation: &Conversation,
    old: &Entry,
) -> Result<(EventId, u64), Refusal> {
    let store = |e: StoreError| crate::node::disk(&e);
    let known = Early::of(&ctx.tx, &old.id).map_err(store)?;
    if known.as_ref().is_some_and(|early| early.problem.is_none()) {
        return Ok((old.id, old.position));
    }
    let (event, position) = match send_anew(ctx, live, conversation, old, old.reply_to) {
        Err(EngineError::NotHeard) => (old.id, old.position),
        sent => sent.map_err(crate::groups::refusal)?,
    };
    let mut all = Early::all(&ctx.tx).map_err(store)?;
    all.retain(|early| early.event != old.id);
    Early::save_all(&mut ctx.tx, &all);
    let key = known.map(|early| early.key).unwrap_or_default();
    if event == old.id {
        let group = conversation.write_group();
        let at = tip(ctx, &group)?;
        wait(ctx, live, Early { group, event, key, problem: None, at })?;
        live.touched.insert((conversation.id, position));
    } else if !key.is_empty() {
        rows::set_answered(&mut ctx.tx, &key, event, position);
    }
    Ok((event, position))
}
