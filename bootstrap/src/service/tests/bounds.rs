//! Quotas, rates and hostile frames.

use proptest::prelude::*;

use super::*;

#[test]
fn a_sender_fills_a_quarter_of_a_topic_at_most() {
    let mut lab = Lab::new(small());
    let t = topic(1);
    let (a, also_a, b) =
        (lab.link_from(b"home", b""), lab.link_from(b"home", b""), lab.link_from(b"work", b""));
    for link in [a, also_a, b] {
        lab.open_both(link, &t);
    }
    // 16 KiB are a quarter; an entry costs 1 KiB and its rows.
    let mut stored = 0;
    let refusal = loop {
        match lab.call(a, Call::append(t.id(), entry(&t, &stored.to_string()), KEEP_S)) {
            Ok(_) => stored += 1,
            Err(refusal) => break refusal,
        }
        assert!(stored < 100);
    };
    assert_eq!((stored, refusal.code, refusal.limit), (12, Code::ShareFull, 16 << 10));
    assert!(refusal.retry_ms > 0 && refusal.retry_ms <= KEEP_S * 1000, "{refusal:?}");
    let more = Call::append(t.id(), entry(&t, "more"), KEEP_S);
    assert_eq!(lab.refused(also_a, more.clone()), Code::ShareFull);
    assert!(lab.call(b, more).is_ok(), "somebody else still can");
    assert_eq!(lab.read(b, &t, 0).len(), 13, "nothing was evicted");
    lab.wait(KEEP_S * 1000 + 60_001);
    assert!(lab.call(a, Call::append(t.id(), entry(&t, "again"), KEEP_S)).is_ok());
}

#[test]
fn a_full_topic_and_a_full_relay_say_so() {
    let mut lab = Lab::new(Limits { total_bytes: 70 << 10, ..small() });
    let t = topic(1);
    let mut last = None;
    for s in 0..6u8 {
        let link = lab.link();
        lab.open_both(link, &t);
        for n in 0..20 {
            match lab.call(link, Call::append(t.id(), entry(&t, &format!("{s} {n}")), KEEP_S)) {
                Ok(_) => {}
                Err(refusal) => {
                    last = Some(refusal);
                    break;
                }
            }
        }
    }
    assert_eq!(last.map(|r| r.code), Some(Code::TopicFull));
    let (link, other) = (lab.link(), topic(2));
    lab.open_both(link, &other);
    let mut codes = Vec::new();
    for n in 0..20 {
        if let Err(r) = lab.call(link, Call::append(other.id(), entry(&other, &n.to_string()), KEEP_S)) {
            codes.push(r.code);
        }
    }
    assert!(codes.iter().all(|c| *c == Code::RelayFull) && !codes.is_empty(), "{codes:?}");
}

#[test]
fn topics_per_sender_and_per_link_are_bounded() {
    let mut lab = Lab::new(small());
    let a = lab.link_from(b"x", b"");
    for n in 0..4 {
        lab.open(a, &topic(n), Right::Read);
        lab.open(a, &topic(n), Right::Write);
    }
    let fifth = lab.proof(a, &topic(4), Right::Read);
    assert_eq!(lab.refused(a, fifth), Code::TooMany);
    assert_eq!(lab.relay.usage().unwrap().1, 4, "a refused call changes nothing");
    let b = lab.link_from(b"x", b"");
    for n in 4..8 {
        lab.open(b, &topic(n), Right::Read);
    }
    let c = lab.link_from(b"x", b"");
    let ninth = lab.proof(c, &topic(9), Right::Read);
    let refusal = lab.call(c, ninth).unwrap_err();
    assert_eq!((refusal.code, refusal.limit), (Code::TooMany, 8));
}

#[test]
fn links_are_bounded_and_rates_refuse_with_a_time() {
    let mut lab = Lab::new(Limits { links: 2, calls_per_s: 5, ..small() });
    let a = lab.link();
    let _b = lab.link();
    let third = LinkId(99);
    lab.relay.link_up(lab.now, third, Lab::client(third), b"x");
    lab.settle();
    assert_eq!(lab.closed, [third]);
    assert!(
        matches!(lab.take(third).as_slice(), [ServerFrame::Refused { refusal, .. }] if refusal.code == Code::TooMany)
    );
    let refusal = loop {
        if let Err(refusal) = lab.call(a, Call::Statement {}) {
            break refusal;
        }
    };
    assert_eq!((refusal.code, refusal.limit, refusal.retry_ms), (Code::Rate, 5, 200));
    lab.now.mono_ms += 200;
    assert!(lab.call(a, Call::Statement {}).is_ok());
}

#[test]
fn a_link_that_sends_noise_is_closed() {
    let mut lab = Lab::new(small());
    let a = lab.link();
    for _ in 0..MALFORMED_MAX {
        lab.relay.frame(lab.now, a, b"\xff\xff\xff").unwrap();
    }
    lab.settle();
    assert_eq!(lab.closed, [a]);
    assert!(lab.take(a).iter().all(|f| matches!(f, ServerFrame::Refused { .. })));
    lab.relay.frame(lab.now, a, b"more").unwrap();
    lab.settle();
    assert!(lab.take(a).is_empty());
    assert_eq!(lab.relay.links(), 0);
}

#[test]
fn nothing_grows_without_bound_under_a_flood() {
    let mut lab = Lab::new(small());
    for round in 0..50u64 {
        let link = lab.link_from(b"flood", b"");
        for n in 0..60u64 {
            let byte = u8::try_from((round * 60 + n) % 256).unwrap();
            let open = lab.proof(link, &topic(byte), Right::Read);
            lab.send(link, open);
            lab.send(link, watch_one(&topic(byte), 0, u64::MAX));
            lab.send(link, Call::append(topic(byte).id(), vec![byte; 1024], KEEP_S));
        }
        lab.settle();
        lab.take(link);
        assert!(lab.relay.watchers.len() <= 4 && lab.relay.pending.is_empty());
        lab.relay.link_down(link);
    }
    assert!(lab.relay.watchers.is_empty() && lab.relay.hungry.is_empty() && lab.relay.staged.is_empty());
    assert!(lab.relay.usage().unwrap().1 <= 8);
    assert!(lab.store.approximate_bytes() < 16 << 10, "{}", lab.store.approximate_bytes());
}

/// A session's frames of all kinds, as they would be sent.
fn session(lab: &mut Lab, link: LinkId) -> Vec<Vec<u8>> {
    let (t, i) = (topic(1), inbox(1));
    let dt = token(lab, &i, 5, 9, 9);
    let id = lab.id();
    let chunk = vec![3; 2000];
    let calls = vec![
        Call::hello(b""),
        lab.proof(link, &t, Right::Read),
        lab.proof(link, &t, Right::Write),
        lab.proof(link, &i, Right::Write),
        Call::append(t.id(), entry(&t, "x"), KEEP_S),
        Call::Read { topic: t.id(), after: 0, max_bytes: 1 << 20 },
        Call::Have { topic: t.id(), after: 0 },
        Call::Want { topic: t.id(), ids: vec![EntryId::of(&entry(&t, "x"))] },
        watch_one(&t, 0, 1 << 20),
        Call::Credit { bytes: 9 },
        Call::deliver(&dt, descriptor(&i), &id, entry(&i, "y"), KEEP_S),
        Call::request(descriptor(&i), &id, 8, entry(&i, "z"), KEEP_S).unwrap(),
        Call::PutPackages {
            inbox: i.id(),
            records: vec![kith_wire::relay::Bytes(vec![1; 99])],
            last_resort: Some(kith_wire::relay::Bytes(vec![2; 99])),
        },
        Call::take_package(&dt, descriptor(&i), &id, EntryId([1; 32])),
        Call::PutChunk {
            topic: t.id(),
            id: kith_wire::ids::BlobId::of(&chunk),
            bytes: chunk.clone(),
            keep_s: 9,
        },
        Call::GetChunk { id: kith_wire::ids::BlobId::of(&chunk), from: 0, len: 99 },
        Call::Unwatch { topics: vec![t.id()] },
    ];
    calls.into_iter().zip(1..).map(|(call, number)| ClientFrame { number, call }.to_bytes()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Bent, cut, repeated and shuffled frames: one answer or refusal each,
    /// nothing panics, and honest use goes on.
    #[test]
    fn hostile_frames_get_an_answer_each(
        picks in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0u8..10, any::<u8>()), 1..60),
    ) {
        let mut lab = Lab::new(small());
        let honest = lab.link();
        let mut link = lab.link();
        let frames = session(&mut lab, link);
        for (which, at, kind, byte) in picks {
            let mut bytes = which.get(&frames).clone();
            let place = at.index(bytes.len());
            match kind {
                0 => bytes.truncate(place),
                1 => bytes.insert(place, byte),
                2..=5 => bytes[place] ^= byte | 1,
                _ => {}
            }
            lab.relay.frame(lab.now, link, &bytes).unwrap();
            lab.settle();
            let answered = lab
                .take(link)
                .iter()
                .filter(|f| matches!(f, ServerFrame::Answer { .. } | ServerFrame::Refused { .. }))
                .count();
            prop_assert_eq!(answered, 1);
            if lab.closed.contains(&link) {
                link = lab.link();
            }
        }
        let t = topic(7);
        lab.open_both(honest, &t);
        lab.append(honest, &t, &entry(&t, "fine"));
        prop_assert_eq!(lab.read(honest, &t, 0).len(), 1);
    }
}
