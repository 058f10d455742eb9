//! What a device does in its groups without being asked: orders carried out,
//! devices let in again, own keys refreshed, and the own way back in when the
//! others have gone on without it.
//!
//! One member should do what any may do. They act in turns: whoever is first
//! in line at once, the others a little later each, and they find it done.

use std::collections::BTreeMap;

use kith_mls::mutant::{self, Mutant};
use kith_mls::{Change, EngineError, Outcome, Readd};
use kith_store::{Read, StoreError};
use kith_wire::group::{GroupExt, PackedReadd, ReaddReq};
use kith_wire::ids::{AccountId, DeviceId, EventId, GroupId};

use crate::api::Event;
use crate::ctx::Ctx;
use crate::groups::{self, Reject};
use crate::live::{Live, Timer};
use crate::rows::Asking;
use crate::{heard, membership, people, rows, saying, timeline};

/// How much later each device acts than one before it in line that is linked
/// here, and than one that is not, ms (groups.md 2.8).
const TURN_MS: (u64, u64) = (1_500, 300);
/// Nobody waits longer than this, ms.
const TURN_MAX_MS: u64 = 10_000;
/// How soon something that could not be done is tried again, ms.
const AGAIN_MS: u64 = 10_000;
/// How long a device looks for its own way back before it asks for help, ms.
const BEHIND_MS: u64 = 3_000;
/// Time between requests to be let in again, ms: the first, and the longest.
const ASK_MS: (u64, u64) = (30_000, 3_600_000);
/// Members that one request goes to.
const ASKED_AT_ONCE: usize = 3;
/// Requests of others that are kept for one group.
const READDS_MAX: usize = 64;
/// Requests that one commit serves.
const READDS_AT_ONCE: usize = 32;

/// Duties under way. All of it comes again after a restart.
#[derive(Debug, Default)]
pub(crate) struct Duties {
    /// Devices that asked to be let in, with their requests.
    readds: BTreeMap<(GroupId, DeviceId), (AccountId, Vec<u8>)>,
    /// Own requests: how many were sent, and when the next is due.
    asked: BTreeMap<GroupId, (u32, u64)>,
}

/// Something is to be done in a group: at our turn.
pub(crate) fn schedule(ctx: &Ctx<'_>, live: &mut Live, group: GroupId) -> Result<(), Reject> {
    let turn = turn(ctx, live, group)?;
    live.at(ctx.now.mono_ms + turn, Timer::Duty(group));
    Ok(())
}

/// How long others get to do it first.
fn turn(ctx: &Ctx<'_>, live: &Live, group: GroupId) -> Result<u64, Reject> {
    let me = ctx.me.device();
    let line = kith_mls::view::line(&ctx.tx, group)?;
    let before = line.iter().take_while(|(_, d)| *d != me);
    let wait = |(_, d): &(AccountId, DeviceId)| {
        if live.links.of_device(d).is_some() { TURN_MS.0 } else { TURN_MS.1 }
    };
    Ok(before.map(wait).sum::<u64>().min(TURN_MAX_MS))
}

/// A device asks to be let in.
pub(crate) fn asked(
    ctx: &Ctx<'_>,
    live: &mut Live,
    group: GroupId,
    who: (AccountId, DeviceId),
    request: Vec<u8>,
) -> Result<(), Reject> {
    let (account, device) = who;
    let of_group =
        live.duties.readds.range((group, DeviceId([0; 32]))..=(group, DeviceId([255; 32]))).count();
    if of_group < READDS_MAX || live.duties.readds.contains_key(&(group, device)) {
        live.duties.readds.insert((group, device), (account, request));
        schedule(ctx, live, group)?;
    }
    Ok(())
}

/// Does what is due in a group.
pub(crate) fn act(ctx: &mut Ctx<'_>, live: &mut Live, group: GroupId) -> Result<(), Reject> {
    let outcomes = ctx.engine.look(&mut ctx.tx, ctx.now.wall_ms, group)?;
    groups::apply_all(ctx, live, group, outcomes)?;
    let duties = kith_mls::view::duties(&ctx.tx, group)?;
    let now = ctx.now;
    if duties.behind || duties.tainted {
        // The others may have gone on already.
        live.at(now.mono_ms, Timer::Sync(group));
    }
    if duties.behind {
        return find_back(ctx, live, group);
    }
    live.duties.asked.remove(&group);
    if !duties.tainted {
        heard::look_again(ctx, live, group)?;
    }
    let readds = to_let_in(ctx, live, group)?;
    let alone = ctx.engine.view(&ctx.tx, group)?.members.len() < 2;
    let refresh = now.wall_ms >= duties.update_at && !alone;
    if duties.enact || !readds.is_empty() || refresh {
        match membership::commit(ctx, live, group, Change { readds, ..Change::default() }) {
            Ok(()) => {}
            Err(Reject::Invalid(_)) => live.at(now.mono_ms + AGAIN_MS, Timer::Duty(group)),
            Err(e) => return Err(e),
        }
    } else if duties.tainted {
        live.at(now.mono_ms + AGAIN_MS, Timer::Duty(group));
    }
    let due = kith_mls::view::duties(&ctx.tx, group)?.update_at;
    if due != u64::MAX && !alone {
        live.at(now.mono_ms + due.saturating_sub(now.wall_ms).max(AGAIN_MS), Timer::Duty(group));
    }
    Ok(())
}

/// The requests that one commit serves; each is served once.
fn to_let_in(ctx: &mut Ctx<'_>, live: &mut Live, group: GroupId) -> Result<Vec<Readd>, Reject> {
    let waiting: Vec<DeviceId> =
        live.duties.readds.keys().filter(|(g, _)| *g == group).map(|(_, d)| *d).collect();
    let mut readds = Vec::new();
    for device in waiting.into_iter().take(READDS_AT_ONCE) {
        let Some((_, request)) = live.duties.readds.remove(&(group, device)) else { continue };
        // Somebody may have served it meanwhile.
        let open = ctx.engine.ingest(&mut ctx.tx, ctx.now.wall_ms, group, &request)?;
        if !open.iter().any(|o| matches!(o, Outcome::Readd { .. })) {
            continue;
        }
        if let Some(reach) = people::reach(&ctx.tx, &device)? {
            readds.push(Readd { request, inbox: reach.inbox.topic() });
        }
    }
    Ok(readds)
}

/// Asks members to let this device in again, ever more of them and ever less
/// often, until one does.
fn find_back(ctx: &mut Ctx<'_>, live: &mut Live, group: GroupId) -> Result<(), Reject> {
    if mutant::on(Mutant::NeverAskBack) {
        return Ok(());
    }
    let now = ctx.now.mono_ms;
    let (times, next) = live.duties.asked.get(&group).copied().unwrap_or((0, now + BEHIND_MS));
    if now < next {
        live.duties.asked.insert(group, (times, next));
        live.at(next, Timer::Duty(group));
        return Ok(());
    }
    let request = ctx.engine.ask_back(&mut ctx.tx, ctx.now.wall_ms, group)?;
    // Also those who are out on the branch that this device knows.
    let mut members = kith_mls::view::line(&ctx.tx, group)?;
    members.retain(|(_, d)| *d != ctx.me.device());
    // First those that are linked, else by turns.
    let (mut near, far): (Vec<_>, Vec<_>) =
        members.into_iter().partition(|(_, d)| live.links.of_device(d).is_some());
    let from = (times as usize * ASKED_AT_ONCE) % far.len().max(1);
    near.extend(far.iter().cycle().skip(from).take(far.len().min(ASKED_AT_ONCE)));
    let mut asking = Asking::load(&ctx.tx, &group)?;
    for (account, device) in near.into_iter().take(ASKED_AT_ONCE * 2) {
        if people::reach(&ctx.tx, &device)?.is_some() {
            crate::inbox::send(ctx, live, account, device, &request)?;
            asking.note(account);
        }
    }
    let wait = ASK_MS.0.saturating_mul(1 << times.min(8)).min(ASK_MS.1);
    asking.next_at = ctx.now.wall_ms + wait;
    asking.save(&mut ctx.tx, &group);
    live.changed.extend(rows::home(&ctx.tx, &group)?);
    live.duties.asked.insert(group, (times + 1, now + wait));
    live.at(now + wait, Timer::Duty(group));
    Ok(())
}

/// A request that came to the own inbox.
pub(crate) fn received(ctx: &mut Ctx<'_>, live: &mut Live, object: &[u8]) -> Result<(), Reject> {
    let request: ReaddReq = PackedReadd::from_bytes(object)?.raw.body()?;
    groups::ingest(ctx, live, request.gid, None, object)
}

/// Sends own events of a branch that lost again. Those that the group does not
/// take now are named again by the engine when it does.
pub(crate) fn send_again(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    group: GroupId,
    events: &[EventId],
) -> Result<(), Reject> {
    for event in events {
        match saying::resend(ctx, live, group, *event) {
            Ok(()) => {}
            Err(
                EngineError::Tainted
                | EngineError::NotMember
                | EngineError::NotHeard
                | EngineError::UnknownEvent,
            ) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Carries out orders that stand in the way of a message, if this device may.
pub(crate) fn clear_the_way(ctx: &mut Ctx<'_>, live: &mut Live, group: GroupId) -> Result<(), EngineError> {
    if !kith_mls::view::duties(&ctx.tx, group)?.enact {
        return Err(EngineError::Tainted);
    }
    match membership::commit(ctx, live, group, Change::default()) {
        Ok(()) => Ok(()),
        Err(Reject::Store(e)) => Err(EngineError::Store(e)),
        Err(Reject::Invalid(_) | Reject::TooEarly) => Err(EngineError::Tainted),
    }
}

/// A commit of this device lost against another: what it wanted is wanted
/// again, unless somebody changed the same thing.
pub(crate) fn again(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    group: GroupId,
    intent: &kith_mls::Intent,
) -> Result<(), Reject> {
    let view = ctx.engine.view(&ctx.tx, group)?;
    if !view.me_in {
        return Ok(());
    }
    if !heard::may_speak(ctx, live, &group)? {
        return Ok(heard::again_later(ctx, &group, intent)?);
    }
    let me = ctx.me.account();
    let is_in = |a: &AccountId| view.members.iter().any(|m| m.account == *a);
    let lost: Vec<AccountId> = intent
        .added
        .iter()
        .map(|(a, _)| *a)
        .filter(|a| *a != me && !is_in(a) && !intent.removed.iter().any(|(r, _)| r == a))
        .collect();
    // Whom somebody has removed since comes in by a new decision only.
    let now_ms = ctx.now.wall_ms;
    let mut gone = Vec::new();
    for account in lost {
        let against = ctx.engine.removals_of(&mut ctx.tx, now_ms, group, &account)?;
        if against.iter().all(|o| intent.lifted.contains(o)) {
            gone.push((account, against));
        }
    }
    for (account, against) in &gone {
        membership::want(ctx, live, group, *account, against.clone());
    }
    // Removals are orders: they hold on every branch.
    let (Some(before), Some(after)) = (&intent.ext_before, &intent.ext_after) else {
        if !gone.is_empty() {
            timeline::notice(ctx, live, &group, me, "again", Vec::new())?;
        }
        return Ok(());
    };
    let (before, after) = (GroupExt::from_bytes(&before.0)?, GroupExt::from_bytes(&after.0)?);
    let now = &view.ext;
    let mut wanted = now.clone();
    if before.policy != after.policy && now.policy == before.policy {
        wanted.policy.clone_from(&after.policy);
    }
    if before.relays != after.relays && now.relays == before.relays {
        wanted.relays.clone_from(&after.relays);
    }
    for (account, entry) in &after.roles {
        let raised = before.roles.get(account).is_none_or(|b| b.role < entry.role);
        if !raised || now.roles.get(account) != before.roles.get(account) || !is_in(account) {
            continue;
        }
        // Nor does a promotion come again over a demotion that it did not know.
        let against = ctx.engine.demotions_of(&mut ctx.tx, now_ms, group, account)?;
        if against.iter().all(|o| intent.lifted.contains(o)) {
            let epoch = view.epoch + 1;
            wanted.roles.insert(*account, kith_wire::group::RoleEntry { role: entry.role, epoch });
        }
    }
    let changed = before.policy != after.policy || before.relays != after.relays;
    let done = wanted != *now || (!changed && before.roles == after.roles);
    let remade = wanted != *now;
    if remade || !gone.is_empty() {
        timeline::notice(ctx, live, &group, me, "again", Vec::new())?;
    }
    let made = if remade {
        membership::commit(ctx, live, group, Change { ext: Some(wanted), ..Change::default() })
    } else {
        Ok(())
    };
    match made {
        Ok(()) if done => Ok(()),
        Ok(()) | Err(Reject::Invalid(_) | Reject::TooEarly) => not_applied(ctx, live, group),
        Err(e) => Err(e),
    }
}

/// Says that a change of this device did not come about.
fn not_applied(ctx: &mut Ctx<'_>, live: &mut Live, group: GroupId) -> Result<(), Reject> {
    let conversation = rows::home(&ctx.tx, &group)?;
    live.events.push(Event::Notice {
        conversation: conversation.map(|c| c.hex()),
        code: "not_applied".into(),
        message: "Your change to the group was not applied, because somebody else changed it at the same time. Look at it and try again.".into(),
    });
    timeline::notice(ctx, live, &group, ctx.me.account(), "not_applied", Vec::new())?;
    Ok(())
}

/// Whether this device's account has asked to leave a group that it is still
/// in.
pub(crate) fn is_leaving(r: &dyn Read, group: GroupId, me: &AccountId) -> Result<bool, StoreError> {
    match kith_mls::view::duties(r, group) {
        Ok(duties) => Ok(duties.targets.contains(&kith_wire::group::Target::Account(*me))),
        Err(EngineError::Store(e)) => Err(e),
        Err(_) => Ok(false),
    }
}
