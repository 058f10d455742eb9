//! Greeting, proofs, append, read, have, want, watch.

use super::*;

#[test]
fn nothing_before_the_greeting_but_the_statement() {
    let mut lab = Lab::new(small());
    let link = LinkId(77);
    lab.relay.link_up(lab.now, link, Lab::client(link), b"x");
    lab.settle();
    lab.take(link);
    assert!(matches!(lab.call(link, Call::Statement {}), Ok(Answer::Statement { .. })));
    let read = Call::Read { topic: topic(1).id(), after: 0, max_bytes: 1 };
    assert_eq!(lab.refused(link, read), Code::NotGreeted);
    let future = Call::Hello { lowest: 7, highest: 9, admission: vec![] };
    assert_eq!(lab.refused(link, future), Code::Version);
    assert_eq!(lab.call(link, Call::hello(b"")), Ok(Answer::Hello { version: 1 }));
}

#[test]
fn members_start_topics_and_guests_use_them() {
    let mut lab = Lab::with(small(), Some(b"secret".to_vec()));
    let member = lab.link_from(b"a", b"secret");
    let guest = lab.link_from(b"b", b"");
    let t = topic(1);
    let open = lab.proof(guest, &t, Right::Write);
    let refusal = lab.call(guest, open.clone()).unwrap_err();
    assert_eq!(refusal.code, Code::Admission);
    assert!(refusal.retry_ms > 0, "a member may start it meanwhile");
    lab.open_both(member, &t);
    assert!(lab.call(guest, open).is_ok());
    lab.append(guest, &t, &entry(&t, "hello from outside"));
    assert_eq!(lab.refused(guest, Call::hello(b"wrong")), Code::Admission);
}

#[test]
fn proofs_of_another_link_relay_or_right_do_not_count() {
    let mut lab = Lab::new(small());
    let (a, b) = (lab.link(), lab.link());
    let t = topic(1);
    let of_b = lab.proof(b, &t, Right::Read);
    assert_eq!(lab.refused(a, of_b), Code::Proof);
    let (client, other) = (Lab::client(a), RelayId([9; 32]));
    let nonce = lab.greetings[&a];
    let elsewhere = LinkContext { relay: &other, client: &client, nonce: &nonce };
    assert_eq!(lab.refused(a, Call::open(&t, &elsewhere, Right::Read)), Code::Proof);
    let id = lab.id();
    let stale = LinkContext { relay: &id, client: &client, nonce: &[0; 32] };
    assert_eq!(lab.refused(a, Call::open(&t, &stale, Right::Read)), Code::Proof);
    let Call::Open { descriptor, proof, .. } = lab.proof(a, &t, Right::Read) else { panic!() };
    assert_eq!(lab.refused(a, Call::Open { descriptor, proof, right: Right::Write }), Code::Proof);
    let foreign = Descriptor { read_pub: topic(2).descriptor().read_pub, ..descriptor };
    assert_eq!(lab.refused(a, Call::Open { descriptor: foreign, proof, right: Right::Read }), Code::Proof);

    lab.open(a, &t, Right::Read);
    assert_eq!(lab.refused(a, Call::append(t.id(), entry(&t, "x"), KEEP_S)), Code::NotOpen);
    lab.open(b, &t, Right::Write);
    assert_eq!(lab.refused(b, Call::Have { topic: t.id(), after: 0 }), Code::NotOpen);
    assert_eq!(lab.refused(b, watch_one(&t, 0, 0)), Code::NotOpen);
}

#[test]
fn appending_again_gives_the_same_receipt() {
    let mut lab = Lab::new(small());
    let (a, b) = (lab.link(), lab.link());
    let t = topic(1);
    lab.open_both(a, &t);
    lab.open_both(b, &t);
    let e = entry(&t, "once");
    let call = Call::append(t.id(), e, KEEP_S);
    let first = lab.call(a, call.clone()).unwrap();
    assert_eq!(lab.call(a, call.clone()).unwrap(), first);
    assert_eq!(lab.call(b, call).unwrap(), first);
    assert_eq!(lab.read(b, &t, 0).len(), 1);
    // Twice in one burst, before anything is durable.
    let twice = Call::append(t.id(), entry(&t, "twice"), KEEP_S);
    lab.send(a, twice.clone());
    lab.send(a, twice);
    lab.settle();
    let answers: Vec<_> = lab.take(a);
    assert!(
        matches!(answers.as_slice(), [ServerFrame::Answer { answer: x, .. }, ServerFrame::Answer { answer: y, .. }] if x == y)
    );
    assert_eq!(lab.read(b, &t, 0).len(), 2);
}

#[test]
fn receipts_wait_for_the_disk_and_a_failed_write_refuses_all() {
    let failing = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = failing.clone();
    let store = MemoryStore::with_hook(Box::new(move |_, _| {
        if flag.load(std::sync::atomic::Ordering::Relaxed) {
            Err(StoreError::Full("full".into()))
        } else {
            Ok(())
        }
    }));
    let mut lab = Lab::new(small());
    lab.relay = Service::open(store.clone(), MemoryChunks::default(), setup(small(), None), lab.now).unwrap();
    lab.store = store;
    let a = lab.link();
    let t = topic(1);
    lab.open_both(a, &t);
    lab.send(a, Call::append(t.id(), entry(&t, "x"), KEEP_S));
    lab.drain();
    assert!(lab.take(a).is_empty(), "nothing goes out before the commit");
    failing.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(matches!(lab.relay.commit(lab.now), Err(StoreError::Full(_))));
    lab.drain();
    let frames = lab.take(a);
    assert!(
        matches!(frames.as_slice(), [ServerFrame::Refused { refusal, .. }] if refusal.code == Code::Storage),
        "{frames:?}"
    );
    failing.store(false, std::sync::atomic::Ordering::Relaxed);
    assert!(lab.read(a, &t, 0).is_empty());
    lab.append(a, &t, &entry(&t, "x"));
    assert_eq!(lab.read(a, &t, 0).len(), 1);
}

#[test]
fn wrong_sizes_ids_and_times_are_refused() {
    let mut lab = Lab::new(small());
    let a = lab.link();
    let t = topic(1);
    lab.open_both(a, &t);
    assert_eq!(lab.refused(a, Call::append(t.id(), vec![0; 1000], KEEP_S)), Code::Size);
    assert_eq!(lab.refused(a, Call::append(t.id(), vec![], KEEP_S)), Code::Size);
    assert_eq!(lab.refused(a, Call::append(t.id(), vec![0; 256 << 10], KEEP_S)), Code::Size);
    let wrong = Call::Append { topic: t.id(), id: EntryId([0; 32]), bytes: vec![0; 1024], keep_s: 1 };
    assert_eq!(lab.refused(a, wrong), Code::WrongId);
    assert_eq!(lab.refused(a, Call::append(t.id(), vec![0; 1024], 0)), Code::Keep);
    assert_eq!(lab.refused(a, Call::append(t.id(), vec![0; 1024], u64::MAX)), Code::Keep);
    assert!(lab.read(a, &t, 0).is_empty());
}

#[test]
fn reading_goes_in_order_within_byte_limits() {
    let mut lab = Lab::new(small());
    let (a, b) = (lab.link(), lab.link());
    let t = topic(1);
    lab.open_both(a, &t);
    lab.open(b, &t, Right::Read);
    let sent: Vec<_> = (0..10).map(|i| entry(&t, &format!("m{i}"))).collect();
    let indexes: Vec<_> = sent.iter().map(|e| lab.append(a, &t, e).index).collect();
    assert!(indexes.is_sorted() && indexes[0] > 0);
    let mut after = 0;
    let mut got = Vec::new();
    loop {
        let call = Call::Read { topic: t.id(), after, max_bytes: 3000 };
        let Answer::Entries { entries, next, end } = lab.call(b, call).unwrap() else { panic!() };
        assert!(entries.len() <= 2);
        got.extend(entries.into_iter().map(|e| e.bytes));
        after = next;
        if end {
            break;
        }
    }
    assert_eq!(got, sent);
    let tiny = Call::Read { topic: t.id(), after: 0, max_bytes: 0 };
    let Answer::Entries { entries, end, .. } = lab.call(b, tiny).unwrap() else { panic!() };
    assert_eq!((entries.len(), end), (1, false));
    let Answer::Ids { ids, end, .. } = lab.call(b, Call::Have { topic: t.id(), after: indexes[4] }).unwrap()
    else {
        panic!()
    };
    assert!(end);
    assert_eq!(ids.iter().map(|n| n.index).collect::<Vec<_>>(), indexes[5..]);
    let wanted = vec![ids[3].id, EntryId([1; 32]), ids[0].id, ids[0].id];
    let Answer::Entries { entries, .. } = lab.call(b, Call::Want { topic: t.id(), ids: wanted }).unwrap()
    else {
        panic!()
    };
    assert_eq!(entries.iter().map(|e| e.index).collect::<Vec<_>>(), [indexes[5], indexes[8]]);
    assert!(lab.read(b, &t, u64::MAX).is_empty());
}

#[test]
fn watching_goes_from_the_past_to_live_as_credit_allows() {
    let mut lab = Lab::new(small());
    let (a, b) = (lab.link(), lab.link());
    let t = topic(1);
    lab.open_both(a, &t);
    lab.open(b, &t, Right::Read);
    let old: Vec<_> = (0..3).map(|i| lab.append(a, &t, &entry(&t, &format!("old{i}"))).index).collect();
    let seen = |lab: &mut Lab| -> Vec<u64> {
        lab.pushed(b)
            .into_iter()
            .map(|p| match p {
                Push::Entry { index, bytes, .. } if bytes.len() == 1024 => index,
                other => panic!("{other:?}"),
            })
            .collect()
    };
    lab.call(b, watch_one(&t, old[0], 4096)).unwrap();
    assert_eq!(seen(&mut lab), [old[1]], "the credit is for one");
    lab.call(b, Call::Credit { bytes: 8192 }).unwrap();
    assert_eq!(seen(&mut lab), [old[2]]);
    let live = lab.append(a, &t, &entry(&t, "live")).index;
    assert_eq!(seen(&mut lab), [live]);
    let held = lab.append(a, &t, &entry(&t, "held back")).index;
    assert!(seen(&mut lab).is_empty());
    lab.call(b, Call::Credit { bytes: 10_000 }).unwrap();
    assert_eq!(seen(&mut lab), [held]);
    lab.call(b, Call::Unwatch { topics: vec![t.id()] }).unwrap();
    lab.append(a, &t, &entry(&t, "unseen"));
    assert!(seen(&mut lab).is_empty());
}

#[test]
fn a_long_backlog_comes_in_turns_and_whole() {
    let mut lab =
        Lab::new(Limits { topic_bytes: 64 << 20, sender_bytes: 64 << 20, total_bytes: 64 << 20, ..small() });
    let (a, b) = (lab.link(), lab.link());
    let t = topic(1);
    lab.open_both(a, &t);
    lab.open(b, &t, Right::Read);
    for i in 0..100 {
        lab.append(a, &t, &t.seal(&vec![i; 60_000], &[i; 24]).unwrap());
    }
    // The client reads slowly: what is on its way never exceeds the credit.
    lab.call(b, watch_one(&t, 0, u64::MAX)).unwrap();
    let mut got = 0;
    let mut on_its_way = lab.pushed(b).len();
    while got + on_its_way < 100 {
        while lab.relay.poll_timeout() == 0 {
            lab.settle();
            on_its_way += lab.pushed(b).len();
        }
        assert!(on_its_way <= 32, "{on_its_way}");
        got += on_its_way;
        let bytes = on_its_way as u64 * (64 << 10);
        on_its_way = 0;
        lab.call(b, Call::Credit { bytes }).unwrap();
        on_its_way += lab.pushed(b).len();
    }
    assert_eq!(got + on_its_way, 100);
}

#[test]
fn a_restart_keeps_everything() {
    let mut lab = Lab::new(small());
    let a = lab.link();
    let t = topic(1);
    lab.open_both(a, &t);
    let first = lab.append(a, &t, &entry(&t, "kept"));
    lab.restart();
    let b = lab.link();
    assert!(matches!(lab.open(b, &t, Right::Read), Answer::Opened { next, .. } if next == first.index + 1));
    lab.open(b, &t, Right::Write);
    let rows = lab.read(b, &t, 0);
    assert_eq!(t.open(&rows[0].1).unwrap(), b"kept");
    assert_eq!(lab.append(b, &t, &entry(&t, "kept")), first);
    assert!(lab.append(b, &t, &entry(&t, "next")).index > first.index);
}

#[test]
fn another_relays_rows_are_refused() {
    let lab = Lab::new(small());
    let mut other = setup(small(), None);
    other.key = SigningKey::from_bytes(&[7; 32]);
    let opened = Service::open(lab.store.clone(), MemoryChunks::default(), other, lab.now);
    assert_eq!(opened.err(), Some(OpenError::OtherRelay));
}
