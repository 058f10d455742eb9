//! A file on disk as all who use it at the moment see it: its chunks, the
//! names that are known, and what came in but is not settled yet.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kith_store::{BlobFile, BlobFolder, StoreError};
use kith_wire::blob::tree::{Blob, Index, Spot, Tree, open_at};
use kith_wire::cbor::WireError;
use tokio::sync::watch;

/// Nobody reads.
const NOWHERE: u64 = u64::MAX;

/// What is read of a chunk.
pub(super) enum Read {
    /// Its plaintext.
    Plain(Vec<u8>),
    /// It is not here yet.
    Missing,
    /// It was here and is damaged; it counts as missing now.
    Damaged,
}

/// See the module.
pub(super) struct OpenFile {
    pub(super) blob: Blob,
    pub(super) file: BlobFile,
    index: Mutex<Index>,
    /// Verified and written, not yet durable.
    fresh: Mutex<BTreeSet<Spot>>,
    /// Goes up whenever a chunk came in.
    changed: watch::Sender<u64>,
    /// The chunk that somebody waits for.
    focus: AtomicU64,
}

fn damaged(e: &WireError) -> StoreError {
    StoreError::Corrupt(format!("a file's list of chunks does not open: {e}"))
}

impl OpenFile {
    /// Opens it and reads the lists that are here.
    pub(super) fn open(folder: &BlobFolder, blob: Blob) -> Result<Self, StoreError> {
        let mut index = Index::new(blob.clone()).map_err(|e| damaged(&e))?;
        let tree = index.tree().clone();
        let file = folder.file(&blob.folder(), &tree)?;
        let lists = tree.chunks() - tree.data_chunks();
        for spot in (0..lists).filter_map(|number| tree.spot(number)) {
            if let Some(bytes) = file.read(spot)?
                && !matches!(index.take(spot, &bytes), Ok(true))
            {
                file.forget(&[spot])?;
            }
        }
        Ok(Self {
            blob,
            file,
            index: Mutex::new(index),
            fresh: Mutex::default(),
            changed: watch::Sender::new(0),
            focus: AtomicU64::new(NOWHERE),
        })
    }

    pub(super) fn tree(&self) -> &Tree {
        self.file.tree()
    }
    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn fresh(&self) -> MutexGuard<'_, BTreeSet<Spot>> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Verifies a chunk that came in and puts it into its place. `Ok(false)`:
    /// it is not what was asked for.
    pub(super) fn take(&self, spot: Spot, sealed: &[u8]) -> Result<bool, StoreError> {
        // The hash is computed outside of the lock: several may come at once.
        let genuine = if spot.level == 0 {
            let name = self.index().name(spot);
            sealed.len() == self.tree().sealed_len(spot)
                && name.is_some_and(|name| kith_wire::ids::BlobId::of(sealed) == name)
        } else {
            matches!(self.index().take(spot, sealed), Ok(true))
        };
        if genuine {
            self.file.write(spot, sealed)?;
            self.fresh().insert(spot);
        }
        Ok(genuine)
    }

    /// Tells those who wait that chunks came in.
    pub(super) fn notify(&self) {
        self.changed.send_modify(|n| *n += 1);
    }
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Makes chunks durable and known.
    pub(super) fn settle(&self, spots: &[Spot]) -> Result<(), StoreError> {
        self.file.settle(spots)?;
        let mut fresh = self.fresh();
        for spot in spots {
            fresh.remove(spot);
        }
        Ok(())
    }

    /// A chunk's sealed bytes, if it is here.
    pub(super) fn sealed(&self, spot: Spot) -> Result<Option<Vec<u8>>, StoreError> {
        if self.fresh().contains(&spot) {
            return self.file.peek(spot).map(Some);
        }
        self.file.read(spot)
    }

    /// Reads a chunk of the file.
    pub(super) fn read(&self, number: u64) -> Result<Read, StoreError> {
        let spot = Spot::data(number);
        let Some(sealed) = self.sealed(spot)? else { return Ok(Read::Missing) };
        let Some(name) = self.index().name(spot) else { return Ok(Read::Missing) };
        match open_at(&self.blob.key, self.tree(), spot, &name, &sealed) {
            Ok(plain) => Ok(Read::Plain(plain)),
            Err(_) => {
                self.fresh().remove(&spot);
                self.file.forget(&[spot])?;
                Ok(Read::Damaged)
            }
        }
    }

    /// Somebody waits for this chunk of the file.
    pub(super) fn want(&self, number: u64) {
        self.focus.store(number, Ordering::Relaxed);
        self.notify();
    }
    /// The chunk that somebody waits for, once.
    pub(super) fn take_focus(&self) -> Option<u64> {
        let number = self.focus.swap(NOWHERE, Ordering::Relaxed);
        (number != NOWHERE).then_some(number)
    }

    /// Bytes of the file that are here, settled or not.
    pub(super) fn have_bytes(&self) -> u64 {
        let layout = self.tree().layout(0);
        let fresh: u64 = self
            .fresh()
            .iter()
            .filter(|spot| spot.level == 0)
            .map(|spot| layout.map_or(0, |layout| layout.plain_len(spot.index) as u64))
            .sum();
        (self.file.held_bytes() + fresh).min(self.blob.size)
    }
}
