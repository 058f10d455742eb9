//! Inboxes: delivery with tokens, requests against work, key packages.

use kith_wire::ids::{EntryId, TopicId};
use kith_wire::relay::{
    Answer, Bytes, Code, PACKAGE_RECORD_BYTES_MAX, PACKAGES_PER_CALL_MAX, Refusal, work_holds,
};
use kith_wire::topic::{Descriptor, Mode, Right, Token};

use super::link::Link;
use super::log::{self, Item};
use super::topics::{self, OVERHEAD_BYTES};
use super::{Ctx, Effect, RETRY_FULL_MS, RETRY_OTHERS_MS, Stop, no};
use crate::rows::{self, Counter, Expiry, Package, TokenUse, Topic, package};

/// Tokens of one inbox that the relay counts uses of.
const TOKENS_PER_INBOX_MAX: u64 = 8_192;
/// How far ahead a token may end, ms: its count is kept until then.
const TOKEN_LIFE_MS_MAX: u64 = 400 * 24 * 3_600_000;
/// Key packages that one token may take, whatever it says itself.
pub(super) const TAKES_PER_TOKEN_MAX: u64 = 256;
/// The owner is told when so many key packages are left.
const PACKAGES_LOW: u64 = 8;

/// The inbox that a call names; a guest's call never starts one.
fn inbox(ctx: &Ctx<'_>, descriptor: &Descriptor) -> Result<(TopicId, Topic), Stop> {
    if descriptor.mode != Mode::Inbox {
        return no(Code::Mode);
    }
    let id = descriptor.id();
    match Topic::load(&ctx.tx, &id)? {
        Some(topic) => Ok((id, topic)),
        // Only its owner can start it, by opening it.
        None => Err(Refusal::of(Code::NotFound).retry_ms(RETRY_OTHERS_MS).into()),
    }
}

/// A token that the inbox issued, that has not ended and whose key signed
/// this use.
fn verified(
    ctx: &Ctx<'_>,
    inbox: &Descriptor,
    token: &[u8],
    what: &EntryId,
    proof: &[u8; 64],
) -> Result<Token, Stop> {
    let Ok(token) = Token::verify(token, inbox) else { return no(Code::TokenInvalid) };
    if token.verify_use(&ctx.relay.id, what, proof).is_err() {
        return no(Code::TokenInvalid);
    }
    if token.expires_ms <= ctx.now.wall_ms {
        return no(Code::TokenExpired);
    }
    if token.expires_ms > ctx.now.wall_ms.saturating_add(TOKEN_LIFE_MS_MAX) {
        return Err(Refusal::of(Code::TokenInvalid).limit(TOKEN_LIFE_MS_MAX / 1000).into());
    }
    Ok(token)
}

/// The count of a token; its first use here makes the row and changes
/// `topic`, which the caller saves.
fn uses(ctx: &mut Ctx<'_>, id: &TopicId, topic: &mut Topic, token: &Token) -> Result<TokenUse, Stop> {
    if let Some(uses) = rows::token::load(&ctx.tx, id, &token.key)? {
        return Ok(uses);
    }
    if topic.tokens >= TOKENS_PER_INBOX_MAX {
        return Err(Refusal::of(Code::TooMany).limit(TOKENS_PER_INBOX_MAX).retry_ms(RETRY_FULL_MS).into());
    }
    topic.tokens += 1;
    Expiry::Token { topic: *id, key: token.key }.put(&mut ctx.tx, token.expires_ms);
    Ok(TokenUse::default())
}

pub(super) fn deliver(
    ctx: &mut Ctx<'_>,
    link: &Link,
    descriptor: &Descriptor,
    token: &[u8],
    proof: &[u8; 64],
    item: Item,
) -> Result<Answer, Stop> {
    log::check(&item)?;
    let (id, mut topic) = inbox(ctx, descriptor)?;
    let token = verified(ctx, descriptor, token, &item.id, proof)?;
    if let Some(receipt) = log::known(ctx, &id, &mut topic, &item.id)? {
        return Ok(receipt);
    }
    let mut count = uses(ctx, &id, &mut topic, &token)?;
    if count.uses >= u64::from(token.uses) {
        return Err(Refusal::of(Code::TokenUsed).limit(u64::from(token.uses)).into());
    }
    count.uses += 1;
    rows::token::save(&mut ctx.tx, &id, &token.key, count);
    log::store(ctx, &id, topic, &link.charge, item, false)
}

pub(super) fn request(
    ctx: &mut Ctx<'_>,
    link: &Link,
    descriptor: &Descriptor,
    work: u64,
    item: Item,
) -> Result<Answer, Stop> {
    log::check(&item)?;
    let limits = &ctx.relay.limits;
    if !work_holds(&ctx.relay.id, &item.id, work, limits.work_bits) {
        return Err(Refusal::of(Code::Work).limit(u64::from(limits.work_bits)).into());
    }
    let (id, mut topic) = inbox(ctx, descriptor)?;
    if let Some(receipt) = log::known(ctx, &id, &mut topic, &item.id)? {
        return Ok(receipt);
    }
    let len = item.bytes.len() as u64;
    let share = Counter::Requests.load(&ctx.tx, &id, &link.charge)?.saturating_add(len);
    let all = topic.requests.saturating_add(len);
    let max = limits.request_bytes;
    for (is, max) in [(all, max), (share, max / 4)] {
        if is > max {
            return Err(Refusal::of(Code::RequestsFull).limit(max).retry_ms(RETRY_FULL_MS).into());
        }
    }
    topic.requests = all;
    Counter::Requests.save(&mut ctx.tx, &id, &link.charge, share);
    log::store(ctx, &id, topic, &link.charge, item, true)
}

fn cost(record: &[u8]) -> u64 {
    record.len() as u64 + OVERHEAD_BYTES
}

pub(super) fn put_packages(
    ctx: &mut Ctx<'_>,
    link: &Link,
    id: TopicId,
    records: Vec<Bytes>,
    last_resort: Option<Bytes>,
) -> Result<Answer, Stop> {
    link.need(&id, Right::Write)?;
    let limits = &ctx.relay.limits;
    if records.len() > PACKAGES_PER_CALL_MAX {
        return Err(Refusal::of(Code::TooMany).limit(PACKAGES_PER_CALL_MAX as u64).into());
    }
    let sound = |r: &Bytes| !r.0.is_empty() && r.0.len() <= PACKAGE_RECORD_BYTES_MAX;
    if !records.iter().chain(&last_resort).all(sound) {
        return Err(Refusal::of(Code::Size).limit(PACKAGE_RECORD_BYTES_MAX as u64).into());
    }
    let mut topic = log::load(ctx, &id)?;
    if topic.descriptor.mode != Mode::Inbox {
        return no(Code::Mode);
    }
    for Bytes(record) in records {
        // A call that is repeated because its answer was lost adds nothing.
        if package::waiting(&ctx.tx, &id, &record)? {
            continue;
        }
        if topic.packages >= limits.packages {
            return Err(Refusal::of(Code::TooMany).limit(limits.packages).into());
        }
        topics::charge(ctx, &id, &mut topic, &link.charge, cost(&record))?;
        let number = topic.next_package;
        topic.next_package += 1;
        topic.packages += 1;
        package::put(&mut ctx.tx, &id, number, &Package { record, charge: link.charge });
    }
    if let Some(Bytes(record)) = last_resort {
        drop_last_resort(ctx, &id, &mut topic)?;
        topics::charge(ctx, &id, &mut topic, &link.charge, cost(&record))?;
        package::put_last_resort(&mut ctx.tx, &id, &Package { record, charge: link.charge });
    }
    topic.save(&mut ctx.tx, &id);
    Ok(Answer::Packages { left: topic.packages })
}

fn drop_last_resort(ctx: &mut Ctx<'_>, id: &TopicId, topic: &mut Topic) -> Result<(), Stop> {
    if let Some(old) = package::last_resort(&ctx.tx, id)? {
        package::delete_last_resort(&mut ctx.tx, id);
        topics::credit(ctx, id, topic, &old.charge, cost(&old.record))?;
    }
    Ok(())
}

/// Takes the oldest package out. The caller saves the topic.
fn take(ctx: &mut Ctx<'_>, id: &TopicId, topic: &mut Topic) -> Result<Option<Vec<u8>>, Stop> {
    let Some(Package { record, charge }) = package::take(&mut ctx.tx, id)? else { return Ok(None) };
    topics::credit(ctx, id, topic, &charge, cost(&record))?;
    topic.packages = topic.packages.saturating_sub(1);
    Ok(Some(record))
}

pub(super) fn take_package(
    ctx: &mut Ctx<'_>,
    descriptor: &Descriptor,
    token: &[u8],
    request: &EntryId,
    proof: &[u8; 64],
) -> Result<Answer, Stop> {
    let (id, mut topic) = inbox(ctx, descriptor)?;
    let token = verified(ctx, descriptor, token, request, proof)?;
    if let Some(record) = rows::token::taken(&ctx.tx, &id, &token.key, request)? {
        return Ok(Answer::Package { record });
    }
    let mut count = uses(ctx, &id, &mut topic, &token)?;
    let max = u64::from(token.packages).min(TAKES_PER_TOKEN_MAX);
    if count.packages >= max {
        return Err(Refusal::of(Code::TokenUsed).limit(max).into());
    }
    let record = match take(ctx, &id, &mut topic)? {
        Some(record) => {
            rows::token::save_taken(&mut ctx.tx, &id, &token.key, request, record.clone());
            if topic.packages == PACKAGES_LOW {
                ctx.effects.push(Effect::PackagesLow { inbox: id, left: topic.packages });
            }
            record
        }
        None => match package::last_resort(&ctx.tx, &id)? {
            Some(package) => package.record,
            None => return Err(Refusal::of(Code::NoPackage).retry_ms(RETRY_FULL_MS).into()),
        },
    };
    count.packages += 1;
    rows::token::save(&mut ctx.tx, &id, &token.key, count);
    topic.save(&mut ctx.tx, &id);
    Ok(Answer::Package { record })
}

/// Drops all packages of an inbox that ends. At most as many rows as the
/// limit of packages allows.
pub(super) fn drop_packages(ctx: &mut Ctx<'_>, id: &TopicId, topic: &mut Topic) -> Result<(), Stop> {
    while take(ctx, id, topic)?.is_some() {}
    drop_last_resort(ctx, id, topic)
}

/// A token has ended: its count may go.
pub(super) fn drop_token(ctx: &mut Ctx<'_>, id: &TopicId, key: &[u8; 32]) -> Result<(), Stop> {
    let rows_max = usize::try_from(TAKES_PER_TOKEN_MAX).unwrap_or(usize::MAX) + 1;
    rows::token::delete(&mut ctx.tx, id, key, rows_max)?;
    if let Some(mut topic) = Topic::load(&ctx.tx, id)? {
        topic.tokens = topic.tokens.saturating_sub(1);
        topic.save(&mut ctx.tx, id);
    }
    Ok(())
}
