//! What the store on disk promises beyond the contract.

use std::fs;
use std::path::Path;

use kith_store::{
    Key, Overlay, Read, RocksOptions, RocksStore, Store, StoreError, Table, migrate, open_schema,
};
use tempfile::TempDir;

use crate::contract::all;

fn open(path: &Path) -> RocksStore {
    RocksStore::open(path, RocksOptions::default()).unwrap()
}

/// An empty database and the folder it lives in.
pub(crate) fn fresh() -> (RocksStore, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (open(&folder.path().join("db")), folder)
}

fn put(store: &RocksStore, table: Table, n: u32, value: &[u8]) {
    let mut changes = Overlay::default();
    changes.put(Key::at(table, b"c", &n.to_be_bytes()), value.to_vec());
    store.write(&changes).unwrap();
}

fn count(store: &RocksStore, table: Table) -> Result<usize, StoreError> {
    store.scan(all(table, b"c")).map(|rows| rows.len())
}

/// The folder as the disk has it at this moment: what `kill -9` leaves.
fn image(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "LOCK" {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn files(folder: &Path, end: &str) -> Vec<std::path::PathBuf> {
    let all = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let mut found: Vec<_> = all.filter(|p| p.to_string_lossy().ends_with(end)).collect();
    found.sort_by_key(|p| fs::metadata(p).unwrap().len());
    found
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x40;
    fs::write(path, bytes).unwrap();
}

#[test]
fn rows_survive_closing_and_killing() {
    let (store, folder) = fresh();
    let (db, killed) = (folder.path().join("db"), folder.path().join("killed"));
    for n in 0..20 {
        put(&store, Table::Timeline, n, b"row");
    }
    image(&db, &killed);
    drop(store);
    for path in [&db, &killed] {
        let store = open(path);
        assert_eq!(count(&store, Table::Timeline), Ok(20));
        put(&store, Table::Timeline, 20, b"row");
        drop(store);
        assert_eq!(count(&open(path), Table::Timeline), Ok(21));
    }
}

#[test]
fn a_log_cut_inside_its_last_record_loses_only_that() {
    let (store, folder) = fresh();
    for n in 0..10 {
        put(&store, Table::Timeline, n, &[7; 500]);
    }
    let killed = folder.path().join("killed");
    image(&folder.path().join("db"), &killed);
    let log = files(&killed, ".log").pop().unwrap();
    let len = fs::metadata(&log).unwrap().len();
    fs::File::options().write(true).open(&log).unwrap().set_len(len - 100).unwrap();
    assert_eq!(count(&open(&killed), Table::Timeline), Ok(9));
}

#[test]
fn a_flipped_byte_in_the_log_is_found_at_opening() {
    let (store, folder) = fresh();
    for n in 0..10 {
        put(&store, Table::Timeline, n, &[7; 500]);
    }
    let killed = folder.path().join("killed");
    image(&folder.path().join("db"), &killed);
    let log = files(&killed, ".log").pop().unwrap();
    flip(&log, 2000);
    let error = RocksStore::open(&killed, RocksOptions::default()).unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt(_)), "{error}");
    assert!(error.to_string().contains("24 words"), "{error}");
}

#[test]
fn a_flipped_byte_in_a_table_is_found_at_reading() {
    let (store, folder) = fresh();
    for n in 0..10 {
        put(&store, Table::Timeline, n, &[7; 3000]);
    }
    store.compact(Table::Timeline).unwrap();
    drop(store);
    let table = files(&folder.path().join("db"), ".sst").pop().unwrap();
    flip(&table, 5000);
    let store = open(&folder.path().join("db"));
    assert!(matches!(count(&store, Table::Timeline), Err(StoreError::Corrupt(_))));
    assert!(matches!(store.scan_table(Table::Timeline), Err(StoreError::Corrupt(_))));
    assert_eq!(count(&store, Table::Contacts), Ok(0));
}

#[test]
fn a_missing_or_damaged_manifest_is_a_sentence() {
    for (file, content) in [("CURRENT", &b"nonsense"[..]), ("CURRENT", b""), ("MANIFEST", b"nonsense")] {
        let (store, folder) = fresh();
        put(&store, Table::Timeline, 1, b"row");
        drop(store);
        let db = folder.path().join("db");
        let path = fs::read_dir(&db)
            .unwrap()
            .map(|e| e.unwrap().path())
            .find(|p| p.file_name().unwrap().to_string_lossy().starts_with(file))
            .unwrap();
        fs::write(path, content).unwrap();
        let error = RocksStore::open(&db, RocksOptions::default()).unwrap_err();
        assert!(matches!(&error, StoreError::Corrupt(_)), "{file} {content:?}: {error}");
    }
}

#[test]
fn a_folder_of_somebody_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let photo = folder.path().join("holiday.jpg");
    fs::write(&photo, b"jpg").unwrap();
    let error = RocksStore::open(folder.path(), RocksOptions::default()).unwrap_err();
    assert!(matches!(&error, StoreError::Foreign(_)), "{error}");
    assert!(error.to_string().contains("choose an empty folder"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    for families in [&["default", "users"][..], &["default"]] {
        let other = tempfile::tempdir().unwrap();
        let mut options = rocksdb::Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        let db = rocksdb::DB::open_cf(&options, other.path(), families).unwrap();
        db.put(b"row", b"of another program").unwrap();
        drop(db);
        let error = RocksStore::open(other.path(), RocksOptions::default()).unwrap_err();
        assert!(matches!(&error, StoreError::Foreign(_)), "{error}");
    }
}

#[test]
fn a_file_in_place_of_the_folder_is_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("db");
    fs::write(&file, b"x").unwrap();
    let error = RocksStore::open(&file, RocksOptions::default()).unwrap_err();
    assert!(matches!(&error, StoreError::Io(_)), "{error}");
    assert!(error.to_string().contains("db"), "{error}");
}

#[test]
fn a_second_opening_is_told_that_it_is_in_use() {
    let (_store, folder) = fresh();
    let error = RocksStore::open(&folder.path().join("db"), RocksOptions::default()).unwrap_err();
    assert!(matches!(&error, StoreError::InUse(_)), "{error}");
}

#[test]
fn a_first_start_that_was_cut_short_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["IDENTITY", "LOCK", "LOG", "MANIFEST-000001"] {
        fs::write(folder.path().join(name), b"").unwrap();
    }
    put(&open(folder.path()), Table::Timeline, 1, b"row");

    let folder = tempfile::tempdir().unwrap();
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    drop(rocksdb::DB::open(&options, folder.path()).unwrap());
    put(&open(folder.path()), Table::Timeline, 1, b"row");
}

#[test]
fn tables_of_a_newer_kith_do_not_hide_its_version() {
    let (store, folder) = fresh();
    migrate(&store, &[], 99, &mut |_| unreachable!()).unwrap();
    drop(store);
    let db = folder.path().join("db");
    let mut options = rocksdb::Options::default();
    options.create_missing_column_families(true);
    let mut names = rocksdb::DB::list_cf(&options, &db).unwrap();
    names.push("table-of-tomorrow".into());
    drop(rocksdb::DB::open_cf(&options, &db, &names).unwrap());
    let error = open_schema(&open(&db), &mut |_| unreachable!()).unwrap_err();
    assert_eq!(error, StoreError::Newer { found: 99, known: kith_store::SCHEMA });
}

#[test]
fn a_checkpoint_is_a_database_of_that_moment() {
    let (store, folder) = fresh();
    put(&store, Table::Timeline, 1, b"row");
    let copy = folder.path().join("copy");
    store.checkpoint(&copy).unwrap();
    put(&store, Table::Timeline, 2, b"row");
    assert_eq!(count(&open(&copy), Table::Timeline), Ok(1));
    assert_eq!(count(&store, Table::Timeline), Ok(2));
    // A newer copy takes an older one's place, but nothing else's.
    store.checkpoint(&copy).unwrap();
    assert_eq!(count(&open(&copy), Table::Timeline), Ok(2));
    let photos = folder.path().join("photos");
    fs::create_dir(&photos).unwrap();
    fs::write(photos.join("holiday.jpg"), b"jpg").unwrap();
    assert!(matches!(store.checkpoint(&photos), Err(StoreError::Foreign(_))));
    assert!(photos.join("holiday.jpg").exists());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn with_little_room_only_deletions_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("db");
    put(&open(&db), Table::Timeline, 1, b"row");
    let stat = rustix::fs::statvfs(&db).unwrap();
    let free = stat.f_bavail * stat.f_frsize;
    let options = RocksOptions { free_bytes_min: free + free / 2, ..RocksOptions::default() };
    let store = RocksStore::open(&db, options).unwrap();
    let mut changes = Overlay::default();
    changes.put(Key::at(Table::Timeline, b"c", b"new"), b"row".to_vec());
    let error = store.write(&changes).unwrap_err();
    assert!(matches!(&error, StoreError::Full(_)), "{error}");
    assert!(error.to_string().contains("free some space"), "{error}");
    assert_eq!(count(&store, Table::Timeline), Ok(1));
    let mut changes = Overlay::default();
    changes.shred(Table::Timeline, b"c");
    store.write(&changes).unwrap();
    assert_eq!(count(&store, Table::Timeline), Ok(0));
    drop(store);
    let options = RocksOptions { free_bytes_min: u64::MAX, ..options };
    assert!(matches!(RocksStore::open(&db, options).unwrap().write(&changes), Err(StoreError::Full(_))));
}

#[test]
fn a_migration_leaves_a_copy_and_can_be_repeated() {
    let step = kith_store::Migration {
        from: 1,
        what: "nothing but the number",
        run: |_, changes| {
            changes.put(Key::at(Table::Timeline, b"c", b"new"), b"row".to_vec());
            Ok(())
        },
    };
    let (store, folder) = fresh();
    migrate(&store, &[], 1, &mut |_| unreachable!()).unwrap();
    put(&store, Table::Timeline, 1, b"row");
    let copy = folder.path().join("copy");
    let mut cut_short = |_| store.checkpoint(&copy).and(Err(StoreError::Io("pulled".into())));
    migrate(&store, &[step], 2, &mut cut_short).unwrap_err();
    migrate(&store, &[step], 2, &mut |_| store.checkpoint(&copy)).unwrap();
    assert_eq!(count(&store, Table::Timeline), Ok(2));
    let before = open(&copy);
    assert_eq!(count(&before, Table::Timeline), Ok(1));
    assert_eq!(migrate(&before, &[], 1, &mut |_| unreachable!()), Ok(kith_store::Migrated::Current));
}

#[test]
fn size_follows_the_rows() {
    let (store, _folder) = fresh();
    let before = store.approximate_bytes().unwrap();
    let mut changes = Overlay::default();
    for n in 0..100_u32 {
        changes.put(Key::at(Table::LogEntries, b"c", &n.to_be_bytes()), vec![7; 10_000]);
    }
    store.write(&changes).unwrap();
    store.compact(Table::LogEntries).unwrap();
    let full = store.approximate_bytes().unwrap();
    assert!(full > before + 900_000 && full < before + 2_000_000, "{before} {full}");
    let mut changes = Overlay::default();
    changes.shred(Table::LogEntries, b"c");
    store.write(&changes).unwrap();
    store.compact(Table::LogEntries).unwrap();
    assert!(store.approximate_bytes().unwrap() < before + 100_000);
}

mod shredding {
    use kith_store::RawRead;

    use super::*;
    use crate::contract::sealed;

    fn on_disk(folder: &Path, needle: &[u8]) -> bool {
        fs::read_dir(folder).unwrap().any(|entry| {
            let bytes = fs::read(entry.unwrap().path()).unwrap_or_default();
            bytes.windows(needle.len()).any(|w| w == needle)
        })
    }

    #[test]
    fn destroyed_keys_leave_the_disk_at_the_next_opening() {
        let (store, folder) = fresh();
        let db = folder.path().join("db");
        let store = sealed(store);
        let mut changes = Overlay::default();
        changes.put(Key::of(Table::Images, b"gone"), b"ratchet".to_vec());
        changes.put(Key::of(Table::Images, b"kept"), b"ratchet".to_vec());
        store.write(&changes).unwrap();
        let keys = store.inner().raw_rows(Table::ShredKeys).unwrap();
        assert_eq!(keys.len(), 2);
        assert!(keys.iter().all(|(_, key)| on_disk(&db, key)));
        let mut changes = Overlay::default();
        changes.shred(Table::Images, b"gone");
        store.write(&changes).unwrap();
        let kept = store.inner().raw_rows(Table::ShredKeys).unwrap();
        drop(store);

        let store = sealed(open(&db));
        assert_eq!(store.get(Key::of(Table::Images, b"gone")).unwrap(), None);
        assert_eq!(store.get(Key::of(Table::Images, b"kept")).unwrap().unwrap(), b"ratchet");
        drop(store);
        for (place, key) in &keys {
            assert_eq!(on_disk(&db, key), *place == kept[0].0);
        }
    }

    #[test]
    fn destroyed_keys_leave_the_disk_of_a_running_store() {
        let (store, folder) = fresh();
        let db = folder.path().join("db");
        let store = sealed(store);
        let mut first = None;
        for n in 0..70_u32 {
            let name = n.to_be_bytes();
            let mut changes = Overlay::default();
            changes.put(Key::of(Table::Topics, &name), b"secret".to_vec());
            store.write(&changes).unwrap();
            let keys = store.inner().raw_rows(Table::ShredKeys).unwrap();
            let first = first.get_or_insert_with(|| keys[0].1.clone());
            assert!(n > 0 || on_disk(&db, first));
            let mut changes = Overlay::default();
            changes.shred(Table::Topics, &name);
            store.write(&changes).unwrap();
        }
        assert!(store.scan_table(Table::Topics).unwrap().is_empty());
        // A purge under way is waited for.
        drop(store);
        assert!(!on_disk(&db, &first.unwrap()));
    }
}
