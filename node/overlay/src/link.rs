//! One link: the handshake by which both ends agree that a stream is the link
//! between them, then frames both ways until it ends.
//!
//! On the wire: the acceptor sends one byte (yes, or why not), the opener one
//! byte (yes), then both send frames: u32 length, big endian, and the frame.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::io::{ReadHalf, WriteHalf};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use kith_wire::limits::FRAME_BYTES_MAX;
use kith_wire::net::LinkId;
use libp2p::swarm::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::outbox::{Next, Outbox, Stop};
use crate::table::{Blocked, LOST, Links, Meta};

/// How long each step of the handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the last frames of a link that is being closed may take.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// Frames above this size take part in the memory budget while they come in.
const LARGE_BYTES: usize = 16 << 10;
/// How long a large frame may take to come in.
const LARGE_TIMEOUT: Duration = Duration::from_secs(120);
/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// A write buffer above this size is given back when the link falls silent.
const KEEP_BYTES: usize = 4 << 10;

/// Notes that may wait for the swarm's owner; links wait while it is full.
const NOTES_WAITING_MAX: usize = 256;
/// How long links may take to end when everything does.
const END_TIMEOUT: Duration = Duration::from_secs(2);

const YES: u8 = 1;
const REFUSED_DUPLICATE: u8 = 2;
const REFUSED_FULL: u8 = 3;

const CLOSED: &str = "the other side closed the link";

/// How a swarm's owner words its events.
pub(crate) trait Report: Send + Sync + 'static {
    /// What it emits.
    type Event: Send + 'static;
    /// A link is up.
    fn up(meta: &Meta) -> Self::Event;
    /// A frame came in.
    fn frame(link: LinkId, frame: Vec<u8>) -> Self::Event;
    /// The link is gone.
    fn down(link: LinkId, reason: String) -> Self::Event;
}

/// What a link's task tells the swarm's owner.
#[derive(Debug)]
pub(crate) enum Note {
    /// It is up.
    Up(Meta),
    /// It was up and is gone.
    Ended(Meta),
    /// It did not come up.
    Failed(Meta, Failed),
}

/// Why a link did not come up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failed {
    /// The far end refused: one is up or under way.
    Duplicate,
    /// The far end refused: it has no room.
    Full,
    /// It answered with something that this version does not know.
    Unknown,
    /// It did not answer in time.
    Timeout,
    /// The connection broke.
    Broken,
    /// It is not needed any more.
    Needless,
}

/// What all links of a swarm share.
pub(crate) struct Shared<R: Report> {
    pub(crate) links: Links,
    pub(crate) events: mpsc::Sender<R::Event>,
    pub(crate) notes: mpsc::Sender<Note>,
    /// KiB of large frames that may be coming in at once.
    pub(crate) budget: Arc<Semaphore>,
    /// The tasks of links.
    pub(crate) tasks: TaskTracker,
    /// Ends them at once, even if nobody reads the events.
    pub(crate) dead: CancellationToken,
}

impl<R: Report> Shared<R> {
    /// For links in `links`, reporting to `events`, large frames of at most
    /// `large_mib` MiB at once; the notes go to the receiver.
    pub(crate) fn new(
        links: Links,
        events: mpsc::Sender<R::Event>,
        large_mib: usize,
    ) -> (Self, mpsc::Receiver<Note>) {
        let (notes, notes_rx) = mpsc::channel(NOTES_WAITING_MAX);
        let shared = Self {
            links,
            events,
            notes,
            budget: Arc::new(Semaphore::new(large_mib << 10)),
            tasks: TaskTracker::new(),
            dead: CancellationToken::new(),
        };
        (shared, notes_rx)
    }

    /// For a handle: all of it, without keeping the events open.
    pub(crate) fn downgrade(&self) -> WeakShared<R> {
        WeakShared {
            links: self.links.clone(),
            events: self.events.downgrade(),
            budget: self.budget.clone(),
            tasks: self.tasks.clone(),
            dead: self.dead.clone(),
        }
    }

    /// Runs a link's task.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let dead = self.dead.clone();
        self.tasks.spawn(async move {
            dead.run_until_cancelled(task).await;
        });
    }
}

/// What a handle needs of [`Shared`]; the events end although it exists.
pub(crate) struct WeakShared<R: Report> {
    pub(crate) links: Links,
    events: mpsc::WeakSender<R::Event>,
    budget: Arc<Semaphore>,
    pub(crate) tasks: TaskTracker,
    pub(crate) dead: CancellationToken,
}

impl<R: Report> WeakShared<R> {
    /// For more links, with notes of their own; `None` when everything ended.
    pub(crate) fn with_notes(&self) -> Option<(Shared<R>, mpsc::Receiver<Note>)> {
        let (notes, notes_rx) = mpsc::channel(NOTES_WAITING_MAX);
        let shared = Shared {
            links: self.links.clone(),
            events: self.events.upgrade()?,
            notes,
            budget: self.budget.clone(),
            tasks: self.tasks.clone(),
            dead: self.dead.clone(),
        };
        Some((shared, notes_rx))
    }

    /// Waits for the tasks to end by themselves, then ends them.
    pub(crate) async fn end(&self) {
        self.tasks.close();
        if timeout(END_TIMEOUT, self.tasks.wait()).await.is_err() {
            self.dead.cancel();
            self.tasks.wait().await;
        }
    }
}

impl<R: Report> Clone for Shared<R> {
    fn clone(&self) -> Self {
        Self {
            links: self.links.clone(),
            events: self.events.clone(),
            notes: self.notes.clone(),
            budget: self.budget.clone(),
            tasks: self.tasks.clone(),
            dead: self.dead.clone(),
        }
    }
}

/// Runs a link that we opened, from the handshake to its end.
pub(crate) async fn open<R: Report>(shared: Shared<R>, meta: Meta, mut stream: Stream, outbox: Arc<Outbox>) {
    match greet(&shared.links, &meta, &mut stream).await {
        Ok(()) => run(shared, meta, stream, outbox).await,
        Err(why) => {
            shared.links.remove(meta.id);
            // A closed channel means that the owner is gone too.
            let _gone = shared.notes.send(Note::Failed(meta, why)).await;
        }
    }
}

async fn greet(links: &Links, meta: &Meta, stream: &mut Stream) -> Result<(), Failed> {
    let mut answer = [0];
    match timeout(HANDSHAKE_TIMEOUT, stream.read_exact(&mut answer)).await {
        Err(_) => return Err(Failed::Timeout),
        Ok(Err(_)) => return Err(Failed::Broken),
        Ok(Ok(())) => {}
    }
    match answer {
        [YES] => {}
        [REFUSED_DUPLICATE] => return Err(Failed::Duplicate),
        [REFUSED_FULL] => return Err(Failed::Full),
        _ => return Err(Failed::Unknown),
    }
    if !links.confirm_out(meta, Instant::now()) {
        return Err(Failed::Needless);
    }
    put(stream, YES).await
}

async fn put(stream: &mut Stream, byte: u8) -> Result<(), Failed> {
    let write = async {
        stream.write_all(&[byte]).await?;
        stream.flush().await
    };
    match timeout(HANDSHAKE_TIMEOUT, write).await {
        Err(_) => Err(Failed::Timeout),
        Ok(Err(_)) => Err(Failed::Broken),
        Ok(Ok(())) => Ok(()),
    }
}

/// Runs a link that the far end opened, from the handshake to its end.
pub(crate) async fn accept<R: Report>(
    shared: Shared<R>,
    meta: Meta,
    mut stream: Stream,
    outbox: Arc<Outbox>,
) {
    let agreed = async {
        put(&mut stream, YES).await?;
        let mut answer = [0];
        match timeout(HANDSHAKE_TIMEOUT, stream.read_exact(&mut answer)).await {
            Err(_) => Err(Failed::Timeout),
            Ok(Err(_)) => Err(Failed::Broken),
            Ok(Ok(())) if answer == [YES] => Ok(()),
            Ok(Ok(())) => Err(Failed::Unknown),
        }
    };
    let agreed = match agreed.await {
        Ok(()) if shared.links.confirm_in(&meta, Instant::now()) => Ok(()),
        Ok(()) => Err(Failed::Needless),
        Err(why) => Err(why),
    };
    match agreed {
        Ok(()) => run(shared, meta, stream, outbox).await,
        Err(why) => {
            shared.links.remove(meta.id);
            let _gone = shared.notes.send(Note::Failed(meta, why)).await;
        }
    }
}

/// Says no to a stream that the far end opened.
pub(crate) async fn refuse(mut stream: Stream, why: Blocked) {
    let code = match why {
        Blocked::Stands | Blocked::UnderWay => REFUSED_DUPLICATE,
        Blocked::Full => REFUSED_FULL,
    };
    if put(&mut stream, code).await.is_ok() {
        let _best_effort = timeout(HANDSHAKE_TIMEOUT, stream.close()).await;
    }
}

async fn run<R: Report>(shared: Shared<R>, meta: Meta, stream: Stream, outbox: Arc<Outbox>) {
    let id = meta.id;
    // The owner hears of it first: its dial is settled even if the events wait.
    let _gone = shared.notes.send(Note::Up(meta.clone())).await;
    if shared.events.send(R::up(&meta)).await.is_ok() {
        let (reader, writer) = stream.split();
        let reason = tokio::select! {
            // Our own reason first, should the connection end with it.
            biased;
            reason = write_frames(writer, &outbox) => reason,
            reason = read_frames(reader, &shared.events, &shared.budget, |f| R::frame(id, f)) => reason,
        };
        shared.links.remove(id);
        let _gone = shared.events.send(R::down(id, reason)).await;
    }
    shared.links.remove(id);
    let _gone = shared.notes.send(Note::Ended(meta)).await;
}

thread_local! {
    // One per worker thread and none per link: an idle link holds no buffer.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// Bytes that came in and are not yet frames.
#[derive(Default)]
struct Inbound {
    bytes: Vec<u8>,
    at: usize,
}

impl Inbound {
    /// Reads once; the number of bytes, 0 at the end of the stream.
    async fn fill<T: AsyncRead + Unpin>(&mut self, from: &mut T) -> io::Result<usize> {
        poll_fn(|cx| {
            SCRATCH.with_borrow_mut(|scratch| {
                Pin::new(&mut *from).poll_read(cx, scratch).map_ok(|n| {
                    self.bytes.extend_from_slice(scratch.get(..n).unwrap_or_default());
                    n
                })
            })
        })
        .await
    }

    /// Length of the frame that comes next, once it is known.
    fn wanted(&self) -> Option<usize> {
        let head = self.bytes.get(self.at..)?.first_chunk::<4>()?;
        Some(u32::from_be_bytes(*head) as usize)
    }

    /// The next frame, once it is whole.
    fn next(&mut self) -> Option<Vec<u8>> {
        let start = self.at + 4;
        let end = start.checked_add(self.wanted()?)?;
        let frame = self.bytes.get(start..end)?.to_vec();
        self.at = end;
        Some(frame)
    }

    /// Gives back what has been read.
    fn compact(&mut self) {
        if self.at == self.bytes.len() {
            self.bytes = Vec::new();
        } else {
            self.bytes.drain(..self.at);
        }
        self.at = 0;
    }
}

async fn read_frames<E>(
    mut from: ReadHalf<Stream>,
    events: &mpsc::Sender<E>,
    budget: &Arc<Semaphore>,
    event: impl Fn(Vec<u8>) -> E,
) -> String {
    let mut inbound = Inbound::default();
    let mut large: Option<(OwnedSemaphorePermit, Instant)> = None;
    loop {
        if inbound.wanted().is_some_and(|len| len > FRAME_BYTES_MAX) {
            return format!("the other side sent a frame of more than {FRAME_BYTES_MAX} bytes");
        }
        if let Some(frame) = inbound.next() {
            // A full channel stops the reading, and so the far end.
            if events.send(event(frame)).await.is_err() {
                return "this node is shutting down".into();
            }
            large = None;
            continue;
        }
        inbound.compact();
        if large.is_none()
            && let Some(len) = inbound.wanted().filter(|len| *len > LARGE_BYTES)
        {
            let kib = u32::try_from(len.div_ceil(1024)).unwrap_or(u32::MAX);
            match budget.clone().acquire_many_owned(kib).await {
                Ok(permit) => large = Some((permit, Instant::now() + LARGE_TIMEOUT)),
                Err(_) => return "this node is shutting down".into(),
            }
        }
        let read = match &large {
            None => inbound.fill(&mut from).await,
            Some((_, until)) => {
                match tokio::time::timeout_at((*until).into(), inbound.fill(&mut from)).await {
                    Ok(read) => read,
                    Err(_) => return "the other side took too long to send a large frame".into(),
                }
            }
        };
        match read {
            Ok(0) if inbound.bytes.is_empty() => return CLOSED.into(),
            Ok(0) => return format!("{LOST} in the middle of a frame"),
            Ok(_) => {}
            Err(_) => return LOST.into(),
        }
    }
}

async fn write_frames(mut to: WriteHalf<Stream>, outbox: &Outbox) -> String {
    let mut buf = Vec::new();
    loop {
        let due = outbox.due();
        let next = poll_fn(|cx| outbox.poll_next(cx, due.is_some(), &mut buf));
        let next = match due {
            None => next.await,
            Some(at) => match tokio::time::timeout_at(at.into(), next).await {
                Ok(next) => next,
                Err(_) => {
                    outbox.tick(Instant::now());
                    None
                }
            },
        };
        match next {
            None => {}
            Some(Next::Write { drained }) => {
                if let Err(reason) = write(&mut to, &buf, drained, outbox).await {
                    return reason;
                }
                buf.clear();
                if drained && buf.capacity() > KEEP_BYTES {
                    buf = Vec::new();
                }
            }
            Some(Next::End { reason, flush }) => {
                if flush {
                    let _best_effort = timeout(FLUSH_TIMEOUT, to.close()).await;
                }
                return reason.into();
            }
        }
    }
}

/// Writes all of `buf`; a cut link stops it, a closing one gives it a while.
async fn write<W: AsyncWrite + Unpin>(
    to: &mut W,
    buf: &[u8],
    drained: bool,
    outbox: &Outbox,
) -> Result<(), String> {
    let writing = async {
        to.write_all(buf).await?;
        // With more waiting the next write flushes.
        if drained { to.flush().await } else { Ok(()) }
    };
    tokio::pin!(writing);
    let done: io::Result<()> = tokio::select! {
        biased;
        done = &mut writing => done,
        stop = poll_fn(|cx| outbox.poll_stop(cx)) => match stop {
            Stop::Now(reason) => return Err(reason.into()),
            Stop::Soon(reason) => match timeout(FLUSH_TIMEOUT, writing).await {
                Ok(done) => done,
                Err(_) => return Err(reason.into()),
            },
        },
    };
    done.map_err(|_| LOST.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_out_of_any_split_of_the_bytes() {
        let frames: Vec<Vec<u8>> = vec![vec![], vec![1], vec![2; 300], vec![3; 70_000]];
        let mut bytes = Vec::new();
        for f in &frames {
            bytes.extend_from_slice(&u32::try_from(f.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(f);
        }
        for step in [1, 3, 7, 1000, bytes.len()] {
            let (mut inbound, mut got) = (Inbound::default(), Vec::new());
            for chunk in bytes.chunks(step) {
                inbound.bytes.extend_from_slice(chunk);
                while let Some(frame) = inbound.next() {
                    got.push(frame);
                }
                inbound.compact();
            }
            assert_eq!(got, frames);
            assert!(inbound.bytes.is_empty());
        }
    }
}
