//! Opening and watching topics at relays, and handing over what they are to
//! keep.

use kith_wire::crypto;
use kith_wire::ids::{DeviceId, EntryId, RelayId, TopicId};
use kith_wire::labels;
use kith_wire::relay::{Call, WATCH_TOPICS_MAX, Watch};
use kith_wire::topic::Right;

use super::session::Pending;
use super::{CREDIT_BYTES, Relays, audit, descriptor, standing};
use crate::ctx::Ctx;
use crate::delivery;
use crate::groups::Reject;
use crate::live::{Live, Timer};
use crate::outbox::COPIES_WANTED;
use crate::people;
use crate::rows::{self, Outgoing, To};

/// Rows in a row that find a relay busy before the rest waits too.
const BUSY_MAX: usize = 64;

/// Opens and watches what is to be watched, and asks relays to keep what
/// waits for them. Runs after every input.
pub(crate) fn pump(ctx: &mut Ctx<'_>, live: &mut Live) -> Result<(), Reject> {
    standing::look(ctx, live)?;
    let ready: Vec<RelayId> =
        live.relays.sessions.iter().filter(|(_, s)| s.ready).map(|(id, _)| *id).collect();
    if ready.is_empty() {
        return Ok(());
    }
    if core::mem::take(&mut live.relays.dirty) {
        for relay in &ready {
            watch(ctx, live, relay)?;
        }
        live.outbox.unpark(|_| true);
        // Another relay may hold what only one does.
        live.outbox.unsettle(|item| item.receipts.len() < COPIES_WANTED);
    }
    let (mut from, mut busy) = (0, 0);
    while let Some(number) = live.outbox.to_offer(from) {
        from = number + 1;
        if append(ctx, live, number)? {
            busy += 1;
            if busy == BUSY_MAX {
                break;
            }
        } else {
            live.outbox.park(number);
        }
    }
    Ok(())
}

fn watch(ctx: &mut Ctx<'_>, live: &mut Live, relay: &RelayId) -> Result<(), Reject> {
    let topics = live.relays.watched_at(relay);
    let Relays { sessions, topics: keys, .. } = &mut live.relays;
    let Some(s) = sessions.get_mut(relay) else { return Ok(()) };
    let first = s.watching.is_empty();
    let mut fresh = Vec::new();
    for topic in &topics {
        let Some(t) = keys.get(topic).filter(|_| !s.watching.contains(topic)) else { continue };
        s.open(&t.keys, Right::Read, &mut live.net);
        if t.group.is_none() {
            s.open(&t.keys, Right::Write, &mut live.net);
        }
        let after = rows::cursor(&ctx.tx, relay, topic)?;
        fresh.push(Watch { topic: *topic, after });
        if t.group.is_some_and(|group| !live.heard.knows(&group)) {
            s.call(Call::Have { topic: *topic, after }, Pending::Listen(*topic), &mut live.net);
        }
    }
    for (i, chunk) in fresh.chunks(WATCH_TOPICS_MAX).enumerate() {
        let credit = if first && i == 0 { CREDIT_BYTES } else { 0 };
        s.watching.extend(chunk.iter().map(|w| w.topic));
        s.call(Call::Watch { topics: chunk.to_vec(), credit }, Pending::Quiet, &mut live.net);
    }
    let gone: Vec<TopicId> = s.watching.iter().filter(|t| !topics.contains(t)).copied().collect();
    for chunk in gone.chunks(WATCH_TOPICS_MAX) {
        s.watching.retain(|t| !chunk.contains(t));
        s.call(Call::Unwatch { topics: chunk.to_vec() }, Pending::Quiet, &mut live.net);
    }
    if first {
        audit::look_soon(s);
        live.at(ctx.now.mono_ms, Timer::Audit);
    }
    Ok(())
}

/// Asks as many relays to keep a row as are wanted and can take it now.
/// `true`: one of them is busy, and is to be asked later.
fn append(ctx: &mut Ctx<'_>, live: &mut Live, number: u64) -> Result<bool, Reject> {
    let Some(item) = live.outbox.get(number) else { return Ok(false) };
    let places = standing::places(live, item);
    if places.missing == 0 {
        if places.enough {
            delivery::keep(ctx, live, number);
        }
        return Ok(false);
    }
    let sessions = &live.relays.sessions;
    let (open, busy): (Vec<RelayId>, Vec<RelayId>) = places
        .open
        .into_iter()
        .filter(|r| sessions.get(r).is_some_and(|s| s.ready))
        .partition(|r| sessions.get(r).is_some_and(super::Session::has_room));
    if open.is_empty() {
        return Ok(!busy.is_empty());
    }
    let Some(row) = Outgoing::load(&ctx.tx, number)? else {
        live.outbox.remove(number);
        return Ok(false);
    };
    let mut missing = places.missing;
    for relay in open {
        if missing == 0 {
            return Ok(false);
        }
        let sent = match &row.to {
            To::Group { topic, .. } => append_group(live, &relay, topic, number, &row.object)?,
            To::Inbox { device, .. } => deliver(ctx, live, &relay, device, number, &row.object)?,
        };
        if sent {
            missing -= 1;
            live.outbox.asked(number, relay);
        }
    }
    Ok(missing > 0 && !busy.is_empty())
}

fn append_group(
    live: &mut Live,
    relay: &RelayId,
    topic: &TopicId,
    number: u64,
    object: &[u8],
) -> Result<bool, Reject> {
    let Relays { sessions, topics, .. } = &mut live.relays;
    let (Some(s), Some(t)) = (sessions.get_mut(relay), topics.get(topic)) else { return Ok(false) };
    if s.writable.insert(*topic) {
        s.open(&t.keys, Right::Write, &mut live.net);
    }
    // The same object always makes the same entry, so that the relay
    // recognises a second try. Only equal plaintexts share a nonce.
    let mut nonce = [0; 24];
    let digest = EntryId::of(object);
    crypto::derive_into(t.keys.secret(), labels::TOPIC_NONCE, &digest.0, &mut nonce);
    let bytes = t.keys.seal(object, &nonce)?;
    let entry = EntryId::of(&bytes);
    let keep_s = s.keep_s();
    s.call(
        Call::append(*topic, bytes, keep_s),
        Pending::Append { number, topic: *topic, entry },
        &mut live.net,
    );
    Ok(true)
}

fn deliver(
    ctx: &Ctx<'_>,
    live: &mut Live,
    relay: &RelayId,
    device: &DeviceId,
    number: u64,
    sealed: &[u8],
) -> Result<bool, Reject> {
    let Some(reach) = people::reach(&ctx.tx, device)? else { return Ok(false) };
    let descriptor = descriptor(&reach.inbox);
    let token = people::token_for(&ctx.tx, device)?;
    let Some(s) = live.relays.sessions.get_mut(relay) else { return Ok(false) };
    let keep_s = s.keep_s();
    let call = match token {
        Some(token) => Call::deliver(&token, descriptor, relay, sealed.to_vec(), keep_s),
        None => {
            let bits = s.statement.as_ref().map_or(0, |st| st.work_bits);
            Call::request(descriptor, relay, bits, sealed.to_vec(), keep_s)?
        }
    };
    let pending = Pending::Append { number, topic: descriptor.id(), entry: EntryId::of(sealed) };
    s.call(call, pending, &mut live.net);
    Ok(true)
}
