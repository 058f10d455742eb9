//! Credentials of the TURN servers beside the own relays, renewed before they
//! end, so that a call finds them ready.

use kith_wire::ids::RelayId;
use kith_wire::relay::{Call, Turn};

use super::session::Pending;
use crate::ctx::Ctx;
use crate::live::{Live, Timer};
use crate::view;

/// TURN servers that one call is told about: browsers gather slowly with more.
const SERVERS_MAX: usize = 2;
/// Credentials that hold longer than this are treated as if they held so
/// long, seconds.
const VALID_S_MAX: u64 = 24 * 3600;

/// Asks an own relay for credentials; one without TURN refuses, which is no
/// problem.
pub(super) fn ask(live: &mut Live, relay: &RelayId) {
    if let Some(s) = live.relays.sessions.get_mut(relay).filter(|s| s.own && s.ready) {
        s.call(Call::Turn {}, Pending::Turn, &mut live.net);
    }
}

/// A relay has granted credentials.
pub(super) fn granted(ctx: &Ctx<'_>, live: &mut Live, relay: &RelayId, turn: Turn) {
    let valid_ms = turn.valid_s.min(VALID_S_MAX) * 1000;
    if let Some(s) = live.relays.sessions.get_mut(relay) {
        s.turn = Some((turn, ctx.now.mono_ms.saturating_add(valid_ms)));
        live.at(ctx.now.mono_ms + valid_ms / 4 * 3, Timer::Turn(*relay));
    }
}

/// Asks for new credentials before the old ones end.
pub(crate) fn renew(live: &mut Live, relay: &RelayId) {
    ask(live, relay);
}

/// What a call may use now.
pub(crate) fn servers(live: &Live, mono_ms: u64) -> Vec<view::TurnServer> {
    let valid = live.relays.sessions.values().filter(|s| s.own).filter_map(|s| {
        let (turn, until) = s.turn.as_ref()?;
        let valid_s = until.saturating_sub(mono_ms) / 1000;
        (valid_s > 0).then(|| view::TurnServer {
            relay: s.relay.name.clone(),
            urls: turn.urls.clone(),
            username: turn.username.clone(),
            credential: turn.credential.clone(),
            valid_s,
        })
    });
    valid.take(SERVERS_MAX).collect()
}
