//! Objects in any order, any number of times: the same tip and the same events.
mod common;

use common::*;
use kith_mls::Outcome;
use kith_wire::ids::GroupId;
use proptest::prelude::*;

/// Alice and Bob have lived; Carol, their witness, has only joined.
struct Past {
    gid: GroupId,
    witness: Device,
    objects: Vec<Vec<u8>>,
    tip: kith_wire::ids::StateId,
    events: usize,
}

fn past() -> Past {
    let (mut a, mut b, mut c) = (Device::new(1, 1), Device::new(2, 1), Device::new(3, 1));
    let gid = a.create("tea");
    let start = a.add(gid, &mut [&mut b, &mut c]);
    give(&mut a, gid, &start);
    give(&mut b, gid, &start);
    give(&mut c, gid, &start);
    let mut objects = Vec::new();
    for round in 0..3 {
        let one = a.update(gid);
        objects.extend(publish(&one));
        for i in 0..2 {
            objects.extend(published(&a.send(gid, &format!("a{round}{i}"))));
        }
        if round == 1 {
            // At the same time on the same parent.
            let two = b.update(gid);
            objects.extend(publish(&two));
            objects.extend(published(&b.send(gid, "b at once")));
            give(&mut a, gid, &publish(&two));
        }
        give(&mut b, gid, &objects);
        let resend: Vec<_> = std::mem::take(&mut a.resend).into_iter().map(|id| (0, id)).collect();
        let more: Vec<_> = std::mem::take(&mut b.resend).into_iter().map(|id| (1, id)).collect();
        for (who, id) in resend.into_iter().chain(more) {
            let d = if who == 0 { &mut a } else { &mut b };
            if let Ok(kith_mls::Resealed::Envelope(sent)) = d.run(|e, tx, now| e.reseal(tx, now, gid, id)) {
                objects.extend(published(&sent));
            }
        }
        give(&mut a, gid, &objects);
        objects.extend(b.mark(gid));
        objects.extend(published(&b.send(gid, &format!("b{round}"))));
        give(&mut a, gid, &objects);
        objects.extend(a.mark(gid));
    }
    give(&mut b, gid, &objects);
    assert_eq!(a.tip(gid), b.tip(gid));
    let events = a.shown.len() + b.shown.len();
    Past { gid, witness: c, objects, tip: a.tip(gid), events }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn any_order_and_repetition_leads_to_the_same(
        picks in proptest::collection::vec(any::<prop::sample::Index>(), 60..200),
        restart in any::<bool>(),
    ) {
        let Past { gid, mut witness, objects, tip, events } = past();
        witness.restart_always = restart;
        // Everything comes at least once: the picks first, then the rest backwards.
        for pick in &picks {
            witness.ingest(gid, &objects[pick.index(objects.len())]);
        }
        for object in objects.iter().rev() {
            witness.ingest(gid, object);
        }
        prop_assert_eq!(witness.tip(gid), tip);
        prop_assert!(witness.shown.values().all(|n| *n == 1));
        prop_assert_eq!(witness.shown.len(), events);
        // Nothing of it is new any more.
        for object in &objects {
            let out = witness.ingest(gid, object);
            prop_assert!(!out.iter().any(|o| matches!(o, Outcome::Event(_) | Outcome::Tip(_))), "{out:?}");
        }
    }
}

#[test]
fn what_waits_is_bounded() {
    let (mut a, mut b) = (Device::new(1, 1), Device::new(2, 1));
    let gid = a.create("tea");
    a.add(gid, &mut [&mut b]);
    let commit = a.update(gid);
    let events: Vec<_> = (0..400).map(|i| a.send(gid, &format!("{i}"))).collect();
    for e in &events {
        let out = b.ingest(gid, &e.envelope);
        assert!(matches!(out[..], [Outcome::Buffered, Outcome::NeedCommits]));
    }
    let waiting = kith_store::Read::scan_table(&b.store, kith_store::Table::Orphans).unwrap().len();
    assert!(waiting <= kith_mls::ORPHANS_MAX as usize);
    let out = give(&mut b, gid, &publish(&commit));
    assert_eq!(common::events(&out).len(), kith_mls::ORPHANS_MAX as usize);
    assert_eq!(kith_store::Read::scan_table(&b.store, kith_store::Table::Orphans).unwrap().len(), 0);
    settle(gid, &mut [&mut a, &mut b]);
    assert_eq!(b.shown.len(), 400);
    assert!(b.shown.values().all(|n| *n == 1));
}
