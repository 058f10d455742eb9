//! Fetches one file from all who have it: asks as the state machine of
//! `kith_core::files::fetch` says, verifies, writes, settles, reports.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kith_core::api::Refusal;
use kith_core::files::fetch::{Class, Fetch, SourceId, Step, Why};
use kith_core::files::port::{Heard, Relayed};
use kith_core::view;
use kith_store::StoreError;
use kith_wire::blob::tree::{Blob, Spot};
use kith_wire::bulk::{Answer, Ask, FRAME_BYTES_MAX, WINDOW_MAX};
use kith_wire::ids::{FileId, PeerKey, RelayId};
use kith_wire::relay::CHUNK_BYTES_MAX;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::open::OpenFile;
use super::{Files, disk};

/// Chunks that came in and wait to be verified.
const ARRIVED_MAX: usize = 16;
/// Chunks verified and written in one go.
const BATCH: usize = 8;
/// Chunks that are settled together at the latest: 4 MiB.
const SETTLE_CHUNKS: usize = 16;
/// And after this time.
const SETTLE_AFTER: Duration = Duration::from_millis(300);
/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(400);
/// A source that was lost is tried again after this, doubled each time.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(120));
/// How long a device may take to open a stream and say what it has.
const OPEN_WITHIN: Duration = Duration::from_secs(20);
/// A relay that says "later" is asked again after this, so often.
const RELAY_AGAIN: Duration = Duration::from_millis(400);
const RELAY_TRIES: usize = 25;
/// How long one frame to a device may take.
const WRITE_WITHIN: Duration = Duration::from_secs(60);

/// From whom a file can be had.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sources {
    pub(super) devices: Vec<PeerKey>,
    pub(super) relays: Vec<RelayId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Whom {
    Device(PeerKey),
    Relay(RelayId),
}

/// What the task of a source says.
enum Said {
    Holds(SourceId, Vec<u8>),
    Chunk(SourceId, Spot, Vec<u8>),
    Lacks(SourceId, Spot),
    Gone(SourceId),
}

/// A source that runs or is waited for.
struct Source {
    id: SourceId,
    asks: mpsc::Sender<Ask>,
    stop: CancellationToken,
}

#[derive(Default)]
struct Tried {
    again_at: Option<Instant>,
    wait: Duration,
    banned: bool,
}

struct Transfer<'a> {
    files: &'a Files,
    open: Arc<OpenFile>,
    fetch: Fetch,
    start: Instant,
    running: BTreeMap<Whom, Source>,
    tried: BTreeMap<Whom, Tried>,
    next_source: SourceId,
    said: mpsc::Sender<Said>,
    /// Written and not yet being settled.
    unsettled: Vec<Spot>,
    unsettled_since: Option<Instant>,
    settling: Option<JoinHandle<Result<(), StoreError>>>,
}

/// Why a transfer ends.
enum End {
    Complete,
    Stopped,
    Failed(Refusal),
}

/// Runs until all of the file is here, it is stopped, or the disk refuses.
pub(super) async fn run(
    files: &Files,
    id: FileId,
    blob: Blob,
    sources: watch::Receiver<Sources>,
    stop: CancellationToken,
) {
    let end = match prepare(files, id, blob).await {
        Ok((open, said, heard)) => {
            let fetch = {
                let open = Arc::clone(&open);
                Fetch::new(open.tree().clone(), move |spot| open.file.has(spot))
            };
            let transfer = Transfer {
                files,
                open,
                fetch,
                start: Instant::now(),
                running: BTreeMap::new(),
                tried: BTreeMap::new(),
                next_source: 1,
                said,
                unsettled: Vec::new(),
                unsettled_since: None,
                settling: None,
            };
            transfer.run(id, sources, heard, stop).await
        }
        Err(refusal) => End::Failed(refusal),
    };
    match end {
        End::Complete => files.tell(Heard::Complete { id }).await,
        End::Failed(refusal) => files.tell(Heard::Failed { id, problem: refusal.message }).await,
        End::Stopped => {}
    }
}

type Prepared = (Arc<OpenFile>, mpsc::Sender<Said>, mpsc::Receiver<Said>);

async fn prepare(files: &Files, id: FileId, blob: Blob) -> Result<Prepared, Refusal> {
    let open = files.file(id, blob).await?;
    let missing = open.tree().sealed_bytes().saturating_sub(open.file.held_bytes());
    files.fits(missing)?;
    let (said, heard) = mpsc::channel(ARRIVED_MAX);
    Ok((open, said, heard))
}

impl Transfer<'_> {
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn run(
        mut self,
        id: FileId,
        mut sources: watch::Receiver<Sources>,
        mut heard: mpsc::Receiver<Said>,
        stop: CancellationToken,
    ) -> End {
        let mut told = (Instant::now(), self.open.have_bytes());
        let mut rate = 0;
        let mut changes = self.open.changes();
        let mut tell_at = Instant::now();
        let end = loop {
            self.connect(&sources.borrow_and_update().clone());
            if let Some(number) = self.open.take_focus() {
                self.fetch.focus(number);
                // What a reader found damaged is missing again.
                let spot = Spot::data(number);
                if matches!(self.open.sealed(spot), Ok(None)) {
                    self.fetch.lost(spot);
                }
            }
            self.steps();
            self.settle_if_due();
            if self.fetch.done() && self.unsettled.is_empty() && self.settling.is_none() {
                break End::Complete;
            }
            if tell_at.elapsed() >= TELL_EVERY {
                let have = self.open.have_bytes();
                let passed = told.0.elapsed();
                let millis = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX).max(1);
                let now = have.saturating_sub(told.1).saturating_mul(1_000) / millis;
                rate = if rate == 0 { now } else { (rate * 3 + now) / 4 };
                told = (Instant::now(), have);
                tell_at = Instant::now();
                self.files.publish(self.progress(&id, have, rate), id);
            }
            let due = self.due(tell_at);
            tokio::select! {
                biased;
                () = stop.cancelled() => break End::Stopped,
                settled = settled(&mut self.settling) => {
                    self.settling = None;
                    if let Err(e) = settled {
                        break End::Failed(disk(&e));
                    }
                }
                said = heard.recv() => {
                    let Some(said) = said else { break End::Stopped };
                    if let Err(e) = self.take(said, &mut heard).await {
                        break End::Failed(e);
                    }
                }
                changed = sources.changed() => if changed.is_err() {
                    break End::Stopped;
                },
                _ = changes.changed() => {}
                () = tokio::time::sleep_until(due.into()) => {}
            }
        };
        self.end(&end).await;
        if matches!(end, End::Complete) {
            self.files.publish(self.progress(&id, self.open.blob.size, rate), id);
        }
        end
    }

    fn progress(&self, id: &FileId, have: u64, rate: u64) -> view::FileProgress {
        let (devices, relays) = self.fetch.sources();
        view::FileProgress {
            id: id.hex(),
            have,
            size: self.open.blob.size,
            rate,
            sources: u32::try_from(devices + relays).unwrap_or(u32::MAX),
        }
    }

    /// When to look again at the latest.
    fn due(&self, tell_at: Instant) -> Instant {
        let fetch = self.fetch.next_due().map(|ms| self.start + Duration::from_millis(ms));
        let settle = self.unsettled_since.map(|at| at + SETTLE_AFTER);
        let again = self.tried.values().filter_map(|t| t.again_at).min();
        let soonest = [fetch, settle, again].into_iter().flatten().min();
        let tell = tell_at + TELL_EVERY;
        // A deadline that has passed is looked at again in a moment, not at once.
        soonest.map_or(tell, |at| at.min(tell)).max(Instant::now() + Duration::from_millis(1))
    }

    /// Lets go of what was written: durable or, after a failure, not known.
    async fn end(&mut self, end: &End) {
        for source in self.running.values() {
            if matches!(end, End::Complete) {
                let _full_or_gone = source.asks.try_send(Ask::Done);
            } else {
                source.stop.cancel();
            }
        }
        if let Some(settling) = self.settling.take() {
            let _reported_already = settling.await;
        }
        if !matches!(end, End::Failed(_)) && !self.unsettled.is_empty() {
            let (open, spots) = (Arc::clone(&self.open), core::mem::take(&mut self.unsettled));
            let _next_time = self.files.blocking(move || open.settle(&spots)).await;
        }
    }

    /// Starts what can be asked, ends what cannot be any more.
    fn connect(&mut self, wanted: &Sources) {
        let whom: BTreeSet<Whom> = wanted
            .devices
            .iter()
            .map(|key| Whom::Device(*key))
            .chain(wanted.relays.iter().map(|id| Whom::Relay(*id)))
            .collect();
        let gone: Vec<Whom> = self.running.keys().filter(|w| !whom.contains(w)).copied().collect();
        for w in gone {
            if let Some(source) = self.running.remove(&w) {
                source.stop.cancel();
                self.fetch.leave(source.id);
            }
        }
        // A source that went and came again starts without a grudge, unless
        // it lied.
        self.tried.retain(|w, tried| whom.contains(w) || tried.banned);
        let now = Instant::now();
        for w in whom {
            let tried = self.tried.entry(w).or_default();
            if self.running.contains_key(&w) || tried.banned || tried.again_at.is_some_and(|at| at > now) {
                continue;
            }
            tried.again_at = None;
            let id = self.next_source;
            self.next_source += 1;
            let (asks, wanted) = mpsc::channel(WINDOW_MAX * 2);
            let stop = self.files.0.stop.child_token();
            self.running.insert(w, Source { id, asks, stop: stop.clone() });
            let (files, open, said) = (self.files.clone(), Arc::clone(&self.open), self.said.clone());
            self.files.spawn(async move {
                let task = async {
                    match w {
                        Whom::Device(peer) => device(&files, &open, peer, id, wanted, &said).await,
                        Whom::Relay(relay) => relayed(&files, &open, relay, id, wanted, &said).await,
                    }
                };
                stop.run_until_cancelled(task).await;
                let _ended = said.send(Said::Gone(id)).await;
            });
        }
    }

    fn whom(&self, id: SourceId) -> Option<Whom> {
        self.running.iter().find(|(_, s)| s.id == id).map(|(w, _)| *w)
    }

    /// Does all that the state machine says now.
    fn steps(&mut self) {
        while let Some(step) = self.fetch.poll(self.now()) {
            let (source, ask) = match step {
                Step::Get { source, spot } => (source, Ask::Get { spot }),
                Step::Refresh { source } => (source, Ask::Want { root: self.open.blob.root }),
                Step::Part { source, why } => {
                    self.part(source, why == Why::Lied);
                    continue;
                }
            };
            let running = self.running.values().find(|s| s.id == source);
            // Its task is gone or hopelessly behind.
            if running.is_none_or(|s| s.asks.try_send(ask).is_err()) {
                self.fetch.leave(source);
                self.part(source, false);
            }
        }
    }

    fn part(&mut self, id: SourceId, lied: bool) {
        let Some(w) = self.whom(id) else { return };
        if let Some(source) = self.running.remove(&w) {
            source.stop.cancel();
        }
        if lied {
            tracing::warn!("a source sent something else than a chunk of the file and is not asked again");
        }
        let tried = self.tried.entry(w).or_default();
        tried.banned |= lied;
        tried.wait = (tried.wait * 2).clamp(RETRY.0, RETRY.1);
        tried.again_at = Some(Instant::now() + tried.wait);
    }

    /// Takes in what sources said, several chunks in one go.
    async fn take(&mut self, first: Said, heard: &mut mpsc::Receiver<Said>) -> Result<(), Refusal> {
        let mut chunks = Vec::new();
        let mut next = Some(first);
        while let Some(said) = next {
            match said {
                Said::Chunk(id, spot, bytes) => chunks.push((id, spot, bytes)),
                Said::Holds(id, holds) => {
                    if let Some(w) = self.whom(id) {
                        let class = if matches!(w, Whom::Relay(_)) { Class::Relay } else { Class::Device };
                        let now = self.now();
                        self.fetch.join(now, id, class, &holds);
                    }
                }
                Said::Lacks(id, spot) => {
                    let now = self.now();
                    self.fetch.lacks(now, id, spot);
                }
                Said::Gone(id) => {
                    self.fetch.leave(id);
                    self.part(id, false);
                }
            }
            next = if chunks.len() < BATCH { heard.try_recv().ok() } else { None };
        }
        if chunks.is_empty() {
            return Ok(());
        }
        let (open, files) = (Arc::clone(&self.open), self.files.clone());
        let taken = self.files.blocking(move || {
            files.room()?;
            let taken = chunks
                .into_iter()
                .map(|(id, spot, bytes)| {
                    // One that came from elsewhere meanwhile is not written again.
                    let here = matches!(open.sealed(spot), Ok(Some(_)));
                    let taken = if here { Ok(true) } else { open.take(spot, &bytes) };
                    (id, spot, taken)
                })
                .collect::<Vec<_>>();
            Ok::<_, Refusal>(taken)
        });
        for (id, spot, taken) in taken.await?? {
            match taken {
                Ok(true) => {
                    let now = self.now();
                    if self.fetch.arrived(now, id, spot) {
                        self.unsettled.push(spot);
                        self.unsettled_since.get_or_insert_with(Instant::now);
                        if let Some(w) = self.whom(id) {
                            self.tried.entry(w).or_default().wait = Duration::ZERO;
                        }
                    }
                }
                Ok(false) => {
                    self.fetch.lied(id);
                    self.part(id, true);
                }
                Err(e) => return Err(disk(&e)),
            }
        }
        self.open.notify();
        Ok(())
    }

    fn settle_if_due(&mut self) {
        let due = self.unsettled.len() >= SETTLE_CHUNKS
            || self.unsettled_since.is_some_and(|at| at.elapsed() >= SETTLE_AFTER)
            || self.fetch.done();
        if self.settling.is_some() || self.unsettled.is_empty() || !due {
            return;
        }
        let (open, spots) = (Arc::clone(&self.open), core::mem::take(&mut self.unsettled));
        self.unsettled_since = None;
        self.settling = Some(self.files.0.runtime.spawn_blocking(move || open.settle(&spots)));
    }
}

async fn settled(settling: &mut Option<JoinHandle<Result<(), StoreError>>>) -> Result<(), StoreError> {
    match settling {
        Some(task) => {
            task.await.unwrap_or_else(|_| Err(StoreError::Io("the writing was interrupted".into())))
        }
        None => std::future::pending().await,
    }
}

/// A device as a source: one stream, asks and answers in order.
async fn device(
    files: &Files,
    open: &OpenFile,
    peer: PeerKey,
    id: SourceId,
    mut wanted: mpsc::Receiver<Ask>,
    said: &mpsc::Sender<Said>,
) {
    let overlay = files.state().overlay.clone();
    let Some(overlay) = overlay else { return };
    let Ok(Ok(stream)) = timeout(OPEN_WITHIN, overlay.open_blob(peer)).await else { return };
    let (mut reader, mut writer) = (stream.reader, stream.writer);
    let want = Ask::Want { root: open.blob.root }.to_bytes();
    let greet = async {
        writer.send(&want).await?;
        writer.flush().await
    };
    if !matches!(timeout(OPEN_WITHIN, greet).await, Ok(Ok(()))) {
        return;
    }
    let asking = async {
        while let Some(ask) = wanted.recv().await {
            let write = async {
                writer.send(&ask.to_bytes()).await?;
                if wanted.is_empty() { writer.flush().await } else { Ok(()) }
            };
            if !matches!(timeout(WRITE_WITHIN, write).await, Ok(Ok(()))) {
                return;
            }
            if ask == Ask::Done {
                break;
            }
        }
        writer.close().await;
    };
    let hearing = async {
        // That a source stalls is seen by the one who asks.
        while let Ok(Some(frame)) = reader.next(FRAME_BYTES_MAX).await {
            files.0.down.pass(frame.len()).await;
            let heard = match Answer::from_bytes(&frame) {
                Ok(Answer::Holds { chunks }) => Said::Holds(id, chunks),
                Ok(Answer::Chunk { spot, bytes }) => Said::Chunk(id, spot, bytes),
                Ok(Answer::Lack { spot }) => Said::Lacks(id, spot),
                Ok(Answer::No) | Err(_) => return,
            };
            // A full channel stops the reading, and so the far end.
            if said.send(heard).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = asking => {}
        () = hearing => {}
    }
}

/// A relay as a source: chunks by name, over the link that messages use.
async fn relayed(
    files: &Files,
    open: &OpenFile,
    relay: RelayId,
    id: SourceId,
    mut wanted: mpsc::Receiver<Ask>,
    said: &mpsc::Sender<Said>,
) {
    if said.send(Said::Holds(id, Vec::new())).await.is_err() {
        return;
    }
    let one = |spot: Spot| async move {
        let name = open.index().name(spot);
        for _ in 0..RELAY_TRIES {
            let Some(name) = name else { break };
            match files.relay_chunk(relay, name, CHUNK_BYTES_MAX as u64).await {
                Relayed::Chunk(bytes) => {
                    files.0.down.pass(bytes.len()).await;
                    return Said::Chunk(id, spot, bytes);
                }
                // It is asked too much at once, or its link comes back.
                Relayed::Later => tokio::time::sleep(RELAY_AGAIN).await,
                _ => break,
            }
        }
        Said::Lacks(id, spot)
    };
    let mut under_way = futures::stream::FuturesUnordered::new();
    loop {
        tokio::select! {
            ask = wanted.recv() => match ask {
                Some(Ask::Get { spot }) => under_way.push(one(spot)),
                Some(Ask::Want { .. }) => {}
                Some(Ask::Done) | None => return,
            },
            Some(heard) = futures::StreamExt::next(&mut under_way), if !under_way.is_empty() => {
                if said.send(heard).await.is_err() {
                    return;
                }
            }
        }
    }
}
