//! Opening topics, starting them, and what they are charged.

use kith_wire::ids::TopicId;
use kith_wire::relay::{Answer, Code, Refusal};
use kith_wire::topic::{Descriptor, LinkContext, Right};

use super::link::Link;
use super::{Ctx, RETRY_FULL_MS, RETRY_OTHERS_MS, Stop, no};
use crate::rows::{Charge, Counter, Expiry, Topic, Usage, entry};

/// What one entry, chunk or package costs beside its bytes: its rows.
pub(super) const OVERHEAD_BYTES: u64 = 256;
/// How exactly the last opening of a topic is remembered, ms.
pub(super) const SEEN_STEP_MS: u64 = 24 * 3_600_000;

pub(super) fn open(
    ctx: &mut Ctx<'_>,
    link: &mut Link,
    descriptor: Descriptor,
    right: Right,
    proof: &[u8; 64],
) -> Result<Answer, Stop> {
    let context = LinkContext { relay: &ctx.relay.id, client: &link.client, nonce: &link.nonce };
    if context.verify(&descriptor, right, proof).is_err() {
        return no(Code::Proof);
    }
    let id = descriptor.id();
    let mut topic = match Topic::load(&ctx.tx, &id)? {
        Some(topic) => topic,
        None => start(ctx, link, &id, descriptor)?,
    };
    link.record(id, right, ctx.relay.limits.open_topics)?;
    if ctx.now.wall_ms >= topic.seen_ms.saturating_add(SEEN_STEP_MS) {
        topic.seen_ms = ctx.now.wall_ms;
        topic.save(&mut ctx.tx, &id);
    }
    let left = left(ctx, &id, &topic, &link.charge)?;
    Ok(Answer::Opened { next: topic.next, left, packages: topic.packages })
}

/// Starts a topic. Only members may: what others use, a member stands for.
fn start(ctx: &mut Ctx<'_>, link: &Link, id: &TopicId, descriptor: Descriptor) -> Result<Topic, Stop> {
    let limits = &ctx.relay.limits;
    if !link.member {
        return Err(Refusal::of(Code::Admission).retry_ms(RETRY_OTHERS_MS).into());
    }
    let mut usage = Usage::of(&ctx.tx, &link.charge)?;
    if usage.topics >= limits.sender_topics {
        return Err(Refusal::of(Code::TooMany).limit(limits.sender_topics).retry_ms(RETRY_FULL_MS).into());
    }
    let mut total = Usage::total(&ctx.tx)?;
    if total.topics >= limits.total_topics {
        return Err(Refusal::of(Code::RelayFull).limit(limits.total_topics).retry_ms(RETRY_FULL_MS).into());
    }
    usage.topics += 1;
    usage.save(&mut ctx.tx, &link.charge);
    total.topics += 1;
    total.save_total(&mut ctx.tx);
    let topic = Topic {
        descriptor,
        starter: link.charge,
        // A topic that ended and is started again goes on above all indexes
        // that it ever gave out, so no reader's cursor is ahead of it.
        next: ctx.now.wall_ms.max(1),
        used: 0,
        objects: 0,
        packages: 0,
        next_package: 1,
        tokens: 0,
        requests: 0,
        seen_ms: ctx.now.wall_ms,
    };
    topic.save(&mut ctx.tx, id);
    let end_ms = idle_end(ctx);
    Expiry::Topic { topic: *id }.put(&mut ctx.tx, end_ms);
    Ok(topic)
}

/// When a topic that nobody opens from now on may end.
pub(super) fn idle_end(ctx: &Ctx<'_>) -> u64 {
    let retention_ms = ctx.relay.limits.retention_s.saturating_mul(1000);
    ctx.now.wall_ms.saturating_add(retention_ms).saturating_add(2 * SEEN_STEP_MS)
}

fn left(ctx: &Ctx<'_>, id: &TopicId, topic: &Topic, charge: &Charge) -> Result<u64, Stop> {
    let limits = &ctx.relay.limits;
    let share = Counter::Share.load(&ctx.tx, id, charge)?;
    Ok([
        limits.share_bytes().saturating_sub(share),
        limits.topic_bytes.saturating_sub(topic.used),
        limits.sender_bytes.saturating_sub(Usage::of(&ctx.tx, charge)?.bytes),
        limits.total_bytes.saturating_sub(Usage::total(&ctx.tx)?.bytes),
    ]
    .into_iter()
    .min()
    .unwrap_or(0))
}

/// Charges bytes to topic, sender and relay, or refuses with the first limit
/// met. The caller saves the topic.
pub(super) fn charge(
    ctx: &mut Ctx<'_>,
    id: &TopicId,
    topic: &mut Topic,
    charge: &Charge,
    bytes: u64,
) -> Result<(), Stop> {
    let limits = &ctx.relay.limits;
    let share = Counter::Share.load(&ctx.tx, id, charge)?.saturating_add(bytes);
    let mut usage = Usage::of(&ctx.tx, charge)?;
    let mut total = Usage::total(&ctx.tx)?;
    let used = topic.used.saturating_add(bytes);
    usage.bytes = usage.bytes.saturating_add(bytes);
    total.bytes = total.bytes.saturating_add(bytes);
    for (is, max, code) in [
        (used, limits.topic_bytes, Code::TopicFull),
        (share, limits.share_bytes(), Code::ShareFull),
        (usage.bytes, limits.sender_bytes, Code::QuotaFull),
        (total.bytes, limits.total_bytes, Code::RelayFull),
    ] {
        if is > max {
            return Err(Refusal::of(code).limit(max).retry_ms(frees_in(ctx, id)?).into());
        }
    }
    topic.used = used;
    Counter::Share.save(&mut ctx.tx, id, charge, share);
    usage.save(&mut ctx.tx, charge);
    total.save_total(&mut ctx.tx);
    Ok(())
}

/// Takes a charge back. The caller saves the topic.
pub(super) fn credit(
    ctx: &mut Ctx<'_>,
    id: &TopicId,
    topic: &mut Topic,
    charge: &Charge,
    bytes: u64,
) -> Result<(), Stop> {
    let share = Counter::Share.load(&ctx.tx, id, charge)?.saturating_sub(bytes);
    let mut usage = Usage::of(&ctx.tx, charge)?;
    let mut total = Usage::total(&ctx.tx)?;
    topic.used = topic.used.saturating_sub(bytes);
    usage.bytes = usage.bytes.saturating_sub(bytes);
    total.bytes = total.bytes.saturating_sub(bytes);
    Counter::Share.save(&mut ctx.tx, id, charge, share);
    usage.save(&mut ctx.tx, charge);
    total.save_total(&mut ctx.tx);
    Ok(())
}

/// Milliseconds until the oldest entry of a topic ends.
fn frees_in(ctx: &Ctx<'_>, id: &TopicId) -> Result<u64, Stop> {
    let oldest = entry::behind(&ctx.tx, id, 0, 1)?;
    Ok(oldest.first().map_or(RETRY_FULL_MS, |(_, meta)| meta.until_ms.saturating_sub(ctx.now.wall_ms).max(1)))
}

/// The end of something that is kept for so long, Unix ms.
pub(super) fn keep_until(ctx: &Ctx<'_>, keep_s: u64) -> Result<u64, Stop> {
    let max = ctx.relay.limits.retention_s;
    if keep_s == 0 || keep_s > max {
        return Err(Refusal::of(Code::Keep).limit(max).into());
    }
    Ok(ctx.now.wall_ms.saturating_add(keep_s.saturating_mul(1000)))
}
