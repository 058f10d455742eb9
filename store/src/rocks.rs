//! The store on disk: RocksDB with one column family per table.
//!
//! Owns the database folder, how a write becomes one synchronous batch, and
//! what RocksDB's errors mean to a person. Knows rows as bytes only; values
//! arrive sealed, or belong to a relay that has nothing to seal.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rocksdb::checkpoint::Checkpoint;
use rocksdb::properties::{CUR_SIZE_ALL_MEM_TABLES, LIVE_SST_FILES_SIZE};
use rocksdb::{
    BlockBasedOptions, BottommostLevelCompaction, Cache, ColumnFamily, ColumnFamilyDescriptor,
    CompactOptions, DB, DBCompressionType, DBRecoveryMode, FlushOptions, IteratorMode, LogLevel, Options,
    ReadOptions, SnapshotWithThreadMode, WriteBatch, WriteOptions,
};

use crate::file::io_error;
use crate::{Backend, Key, Overlay, Range, RawRead, Read, Row, Store, StoreError, Table, layout};

/// Destroyed keys after which their table is compacted, so that they leave
/// the disk.
const SHREDS_PER_PURGE: usize = 64;
const DEFAULT_FAMILY: &str = "default";

/// How much memory and how many files the database may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RocksOptions {
    /// Bytes of all write buffers together.
    pub write_buffer_bytes: usize,
    /// Bytes of the block cache, indexes and filters included.
    pub block_cache_bytes: usize,
    /// Files open at once.
    pub open_files_max: i32,
    /// Flushes and compactions at once.
    pub background_jobs: i32,
    /// Bytes that must be free on the disk for a write. RocksDB takes no more
    /// writes until it is opened again once it has met a full disk, so it is
    /// not let that far: with less room writes are refused, and with at least
    /// half of it those that only delete are still taken.
    pub free_bytes_min: u64,
}

impl Default for RocksOptions {
    /// A node at rest: a few megabytes.
    fn default() -> Self {
        Self {
            write_buffer_bytes: 8 << 20,
            block_cache_bytes: 4 << 20,
            open_files_max: 256,
            background_jobs: 2,
            free_bytes_min: 64 << 20,
        }
    }
}

/// A store on disk. One process at a time; RocksDB's own lock file sees to it.
pub struct RocksStore {
    database: Arc<Database>,
    shreds: AtomicUsize,
    /// The purge that runs or ran last, on a thread of its own.
    purge: Mutex<Option<JoinHandle<()>>>,
}

struct Database {
    db: DB,
    path: PathBuf,
    free_bytes_min: u64,
}

impl core::fmt::Debug for RocksStore {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("RocksStore").field("path", &self.database.path).finish_non_exhaustive()
    }
}

impl RocksStore {
    /// Opens the database in a folder of its own, and makes it if the folder
    /// is missing or empty.
    ///
    /// # Errors
    /// `Foreign` if the folder holds something else, `InUse`, `Permission`,
    /// `Full`, `Corrupt`, else `Io`.
    pub fn open(path: &Path, options: RocksOptions) -> Result<Self, StoreError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| io_error(path, &e))?;
        let existing = families(path)?;
        let cache = Cache::new_lru_cache(options.block_cache_bytes);
        let mut names: Vec<&str> = Table::ALL.iter().map(|t| t.label()).collect();
        names.push(DEFAULT_FAMILY);
        // A newer Kith's tables must be opened too; the schema's version, which
        // its caller checks next, says the sentence.
        names.extend(existing.iter().map(String::as_str).filter(|n| !is_ours(n)));
        let descriptors =
            names.iter().map(|name| ColumnFamilyDescriptor::new(*name, family_options(&options, &cache)));
        let db = DB::open_cf_descriptors(&database_options(&options), path, descriptors)
            .map_err(|e| error(path, &e))?;
        let database =
            Arc::new(Database { db, path: path.to_owned(), free_bytes_min: options.free_bytes_min });
        database.check_default_family()?;
        let store = Self { database, shreds: AtomicUsize::new(0), purge: Mutex::default() };
        if existing.iter().any(|name| name == Table::ShredKeys.label()) {
            store.start_purge();
        }
        Ok(store)
    }
    /// Bytes on disk and in write buffers, roughly.
    pub fn approximate_bytes(&self) -> Result<u64, StoreError> {
        self.database.approximate_bytes()
    }
    /// Rewrites a table so that deleted rows leave the disk. Takes as long as
    /// reading and writing the table once.
    pub fn compact(&self, table: Table) -> Result<(), StoreError> {
        self.database.compact(table)
    }
    /// Makes a consistent copy in a folder of its own, in place of an older
    /// copy if there is one. On the same file system it shares the files and
    /// costs next to nothing.
    pub fn checkpoint(&self, folder: &Path) -> Result<(), StoreError> {
        self.database.checkpoint(folder)
    }

    /// Purges destroyed keys beside the writes, one purge at a time.
    fn start_purge(&self) {
        let mut purge = self.purge.lock().unwrap_or_else(PoisonError::into_inner);
        if purge.as_ref().is_some_and(|running| !running.is_finished()) {
            return;
        }
        self.shreds.store(0, Ordering::Relaxed);
        let database = Arc::clone(&self.database);
        let thread = thread::Builder::new().name("purge".into()).spawn(move || {
            // The rows are durable either way. What the disk refuses here it
            // refuses the next write too, which then says so.
            let _later = database.purge_shredded();
        });
        // Without a thread to be had, the next shred tries again.
        *purge = thread.ok();
    }
}

impl Drop for RocksStore {
    /// Waits for a running purge, so that the folder is free afterwards.
    fn drop(&mut self) {
        let purge = self.purge.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = purge.take() {
            let _panicked = running.join();
        }
    }
}

impl Database {
    fn approximate_bytes(&self) -> Result<u64, StoreError> {
        let mut sum = 0;
        for table in Table::ALL {
            let family = self.family(*table)?;
            for property in [LIVE_SST_FILES_SIZE, CUR_SIZE_ALL_MEM_TABLES] {
                let bytes =
                    self.db.property_int_value_cf(family, property).map_err(|e| error(&self.path, &e))?;
                sum += bytes.unwrap_or(0);
            }
        }
        Ok(sum)
    }
    fn compact(&self, table: Table) -> Result<(), StoreError> {
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        let family = self.family(table)?;
        self.db.flush_cf(family).map_err(|e| error(&self.path, &e))?;
        self.db.compact_range_cf_opt(family, None::<&[u8]>, None::<&[u8]>, &options);
        Ok(())
    }
    fn checkpoint(&self, folder: &Path) -> Result<(), StoreError> {
        let failed = |e: std::io::Error| io_error(folder, &e);
        if !folder.exists() {
            return self.copy_to(folder);
        }
        // Only a copy may be replaced, and only by a whole one.
        if !folder.join("CURRENT").exists() || families(folder)?.is_empty() {
            return Err(foreign(folder));
        }
        let mut fresh = folder.as_os_str().to_owned();
        fresh.push(".new");
        let fresh = PathBuf::from(fresh);
        if fresh.join("CURRENT").exists() {
            fs::remove_dir_all(&fresh).map_err(failed)?;
        }
        self.copy_to(&fresh)?;
        fs::remove_dir_all(folder).and_then(|()| fs::rename(&fresh, folder)).map_err(failed)
    }

    fn copy_to(&self, folder: &Path) -> Result<(), StoreError> {
        Checkpoint::new(&self.db)
            .and_then(|checkpoint| checkpoint.create_checkpoint(folder))
            .map_err(|e| error(folder, &e))
    }
    fn family(&self, table: Table) -> Result<&ColumnFamily, StoreError> {
        // `open` has opened them all.
        self.db.cf_handle(table.label()).ok_or_else(|| {
            StoreError::Corrupt(format!(
                "{}: the table \"{}\" is missing",
                self.path.display(),
                table.label()
            ))
        })
    }
    fn check_room(&self, changes: &Overlay) -> Result<(), StoreError> {
        let stat = rustix::fs::statvfs(&self.path).map_err(|e| io_error(&self.path, &e.into()))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let written = changes.value_bytes() as u64;
        let needed =
            if written == 0 { self.free_bytes_min / 2 } else { self.free_bytes_min.saturating_add(written) };
        if free < needed {
            let text = format!(
                "{}: {} MiB are free, {} MiB are needed",
                self.path.display(),
                free >> 20,
                needed >> 20
            );
            return Err(StoreError::Full(text));
        }
        Ok(())
    }
    /// Nothing of ours is ever in the family that every RocksDB database has.
    fn check_default_family(&self) -> Result<(), StoreError> {
        match self.db.iterator(IteratorMode::Start).next() {
            None => Ok(()),
            Some(Ok(_)) => Err(foreign(&self.path)),
            Some(Err(e)) => Err(error(&self.path, &e)),
        }
    }
    /// Drops destroyed keys from the disk: compacts their table, and flushes
    /// the others so that the log that still has the keys goes too. Waits for
    /// it: what is flushed later is not flushed at all if the store is closed.
    fn purge_shredded(&self) -> Result<(), StoreError> {
        self.compact(Table::ShredKeys)?;
        let families = Table::ALL.iter().map(|t| self.family(*t)).collect::<Result<Vec<_>, _>>()?;
        self.db.flush_cfs_opt(&families, &FlushOptions::default()).map_err(|e| error(&self.path, &e))
    }
    fn get_with(&self, key: Key<'_>, options: &ReadOptions) -> Result<Option<Vec<u8>>, StoreError> {
        let family = self.family(key.table)?;
        self.db.get_cf_opt(family, layout::row_key(key), options).map_err(|e| error(&self.path, &e))
    }
    fn scan_with(&self, range: &Range<'_>, mut options: ReadOptions) -> Result<Vec<Row>, StoreError> {
        let Some((from, to)) = layout::bounds(range) else { return Ok(Vec::new()) };
        let skip = layout::prefix(range.name).len();
        options.set_iterate_lower_bound(from);
        options.set_iterate_upper_bound(to);
        let mode = if range.reverse { IteratorMode::End } else { IteratorMode::Start };
        let mut rows = Vec::new();
        for row in self.db.iterator_cf_opt(self.family(range.table)?, options, mode).take(range.limit) {
            let (key, value) = row.map_err(|e| error(&self.path, &e))?;
            rows.push((key.get(skip..).unwrap_or_default().to_vec(), value.into_vec()));
        }
        Ok(rows)
    }
    fn rows_with(&self, table: Table, mut options: ReadOptions) -> Result<Vec<Row>, StoreError> {
        options.fill_cache(false);
        self.db
            .iterator_cf_opt(self.family(table)?, options, IteratorMode::Start)
            .map(|row| match row {
                Ok((key, value)) => Ok((key.into_vec(), value.into_vec())),
                Err(e) => Err(error(&self.path, &e)),
            })
            .collect()
    }
    fn view(&self) -> View<'_> {
        View { database: self, snapshot: self.db.snapshot() }
    }
}

impl Read for RocksStore {
    fn get(&self, key: Key<'_>) -> Result<Option<Vec<u8>>, StoreError> {
        self.database.get_with(key, &ReadOptions::default())
    }
    fn scan(&self, range: Range<'_>) -> Result<Vec<Row>, StoreError> {
        self.database.scan_with(&range, ReadOptions::default())
    }
    fn scan_table(&self, table: Table) -> Result<Vec<Vec<u8>>, StoreError> {
        Ok(self.raw_rows(table)?.into_iter().map(|(_, value)| value).collect())
    }
}

impl RawRead for RocksStore {
    fn raw_rows(&self, table: Table) -> Result<Vec<Row>, StoreError> {
        self.database.rows_with(table, ReadOptions::default())
    }
}

impl Store for RocksStore {
    fn write(&self, changes: &Overlay) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.database.check_room(changes)?;
        let mut batch = WriteBatch::default();
        let mut destroyed = 0;
        for (table, name) in changes.shredded() {
            let (from, to) = layout::name_bounds(name);
            batch.delete_range_cf(self.database.family(*table)?, from, to);
        }
        for (key, value) in changes.changes() {
            let family = self.database.family(key.table)?;
            match value {
                Some(value) => batch.put_cf(family, layout::row_key(key), value),
                None => batch.delete_cf(family, layout::row_key(key)),
            }
            // A key that is replaced is destroyed as well; only new names
            // count without need, which costs no more than a purge too early.
            destroyed += usize::from(key.table == Table::ShredKeys);
        }
        let mut options = WriteOptions::default();
        options.set_sync(true);
        self.database.db.write_opt(batch, &options).map_err(|e| error(&self.database.path, &e))?;
        if destroyed > 0
            && self.shreds.fetch_add(destroyed, Ordering::Relaxed) + destroyed >= SHREDS_PER_PURGE
        {
            self.start_purge();
        }
        Ok(())
    }
    fn snapshot(&self) -> Box<dyn Read + Send + '_> {
        Box::new(self.database.view())
    }
}

impl Backend for RocksStore {
    fn raw_snapshot(&self) -> Box<dyn RawRead + Send + '_> {
        Box::new(self.database.view())
    }
}

/// The database at one moment.
struct View<'a> {
    database: &'a Database,
    snapshot: SnapshotWithThreadMode<'a, DB>,
}

impl View<'_> {
    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_snapshot(&self.snapshot);
        options
    }
}

impl Read for View<'_> {
    fn get(&self, key: Key<'_>) -> Result<Option<Vec<u8>>, StoreError> {
        self.database.get_with(key, &self.options())
    }
    fn scan(&self, range: Range<'_>) -> Result<Vec<Row>, StoreError> {
        self.database.scan_with(&range, self.options())
    }
    fn scan_table(&self, table: Table) -> Result<Vec<Vec<u8>>, StoreError> {
        Ok(self.raw_rows(table)?.into_iter().map(|(_, value)| value).collect())
    }
}

impl RawRead for View<'_> {
    fn raw_rows(&self, table: Table) -> Result<Vec<Row>, StoreError> {
        self.database.rows_with(table, self.options())
    }
}

fn database_options(options: &RocksOptions) -> Options {
    let mut o = Options::default();
    o.create_if_missing(true);
    o.create_missing_column_families(true);
    o.set_db_write_buffer_size(options.write_buffer_bytes);
    o.set_max_total_wal_size(2 * options.write_buffer_bytes as u64);
    o.set_max_open_files(options.open_files_max);
    o.set_max_background_jobs(options.background_jobs);
    // Every write is synced before it counts, so a log may end in half a record
    // after a crash, but a damaged record before its end is damage: to cut the
    // log there would silently lose messages and turn ratchets back.
    o.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    o.set_log_level(LogLevel::Warn);
    o.set_keep_log_file_num(2);
    o.set_max_log_file_size(1 << 20);
    o.set_max_manifest_file_size(4 << 20);
    o.set_stats_dump_period_sec(0);
    o.set_stats_persist_period_sec(0);
    o
}

fn family_options(options: &RocksOptions, cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    blocks.set_bloom_filter(10.0, false);
    let mut o = Options::default();
    o.set_block_based_table_factory(&blocks);
    o.set_write_buffer_size(options.write_buffer_bytes / 4);
    o.set_arena_block_size(64 << 10);
    // Sealed values do not compress.
    o.set_compression_type(DBCompressionType::None);
    o
}

fn is_ours(family: &str) -> bool {
    family == DEFAULT_FAMILY || Table::ALL.iter().any(|t| t.label() == family)
}

/// The column families of an existing database, none in an empty folder. A
/// folder that was never a Kith database is refused before it is touched.
fn families(path: &Path) -> Result<Vec<String>, StoreError> {
    if !path.join("CURRENT").exists() {
        for entry in fs::read_dir(path).map_err(|e| io_error(path, &e))? {
            let name = entry.map_err(|e| io_error(path, &e))?.file_name();
            if !half_made(&name.to_string_lossy()) {
                return Err(foreign(path));
            }
        }
        return Ok(Vec::new());
    }
    let names = DB::list_cf(&Options::default(), path).map_err(|e| error(path, &e))?;
    // Creation may have been cut short before its first table.
    if names.iter().any(|n| n == Table::Meta.label()) || names == [DEFAULT_FAMILY] {
        Ok(names)
    } else {
        Err(foreign(path))
    }
}

/// Files that RocksDB writes before a database exists: what is left if the
/// very first start is cut short.
fn half_made(name: &str) -> bool {
    ["IDENTITY", "LOCK", "LOG"].contains(&name)
        || ["LOG.old.", "MANIFEST-", "OPTIONS-"].iter().any(|start| name.starts_with(start))
        || [".log", ".dbtmp"].iter().any(|end| name.ends_with(end))
}

fn foreign(path: &Path) -> StoreError {
    StoreError::Foreign(path.display().to_string())
}

fn error(path: &Path, e: &rocksdb::Error) -> StoreError {
    sentence(path, e.as_ref())
}

/// RocksDB hands its errors over as text, its own kind in front and the
/// system's words behind.
fn sentence(path: &Path, text: &str) -> StoreError {
    let has = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    let full = format!("{}: {text}", path.display());
    if has(&["No space left on device", "Disk quota exceeded", "NoSpace", "Space limit reached"]) {
        StoreError::Full(full)
    } else if has(&["Permission denied", "Read-only file system", "Operation not permitted"]) {
        StoreError::Permission(full)
    } else if has(&["LOCK: Resource temporarily unavailable", "lock hold by current process"]) {
        StoreError::InUse(path.display().to_string())
    } else if text.starts_with("Corruption") || has(&[".sst: No such file", "MANIFEST"]) {
        StoreError::Corrupt(full)
    } else {
        StoreError::Io(full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> StoreError {
        sentence(Path::new("/data"), text)
    }

    #[test]
    fn errors_of_the_disk_become_sentences() {
        let full = said(
            "IO error: No space left on device: While appending to file: /data/000004.log: No space left on device",
        );
        assert!(matches!(full, StoreError::Full(_)) && full.to_string().contains("free some space"));
        assert!(matches!(
            said("IO error: While open a file: /data/1: Permission denied"),
            StoreError::Permission(_)
        ));
        assert!(matches!(said("Corruption: block checksum mismatch"), StoreError::Corrupt(_)));
        assert!(matches!(said("IO error: While pread: /data/1.sst: Input/output error"), StoreError::Io(_)));
    }
}
