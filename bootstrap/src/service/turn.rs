//! Minting credentials for the TURN server beside the log.

use data_encoding::HEXLOWER;
use kith_wire::ids::hash;
use kith_wire::labels;
use kith_wire::relay::{Answer, Code, Refusal, Turn};

use super::link::Link;
use super::{Ctx, Stop, no};
use crate::turn::credentials::Secrets;

/// Credentials that one link may have at once, and how long it waits for one
/// more, ms.
const BURST: u64 = 8;
const EVERY_MS: u64 = 30_000;
/// Bytes of the random part of a user name.
const ID_BYTES: usize = 10;

/// What members are told of the TURN server.
#[derive(Debug, Clone)]
pub struct TurnSetup {
    /// Its addresses, as browsers want them.
    pub urls: Vec<String>,
    /// Shared with it.
    pub secrets: Secrets,
    /// How long new allocations are granted, seconds.
    pub valid_s: u64,
}

/// What one link was given.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Minted {
    count: u64,
    /// Allowance used up, in ms of waiting.
    used_ms: u64,
    at_ms: u64,
}

/// Credentials for a member. The user name is random: whoever relays the media
/// cannot tie it to a link.
pub(super) fn mint(ctx: &Ctx<'_>, link: &mut Link) -> Result<Answer, Stop> {
    let Some(setup) = &ctx.relay.turn else { return no(Code::NotOffered) };
    if !link.member {
        return no(Code::Admission);
    }
    let minted = &mut link.turns;
    let elapsed = ctx.now.mono_ms.saturating_sub(minted.at_ms);
    minted.at_ms = ctx.now.mono_ms;
    minted.used_ms = minted.used_ms.saturating_sub(elapsed);
    let used_ms = minted.used_ms + EVERY_MS;
    if let Some(wait) = used_ms.checked_sub(BURST * EVERY_MS).filter(|wait| *wait > 0) {
        return Err(Refusal::of(Code::Rate).limit(BURST).retry_ms(wait).into());
    }
    minted.used_ms = used_ms;
    minted.count += 1;
    let id =
        hash(labels::ID_TURN_USER, &[&ctx.relay.charge_secret, &link.nonce, &link.turns.count.to_be_bytes()]);
    let end_s = ctx.now.wall_ms / 1000 + setup.valid_s;
    let id = HEXLOWER.encode(id.get(..ID_BYTES).unwrap_or_default());
    let (username, credential) = setup.secrets.mint(end_s, &id);
    let turn = Turn { urls: setup.urls.clone(), username, credential, valid_s: setup.valid_s };
    Ok(Answer::Turn { turn })
}
