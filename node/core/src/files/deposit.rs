//! What is left at relays for who is away: a file that some member's device
//! does not have yet, and cannot get straight from here.

use std::collections::BTreeSet;

use kith_store::StoreError;
use kith_wire::ids::{DeviceId, FileId, RelayId, TopicId};
use kith_wire::net::Path;

use super::port::Do;
use super::rows::{self, FileRow};
use super::{change, others};
use crate::ctx::Ctx;
use crate::groups::Reject;
use crate::live::{Live, Timer};

/// How soon after sending it is first looked at, ms.
pub(super) const FIRST_LOOK_MS: u64 = 1_000;
/// While all who lack it can get it straight from here: how often it is
/// looked at again, ms.
const LOOK_MS: u64 = 20_000;
/// A relay that was full is asked again after this, ms.
const AGAIN_MS: u64 = 10 * 60_000;
/// Relays that are to keep a file.
const COPIES: usize = 2;

/// Looks whether relays are to keep a file, and says so.
pub(crate) fn consider(ctx: &mut Ctx<'_>, live: &mut Live, id: &FileId) -> Result<(), Reject> {
    let Some(row) = FileRow::load(&ctx.tx, id)?.filter(|row| row.state == rows::HERE) else { return Ok(()) };
    if row.deposit != rows::DEPOSIT_WANTED {
        return Ok(());
    }
    let mut lacking: BTreeSet<DeviceId> = BTreeSet::new();
    for group in &row.groups {
        lacking.extend(others(ctx, group)?);
    }
    for device in &row.got {
        lacking.remove(device);
    }
    if lacking.is_empty() {
        live.files.out.push(Do::Stop { id: *id });
        change(ctx, live, id, |row| row.deposit = rows::DEPOSIT_DONE)?;
        return Ok(());
    }
    let straight = lacking.iter().all(|device| {
        let link = live.links.of_device(device).and_then(|link| live.links.get(link));
        link.is_some_and(|l| l.path != Path::Circuit)
    });
    // Looked at again in any case: links end, relays come.
    live.at(ctx.now.mono_ms + LOOK_MS, Timer::Deposit(*id));
    if straight {
        return Ok(());
    }
    deposit(ctx, live, &row)?;
    Ok(())
}

fn deposit(ctx: &mut Ctx<'_>, live: &mut Live, row: &FileRow) -> Result<(), StoreError> {
    let id = row.blob.id();
    let now = ctx.now.wall_ms;
    let bytes = row.blob.tree().map_or(u64::MAX, |tree| tree.sealed_bytes());
    let mut relays: Vec<(RelayId, TopicId)> = Vec::new();
    let (mut known, mut small) = (0, 0);
    let mut kept = row.deposited.iter().filter(|(_, until)| *until > now).count();
    for group in &row.groups {
        let topic = live.relays.current_topic(group);
        for relay in live.relays.ready_of(group) {
            known += 1;
            if live.relays.share_bytes(&relay).is_some_and(|share| bytes > share) {
                small += 1;
            } else if kept < COPIES
                && !row.refused.contains(&relay)
                && !row.deposited.iter().any(|(at, until)| *at == relay && *until > now)
                && !relays.iter().any(|(at, _)| *at == relay)
            {
                relays.push((relay, topic));
                kept += 1;
            }
        }
    }
    if known > 0 && small == known {
        change(ctx, live, &id, |row| row.deposit = rows::DEPOSIT_REFUSED)?;
    } else if !relays.is_empty() {
        live.files.out.push(Do::Deposit { id, blob: row.blob.clone(), relays });
    }
    Ok(())
}

/// A relay has all of it.
pub(super) fn stored(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    id: &FileId,
    relay: RelayId,
    until_ms: u64,
) -> Result<(), StoreError> {
    let row = change(ctx, live, id, |row| {
        row.deposited.retain(|(at, _)| *at != relay);
        row.deposited.push((relay, until_ms));
    })?;
    let Some(row) = row else { return Ok(()) };
    let relays: BTreeSet<RelayId> = row.groups.iter().flat_map(|g| live.relays.of_group(g)).collect();
    if row.deposited.len() >= relays.len().clamp(1, COPIES) {
        change(ctx, live, id, |row| row.deposit = rows::DEPOSIT_DONE)?;
    }
    Ok(())
}

/// A relay does not take it: another one is asked, and this one later again.
pub(super) fn refused(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    id: &FileId,
    relay: RelayId,
    problem: &str,
) -> Result<(), StoreError> {
    let again = FileRow::load(&ctx.tx, id)?.is_some_and(|row| row.refused.contains(&relay));
    change(ctx, live, id, |row| {
        if !again {
            row.refused.push(relay);
        }
    })?;
    live.notice(None, "relay_full", problem.to_owned());
    live.at(ctx.now.mono_ms + AGAIN_MS, Timer::DepositAgain(*id));
    live.at(ctx.now.mono_ms, Timer::Deposit(*id));
    Ok(())
}

/// Relays that refused are asked once more.
pub(crate) fn forgive(ctx: &mut Ctx<'_>, live: &mut Live, id: &FileId) -> Result<(), Reject> {
    change(ctx, live, id, |row| row.refused.clear())?;
    consider(ctx, live, id)
}
