//! Blob chunks: records in the store, bytes in a chunk store.

use std::collections::BTreeMap;

use kith_store::StoreError;
use kith_wire::ids::{BlobId, TopicId};
use kith_wire::relay::{Answer, CHUNK_BYTES_MAX, Code, Refusal};
use kith_wire::topic::Right;

use super::link::Link;
use super::topics::{self, OVERHEAD_BYTES};
use super::{Ctx, Effect, Stop, log, no};
use crate::rows::{Chunk, Expiry, Topic};

/// Where the bytes of chunks lie. Immutable, named by their hash.
pub trait ChunkStore {
    /// Stores a chunk; again is a no-op. Durable only after `sync`.
    fn put(&mut self, id: &BlobId, bytes: &[u8]) -> Result<(), StoreError>;
    /// Makes everything put before durable.
    fn sync(&mut self) -> Result<(), StoreError>;
    /// A part of a chunk, cut at its end; `None` if it is not here.
    fn get(&self, id: &BlobId, from: u64, len: u64) -> Result<Option<Vec<u8>>, StoreError>;
    /// Removes a chunk; a no-op where there is none.
    fn remove(&mut self, id: &BlobId) -> Result<(), StoreError>;
    /// Removes all chunks that are not `known`. Answers how many.
    fn retain(&mut self, known: Known<'_>) -> Result<u64, StoreError>;
}

/// Tells whether a chunk has a record.
pub type Known<'a> = &'a dyn Fn(&BlobId) -> Result<bool, StoreError>;

/// Chunks in memory, for the simulator and tests.
#[derive(Debug, Default, Clone)]
pub struct MemoryChunks(BTreeMap<BlobId, Vec<u8>>);

impl ChunkStore for MemoryChunks {
    fn put(&mut self, id: &BlobId, bytes: &[u8]) -> Result<(), StoreError> {
        self.0.insert(*id, bytes.to_vec());
        Ok(())
    }
    fn sync(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
    fn get(&self, id: &BlobId, from: u64, len: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let cut = |n: u64, max: usize| usize::try_from(n).unwrap_or(max).min(max);
        Ok(self.0.get(id).map(|bytes| {
            let to = cut(from.saturating_add(len), bytes.len());
            let from = cut(from, bytes.len());
            bytes.get(from..to).unwrap_or_default().to_vec()
        }))
    }
    fn remove(&mut self, id: &BlobId) -> Result<(), StoreError> {
        self.0.remove(id);
        Ok(())
    }
    fn retain(&mut self, known: Known<'_>) -> Result<u64, StoreError> {
        let mut removed = 0;
        for id in self.0.keys().copied().collect::<Vec<_>>() {
            if !known(&id)? {
                self.0.remove(&id);
                removed += 1;
            }
        }
        Ok(removed)
    }
}

pub(super) fn put(
    ctx: &mut Ctx<'_>,
    link: &Link,
    topic: TopicId,
    id: BlobId,
    bytes: &[u8],
    keep_s: u64,
) -> Result<Answer, Stop> {
    link.need(&topic, Right::Write)?;
    if bytes.is_empty() || bytes.len() > CHUNK_BYTES_MAX {
        return Err(Refusal::of(Code::Size).limit(CHUNK_BYTES_MAX as u64).into());
    }
    if BlobId::of(bytes) != id {
        return no(Code::WrongId);
    }
    let until_ms = topics::keep_until(ctx, keep_s)?;
    if let Some(mut chunk) = Chunk::load(&ctx.tx, &id)? {
        // Named by content: whoever brought it first pays, the longest wish counts.
        if until_ms > chunk.until_ms {
            chunk.until_ms = until_ms;
            chunk.save(&mut ctx.tx, &id);
            Expiry::Chunk { id }.put(&mut ctx.tx, until_ms);
        }
        return Ok(Answer::ChunkStored { stored_until_ms: chunk.until_ms });
    }
    let len = bytes.len() as u64;
    let mut row = log::load(ctx, &topic)?;
    topics::charge(ctx, &topic, &mut row, &link.charge, len + OVERHEAD_BYTES)?;
    row.objects += 1;
    row.save(&mut ctx.tx, &topic);
    Chunk { topic, len, until_ms, charge: link.charge }.save(&mut ctx.tx, &id);
    Expiry::Chunk { id }.put(&mut ctx.tx, until_ms);
    ctx.chunks.put(&id, bytes)?;
    ctx.effects.push(Effect::StoredChunk(id));
    Ok(Answer::ChunkStored { stored_until_ms: until_ms })
}

pub(super) fn get(ctx: &Ctx<'_>, id: &BlobId, from: u64, len: u64) -> Result<Answer, Stop> {
    let Some(chunk) = Chunk::load(&ctx.tx, id)? else { return no(Code::NotFound) };
    let len = len.min(CHUNK_BYTES_MAX as u64);
    match ctx.chunks.get(id, from, len)? {
        Some(bytes) => Ok(Answer::Chunk { total: chunk.len, bytes }),
        None => no(Code::NotFound),
    }
}

/// A chunk's time may have come. It has not if somebody asked for longer.
pub(super) fn expire(ctx: &mut Ctx<'_>, id: &BlobId) -> Result<(), Stop> {
    let Some(chunk) = Chunk::load(&ctx.tx, id)? else { return Ok(()) };
    if chunk.until_ms > ctx.now.wall_ms {
        return Ok(());
    }
    Chunk::delete(&mut ctx.tx, id);
    ctx.effects.push(Effect::DroppedChunk(*id));
    if let Some(mut row) = Topic::load(&ctx.tx, &chunk.topic)? {
        topics::credit(ctx, &chunk.topic, &mut row, &chunk.charge, chunk.len + OVERHEAD_BYTES)?;
        row.objects = row.objects.saturating_sub(1);
        row.save(&mut ctx.tx, &chunk.topic);
    }
    Ok(())
}
