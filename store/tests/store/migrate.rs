//! Older schemas are brought up, newer ones refused.

use std::cell::RefCell;

use kith_store::{
    Backend, Key, MemoryStore, Migrated, Migration, Overlay, Read, SCHEMA, Store, StoreError, Table, migrate,
    open_schema,
};

use crate::contract::sealed;

const NAME: Key<'static> = Key { table: Table::Account, name: b"name", order: b"" };

/// Three versions of one row: plain, in capitals, under another name.
const STEPS: &[Migration] = &[
    Migration {
        from: 1,
        what: "names in capitals",
        run: |store, changes| {
            let name = store.get(NAME)?.unwrap_or_default();
            changes.put(NAME, name.to_ascii_uppercase());
            Ok(())
        },
    },
    Migration {
        from: 2,
        what: "the name moves to the profile",
        run: |store, changes| {
            let name = store.get(NAME)?.unwrap_or_default();
            changes.put(Key::of(Table::State, b"profile"), name);
            changes.delete(NAME);
            Ok(())
        },
    },
];

fn old_store<S: Backend>(inner: S) -> kith_store::Sealed<S> {
    let store = sealed(inner);
    assert_eq!(migrate(&store, STEPS, 1, &mut |_| unreachable!()), Ok(Migrated::Fresh));
    let mut changes = Overlay::default();
    changes.put(NAME, b"alice".to_vec());
    store.write(&changes).unwrap();
    store
}

#[test]
fn a_new_store_has_the_current_version() {
    let store = MemoryStore::new();
    let mut copy = |_| unreachable!("nothing to copy");
    assert_eq!(open_schema(&store, &mut copy), Ok(Migrated::Fresh));
    assert_eq!(open_schema(&store, &mut copy), Ok(Migrated::Current));
    assert_eq!(migrate(&store, &[], SCHEMA, &mut copy), Ok(Migrated::Current));
}

#[test]
fn an_older_store_is_copied_then_brought_up() {
    let memory = MemoryStore::new();
    let store = old_store(memory.clone());
    let copies = RefCell::new(Vec::new());
    let mut copy = |found| {
        copies.borrow_mut().push((found, memory.fork()));
        Ok(())
    };
    assert_eq!(migrate(&store, STEPS, 3, &mut copy), Ok(Migrated::From(1)));
    assert_eq!(migrate(&store, STEPS, 3, &mut copy), Ok(Migrated::Current));
    assert_eq!(store.get(NAME).unwrap(), None);
    assert_eq!(store.get(Key::of(Table::State, b"profile")).unwrap().unwrap(), b"ALICE");
    let copies = copies.into_inner();
    assert_eq!(copies.len(), 1);
    assert_eq!(copies[0].0, 1);
    assert_eq!(sealed(copies[0].1.clone()).get(NAME).unwrap().unwrap(), b"alice");
}

#[test]
fn a_newer_store_is_refused_with_a_sentence() {
    let store = old_store(MemoryStore::new());
    migrate(&store, STEPS, 3, &mut |_| Ok(())).unwrap();
    let error = migrate(&store, STEPS, 2, &mut |_| unreachable!()).unwrap_err();
    assert_eq!(error, StoreError::Newer { found: 3, known: 2 });
    assert!(error.to_string().contains("Install a newer Kith"));
}

#[test]
fn nothing_changes_without_a_copy_or_a_known_way() {
    let store = old_store(MemoryStore::new());
    let full = || StoreError::Full("test".into());
    assert_eq!(migrate(&store, STEPS, 3, &mut |_| Err(full())), Err(full()));
    assert!(matches!(migrate(&store, &STEPS[1..], 3, &mut |_| unreachable!()), Err(StoreError::Corrupt(_))));
    assert_eq!(store.get(NAME).unwrap().unwrap(), b"alice");
    let mut changes = Overlay::default();
    changes.put(Key::of(Table::Meta, b"schema"), b"one".to_vec());
    store.write(&changes).unwrap();
    assert!(matches!(migrate(&store, STEPS, 3, &mut |_| unreachable!()), Err(StoreError::Corrupt(_))));
}

#[test]
fn an_interrupted_step_runs_again() {
    // Write 0 is the vault check, 1 the version, 2 the row, 3 the first step.
    let hook = |n: u64, _: &Overlay| if n == 4 { Err(StoreError::Io("pulled".into())) } else { Ok(()) };
    let memory = MemoryStore::with_hook(Box::new(hook));
    let store = old_store(memory.clone());
    assert!(migrate(&store, STEPS, 3, &mut |_| Ok(())).is_err());
    let again = sealed(memory.fork());
    assert_eq!(again.get(NAME).unwrap().unwrap(), b"ALICE");
    assert_eq!(migrate(&again, STEPS, 3, &mut |_| Ok(())), Ok(Migrated::From(2)));
    assert_eq!(again.get(Key::of(Table::State, b"profile")).unwrap().unwrap(), b"ALICE");
}
