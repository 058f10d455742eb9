//! The log of a topic: append, read, have, want.

use kith_wire::ids::{EntryId, TopicId};
use kith_wire::relay::{ANSWER_BYTES_MAX, Answer, Code, Entry, IDS_MAX, Numbered, Receipt, Refusal};
use kith_wire::topic::{Right, check_entry_size};

use super::link::Link;
use super::topics::{self, OVERHEAD_BYTES};
use super::{Ctx, Effect, Stop, no};
use crate::rows::{Charge, Counter, Expiry, Meta, Topic, entry};

/// Records looked at for one answer of entries.
const READ_ROWS_MAX: usize = 1024;

/// An entry on its way in.
pub(super) struct Item {
    pub id: EntryId,
    pub bytes: Vec<u8>,
    pub keep_s: u64,
}

pub(super) fn append(
    ctx: &mut Ctx<'_>,
    link: &Link,
    topic: TopicId,
    id: EntryId,
    bytes: Vec<u8>,
    keep_s: u64,
) -> Result<Answer, Stop> {
    link.need(&topic, Right::Write)?;
    let item = Item { id, bytes, keep_s };
    check(&item)?;
    let mut row = load(ctx, &topic)?;
    if let Some(receipt) = known(ctx, &topic, &mut row, &id)? {
        return Ok(receipt);
    }
    store(ctx, &topic, row, &link.charge, item, false)
}

/// An entry's size and id.
pub(super) fn check(item: &Item) -> Result<(), Stop> {
    if check_entry_size(item.bytes.len()).is_err() {
        return Err(Refusal::of(Code::Size).limit(kith_wire::limits::ENTRY_BYTES_MAX as u64).into());
    }
    if EntryId::of(&item.bytes) == item.id { Ok(()) } else { no(Code::WrongId) }
}

/// A topic that exists.
pub(super) fn load(ctx: &Ctx<'_>, topic: &TopicId) -> Result<Topic, Stop> {
    Topic::load(&ctx.tx, topic)?.map_or_else(|| no(Code::NotOpen), Ok)
}

/// The receipt of an entry that is here already. One that has ended but was
/// not yet swept makes room for its return.
pub(super) fn known(
    ctx: &mut Ctx<'_>,
    topic: &TopicId,
    row: &mut Topic,
    id: &EntryId,
) -> Result<Option<Answer>, Stop> {
    let Some(index) = entry::index(&ctx.tx, topic, id)? else { return Ok(None) };
    let Some(meta) = entry::meta(&ctx.tx, topic, index)? else { return Ok(None) };
    if meta.until_ms <= ctx.now.wall_ms {
        remove(ctx, topic, row, index, &meta)?;
        return Ok(None);
    }
    let receipt = Receipt::sign(&ctx.relay.key, *topic, *id, index, meta.until_ms);
    Ok(Some(Answer::Receipt { receipt }))
}

/// Stores a checked entry that is not here yet.
pub(super) fn store(
    ctx: &mut Ctx<'_>,
    topic: &TopicId,
    mut row: Topic,
    charge: &Charge,
    item: Item,
    request: bool,
) -> Result<Answer, Stop> {
    let until_ms = topics::keep_until(ctx, item.keep_s)?;
    let len = item.bytes.len() as u64;
    topics::charge(ctx, topic, &mut row, charge, len + OVERHEAD_BYTES)?;
    let index = row.next;
    row.next += 1;
    row.objects += 1;
    row.save(&mut ctx.tx, topic);
    let meta = Meta { id: item.id, until_ms, len, charge: *charge, request };
    entry::put(&mut ctx.tx, topic, index, &meta, item.bytes);
    Expiry::Entry { topic: *topic, index }.put(&mut ctx.tx, until_ms);
    ctx.effects.push(Effect::Appended(*topic));
    let receipt = Receipt::sign(&ctx.relay.key, *topic, item.id, index, until_ms);
    Ok(Answer::Receipt { receipt })
}

/// Removes an entry and takes its charge back. Saves the topic.
pub(super) fn remove(
    ctx: &mut Ctx<'_>,
    topic: &TopicId,
    row: &mut Topic,
    index: u64,
    meta: &Meta,
) -> Result<(), Stop> {
    entry::delete(&mut ctx.tx, topic, index, &meta.id);
    topics::credit(ctx, topic, row, &meta.charge, meta.len + OVERHEAD_BYTES)?;
    if meta.request {
        let left = Counter::Requests.load(&ctx.tx, topic, &meta.charge)?.saturating_sub(meta.len);
        Counter::Requests.save(&mut ctx.tx, topic, &meta.charge, left);
        row.requests = row.requests.saturating_sub(meta.len);
    }
    row.objects = row.objects.saturating_sub(1);
    row.save(&mut ctx.tx, topic);
    Ok(())
}

pub(super) fn read(
    ctx: &Ctx<'_>,
    link: &Link,
    topic: &TopicId,
    after: u64,
    max_bytes: u64,
) -> Result<Answer, Stop> {
    link.need(topic, Right::Read)?;
    let budget = max_bytes.min(ANSWER_BYTES_MAX as u64);
    let rows = entry::behind(&ctx.tx, topic, after, READ_ROWS_MAX)?;
    let mut bytes = 0u64;
    let fitting = rows
        .iter()
        .take_while(|(_, meta)| {
            let first = bytes == 0;
            bytes = bytes.saturating_add(meta.len);
            first || bytes <= budget
        })
        .count();
    let end = fitting == rows.len() && rows.len() < READ_ROWS_MAX;
    let mut entries = Vec::new();
    if let (Some((first, _)), Some((last, _))) = (rows.first(), rows.get(fitting.saturating_sub(1))) {
        entries = entry::bodies(&ctx.tx, topic, *first, *last, fitting)?
            .into_iter()
            .map(|(index, bytes)| Entry { index, bytes })
            .collect();
    }
    let next = entries.last().map_or(after, |e| e.index);
    Ok(Answer::Entries { entries, next, end })
}

pub(super) fn have(ctx: &Ctx<'_>, link: &Link, topic: &TopicId, after: u64) -> Result<Answer, Stop> {
    link.need(topic, Right::Read)?;
    let rows = entry::behind(&ctx.tx, topic, after, IDS_MAX)?;
    let end = rows.len() < IDS_MAX;
    let ids: Vec<_> = rows.into_iter().map(|(index, meta)| Numbered { index, id: meta.id }).collect();
    let next = ids.last().map_or(after, |n| n.index);
    Ok(Answer::Ids { ids, next, end })
}

pub(super) fn want(ctx: &Ctx<'_>, link: &Link, topic: &TopicId, ids: &[EntryId]) -> Result<Answer, Stop> {
    link.need(topic, Right::Read)?;
    if ids.len() > IDS_MAX {
        return Err(Refusal::of(Code::TooMany).limit(IDS_MAX as u64).into());
    }
    let mut found = std::collections::BTreeMap::new();
    let mut bytes = 0;
    let mut end = true;
    for id in ids {
        let Some(index) = entry::index(&ctx.tx, topic, id)? else { continue };
        if found.contains_key(&index) {
            continue;
        }
        let Some(body) = entry::bytes(&ctx.tx, topic, index)? else { continue };
        bytes += body.len();
        if bytes > ANSWER_BYTES_MAX {
            end = false;
            break;
        }
        found.insert(index, body);
    }
    let next = found.keys().next_back().copied().unwrap_or(0);
    let entries = found.into_iter().map(|(index, bytes)| Entry { index, bytes }).collect();
    Ok(Answer::Entries { entries, next, end })
}
