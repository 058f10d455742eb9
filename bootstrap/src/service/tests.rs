//! The service as its clients see it, on a store in memory.

use kith_store::MemoryStore;
use kith_wire::crypto::Secret;
use kith_wire::ids::{EntryId, PeerKey, RelayId};
use kith_wire::relay::{Receipt, Watch};
use kith_wire::topic::{DeliveryToken, Descriptor, Grant, LinkContext, Mode, Right, TopicKeys};

use super::*;

mod bounds;
mod inboxes;
mod logs;
mod time;

const DAY_MS: u64 = 24 * 3_600_000;
const KEEP_S: u64 = 3_600;

type Relay = Service<MemoryStore, MemoryChunks>;

/// A relay with its clients.
pub(super) struct Lab {
    pub(super) relay: Relay,
    store: MemoryStore,
    pub(super) now: Now,
    greetings: BTreeMap<LinkId, [u8; 32]>,
    inbox: BTreeMap<LinkId, Vec<ServerFrame>>,
    pub(super) closed: Vec<LinkId>,
    next_link: u64,
    next_number: u64,
}

pub(super) fn key() -> SigningKey {
    SigningKey::from_bytes(&[42; 32])
}

pub(super) fn small() -> Limits {
    Limits {
        topic_bytes: 64 << 10,
        sender_bytes: 256 << 10,
        sender_topics: 8,
        total_bytes: 1 << 20,
        open_topics: 4,
        packages: 10,
        work_bits: 8,
        request_bytes: 16 << 10,
        retention_s: 7 * 24 * 3600,
        ..Limits::default()
    }
}

fn setup(limits: Limits, admission: Option<Vec<u8>>) -> Setup {
    Setup { key: key(), name: "Test".into(), admission, guests: true, limits, seed: [1; 32] }
}

impl Lab {
    pub(super) fn new(limits: Limits) -> Self {
        Self::with(limits, None)
    }
    pub(super) fn with(limits: Limits, admission: Option<Vec<u8>>) -> Self {
        let store = MemoryStore::new();
        let now = Now { wall_ms: 1_767_225_600_000, mono_ms: 1 };
        let relay =
            Service::open(store.clone(), MemoryChunks::default(), setup(limits, admission), now).unwrap();
        Self {
            relay,
            store,
            now,
            greetings: BTreeMap::new(),
            inbox: BTreeMap::new(),
            closed: Vec::new(),
            next_link: 1,
            next_number: 1,
        }
    }
    /// Starts the relay again on what it stored.
    pub(super) fn restart(&mut self) {
        let limits = self.relay.relay.limits;
        self.relay =
            Service::open(self.store.clone(), self.relay.chunks.clone(), setup(limits, None), self.now)
                .unwrap();
        self.greetings.clear();
        self.inbox.clear();
    }
    pub(super) fn id(&self) -> RelayId {
        self.relay.id()
    }
    pub(super) fn client(link: LinkId) -> PeerKey {
        PeerKey([u8::try_from(link.0 % 251).unwrap(); 32])
    }
    /// A link that has greeted as `admission` allows.
    pub(super) fn link_from(&mut self, source: &[u8], admission: &[u8]) -> LinkId {
        let link = LinkId(self.next_link);
        self.next_link += 1;
        self.relay.link_up(self.now, link, Self::client(link), source);
        self.settle();
        let frames = self.take(link);
        let [ServerFrame::Hello { nonce, statement, .. }] = frames.as_slice() else { panic!("{frames:?}") };
        Statement::verify(statement, &self.id()).unwrap();
        self.greetings.insert(link, *nonce);
        self.call(link, Call::hello(admission)).unwrap();
        link
    }
    pub(super) fn link(&mut self) -> LinkId {
        let source = self.next_link.to_be_bytes();
        self.link_from(&source, b"")
    }
    /// Commits and sorts what goes out.
    pub(super) fn settle(&mut self) {
        self.relay.commit(self.now).unwrap();
        self.drain();
    }
    pub(super) fn drain(&mut self) {
        while let Some(output) = self.relay.poll_output() {
            match output {
                Output::Send { link, frame } => {
                    self.inbox.entry(link).or_default().push(ServerFrame::from_bytes(&frame).unwrap());
                }
                Output::Close { link } => self.closed.push(link),
            }
        }
    }
    /// Frames that a link was sent since the last look.
    pub(super) fn take(&mut self, link: LinkId) -> Vec<ServerFrame> {
        self.inbox.remove(&link).unwrap_or_default()
    }
    pub(super) fn send(&mut self, link: LinkId, call: Call) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        self.relay.frame(self.now, link, &ClientFrame { number, call }.to_bytes()).unwrap();
        number
    }
    /// One call and its answer; pushes stay in the inbox.
    pub(super) fn call(&mut self, link: LinkId, call: Call) -> Result<Answer, Refusal> {
        let number = self.send(link, call);
        self.settle();
        let mut result = None;
        for frame in self.take(link) {
            match frame {
                ServerFrame::Answer { number: n, answer } if n == number => result = Some(Ok(answer)),
                ServerFrame::Refused { number: n, refusal } if n == number => result = Some(Err(refusal)),
                other => self.inbox.entry(link).or_default().push(other),
            }
        }
        result.expect("every call is answered")
    }
    pub(super) fn refused(&mut self, link: LinkId, call: Call) -> Code {
        self.call(link, call).expect_err("a refusal").code
    }
    pub(super) fn proof(&self, link: LinkId, topic: &TopicKeys, right: Right) -> Call {
        let (relay, client) = (self.id(), Self::client(link));
        Call::open(
            topic,
            &LinkContext { relay: &relay, client: &client, nonce: &self.greetings[&link] },
            right,
        )
    }
    pub(super) fn open(&mut self, link: LinkId, topic: &TopicKeys, right: Right) -> Answer {
        let call = self.proof(link, topic, right);
        self.call(link, call).unwrap()
    }
    pub(super) fn open_both(&mut self, link: LinkId, topic: &TopicKeys) {
        self.open(link, topic, Right::Read);
        self.open(link, topic, Right::Write);
    }
    /// Appends and answers the verified receipt.
    pub(super) fn append(&mut self, link: LinkId, topic: &TopicKeys, bytes: &[u8]) -> Receipt {
        let answer = self.call(link, Call::append(topic.id(), bytes.to_vec(), KEEP_S)).unwrap();
        self.receipt(answer, topic, bytes)
    }
    pub(super) fn receipt(&self, answer: Answer, topic: &TopicKeys, bytes: &[u8]) -> Receipt {
        let Answer::Receipt { receipt } = answer else { panic!("{answer:?}") };
        Receipt::verify(&receipt, &self.id(), &topic.id(), &EntryId::of(bytes)).unwrap()
    }
    pub(super) fn read(&mut self, link: LinkId, topic: &TopicKeys, after: u64) -> Vec<(u64, Vec<u8>)> {
        let call = Call::Read { topic: topic.id(), after, max_bytes: u64::MAX };
        let Answer::Entries { entries, .. } = self.call(link, call).unwrap() else { panic!() };
        entries.into_iter().map(|e| (e.index, e.bytes)).collect()
    }
    pub(super) fn pushed(&mut self, link: LinkId) -> Vec<Push> {
        self.take(link)
            .into_iter()
            .filter_map(|f| match f {
                ServerFrame::Push { push } => Some(push),
                _ => None,
            })
            .collect()
    }
    pub(super) fn wait(&mut self, ms: u64) {
        self.now.wall_ms += ms;
        self.now.mono_ms += ms;
        while self.relay.poll_timeout() <= self.now.mono_ms {
            self.relay.tick(self.now).unwrap();
            self.settle();
        }
    }
}

pub(super) fn topic(byte: u8) -> TopicKeys {
    TopicKeys::derive(&Secret::new([byte; 32]), Mode::Group)
}

pub(super) fn inbox(byte: u8) -> TopicKeys {
    TopicKeys::derive(&Secret::new([byte; 32]), Mode::Inbox)
}

pub(super) fn entry(topic: &TopicKeys, text: &str) -> Vec<u8> {
    let id = EntryId::of(text.as_bytes());
    topic.seal(text.as_bytes(), id.0[..24].try_into().unwrap()).unwrap()
}

pub(super) fn token(lab: &Lab, inbox: &TopicKeys, seed: u8, uses: u32, packages: u32) -> DeliveryToken {
    inbox.issue_token(Secret::new([seed; 32]), Grant { uses, packages, expires_ms: lab.now.wall_ms + DAY_MS })
}

pub(super) fn watch_one(topic: &TopicKeys, after: u64, credit: u64) -> Call {
    Call::Watch { topics: vec![Watch { topic: topic.id(), after }], credit }
}

pub(super) fn descriptor(keys: &TopicKeys) -> Descriptor {
    keys.descriptor()
}
