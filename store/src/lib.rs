//! Durable state: one trait, atomic batches, sealed rows.
//!
//! Owns the `Store` trait, the transaction overlay, sealing of rows under the
//! vault's master key, the vault itself, and the two backends. Must never
//! know what a row means: tables are named here, their contents belong to
//! `mls`, `node/core` and `bootstrap`.

mod argon;
mod blobs;
mod cache;
mod file;
mod layout;
mod lock;
mod memory;
mod migrate;
#[cfg(feature = "rocksdb")]
mod rocks;
mod sealed;
mod table;
mod tx;
mod vault;

pub use argon::{Argon2Params, calibrate};
pub use blobs::{BlobFile, BlobFolder, BlobName, Detached};
pub use file::write_atomic;
pub use lock::{DataLock, LockError};
pub use memory::{MemoryStore, WriteHook};
pub use migrate::{Migrated, Migration, SCHEMA, migrate, open_schema};
#[cfg(feature = "rocksdb")]
pub use rocks::{RocksOptions, RocksStore};
pub use sealed::Sealed;
#[cfg(feature = "test-unsealed")]
pub use sealed::UNSEALED;
pub use table::{Key, Table};
pub use tx::{Overlay, Tx};
pub use vault::{PASSPHRASE_BYTES_MAX, PASSPHRASE_CHARS_MIN, VaultError, VaultHeader, check_passphrase};

/// Why the store could not do what was asked. Every variant is the
/// environment's or the vault's fault, never a peer's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The disk said no: broken, gone, or in a way that has no variant here.
    #[error("the disk refused: {0}. Check the disk, then start Kith again")]
    Io(String),
    /// No space left.
    #[error(
        "the disk is full: free some space, then try again; if that does not help, start Kith again ({0})"
    )]
    Full(String),
    /// The folder may not be read or written.
    #[error(
        "the data folder may not be read or written: give it to the user that runs Kith, or choose another folder ({0})"
    )]
    Permission(String),
    /// Another process has the database open.
    #[error("the data folder is in use by another process: stop it first, or choose another folder ({0})")]
    InUse(String),
    /// The folder holds something that is not ours.
    #[error(
        "this folder holds something else than Kith's data: choose an empty folder, or the one that Kith made ({0})"
    )]
    Foreign(String),
    /// A row does not open under this vault's key, or is no row of ours.
    #[error(
        "the data folder is damaged or belongs to another vault: {0}. Restore it from a copy, or recover with the 24 words into an empty folder"
    )]
    Corrupt(String),
    /// The data was written by a newer Kith.
    #[error("the data folder has version {found}; this Kith reads up to {known}. Install a newer Kith")]
    Newer {
        /// Version on disk.
        found: u32,
        /// Highest version known here.
        known: u32,
    },
}

/// Reading rows. Implemented by backends, snapshots and transactions alike.
pub trait Read {
    /// The value of one row.
    fn get(&self, key: Key<'_>) -> Result<Option<Vec<u8>>, StoreError>;
    /// Rows of one (table, name) whose `order` lies in `[from, to)`, ascending
    /// or descending, at most `limit`. Answers `(order, value)`.
    fn scan(&self, range: Range<'_>) -> Result<Vec<Row>, StoreError>;
    /// The values of all rows of a table in no particular order. For small
    /// tables only (contacts, conversations, relays), read at start.
    fn scan_table(&self, table: Table) -> Result<Vec<Vec<u8>>, StoreError>;
}

/// One row as a scan gives it: its `order` part and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// What [`Read::scan`] looks at.
#[derive(Debug, Clone, Copy)]
pub struct Range<'a> {
    /// Table.
    pub table: Table,
    /// Variable part of the key, hashed by the sealing layer.
    pub name: &'a [u8],
    /// First `order`, inclusive.
    pub from: &'a [u8],
    /// End of `order`, exclusive; `None` = to the end.
    pub to: Option<&'a [u8]>,
    /// Descending.
    pub reverse: bool,
    /// Rows at most.
    pub limit: usize,
}

/// A backend, sealed or not: reads, and atomic durable writes.
pub trait Store: Read + Send + Sync + 'static {
    /// Applies all changes of the overlay atomically and durably: when this
    /// returns `Ok`, they survive `kill -9` and power loss; when it returns
    /// `Err`, none of them is visible.
    fn write(&self, changes: &Overlay) -> Result<(), StoreError>;
    /// A consistent view of this moment, for readers on other threads.
    fn snapshot(&self) -> Box<dyn Read + Send + '_>;
}

/// Reading rows as they lie in a backend, for the sealing layer.
pub trait RawRead: Read {
    /// All rows of a table as (row key, value), in the order of their keys.
    /// The row key is `length of name ‖ name ‖ order`.
    fn raw_rows(&self, table: Table) -> Result<Vec<Row>, StoreError>;
}

/// A store that rows can be sealed on: see [`Sealed`].
pub trait Backend: Store + RawRead {
    /// As [`Store::snapshot`], with the rows as they lie.
    fn raw_snapshot(&self) -> Box<dyn RawRead + Send + '_>;
}
