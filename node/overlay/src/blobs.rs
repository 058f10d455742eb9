//! Streams that carry files: `/kith/blob/1` on direct connections only. Each
//! is one ordered way to one peer whose transport key is authenticated; what
//! is said on it is none of this crate's business.

use std::io;
use std::time::Duration;

use futures::io::{ReadHalf, WriteHalf};
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use kith_wire::ids::PeerKey;
use libp2p::swarm::Stream;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Streams that came in and wait to be looked at; more are dropped, which the
/// far end sees as a closed stream.
pub(crate) const INCOMING_MAX: usize = 16;
/// Streams being opened at once.
pub(crate) const OPENING_MAX: usize = 64;
/// How long the end of a stream may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// There is no direct connection to this peer.
    #[error("there is no direct connection to this device")]
    NoConnection,
    /// The peer did not agree to it.
    #[error("the device does not give files, or did not answer")]
    Refused,
    /// This node is ending its connections.
    #[error("this node is shutting down")]
    Closed,
}

/// Where an opened stream goes.
pub(crate) type Opened = oneshot::Sender<Result<BlobStream, BlobError>>;

/// A stream for files.
pub struct BlobStream {
    /// The far end's authenticated transport key.
    pub peer: PeerKey,
    /// Frames from it.
    pub reader: BlobReader,
    /// Frames to it.
    pub writer: BlobWriter,
}

impl std::fmt::Debug for BlobStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobStream").finish_non_exhaustive()
    }
}

impl BlobStream {
    pub(crate) fn new(peer: PeerKey, stream: Stream) -> Self {
        let (reader, writer) = stream.split();
        Self { peer, reader: BlobReader(reader), writer: BlobWriter(writer) }
    }
}

/// The receiving half.
pub struct BlobReader(ReadHalf<Stream>);

/// The sending half.
pub struct BlobWriter(WriteHalf<Stream>);

impl BlobReader {
    /// The next frame; `None` at the end of the stream. A frame of more than
    /// `max` bytes is an error before it is read.
    pub async fn next(&mut self, max: usize) -> io::Result<Option<Vec<u8>>> {
        let mut head = [0; 4];
        match self.0.read_exact(&mut head).await {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(e) => return Err(e),
        }
        let len = u32::from_be_bytes(head) as usize;
        if len > max {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too large"));
        }
        let mut frame = vec![0; len];
        self.0.read_exact(&mut frame).await?;
        Ok(Some(frame))
    }
}

impl BlobWriter {
    /// Sends a frame; it may wait here until [`BlobWriter::flush`].
    pub async fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        let len = u32::try_from(frame.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.0.write_all(&len.to_be_bytes()).await?;
        self.0.write_all(frame).await
    }
    /// Sees what was sent on its way.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.0.flush().await
    }
    /// Ends this direction in good order.
    pub async fn close(&mut self) {
        let _best_effort = timeout(CLOSE_TIMEOUT, self.0.close()).await;
    }
}
