//! Opened rows, held in memory so that what is read with every message is not
//! decrypted each time. Bounded; wiped when dropped.
//!
//! Two generations: what is used lands in the young one; when that is full it
//! becomes the old one, and what was not used since goes. Rows of shreddable
//! tables are not held.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::{Key, Overlay};

/// Bytes of one generation, names and values.
const GENERATION_BYTES: usize = 512 << 10;
/// Larger values are not held.
const VALUE_BYTES_MAX: usize = 8 << 10;
/// What an entry costs beside its bytes, roughly.
const ENTRY_BYTES: usize = 64;

/// A value, or that there is none.
type Found = Option<Zeroizing<Vec<u8>>>;

/// See the file's head.
#[derive(Default)]
pub(crate) struct Cache {
    young: BTreeMap<Vec<u8>, Found>,
    old: BTreeMap<Vec<u8>, Found>,
    young_bytes: usize,
    /// Counts writes, so that no reader puts back what it saw before one.
    writes: u64,
}

/// What a look into the cache gave.
pub(crate) enum Look {
    /// It is known.
    Known(Option<Vec<u8>>),
    /// It is not; the number is for [`Cache::learnt`].
    Unknown(u64),
}

fn place(key: Key<'_>) -> Vec<u8> {
    let mut place = Vec::with_capacity(9 + key.name.len() + key.order.len());
    place.push(key.table as u8);
    place.extend_from_slice(&(key.name.len() as u64).to_be_bytes());
    place.extend_from_slice(key.name);
    place.extend_from_slice(key.order);
    place
}

impl Cache {
    /// Looks a row up.
    pub(crate) fn look(&mut self, key: Key<'_>) -> Look {
        let place = place(key);
        if let Some(found) = self.young.get(&place) {
            return Look::Known(found.as_ref().map(|v| v.to_vec()));
        }
        match self.old.remove(&place) {
            Some(found) => {
                let value = found.as_ref().map(|v| v.to_vec());
                self.hold(place, found);
                Look::Known(value)
            }
            None => Look::Unknown(self.writes),
        }
    }

    /// A row as it was read after a look that answered `writes`.
    pub(crate) fn learnt(&mut self, writes: u64, key: Key<'_>, value: Option<&[u8]>) {
        if self.writes == writes && value.is_none_or(|v| v.len() <= VALUE_BYTES_MAX) {
            self.hold(place(key), value.map(|v| Zeroizing::new(v.to_vec())));
        }
    }

    /// A write begins: what it changes is not known until it has ended.
    pub(crate) fn begin(&mut self, changes: &Overlay) {
        self.writes += 1;
        if changes.shredded().iter().any(|(table, _)| !table.shreddable()) {
            self.young.clear();
            self.old.clear();
            self.young_bytes = 0;
            return;
        }
        for (key, _) in changes.changes() {
            let place = place(key);
            self.old.remove(&place);
            if let Some(found) = self.young.remove(&place) {
                self.young_bytes -= cost(&place, &found);
            }
        }
    }

    /// The write has ended well: what it changed is known.
    pub(crate) fn end(&mut self, changes: &Overlay) {
        self.writes += 1;
        let writes = self.writes;
        for (key, value) in changes.changes() {
            if !key.table.shreddable() {
                self.learnt(writes, key, value);
            }
        }
    }

    fn hold(&mut self, place: Vec<u8>, found: Found) {
        // Two readers may have learnt the same row.
        if let Some(before) = self.young.remove(&place) {
            self.young_bytes -= cost(&place, &before);
        }
        self.young_bytes += cost(&place, &found);
        self.young.insert(place, found);
        if self.young_bytes > GENERATION_BYTES {
            self.old = core::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }
}

fn cost(place: &[u8], found: &Found) -> usize {
    ENTRY_BYTES + place.len() + found.as_ref().map_or(0, |value| value.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Table;

    fn known(cache: &mut Cache, name: &[u8]) -> Option<Option<Vec<u8>>> {
        match cache.look(Key::of(Table::State, name)) {
            Look::Known(value) => Some(value),
            Look::Unknown(_) => None,
        }
    }

    #[test]
    fn a_reader_does_not_put_back_what_a_write_has_changed() {
        let mut cache = Cache::default();
        let key = Key::of(Table::State, b"a");
        let Look::Unknown(before) = cache.look(key) else { panic!("it is empty") };
        let mut changes = Overlay::default();
        changes.put(key, vec![2]);
        cache.begin(&changes);
        cache.learnt(before, key, Some(&[1]));
        assert_eq!(known(&mut cache, b"a"), None);
        let Look::Unknown(during) = cache.look(key) else { panic!("it is being written") };
        cache.end(&changes);
        cache.learnt(during, key, Some(&[1]));
        assert_eq!(known(&mut cache, b"a"), Some(Some(vec![2])));
        // A write that fails leaves nothing behind.
        cache.begin(&changes);
        assert_eq!(known(&mut cache, b"a"), None);
    }

    #[test]
    fn it_is_bounded_and_keeps_what_is_used() {
        let mut cache = Cache::default();
        for n in 0..10_000u32 {
            let Look::Unknown(writes) = cache.look(Key::of(Table::State, &n.to_be_bytes())) else {
                panic!("each is new")
            };
            cache.learnt(writes, Key::of(Table::State, &n.to_be_bytes()), Some(&[0; 1024]));
            assert!(n == 0 || known(&mut cache, &0u32.to_be_bytes()).is_some(), "{n}");
        }
        let bytes = |rows: &BTreeMap<Vec<u8>, Found>| rows.iter().map(|(p, f)| cost(p, f)).sum::<usize>();
        assert_eq!(bytes(&cache.young), cache.young_bytes);
        assert!(bytes(&cache.young) + bytes(&cache.old) <= 2 * GENERATION_BYTES + 2048);
        let Look::Unknown(writes) = cache.look(Key::of(Table::State, b"large")) else { panic!() };
        cache.learnt(writes, Key::of(Table::State, b"large"), Some(&vec![0; VALUE_BYTES_MAX + 1]));
        assert_eq!(known(&mut cache, b"large"), None);
    }
}
