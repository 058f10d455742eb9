//! What sealing promises beyond the contract.

use kith_store::{Key, MemoryStore, Overlay, RawRead, Read, Sealed, Store, StoreError, Table};
use kith_wire::crypto::Secret;

use crate::contract::{all, sealed};

fn write(store: &dyn Store, key: Key<'_>, value: &[u8]) {
    let mut changes = Overlay::default();
    changes.put(key, value.to_vec());
    store.write(&changes).unwrap();
}

fn raw(store: &MemoryStore, table: Table) -> Vec<(Vec<u8>, Vec<u8>)> {
    store.raw_rows(table).unwrap()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|w| w == needle)
}

/// Writes a row below the seal, as it lies in another store.
fn put_raw(store: &MemoryStore, table: Table, row: &(Vec<u8>, Vec<u8>)) {
    let (name, order) = row.0[1..].split_at(usize::from(row.0[0]));
    write(store, Key::at(table, name, order), &row.1);
}

#[test]
fn nothing_readable_lies_below_the_seal() {
    let memory = MemoryStore::new();
    let store = sealed(memory.clone());
    let (name, value) = (b"canary-name-7f31", b"canary-value-90aa");
    for table in Table::ALL.iter().filter(|t| **t != Table::Meta) {
        write(&store, Key::of(*table, name), value);
    }
    let mut names = std::collections::BTreeSet::new();
    for table in Table::ALL {
        for (key, sealed) in raw(&memory, *table) {
            assert!(!contains(&key, b"canary") && !contains(&sealed, b"canary"), "{table:?}");
            if *table != Table::Meta && *table != Table::ShredKeys {
                assert_eq!(key.len(), 17);
                assert!(names.insert(key), "two tables hash a name alike");
            }
        }
    }
}

#[test]
fn one_value_twice_looks_different() {
    let memory = MemoryStore::new();
    let store = sealed(memory.clone());
    let key = Key::of(Table::Account, b"k");
    write(&store, key, b"same");
    let first = raw(&memory, Table::Account);
    write(&store, key, b"same");
    let second = raw(&memory, Table::Account);
    assert_eq!(first[0].0, second[0].0);
    assert_ne!(first[0].1[..24], second[0].1[..24]);
    assert_ne!(first[0].1[24..], second[0].1[24..]);
}

#[test]
fn a_row_opens_only_in_its_place() {
    let memory = MemoryStore::new();
    let store = sealed(memory.clone());
    let (a, b) = (Key::at(Table::State, b"a", b"1"), Key::at(Table::State, b"a", b"2"));
    write(&store, a, b"one");
    write(&store, b, b"two");
    let rows = raw(&memory, Table::State);
    put_raw(&memory, Table::State, &(rows[0].0.clone(), rows[1].1.clone()));
    put_raw(&memory, Table::Cards, &rows[1]);
    // A store opened anew: the first one may still know the rows.
    let store = sealed(memory);
    assert!(matches!(store.get(a), Err(StoreError::Corrupt(_))));
    assert!(matches!(store.scan(all(Table::State, b"a")), Err(StoreError::Corrupt(_))));
    assert!(matches!(store.scan_table(Table::State), Err(StoreError::Corrupt(_))));
    assert!(matches!(store.scan_table(Table::Cards), Err(StoreError::Corrupt(_))));
    assert_eq!(store.get(b).unwrap().unwrap(), b"two");
}

#[test]
fn a_flipped_or_cut_value_is_corrupt() {
    for table in [Table::Events, Table::Images, Table::ShredKeys] {
        let memory = MemoryStore::new();
        let key = Key::of(Table::Events, b"k");
        let shredded = Key::of(Table::Images, b"k");
        let before = sealed(memory.clone());
        write(&before, key, b"value");
        write(&before, shredded, b"value");
        let (row_key, whole) = raw(&memory, table).remove(0);
        for n in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[n] ^= 1;
            for bad in [flipped, whole[..n].to_vec()] {
                put_raw(&memory, table, &(row_key.clone(), bad));
                let store = sealed(memory.clone());
                let probe = if table == Table::Events { key } else { shredded };
                assert!(matches!(store.get(probe), Err(StoreError::Corrupt(_))), "{table:?} byte {n}");
            }
        }
    }
}

#[test]
fn another_vault_does_not_open_the_rows() {
    let memory = MemoryStore::new();
    write(&sealed(memory.clone()), Key::of(Table::Account, b"k"), b"v");
    let error = Sealed::open(memory, &Secret::new([8; 32]), [1; 32]).unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt(_)));
    assert!(error.to_string().contains("vault"), "{error}");
}

#[test]
fn rows_outlive_the_process_that_sealed_them() {
    let memory = MemoryStore::new();
    let keys = [Key::of(Table::Account, b"k"), Key::of(Table::Topics, b"k")];
    for key in keys {
        write(&sealed(memory.clone()), key, b"v");
    }
    let store = Sealed::open(memory, &Secret::new([7; 32]), [77; 32]).unwrap();
    for key in keys {
        assert_eq!(store.get(key).unwrap().unwrap(), b"v");
    }
}

#[test]
fn a_shredded_row_put_back_from_an_old_disk_stays_unreadable() {
    let memory = MemoryStore::new();
    let store = sealed(memory.clone());
    let (gone, kept) = (Key::at(Table::Images, b"gone", b"1"), Key::at(Table::Images, b"kept", b"1"));
    write(&store, gone, b"ratchet");
    let old_rows = raw(&memory, Table::Images);
    let old_keys = raw(&memory, Table::ShredKeys);
    write(&store, kept, b"ratchet");
    let mut changes = Overlay::default();
    changes.shred(Table::Images, b"gone");
    store.write(&changes).unwrap();
    assert_eq!(raw(&memory, Table::Images).len(), 1);
    let keys_left = raw(&memory, Table::ShredKeys);
    assert_eq!(keys_left.len(), 1);
    assert_ne!(keys_left, old_keys);

    put_raw(&memory, Table::Images, &old_rows[0]);
    for store in [store, sealed(memory)] {
        assert!(matches!(store.get(gone), Err(StoreError::Corrupt(_))));
        assert!(matches!(store.snapshot().get(gone), Err(StoreError::Corrupt(_))));
        assert_eq!(store.get(kept).unwrap().unwrap(), b"ratchet");
    }
}

#[test]
fn every_name_has_a_key_of_its_own_and_a_new_one_after_a_shred() {
    let memory = MemoryStore::new();
    let store = sealed(memory.clone());
    write(&store, Key::at(Table::Images, b"s", b"1"), b"v");
    let first = raw(&memory, Table::ShredKeys);
    write(&store, Key::at(Table::Images, b"s", b"2"), b"v");
    assert_eq!(raw(&memory, Table::ShredKeys), first);
    write(&store, Key::at(Table::Topics, b"s", b"1"), b"v");
    assert_eq!(raw(&memory, Table::ShredKeys).len(), 2);
    let mut changes = Overlay::default();
    changes.shred(Table::Images, b"s");
    changes.put(Key::at(Table::Images, b"s", b"3"), b"v".to_vec());
    store.write(&changes).unwrap();
    let after = raw(&memory, Table::ShredKeys);
    assert_eq!(after.len(), 2);
    assert!(!after.contains(&first[0]));
    assert_eq!(store.scan(all(Table::Images, b"s")).unwrap(), [(b"3".to_vec(), b"v".to_vec())]);
}

#[test]
fn a_refused_shred_leaves_the_rows_readable() {
    let refuse = |_: u64, changes: &Overlay| {
        if changes.shredded().is_empty() { Ok(()) } else { Err(StoreError::Full("test".into())) }
    };
    let store = sealed(MemoryStore::with_hook(Box::new(refuse)));
    let key = Key::of(Table::Images, b"s");
    write(&store, key, b"v");
    let mut changes = Overlay::default();
    changes.shred(Table::Images, b"s");
    changes.put(key, b"w".to_vec());
    assert!(store.write(&changes).is_err());
    assert_eq!(store.get(key).unwrap().unwrap(), b"v");
    write(&store, key, b"x");
    assert_eq!(store.get(key).unwrap().unwrap(), b"x");
}

#[test]
fn more_names_than_the_cache_holds_stay_readable() {
    let store = sealed(MemoryStore::new());
    let mut changes = Overlay::default();
    for n in 0..1500_u32 {
        changes.put(Key::of(Table::Images, &n.to_be_bytes()), n.to_be_bytes().to_vec());
    }
    store.write(&changes).unwrap();
    for n in 0..1500_u32 {
        assert_eq!(store.get(Key::of(Table::Images, &n.to_be_bytes())).unwrap().unwrap(), n.to_be_bytes());
    }
    assert_eq!(store.scan_table(Table::Images).unwrap().len(), 1500);
}

/// Vectors made with another implementation of the primitives, from
/// docs/protocol.md alone: master key 32 × 7, shred key 32 × 9, nonces 24 × 5.
#[test]
fn the_form_of_a_row_is_fixed() {
    let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
    let memory = MemoryStore::new();
    let (plain, image) = (hex("de2b3f5eb33e0481af4db0e6ed1400b8"), hex("953dc0e86dceef51b7a9af1433ac48da"));
    let rows = [
        (
            Key::at(Table::Account, &plain, &[0, 1]),
            "05050505050505050505050505050505050505050505050502ada04cb18670ebe8dbeb6b102fc98e0fd9dc9245",
        ),
        (
            Key::of(Table::ShredKeys, &image),
            "0505050505050505050505050505050505050505050505057dc5c530dd15d27e3eeca3078045bcd36acb737804e2d3b9df37b39ed2ea60789d35cf7350da58d5284d66104bbb87ca",
        ),
        (
            Key::at(Table::Images, &image, &[1]),
            "050505050505050505050505050505050505050505050505b2a718e5d2c3285836170746c5e41f764f6ee1c8a9",
        ),
    ];
    for (key, value) in rows {
        write(&memory, key, &hex(value));
    }
    let store = sealed(memory);
    assert_eq!(store.get(Key::at(Table::Account, b"name", &[0, 1])).unwrap().unwrap(), b"value");
    assert_eq!(store.get(Key::at(Table::Images, b"name", &[1])).unwrap().unwrap(), b"value");
}
