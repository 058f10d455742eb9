//! Objects of groups: round trips, one form only, noise.

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;
use kith_wire::cbor::{self, WireError};
use kith_wire::group::*;
use kith_wire::identity::RelayHint;
use kith_wire::ids::*;
use kith_wire::object::Versioned as _;
use kith_wire::relay::PackageRecord;
use kith_wire::signed::{self, Raw};
use proptest::prelude::*;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

fn event(seq: u64, content: Vec<u8>) -> Event {
    Event {
        kind: kinds::EVENT,
        version: 1,
        device: DeviceId(key().verifying_key().to_bytes()),
        seq,
        prev: (seq > 1).then_some(EventId([1; 32])),
        deps: BTreeMap::from([(DeviceId([2; 32]), 7)]),
        hlc: 5 << 16,
        event_type: 2,
        content,
    }
}

proptest! {
    #[test]
    fn events_survive_payload_and_bare_form(
        content in proptest::collection::vec(any::<u8>(), 0..300),
        seq in 1u64..1000,
        same in any::<bool>(),
    ) {
        let (gid, at) = (GroupId([1; 32]), StateId([2; 32]));
        let envelope = if same { at } else { StateId([3; 32]) };
        let signed = SignedEvent::sign(&event(seq, content.clone()), gid, at, &key());
        let payload = signed.to_payload(envelope);
        let back = SignedEvent::from_payload(&payload, gid, envelope).unwrap();
        prop_assert_eq!(&back, &signed);
        prop_assert_eq!(back.verify().unwrap().content, content);
        let bare = signed.to_bare();
        prop_assert_eq!(&SignedEvent::from_bare(&bare).unwrap(), &signed);
        prop_assert!(matches!(Object::from_bytes(&bare), Ok(Object::BareEvent(_))));
        prop_assert!(serde_cbor::from_slice::<serde_cbor::Value>(&bare).is_ok());
        // The signature covers group and state.
        let other_group = SignedEvent { gid: GroupId([9; 32]), ..signed.clone() };
        let other_state = SignedEvent { at: StateId([9; 32]), ..signed };
        prop_assert!(other_group.verify().is_err() && other_state.verify().is_err());
    }

    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Object::from_bytes(&bytes);
        let _ = SignedEvent::from_payload(&bytes, GroupId([0; 32]), StateId([0; 32]));
        let _ = GroupExt::from_bytes(&bytes);
        let _ = CommitMeta::from_bytes(&bytes);
        let _ = JoinBundle::from_bytes(&bytes);
        let _ = Hello::from_bytes(&bytes);
        let raw = Raw { body: bytes, sig: [0; 64] };
        let _ = (raw.body::<Mark>(), raw.body::<Order>(), raw.body::<WelcomeEnv>(), raw.body::<ReaddReq>());
        let _ = (raw.body::<CommitEnvelope>(), raw.body::<PackageRecord>(), raw.body::<Event>());
    }
}

#[test]
fn numbers_and_predecessors_fit() {
    let signed = |e: &Event| SignedEvent::sign(e, GroupId([1; 32]), StateId([2; 32]), &key());
    assert!(signed(&Event { seq: 0, ..event(1, Vec::new()) }).verify().is_err());
    assert!(signed(&Event { prev: None, ..event(2, Vec::new()) }).verify().is_err());
    assert!(signed(&Event { prev: Some(EventId([1; 32])), ..event(1, Vec::new()) }).verify().is_err());
    let long = event(1, vec![0; (64 << 10) + 1]);
    assert_eq!(signed(&long).verify(), Err(WireError::TooLarge("the message")));
    assert!(signed(&event(1, vec![0; 64 << 10])).verify().is_ok());
}

#[test]
fn settings_are_bounded() {
    let owner = AccountId([1; 32]);
    let relay =
        RelayHint { id: RelayId([2; 32]), name: "home".into(), addrs: vec!["/ip4/1.2.3.4/tcp/1".into()] };
    let ext = GroupExt::group(owner, "tea", vec![relay.clone(); 5]);
    assert_eq!(GroupExt::from_bytes(&ext.to_bytes()).unwrap(), ext);
    let refused = [
        GroupExt { relays: vec![relay; 6], ..ext.clone() },
        GroupExt { rules: 0, ..ext.clone() },
        GroupExt { kind: ConversationKind::Channel, ..ext.clone() },
        GroupExt { policy: Policy { title: "x".repeat(129), ..ext.policy.clone() }, ..ext },
    ];
    for bad in refused {
        assert!(GroupExt::from_bytes(&bad.to_bytes()).is_err(), "{bad:?}");
    }
    assert!(GroupExt::from_bytes(&vec![0xa0; 40_000]).is_err());
}

#[test]
fn marks_are_checked_for_shape() {
    let mark = Mark {
        kind: kinds::MARK,
        version: 1,
        gid: GroupId([1; 32]),
        device: DeviceId([2; 32]),
        n: 1,
        prev: None,
        at: StateId([3; 32]),
        changed: BTreeMap::new(),
        bad: vec![BadCommit { commit: CommitId([4; 32]), reason: 1 }],
    };
    let read = |m: &Mark| signed::sign(m, &key(), &[]).body::<Mark>();
    assert_eq!(read(&mark).unwrap(), mark);
    assert!(read(&Mark { n: 2, ..mark.clone() }).is_err());
    assert!(read(&Mark { n: 0, ..mark.clone() }).is_err());
    assert!(matches!(read(&Mark { version: 2, ..mark.clone() }), Err(WireError::Version(2))));
    assert!(matches!(read(&Mark { kind: 6, ..mark }), Err(WireError::Kind { expected: 5, got: 6 })));
}

#[test]
fn another_form_of_the_same_is_refused() {
    let bytes = EventEnvelope::new(StateId([1; 32]), vec![1, 2, 3]).to_bytes();
    assert!(EventEnvelope::from_bytes(&bytes).is_ok());
    // The version with a longer head than needed.
    let at = bytes.windows(2).position(|w| w == [1, 1]).unwrap();
    let mut long = bytes.clone();
    long.splice(at + 1..at + 2, [0x18, 1]);
    assert!(matches!(EventEnvelope::from_bytes(&long), Err(WireError::NotCanonical(_))));
    // A field that this version does not know.
    let mut more = bytes;
    more[0] += 1;
    more.extend(cbor::encode(&9u8));
    more.extend(cbor::encode(&0u8));
    assert_eq!(EventEnvelope::from_bytes(&more), Err(WireError::UnknownField(9)));
    // A part behind body and signature, which no signature covers.
    let mut long = signed::sign(&event(1, Vec::new()), &key(), &[]).to_bytes();
    assert!(Raw::from_bytes(&long).is_ok());
    long[0] = 0x83;
    long.push(0);
    assert!(matches!(Raw::from_bytes(&long), Err(WireError::NotCanonical(_))));
    // Null for a predecessor that is not there.
    let body = event(1, Vec::new()).to_bytes();
    let at = body.windows(2).position(|w| w == [6, 0xa1]).unwrap();
    let mut null = body;
    null[0] += 1;
    null.splice(at..at, [5, 0xf6]);
    assert!(matches!(Event::from_bytes(&null), Err(WireError::NotCanonical(_))));
    // The envelope's state, said again in the payload.
    let (gid, at) = (GroupId([1; 32]), StateId([2; 32]));
    let signed = SignedEvent::sign(&event(1, Vec::new()), gid, at, &key());
    let elsewhere = signed.to_payload(StateId([9; 32]));
    assert!(SignedEvent::from_payload(&elsewhere, gid, StateId([9; 32])).is_ok());
    assert!(matches!(SignedEvent::from_payload(&elsewhere, gid, at), Err(WireError::NotCanonical(_))));
}

#[test]
fn another_kind_or_version_says_so() {
    let envelope = EventEnvelope::new(StateId([1; 32]), vec![1, 2, 3]);
    let read = |e: &EventEnvelope| EventEnvelope::from_bytes(&e.to_bytes());
    assert_eq!(read(&envelope), Ok(envelope.clone()));
    for version in [0, 2] {
        assert_eq!(read(&EventEnvelope { version, ..envelope.clone() }), Err(WireError::Version(version)));
    }
    let expected = kinds::EVENT_ENVELOPE;
    assert_eq!(read(&EventEnvelope { kind: 9, ..envelope }), Err(WireError::Kind { expected, got: 9 }));
}
