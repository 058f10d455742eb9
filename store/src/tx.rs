//! The transaction overlay: writes of one burst of inputs, read back by their
//! writer, applied as one batch.

use std::collections::BTreeMap;

use crate::{Key, Range, Read, Row, Store, StoreError, Table};

type Place = (Vec<u8>, Vec<u8>);

/// Uncommitted changes. `None` marks a deletion.
#[derive(Debug, Default, Clone)]
pub struct Overlay {
    rows: BTreeMap<Table, BTreeMap<Place, Option<Vec<u8>>>>,
    shredded: Vec<(Table, Vec<u8>)>,
}

impl Overlay {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shredded.is_empty() && self.rows.values().all(BTreeMap::is_empty)
    }
    /// All row changes: table, name, order, value or deletion.
    pub fn changes(&self) -> impl Iterator<Item = (Key<'_>, Option<&[u8]>)> {
        self.rows.iter().flat_map(|(table, rows)| {
            rows.iter().map(|((name, order), value)| (Key::at(*table, name, order), value.as_deref()))
        })
    }
    /// Names whose rows are to be destroyed for good.
    pub fn shredded(&self) -> &[(Table, Vec<u8>)] {
        &self.shredded
    }
    /// Bytes of the values to be written.
    #[must_use]
    pub fn value_bytes(&self) -> usize {
        self.changes().filter_map(|(_, v)| v.map(<[u8]>::len)).sum()
    }
    /// Takes over another overlay's changes, which are later than these.
    pub fn absorb(&mut self, later: Self) {
        for (table, name) in &later.shredded {
            self.shred(*table, name);
        }
        for (table, rows) in later.rows {
            self.rows.entry(table).or_default().extend(rows);
        }
    }
    /// Writes a row.
    pub fn put(&mut self, key: Key<'_>, value: Vec<u8>) {
        self.set(key, Some(value));
    }
    /// Deletes a row; a no-op where there is none.
    pub fn delete(&mut self, key: Key<'_>) {
        self.set(key, None);
    }
    /// Destroys all rows under a name that were written before, here or in
    /// the store. Rows put under the name afterwards stay.
    pub fn shred(&mut self, table: Table, name: &[u8]) {
        if let Some(rows) = self.rows.get_mut(&table) {
            rows.retain(|(n, _), _| n != name);
        }
        if let Err(at) = self.find_shred(table, name) {
            self.shredded.insert(at, (table, name.to_vec()));
        }
    }
    fn set(&mut self, key: Key<'_>, value: Option<Vec<u8>>) {
        self.rows.entry(key.table).or_default().insert((key.name.to_vec(), key.order.to_vec()), value);
    }
    /// `shredded` is sorted, so that a burst with many shreds stays cheap to read.
    fn find_shred(&self, table: Table, name: &[u8]) -> Result<usize, usize> {
        self.shredded.binary_search_by(|(t, n)| (*t, n.as_slice()).cmp(&(table, name)))
    }
    fn is_shredded(&self, table: Table, name: &[u8]) -> bool {
        self.find_shred(table, name).is_ok()
    }
}

/// A view of the store with uncommitted changes on top. `under` holds changes
/// of earlier inputs of the same burst, `top` those of this input; dropping
/// `top` undoes the input.
pub struct Tx<'a> {
    store: &'a dyn Store,
    under: &'a Overlay,
    top: Overlay,
}

impl<'a> Tx<'a> {
    /// Starts an input's transaction on top of the burst's earlier changes.
    #[must_use]
    pub fn new(store: &'a dyn Store, under: &'a Overlay) -> Self {
        Self { store, under, top: Overlay::default() }
    }
    /// Ends the input; the caller absorbs the result into the burst.
    #[must_use]
    pub fn finish(self) -> Overlay {
        self.top
    }
    /// Runs `f`, and takes back what it wrote if it fails.
    pub fn all_or_nothing<T, E>(&mut self, f: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        let before = self.top.clone();
        let done = f(self);
        if done.is_err() {
            self.top = before;
        }
        done
    }
    /// Writes a row.
    pub fn put(&mut self, key: Key<'_>, value: Vec<u8>) {
        self.top.put(key, value);
    }
    /// Deletes a row; a no-op where there is none.
    pub fn delete(&mut self, key: Key<'_>) {
        self.top.delete(key);
    }
    /// Destroys all rows under a name of a shreddable table so that not even
    /// the disk's old blocks can be read: their key goes. In other tables the
    /// rows are deleted and no more.
    pub fn shred(&mut self, table: Table, name: &[u8]) {
        self.top.shred(table, name);
    }
    fn layers(&self) -> [&Overlay; 2] {
        [self.under, &self.top]
    }
}

impl Read for Tx<'_> {
    fn get(&self, key: Key<'_>) -> Result<Option<Vec<u8>>, StoreError> {
        let mut place = None;
        for layer in self.layers().iter().rev() {
            if let Some(rows) = layer.rows.get(&key.table).filter(|rows| !rows.is_empty()) {
                let place = place.get_or_insert_with(|| (key.name.to_vec(), key.order.to_vec()));
                if let Some(value) = rows.get(&*place) {
                    return Ok(value.clone());
                }
            }
            if layer.is_shredded(key.table, key.name) {
                return Ok(None);
            }
        }
        self.store.get(key)
    }

    fn scan(&self, range: Range<'_>) -> Result<Vec<Row>, StoreError> {
        let name = range.name.to_vec();
        let first = (name.clone(), range.from.to_vec());
        let mut changed: BTreeMap<&[u8], Option<&Vec<u8>>> = BTreeMap::new();
        let mut shredded = false;
        for layer in self.layers() {
            if layer.is_shredded(range.table, range.name) {
                shredded = true;
                changed.clear();
            }
            if let Some(rows) = layer.rows.get(&range.table) {
                for ((n, order), value) in rows.range(&first..) {
                    if *n != name || range.to.is_some_and(|to| order.as_slice() >= to) {
                        break;
                    }
                    changed.insert(order, value.as_ref());
                }
            }
        }
        if changed.is_empty() && !shredded {
            return self.store.scan(range);
        }
        let mut merged: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        if !shredded {
            // Deleted rows may hide as many stored ones as there are deletions.
            let hidden = changed.values().filter(|v| v.is_none()).count();
            let limit = range.limit.saturating_add(hidden);
            merged.extend(self.store.scan(Range { limit, ..range })?);
        }
        for (order, value) in changed {
            match value {
                Some(v) => merged.insert(order.to_vec(), v.clone()),
                None => merged.remove(order),
            };
        }
        let rows: Box<dyn Iterator<Item = Row>> =
            if range.reverse { Box::new(merged.into_iter().rev()) } else { Box::new(merged.into_iter()) };
        Ok(rows.take(range.limit).collect())
    }

    fn scan_table(&self, table: Table) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut values = self.store.scan_table(table)?;
        // Values come without their keys: what a pending change replaces is
        // looked up by its key and taken out once.
        let mut replaced: BTreeMap<(&[u8], Vec<u8>), _> = BTreeMap::new();
        for layer in self.layers() {
            for (_, name) in layer.shredded.iter().filter(|(t, _)| *t == table) {
                let all = Range { table, name, from: &[], to: None, reverse: false, limit: usize::MAX };
                let stored = self.store.scan(all)?;
                replaced.retain(|(n, _), _| n != name);
                replaced.extend(stored.into_iter().map(|(order, _)| ((name.as_slice(), order), None)));
            }
            for ((name, order), value) in layer.rows.get(&table).into_iter().flatten() {
                replaced.insert((name, order.clone()), value.as_deref());
            }
        }
        for ((name, order), new) in replaced {
            if let Some(old) = self.store.get(Key::at(table, name, &order))?
                && let Some(at) = values.iter().position(|v| *v == old)
            {
                values.swap_remove(at);
            }
            values.extend(new.map(<[u8]>::to_vec));
        }
        Ok(values)
    }
}
