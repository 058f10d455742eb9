//! Welcomes on their way: until the joiner has said something in the group,
//! its inviter sends the Welcome again, ever less often. A relay that takes an
//! entry and loses it must not leave anybody outside who is on the list.

use kith_mls::Joiner;
use kith_store::{Key, Read, StoreError, Table};
use kith_wire::ids::{AccountId, DeviceId, GroupId};
use minicbor::{Decode, Encode};

use crate::ctx::Ctx;
use crate::groups::Reject;
use crate::live::{Live, Timer};
use crate::rows;

/// How long a Welcome waits for somebody to follow its commit (groups.md 2.8).
const SETTLE_MS: u64 = 5_000;
/// Wait after the first time; each next wait is four times as long.
const AGAIN_MS: (u64, u64) = (60_000, 24 * 3_600_000);
/// Times that a Welcome is sent.
const TIMES_MAX: u8 = 12;
/// Welcomes that wait at once; the oldest go.
const WAITING_MAX: usize = 1024;

/// The list of those that wait, and each one's bytes.
const LIST: &[u8] = b"welcomes";
const BYTES: &[u8] = b"welcome";

/// A Welcome that waits, or whose joiner has not been heard yet.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
struct Waiting {
    #[n(0)]
    group: GroupId,
    #[n(1)]
    account: AccountId,
    #[n(2)]
    device: DeviceId,
    /// Marks of the device that were known before.
    #[n(3)]
    marks: u64,
    /// Times that it was sent.
    #[n(4)]
    times: u8,
    /// When it is due, Unix ms.
    #[n(5)]
    due: u64,
}

impl Waiting {
    fn place(&self) -> [u8; 64] {
        place(&self.group, &self.device)
    }
}

fn place(group: &GroupId, device: &DeviceId) -> [u8; 64] {
    let mut out = [0; 64];
    out[..32].copy_from_slice(&group.0);
    out[32..].copy_from_slice(&device.0);
    out
}

fn load(r: &dyn Read) -> Result<Vec<Waiting>, StoreError> {
    Ok(rows::get(r, Key::of(Table::State, LIST))?.unwrap_or_default())
}

fn save(ctx: &mut Ctx<'_>, mut all: Vec<Waiting>) {
    let over = all.len().saturating_sub(WAITING_MAX);
    for gone in all.drain(..over) {
        ctx.tx.delete(Key::at(Table::State, BYTES, &gone.place()));
    }
    ctx.tx.put(Key::of(Table::State, LIST), rows::encode(&all));
}

/// Keeps the Welcomes of a commit; they leave when it has settled, or `now`.
pub(crate) fn keep(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    group: GroupId,
    joiners: &[(Joiner, Vec<u8>)],
    now: bool,
) -> Result<(), Reject> {
    if joiners.is_empty() {
        return Ok(());
    }
    let wait = if now { 0 } else { SETTLE_MS };
    let mut all = load(&ctx.tx)?;
    for (joiner, welcome) in joiners {
        all.retain(|w| (w.group, w.device) != (group, joiner.device));
        ctx.tx.put(Key::at(Table::State, BYTES, &place(&group, &joiner.device)), welcome.clone());
        let marks = kith_mls::view::last_mark(&ctx.tx, group, joiner.device)?;
        let due = ctx.now.wall_ms.saturating_add(wait);
        let (account, device) = (joiner.account, joiner.device);
        all.push(Waiting { group, account, device, marks, times: 0, due });
    }
    save(ctx, all);
    if now {
        return send(ctx, live, &group);
    }
    live.at(ctx.now.mono_ms + SETTLE_MS, Timer::Welcome(group));
    Ok(())
}

/// Sends those of a group that are due, and forgets those that have arrived or
/// whose joiner is not on the list any more.
pub(crate) fn send(ctx: &mut Ctx<'_>, live: &mut Live, group: &GroupId) -> Result<(), Reject> {
    let mut rest = Vec::new();
    let mut next = None;
    let now = ctx.now.wall_ms;
    for mut w in load(&ctx.tx)? {
        if w.group != *group {
            rest.push(w);
            continue;
        }
        // A clock that was set back does not make it wait for ever.
        if w.due <= now || w.due > now.saturating_add(AGAIN_MS.1) {
            let over = w.times > 0 && (w.times >= TIMES_MAX || !still_out(ctx, &w)?);
            let welcome = ctx.tx.get(Key::at(Table::State, BYTES, &w.place()))?.filter(|_| !over);
            let Some(welcome) = welcome else {
                ctx.tx.delete(Key::at(Table::State, BYTES, &w.place()));
                continue;
            };
            match crate::inbox::send(ctx, live, w.account, w.device, &welcome) {
                // Whom nobody knows how to reach now does not hold up others.
                Ok(()) | Err(Reject::Invalid(_)) => {}
                Err(e) => return Err(e),
            }
            let wait = AGAIN_MS.0.saturating_mul(1 << (2 * w.times.min(12))).min(AGAIN_MS.1);
            w.times += 1;
            w.due = now.saturating_add(wait);
        }
        next = Some(next.map_or(w.due, |n: u64| n.min(w.due)));
        rest.push(w);
    }
    save(ctx, rest);
    if let Some(due) = next {
        live.at(ctx.now.mono_ms + due.saturating_sub(now), Timer::Welcome(*group));
    }
    Ok(())
}

/// Whether the joiner is on the list, and has not said anything there.
fn still_out(ctx: &Ctx<'_>, w: &Waiting) -> Result<bool, Reject> {
    let listed = ctx.engine.view(&ctx.tx, w.group)?.members.iter().any(|m| m.device == w.device);
    Ok(listed && kith_mls::view::last_mark(&ctx.tx, w.group, w.device)? <= w.marks)
}

/// Welcomes that waited when the node stopped.
pub(crate) fn resume(ctx: &Ctx<'_>, live: &mut Live) -> Result<(), StoreError> {
    for w in load(&ctx.tx)? {
        let wait = w.due.saturating_sub(ctx.now.wall_ms).clamp(SETTLE_MS, AGAIN_MS.1);
        live.at(ctx.now.mono_ms + wait, Timer::Welcome(w.group));
    }
    Ok(())
}
