//! What a relay's receipts are worth, and which relays take an object: as many
//! as are wanted, in an order that differs from topic to topic, and the next one
//! in place of each that is full, away or found lying.
//!
//! A relay counts as away only while another one answers: when the own network
//! is cut, all of them are silent, and none of them is to blame.

use kith_wire::ids::RelayId;
use sha2::{Digest as _, Sha256};

use crate::ctx::Ctx;
use crate::delivery;
use crate::groups::Reject;
use crate::live::{Live, Timer};
use crate::outbox::{COPIES_WANTED, Item};
use crate::rows::{self, RelayStanding, To};

/// How long a relay that stood may be away before others take its place, ms.
const AWAY_MS: u64 = 3_000;
/// How long one may take to be there at first, ms.
const COMING_MS: u64 = 20_000;

/// Where a row stands with relays.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Places {
    /// Relays that may be asked for it, the preferred ones first.
    pub(super) open: Vec<RelayId>,
    /// How many have to be asked besides those that were.
    pub(super) missing: usize,
    /// As many hold it as can.
    pub(super) enough: bool,
}

/// Relays that take objects for this destination, the preferred ones first.
fn candidates(live: &Live, to: &To) -> Vec<RelayId> {
    let (place, of) = match to {
        To::Group { group, topic, .. } => (topic.0, live.relays.relays_of(group)),
        To::Inbox { device, .. } => (device.0, live.card_relays(device)),
    };
    let mut all: Vec<RelayId> = of
        .into_iter()
        .filter(|r| live.relays.sessions.contains_key(r) && !live.relays.standings.contains_key(r))
        .collect();
    // Another order for each topic: no relay is the first one for everything.
    all.sort_by_cached_key(|r| rank(&place, r));
    all
}

fn rank(place: &[u8; 32], relay: &RelayId) -> [u8; 32] {
    Sha256::new_with_prefix(place).chain_update(relay.0).finalize().into()
}

/// Where a row stands.
pub(super) fn places(live: &Live, item: &Item) -> Places {
    choose(&candidates(live, &item.to), item)
}

/// `candidates`: those that stand well.
fn choose(candidates: &[RelayId], item: &Item) -> Places {
    let takes = |r: &&RelayId| !item.refused.contains(*r);
    let wanted = candidates.iter().filter(takes).count().clamp(1, COPIES_WANTED);
    let hold = candidates.iter().filter(|r| item.receipts.contains_key(*r)).count();
    let asked = candidates.iter().filter(|r| item.asked.contains(*r)).count();
    let open = candidates
        .iter()
        .filter(takes)
        .filter(|r| !item.asked.contains(*r) && !item.receipts.contains_key(*r))
        .copied()
        .collect();
    Places { open, missing: wanted.saturating_sub(hold + asked), enough: hold >= wanted }
}

/// Notes who is there and who is not. Runs before rows are offered.
pub(super) fn look(ctx: &mut Ctx<'_>, live: &mut Live) -> Result<(), Reject> {
    let now = ctx.now.mono_ms;
    let up = live.relays.sessions.values().any(|s| s.ready);
    let some_up_since = if up { Some(*live.relays.some_up_since.get_or_insert(now)) } else { None };
    live.relays.some_up_since = some_up_since;
    let mut changed = Vec::new();
    let mut next: Option<u64> = None;
    for (id, s) in &mut live.relays.sessions {
        if s.ready {
            (s.away_since, s.stood) = (None, true);
        } else {
            s.away_since.get_or_insert(now);
        }
        let silent = match (s.away_since, some_up_since) {
            (Some(away), Some(up)) => {
                let at = away.max(up) + if s.stood { AWAY_MS } else { COMING_MS };
                if at > now {
                    next = Some(next.map_or(at, |n| n.min(at)));
                }
                at <= now
            }
            _ => false,
        };
        let before = live.relays.standings.get(id).copied();
        let after = match (s.lied, before) {
            (true, _) => Some(RelayStanding::Lied),
            (false, _) if silent => Some(RelayStanding::Silent),
            // It stays away until it is there.
            (false, Some(RelayStanding::Silent)) if !s.ready => before,
            (false, _) => None,
        };
        if before != after {
            changed.push((*id, after));
        }
    }
    if let Some(at) = next {
        live.at(at, Timer::Standing);
    }
    if changed.is_empty() {
        return Ok(());
    }
    for (id, after) in &changed {
        match after {
            Some(standing) => live.relays.standings.insert(*id, *standing),
            None => live.relays.standings.remove(id),
        };
    }
    rows::set_relay_standings(&mut ctx.tx, &live.relays.standings);
    live.network_changed = true;
    for (id, after) in changed {
        delivery::standing_changed(ctx, live, &id, after)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::outbox::Outbox;
    use kith_wire::ids::{AccountId, DeviceId};

    fn relay(n: u8) -> RelayId {
        RelayId([n; 32])
    }

    fn item(asked: &[u8], receipts: &[u8], refused: &[u8]) -> Outbox {
        let mut outbox = Outbox::default();
        let to = To::Inbox { account: AccountId([1; 32]), device: DeviceId([1; 32]) };
        outbox.insert(0, to, 9, BTreeSet::from([DeviceId([1; 32])]), 0);
        for n in asked {
            outbox.asked(0, relay(*n));
        }
        for n in receipts {
            outbox.answered(0, relay(*n), Some(1));
        }
        for n in refused {
            outbox.answered(0, relay(*n), None);
        }
        outbox
    }

    /// Relays that stand well, asked, signed, refused: who is open, how many
    /// are missing, whether it is enough.
    #[test]
    fn each_that_is_away_or_refuses_is_replaced_by_the_next() {
        type Case<'a> = (&'a [u8], &'a [u8], &'a [u8], &'a [u8], &'a [u8], usize, bool);
        let table: &[Case<'_>] = &[
            (&[1, 2, 3], &[], &[], &[], &[1, 2, 3], 2, false),
            (&[1, 2, 3], &[1, 2], &[], &[], &[3], 0, false),
            (&[1, 2, 3], &[2], &[1], &[], &[3], 0, false),
            (&[1, 2, 3], &[], &[1, 2], &[], &[3], 0, true),
            // One refuses: the third.
            (&[1, 2, 3], &[], &[1], &[2], &[3], 1, false),
            // One that signed is away or has lied: it is no candidate.
            (&[2, 3], &[], &[1, 2], &[], &[3], 1, false),
            // One that was asked is away.
            (&[2, 3], &[1, 2], &[], &[], &[3], 1, false),
            // Nobody is left to ask: one copy is enough.
            (&[1], &[], &[1, 2], &[], &[], 0, true),
            (&[1, 2], &[], &[1], &[2], &[], 0, true),
            // Nobody holds it, nobody can be asked: that is not enough.
            (&[], &[], &[], &[], &[], 1, false),
            (&[1], &[], &[], &[1], &[], 1, false),
        ];
        for (candidates, asked, receipts, refused, open, missing, enough) in table {
            let candidates: Vec<RelayId> = candidates.iter().map(|n| relay(*n)).collect();
            let outbox = item(asked, receipts, refused);
            let places = choose(&candidates, outbox.get(0).unwrap());
            let open = open.iter().map(|n| relay(*n)).collect();
            assert_eq!(places, Places { open, missing: *missing, enough: *enough });
        }
    }

    #[test]
    fn topics_spread_over_relays() {
        let mut first = BTreeMap::new();
        for topic in 0..100u8 {
            let best = (1..=3).min_by_key(|n| rank(&[topic; 32], &relay(*n))).unwrap();
            *first.entry(best).or_insert(0) += 1;
        }
        assert!(first.len() == 3 && first.values().all(|n| *n > 15), "{first:?}");
    }
}
