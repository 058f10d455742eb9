//! `/kith/log/1`: what a node and a relay say to each other.
//!
//! Every frame is one canonical CBOR item. The relay speaks first, with
//! [`ServerFrame::Hello`]; the client's first call is [`Call::Hello`]. Calls
//! are pipelined: each carries a number that its answer or refusal repeats,
//! and the relay handles those of one link in order. Must never name
//! anything but topics, entries, tokens and bytes: that is all a relay knows.

mod community;
mod records;
mod refusal;

pub use community::{ADMISSION_BYTES_MAX, CommunityLink, CommunityLinkError, LINK_CHARS_MAX, SCHEME};
pub use records::{
    Evicted, PACKAGE_BYTES_MAX, PACKAGE_RECORD_BYTES_MAX, PackageRecord, Receipt, Statement, evicted,
};
pub use refusal::{Code, Refusal};

use minicbor::{Decode, Encode};

use crate::cbor::{self, WireError};
use crate::ids::{BlobId, EntryId, RelayId, TopicId, hash};
use crate::topic::{DeliveryToken, Descriptor, LinkContext, Right, TopicKeys};
use crate::{labels, limits};

/// The lowest and highest version of this protocol spoken here.
pub const VERSIONS: (u16, u16) = (1, 1);
/// Topics in one [`Call::Watch`] or [`Call::Unwatch`].
pub const WATCH_TOPICS_MAX: usize = 256;
/// Ids in one [`Call::Want`] or [`Answer::Ids`].
pub const IDS_MAX: usize = 4096;
/// Bytes of entries in one answer: leaves room for one frame's heads.
pub const ANSWER_BYTES_MAX: usize = limits::FRAME_BYTES_MAX - (64 << 10);
/// Credit that a link can have for live entries, in bytes: what is on its way
/// unread stays well below what the overlay lets wait on one link.
pub const CREDIT_MAX: u64 = 2 << 20;
/// What an entry takes of the credit at least, in bytes: frames count too.
pub const CREDIT_COST_MIN: u64 = 4 << 10;
/// Key package records in one [`Call::PutPackages`].
pub const PACKAGES_PER_CALL_MAX: usize = 64;
/// The largest sealed chunk, in bytes.
pub const CHUNK_BYTES_MAX: usize = limits::BLOB_CHUNK_BYTES + 16;
/// The most work that a client does for a request without a token, in bits.
pub const WORK_BITS_MAX: u8 = 22;

/// A call with its number.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct ClientFrame {
    /// Chosen by the client, not reused while unanswered on the link.
    #[n(0)]
    pub number: u64,
    /// The call.
    #[n(1)]
    pub call: Call,
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Call {
    /// First on every link. Answered by [`Answer::Hello`].
    #[n(0)]
    Hello {
        /// Lowest version spoken.
        #[n(0)]
        lowest: u16,
        /// Highest version spoken.
        #[n(1)]
        highest: u16,
        /// The admission token of the community link; empty if it has none.
        #[cbor(n(2), with = "minicbor::bytes")]
        admission: Vec<u8>,
    },
    /// Asks for the statement as it is now. [`Answer::Statement`].
    #[n(1)]
    Statement {},
    /// Opens a topic on this link with one right. [`Answer::Opened`].
    #[n(2)]
    Open {
        /// The topic.
        #[n(0)]
        descriptor: Descriptor,
        /// What is proven.
        #[n(1)]
        right: Right,
        /// [`TopicKeys::prove`].
        #[cbor(n(2), with = "minicbor::bytes")]
        proof: [u8; 64],
    },
    /// Appends to a topic opened for writing. [`Answer::Receipt`], the same
    /// one for the same entry.
    #[n(3)]
    Append {
        /// The topic.
        #[n(0)]
        topic: TopicId,
        /// SHA-256 of the bytes.
        #[n(1)]
        id: EntryId,
        /// A sealed entry.
        #[cbor(n(2), with = "minicbor::bytes")]
        bytes: Vec<u8>,
        /// How long to keep it, in seconds.
        #[n(3)]
        keep_s: u64,
    },
    /// Appends to an inbox with a delivery token. [`Answer::Receipt`].
    #[n(4)]
    Deliver {
        /// The inbox.
        #[n(0)]
        inbox: Descriptor,
        /// The signed token.
        #[cbor(n(1), with = "minicbor::bytes")]
        token: Vec<u8>,
        /// [`DeliveryToken::sign_use`] over the entry's id.
        #[cbor(n(2), with = "minicbor::bytes")]
        proof: [u8; 64],
        /// SHA-256 of the bytes.
        #[n(3)]
        id: EntryId,
        /// A sealed entry.
        #[cbor(n(4), with = "minicbor::bytes")]
        bytes: Vec<u8>,
        /// How long to keep it, in seconds.
        #[n(5)]
        keep_s: u64,
    },
    /// Appends a contact request to an inbox without a token, against work.
    /// [`Answer::Receipt`].
    #[n(5)]
    Request {
        /// The inbox.
        #[n(0)]
        inbox: Descriptor,
        /// [`find_work`] over the entry's id.
        #[n(1)]
        work: u64,
        /// SHA-256 of the bytes.
        #[n(2)]
        id: EntryId,
        /// A sealed entry.
        #[cbor(n(3), with = "minicbor::bytes")]
        bytes: Vec<u8>,
        /// How long to keep it, in seconds.
        #[n(4)]
        keep_s: u64,
    },
    /// Entries behind an index, in order. [`Answer::Entries`].
    #[n(6)]
    Read {
        /// A topic opened for reading.
        #[n(0)]
        topic: TopicId,
        /// Index of the last entry known; 0 = from the start.
        #[n(1)]
        after: u64,
        /// Bytes wanted at most; at least one entry comes if there is one.
        #[n(2)]
        max_bytes: u64,
    },
    /// Ids behind an index, in order. [`Answer::Ids`].
    #[n(7)]
    Have {
        /// A topic opened for reading.
        #[n(0)]
        topic: TopicId,
        /// Index of the last entry known; 0 = from the start.
        #[n(1)]
        after: u64,
    },
    /// The bodies of these ids, as far as they are here and fit into one
    /// answer. [`Answer::Entries`].
    #[n(8)]
    Want {
        /// A topic opened for reading.
        #[n(0)]
        topic: TopicId,
        /// The ids, at most [`IDS_MAX`].
        #[n(1)]
        ids: Vec<EntryId>,
    },
    /// From now on push entries of these topics, starting behind the index of
    /// each, as credit allows. [`Answer::Done`].
    #[n(9)]
    Watch {
        /// Topics opened for reading, at most [`WATCH_TOPICS_MAX`].
        #[n(0)]
        topics: Vec<Watch>,
        /// More credit, in units of [`credit_cost`].
        #[n(1)]
        credit: u64,
    },
    /// No longer push entries of these topics. [`Answer::Done`].
    #[n(10)]
    Unwatch {
        /// The topics.
        #[n(0)]
        topics: Vec<TopicId>,
    },
    /// More credit for pushed entries; capped at [`CREDIT_MAX`].
    /// [`Answer::Done`].
    #[n(11)]
    Credit {
        /// In units of [`credit_cost`].
        #[n(0)]
        bytes: u64,
    },
    /// Leaves key packages at an inbox opened for writing.
    /// [`Answer::Packages`].
    #[n(12)]
    PutPackages {
        /// The inbox.
        #[n(0)]
        inbox: TopicId,
        /// Signed records ([`PackageRecord`]), each to be handed out once.
        #[n(1)]
        records: Vec<Bytes>,
        /// The record to hand out when no other is left; replaces the last.
        #[n(2)]
        last_resort: Option<Bytes>,
    },
    /// Takes a key package with a delivery token. [`Answer::Package`].
    #[n(13)]
    TakePackage {
        /// The inbox.
        #[n(0)]
        inbox: Descriptor,
        /// The signed token.
        #[cbor(n(1), with = "minicbor::bytes")]
        token: Vec<u8>,
        /// Random; the same one again gives the same package again.
        #[n(2)]
        request: EntryId,
        /// [`DeliveryToken::sign_use`] over `request`.
        #[cbor(n(3), with = "minicbor::bytes")]
        proof: [u8; 64],
    },
    /// Stores a blob chunk under a topic opened for writing.
    /// [`Answer::ChunkStored`].
    #[n(14)]
    PutChunk {
        /// The topic whose quota it counts for.
        #[n(0)]
        topic: TopicId,
        /// SHA-256 of the bytes.
        #[n(1)]
        id: BlobId,
        /// The sealed chunk.
        #[cbor(n(2), with = "minicbor::bytes")]
        bytes: Vec<u8>,
        /// How long to keep it, in seconds.
        #[n(3)]
        keep_s: u64,
    },
    /// Reads a part of a chunk; knowing its name is the right to.
    /// [`Answer::Chunk`].
    #[n(15)]
    GetChunk {
        /// SHA-256 of the chunk.
        #[n(0)]
        id: BlobId,
        /// First byte.
        #[n(1)]
        from: u64,
        /// Bytes at most.
        #[n(2)]
        len: u64,
    },
}

/// One topic to watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Watch {
    /// The topic.
    #[n(0)]
    pub topic: TopicId,
    /// Index of the last entry known; 0 = from the start.
    #[n(1)]
    pub after: u64,
}

/// A byte string in a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct Bytes(#[cbor(n(0), with = "minicbor::bytes")] pub Vec<u8>);

/// What a relay sends.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ServerFrame {
    /// First on every link.
    #[n(0)]
    Hello {
        /// Lowest version spoken.
        #[n(0)]
        lowest: u16,
        /// Highest version spoken.
        #[n(1)]
        highest: u16,
        /// Fresh random bytes for the proofs on this link.
        #[cbor(n(2), with = "minicbor::bytes")]
        nonce: [u8; 32],
        /// The signed [`Statement`].
        #[cbor(n(3), with = "minicbor::bytes")]
        statement: Vec<u8>,
    },
    /// A call was carried out; what it wrote is durable.
    #[n(1)]
    Answer {
        /// The call's number.
        #[n(0)]
        number: u64,
        /// The answer.
        #[n(1)]
        answer: Answer,
    },
    /// A call was not carried out; nothing changed.
    #[n(2)]
    Refused {
        /// The call's number; 0 if it could not be read.
        #[n(0)]
        number: u64,
        /// Why.
        #[n(1)]
        refusal: Refusal,
    },
    /// Not an answer to any call.
    #[n(3)]
    Push {
        /// What.
        #[n(0)]
        push: Push,
    },
}

/// The answer to a call.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Answer {
    /// The greeting is accepted.
    #[n(0)]
    Hello {
        /// The version spoken on this link.
        #[n(0)]
        version: u16,
    },
    /// The signed [`Statement`].
    #[n(1)]
    Statement {
        /// Its bytes.
        #[cbor(n(0), with = "minicbor::bytes")]
        statement: Vec<u8>,
    },
    /// The topic is open.
    #[n(2)]
    Opened {
        /// Index that the next entry will have.
        #[n(0)]
        next: u64,
        /// Bytes that this sender may still append.
        #[n(1)]
        left: u64,
        /// Key packages left at an inbox.
        #[n(2)]
        packages: u64,
    },
    /// The signed [`Receipt`].
    #[n(3)]
    Receipt {
        /// Its bytes.
        #[cbor(n(0), with = "minicbor::bytes")]
        receipt: Vec<u8>,
    },
    /// Entries.
    #[n(4)]
    Entries {
        /// In ascending order of index.
        #[n(0)]
        entries: Vec<Entry>,
        /// `after` of the call that goes on from here.
        #[n(1)]
        next: u64,
        /// Nothing more is there now.
        #[n(2)]
        end: bool,
    },
    /// Ids of entries.
    #[n(5)]
    Ids {
        /// In ascending order of index.
        #[n(0)]
        ids: Vec<Numbered>,
        /// `after` of the call that goes on from here.
        #[n(1)]
        next: u64,
        /// Nothing more is there now.
        #[n(2)]
        end: bool,
    },
    /// Done, nothing to say.
    #[n(6)]
    Done {},
    /// Key packages are stored.
    #[n(7)]
    Packages {
        /// How many are there now, the last-resort one not counted.
        #[n(0)]
        left: u64,
    },
    /// A key package.
    #[n(8)]
    Package {
        /// The signed [`PackageRecord`].
        #[cbor(n(0), with = "minicbor::bytes")]
        record: Vec<u8>,
    },
    /// A chunk is stored.
    #[n(9)]
    ChunkStored {
        /// Until when, Unix milliseconds.
        #[n(0)]
        stored_until_ms: u64,
    },
    /// A part of a chunk.
    #[n(10)]
    Chunk {
        /// Bytes of the whole chunk.
        #[n(0)]
        total: u64,
        /// The part.
        #[cbor(n(1), with = "minicbor::bytes")]
        bytes: Vec<u8>,
    },
}

/// An entry with its place.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Entry {
    /// Its index, at least 1.
    #[n(0)]
    pub index: u64,
    /// The sealed bytes.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub bytes: Vec<u8>,
}

/// An entry's id with its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Numbered {
    /// The entry's index.
    #[n(0)]
    pub index: u64,
    /// Its id.
    #[n(1)]
    pub id: EntryId,
}

/// What a relay says unasked.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Push {
    /// An entry of a watched topic.
    #[n(0)]
    Entry {
        /// The topic.
        #[n(0)]
        topic: TopicId,
        /// The entry's index.
        #[n(1)]
        index: u64,
        /// The sealed bytes.
        #[cbor(n(2), with = "minicbor::bytes")]
        bytes: Vec<u8>,
    },
    /// Few key packages are left at an inbox that this link has opened for
    /// writing.
    #[n(1)]
    PackagesLow {
        /// The inbox.
        #[n(0)]
        inbox: TopicId,
        /// How many are left.
        #[n(1)]
        left: u64,
    },
    /// Entries of a watched topic were dropped before their time.
    #[n(2)]
    Evicted {
        /// The signed [`Evicted`].
        #[cbor(n(0), with = "minicbor::bytes")]
        notice: Vec<u8>,
    },
}

macro_rules! frame {
    ($name:ident) => {
        impl $name {
            /// The frame's bytes.
            #[must_use]
            pub fn to_bytes(&self) -> Vec<u8> {
                cbor::encode(self)
            }
            /// Parses one frame, which must be canonical and fill the bytes.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
                if bytes.len() > limits::FRAME_BYTES_MAX {
                    return Err(WireError::TooLarge("the frame"));
                }
                cbor::decode(bytes, &[])
            }
        }
    };
}
frame!(ClientFrame);
frame!(ServerFrame);

/// What one pushed entry takes of the credit, and gives back when the client
/// has read it.
#[must_use]
pub fn credit_cost(entry_bytes: usize) -> u64 {
    CREDIT_COST_MIN.max(entry_bytes as u64)
}

/// The number of a client's frame whose call may be unreadable.
#[must_use]
pub fn frame_number(bytes: &[u8]) -> u64 {
    let mut d = minicbor::Decoder::new(bytes);
    d.array().and_then(|_| d.u64()).unwrap_or(0)
}

/// The version that both ranges have, the highest one.
#[must_use]
pub fn common_version(theirs: (u16, u16)) -> Option<u16> {
    let version = VERSIONS.1.min(theirs.1);
    (version >= VERSIONS.0.max(theirs.0)).then_some(version)
}

impl Call {
    /// The greeting of this version.
    #[must_use]
    pub fn hello(admission: &[u8]) -> Self {
        Self::Hello { lowest: VERSIONS.0, highest: VERSIONS.1, admission: admission.to_vec() }
    }
    /// Opens a topic on one link.
    #[must_use]
    pub fn open(topic: &TopicKeys, link: &LinkContext<'_>, right: Right) -> Self {
        Self::Open { descriptor: topic.descriptor(), right, proof: topic.prove(link, right) }
    }
    /// Appends a sealed entry.
    #[must_use]
    pub fn append(topic: TopicId, bytes: Vec<u8>, keep_s: u64) -> Self {
        Self::Append { topic, id: EntryId::of(&bytes), bytes, keep_s }
    }
    /// Appends a sealed entry to an inbox, with a token of it.
    #[must_use]
    pub fn deliver(
        token: &DeliveryToken,
        inbox: Descriptor,
        relay: &RelayId,
        bytes: Vec<u8>,
        keep_s: u64,
    ) -> Self {
        let id = EntryId::of(&bytes);
        let proof = token.sign_use(relay, &id);
        Self::Deliver { inbox, token: token.signed().to_vec(), proof, id, bytes, keep_s }
    }
    /// Appends a contact request to an inbox without a token. Does the work
    /// that the relay's statement asks for; refused when that is over
    /// [`WORK_BITS_MAX`].
    pub fn request(
        inbox: Descriptor,
        relay: &RelayId,
        work_bits: u8,
        bytes: Vec<u8>,
        keep_s: u64,
    ) -> Result<Self, WireError> {
        let id = EntryId::of(&bytes);
        let work = find_work(relay, &id, work_bits)?;
        Ok(Self::Request { inbox, work, id, bytes, keep_s })
    }
    /// Takes a key package with a token. `request` is random and kept for
    /// asking again.
    #[must_use]
    pub fn take_package(token: &DeliveryToken, inbox: Descriptor, relay: &RelayId, request: EntryId) -> Self {
        let proof = token.sign_use(relay, &request);
        Self::TakePackage { inbox, token: token.signed().to_vec(), request, proof }
    }
}

/// Whether `work` is a proof of work of `bits` bits for this entry at this
/// relay: so many leading zero bits of a labelled hash.
#[must_use]
pub fn work_holds(relay: &RelayId, id: &EntryId, work: u64, bits: u8) -> bool {
    let digest = hash(labels::ID_WORK, &[&relay.0, &id.0, &work.to_be_bytes()]);
    let mut zeros = 0u32;
    for byte in digest {
        zeros += byte.leading_zeros();
        if byte != 0 {
            break;
        }
    }
    zeros >= u32::from(bits)
}

/// Finds the proof that [`work_holds`] checks: about 2^bits hashes.
pub fn find_work(relay: &RelayId, id: &EntryId, bits: u8) -> Result<u64, WireError> {
    if bits > WORK_BITS_MAX {
        return Err(WireError::TooLarge("the proof of work that the relay asks for"));
    }
    (0..u64::MAX)
        .find(|work| work_holds(relay, id, *work, bits))
        .ok_or(WireError::Invalid("no proof of work was found"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Secret;
    use crate::topic::Mode;
    use proptest::prelude::*;

    fn calls() -> impl Strategy<Value = Call> {
        let id = any::<[u8; 32]>();
        let bytes = || proptest::collection::vec(any::<u8>(), 0..100);
        let sig =
            || proptest::array::uniform32(any::<u8>()).prop_map(|a| [a, a].concat().try_into().unwrap());
        let descriptor = || {
            (any::<[u8; 32]>(), any::<bool>()).prop_map(|(k, inbox)| Descriptor {
                read_pub: k,
                write_pub: k,
                mode: if inbox { Mode::Inbox } else { Mode::Group },
            })
        };
        prop_oneof![
            (any::<u16>(), any::<u16>(), bytes()).prop_map(|(lowest, highest, admission)| Call::Hello {
                lowest,
                highest,
                admission
            }),
            Just(Call::Statement {}),
            (descriptor(), sig()).prop_map(|(descriptor, proof)| Call::Open {
                descriptor,
                right: Right::Write,
                proof
            }),
            (id, bytes(), any::<u64>()).prop_map(|(t, b, keep_s)| Call::append(TopicId(t), b, keep_s)),
            (descriptor(), bytes(), sig(), bytes()).prop_map(|(inbox, token, proof, bytes)| {
                Call::Deliver { inbox, token, proof, id: EntryId::of(&bytes), bytes, keep_s: 5 }
            }),
            (id, any::<u64>(), any::<u64>()).prop_map(|(t, after, max_bytes)| Call::Read {
                topic: TopicId(t),
                after,
                max_bytes
            }),
            (id, id).prop_map(|(t, i)| Call::Want { topic: TopicId(t), ids: vec![EntryId(i); 3] }),
            (id, any::<u64>()).prop_map(|(t, after)| Call::Watch {
                topics: vec![Watch { topic: TopicId(t), after }; 2],
                credit: after
            }),
            (id, bytes(), proptest::option::of(bytes())).prop_map(|(t, b, last)| Call::PutPackages {
                inbox: TopicId(t),
                records: vec![Bytes(b.clone()), Bytes(b)],
                last_resort: last.map(Bytes)
            }),
            (id, any::<u64>()).prop_map(|(b, from)| Call::GetChunk { id: BlobId(b), from, len: from }),
        ]
    }

    proptest! {
        #[test]
        fn calls_round_trip_and_an_independent_decoder_reads_them(number: u64, call in calls()) {
            let bytes = ClientFrame { number, call: call.clone() }.to_bytes();
            prop_assert_eq!(ClientFrame::from_bytes(&bytes).unwrap(), ClientFrame { number, call });
            prop_assert_eq!(frame_number(&bytes), number);
            prop_assert!(serde_cbor::from_slice::<serde_cbor::Value>(&bytes).is_ok());
        }

        #[test]
        fn noise_and_bent_frames_never_panic(
            call in calls(), at in any::<prop::sample::Index>(), bit in 0u8..8,
            noise in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut bytes = ClientFrame { number: 1, call }.to_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let _ = ClientFrame::from_bytes(&bytes);
            let _ = ServerFrame::from_bytes(&bytes);
            let _ = ClientFrame::from_bytes(&noise);
            let _ = ServerFrame::from_bytes(&noise);
            let _ = frame_number(&noise);
        }
    }

    #[test]
    fn server_frames_round_trip() {
        let topic = TopicId([1; 32]);
        let answers = [
            Answer::Hello { version: 1 },
            Answer::Statement { statement: vec![1] },
            Answer::Opened { next: 1, left: 2, packages: 3 },
            Answer::Receipt { receipt: vec![2; 300] },
            Answer::Entries { entries: vec![Entry { index: 1, bytes: vec![3; 1024] }], next: 1, end: true },
            Answer::Ids { ids: vec![Numbered { index: 4, id: EntryId([4; 32]) }], next: 4, end: false },
            Answer::Done {},
            Answer::Packages { left: 9 },
            Answer::Package { record: vec![5] },
            Answer::ChunkStored { stored_until_ms: 6 },
            Answer::Chunk { total: 7, bytes: vec![7] },
        ];
        let mut frames: Vec<_> =
            answers.into_iter().map(|answer| ServerFrame::Answer { number: 8, answer }).collect();
        frames.push(ServerFrame::Hello { lowest: 1, highest: 2, nonce: [3; 32], statement: vec![4] });
        frames.push(ServerFrame::Refused {
            number: 1,
            refusal: Refusal::of(Code::Other(900)).limit(5).retry_ms(6),
        });
        for push in [
            Push::Entry { topic, index: 1, bytes: vec![1] },
            Push::PackagesLow { inbox: topic, left: 8 },
            Push::Evicted { notice: vec![1] },
        ] {
            frames.push(ServerFrame::Push { push });
        }
        for frame in frames {
            assert_eq!(ServerFrame::from_bytes(&frame.to_bytes()).unwrap(), frame);
        }
    }

    #[test]
    fn a_full_answer_fits_into_a_frame() {
        let entry = limits::ENTRY_BUCKETS[0];
        let entries: Vec<_> = (0..ANSWER_BYTES_MAX / entry)
            .map(|i| Entry { index: u64::MAX - i as u64, bytes: vec![0; entry] })
            .collect();
        let answer = Answer::Entries { entries, next: u64::MAX, end: false };
        assert!(ServerFrame::Answer { number: u64::MAX, answer }.to_bytes().len() <= limits::FRAME_BYTES_MAX);
        let ids = vec![Numbered { index: u64::MAX, id: EntryId([0; 32]) }; IDS_MAX];
        let answer = Answer::Ids { ids, next: u64::MAX, end: false };
        assert!(ServerFrame::Answer { number: u64::MAX, answer }.to_bytes().len() <= limits::FRAME_BYTES_MAX);
        let call = Call::PutPackages {
            inbox: TopicId([0; 32]),
            records: vec![Bytes(vec![0; PACKAGE_RECORD_BYTES_MAX]); PACKAGES_PER_CALL_MAX],
            last_resort: Some(Bytes(vec![0; PACKAGE_RECORD_BYTES_MAX])),
        };
        assert!(ClientFrame { number: u64::MAX, call }.to_bytes().len() <= limits::FRAME_BYTES_MAX);
    }

    #[test]
    fn versions_meet_or_do_not() {
        assert_eq!(common_version((1, 3)), Some(1));
        assert_eq!(common_version((2, 3)), None);
        assert_eq!(common_version((0, 0)), None);
    }

    #[test]
    fn work_is_bound_to_relay_and_entry() {
        let (relay, id) = (RelayId([1; 32]), EntryId([2; 32]));
        let work = find_work(&relay, &id, 12).unwrap();
        assert!(work_holds(&relay, &id, work, 12));
        assert!(!work_holds(&relay, &id, work, 255));
        assert!(find_work(&relay, &id, WORK_BITS_MAX + 1).is_err());
    }

    #[test]
    fn the_secret_never_prints() {
        let keys = TopicKeys::derive(&Secret::new([0xab; 32]), Mode::Group);
        assert!(!format!("{keys:?}").contains("171"));
    }
}
