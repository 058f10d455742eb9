//! Golden vectors: ids, objects and derivations as bytes. A change here is a
//! change of the protocol.
mod common;

use std::collections::BTreeMap;

use common::*;
use kith_wire::group::{
    self, CommitMeta, CommitReason, ConversationKind, Event, EventEnvelope, GroupExt, Mark, Object, Order,
    OrderKind, SignedEvent, Target, kinds,
};
use kith_wire::ids::{AccountId, DeviceId, EventId, GroupId, StateId};
use kith_wire::object::Versioned as _;
use kith_wire::signed;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn event() -> (Device, SignedEvent) {
    let a = Device::new(1, 1);
    let event = Event {
        kind: kinds::EVENT,
        version: 1,
        device: a.id(),
        seq: 2,
        prev: Some(EventId([7; 32])),
        deps: BTreeMap::from([(DeviceId([8; 32]), 5)]),
        hlc: T0 << 16,
        event_type: 2,
        content: b"hello".to_vec(),
    };
    let signed = SignedEvent::sign(&event, GroupId([1; 32]), StateId([2; 32]), &a.keys.signing);
    (a, signed)
}

fn order(a: &Device) -> Order {
    Order {
        kind: kinds::ORDER,
        version: 1,
        gid: GroupId([1; 32]),
        issuer: a.account(),
        device: a.id(),
        n: 3,
        prev: Some([4; 32]),
        order: OrderKind::Remove,
        target: Target::Account(AccountId([5; 32])),
        at: StateId([2; 32]),
        lifts: Vec::new(),
        cut: BTreeMap::from([(DeviceId([6; 32]), (10, 11))]),
        hlc: T0 << 16,
        statement: None,
    }
}

fn mark(a: &Device) -> Mark {
    Mark {
        kind: kinds::MARK,
        version: 1,
        gid: GroupId([1; 32]),
        device: a.id(),
        n: 1,
        prev: None,
        at: StateId([2; 32]),
        changed: BTreeMap::from([(a.id(), (2, 1))]),
        bad: Vec::new(),
    }
}

#[test]
fn ids_are_as_they_were() {
    let (a, signed_event) = event();
    let expected = include_str!("golden.txt");
    let lines = [
        ("event id", hex(&signed_event.id().0)),
        ("event body", hex(&signed_event.raw.body)),
        ("event bare", hex(&signed_event.to_bare())),
        ("state id", hex(&group::state_id(b"context", b"tag").0)),
        ("commit id", hex(&group::commit_id(b"message").0)),
        ("rank", hex(&group::rank(&GroupId([1; 32]), 7, &AccountId([5; 32])))),
        ("mark", hex(&signed::sign(&mark(&a), &a.keys.signing, &[]).to_bytes())),
        ("mark id", hex(&group::mark_id(&signed::sign(&mark(&a), &a.keys.signing, &[])).0)),
        ("order", hex(&signed::sign(&order(&a), &a.keys.signing, &[]).to_bytes())),
        ("order id", hex(&group::order_id(&signed::sign(&order(&a), &a.keys.signing, &[])).0)),
        ("settings", hex(&GroupExt::group(AccountId([5; 32]), "tea", Vec::new()).to_bytes())),
        ("group id", hex(&GroupId::derive(AccountId([5; 32]), &[9; 32]).0)),
    ];
    let found: String = lines.iter().map(|(k, v)| format!("{k}: {v}\n")).collect();
    assert_eq!(found, expected, "found:\n{found}");
}

#[test]
fn another_decoder_reads_our_bytes() {
    let (mut a, mut b) = (Device::new(1, 1), Device::new(2, 1));
    let (_, signed_event) = event();
    let gid = a.create("tea");
    let package = b.package();
    let add = kith_mls::Add { package, inbox: kith_wire::ids::TopicId([1; 32]) };
    let committed =
        a.commit(gid, &kith_mls::Change { adds: vec![add], ..kith_mls::Change::default() }).unwrap();
    let welcome = a.welcome_bytes(&committed, b.id());
    let meta = CommitMeta {
        kind: kinds::COMMIT_META,
        version: 1,
        gid,
        parent: StateId([1; 32]),
        orders: vec![b"order".to_vec().into()],
        readds: Vec::new(),
        reason: CommitReason::Remove,
        device: a.id(),
        rotate: true,
    };
    let objects = [
        signed_event.to_bare(),
        EventEnvelope::new(StateId([1; 32]), vec![1, 2, 3]).to_bytes(),
        meta.to_bytes(),
        signed::sign(&order(&a), &a.keys.signing, &[]).to_bytes(),
        committed.envelope.clone(),
        committed.bundle.clone(),
        welcome,
        a.hello(gid),
        GroupExt { kind: ConversationKind::Direct, ..GroupExt::direct(Vec::new()) }.to_bytes(),
    ];
    for object in objects {
        serde_cbor::from_slice::<serde_cbor::Value>(&object).unwrap();
    }
    assert_eq!(CommitMeta::from_bytes(&meta.to_bytes()).unwrap(), meta);
    assert!(matches!(
        Object::from_bytes(&committed.envelope),
        Ok(Object::Signed { kind: kinds::COMMIT, .. })
    ));
}

#[test]
fn both_ends_derive_the_same_topic() {
    let (mut a, mut b) = (Device::new(1, 1), Device::new(2, 1));
    let gid = a.create("tea");
    a.add(gid, &mut [&mut b]);
    let topics = |d: &Device| kith_mls::view::topics(&d.store, gid).unwrap().current.unwrap();
    assert_eq!(topics(&a), topics(&b));
    let change = kith_mls::Change { rotate: true, ..kith_mls::Change::default() };
    let old = topics(&a);
    let commit = a.commit(gid, &change).unwrap();
    assert_eq!(commit.parent_topic, old.state);
    give(&mut b, gid, &publish(&commit));
    assert_eq!(topics(&a), topics(&b));
    assert_ne!(topics(&a), old);
    // All are past the state before: its topic is polled only.
    let topics = kith_mls::view::topics(&b.store, gid).unwrap();
    assert_eq!((topics.watched, topics.old), (Vec::new(), vec![old]));
}
