//! Leaves all chunks of a file at relays, for members who are away.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::FuturesOrdered;
use kith_core::files::port::{Heard, Relayed};
use kith_core::view;
use kith_wire::blob::tree::Blob;
use kith_wire::ids::{BlobId, FileId, RelayId, TopicId};
use kith_wire::limits::BLOB_CHUNK_BYTES;

use super::Files;
use super::open::OpenFile;

/// Chunks on their way to one relay at once.
const AT_ONCE: usize = 3;
/// A relay that says "later" is asked again after this.
const AGAIN: Duration = Duration::from_millis(600);
/// And so often, until the whole is looked at anew.
const TRIES: usize = 60;
/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(400);

/// Deposits a file at each of the relays, one after the other.
pub(super) async fn run(files: &Files, id: FileId, blob: Blob, relays: Vec<(RelayId, TopicId)>) {
    let Ok(open) = files.file(id, blob).await else { return };
    if !open.file.complete() {
        files.tell(Heard::Damaged { id }).await;
        return;
    }
    for (relay, topic) in relays {
        match at(files, id, &open, relay, topic).await {
            Ok(Some(until_ms)) => files.tell(Heard::Deposited { id, relay, until_ms }).await,
            Ok(None) => {}
            Err(problem) => files.tell(Heard::NotDeposited { id, relay, problem }).await,
        }
    }
}

fn name(open: &OpenFile, number: u64) -> Option<BlobId> {
    open.index().name(open.tree().spot(number)?)
}

/// `Ok(None)`: the relay cannot be reached now.
async fn at(
    files: &Files,
    id: FileId,
    open: &OpenFile,
    relay: RelayId,
    topic: TopicId,
) -> Result<Option<u64>, String> {
    let chunks = open.tree().chunks();
    let mut from = first_missing(files, open, relay).await;
    // What is there already may be kept for a shorter time: the first chunk
    // is put again, and its answer says how long.
    from = from.min(chunks.saturating_sub(1));
    let mut until = u64::MAX;
    let mut told = Told { from, done: from, begin: Instant::now(), at: None };
    let mut numbers = from..chunks;
    let mut under_way = FuturesOrdered::new();
    loop {
        while under_way.len() < AT_ONCE {
            let Some(number) = numbers.next() else { break };
            under_way.push_back(put(files, open, relay, topic, number));
        }
        let Some(stored) = under_way.next().await else { return Ok(Some(until)) };
        match stored? {
            Some(at) => {
                until = until.min(at);
                told.done += 1;
                told.tell(files, id, open);
            }
            None => return Ok(None),
        }
    }
}

/// What was told of how far a deposit is.
struct Told {
    from: u64,
    done: u64,
    begin: Instant,
    at: Option<Instant>,
}

impl Told {
    fn tell(&mut self, files: &Files, id: FileId, open: &OpenFile) {
        if self.at.is_some_and(|at| at.elapsed() < TELL_EVERY) {
            return;
        }
        self.at = Some(Instant::now());
        let tree = open.tree();
        // The lists come first.
        let bytes = |chunks: u64| {
            let chunks = chunks.saturating_sub(tree.chunks() - tree.data_chunks());
            chunks.saturating_mul(BLOB_CHUNK_BYTES as u64).min(open.blob.size)
        };
        let millis = u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let moved = bytes(self.done).saturating_sub(bytes(self.from));
        let progress = view::FileProgress {
            id: id.hex(),
            have: bytes(self.done),
            size: open.blob.size,
            rate: moved.saturating_mul(1_000) / millis,
            sources: 1,
        };
        files.publish(progress, id);
    }
}

async fn put(
    files: &Files,
    open: &OpenFile,
    relay: RelayId,
    topic: TopicId,
    number: u64,
) -> Result<Option<u64>, String> {
    for _ in 0..TRIES {
        let (Some(chunk), Some(spot)) = (name(open, number), open.tree().spot(number)) else {
            return Ok(None);
        };
        let Ok(Some(bytes)) = open.sealed(spot) else { return Ok(None) };
        files.0.up.pass(bytes.len()).await;
        match files.ask_relay(|token| Heard::PutChunk { token, relay, topic, chunk, bytes }).await {
            Relayed::Stored(until) => return Ok(Some(until)),
            Relayed::Full(problem) => return Err(problem),
            Relayed::Later | Relayed::Missing | Relayed::Chunk(_) => tokio::time::sleep(AGAIN).await,
        }
    }
    Ok(None)
}

/// Chunks are put in the order of their numbers, so what is there from an
/// earlier try is a beginning: its end is searched for by halves.
async fn first_missing(files: &Files, open: &OpenFile, relay: RelayId) -> u64 {
    let (mut low, mut high) = (0, open.tree().chunks());
    while low < high {
        let middle = low.midpoint(high);
        let there = match name(open, middle) {
            Some(chunk) => matches!(files.relay_chunk(relay, chunk, 0).await, Relayed::Chunk(_)),
            None => false,
        };
        if there {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}
