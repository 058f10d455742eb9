//! Files on disk: one folder each, with the sealed chunks as they travel.
//!
//! Owns the folder `files` of a data folder. `data` holds the file's chunks,
//! each at its own place, `lists` the lists above them, `have` a bit for each
//! chunk that is there: written only after the chunks themselves are durable,
//! so that after a crash or power loss nothing is claimed that is not there,
//! and nothing that was settled is fetched again. Bytes come and go sealed
//! under the file's own key; the folder's name says nothing without it.
//!
//! Files and not rows: chunks are large, immutable, written once and in
//! place; a database would write each of them three times.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kith_wire::blob::SEALED_BYTES_MAX;
use kith_wire::blob::tree::{Spot, Tree};

use crate::StoreError;
use crate::file::io_error;

/// Name of a file's folder.
pub type BlobName = [u8; 16];

const DATA: &str = "data";
const LISTS: &str = "lists";
const HAVE: &str = "have";
/// Ending of a folder that is being made.
const PART: &str = ".part";
/// Ending of a folder that is being removed.
const GONE: &str = ".gone";

/// All files of a data folder.
#[derive(Debug, Clone)]
pub struct BlobFolder {
    path: PathBuf,
}

fn hex(name: &BlobName) -> String {
    use std::fmt::Write as _;
    name.iter().fold(String::with_capacity(32), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<BlobName> {
    let mut name = [0; 16];
    if text.len() != 32 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    for (byte, at) in name.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(name)
}

impl BlobFolder {
    /// Opens the folder, makes it if it is missing, and clears away what a
    /// crash left half made or half removed.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| io_error(path, &e))?;
        for entry in fs::read_dir(path).map_err(|e| io_error(path, &e))? {
            let entry = entry.map_err(|e| io_error(path, &e))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.ends_with(PART) || name.ends_with(GONE) {
                fs::remove_dir_all(entry.path()).map_err(|e| io_error(&entry.path(), &e))?;
            }
        }
        Ok(Self { path: path.to_owned() })
    }

    fn at(&self, name: &BlobName) -> PathBuf {
        self.path.join(hex(name))
    }
    fn part(&self, name: &BlobName) -> PathBuf {
        self.path.join(hex(name) + PART)
    }

    /// Whether a file has a folder here.
    #[must_use]
    pub fn exists(&self, name: &BlobName) -> bool {
        self.at(name).is_dir()
    }

    /// A file that comes in: its folder is made if need be.
    pub fn file(&self, name: &BlobName, tree: &Tree) -> Result<BlobFile, StoreError> {
        BlobFile::open(self.at(name), tree.clone())
    }

    /// A file that is being sealed, under a name of the moment.
    pub fn begin(&self, name: &BlobName, tree: &Tree) -> Result<BlobFile, StoreError> {
        BlobFile::open(self.part(name), tree.clone())
    }

    /// Gives a file that was begun its own name.
    pub fn publish(&self, moment: &BlobName, name: &BlobName) -> Result<(), StoreError> {
        let (from, to) = (self.part(moment), self.at(name));
        fs::rename(&from, &to)
            .and_then(|()| File::open(&self.path)?.sync_all())
            .map_err(|e| io_error(&to, &e))
    }

    /// Gives up a file that was begun.
    pub fn abandon(&self, moment: &BlobName) -> Result<(), StoreError> {
        remove_folder(&self.part(moment))
    }

    /// Removes a file; a no-op where there is none.
    pub fn remove(&self, name: &BlobName) -> Result<(), StoreError> {
        self.detach(name)?.map_or(Ok(()), Detached::clear)
    }

    /// Takes a file's name away at once, so that it can come in anew; its
    /// space is free after [`Detached::clear`]. `None` where there is none.
    pub fn detach(&self, name: &BlobName) -> Result<Option<Detached>, StoreError> {
        let number = DETACHED.fetch_add(1, Ordering::Relaxed);
        let (from, to) = (self.at(name), self.path.join(format!("{}.{number}{GONE}", hex(name))));
        match fs::rename(&from, &to) {
            Ok(()) => Ok(Some(Detached(to))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(io_error(&from, &e)),
        }
    }

    /// Removes all files that are not `known`. Answers how many.
    pub fn retain(&self, known: &dyn Fn(&BlobName) -> bool) -> Result<u64, StoreError> {
        let mut removed = 0;
        for entry in fs::read_dir(&self.path).map_err(|e| io_error(&self.path, &e))? {
            let name = entry.map_err(|e| io_error(&self.path, &e))?.file_name();
            // What is not named like ours is not ours to remove.
            if let Some(name) = name.to_str().and_then(unhex).filter(|name| !known(name)) {
                self.remove(&name)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Bytes that a file takes on disk.
    #[must_use]
    pub fn bytes(&self, name: &BlobName) -> u64 {
        let folder = self.at(name);
        [DATA, LISTS, HAVE]
            .iter()
            .filter_map(|part| fs::metadata(folder.join(part)).ok())
            .map(|meta| meta.blocks() * 512)
            .sum()
    }

    /// Bytes that the disk still has for us.
    pub fn free_bytes(&self) -> Result<u64, StoreError> {
        let stat = rustix::fs::statvfs(&self.path).map_err(|e| io_error(&self.path, &e.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// Tells removals of one process apart.
static DETACHED: AtomicU64 = AtomicU64::new(0);

/// A file without a name: the next start clears it away if nobody does.
#[derive(Debug)]
#[must_use]
pub struct Detached(PathBuf);

impl Detached {
    /// Frees its space.
    pub fn clear(self) -> Result<(), StoreError> {
        remove_folder(&self.0)
    }
}

fn remove_folder(path: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(io_error(path, &e)),
    }
}

/// One file: the chunks that are here. Calls may come from several threads.
#[derive(Debug)]
pub struct BlobFile {
    path: PathBuf,
    tree: Tree,
    data: File,
    lists: File,
    have_file: File,
    have: Mutex<Have>,
}

#[derive(Debug)]
struct Have {
    bits: Vec<u8>,
    /// Chunks of the file itself.
    data: u64,
    all: u64,
}

fn bit(number: u64) -> Option<(usize, u8)> {
    Some((usize::try_from(number / 8).ok()?, 1 << (number % 8)))
}

impl Have {
    fn has(&self, number: u64) -> bool {
        bit(number).and_then(|(at, mask)| Some(self.bits.get(at)? & mask != 0)).unwrap_or(false)
    }
    /// Answers whether something is different, and where.
    fn set(&mut self, number: u64, data: bool, on: bool) -> Option<usize> {
        if self.has(number) == on {
            return None;
        }
        let (at, mask) = bit(number)?;
        let byte = self.bits.get_mut(at)?;
        *byte ^= mask;
        let count = |n: u64| if on { n + 1 } else { n.saturating_sub(1) };
        self.all = count(self.all);
        if data {
            self.data = count(self.data);
        }
        Some(at)
    }
}

fn open_file(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0))
        .open(path)
        .map_err(|e| io_error(path, &e))
}

impl BlobFile {
    fn open(path: PathBuf, tree: Tree) -> Result<Self, StoreError> {
        let fresh = !path.is_dir();
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(|e| io_error(&path, &e))?;
        let (data, lists) = (open_file(&path.join(DATA))?, open_file(&path.join(LISTS))?);
        let have_path = path.join(HAVE);
        let have_file = open_file(&have_path)?;
        let len = usize::try_from(tree.chunks().div_ceil(8)).unwrap_or(usize::MAX);
        let mut bits = vec![0; len];
        let there = have_file.metadata().map_err(|e| io_error(&have_path, &e))?.len();
        let there = usize::try_from(there).unwrap_or(usize::MAX).min(len);
        if let Some(head) = bits.get_mut(..there) {
            have_file.read_exact_at(head, 0).map_err(|e| io_error(&have_path, &e))?;
        }
        if fresh {
            // The names of the three are durable before anything is claimed.
            let parent = path.parent().map(File::open).transpose();
            parent
                .and_then(|parent| parent.map_or(Ok(()), |parent| parent.sync_all()))
                .and_then(|()| File::open(&path)?.sync_all())
                .map_err(|e| io_error(&path, &e))?;
        }
        let mut have = Have { bits, data: 0, all: 0 };
        let above = tree.chunks() - tree.data_chunks();
        have.all = (0..tree.chunks()).filter(|n| have.has(*n)).count() as u64;
        have.data = (above..tree.chunks()).filter(|n| have.has(*n)).count() as u64;
        Ok(Self { path, tree, data, lists, have_file, have: Mutex::new(have) })
    }

    fn have(&self) -> MutexGuard<'_, Have> {
        self.have.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file's shape.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Where a chunk's bytes are: lists stand in the order of their numbers.
    fn place(&self, spot: Spot) -> Option<(&File, u64)> {
        let number = self.tree.number(spot)?;
        let (file, slot) = if spot.level == 0 { (&self.data, spot.index) } else { (&self.lists, number) };
        Some((file, slot * SEALED_BYTES_MAX as u64))
    }

    fn no_such(&self, spot: Spot) -> StoreError {
        StoreError::Io(format!("{} has no chunk {}/{}", self.path.display(), spot.level, spot.index))
    }

    /// Puts a chunk into its place. It counts only after [`BlobFile::settle`].
    pub fn write(&self, spot: Spot, sealed: &[u8]) -> Result<(), StoreError> {
        let (file, at) = self.place(spot).ok_or_else(|| self.no_such(spot))?;
        if sealed.len() != self.tree.sealed_len(spot) {
            return Err(self.no_such(spot));
        }
        file.write_all_at(sealed, at).map_err(|e| io_error(&self.path, &e))
    }

    /// Makes chunks that were written durable, and then known as such.
    pub fn settle(&self, spots: &[Spot]) -> Result<(), StoreError> {
        if spots.is_empty() {
            return Ok(());
        }
        for (file, any) in [
            (&self.data, spots.iter().any(|s| s.level == 0)),
            (&self.lists, spots.iter().any(|s| s.level > 0)),
        ] {
            if any {
                file.sync_data().map_err(|e| io_error(&self.path, &e))?;
            }
        }
        self.mark(spots, true)
    }

    /// Chunks turned out not to be what they should: they are not here.
    pub fn forget(&self, spots: &[Spot]) -> Result<(), StoreError> {
        self.mark(spots, false)
    }

    fn mark(&self, spots: &[Spot], on: bool) -> Result<(), StoreError> {
        let mut have = self.have();
        let mut changed: Option<(usize, usize)> = None;
        let mut turned = Vec::new();
        for spot in spots {
            let Some(number) = self.tree.number(*spot) else { continue };
            if let Some(at) = have.set(number, spot.level == 0, on) {
                let (from, to) = changed.unwrap_or((at, at));
                changed = Some((from.min(at), to.max(at)));
                turned.push((number, spot.level == 0));
            }
        }
        let Some((from, to)) = changed else { return Ok(()) };
        let bytes = have.bits.get(from..=to).unwrap_or_default();
        let written =
            self.have_file.write_all_at(bytes, from as u64).and_then(|()| self.have_file.sync_data());
        if written.is_err() {
            // What could not be written down is not claimed either.
            for (number, data) in turned {
                have.set(number, data, !on);
            }
        }
        written.map_err(|e| io_error(&self.path, &e))
    }

    /// Whether a chunk is here, durable and known.
    #[must_use]
    pub fn has(&self, spot: Spot) -> bool {
        self.tree.number(spot).is_some_and(|number| self.have().has(number))
    }

    /// A chunk's sealed bytes; `None` if it is not here.
    pub fn read(&self, spot: Spot) -> Result<Option<Vec<u8>>, StoreError> {
        if !self.has(spot) {
            return Ok(None);
        }
        let (file, at) = self.place(spot).ok_or_else(|| self.no_such(spot))?;
        let mut bytes = vec![0; self.tree.sealed_len(spot)];
        match file.read_exact_at(&mut bytes, at) {
            Ok(()) => Ok(Some(bytes)),
            // The file was cut: by a disk or by a hand. It is fetched again.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                self.forget(&[spot])?;
                Ok(None)
            }
            Err(e) => Err(io_error(&self.path, &e)),
        }
    }

    /// The bytes of a chunk that was written by this process and is not yet
    /// settled.
    pub fn peek(&self, spot: Spot) -> Result<Vec<u8>, StoreError> {
        let (file, at) = self.place(spot).ok_or_else(|| self.no_such(spot))?;
        let mut bytes = vec![0; self.tree.sealed_len(spot)];
        file.read_exact_at(&mut bytes, at).map_err(|e| io_error(&self.path, &e))?;
        Ok(bytes)
    }

    /// Chunks of the file itself that are here.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.have().data
    }

    /// Bytes of the file itself that are here, padding not counted.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        let held = self.held();
        let Some(layout) = self.tree.layout(0) else { return 0 };
        let last = layout.chunks() - 1;
        let full = kith_wire::limits::BLOB_CHUNK_BYTES as u64;
        if self.has(Spot::data(last)) {
            held.saturating_sub(1) * full + layout.plain_len(last) as u64
        } else {
            held * full
        }
    }

    /// Whether everything is here.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.have().all == self.tree.chunks()
    }

    /// The chunks of the file itself that are here, a bit each, lowest first.
    #[must_use]
    pub fn holds(&self) -> Vec<u8> {
        let above = self.tree.chunks() - self.tree.data_chunks();
        let have = self.have();
        let mut bits = vec![0; usize::try_from(self.tree.data_chunks().div_ceil(8)).unwrap_or(0)];
        for index in 0..self.tree.data_chunks() {
            if have.has(above + index)
                && let Some((at, mask)) = bit(index)
                && let Some(byte) = bits.get_mut(at)
            {
                *byte |= mask;
            }
        }
        bits
    }
}
