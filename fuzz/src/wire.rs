//! Every decoder of `kith-wire` that is given bytes from outside: nothing
//! panics, and what decodes has no other encoding.

use core::fmt::Debug;

use ed25519_dalek::SigningKey;
use kith_wire::blob::tree::{Blob, Index, Tree};
use kith_wire::cbor::{self, WireError};
use kith_wire::crypto::{self, Secret};
use kith_wire::group::{self, GroupExt, Object, PackedReadd, SignedEvent};
use kith_wire::identity::{self, Credential};
use kith_wire::ids::{AccountId, BlobId, DeviceId, GroupId, RelayId, StateId, TopicId};
use kith_wire::link::Invite;
use kith_wire::object::Versioned;
use kith_wire::relay::{self, ClientFrame, CommunityLink, PackageRecord, ServerFrame};
use kith_wire::signed::{Body, Raw};
use kith_wire::topic::{self, DeliveryToken, Descriptor, Mode, Token};
use kith_wire::{blob, bulk, contact, content, labels, peer};
use minicbor::{Decode, Encode};

/// The group and state that stand in front of events.
const GID: GroupId = GroupId([1; 32]);
const AT: StateId = StateId([2; 32]);

/// The key that signs what a target was given, so that the checks behind a
/// signature are reached as well.
pub(crate) fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

/// Runs all decoders over the same bytes: as an object, as the body of one
/// that is rightly signed, as text, and as the object inside of a link.
pub fn wire(bytes: &[u8]) {
    groups(bytes);
    people(bytes);
    peers(bytes);
    relays(bytes);
    blobs(bytes);
    files(bytes);
    if let Ok(text) = core::str::from_utf8(bytes) {
        texts(text);
    }
    links(bytes);
}

/// Decodes, and holds that the value gives the same bytes again. Map keys from
/// 128 on are ignored, as the format says, and so may be missing.
fn same<T: PartialEq + Debug>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, WireError>,
    encode: impl Fn(&T) -> Vec<u8>,
) -> Option<T> {
    let value = decode(bytes).ok()?;
    let again = encode(&value);
    let whole = item(bytes, &again).is_some_and(|rest| rest == (&[], &[]));
    assert!(whole, "{value:?} has two encodings: {bytes:02x?} and {again:02x?}");
    assert_eq!(decode(&again).as_ref(), Ok(&value), "what was encoded decodes to something else");
    Some(value)
}

/// Walks over one item in both forms; answers what is left of both, or `None`
/// where they differ.
fn item<'a>(one: &'a [u8], other: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (kind, n, mut one) = head(one)?;
    let (other_kind, m, mut other) = head(other)?;
    if kind != other_kind || (kind != 5 && n != m) {
        return None;
    }
    match kind {
        2 | 3 => {
            let n = usize::try_from(n).ok()?;
            (one.get(..n)? == other.get(..n)?).then(|| (&one[n..], &other[n..]))
        }
        4 => (0..n).try_fold((one, other), |(one, other), _| item(one, other)),
        5 => {
            for _ in 0..m.checked_mul(2)? {
                (one, other) = item(one, other)?;
            }
            for _ in 0..n.checked_sub(m)? {
                let (kind, field, rest) = head(one)?;
                (one, _) = item(rest, rest)?;
                if kind != 0 || field < 128 {
                    return None;
                }
            }
            Some((one, other))
        }
        _ => Some((one, other)),
    }
}

/// Major type, argument, and the rest.
fn head(bytes: &[u8]) -> Option<(u8, u64, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let info = first & 31;
    let n = if info < 24 { 0 } else { 1usize << info.checked_sub(24)?.min(3) };
    let (arg, rest) = rest.split_at_checked(n)?;
    let arg = arg.iter().fold(0, |v, b| v << 8 | u64::from(*b));
    Some((first >> 5, if n == 0 { u64::from(info) } else { arg }, rest))
}

fn object<T: Versioned + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    same(bytes, T::from_bytes, T::to_bytes)
}

fn plain<T>(bytes: &[u8]) -> Option<T>
where
    T: PartialEq + Debug + Encode<()> + for<'b> Decode<'b, ()>,
{
    same(bytes, |b| cbor::decode(b, &[]), cbor::encode)
}

/// As an object's body, unsigned and with a right signature around it.
fn body<T: Body + PartialEq + Debug>(bytes: &[u8]) -> Option<(T, Vec<u8>)> {
    let value = object::<T>(bytes)?;
    let sig = crypto::sign(&key(), T::LABEL, &[bytes]);
    let raw = Raw { body: bytes.to_vec(), sig };
    let signed = raw.to_bytes();
    assert_eq!(Raw::from_bytes(&signed), Ok(raw.clone()));
    assert_eq!(raw.kind(), Ok(T::KIND));
    raw.verify::<T>(&key().verifying_key().to_bytes(), &[]).expect("its own signature");
    Some((value, signed))
}

fn groups(bytes: &[u8]) {
    if let Ok(found) = Object::from_bytes(bytes) {
        let again = match &found {
            Object::Signed { raw, .. } => raw.to_bytes(),
            Object::EventEnvelope(envelope) => envelope.to_bytes(),
            Object::BareEvent(event) => event.to_bare(),
            Object::Readd(request) => request.to_bytes(),
        };
        assert_eq!(Object::from_bytes(&again).as_ref(), Ok(&found));
    }
    same(bytes, Raw::from_bytes, Raw::to_bytes);
    same(bytes, SignedEvent::from_bare, SignedEvent::to_bare);
    same(bytes, PackedReadd::from_bytes, PackedReadd::to_bytes);
    same(bytes, |b| SignedEvent::from_payload(b, GID, AT), |e| e.to_payload(AT));
    body::<group::CommitEnvelope>(bytes);
    body::<group::Event>(bytes);
    body::<group::Mark>(bytes);
    body::<group::Order>(bytes);
    body::<group::ReaddReq>(bytes);
    body::<group::WelcomeEnv>(bytes);
    body::<group::Report>(bytes);
    object::<group::CommitMeta>(bytes);
    object::<group::EventEnvelope>(bytes);
    object::<group::JoinBundle>(bytes);
    object::<group::Hello>(bytes);
    plain::<group::Checkpoint>(bytes);
    same(bytes, GroupExt::from_bytes, GroupExt::to_bytes);
    same(bytes, content::Text::from_bytes, content::Text::to_bytes);
    same(bytes, content::ReadUpTo::from_bytes, content::ReadUpTo::to_bytes);
    if let Ok(event) = SignedEvent::from_bare(bytes) {
        let _id = event.id();
        let _verdict = event.verify();
    }
}

fn people(bytes: &[u8]) {
    if let Some(credential) = same(bytes, Credential::from_bytes, Credential::to_bytes)
        && let Ok(who) = credential.verify()
    {
        assert_eq!(who.device, credential.device());
        assert_eq!(who.account, credential.rotation().account());
    }
    body::<identity::Rotate>(bytes);
    body::<identity::Device>(bytes);
    body::<identity::RevokeByAccount>(bytes);
    body::<identity::RevokeByRecovery>(bytes);
    body::<identity::Profile>(bytes);
    body::<identity::DeviceCard>(bytes);
    if let Some(it) = same(bytes, contact::Introduction::from_bytes, contact::Introduction::to_bytes) {
        let _verdict = it.verify();
    }
    let open = |signed: &[u8], to: &DeviceId, inbox: &TopicId| {
        assert!(contact::open(signed, &DeviceId([0; 32]), inbox).is_err() || to.0 == [0; 32]);
        let _verdict = contact::open(signed, to, inbox);
    };
    if let Some((it, signed)) = body::<contact::ContactRequest>(bytes) {
        open(&signed, &it.to, &it.to_inbox);
    }
    if let Some((it, signed)) = body::<contact::ContactAnswer>(bytes) {
        open(&signed, &it.to, &it.to_inbox);
    }
    if let Some((it, signed)) = body::<contact::ContactUpdate>(bytes) {
        open(&signed, &it.to, &it.to_inbox);
    }
    let _verdict = contact::open(bytes, &DeviceId([5; 32]), &TopicId([6; 32]));
}

fn peers(bytes: &[u8]) {
    same(bytes, peer::Frame::from_bytes, peer::Frame::to_bytes);
}

fn relays(bytes: &[u8]) {
    let _number = relay::frame_number(bytes);
    same(bytes, ClientFrame::from_bytes, ClientFrame::to_bytes);
    same(bytes, ServerFrame::from_bytes, ServerFrame::to_bytes);
    plain::<relay::Refusal>(bytes);
    plain::<Descriptor>(bytes);
    let public = key().verifying_key().to_bytes();
    let relay = RelayId(public);
    if let Some((it, signed)) = body::<relay::Statement>(bytes) {
        assert_eq!(relay::Statement::verify(&signed, &relay).is_ok(), it.relay == relay);
    }
    if let Some((it, signed)) = body::<relay::Receipt>(bytes) {
        assert_eq!(relay::Receipt::verify(&signed, &relay, &it.topic, &it.id), Ok(it));
    }
    if let Some((it, signed)) = body::<relay::Evicted>(bytes) {
        assert_eq!(relay::Evicted::verify(&signed, &relay), Ok(it));
    }
    if let Some((it, signed)) = body::<PackageRecord>(bytes) {
        let own = DeviceId(public);
        assert_eq!(PackageRecord::verify(&signed, &own).is_ok(), it.device == own);
    }
    let inbox = Descriptor { read_pub: public, write_pub: public, mode: Mode::Inbox };
    if let Some((it, signed)) = body::<Token>(bytes) {
        assert_eq!(Token::verify(&signed, &inbox).is_ok(), it.inbox == inbox.id());
    }
    same_token(bytes, &inbox);
    let _verdict = topic::check_entry_size(bytes.len());
    if let Ok(object) = topic::unpad(bytes.to_vec()) {
        let entry = topic::pad(&object, 0).expect("it was an entry's");
        assert_eq!(topic::unpad(entry), Ok(object));
    }
}

fn same_token(bytes: &[u8], inbox: &Descriptor) {
    if let Ok(token) = DeliveryToken::from_bytes(bytes, inbox) {
        assert_eq!(token.to_bytes(), bytes);
    }
}

/// The first bytes say how large the file is and which chunk of it comes.
fn blobs(bytes: &[u8]) {
    let Some((size, rest)) = bytes.split_first_chunk::<8>() else { return };
    let Some((index, sealed)) = rest.split_first_chunk::<8>() else { return };
    let index = u64::from_be_bytes(*index);
    let Ok(layout) = blob::Layout::of(u64::from_be_bytes(*size)) else { return };
    let key = Secret::new([3; 32]);
    let _len = (layout.sealed_len(index), layout.plain_len(index), layout.offset(index));
    let _verdict = blob::open(&key, layout, index, &BlobId::of(sealed), sealed);
    if let Ok((id, sealed)) = blob::seal(&key, layout, index, sealed) {
        assert!(blob::open(&key, layout, index, &id, &sealed).is_ok());
    }
}

fn texts(text: &str) {
    if let Ok(opened) = Invite::open(text, 0) {
        let _token = opened.invite.token();
    }
    if let Ok(link) = CommunityLink::from_text(text) {
        assert_eq!(link.to_text(), text.trim());
    }
    if let Some(account) = AccountId::from_text(text) {
        assert_eq!(account.to_text(), text.to_ascii_lowercase());
    }
    if let Some(account) = AccountId::from_hex(text) {
        assert_eq!(account.hex(), text.to_ascii_lowercase());
    }
    let number = identity::safety_number(&AccountId([1; 32]), &AccountId([2; 32]));
    let _verdict = number.matches(text);
}

/// What nodes say about files, and a file whose lists its maker filled with
/// anything: bytes from an insider, rightly sealed and rightly named.
fn files(bytes: &[u8]) {
    same(bytes, bulk::Ask::from_bytes, bulk::Ask::to_bytes);
    same(bytes, bulk::Answer::from_bytes, bulk::Answer::to_bytes);
    if let Some(file) = same(bytes, content::Attachment::from_bytes, content::Attachment::to_bytes) {
        let tree = file.blob.tree().expect("it was checked");
        assert_eq!(tree.size(), file.blob.size);
        let _names = (file.blob.id(), file.blob.folder());
    }
    let Some((size, rest)) = bytes.split_first_chunk::<8>() else { return };
    let Ok(tree) = Tree::of(u64::from_be_bytes(*size)) else { return };
    let top = tree.top();
    let Some(layout) = tree.layout(top.level) else { return };
    let key = Secret::new([3; 32]);
    let sealed_under = match top.level {
        0 => key.clone(),
        level => crypto::derive(&key, labels::BLOB_LIST, &[level]),
    };
    let mut list = rest.to_vec();
    list.resize(layout.plain_len(0), 0);
    let (root, sealed) = blob::seal(&sealed_under, layout, 0, &list).expect("it has the right length");
    let mut index = Index::new(Blob { key, root, size: tree.size() }).expect("it has a tree");
    assert_eq!(index.take(top, &sealed), Ok(true));
    for number in [0, 1, tree.chunks() / 2, tree.chunks() - 1] {
        let Some(spot) = tree.spot(number) else { continue };
        assert_eq!(tree.number(spot), Some(number));
        if spot != top {
            let _verdict = index.take(spot, rest);
        }
        let _name = index.name(spot);
    }
}

/// Links carry a checksum and a signature that nobody guesses: both are put on.
fn links(bytes: &[u8]) {
    let armoured = |scheme: &str, object: &[u8], sum: &[u8]| {
        let sum = sum.get(..4).unwrap_or_default();
        format!("{scheme}{}", data_encoding::BASE64URL_NOPAD.encode(&[object, sum].concat()))
    };
    let sum = kith_wire::ids::hash(labels::ID_COMMUNITY_LINK, &[bytes]);
    texts(&armoured("kith-relay:", bytes, &sum));
    texts(&armoured("kith-invite:", bytes, &BlobId::of(bytes).0));
    let raw = Raw { body: bytes.to_vec(), sig: [0; 64] };
    if raw.kind() == Ok(identity::kinds::INVITE) {
        let sig = crypto::sign(&key(), labels::SIG_INVITE, &[bytes]);
        let signed = Raw { sig, ..raw }.to_bytes();
        texts(&armoured("kith-invite:", &signed, &BlobId::of(&signed).0));
    }
}
