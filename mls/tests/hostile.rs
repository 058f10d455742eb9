//! Hostile input: whatever is changed in any object, the answer is an outcome
//! or a typed error, and the group goes on.
mod common;

use common::*;
use kith_mls::{Change, Outcome};
use kith_wire::group::{BundleRef, CommitEnvelope, JoinBundle, Object, Role, RoleEntry};
use kith_wire::object::Versioned as _;
use kith_wire::signed;

fn mutate(bytes: &[u8], dice: &mut impl FnMut(usize) -> usize) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=dice(3) {
        match dice(5) {
            0 if !out.is_empty() => {
                let at = dice(out.len());
                out[at] ^= 1 << dice(8);
            }
            1 if !out.is_empty() => out.truncate(dice(out.len())),
            2 => {
                let at = dice(out.len() + 1);
                out.insert(at, u8::try_from(dice(256)).unwrap());
            }
            3 if out.len() > 8 => {
                let (from, n) = (dice(out.len() - 8), dice(8));
                let part: Vec<u8> = out[from..from + n].to_vec();
                let at = dice(out.len());
                out.splice(at..at, part);
            }
            _ if !out.is_empty() => {
                let at = dice(out.len());
                out[at] = u8::try_from(dice(256)).unwrap();
            }
            _ => {}
        }
    }
    out
}

#[test]
fn changed_objects_are_refused_and_harm_nothing() {
    let (mut a, mut b, mut c) = (Device::new(1, 1), Device::new(2, 1), Device::new(3, 1));
    let gid = a.create("tea");
    let objects = a.add(gid, &mut [&mut b, &mut c]);
    for d in [&mut a, &mut b, &mut c] {
        give(d, gid, &objects);
    }
    let mut state = 99u64;
    let mut dice = move |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((state >> 33) % n.max(1) as u64).unwrap()
    };
    for round in 0..6 {
        let mut objects = Vec::new();
        let sent = a.send(gid, &format!("text {round}"));
        objects.extend(published(&sent));
        objects.push(kith_mls::event_bytes(&a.store, gid, sent.id).unwrap());
        let commit = match round {
            2 => {
                let orders = c.run(|e, tx, now| e.leave(tx, now, gid)).unwrap();
                objects.extend(orders.clone());
                give(&mut a, gid, &orders);
                a.commit(gid, &Change { remove_accounts: vec![c.account()], ..Change::default() }).unwrap()
            }
            _ => a.update(gid),
        };
        objects.extend(publish(&commit));
        for _ in 0..120 {
            let pick = objects[dice(objects.len())].clone();
            let bad = mutate(&pick, &mut dice);
            if bad == pick {
                continue;
            }
            let out = b.ingest(gid, &bad);
            assert!(
                !out.iter().any(|o| matches!(o, Outcome::Event(_) | Outcome::Tip(_) | Outcome::Acked { .. })),
                "a changed object was believed: {out:?}"
            );
        }
        let out = give(&mut b, gid, &objects);
        assert_eq!(texts(&out), [format!("text {round}")]);
        assert_eq!(a.tip(gid), b.tip(gid));
    }
}

#[test]
fn changed_welcomes_and_bundles_are_refused_and_the_right_one_still_works() {
    let (mut a, mut b) = (Device::new(1, 1), Device::new(2, 1));
    let gid = a.create("tea");
    let package = b.package();
    let mut state = 7u64;
    let mut dice = move |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((state >> 33) % n.max(1) as u64).unwrap()
    };
    for _ in 0..100 {
        let bad = mutate(&package, &mut dice);
        if bad != package {
            let add = kith_mls::Add { package: bad, inbox: kith_wire::ids::TopicId([1; 32]) };
            let change = Change { adds: vec![add], ..Change::default() };
            assert!(a.run_and_fail(|e, tx, now| e.commit(tx, now, gid, &change)).is_err());
        }
    }
    let add = kith_mls::Add { package, inbox: kith_wire::ids::TopicId([1; 32]) };
    let commit = a.commit(gid, &Change { adds: vec![add], ..Change::default() }).unwrap();
    let welcome = a.welcome_bytes(&commit, b.id());
    for i in 0..300 {
        let (mut w, mut t) = (welcome.clone(), commit.bundle.clone());
        if i % 2 == 0 {
            w = mutate(&w, &mut dice);
        } else {
            t = mutate(&t, &mut dice);
        }
        if w == welcome && t == commit.bundle {
            continue;
        }
        // The bundle's list of progress and its marks are not bound to the
        // Welcome: a join with those changed may succeed, and is dropped here.
        let _outcome = b.run_and_fail(|e, tx, now| e.join(tx, now, &w, &t));
        if i % 2 == 0 {
            assert!(b.run_and_fail(|e, tx, now| e.join(tx, now, &w, &t)).is_err());
        }
    }
    let sealed =
        a.engine.seal_inbox(&commit.joiners[0].box_key, commit.joiners[0].inbox, b.id(), &welcome).unwrap();
    for _ in 0..50 {
        let bad = mutate(&sealed, &mut dice);
        if bad != sealed {
            assert!(b.engine.open_inbox(commit.joiners[0].inbox, &bad).is_err());
        }
    }
    b.run(|e, tx, now| e.join(tx, now, &welcome, &commit.bundle)).unwrap();
    assert_eq!(a.tip(gid), b.tip(gid));
    // A second time it is refused: the device is in.
    assert!(b.run(|e, tx, now| e.join(tx, now, &welcome, &commit.bundle)).is_err());
    // Somebody else cannot use it.
    let mut m = Device::new(9, 1);
    assert!(m.run(|e, tx, now| e.join(tx, now, &welcome, &commit.bundle)).is_err());
    let _ = BundleRef::Inline(Vec::new());
}

#[test]
fn nobody_mints_a_commit_in_anothers_name() {
    let (mut a, mut b, mut m) = (Device::new(1, 1), Device::new(2, 1), Device::new(3, 1));
    let gid = a.create("tea");
    let objects = a.add(gid, &mut [&mut b, &mut m]);
    for d in [&mut a, &mut b, &mut m] {
        give(d, gid, &objects);
    }
    let commit = a.update(gid);
    let Ok(Object::Signed { raw, .. }) = Object::from_bytes(&commit.envelope) else { panic!() };
    let mut envelope: CommitEnvelope = raw.body().unwrap();
    // Mallory changes the last byte (membership tag) and signs the envelope.
    *envelope.message.last_mut().unwrap() ^= 1;
    let forged = signed::sign(&envelope, &m.keys.signing, &[]).to_bytes();
    assert!(matches!(b.ingest(gid, &forged)[..], [Outcome::Rejected(_)]));
    // Or keeps the bytes and signs them as her own.
    let Ok(Object::Signed { raw, .. }) = Object::from_bytes(&commit.envelope) else { panic!() };
    let stolen = signed::sign(&raw.body::<CommitEnvelope>().unwrap(), &m.keys.signing, &[]).to_bytes();
    assert!(matches!(b.ingest(gid, &stolen)[..], [Outcome::Rejected(_)]));
    assert!(b.ingest(gid, &commit.envelope).iter().any(|o| matches!(o, Outcome::Tip(_))));
}

#[test]
fn two_events_under_one_number_are_reported() {
    let (mut a, mut b) = (Device::new(1, 1), Device::new(2, 1));
    let gid = a.create("tea");
    a.add(gid, &mut [&mut b]);
    let fork = a.store.fork();
    let one = a.send(gid, "one");
    let bare = kith_mls::event_bytes(&a.store, gid, one.id).unwrap();
    a.store = fork;
    a.restart();
    let two = a.send(gid, "two");
    let other = kith_mls::event_bytes(&a.store, gid, two.id).unwrap();
    assert_eq!(texts(&b.ingest(gid, &bare)), ["one"]);
    assert!(matches!(b.ingest(gid, &other)[..], [Outcome::Equivocation { number: 1, .. }]));
}

#[test]
fn clocks_far_off_move_nothing() {
    let (mut a, mut b) = (Device::new(1, 1), Device::new(2, 1));
    let gid = a.create("tea");
    a.add(gid, &mut [&mut b]);
    let first = a.send(gid, "now");
    give(&mut b, gid, &published(&first));
    a.now += 86_400_000;
    let sent = a.send(gid, "tomorrow");
    let out = give(&mut b, gid, &published(&sent));
    let e = events(&out)[0];
    assert!(e.ahead);
    assert_eq!(e.hlc, first.hlc + 1, "it comes right after what it follows");
    assert!(e.wall_ms <= b.now + 600_000);
    let reply = b.send(gid, "reply");
    assert!(reply.hlc >> 16 <= b.now + 60_000);
}

/// One asks to be let in again, and another commits it.
fn let_in(gid: kith_wire::ids::GroupId, a: &mut Device, b: &mut Device) -> kith_mls::Committed {
    let request = b.run(|e, tx, now| e.ask_back(tx, now, gid)).unwrap();
    let readd = kith_mls::Readd { request, inbox: kith_wire::ids::TopicId(b.id().0) };
    a.commit(gid, &Change { readds: vec![readd], ..Change::default() }).unwrap()
}

#[test]
fn who_was_let_in_again_is_not_led_astray_by_another_welcome() {
    let (mut a, mut b, mut c) = (Device::new(1, 1), Device::new(2, 1), Device::new(3, 1));
    let gid = a.create("tea");
    let objects = a.add(gid, &mut [&mut b, &mut c]);
    for d in [&mut a, &mut b, &mut c] {
        give(d, gid, &objects);
    }
    let first = let_in(gid, &mut a, &mut b);
    assert!(a.welcome(&first, &mut b).healed);
    let tip = b.tip(gid);

    // Nobody has been seen there beside the inviter, who leads it into a past of their own.
    let second = let_in(gid, &mut a, &mut b);
    let mut bundle = JoinBundle::from_bytes(&second.bundle).unwrap();
    bundle.commits.clear();
    bundle.checkpoint = None;
    let made_up = bundle.to_bytes();
    let welcome = a.engine.welcome(second.joiners.first().unwrap(), BundleRef::Inline(made_up.clone()));
    let joined = b.run_and_fail(|e, tx, now| e.join(tx, now, &welcome, &made_up));
    assert!(matches!(joined, Err(kith_mls::EngineError::Welcome(_))), "{joined:?}");
    assert_eq!(b.tip(gid), tip);

    // The same Welcome along the way that it can verify.
    assert!(a.welcome(&second, &mut b).healed);
    assert_eq!(a.tip(gid), b.tip(gid));
}

#[test]
fn a_welcome_that_is_refused_leaves_nothing_behind() {
    let (mut a, mut b, mut c) = (Device::new(1, 1), Device::new(2, 1), Device::new(3, 1));
    let gid = a.create("tea");
    let objects = a.add(gid, &mut [&mut b, &mut c]);
    for d in [&mut a, &mut b, &mut c] {
        give(d, gid, &objects);
    }
    let committed = let_in(gid, &mut a, &mut b);
    assert!(a.welcome(&committed, &mut b).healed);

    // It comes once more, and its bundle tells something that is new here.
    c.ingest(gid, &committed.envelope);
    let mark = c.mark(gid).unwrap();
    let mut bundle = JoinBundle::from_bytes(&committed.bundle).unwrap();
    bundle.marks.push(mark.clone().into());
    let bundle = bundle.to_bytes();
    let welcome = a.engine.welcome(committed.joiners.first().unwrap(), BundleRef::Inline(bundle.clone()));
    let known = |d: &Device| kith_mls::view::facts(&d.store, gid).unwrap().marks;
    let before = known(&b);
    // Whoever hands it in goes on as if nothing had come.
    let joined = b.run(|e, tx, now| Ok(e.join(tx, now, &welcome, &bundle))).unwrap();
    assert!(matches!(joined, Err(kith_mls::EngineError::Welcome(_))), "{joined:?}");
    assert_eq!(known(&b), before);

    // By itself it is taken in.
    b.ingest(gid, &mark);
    assert_eq!(known(&b).len(), before.len() + 1);
}

#[test]
fn a_copy_learns_that_another_copy_has_signed_under_its_numbers() {
    let (mut a, mut b, mut c) = (Device::new(1, 1), Device::new(2, 1), Device::new(3, 1));
    let gid = a.create("tea");
    a.add(gid, &mut [&mut b, &mut c]);
    settle(gid, &mut [&mut a, &mut b, &mut c]);
    // The device marks the owner's state; its older copy one of its own.
    let disk = b.store.fork();
    let one = publish(&a.update(gid));
    give(&mut b, gid, &one);
    let mark = b.mark(gid).unwrap();
    b.store = disk;
    b.restart();
    let two = publish(&b.update(gid));
    let out = [give(&mut c, gid, &one), c.ingest(gid, &mark), give(&mut c, gid, &two)].concat();
    assert!(out.iter().any(|o| matches!(o, Outcome::Equivocation { .. })));
    give(&mut b, gid, &one);
    assert!(!kith_mls::view::duties(&b.store, gid).unwrap().behind);
    // Whoever has the proof shows it: the copy's own votes do not hold it where
    // nobody else stands, and it says nothing until it is let in again.
    let hello = b.hello(gid);
    let objects = c.answer(gid, b.id(), &hello);
    give(&mut b, gid, &objects);
    assert_eq!(b.tip(gid), c.tip(gid));
    assert!(kith_mls::view::duties(&b.store, gid).unwrap().behind);
    assert!(b.run(|e, tx, now| e.send(tx, now, gid, 2, b"again")).is_err());
}

/// Rank in a test: owner, two admins, a member.
fn with_admins(gid: kith_wire::ids::GroupId, devices: &mut [&mut Device; 4]) {
    let (_, rest) = devices.split_first_mut().unwrap();
    let others: Vec<_> = rest.iter().map(|d| d.account()).collect();
    let mut ext = kith_mls::view::group(&devices[0].store, gid).unwrap().ext;
    let epoch = kith_mls::view::group(&devices[0].store, gid).unwrap().epoch + 1;
    for admin in &others[..2] {
        ext.roles.insert(*admin, RoleEntry { role: Role::Admin, epoch });
    }
    let made = publish(&devices[0].commit(gid, &Change { ext: Some(ext), ..Change::default() }).unwrap());
    for d in &mut devices[1..] {
        give(d, gid, &made);
    }
    let [a, b, c, d] = devices;
    settle(gid, &mut [a, b, c, d]);
}

#[test]
fn an_order_is_signed_anew_only_when_it_is_known_to_count() {
    let (mut a, mut b, mut c, mut d) =
        (Device::new(1, 1), Device::new(2, 1), Device::new(3, 1), Device::new(4, 1));
    let gid = a.create("tea");
    a.add(gid, &mut [&mut b, &mut c, &mut d]);
    settle(gid, &mut [&mut a, &mut b, &mut c, &mut d]);
    with_admins(gid, &mut [&mut a, &mut b, &mut c, &mut d]);
    // The owner's mark of the state that all are in is late.
    let moved = a.update(gid);
    for other in [&mut b, &mut c, &mut d] {
        give(other, gid, core::slice::from_ref(&moved.envelope));
    }
    // The owner removes an admin, who removes a member without knowing it.
    let out = Change { remove_accounts: vec![b.account()], ..Change::default() };
    let by_owner = a.commit(gid, &out).unwrap();
    let out = Change { remove_accounts: vec![d.account()], ..Change::default() };
    let by_admin = b.commit(gid, &out).unwrap();
    // The other admin has all but the mark by which the owner's order counts.
    for object in by_admin.marks.iter().chain(&by_admin.orders) {
        c.ingest(gid, object);
    }
    give(&mut c, gid, core::slice::from_ref(&by_owner.envelope));
    c.now += 11_000;
    c.run(|e, tx, now| e.look(tx, now, gid)).unwrap();
    assert_eq!(c.tip(gid), by_owner.state);
    let duties = kith_mls::view::duties(&c.store, gid).unwrap();
    assert!(duties.tainted && !duties.enact, "{duties:?}");
    let before = c.store.fork();
    c.update(gid);
    assert!(c.accounts(gid).contains(&d.account()));
    // The mark comes: the order never counted.
    give(&mut c, gid, &moved.marks);
    assert!(!kith_mls::view::duties(&c.store, gid).unwrap().tainted);
    // It never comes: then the order is one like others.
    c.store = before;
    c.restart();
    c.now += 61_000;
    c.run(|e, tx, now| e.look(tx, now, gid)).unwrap();
    assert!(kith_mls::view::duties(&c.store, gid).unwrap().enact);
    c.update(gid);
    assert!(!c.accounts(gid).contains(&d.account()));
}
