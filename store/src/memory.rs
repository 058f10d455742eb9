//! The store in memory: for the simulator, for tests, for anything that need
//! not outlive its process.
//!
//! Owns a sorted map per table; a snapshot shares the maps until the next
//! write. Knows no clock, thread or randomness: faults come from a hook that
//! the constructor is given.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::{Backend, Key, Overlay, Range, RawRead, Read, Row, Store, StoreError, Table, layout};

type Rows = BTreeMap<Vec<u8>, Arc<[u8]>>;
type Tables = BTreeMap<Table, Arc<Rows>>;

/// Asked before every write with the number of the write (from 0) and its
/// changes; an error refuses the write, and nothing of it becomes visible.
pub type WriteHook = Box<dyn Fn(u64, &Overlay) -> Result<(), StoreError> + Send + Sync>;

/// A store in memory. Clones share their rows, so a test can hold one while a
/// node owns the other, and start the node again on the same rows;
/// [`MemoryStore::fork`] makes an independent copy.
#[derive(Clone, Default)]
pub struct MemoryStore {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    state: RwLock<State>,
    hook: Option<WriteHook>,
}

#[derive(Default)]
struct State {
    tables: Tables,
    writes: u64,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// An empty store whose writes `hook` may refuse.
    #[must_use]
    pub fn with_hook(hook: WriteHook) -> Self {
        Self { inner: Arc::new(Inner { state: RwLock::default(), hook: Some(hook) }) }
    }
    /// An independent copy of the rows as they are now, without the hook: a
    /// disk image, to be started from later.
    #[must_use]
    pub fn fork(&self) -> Self {
        let state = State { tables: self.tables(), writes: 0 };
        Self { inner: Arc::new(Inner { state: RwLock::new(state), hook: None }) }
    }
    /// Writes done so far.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.inner.state.read().unwrap_or_else(PoisonError::into_inner).writes
    }
    /// Bytes of all keys and values.
    #[must_use]
    pub fn approximate_bytes(&self) -> u64 {
        self.tables().values().flat_map(|rows| rows.iter()).map(|(k, v)| (k.len() + v.len()) as u64).sum()
    }
    fn tables(&self) -> Tables {
        self.inner.state.read().unwrap_or_else(PoisonError::into_inner).tables.clone()
    }
    fn with<T>(&self, table: Table, f: impl FnOnce(&Rows) -> T) -> Option<T> {
        let state = self.inner.state.read().unwrap_or_else(PoisonError::into_inner);
        state.tables.get(&table).map(|rows| f(rows))
    }
}

impl core::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("MemoryStore").field("writes", &self.writes()).finish_non_exhaustive()
    }
}

fn scan(rows: &Rows, range: &Range<'_>) -> Vec<Row> {
    let Some((from, to)) = layout::bounds(range) else { return Vec::new() };
    let skip = layout::prefix(range.name).len();
    let row = |(key, value): (&Vec<u8>, &Arc<[u8]>)| Some((key.get(skip..)?.to_vec(), value.to_vec()));
    let found = rows.range(from..to);
    if range.reverse {
        found.rev().filter_map(row).take(range.limit).collect()
    } else {
        found.filter_map(row).take(range.limit).collect()
    }
}

fn values(rows: &Rows) -> Vec<Vec<u8>> {
    rows.values().map(|v| v.to_vec()).collect()
}

fn pairs(rows: &Rows) -> Vec<Row> {
    rows.iter().map(|(k, v)| (k.clone(), v.to_vec())).collect()
}

impl Read for MemoryStore {
    fn get(&self, key: Key<'_>) -> Result<Option<Vec<u8>>, StoreError> {
        let place = layout::row_key(key);
        Ok(self.with(key.table, |rows| rows.get(&place).map(|v| v.to_vec())).flatten())
    }
    fn scan(&self, range: Range<'_>) -> Result<Vec<Row>, StoreError> {
        Ok(self.with(range.table, |rows| scan(rows, &range)).unwrap_or_default())
    }
    fn scan_table(&self, table: Table) -> Result<Vec<Vec<u8>>, StoreError> {
        Ok(self.with(table, values).unwrap_or_default())
    }
}

impl RawRead for MemoryStore {
    fn raw_rows(&self, table: Table) -> Result<Vec<Row>, StoreError> {
        Ok(self.with(table, pairs).unwrap_or_default())
    }
}

impl Store for MemoryStore {
    fn write(&self, changes: &Overlay) -> Result<(), StoreError> {
        let mut state = self.inner.state.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(hook) = &self.inner.hook {
            hook(state.writes, changes)?;
        }
        state.writes += 1;
        for (table, name) in changes.shredded() {
            if let Some(rows) = state.tables.get_mut(table) {
                let (from, to) = layout::name_bounds(name);
                let doomed: Vec<Vec<u8>> = rows.range(from..to).map(|(k, _)| k.clone()).collect();
                let rows = Arc::make_mut(rows);
                for key in doomed {
                    rows.remove(&key);
                }
            }
        }
        for (key, value) in changes.changes() {
            let rows = Arc::make_mut(state.tables.entry(key.table).or_default());
            match value {
                Some(value) => rows.insert(layout::row_key(key), value.into()),
                None => rows.remove(&layout::row_key(key)),
            };
        }
        Ok(())
    }
    fn snapshot(&self) -> Box<dyn Read + Send + '_> {
        Box::new(Frozen(self.tables()))
    }
}

impl Backend for MemoryStore {
    fn raw_snapshot(&self) -> Box<dyn RawRead + Send + '_> {
        Box::new(Frozen(self.tables()))
    }
}

/// The tables of one moment.
struct Frozen(Tables);

impl Read for Frozen {
    fn get(&self, key: Key<'_>) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.get(&key.table).and_then(|rows| rows.get(&layout::row_key(key))).map(|v| v.to_vec()))
    }
    fn scan(&self, range: Range<'_>) -> Result<Vec<Row>, StoreError> {
        Ok(self.0.get(&range.table).map(|rows| scan(rows, &range)).unwrap_or_default())
    }
    fn scan_table(&self, table: Table) -> Result<Vec<Vec<u8>>, StoreError> {
        Ok(self.0.get(&table).map(|rows| values(rows)).unwrap_or_default())
    }
}

impl RawRead for Frozen {
    fn raw_rows(&self, table: Table) -> Result<Vec<Row>, StoreError> {
        Ok(self.0.get(&table).map(|rows| pairs(rows)).unwrap_or_default())
    }
}
