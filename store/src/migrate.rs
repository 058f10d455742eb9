//! The schema's version and the way from older ones to it.
//!
//! Owns one row of `Table::Meta`, the authority on what the rows of a data
//! folder look like. A newer version is refused, an older one brought up step
//! by step, each step one atomic write that moves the version with it, after
//! the caller has made a copy of the folder.

use crate::{Key, Overlay, Store, StoreError, Table};

/// The version of the rows that this Kith writes.
pub const SCHEMA: u32 = 1;
/// The steps from every older version, in order.
const STEPS: &[Migration] = &[];
const VERSION_ROW: Key<'static> = Key { table: Table::Meta, name: b"schema", order: b"" };

/// One step: from version `from` to `from + 1`.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// The version it starts from.
    pub from: u32,
    /// What it does, for the log.
    pub what: &'static str,
    /// Reads the old rows and puts the changes into the overlay. Written only
    /// if it succeeds; a step that was interrupted runs again from its start.
    pub run: fn(&dyn Store, &mut Overlay) -> Result<(), StoreError>,
}

/// What opening did about the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migrated {
    /// The store was new and has its version now.
    Fresh,
    /// Nothing to do.
    Current,
    /// Brought up from this version.
    From(u32),
}

/// Brings a store to [`SCHEMA`]. `copy` is called with the version found
/// before the first row is changed, and must make a copy of the data folder
/// (for RocksDB `RocksStore::checkpoint`); its error stops the migration.
pub fn open_schema(
    store: &dyn Store,
    copy: &mut dyn FnMut(u32) -> Result<(), StoreError>,
) -> Result<Migrated, StoreError> {
    migrate(store, STEPS, SCHEMA, copy)
}

/// As [`open_schema`], with the steps and the version to reach as arguments.
pub fn migrate(
    store: &dyn Store,
    steps: &[Migration],
    target: u32,
    copy: &mut dyn FnMut(u32) -> Result<(), StoreError>,
) -> Result<Migrated, StoreError> {
    let Some(found) = version(store)? else {
        write_version(store, Overlay::default(), target)?;
        return Ok(Migrated::Fresh);
    };
    if found > target {
        return Err(StoreError::Newer { found, known: target });
    }
    if found == target {
        return Ok(Migrated::Current);
    }
    // The whole way must be known before anything is touched.
    let path: Vec<&Migration> = (found..target)
        .map(|from| {
            steps.iter().find(|step| step.from == from).ok_or_else(|| {
                StoreError::Corrupt(format!("version {from} of its rows is too old or was never published"))
            })
        })
        .collect::<Result<_, _>>()?;
    copy(found)?;
    for step in path {
        let mut changes = Overlay::default();
        (step.run)(store, &mut changes)?;
        write_version(store, changes, step.from + 1)?;
    }
    Ok(Migrated::From(found))
}

fn version(store: &dyn Store) -> Result<Option<u32>, StoreError> {
    let Some(bytes) = store.get(VERSION_ROW)? else { return Ok(None) };
    match bytes.as_slice().try_into() {
        Ok(bytes) => Ok(Some(u32::from_be_bytes(bytes))),
        Err(_) => Err(StoreError::Corrupt("the row with the version of its rows is malformed".into())),
    }
}

fn write_version(store: &dyn Store, mut changes: Overlay, version: u32) -> Result<(), StoreError> {
    changes.put(VERSION_ROW, version.to_be_bytes().to_vec());
    store.write(&changes)
}
