//! The bytes of files: moved between nodes, kept on disk, sealed and opened
//! for the person. What is wanted from whom and who may have what is decided
//! by the state machine; this part does it and reports.
//!
//! `transfer` fetches, `serve` gives, `deposit` leaves chunks at relays,
//! `import` seals what a person adds, `reader` opens what they look at.

mod deposit;
mod import;
mod open;
mod pace;
mod reader;
mod serve;
mod transfer;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kith_core::api::{Event, FileCommand, Refusal, Reply};
use kith_core::files::port::{Do, Heard, Relayed, Token};
use kith_core::view;
use kith_overlay::OverlayHandle;
use kith_store::{BlobFolder, StoreError};
use kith_web::EventHub;
use kith_wire::blob::tree::Blob;
use kith_wire::ids::{BlobId, FileId, PeerKey, RelayId};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::driver::Asker;
pub(crate) use import::Import;
use open::OpenFile;
use pace::Pace;
pub(crate) use reader::Reader;
use transfer::Sources;

/// Words for the state machine that may wait.
pub(crate) const HEARD_MAX: usize = 256;
/// Streams that give files to others at once.
const SERVING_MAX: usize = 32;
/// And to one of them.
const SERVING_PER_PEER_MAX: usize = 8;
/// Files that are being added at once.
const IMPORTS_MAX: usize = 8;
/// Longest wait for an answer of the state machine or a relay.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// Space on the disk that is left for everything else.
const SPARE_BYTES: u64 = 64 << 20;

/// An answer that somebody here waits for.
enum Waiting {
    Serve(oneshot::Sender<Option<(FileId, Blob)>>),
    Relay(oneshot::Sender<Relayed>),
}

/// What runs for one file.
struct Running {
    sources: tokio::sync::watch::Sender<Sources>,
    stop: CancellationToken,
}

/// A stream of a peer that is being served.
struct Turn {
    files: Files,
    peer: PeerKey,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.files.state();
        if let Some(streams) = state.served.get_mut(&self.peer) {
            *streams -= 1;
            if *streams == 0 {
                state.served.remove(&self.peer);
            }
        }
    }
}

/// Moves and keeps the bytes of files; cheap to clone.
#[derive(Clone)]
pub(crate) struct Files(Arc<Inner>);

struct Inner {
    folder: BlobFolder,
    runtime: Handle,
    hub: Arc<EventHub>,
    heard: mpsc::Sender<Heard>,
    state: Mutex<State>,
    next_token: AtomicU64,
    up: Pace,
    down: Pace,
    serving: Arc<Semaphore>,
    imports: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

#[derive(Default)]
struct State {
    overlay: Option<OverlayHandle>,
    asker: Option<Asker>,
    fetching: HashMap<FileId, Running>,
    depositing: HashMap<FileId, CancellationToken>,
    /// Streams that are being served, by peer.
    served: HashMap<PeerKey, usize>,
    waiting: HashMap<Token, Waiting>,
    open: HashMap<FileId, std::sync::Weak<OpenFile>>,
    /// Progress of files that are being fetched, as last told.
    progress: HashMap<FileId, view::FileProgress>,
}

/// A disk error as an answer to a person.
fn disk(error: &StoreError) -> Refusal {
    crate::vault::store_refusal(error)
}

fn stopping() -> Refusal {
    Refusal::new("stopping", "The node is stopping. Try again later.")
}

impl Files {
    /// Opens the folder and clears away what no row knows. `heard` goes to
    /// the state machine.
    pub(crate) fn open(
        path: &std::path::Path,
        known: &[[u8; 16]],
        hub: Arc<EventHub>,
        runtime: Handle,
        heard: mpsc::Sender<Heard>,
    ) -> Result<Self, StoreError> {
        let folder = BlobFolder::open(path)?;
        folder.retain(&|name| known.contains(name))?;
        Ok(Self(Arc::new(Inner {
            folder,
            runtime,
            hub,
            heard,
            state: Mutex::default(),
            next_token: AtomicU64::new(1),
            up: Pace::default(),
            down: Pace::default(),
            serving: Arc::new(Semaphore::new(SERVING_MAX)),
            imports: Arc::new(Semaphore::new(IMPORTS_MAX)),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        })))
    }

    /// Uses this overlay from now on, and gives files over its streams.
    pub(crate) fn attach(&self, overlay: &OverlayHandle) {
        self.state().overlay = Some(overlay.clone());
        if let Some(mut incoming) = overlay.take_blobs() {
            let files = self.clone();
            self.spawn(async move {
                while let Some(stream) = incoming.recv().await {
                    let peer = stream.peer;
                    // One more than can be served is closed: it asks again.
                    let Ok(permit) = Arc::clone(&files.0.serving).try_acquire_owned() else { continue };
                    let Some(turn) = files.turn(peer) else { continue };
                    let task = serve::run(files.clone(), stream);
                    files.spawn(async move {
                        task.await;
                        drop((permit, turn));
                    });
                }
            });
        }
    }

    /// A place among the streams of one peer, if it has one left.
    fn turn(&self, peer: PeerKey) -> Option<Turn> {
        let mut state = self.state();
        let streams = state.served.entry(peer).or_default();
        if *streams >= SERVING_PER_PEER_MAX {
            return None;
        }
        *streams += 1;
        Some(Turn { files: self.clone(), peer })
    }

    /// How to ask the state machine.
    pub(crate) fn set_asker(&self, asker: Asker) {
        self.state().asker = Some(asker);
    }

    /// Ends everything that moves; what was settled is durable.
    pub(crate) async fn shutdown(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
        let mut state = self.state();
        let served = core::mem::take(&mut state.served);
        *state = State { served, ..State::default() };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.0.stop.clone();
        self.0.tasks.spawn_on(
            async move {
                stop.run_until_cancelled(task).await;
            },
            &self.0.runtime,
        );
    }

    /// Does disk work where waiting is allowed.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        self.0.runtime.spawn_blocking(work).await.map_err(|_| stopping())
    }

    /// Does what the state machine says. Must not wait.
    pub(crate) fn perform(&self, order: Do) {
        match order {
            Do::Fetch { id, blob, devices, relays } => self.fetch(id, blob, Sources { devices, relays }),
            Do::Stop { id } => self.end(&id),
            Do::Remove { id, blob } => {
                self.end(&id);
                self.state().open.remove(&id);
                // The name goes now: it may be fetched again at once.
                match self.0.folder.detach(&blob.folder()) {
                    Ok(None) => {}
                    Ok(Some(detached)) => {
                        self.0.runtime.spawn_blocking(move || {
                            if detached.clear().is_err() {
                                // The next start clears it away.
                                tracing::warn!("a file's space could not be freed");
                            }
                        });
                    }
                    Err(_) => tracing::warn!("a file's folder could not be removed"),
                }
            }
            Do::Deposit { id, blob, relays } => {
                let stop = self.0.stop.child_token();
                match self.state().depositing.entry(id) {
                    // Looked at again later.
                    Entry::Occupied(_) => return,
                    Entry::Vacant(place) => place.insert(stop.clone()),
                };
                let files = self.clone();
                self.spawn(async move {
                    stop.run_until_cancelled(deposit::run(&files, id, blob, relays)).await;
                    let mut state = files.state();
                    if !stop.is_cancelled() {
                        state.depositing.remove(&id);
                    }
                    state.progress.remove(&id);
                });
            }
            Do::Serve { token, file } => {
                if let Some(Waiting::Serve(answer)) = self.state().waiting.remove(&token) {
                    let _gone = answer.send(file);
                }
            }
            Do::Relayed { token, answer: said } => {
                if let Some(Waiting::Relay(answer)) = self.state().waiting.remove(&token) {
                    let _gone = answer.send(said);
                }
            }
            Do::Limits { up, down } => {
                self.0.up.set(up);
                self.0.down.set(down);
            }
        }
    }

    fn fetch(&self, id: FileId, blob: Blob, sources: Sources) {
        let mut state = self.state();
        if let Some(running) = state.fetching.get(&id) {
            running.sources.send_replace(sources);
            return;
        }
        let (tx, rx) = tokio::sync::watch::channel(sources);
        let stop = self.0.stop.child_token();
        state.fetching.insert(id, Running { sources: tx, stop: stop.clone() });
        drop(state);
        let files = self.clone();
        self.spawn(async move {
            // Settles what came in before it ends, so it is told and not cut.
            transfer::run(&files, id, blob, rx, stop.clone()).await;
            let mut state = files.state();
            if !stop.is_cancelled() {
                state.fetching.remove(&id);
            }
            state.progress.remove(&id);
        });
    }

    fn end(&self, id: &FileId) {
        let mut state = self.state();
        if let Some(running) = state.fetching.remove(id) {
            running.stop.cancel();
        }
        if let Some(stop) = state.depositing.remove(id) {
            stop.cancel();
        }
    }

    /// The file on disk, opened once for all who use it at the moment.
    async fn file(&self, id: FileId, blob: Blob) -> Result<Arc<OpenFile>, Refusal> {
        if let Some(open) = self.state().open.get(&id).and_then(std::sync::Weak::upgrade) {
            return Ok(open);
        }
        let folder = self.0.folder.clone();
        let opened = self.blocking(move || OpenFile::open(&folder, blob)).await?.map_err(|e| disk(&e))?;
        let mut state = self.state();
        // Somebody may have been quicker.
        if let Some(open) = state.open.get(&id).and_then(std::sync::Weak::upgrade) {
            return Ok(open);
        }
        let open = Arc::new(opened);
        state.open.retain(|_, weak| weak.strong_count() > 0);
        state.open.insert(id, Arc::downgrade(&open));
        Ok(open)
    }

    async fn tell(&self, heard: Heard) {
        // Closed: the node is stopping, and starts from its rows again.
        let _stopping = self.0.heard.send(heard).await;
    }

    fn token(&self) -> Token {
        self.0.next_token.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether a peer may have a file, and which one it is.
    async fn may_serve(&self, peer: PeerKey, root: BlobId) -> Option<(FileId, Blob)> {
        let (answer, answered) = oneshot::channel();
        let token = self.token();
        self.state().waiting.insert(token, Waiting::Serve(answer));
        self.tell(Heard::Asked { token, peer, root }).await;
        let said = tokio::time::timeout(ANSWER_WITHIN, answered).await;
        self.state().waiting.remove(&token);
        said.ok()?.ok()?
    }

    /// Asks a relay something about a chunk.
    async fn ask_relay(&self, heard: impl FnOnce(Token) -> Heard) -> Relayed {
        let (answer, answered) = oneshot::channel();
        let token = self.token();
        self.state().waiting.insert(token, Waiting::Relay(answer));
        self.tell(heard(token)).await;
        let said = tokio::time::timeout(ANSWER_WITHIN, answered).await;
        self.state().waiting.remove(&token);
        said.ok().and_then(Result::ok).unwrap_or(Relayed::Later)
    }

    /// A chunk, or none of its bytes, from a relay.
    async fn relay_chunk(&self, relay: RelayId, chunk: BlobId, len: u64) -> Relayed {
        self.ask_relay(|token| Heard::GetChunk { token, relay, chunk, len }).await
    }

    async fn command(&self, command: FileCommand) -> Result<Reply, Refusal> {
        let asker = self.state().asker.clone().ok_or_else(stopping)?;
        asker.ask(kith_core::api::Command::File(command)).await
    }

    fn publish(&self, progress: view::FileProgress, id: FileId) {
        self.state().progress.insert(id, progress.clone());
        self.0.hub.publish(&Event::FileProgress { progress });
    }

    /// How far a file is, while it is being fetched.
    pub(crate) fn progress(&self, id: &FileId) -> Option<view::FileProgress> {
        self.state().progress.get(id).cloned()
    }

    /// Bytes that the disk has left.
    pub(crate) fn free_bytes(&self) -> u64 {
        self.0.folder.free_bytes().unwrap_or(0)
    }

    /// Whether the disk has room for more than what everything else needs.
    /// Cheap: asked before every write, because others fill disks too.
    fn room(&self) -> Result<(), Refusal> {
        let free = self.0.folder.free_bytes().map_err(|e| disk(&e))?;
        if free >= SPARE_BYTES {
            return Ok(());
        }
        Err(Refusal::new(
            "disk_full",
            format!(
                "The disk is almost full: {} MiB are free. Free some space, then try again; what has arrived stays.",
                free >> 20
            ),
        ))
    }

    /// Whether so much more fits on the disk.
    fn fits(&self, bytes: u64) -> Result<(), Refusal> {
        let free = self.0.folder.free_bytes().map_err(|e| disk(&e))?;
        if bytes.saturating_add(SPARE_BYTES) <= free {
            return Ok(());
        }
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        Err(Refusal::new(
            "disk_full",
            format!(
                "There is too little space on the disk: the file takes {} MiB, and {} MiB are free. Free some space, then try again.",
                mib(bytes),
                mib(free)
            ),
        ))
    }
}
