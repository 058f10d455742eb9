//! Blob chunks on disk: one file each, named by hash, in 256 folders.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use kith_bootstrap::{ChunkStore, Known};
use kith_store::StoreError;
use kith_wire::ids::BlobId;

/// Ending of a file that is not whole yet.
const PART: &str = "part";

/// Chunks in a folder.
pub(crate) struct DiskChunks {
    path: PathBuf,
    /// Folders with new names since the last sync.
    touched: BTreeSet<PathBuf>,
}

fn failed(path: &Path, e: &io::Error) -> StoreError {
    let text = format!("{}: {e}", path.display());
    match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full(text),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => StoreError::Permission(text),
        _ => StoreError::Io(text),
    }
}

impl DiskChunks {
    /// Opens the folder, and makes it if it is missing.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| failed(path, &e))?;
        Ok(Self { path: path.to_owned(), touched: BTreeSet::new() })
    }

    fn place(&self, id: &BlobId) -> (PathBuf, PathBuf) {
        let name = id.hex();
        let folder = self.path.join(name.get(..2).unwrap_or_default());
        let file = folder.join(&name);
        (folder, file)
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

impl ChunkStore for DiskChunks {
    fn put(&mut self, id: &BlobId, bytes: &[u8]) -> Result<(), StoreError> {
        let (folder, file) = self.place(id);
        if !folder.exists() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)
                .map_err(|e| failed(&folder, &e))?;
            self.touched.insert(self.path.clone());
        }
        let part = file.with_extension(PART);
        write_new(&part, bytes).and_then(|()| fs::rename(&part, &file)).map_err(|e| {
            // What is left of it goes at the next start at the latest.
            let _left = fs::remove_file(&part);
            failed(&file, &e)
        })?;
        self.touched.insert(folder);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        while let Some(folder) = self.touched.pop_first() {
            File::open(&folder).and_then(|f| f.sync_all()).map_err(|e| failed(&folder, &e))?;
        }
        Ok(())
    }

    fn get(&self, id: &BlobId, from: u64, len: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let (_, path) = self.place(id);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(failed(&path, &e)),
        };
        let total = file.metadata().map_err(|e| failed(&path, &e))?.len();
        let wanted = len.min(total.saturating_sub(from));
        let mut bytes = vec![0; usize::try_from(wanted).unwrap_or(0)];
        file.read_exact_at(&mut bytes, from).map_err(|e| failed(&path, &e))?;
        Ok(Some(bytes))
    }

    fn remove(&mut self, id: &BlobId) -> Result<(), StoreError> {
        let (_, path) = self.place(id);
        match fs::remove_file(&path) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(failed(&path, &e)),
        }
    }

    fn retain(&mut self, known: Known<'_>) -> Result<u64, StoreError> {
        let mut removed = 0;
        for folder in fs::read_dir(&self.path).map_err(|e| failed(&self.path, &e))? {
            let folder = folder.map_err(|e| failed(&self.path, &e))?.path();
            if !folder.is_dir() {
                continue;
            }
            for file in fs::read_dir(&folder).map_err(|e| failed(&folder, &e))? {
                let file = file.map_err(|e| failed(&folder, &e))?.path();
                let name = file.file_name().and_then(|n| n.to_str()).unwrap_or_default();
                let part = name.ends_with(PART);
                // What is not named like ours is not ours to remove.
                let unknown = match BlobId::from_hex(name) {
                    Some(id) => !known(&id)?,
                    None => part,
                };
                if unknown {
                    fs::remove_file(&file).map_err(|e| failed(&file, &e))?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_come_back_in_parts_and_strays_go() {
        let dir = tempfile::tempdir().unwrap();
        let mut chunks = DiskChunks::open(&dir.path().join("chunks")).unwrap();
        let (kept, stray) = (BlobId::of(b"kept"), BlobId::of(b"stray"));
        chunks.put(&kept, b"kept").unwrap();
        chunks.put(&kept, b"kept").unwrap();
        chunks.put(&stray, b"stray").unwrap();
        chunks.sync().unwrap();
        assert_eq!(chunks.get(&kept, 1, 2).unwrap().unwrap(), b"ep");
        assert_eq!(chunks.get(&kept, 1, u64::MAX).unwrap().unwrap(), b"ept");
        assert_eq!(chunks.get(&kept, 9, 9).unwrap().unwrap(), b"");
        assert_eq!(chunks.get(&BlobId([0; 32]), 0, 1).unwrap(), None);
        let (folder, _) = chunks.place(&kept);
        fs::write(folder.join("half.part"), b"x").unwrap();
        fs::write(folder.join("not ours"), b"x").unwrap();
        assert_eq!(chunks.retain(&|id| Ok(*id == kept)).unwrap(), 2);
        assert!(folder.join("not ours").exists());
        assert_eq!(chunks.get(&stray, 0, 9).unwrap(), None);
        chunks.remove(&kept).unwrap();
        chunks.remove(&kept).unwrap();
        assert_eq!(chunks.get(&kept, 0, 9).unwrap(), None);
    }
}
