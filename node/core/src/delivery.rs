//! Bringing objects to their devices and relays, and what is known of where
//! they are: acknowledgements, receipts, read marks.

use std::collections::BTreeSet;

use kith_store::StoreError;
use kith_wire::ids::{AccountId, DeviceId, GroupId, RelayId, StateId, TopicId};

use crate::ctx::Ctx;
use crate::links::Token;
use crate::live::Live;
use crate::outbox::{DIRECT_MS, RECEIPTS_WANTED};
use crate::rows::{self, Outgoing, Progress, Sent, To};

/// Own messages that one acknowledgement redraws at most.
const REDRAW_MAX: usize = 200;

/// Stores an object for the members of a group and sends it where it can go.
pub(crate) fn enqueue_group(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    (group, state, topic): (GroupId, StateId, TopicId),
    seq: Option<u64>,
    object: Vec<u8>,
) -> Result<(), StoreError> {
    let pending: BTreeSet<DeviceId> =
        rows::audience(&ctx.tx, &group, &state)?.into_iter().map(|(d, _)| d).collect();
    if pending.is_empty() {
        return Ok(());
    }
    enqueue(ctx, live, To::Group { group, state, topic, seq }, pending, object);
    Ok(())
}

/// Stores a sealed inbox entry for a device and sends it where it can go.
pub(crate) fn enqueue_inbox(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    account: AccountId,
    device: DeviceId,
    sealed: Vec<u8>,
) {
    enqueue(ctx, live, To::Inbox { account, device }, BTreeSet::from([device]), sealed);
}

fn enqueue(ctx: &mut Ctx<'_>, live: &mut Live, to: To, pending: BTreeSet<DeviceId>, object: Vec<u8>) {
    let number = live.outbox.take_number();
    let row = Outgoing { number, to: to.clone(), object, created_at: ctx.now.wall_ms };
    row.save(&mut ctx.tx);
    live.outbox.insert(number, to, pending, ctx.now.mono_ms + DIRECT_MS);
    offer(live, number, &row.object, None);
}

/// Sends a row over the links that stand (or only `to` one device); whoever
/// has none is served through relays.
fn offer(live: &mut Live, number: u64, object: &[u8], only: Option<DeviceId>) {
    let Some(item) = live.outbox.get(number) else { return };
    let (to, pending) = (item.to.clone(), item.pending.clone());
    let mut missing = false;
    for device in pending.iter().filter(|d| only.is_none_or(|o| o == **d)) {
        let link = match &to {
            To::Group { .. } => live.links.of_device(device),
            To::Inbox { .. } => live.links.for_inbox(device),
        };
        let sent = match (&to, link) {
            (To::Group { group, .. }, Some(link))
                if live.links.get(link).is_some_and(|l| l.synced.contains(group)) =>
            {
                live.links.send_object(link, *group, object.to_vec(), Token::Item(number), &mut live.net)
            }
            (To::Inbox { .. }, Some(link)) => {
                live.links.send_inbox(link, object.to_vec(), Token::Item(number), &mut live.net)
            }
            _ => false,
        };
        missing |= !sent;
    }
    if missing {
        live.outbox.want_relay(number);
    }
}

/// A device proved itself: what waits for its inbox goes to it.
pub(crate) fn offer_inbox(ctx: &Ctx<'_>, live: &mut Live, device: &DeviceId) -> Result<(), StoreError> {
    for number in live.outbox.inbox_of(device) {
        if let Some(row) = Outgoing::load(&ctx.tx, number)? {
            offer(live, number, &row.object, Some(*device));
        }
    }
    Ok(())
}

/// A linked device answered an object.
pub(crate) fn answered(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    device: DeviceId,
    token: Token,
) -> Result<(), StoreError> {
    match token {
        Token::Part => Ok(()),
        Token::Item(number) => reached(ctx, live, number, &device),
        Token::Synced { group, below, .. } => {
            for number in live.outbox.of_group(&group, below) {
                reached(ctx, live, number, &device)?;
            }
            Ok(())
        }
    }
}

fn reached(ctx: &mut Ctx<'_>, live: &mut Live, number: u64, device: &DeviceId) -> Result<(), StoreError> {
    let Some(item) = live.outbox.get(number) else { return Ok(()) };
    if let To::Group { group, seq: Some(seq), .. } = item.to {
        acked(ctx, live, group, *device, seq)?;
    }
    if live.outbox.reached(number, device) {
        Outgoing::delete(&mut ctx.tx, number);
        live.outbox.remove(number);
    }
    Ok(())
}

/// A device has own events of a group up to `seq`.
pub(crate) fn acked(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    group: GroupId,
    device: DeviceId,
    seq: u64,
) -> Result<(), StoreError> {
    let before = advance(ctx, &group, device, |p, now| {
        let before = p.acked;
        if seq > before {
            (p.acked, p.acked_at) = (seq, now);
        }
        before
    })?;
    if seq > before {
        redraw(ctx, live, &group, before, seq)?;
        for number in live.outbox.reached_up_to(&group, &device, seq) {
            Outgoing::delete(&mut ctx.tx, number);
            live.outbox.remove(number);
        }
    }
    Ok(())
}

/// A device's person has read own events of a group up to `seq`.
pub(crate) fn was_read(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    group: GroupId,
    device: DeviceId,
    seq: u64,
) -> Result<(), StoreError> {
    acked(ctx, live, group, device, seq)?;
    let before = advance(ctx, &group, device, |p, now| {
        let before = p.read;
        if seq > before {
            (p.read, p.read_at) = (seq, now);
        }
        before
    })?;
    if seq > before { redraw(ctx, live, &group, before, seq) } else { Ok(()) }
}

fn advance(
    ctx: &mut Ctx<'_>,
    group: &GroupId,
    device: DeviceId,
    change: impl FnOnce(&mut Progress, u64) -> u64,
) -> Result<u64, StoreError> {
    let mut rows = rows::progress(&ctx.tx, group)?;
    let at = match rows.iter().position(|p| p.device == device) {
        Some(at) => at,
        None => {
            rows.push(Progress { device, acked: 0, acked_at: 0, read: 0, read_at: 0 });
            rows.len() - 1
        }
    };
    let Some(row) = rows.get_mut(at) else { return Ok(0) };
    let old = row.clone();
    let before = change(row, ctx.now.wall_ms);
    if *row != old {
        rows::set_progress(&mut ctx.tx, group, &rows);
    }
    Ok(before)
}

/// Own messages with seq in `(after, up_to]` look different now.
fn redraw(ctx: &Ctx<'_>, live: &mut Live, group: &GroupId, after: u64, up_to: u64) -> Result<(), StoreError> {
    for sent in Sent::range(&ctx.tx, group, after, up_to, REDRAW_MAX)? {
        if let Some(place) = rows::Entry::place(&ctx.tx, &sent.event)? {
            live.touched.insert(place);
            live.changed.insert(place.0);
        }
    }
    Ok(())
}

/// A relay signed that it keeps a row until `until`.
pub(crate) fn stored(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    number: u64,
    relay: (RelayId, &str),
    until: u64,
) -> Result<(), StoreError> {
    let Some(item) = live.outbox.answered(number, relay.0, true) else { return Ok(()) };
    let (to, receipts) = (item.to.clone(), item.receipts.len());
    if let To::Group { group, seq: Some(seq), .. } = &to
        && let Some(mut sent) = Sent::load(&ctx.tx, group, *seq)?
    {
        sent.receipts.retain(|(name, _)| name != relay.1);
        sent.receipts.push((relay.1.to_owned(), until));
        sent.save(&mut ctx.tx, group, *seq);
        redraw(ctx, live, group, seq.saturating_sub(1), *seq)?;
    }
    let wanted = live.relays.count_for(&to).clamp(1, RECEIPTS_WANTED);
    if receipts >= wanted {
        Outgoing::delete(&mut ctx.tx, number);
        live.outbox.remove(number);
    }
    live.network_changed = true;
    Ok(())
}
