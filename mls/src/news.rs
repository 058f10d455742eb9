//! News of other devices since the last own event or mark. A large group has
//! news of everybody at once: in the group's head they would all be written
//! anew with each message, so each device's news are a row of their own.

use std::collections::{BTreeMap, BTreeSet};

use kith_store::{Key, Range, Read, Table, Tx};
use kith_wire::ids::{DeviceId, GroupId};
use minicbor::{Decode, Encode};

use crate::EngineError;
use crate::rows::{self, GroupRow};

/// One kind of news, by device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct News<V> {
    known: BTreeMap<DeviceId, V>,
    /// Rows to be written or deleted.
    changed: BTreeSet<DeviceId>,
}

impl<V> Default for News<V> {
    fn default() -> Self {
        Self { known: BTreeMap::new(), changed: BTreeSet::new() }
    }
}

impl<V> News<V> {
    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
    pub(crate) fn insert(&mut self, device: DeviceId, news: V) {
        self.changed.insert(device);
        self.known.insert(device, news);
    }
    /// All of it; none is left.
    pub(crate) fn take(&mut self) -> BTreeMap<DeviceId, V> {
        self.changed.extend(self.known.keys());
        core::mem::take(&mut self.known)
    }
}

impl<V: Encode<()> + for<'b> Decode<'b, ()>> News<V> {
    fn load(read: &dyn Read, gid: &GroupId, kind: u8) -> Result<Self, EngineError> {
        let (from, to) = ([kind], [kind + 1]);
        let (table, limit) = (Table::Groups, usize::MAX);
        let all = Range { table, name: &gid.0, from: &from, to: Some(&to), reverse: false, limit };
        let mut known = BTreeMap::new();
        for (place, value) in read.scan(all)? {
            let device = place.get(1..).and_then(|d| d.try_into().ok());
            let device = device.ok_or_else(|| EngineError::Broken("a row has a malformed place".into()))?;
            known.insert(DeviceId(device), rows::decode(&value)?);
        }
        Ok(Self { known, changed: BTreeSet::new() })
    }
    fn save(&mut self, tx: &mut Tx<'_>, gid: &GroupId, kind: u8) {
        for device in core::mem::take(&mut self.changed) {
            let place = [&[kind], device.0.as_slice()].concat();
            let key = Key::at(Table::Groups, &gid.0, &place);
            match self.known.get(&device) {
                Some(news) => rows::put(tx, key, news),
                None => tx.delete(key),
            }
        }
    }
}

// Places below the group's name: the head has none, its devices' list is 1.
const DEPS: u8 = 2;
const UNMARKED: u8 = 3;

/// Reads the news that belong to a group's head.
pub(crate) fn load(read: &dyn Read, gid: &GroupId, row: &mut GroupRow) -> Result<(), EngineError> {
    row.deps = News::load(read, gid, DEPS)?;
    row.unmarked = News::load(read, gid, UNMARKED)?;
    Ok(())
}

/// Writes what changed.
pub(crate) fn save(tx: &mut Tx<'_>, gid: &GroupId, row: &mut GroupRow) {
    row.deps.save(tx, gid, DEPS);
    row.unmarked.save(tx, gid, UNMARKED);
}

/// Forgets what is stored: the group begins anew.
pub(crate) fn clear(tx: &mut Tx<'_>, gid: &GroupId) -> Result<(), EngineError> {
    let mut deps: News<u64> = News::load(tx, gid, DEPS)?;
    let mut unmarked: News<(u64, u64)> = News::load(tx, gid, UNMARKED)?;
    deps.take();
    unmarked.take();
    deps.save(tx, gid, DEPS);
    unmarked.save(tx, gid, UNMARKED);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kith_store::{MemoryStore, Overlay, Store};

    fn run(store: &MemoryStore, f: impl FnOnce(&mut Tx<'_>)) -> usize {
        let under = Overlay::default();
        let mut tx = Tx::new(store, &under);
        f(&mut tx);
        let changes = tx.finish();
        store.write(&changes).unwrap();
        changes.changes().count()
    }

    #[test]
    fn one_devices_news_are_one_row() {
        let (store, gid) = (MemoryStore::new(), GroupId([1; 32]));
        let mut news = News::default();
        for n in 0..50 {
            news.insert(DeviceId([n; 32]), u64::from(n));
        }
        assert_eq!(run(&store, |tx| news.save(tx, &gid, DEPS)), 50);
        news.insert(DeviceId([7; 32]), 70);
        assert_eq!(run(&store, |tx| news.save(tx, &gid, DEPS)), 1);
        assert_eq!(run(&store, |tx| news.save(tx, &gid, DEPS)), 0);

        let mut loaded: News<u64> = News::load(&store, &gid, DEPS).unwrap();
        assert_eq!(loaded, news);
        assert!(News::<u64>::load(&store, &gid, UNMARKED).unwrap().is_empty());
        assert!(News::<u64>::load(&store, &GroupId([2; 32]), DEPS).unwrap().is_empty());

        assert_eq!(loaded.take().get(&DeviceId([7; 32])), Some(&70));
        assert_eq!(run(&store, |tx| loaded.save(tx, &gid, DEPS)), 50);
        assert!(News::<u64>::load(&store, &gid, DEPS).unwrap().is_empty());
    }

    #[test]
    fn a_new_beginning_leaves_none() {
        let (store, gid) = (MemoryStore::new(), GroupId([1; 32]));
        let (mut deps, mut unmarked) = (News::default(), News::default());
        deps.insert(DeviceId([1; 32]), 1u64);
        unmarked.insert(DeviceId([2; 32]), (1u64, 2u64));
        run(&store, |tx| deps.save(tx, &gid, DEPS));
        run(&store, |tx| unmarked.save(tx, &gid, UNMARKED));
        run(&store, |tx| clear(tx, &gid).unwrap());
        assert!(News::<u64>::load(&store, &gid, DEPS).unwrap().is_empty());
        assert!(News::<(u64, u64)>::load(&store, &gid, UNMARKED).unwrap().is_empty());
    }
}
