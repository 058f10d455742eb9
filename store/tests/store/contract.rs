//! What every store keeps, run on each backend, sealed and not.

use std::sync::atomic::{AtomicBool, Ordering};

use kith_store::{Key, MemoryStore, Overlay, Range, Read, Row, Sealed, Store, StoreError, Table, Tx};
use kith_wire::crypto::Secret;

/// A sealed store over any backend, for tests.
pub(crate) fn sealed<S: kith_store::Backend>(inner: S) -> Sealed<S> {
    Sealed::open(inner, &Secret::new([7; 32]), [9; 32]).unwrap()
}

macro_rules! contract {
    ($module:ident, $make:expr) => {
        mod $module {
            contract!(@tests $make;
                rows_come_back, ranges_run_both_ways, names_do_not_touch, tables_are_read_whole,
                a_write_is_one, snapshots_stand_still, layers_are_read_through, a_dropped_input_leaves_nothing,
                shredding_takes_all_rows, rows_after_a_shred_stay, readers_never_meet_half_a_shred, model_agrees
            );
        }
    };
    (@tests $make:expr; $($name:ident),*) => {$(
        #[test]
        fn $name() {
            let (store, _keep) = $make;
            super::$name(&store);
        }
    )*};
}

contract!(memory, (kith_store::MemoryStore::new(), ()));
contract!(sealed_memory, (super::sealed(kith_store::MemoryStore::new()), ()));
#[cfg(feature = "rocksdb")]
contract!(rocks, crate::rocks::fresh());
#[cfg(feature = "rocksdb")]
contract!(sealed_rocks, {
    let (store, keep) = crate::rocks::fresh();
    (super::sealed(store), keep)
});

fn model_agrees(store: &dyn Store) {
    crate::model::run(store);
}

fn put(store: &dyn Store, rows: &[(Key<'_>, &[u8])]) {
    let mut changes = Overlay::default();
    for (key, value) in rows {
        changes.put(*key, value.to_vec());
    }
    store.write(&changes).unwrap();
}

pub(crate) fn all(table: Table, name: &[u8]) -> Range<'_> {
    Range { table, name, from: &[], to: None, reverse: false, limit: usize::MAX }
}

fn orders(rows: &[Row]) -> Vec<&[u8]> {
    rows.iter().map(|(order, _)| order.as_slice()).collect()
}

fn rows_come_back(store: &dyn Store) {
    let long = [0xab; 300];
    let keys = [
        Key::of(Table::Account, b""),
        Key::of(Table::Account, b"me"),
        Key::of(Table::Account, &long),
        Key::at(Table::Timeline, b"me", &[0, 0, 1]),
        Key::of(Table::Images, b"me"),
        Key::of(Table::Meta, b"me"),
        Key::of(Table::LogEntries, &long[..64]),
    ];
    for key in keys {
        assert_eq!(store.get(key).unwrap(), None);
    }
    for (n, key) in keys.iter().enumerate() {
        put(store, &[(*key, &[n as u8; 10])]);
    }
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(store.get(*key).unwrap().unwrap(), [n as u8; 10]);
    }
    put(store, &[(keys[1], b"")]);
    assert_eq!(store.get(keys[1]).unwrap(), Some(vec![]));
    let big = vec![5; 3 << 20];
    put(store, &[(keys[3], &big)]);
    assert_eq!(store.get(keys[3]).unwrap(), Some(big));
    for key in keys {
        let mut changes = Overlay::default();
        changes.delete(key);
        changes.delete(Key::of(Table::Marks, b"never there"));
        store.write(&changes).unwrap();
        assert_eq!(store.get(key).unwrap(), None);
    }
    store.write(&Overlay::default()).unwrap();
}

fn ranges_run_both_ways(store: &dyn Store) {
    let order = |n: u32| n.to_be_bytes();
    for table in [Table::Timeline, Table::Topics] {
        let mut changes = Overlay::default();
        for n in [5, 300, 1, 70_000, 2] {
            changes.put(Key::at(table, b"c", &order(n)), n.to_string().into_bytes());
        }
        store.write(&changes).unwrap();
        let range = all(table, b"c");
        let scan = |range: Range<'_>| {
            let rows = store.scan(range).unwrap();
            rows.iter()
                .map(|(o, v)| {
                    let n = u32::from_be_bytes(o.as_slice().try_into().unwrap());
                    assert_eq!(v, n.to_string().as_bytes());
                    n
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(scan(range), [1, 2, 5, 300, 70_000]);
        assert_eq!(scan(Range { reverse: true, ..range }), [70_000, 300, 5, 2, 1]);
        assert_eq!(scan(Range { limit: 2, ..range }), [1, 2]);
        assert_eq!(scan(Range { limit: 2, reverse: true, ..range }), [70_000, 300]);
        assert_eq!(scan(Range { from: &order(2), to: Some(&order(300)), ..range }), [2, 5]);
        assert_eq!(
            scan(Range { from: &order(3), to: Some(&order(301)), reverse: true, limit: 1, ..range }),
            [300]
        );
        assert_eq!(scan(Range { from: &order(300), ..range }), [300, 70_000]);
        assert_eq!(scan(Range { to: Some(&order(2)), reverse: true, ..range }), [1]);
        assert!(scan(Range { limit: 0, ..range }).is_empty());
        assert!(scan(Range { from: &order(6), to: Some(&order(5)), ..range }).is_empty());
        assert!(scan(Range { from: &order(5), to: Some(&order(5)), ..range }).is_empty());
        assert!(scan(all(table, b"other")).is_empty());
    }
}

fn names_do_not_touch(store: &dyn Store) {
    let (long_a, long_b) = ([0xff; 65], [0xff; 66]);
    let names: [&[u8]; 7] = [b"", b"a", b"ab", b"b", &[0xff; 64], &long_a, &long_b];
    for name in names {
        put(
            store,
            &[
                (Key::of(Table::State, name), name),
                (Key::at(Table::State, name, b"b"), name),
                (Key::at(Table::State, name, &[0xff; 40]), name),
            ],
        );
    }
    for name in names {
        let rows = store.scan(all(Table::State, name)).unwrap();
        assert_eq!(orders(&rows), [&b""[..], b"b", &[0xff; 40]]);
        assert!(rows.iter().all(|(_, value)| value == name));
    }
    assert!(store.scan(all(Table::Delivery, b"a")).unwrap().is_empty());
}

fn tables_are_read_whole(store: &dyn Store) {
    for table in [Table::Contacts, Table::Images] {
        assert!(store.scan_table(table).unwrap().is_empty());
        let values: Vec<Vec<u8>> = (0..40_u8).map(|n| vec![n; usize::from(n)]).collect();
        for (n, value) in values.iter().enumerate() {
            put(store, &[(Key::at(table, &[n as u8 / 2], &[n as u8]), value)]);
        }
        let mut found = store.scan_table(table).unwrap();
        found.sort();
        assert_eq!(found, values);
    }
}

fn a_write_is_one(store: &dyn Store) {
    let (a, b) = (Key::of(Table::Groups, b"a"), Key::of(Table::Outbox, b"b"));
    put(store, &[(a, b"1"), (b, b"1")]);
    let mut changes = Overlay::default();
    changes.delete(a);
    changes.put(b, b"2".to_vec());
    changes.put(b, b"3".to_vec());
    changes.put(a, b"4".to_vec());
    assert_eq!(changes.value_bytes(), 2);
    store.write(&changes).unwrap();
    assert_eq!((store.get(a).unwrap(), store.get(b).unwrap()), (Some(b"4".to_vec()), Some(b"3".to_vec())));
}

fn snapshots_stand_still(store: &dyn Store) {
    let keys =
        [Key::of(Table::Conversations, b"c"), Key::of(Table::Images, b"i"), Key::of(Table::Topics, b"t")];
    put(store, &keys.map(|key| (key, &b"old"[..])));
    let before = store.snapshot();
    let mut changes = Overlay::default();
    changes.put(keys[0], b"new".to_vec());
    changes.shred(Table::Images, b"i");
    changes.put(keys[1], b"new".to_vec());
    changes.shred(Table::Topics, b"t");
    changes.put(Key::of(Table::Conversations, b"d"), b"more".to_vec());
    store.write(&changes).unwrap();
    for key in keys {
        assert_eq!(before.get(key).unwrap().unwrap(), b"old");
        assert_eq!(before.scan(all(key.table, key.name)).unwrap(), [(vec![], b"old".to_vec())]);
        assert_eq!(before.scan_table(key.table).unwrap(), [b"old".to_vec()]);
    }
    assert_eq!(store.get(keys[0]).unwrap().unwrap(), b"new");
    assert_eq!(store.get(keys[1]).unwrap().unwrap(), b"new");
    assert_eq!(store.get(keys[2]).unwrap(), None);
    // What the old view read does not disturb those who come after it.
    put(store, &[(keys[2], b"third")]);
    assert_eq!(before.get(keys[2]).unwrap().unwrap(), b"old");
    put(store, &[(Key::at(Table::Topics, b"t", b"1"), b"fourth")]);
    assert_eq!(store.scan(all(Table::Topics, b"t")).unwrap().len(), 2);
    drop(before);
    assert_eq!(store.snapshot().get(keys[2]).unwrap().unwrap(), b"third");
}

fn layers_are_read_through(store: &dyn Store) {
    let key = |n: u8| Key { table: Table::Events, name: b"g", order: NUMBERS[usize::from(n)] };
    put(store, &[(key(0), b"s0"), (key(1), b"s1"), (key(2), b"s2"), (key(3), b"s3")]);
    let mut under = Overlay::default();
    let mut tx = Tx::new(store, &under);
    tx.put(key(1), b"u1".to_vec());
    tx.delete(key(2));
    tx.put(key(4), b"u4".to_vec());
    let first = tx.finish();
    under.absorb(first);
    let mut tx = Tx::new(store, &under);
    assert_eq!(tx.get(key(2)).unwrap(), None);
    tx.put(key(2), b"t2".to_vec());
    tx.delete(key(0));
    tx.delete(key(4));
    tx.put(Key::of(Table::Events, b"h"), b"other".to_vec());
    let values = |range: Range<'_>| -> Vec<String> {
        tx.scan(range).unwrap().into_iter().map(|(_, v)| String::from_utf8(v).unwrap()).collect()
    };
    let range = all(Table::Events, b"g");
    assert_eq!(values(range), ["u1", "t2", "s3"]);
    assert_eq!(values(Range { reverse: true, limit: 2, ..range }), ["s3", "t2"]);
    assert_eq!(values(Range { limit: 1, ..range }), ["u1"]);
    assert_eq!(values(Range { from: &[2], to: Some(&[3]), ..range }), ["t2"]);
    let mut whole = tx.scan_table(Table::Events).unwrap();
    whole.sort();
    assert_eq!(whole, ["other", "s3", "t2", "u1"].map(|v| v.as_bytes().to_vec()));
    assert_eq!(store.get(key(0)).unwrap().unwrap(), b"s0");
    let last = tx.finish();
    under.absorb(last);
    store.write(&under).unwrap();
    assert_eq!(orders(&store.scan(range).unwrap()), [NUMBERS[1], NUMBERS[2], NUMBERS[3]]);
}

const NUMBERS: [&[u8]; 5] = [&[0], &[1], &[2], &[3], &[4]];

fn a_dropped_input_leaves_nothing(store: &dyn Store) {
    let key = Key::of(Table::Account, b"k");
    put(store, &[(key, b"1")]);
    let mut under = Overlay::default();
    let mut tx = Tx::new(store, &under);
    tx.put(key, b"2".to_vec());
    let done = tx.finish();
    under.absorb(done);
    let mut tx = Tx::new(store, &under);
    tx.put(key, b"3".to_vec());
    tx.shred(Table::Account, b"k");
    assert_eq!(tx.get(key).unwrap(), None);
    drop(tx);
    assert_eq!(Tx::new(store, &under).get(key).unwrap().unwrap(), b"2");
    store.write(&under).unwrap();
    assert_eq!(store.get(key).unwrap().unwrap(), b"2");
}

fn shredding_takes_all_rows(store: &dyn Store) {
    for table in [Table::Images, Table::Topics, Table::Outbox] {
        for n in 0..5_u8 {
            put(store, &[(Key::at(table, b"gone", &[n]), &[n]), (Key::at(table, b"kept", &[n]), &[n])]);
        }
        let under = Overlay::default();
        let mut tx = Tx::new(store, &under);
        tx.put(Key::at(table, b"gone", &[9]), vec![9]);
        tx.shred(table, b"gone");
        assert!(tx.scan(all(table, b"gone")).unwrap().is_empty());
        assert_eq!(tx.scan_table(table).unwrap().len(), 5);
        let done = tx.finish();
        assert_eq!(done.shredded(), [(table, b"gone".to_vec())]);
        store.write(&done).unwrap();
        assert!(store.scan(all(table, b"gone")).unwrap().is_empty());
        assert_eq!(store.get(Key::at(table, b"gone", &[1])).unwrap(), None);
        assert_eq!(store.scan(all(table, b"kept")).unwrap().len(), 5);
        assert_eq!(store.scan_table(table).unwrap().len(), 5);
    }
}

fn rows_after_a_shred_stay(store: &dyn Store) {
    let key = |order| Key::at(Table::Images, b"state", order);
    put(store, &[(key(b"a"), b"old"), (key(b"b"), b"old")]);
    let mut under = Overlay::default();
    let mut tx = Tx::new(store, &under);
    tx.shred(Table::Images, b"state");
    tx.put(key(b"b"), b"new".to_vec());
    assert_eq!(tx.scan(all(Table::Images, b"state")).unwrap(), [(b"b".to_vec(), b"new".to_vec())]);
    let done = tx.finish();
    under.absorb(done);
    let mut tx = Tx::new(store, &under);
    assert_eq!(tx.get(key(b"a")).unwrap(), None);
    tx.put(key(b"c"), b"newer".to_vec());
    assert_eq!(tx.scan_table(Table::Images).unwrap().len(), 2);
    let done = tx.finish();
    under.absorb(done);
    store.write(&under).unwrap();
    put(store, &[(key(b"d"), b"newest")]);
    assert_eq!(orders(&store.scan(all(Table::Images, b"state")).unwrap()), [&b"b"[..], b"c", b"d"]);
}

fn readers_never_meet_half_a_shred(store: &dyn Store) {
    let row = Key::of(Table::Topics, b"topic");
    put(store, &[(row, &[0])]);
    let done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                let mut last = 0;
                while !done.load(Ordering::Relaxed) {
                    let value = store.get(row).unwrap().unwrap()[0];
                    let view = store.snapshot();
                    let seen = view.get(row).unwrap().unwrap()[0];
                    assert_eq!(view.scan(all(row.table, row.name)).unwrap(), [(vec![], vec![seen])]);
                    assert!(last <= value && value <= seen);
                    last = seen;
                }
            });
        }
        for n in 1..100 {
            let mut changes = Overlay::default();
            changes.shred(row.table, row.name);
            changes.put(row, vec![n]);
            store.write(&changes).unwrap();
            put(store, &[(row, &[n])]);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(store.get(row).unwrap().unwrap(), [99]);
}

#[test]
fn a_refused_write_shows_nothing() {
    let refuse_second =
        |n: u64, _: &Overlay| if n == 1 { Err(StoreError::Full("test".into())) } else { Ok(()) };
    let memory = MemoryStore::with_hook(Box::new(refuse_second));
    let key = Key::of(Table::Account, b"k");
    put(&memory, &[(key, b"1")]);
    let mut changes = Overlay::default();
    changes.put(key, b"2".to_vec());
    assert_eq!(memory.write(&changes), Err(StoreError::Full("test".into())));
    assert_eq!(memory.get(key).unwrap().unwrap(), b"1");
}

#[test]
fn a_fork_goes_its_own_way() {
    let memory = MemoryStore::new();
    let key = Key::of(Table::Account, b"k");
    put(&memory, &[(key, b"1")]);
    let (same, fork) = (memory.clone(), memory.fork());
    put(&memory, &[(key, b"2")]);
    assert_eq!(same.get(key).unwrap().unwrap(), b"2");
    assert_eq!(fork.get(key).unwrap().unwrap(), b"1");
}
