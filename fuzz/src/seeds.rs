//! Inputs to start from: every kind of real object for `wire`, noise for the
//! others, which read it as a story.

use ed25519_dalek::SigningKey;
use kith_wire::blob::tree::{Blob, Spot};
use kith_wire::bulk;
use kith_wire::contact::{ContactAnswer, ContactRequest, ContactUpdate, Introduction, Verdict};
use kith_wire::content::{Attachment, Look, ReadUpTo, Text};
use kith_wire::crypto::Secret;
use kith_wire::group::{
    CommitEnvelope, CommitMeta, CommitReason, GroupExt, Object, PackedReadd, ReaddReq, Report, kinds,
};
use kith_wire::identity::{
    Credential, Device, DeviceCard, Profile, RelayHint, RevokeByAccount, RevokeByRecovery, Rotate, Rotation,
};
use kith_wire::ids::{
    AccountId, BlobId, DeviceId, EntryId, EventId, GroupId, InviteId, PeerKey, RelayId, StateId, TopicId,
};
use kith_wire::link::Invite;
use kith_wire::object::Versioned as _;
use kith_wire::peer::Frame;
use kith_wire::relay::{
    Answer, Bytes, Call, ClientFrame, Code, CommunityLink, Entry, Evicted, Numbered, PackageRecord, Push,
    Receipt, Refusal, ServerFrame, Statement, Watch,
};
use kith_wire::signed::{self, Body, Raw};
use kith_wire::topic::{self, Grant, Mode, Right, Token, TopicKeys};

use crate::ingest::world_objects;
use crate::wire::key;

/// Inputs of noise for each target that reads a story.
const STORIES: u64 = 24;

/// An input: its target, its name, its bytes.
pub type Seed = (&'static str, String, Vec<u8>);

/// All inputs, the same each time.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let mut out: Vec<Seed> = Vec::new();
    let parts = [
        ("people", people()),
        ("relay", relays()),
        ("peer", peers()),
        ("group", groups()),
        ("file", files()),
    ];
    for (name, objects) in parts {
        let named = objects.into_iter().enumerate();
        out.extend(named.map(|(n, bytes)| ("wire", format!("{name}-{n:02}"), bytes)));
    }
    for target in ["ingest", "operations"] {
        out.extend((0..STORIES).map(|n| (target, format!("noise-{n:02}"), noise(n, 60 + 12 * n))));
    }
    out
}

fn noise(seed: u64, len: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33).to_be_bytes()[7]
    };
    (0..len).map(|_| next()).collect()
}

struct Person {
    key: SigningKey,
    rotation: Rotation,
    intro: Introduction,
}

/// A person whose one key is all of recovery, account and device key.
fn person() -> Person {
    let key = key();
    let public = key.verifying_key().to_bytes();
    let rotation = Rotation::issue(&key, 0, public);
    let credential = Credential::issue(&rotation, &key, DeviceId(public), [9; 32]).to_bytes();
    let profile = Profile::new(rotation.account(), 0, 1, "Åsa".into(), "Hi".into());
    let signed = |raw: Raw| Some(raw.to_bytes());
    let intro = Introduction {
        credential,
        profile: signed(signed::sign(&profile, &key, &[])),
        card: signed(signed::sign(&card(&rotation), &key, &[])),
        token: Some(inbox().issue_token(Secret::new([4; 32]), GRANT).to_bytes()),
    };
    Person { key, rotation, intro }
}

const GRANT: Grant = Grant { uses: 5, packages: 1, expires_ms: 1_900_000_000_000 };

fn inbox() -> TopicKeys {
    TopicKeys::derive(&Secret::new([5; 32]), Mode::Inbox)
}

fn hint() -> RelayHint {
    let addrs = vec!["/dns4/relay.example/udp/4001/quic-v1".into(), "/ip4/1.2.3.4/tcp/1".into()];
    RelayHint { id: RelayId(key().verifying_key().to_bytes()), name: "relay".into(), addrs }
}

fn card(rotation: &Rotation) -> DeviceCard {
    DeviceCard {
        kind: DeviceCard::KIND,
        version: 1,
        account: rotation.account(),
        device: DeviceId(rotation.account_pub),
        revision: 1,
        inbox: inbox().inbox(),
        relays: vec![hint()],
        transport: PeerKey([4; 32]),
        addrs: vec!["/ip6/2001:db8::1/udp/1/quic-v1".into()],
        issued_ms: 1,
        expires_ms: 2,
        token: None,
    }
}

fn signed<T: Body>(body: &T) -> [Vec<u8>; 2] {
    [body.to_bytes(), signed::sign(body, &key(), &[]).to_bytes()]
}

fn people() -> Vec<Vec<u8>> {
    let it = person();
    let (account, public) = (it.rotation.account(), it.rotation.account_pub);
    let device = DeviceId(public);
    let (to, to_inbox) = (DeviceId([5; 32]), TopicId([6; 32]));
    let request = ContactRequest {
        kind: ContactRequest::KIND,
        version: 1,
        to,
        to_inbox,
        from: it.intro.clone(),
        key_package: vec![1; 40],
        invite: InviteId([7; 32]),
        proof: [8; 32],
        greeting: "Hello".into(),
        group: Some(GroupId([1; 32])),
        at_ms: 77,
    };
    let answer = ContactAnswer {
        kind: ContactAnswer::KIND,
        version: 1,
        to,
        to_inbox,
        from: Introduction { profile: None, card: None, ..it.intro.clone() },
        request: [3; 32],
        verdict: Verdict::UsedUp,
        at_ms: 78,
    };
    let update = ContactUpdate {
        kind: ContactUpdate::KIND,
        version: 1,
        to,
        to_inbox,
        from: it.intro.clone(),
        at_ms: 79,
    };
    let mut invite = Invite {
        secret: Secret::new([1; 32]),
        rotation: it.rotation.clone(),
        device,
        box_pub: [8; 32],
        name: "Åsa".into(),
        inbox: inbox().inbox(),
        relays: vec![hint()],
        transport: PeerKey([3; 32]),
        addrs: vec!["/ip4/192.168.1.23/udp/40123/quic-v1".into(), "/memory/7".into()],
        uses: 5,
        expires_s: 1_900_000_000,
        token_sig: None,
        group: Some((GroupId([6; 32]), "The book club".into())),
    };
    invite.add_token(&inbox()).expect("a token of this inbox");
    let link = invite.to_link(&it.key);
    let mut out = vec![it.intro.credential.clone(), it.intro.to_bytes()];
    out.extend(signed(&Rotate::new(public, 0, public)));
    out.extend(signed(&Device::new(account, 0, device, [9; 32])));
    out.extend(signed(&RevokeByAccount::new(account, 0, device)));
    out.extend(signed(&RevokeByRecovery::new(public, device)));
    out.extend(signed(&Profile::new(account, 0, 1, "Åsa".into(), String::new())));
    out.extend(signed(&card(&it.rotation)));
    out.extend(signed(&request));
    out.extend(signed(&answer));
    out.push(update.to_bytes());
    out.push(invite_body(&link));
    out.push(link.into_bytes());
    out.push(account.to_text().into_bytes());
    out.push(account.hex().into_bytes());
    out
}

/// The body inside of a link.
fn invite_body(link: &str) -> Vec<u8> {
    let text = link.split_once(':').map_or("", |(_, text)| text);
    let bytes = data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).expect("a link is base64");
    let object = bytes.get(..bytes.len().saturating_sub(4)).unwrap_or_default();
    Raw::from_bytes(object).expect("a link holds a signed object").body
}

fn relays() -> Vec<Vec<u8>> {
    let public = key().verifying_key().to_bytes();
    let (topic, id, sig) = (TopicId([1; 32]), EntryId([2; 32]), [3; 64]);
    let descriptor = inbox().descriptor();
    let (token, bytes) = (vec![4; 9], vec![5; 30]);
    let record = PackageRecord::sign(&key(), vec![5; 30], 9, true);
    let calls = [
        Call::hello(b"admission"),
        Call::Statement {},
        Call::Open { descriptor, right: Right::Write, proof: sig },
        Call::append(topic, bytes.clone(), 60),
        Call::Deliver {
            inbox: descriptor,
            token: token.clone(),
            proof: sig,
            id,
            bytes: bytes.clone(),
            keep_s: 5,
        },
        Call::Request { inbox: descriptor, work: 9, id, bytes: bytes.clone(), keep_s: 5 },
        Call::Read { topic, after: 7, max_bytes: 70_000 },
        Call::Have { topic, after: 0 },
        Call::Want { topic, ids: vec![id; 3] },
        Call::Watch { topics: vec![Watch { topic, after: 1 }; 2], credit: 1 << 20 },
        Call::Unwatch { topics: vec![topic] },
        Call::Credit { bytes: 9 },
        Call::PutPackages { inbox: topic, records: vec![Bytes(record.clone())], last_resort: None },
        Call::PutPackages { inbox: topic, records: Vec::new(), last_resort: Some(Bytes(record.clone())) },
        Call::TakePackage { inbox: descriptor, token, request: id, proof: sig },
        Call::PutChunk { topic, id: kith_wire::ids::BlobId([6; 32]), bytes: bytes.clone(), keep_s: 1 },
        Call::GetChunk { id: kith_wire::ids::BlobId([6; 32]), from: 1, len: 2 },
    ];
    let answers = [
        Answer::Hello { version: 1 },
        Answer::Statement { statement: vec![1] },
        Answer::Opened { next: 1, left: 2, packages: 3 },
        Answer::Receipt { receipt: vec![2; 30] },
        Answer::Entries { entries: vec![Entry { index: 1, bytes: bytes.clone() }], next: 1, end: true },
        Answer::Ids { ids: vec![Numbered { index: 4, id }], next: 4, end: false },
        Answer::Done {},
        Answer::Packages { left: 9 },
        Answer::Package { record: record.clone() },
        Answer::ChunkStored { stored_until_ms: 6 },
        Answer::Chunk { total: 7, bytes: bytes.clone() },
    ];
    let pushes = [
        Push::Entry { topic, index: 1, bytes },
        Push::PackagesLow { inbox: topic, left: 8 },
        Push::Evicted { notice: vec![1] },
    ];
    let statement = Statement {
        kind: Statement::KIND,
        version: 1,
        relay: RelayId(public),
        name: "relay".into(),
        retention_s: 1,
        topic_bytes: 2,
        share_bytes: 3,
        sender_bytes: 4,
        sender_topics: 5,
        calls_per_s: 6,
        bytes_per_s: 7,
        open_topics: 8,
        packages: 9,
        work_bits: 18,
        request_bytes: 10,
        admission: true,
        issued_ms: 11,
    };
    let evicted = Evicted { kind: Evicted::KIND, version: 1, topic, from: 1, to: 2, reason: 1, at_ms: 3 };
    let token = Token {
        kind: Token::KIND,
        version: 1,
        inbox: topic,
        key: public,
        uses: 5,
        packages: 1,
        expires_ms: GRANT.expires_ms,
    };
    let receipt = Receipt { kind: Receipt::KIND, version: 1, topic, id, index: 7, stored_until_ms: 8 };
    let community = CommunityLink {
        name: "Chess club".into(),
        key: hint().id,
        addrs: hint().addrs,
        admission: vec![1; 16],
    };
    let community = community.to_text();
    let inside = community.split_once(':').map_or("", |(_, text)| text).as_bytes();
    let inside = data_encoding::BASE64URL_NOPAD.decode(inside).expect("a link is base64");
    let refusal = Refusal::of(Code::TopicFull).limit(5).retry_ms(6);
    let mut out: Vec<_> = calls.into_iter().map(|call| ClientFrame { number: 8, call }.to_bytes()).collect();
    out.extend(answers.into_iter().map(|answer| ServerFrame::Answer { number: 8, answer }.to_bytes()));
    out.extend(pushes.into_iter().map(|push| ServerFrame::Push { push }.to_bytes()));
    out.push(ServerFrame::Hello { lowest: 1, highest: 2, nonce: [3; 32], statement: vec![4] }.to_bytes());
    out.push(ServerFrame::Refused { number: 1, refusal }.to_bytes());
    out.push(kith_wire::cbor::encode(&descriptor));
    out.extend([statement.to_bytes(), evicted.to_bytes(), token.to_bytes(), receipt.to_bytes()]);
    out.extend([record.clone(), Raw::from_bytes(&record).expect("a signed record").body]);
    out.push(topic::pad(b"an object", 0).expect("it is small"));
    out.push(inside[..inside.len() - 4].to_vec());
    out.push(community.into_bytes());
    out.push([&300_000u64.to_be_bytes()[..], &1u64.to_be_bytes(), b"the rest"].concat());
    out
}

fn peers() -> Vec<Vec<u8>> {
    let group = GroupId([1; 32]);
    let frames = [
        Frame::Hello { lowest: 1, highest: 1, nonce: [2; 32] },
        Frame::Proof { device: DeviceId([3; 32]), sig: [4; 64] },
        Frame::Object { number: 1, group, object: vec![5; 40] },
        Frame::Inbox { number: 2, sealed: vec![6; 40] },
        Frame::Ack { number: 300 },
        Frame::Nack { number: 3, code: 2 },
        Frame::Sync { group, hello: vec![7; 40], reply: true },
        Frame::PackageRequest,
        Frame::Package { package: vec![8; 40] },
        Frame::Typing { group },
    ];
    frames.iter().map(Frame::to_bytes).collect()
}

fn files() -> Vec<Vec<u8>> {
    let (root, spot) = (BlobId([1; 32]), Spot { level: 1, index: 300_000 });
    let file = Attachment {
        blob: Blob { key: Secret::new([2; 32]), root, size: 5 << 30 },
        name: "lake.jpg".into(),
        media_type: "image/jpeg".into(),
        caption: "héllo".into(),
        reply_to: Some(EventId([3; 32])),
        look: Some(Look {
            width: 640,
            height: 400,
            duration_ms: 1_000,
            preview: vec![0xff, 0xd8],
            waveform: vec![4; 8],
            voice: true,
        }),
    };
    let bare = Attachment { reply_to: None, look: None, caption: String::new(), ..file.clone() };
    let asks = [bulk::Ask::Want { root }, bulk::Ask::Get { spot }, bulk::Ask::Done];
    let answers = [
        bulk::Answer::Holds { chunks: vec![5; 9] },
        bulk::Answer::No,
        bulk::Answer::Chunk { spot, bytes: vec![6; 40] },
        bulk::Answer::Lack { spot },
    ];
    let mut out: Vec<_> = asks.iter().map(bulk::Ask::to_bytes).collect();
    out.extend(answers.iter().map(bulk::Answer::to_bytes));
    out.extend([file.to_bytes(), bare.to_bytes()]);
    // Files of one, two and three levels, with lists of anything.
    for size in [9u64, 3 << 20, 3 << 30] {
        out.push([&size.to_be_bytes()[..], &[7; 96]].concat());
    }
    out
}

fn groups() -> Vec<Vec<u8>> {
    let gid = GroupId([1; 32]);
    let meta = CommitMeta {
        kind: kinds::COMMIT_META,
        version: 1,
        gid,
        parent: StateId([2; 32]),
        orders: vec![vec![1; 9].into()],
        readds: vec![vec![2; 9].into()],
        reason: CommitReason::Readd,
        device: DeviceId([3; 32]),
        rotate: true,
    };
    let readd = ReaddReq {
        kind: kinds::READD,
        version: 1,
        gid,
        device: DeviceId([3; 32]),
        credential: vec![4; 40],
        package: [5; 32],
        held: vec![StateId([6; 32])],
    };
    let commit = CommitEnvelope {
        kind: kinds::COMMIT,
        version: 1,
        gid,
        parent: StateId([2; 32]),
        message: vec![7; 40],
    };
    let report = Report {
        kind: kinds::REPORT,
        version: 1,
        gid,
        to: DeviceId([2; 32]),
        to_inbox: TopicId([3; 32]),
        device: DeviceId([4; 32]),
        event: EventId([5; 32]),
        author: AccountId([6; 32]),
        quote: "Buy now".into(),
        reason: "Spam".into(),
        at: 7,
    };
    let text = Text { text: "héllo".into(), reply_to: Some(EventId([1; 32])) };
    let read = ReadUpTo { devices: vec![(DeviceId([1; 32]), 7)] };
    let mut out = vec![
        meta.to_bytes(),
        readd.to_bytes(),
        commit.to_bytes(),
        report.to_bytes(),
        GroupExt::group(AccountId([5; 32]), "tea", vec![hint()]).to_bytes(),
        GroupExt::direct(Vec::new()).to_bytes(),
        text.to_bytes(),
        read.to_bytes(),
        PackedReadd { raw: signed::sign(&readd, &key(), &[]), package: vec![8; 40] }.to_bytes(),
    ];
    // One of each form and kind, as members publish them.
    let mut seen = std::collections::BTreeSet::new();
    for object in world_objects() {
        let (form, inside) = match Object::from_bytes(&object) {
            Ok(Object::Signed { kind, raw }) => (kind, Some(raw.body)),
            Ok(Object::EventEnvelope(_)) => (kinds::EVENT_ENVELOPE, None),
            Ok(Object::BareEvent(event)) => (kinds::EVENT, Some(event.raw.body)),
            Ok(Object::Readd(request)) => (kinds::READD, Some(request.raw.body)),
            Err(_) => (0, None),
        };
        if seen.insert(form) {
            out.push(object);
            out.extend(inside);
        }
    }
    out
}
