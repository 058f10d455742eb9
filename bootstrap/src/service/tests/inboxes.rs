//! Delivery tokens, requests without one, key packages, chunks.

use kith_wire::ids::BlobId;
use kith_wire::relay::Bytes;

use super::*;

struct Box {
    lab: Lab,
    owner: LinkId,
    friend: LinkId,
    keys: TopicKeys,
}

fn opened() -> Box {
    let mut lab = Lab::new(small());
    let (owner, friend) = (lab.link(), lab.link());
    let keys = inbox(1);
    lab.open_both(owner, &keys);
    Box { lab, owner, friend, keys }
}

fn deliver(b: &Box, token: &DeliveryToken, text: &str) -> Call {
    Call::deliver(token, descriptor(&b.keys), &b.lab.id(), entry(&b.keys, text), KEEP_S)
}

#[test]
fn a_token_delivers_as_often_as_it_says() {
    let mut b = opened();
    let t = token(&b.lab, &b.keys, 5, 2, 0);
    let (one, two, three) = (deliver(&b, &t, "1"), deliver(&b, &t, "2"), deliver(&b, &t, "3"));
    let first = b.lab.call(b.friend, one.clone()).unwrap();
    b.lab.call(b.friend, two).unwrap();
    assert_eq!(b.lab.refused(b.friend, three), Code::TokenUsed);
    assert_eq!(b.lab.call(b.friend, one).unwrap(), first, "the same entry again is no use");
    assert_eq!(b.lab.read(b.owner, &b.keys, 0).len(), 2);
}

#[test]
fn a_use_belongs_to_one_entry_and_one_relay() {
    let mut b = opened();
    let t = token(&b.lab, &b.keys, 5, 9, 0);
    let Call::Deliver { inbox, token: signed, proof, keep_s, .. } = deliver(&b, &t, "mine") else { panic!() };
    let bytes = entry(&b.keys, "a thief's");
    let stolen =
        Call::Deliver { inbox, token: signed, proof, id: EntryId::of(&bytes), bytes: bytes.clone(), keep_s };
    assert_eq!(b.lab.refused(b.friend, stolen), Code::TokenInvalid);
    let elsewhere = Call::deliver(&t, descriptor(&b.keys), &RelayId([3; 32]), bytes, KEEP_S);
    assert_eq!(b.lab.refused(b.friend, elsewhere), Code::TokenInvalid);
}

#[test]
fn foreign_ended_and_endless_tokens_are_refused() {
    let mut b = opened();
    let other = token(&b.lab, &inbox(2), 5, 9, 0);
    let call = deliver(&b, &other, "x");
    assert_eq!(b.lab.refused(b.friend, call), Code::TokenInvalid);
    let t = token(&b.lab, &b.keys, 5, 9, 0);
    let call = deliver(&b, &t, "late");
    b.lab.wait(DAY_MS + 1);
    assert_eq!(b.lab.refused(b.friend, call), Code::TokenExpired);
    let grant = Grant { uses: 1, packages: 0, expires_ms: u64::MAX };
    let endless = b.keys.issue_token(Secret::new([6; 32]), grant);
    let call = deliver(&b, &endless, "x");
    assert_eq!(b.lab.refused(b.friend, call), Code::TokenInvalid);
    let group = topic(1);
    let Call::Deliver { token: signed, proof, id, bytes, keep_s, .. } = deliver(&b, &t, "x") else {
        panic!()
    };
    let call = Call::Deliver { inbox: descriptor(&group), token: signed, proof, id, bytes, keep_s };
    assert_eq!(b.lab.refused(b.friend, call), Code::Mode);
}

#[test]
fn nobody_but_its_owner_starts_an_inbox() {
    let mut lab = Lab::new(small());
    let friend = lab.link();
    let keys = inbox(1);
    let t = token(&lab, &keys, 5, 9, 9);
    let call = Call::deliver(&t, descriptor(&keys), &lab.id(), entry(&keys, "x"), KEEP_S);
    assert_eq!(lab.refused(friend, call), Code::NotFound);
}

#[test]
fn uses_are_counted_across_restarts() {
    let mut b = opened();
    let t = token(&b.lab, &b.keys, 5, 1, 0);
    let call = deliver(&b, &t, "1");
    b.lab.call(b.friend, call).unwrap();
    b.lab.restart();
    b.friend = b.lab.link();
    let call = deliver(&b, &t, "2");
    assert_eq!(b.lab.refused(b.friend, call), Code::TokenUsed);
}

#[test]
fn requests_need_work_and_have_a_small_box() {
    let mut b = opened();
    let id = b.lab.id();
    let request = |n: u32, bits| {
        Call::request(descriptor(&inbox(1)), &id, bits, entry(&inbox(1), &format!("hello {n}")), KEEP_S)
            .unwrap()
    };
    let Call::Request { inbox: d, id: e, bytes, keep_s, .. } = request(0, 0) else { panic!() };
    let lazy = (0..).find(|w| !kith_wire::relay::work_holds(&id, &e, *w, 8)).unwrap();
    let call = Call::Request { inbox: d, work: lazy, id: e, bytes, keep_s };
    assert_eq!(b.lab.refused(b.friend, call), Code::Work);
    // One sender may fill a quarter of 16 KiB, all together the whole.
    for n in 0..4 {
        b.lab.call(b.friend, request(n, 8)).unwrap();
    }
    assert_eq!(b.lab.refused(b.friend, request(9, 8)), Code::RequestsFull);
    assert!(b.lab.call(b.friend, request(0, 8)).is_ok(), "what is there is there");
    for s in 0..3 {
        let other = b.lab.link();
        for n in 0..4 {
            b.lab.call(other, request(100 + 10 * s + n, 8)).unwrap();
        }
    }
    let late = b.lab.link();
    assert_eq!(b.lab.refused(late, request(999, 8)), Code::RequestsFull);
    let t = token(&b.lab, &b.keys, 5, 1, 0);
    let call = deliver(&b, &t, "a friend gets through");
    b.lab.call(b.friend, call).unwrap();
    b.lab.wait(KEEP_S * 1000 + 60_001);
    assert!(b.lab.call(late, request(999, 8)).is_ok(), "the box empties with time");
}

fn take(b: &mut Box, token: &DeliveryToken, request: u8) -> Result<Vec<u8>, Refusal> {
    let call = Call::take_package(token, descriptor(&b.keys), &b.lab.id(), EntryId([request; 32]));
    match b.lab.call(b.friend, call)? {
        Answer::Package { record } => Ok(record),
        other => panic!("{other:?}"),
    }
}

#[test]
fn packages_go_out_once_each_then_the_last_resort() {
    let mut b = opened();
    let t = token(&b.lab, &b.keys, 5, 9, 50);
    assert_eq!(take(&mut b, &t, 1).unwrap_err().code, Code::NoPackage);
    let records: Vec<_> = (0..9).map(|i| Bytes(vec![i; 600])).collect();
    let put = Call::PutPackages { inbox: b.keys.id(), records, last_resort: Some(Bytes(vec![99; 600])) };
    assert_eq!(b.lab.call(b.owner, put.clone()).unwrap(), Answer::Packages { left: 9 });
    assert_eq!(
        b.lab.call(b.owner, put.clone()).unwrap(),
        Answer::Packages { left: 9 },
        "a repeated call adds none"
    );
    assert_eq!(b.lab.refused(b.friend, put), Code::NotOpen);
    b.lab.call(b.owner, watch_one(&b.keys.clone(), 0, 0)).unwrap();
    let mut got = Vec::new();
    for request in 1..=9 {
        let record = take(&mut b, &t, request).unwrap();
        assert_eq!(take(&mut b, &t, request).unwrap(), record, "the same request gets the same");
        assert!(!got.contains(&record));
        got.push(record);
        let told = b.lab.pushed(b.owner);
        let low = Push::PackagesLow { inbox: b.keys.id(), left: 8 };
        assert_eq!(told, if request == 1 { vec![low] } else { vec![] });
    }
    assert_eq!(take(&mut b, &t, 20).unwrap(), vec![99; 600]);
    assert_eq!(take(&mut b, &t, 21).unwrap(), vec![99; 600]);
    let owner = b.owner;
    assert!(matches!(b.lab.open(owner, &b.keys, Right::Read), Answer::Opened { packages: 0, .. }));
}

#[test]
fn a_token_takes_as_many_packages_as_it_says() {
    let mut b = opened();
    let records: Vec<_> = (0..5).map(|i| Bytes(vec![i; 600])).collect();
    b.lab.call(b.owner, Call::PutPackages { inbox: b.keys.id(), records, last_resort: None }).unwrap();
    let t = token(&b.lab, &b.keys, 5, 9, 2);
    let first = take(&mut b, &t, 1).unwrap();
    take(&mut b, &t, 2).unwrap();
    assert_eq!(take(&mut b, &t, 3).unwrap_err().code, Code::TokenUsed);
    b.lab.restart();
    b.friend = b.lab.link();
    assert_eq!(take(&mut b, &t, 1).unwrap(), first);
    assert_eq!(take(&mut b, &t, 4).unwrap_err().code, Code::TokenUsed);
}

#[test]
fn too_many_and_too_large_packages_change_nothing() {
    let mut b = opened();
    let put = |n: u8, len| Call::PutPackages {
        inbox: inbox(1).id(),
        records: (0..n).map(|i| Bytes(vec![i; len])).collect(),
        last_resort: None,
    };
    assert_eq!(b.lab.refused(b.owner, put(11, 100)), Code::TooMany);
    assert_eq!(b.lab.refused(b.owner, put(1, 9000)), Code::Size);
    assert_eq!(b.lab.refused(b.owner, put(1, 0)), Code::Size);
    assert_eq!(b.lab.call(b.owner, put(10, 100)).unwrap(), Answer::Packages { left: 10 });
}

#[test]
fn chunks_are_kept_by_name_and_read_in_parts() {
    let mut lab =
        Lab::new(Limits { topic_bytes: 4 << 20, sender_bytes: 4 << 20, total_bytes: 4 << 20, ..small() });
    let (a, b) = (lab.link(), lab.link());
    let t = topic(1);
    lab.open_both(a, &t);
    let bytes: Vec<u8> = (0..=255).cycle().take(5000).collect();
    let id = BlobId::of(&bytes);
    let put = Call::PutChunk { topic: t.id(), id, bytes: bytes.clone(), keep_s: KEEP_S };
    assert_eq!(lab.refused(b, put.clone()), Code::NotOpen);
    let Answer::ChunkStored { stored_until_ms } = lab.call(a, put.clone()).unwrap() else { panic!() };
    assert_eq!(lab.call(a, put).unwrap(), Answer::ChunkStored { stored_until_ms });
    let get = |from, len| Call::GetChunk { id, from, len };
    assert_eq!(
        lab.call(b, get(100, 50)).unwrap(),
        Answer::Chunk { total: 5000, bytes: bytes[100..150].to_vec() }
    );
    assert_eq!(
        lab.call(b, get(4990, u64::MAX)).unwrap(),
        Answer::Chunk { total: 5000, bytes: bytes[4990..].to_vec() }
    );
    assert_eq!(lab.call(b, get(u64::MAX, 1)).unwrap(), Answer::Chunk { total: 5000, bytes: vec![] });
    let wrong = Call::PutChunk { topic: t.id(), id: BlobId([0; 32]), bytes, keep_s: KEEP_S };
    assert_eq!(lab.refused(a, wrong), Code::WrongId);
    lab.restart();
    let b = lab.link();
    assert!(lab.call(b, get(0, 1)).is_ok());
    assert_eq!(lab.relay.remove_strays().unwrap(), 0);
    lab.wait(KEEP_S * 1000 + 60_001);
    assert_eq!(lab.refused(b, get(0, 1)), Code::NotFound);
    assert_eq!(lab.relay.usage().unwrap().0, 0);
}
