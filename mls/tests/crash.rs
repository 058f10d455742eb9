//! Restarts between any two calls, transactions that never become durable,
//! and the rule that no key is used twice.
mod common;

use common::*;
use kith_mls::{Change, Outcome};

#[test]
fn a_restart_between_any_two_calls_changes_nothing() {
    let (mut a, mut b, mut c) = (Device::new(1, 1), Device::new(2, 1), Device::new(3, 1));
    for d in [&mut a, &mut b, &mut c] {
        d.restart_always = true;
    }
    let gid = a.create("tea");
    let objects = a.add(gid, &mut [&mut b]);
    give(&mut a, gid, &objects);
    for i in 0..5 {
        let sent = a.send(gid, &format!("a{i}"));
        assert_eq!(texts(&give(&mut b, gid, &published(&sent))), [format!("a{i}")]);
        let sent = b.send(gid, &format!("b{i}"));
        assert_eq!(texts(&give(&mut a, gid, &published(&sent))), [format!("b{i}")]);
    }
    // Two commits at once, both authors restarted: an own commit cannot be
    // processed again, its image must have been kept.
    let (one, two) = (a.update(gid), b.update(gid));
    give(&mut a, gid, &publish(&two));
    give(&mut b, gid, &publish(&one));
    assert_eq!(a.tip(gid), b.tip(gid));
    let objects = b.commit(gid, &Change::default()).map(|x| publish(&x)).unwrap();
    give(&mut a, gid, &objects);
    let objects = a.add(gid, &mut [&mut c]);
    give(&mut b, gid, &objects);
    settle(gid, &mut [&mut a, &mut b, &mut c]);
    let sent = c.send(gid, "all here");
    for d in [&mut a, &mut b] {
        assert_eq!(texts(&give(d, gid, &published(&sent))), ["all here"]);
    }
    assert_no_reuse(&[&a, &b, &c]);
}

#[test]
fn a_transaction_that_fails_leaves_no_trace() {
    let (mut a, mut b) = (Device::new(1, 1), Device::new(2, 1));
    let gid = a.create("tea");
    a.add(gid, &mut [&mut b]);
    for forget in [false, true] {
        let (writes, tip) = (a.store.writes(), a.tip(gid));
        // Sent, committed, received: all in transactions that are dropped.
        let lost = a.run_and_fail(|e, tx, now| e.send(tx, now, gid, 2, b"never")).unwrap();
        a.run_and_fail(|e, tx, now| e.commit(tx, now, gid, &Change::default())).unwrap();
        let from_b = b.send(gid, "from bob");
        for object in published(&from_b) {
            a.run_and_fail(|e, tx, now| e.ingest(tx, now, gid, &object)).unwrap();
        }
        if forget {
            a.engine.forget_cached();
        }
        assert_eq!((a.store.writes(), a.tip(gid)), (writes, tip));
        // The key of what never left may be used: it is used once. The engine
        // notices by itself that what it has loaded never became durable.
        let sent = a.send(gid, "first");
        assert_eq!(sent.seq, lost.seq);
        assert_eq!(texts(&give(&mut b, gid, &published(&sent))), ["first"]);
        assert_eq!(texts(&give(&mut a, gid, &published(&from_b))), ["from bob"]);
    }
    assert_no_reuse(&[&a, &b]);
}

#[test]
fn failures_at_random_never_use_a_key_twice() {
    let (mut a, mut b) = (Device::new(1, 1), Device::new(2, 1));
    let gid = a.create("tea");
    let objects = a.add(gid, &mut [&mut b]);
    give(&mut a, gid, &objects);
    let mut dice = 12345u64;
    let mut roll = |n: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % n
    };
    let mut sent_by = [0usize; 2];
    for i in 0..300 {
        let (who, d, other) = if roll(2) == 0 { (0, &mut a, &mut b) } else { (1, &mut b, &mut a) };
        match roll(6) {
            0 => {
                d.run_and_fail(|e, tx, now| e.send(tx, now, gid, 2, b"lost")).unwrap();
            }
            1 => {
                d.run_and_fail(|e, tx, now| e.commit(tx, now, gid, &Change::default())).unwrap();
            }
            2 if i % 7 == 0 => d.restart(),
            3 if i % 11 == 0 => {
                let commit = d.update(gid);
                give(other, gid, &publish(&commit));
            }
            _ => {
                let sent = d.send(gid, &format!("{i}"));
                sent_by[who] += 1;
                let out = give(other, gid, &published(&sent));
                assert_eq!(texts(&out), [format!("{i}")]);
                assert!(matches!(give(other, gid, &published(&sent)).last(), Some(Outcome::Known)));
            }
        }
    }
    assert_eq!((b.shown.len(), a.shown.len()), (sent_by[0], sent_by[1]));
    assert_no_reuse(&[&a, &b]);
}

/// Control: a store that was rewound makes the check fail.
#[test]
#[should_panic(expected = "a key was used twice")]
fn the_check_finds_a_rewound_store() {
    let (mut a, mut b) = (Device::new(1, 1), Device::new(2, 1));
    let gid = a.create("tea");
    a.add(gid, &mut [&mut b]);
    let image = a.store.fork();
    a.send(gid, "one");
    a.store = image;
    a.restart();
    a.send(gid, "two");
    assert_no_reuse(&[&a]);
}
