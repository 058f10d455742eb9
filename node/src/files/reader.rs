//! Opens a file for the person, from any place on, while it is still coming.

use std::sync::Arc;
use std::time::Duration;

use kith_core::api::{FileCommand, Refusal};
use kith_core::files::port::Heard;
use kith_core::view::FileState;
use kith_wire::blob::tree::Blob;
use kith_wire::ids::FileId;
use kith_wire::limits::BLOB_CHUNK_BYTES;

use super::open::{OpenFile, Read};
use super::{Files, disk};

/// How long a reader waits for bytes that do not come.
const PATIENCE: Duration = Duration::from_secs(120);

/// Reads one file.
pub(crate) struct Reader {
    files: Files,
    id: FileId,
    open: Arc<OpenFile>,
}

impl Files {
    /// Opens a file that is here or on its way; one that is neither is
    /// fetched from now on.
    pub(crate) async fn reader(&self, id: FileId, blob: Blob, state: FileState) -> Result<Reader, Refusal> {
        if state != FileState::Here {
            self.command(FileCommand::Read { file: id }).await?;
        }
        let open = self.file(id, blob).await?;
        self.tell(Heard::Used { id }).await;
        Ok(Reader { files: self.clone(), id, open })
    }
}

impl Reader {
    /// Bytes from `offset` on: some, at most to the end of their chunk; none
    /// at the end of the file. Waits for what is still to come.
    pub(crate) async fn read(&mut self, offset: u64) -> Result<Vec<u8>, Refusal> {
        if offset >= self.open.blob.size {
            return Ok(Vec::new());
        }
        let number = offset / BLOB_CHUNK_BYTES as u64;
        let skip = usize::try_from(offset % BLOB_CHUNK_BYTES as u64).unwrap_or(0);
        let mut changes = self.open.changes();
        let mut asked = false;
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            changes.mark_unchanged();
            let open = Arc::clone(&self.open);
            let read = self.files.blocking(move || open.read(number)).await?.map_err(|e| disk(&e))?;
            match read {
                Read::Plain(mut plain) => {
                    plain.drain(..skip.min(plain.len()));
                    return Ok(plain);
                }
                Read::Damaged => {
                    // The row says that it is here: it is not any more.
                    self.files.tell(Heard::Damaged { id: self.id }).await;
                    self.files.command(FileCommand::Read { file: self.id }).await?;
                    self.open.want(number);
                }
                Read::Missing if !asked => {
                    asked = true;
                    let fetching = self.files.state().fetching.contains_key(&self.id);
                    if !fetching {
                        self.files.tell(Heard::Damaged { id: self.id }).await;
                        self.files.command(FileCommand::Read { file: self.id }).await?;
                    }
                    self.open.want(number);
                }
                Read::Missing => {}
            }
            let stopping = self.files.0.stop.clone();
            tokio::select! {
                _ = changes.changed() => {}
                () = stopping.cancelled() => return Err(super::stopping()),
                () = tokio::time::sleep_until(end) => return Err(Refusal::new(
                    "not_here_yet",
                    "This part of the file has not arrived: nobody who has it can be reached. It goes on by itself when somebody can.",
                )),
            }
        }
    }
}
