//! Key packages: taken from other people's relays, left at own ones.

use kith_wire::ids::{AccountId, EntryId, RelayId};
use kith_wire::relay::{Bytes, Call, PackageRecord};
use kith_wire::topic::Right;
use rand_core::Rng as _;

use super::session::Pending;
use super::{POOL, descriptor};
use crate::ctx::Ctx;
use crate::groups::Reject;
use crate::live::Live;
use crate::people;

/// Asks the relays of a device for one of its key packages.
pub(crate) fn take_package(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    account: AccountId,
    reach: &people::Reach,
) -> Result<(), Reject> {
    let Some(token) = people::token_for(&ctx.tx, &reach.device)? else { return Ok(()) };
    for hint in &reach.relays {
        let mut request = [0; 32];
        ctx.rng.fill_bytes(&mut request);
        if let Some(s) = live.relays.sessions.get_mut(&hint.id).filter(|s| s.ready) {
            let call = Call::take_package(&token, descriptor(&reach.inbox), &hint.id, EntryId(request));
            s.call(call, Pending::TakePackage { account, device: reach.device }, &mut live.net);
            return Ok(());
        }
    }
    Ok(())
}

/// Fills the pools of key packages at all own relays that are up.
pub(crate) fn fill_packages(ctx: &mut Ctx<'_>, live: &mut Live) -> Result<(), Reject> {
    let own: Vec<RelayId> =
        live.relays.sessions.iter().filter(|(_, s)| s.own && s.ready).map(|(id, _)| *id).collect();
    for relay in own {
        let inbox = ctx.me.inbox_topic();
        if let Some(s) = live.relays.sessions.get_mut(&relay) {
            // The answer says how many are left, and asks for more if few.
            s.open(&inbox, Right::Write, &mut live.net);
        }
    }
    Ok(())
}

/// Puts fresh key packages at a relay.
pub(crate) fn fill(ctx: &mut Ctx<'_>, live: &mut Live, relay: RelayId) -> Result<(), Reject> {
    let inbox = ctx.me.inbox_topic().id();
    let mut records = Vec::new();
    let key = ctx.me.device_key();
    for _ in 0..POOL.0 {
        let package = ctx.engine.key_package(&mut ctx.tx, false)?;
        records.push(Bytes(PackageRecord::sign(key, package, ctx.now.wall_ms, false)));
    }
    let Some(s) = live.relays.sessions.get_mut(&relay) else { return Ok(()) };
    let last_resort = if core::mem::replace(&mut s.pool_filled, true) {
        None
    } else {
        let package = ctx.engine.key_package(&mut ctx.tx, true)?;
        Some(Bytes(PackageRecord::sign(key, package, ctx.now.wall_ms, true)))
    };
    s.call(Call::PutPackages { inbox, records, last_resort }, Pending::PutPackages, &mut live.net);
    Ok(())
}
