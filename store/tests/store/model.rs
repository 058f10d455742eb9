//! Random transactions against a model: a plain sorted map.

use std::collections::BTreeMap;

use kith_store::{Key, Overlay, Range, Read, Store, Table, Tx};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

const TABLES: [Table; 3] = [Table::Timeline, Table::Images, Table::Meta];

type Model = BTreeMap<(Table, u8, Vec<u8>), Vec<u8>>;

#[derive(Debug, Clone)]
enum Op {
    Put(usize, u8, Vec<u8>, Vec<u8>),
    Delete(usize, u8, Vec<u8>),
    Shred(usize, u8),
    /// Ends the input and keeps it.
    Keep,
    /// Ends the input and drops it.
    Drop,
    /// Writes the burst.
    Write,
    Scan {
        table: usize,
        name: u8,
        from: Vec<u8>,
        to: Option<Vec<u8>>,
        reverse: bool,
        limit: usize,
    },
    ScanTable(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let table = 0..TABLES.len();
    let name = 0..3_u8;
    let order = || proptest::collection::vec(0..4_u8, 0..3);
    let value = proptest::collection::vec(any::<u8>(), 0..4);
    prop_oneof![
        6 => (table.clone(), name.clone(), order(), value).prop_map(|(t, n, o, v)| Op::Put(t, n, o, v)),
        2 => (table.clone(), name.clone(), order()).prop_map(|(t, n, o)| Op::Delete(t, n, o)),
        1 => (table.clone(), name.clone()).prop_map(|(t, n)| Op::Shred(t, n)),
        2 => Just(Op::Keep),
        1 => Just(Op::Drop),
        1 => Just(Op::Write),
        4 => (table.clone(), name, order(), proptest::option::of(order()), any::<bool>(), 0..6_usize).prop_map(
            |(table, name, from, to, reverse, limit)| Op::Scan { table, name, from, to, reverse, limit }
        ),
        1 => table.prop_map(Op::ScanTable),
    ]
}

/// Runs random scripts, one after the other, on one store.
pub(crate) fn run(store: &dyn Store) {
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let script = proptest::collection::vec(op(), 0..60);
    runner.run(&script, |ops| script_agrees(store, &ops)).unwrap();
}

fn key(table: usize, name: &u8, order: &[u8]) -> (Table, u8, Vec<u8>) {
    (TABLES[table], *name, order.to_vec())
}

fn script_agrees(store: &dyn Store, ops: &[Op]) -> Result<(), TestCaseError> {
    clear(store);
    let fixed = store.scan_table(Table::Meta).unwrap();
    let (mut stored, mut kept): (Model, Model) = Default::default();
    let mut under = Overlay::default();
    let mut ops = ops.iter().peekable();
    while ops.peek().is_some() {
        let mut model = kept.clone();
        let mut tx = Tx::new(store, &under);
        let end = loop {
            let op = ops.next().unwrap_or(&Op::Write);
            match op {
                Op::Put(t, n, o, v) => {
                    tx.put(Key::at(TABLES[*t], &[*n], o), v.clone());
                    model.insert(key(*t, n, o), v.clone());
                }
                Op::Delete(t, n, o) => {
                    tx.delete(Key::at(TABLES[*t], &[*n], o));
                    model.remove(&key(*t, n, o));
                }
                Op::Shred(t, n) => {
                    tx.shred(TABLES[*t], &[*n]);
                    model.retain(|(table, name, _), _| (*table, name) != (TABLES[*t], n));
                }
                Op::Scan { table, name, from, to, reverse, limit } => {
                    let range = Range {
                        table: TABLES[*table],
                        name: &[*name],
                        from,
                        to: to.as_deref(),
                        reverse: *reverse,
                        limit: *limit,
                    };
                    prop_assert_eq!(tx.scan(range).unwrap(), scan(&model, &range));
                    prop_assert_eq!(store.scan(range).unwrap(), scan(&stored, &range));
                    prop_assert_eq!(store.snapshot().scan(range).unwrap(), scan(&stored, &range));
                    let place = Key::at(range.table, range.name, from);
                    prop_assert_eq!(tx.get(place).unwrap(), model.get(&key(*table, name, from)).cloned());
                    prop_assert_eq!(store.get(place).unwrap(), stored.get(&key(*table, name, from)).cloned());
                }
                Op::ScanTable(t) => {
                    prop_assert_eq!(whole(&tx, TABLES[*t], &fixed), values(&model, TABLES[*t]));
                    prop_assert_eq!(whole(store, TABLES[*t], &fixed), values(&stored, TABLES[*t]));
                }
                Op::Keep | Op::Drop | Op::Write => break op,
            }
        };
        match end {
            Op::Drop => {}
            Op::Write => {
                let done = tx.finish();
                under.absorb(done);
                store.write(&under).unwrap();
                under = Overlay::default();
                kept.clone_from(&model);
                stored = model;
            }
            _ => {
                let done = tx.finish();
                under.absorb(done);
                kept = model;
            }
        }
    }
    Ok(())
}

fn scan(model: &Model, range: &Range<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows: Vec<_> = model
        .iter()
        .filter(|((table, name, order), _)| {
            *table == range.table
                && [*name] == range.name
                && order.as_slice() >= range.from
                && range.to.is_none_or(|to| order.as_slice() < to)
        })
        .map(|((_, _, order), value)| (order.clone(), value.clone()))
        .collect();
    if range.reverse {
        rows.reverse();
    }
    rows.truncate(range.limit);
    rows
}

fn values(model: &Model, table: Table) -> Vec<Vec<u8>> {
    let mut out: Vec<_> = model.iter().filter(|((t, ..), _)| *t == table).map(|(_, v)| v.clone()).collect();
    out.sort();
    out
}

/// A table's values, without the rows that the store itself keeps there.
fn whole(read: &(impl Read + ?Sized), table: Table, fixed: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut out = read.scan_table(table).unwrap();
    if table == Table::Meta {
        for own in fixed {
            let at = out.iter().position(|value| value == own).unwrap();
            out.remove(at);
        }
    }
    out.sort();
    out
}

fn clear(store: &dyn Store) {
    let mut changes = Overlay::default();
    for table in TABLES {
        for name in 0..3_u8 {
            changes.shred(table, &[name]);
        }
    }
    store.write(&changes).unwrap();
}
