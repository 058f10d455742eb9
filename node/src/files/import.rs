//! Seals what a person adds, as it comes in: constant memory, on disk before
//! it is named.

use std::sync::Arc;

use kith_core::api::{FileCommand, Refusal, Reply};
use kith_store::{BlobFile, BlobFolder, BlobName};
use kith_wire::blob::tree::{Sealer, Spot};
use kith_wire::crypto::Secret;
use kith_wire::ids::FileId;
use tokio::sync::OwnedSemaphorePermit;

use super::{Files, disk};
use crate::system;

/// Chunks that are settled together: 32 MiB.
const SETTLE_CHUNKS: usize = 128;

/// A file that is coming in. Dropped before its end, nothing of it stays.
pub(crate) struct Import {
    files: Files,
    name: String,
    media_type: String,
    moment: BlobName,
    work: Option<Work>,
    finished: bool,
    _permit: OwnedSemaphorePermit,
}

/// What a thread that may wait works on.
struct Work {
    sealer: Sealer,
    file: Arc<BlobFile>,
    rest: Vec<u8>,
    unsettled: Vec<Spot>,
}

fn wrong_length() -> Refusal {
    Refusal::new("bad_length", "The file was cut short or is longer than announced. Send it again.")
}

impl Work {
    fn take(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let wanted = self.sealer.wanted().ok_or_else(wrong_length)?;
            let (now, later) = bytes.split_at((wanted - self.rest.len()).min(bytes.len()));
            self.rest.extend_from_slice(now);
            bytes = later;
            if self.rest.len() == wanted {
                self.seal()?;
            }
        }
        Ok(())
    }

    fn seal(&mut self) -> Result<(), Refusal> {
        let chunk = self.sealer.chunk(&self.rest).map_err(|_| wrong_length())?;
        self.rest.clear();
        self.file.write(chunk.spot, &chunk.bytes).map_err(|e| disk(&e))?;
        self.unsettled.push(chunk.spot);
        if self.unsettled.len() >= SETTLE_CHUNKS {
            self.file.settle(&self.unsettled).map_err(|e| disk(&e))?;
            self.unsettled.clear();
        }
        Ok(())
    }
}

impl Files {
    /// Begins a file of exactly `size` bytes.
    pub(crate) async fn import(
        &self,
        name: String,
        media_type: String,
        size: u64,
    ) -> Result<Import, Refusal> {
        let permit = Arc::clone(&self.0.imports).try_acquire_owned().map_err(|_| {
            Refusal::new("busy", "Several files are being added already. Wait until one is done.")
        })?;
        let too_large =
            |_| Refusal::new("file_too_large", "The file is too large: at most 64 GiB. Send it in parts.");
        let key = Secret::new(system::random()?);
        let sealer = Sealer::new(key, size).map_err(too_large)?;
        self.fits(sealer.tree().sealed_bytes())?;
        let [moment, _] = halves(system::random()?);
        let (folder, tree) = (self.0.folder.clone(), sealer.tree().clone());
        let file = self.blocking(move || folder.begin(&moment, &tree)).await?.map_err(|e| disk(&e))?;
        Ok(Import {
            files: self.clone(),
            name,
            media_type,
            moment,
            work: Some(Work { sealer, file: Arc::new(file), rest: Vec::new(), unsettled: Vec::new() }),
            finished: false,
            _permit: permit,
        })
    }
}

fn halves(bytes: [u8; 32]) -> [BlobName; 2] {
    let (mut first, mut second) = ([0; 16], [0; 16]);
    first.copy_from_slice(&bytes[..16]);
    second.copy_from_slice(&bytes[16..]);
    [first, second]
}

impl Import {
    async fn with<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Work) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let mut held = self.work.take().ok_or_else(wrong_length)?;
        let (held, result) = self
            .files
            .blocking(move || {
                let result = work(&mut held);
                (held, result)
            })
            .await?;
        self.work = Some(held);
        result
    }

    /// The next bytes.
    pub(crate) async fn write(&mut self, bytes: Vec<u8>) -> Result<(), Refusal> {
        let files = self.files.clone();
        self.with(move |work| {
            files.room()?;
            work.take(&bytes)
        })
        .await
    }

    /// All bytes were written: the file is durable and can be sent.
    pub(crate) async fn finish(mut self) -> Result<FileId, Refusal> {
        // An empty file has one chunk all the same.
        self.with(|work| if work.sealer.wanted() == Some(0) { work.seal() } else { Ok(()) }).await?;
        let work = self.work.take().ok_or_else(wrong_length)?;
        let (folder, moment) = (self.files.0.folder.clone(), self.moment);
        let sealed = self.files.blocking(move || finish(work, &folder, &moment)).await?;
        let blob = sealed?;
        self.finished = true;
        let command = FileCommand::Add {
            blob,
            name: core::mem::take(&mut self.name),
            media_type: core::mem::take(&mut self.media_type),
        };
        match self.files.command(command).await? {
            Reply::File(id) => Ok(id),
            _ => Err(Refusal::new("internal", "The file could not be added.")),
        }
    }
}

fn finish(
    work: Work,
    folder: &BlobFolder,
    moment: &BlobName,
) -> Result<kith_wire::blob::tree::Blob, Refusal> {
    let Work { sealer, file, rest, mut unsettled } = work;
    if !rest.is_empty() {
        return Err(wrong_length());
    }
    let (blob, lists) = sealer.finish().map_err(|_| wrong_length())?;
    for list in lists {
        file.write(list.spot, &list.bytes).map_err(|e| disk(&e))?;
        unsettled.push(list.spot);
    }
    file.settle(&unsettled).map_err(|e| disk(&e))?;
    folder.publish(moment, &blob.folder()).map_err(|e| disk(&e))?;
    Ok(blob)
}

impl Drop for Import {
    fn drop(&mut self) {
        if !self.finished {
            let (folder, moment) = (self.files.0.folder.clone(), self.moment);
            self.files.0.runtime.spawn_blocking(move || {
                // Else the next start clears it away.
                let _left = folder.abandon(&moment);
            });
        }
    }
}
