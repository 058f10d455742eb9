//! Bringing objects to their devices and relays, and what is known of where
//! they are: acknowledgements, receipts, read marks.

use std::collections::BTreeSet;

use kith_store::StoreError;
use kith_wire::ids::{AccountId, DeviceId, GroupId, RelayId, StateId, TopicId};

use crate::ctx::Ctx;
use crate::links::Token;
use crate::live::Live;
use crate::outbox::DIRECT_MS;
use crate::rows::{self, Outgoing, Progress, RelayStanding, RelayWord, Sent, To};

/// How long relays are looked after closely once something had to leave, ms.
const ATTENTIVE_MS: u64 = 120_000;
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
    live.attentive_until = ctx.now.mono_ms + ATTENTIVE_MS;
    let number = live.outbox.take_number();
    let row = Outgoing { number, to: to.clone(), object, created_at: ctx.now.wall_ms };
    row.save(&mut ctx.tx);
    live.outbox.insert(number, to, row.object.len(), pending, ctx.now.mono_ms + DIRECT_MS);
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
        forget(ctx, live, number);
    }
    Ok(())
}

fn forget(ctx: &mut Ctx<'_>, live: &mut Live, number: u64) {
    Outgoing::delete(&mut ctx.tx, number);
    if live.outbox.remove(number).is_some_and(|item| item.noted > 0) {
        Outgoing::delete_kept(&mut ctx.tx, number);
    }
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
            forget(ctx, live, number);
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
    said(ctx, live, number, relay, Ok(until))
}

/// A relay refused a row: another one may take it.
pub(crate) fn refused(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    number: u64,
    relay: (RelayId, &str),
    problem: &str,
) -> Result<(), StoreError> {
    said(ctx, live, number, relay, Err(problem))
}

fn said(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    number: u64,
    (relay, name): (RelayId, &str),
    said: Result<u64, &str>,
) -> Result<(), StoreError> {
    let Some(item) = live.outbox.answered(number, relay, said.ok()) else { return Ok(()) };
    live.network_changed = true;
    let To::Group { group, seq: Some(seq), .. } = item.to else { return Ok(()) };
    let Some(mut sent) = Sent::load(&ctx.tx, &group, seq)? else { return Ok(()) };
    sent.note(RelayWord {
        relay,
        name: name.to_owned(),
        until: said.ok(),
        problem: said.err().map(str::to_owned),
    });
    sent.save(&mut ctx.tx, &group, seq);
    redraw(ctx, live, &group, seq.saturating_sub(1), seq)
}

/// Enough relays hold a row: it is kept only in case that one of them fails.
pub(crate) fn keep(ctx: &mut Ctx<'_>, live: &mut Live, number: u64) {
    let Some(item) = live.outbox.get(number) else { return };
    if item.noted != item.receipts.len() {
        let at = item.receipts.iter().map(|(relay, until)| (*relay, *until)).collect();
        Outgoing::set_kept(&mut ctx.tx, number, &at);
        live.outbox.noted(number);
    }
    live.outbox.keep(number);
    live.network_changed = true;
    while let Some(oldest) = live.outbox.too_many_kept() {
        forget(ctx, live, oldest);
    }
}

/// Forgets rows that no relay holds any more.
pub(crate) fn end_kept(ctx: &mut Ctx<'_>, live: &mut Live) {
    for number in live.outbox.ended(ctx.now.wall_ms) {
        forget(ctx, live, number);
    }
}

/// A relay's receipts count no more, or again: what it was to hold goes to
/// another one.
pub(crate) fn standing_changed(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    relay: &RelayId,
    standing: Option<RelayStanding>,
) -> Result<(), StoreError> {
    let again = match standing {
        Some(_) => live.outbox.unsettle(|item| item.receipts.contains_key(relay)),
        // Rows with too few copies may have another one now.
        None => live.outbox.unsettle(|item| !item.receipts.contains_key(relay)),
    };
    // Rows that wait for it, too.
    live.outbox.unpark(|_| true);
    let mut redrawn = 0;
    for (_, to) in &again {
        if let To::Group { group, seq: Some(seq), .. } = to
            && redrawn < REDRAW_MAX
        {
            redrawn += 1;
            redraw(ctx, live, group, seq.saturating_sub(1), *seq)?;
        }
    }
    if standing == Some(RelayStanding::Silent)
        && again.iter().any(|(_, to)| matches!(to, To::Group { seq: Some(_), .. } | To::Inbox { .. }))
    {
        let name = live.relays.name_of(relay).unwrap_or_default();
        live.notice(
            None,
            "relay_replaced",
            format!("{name} does not answer. What it keeps for others is brought to another relay."),
        );
    }
    Ok(())
}
