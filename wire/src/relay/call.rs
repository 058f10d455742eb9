//! What a client asks of a relay: the calls, and how they are made.

use minicbor::{Decode, Encode};

use super::work::find_work;
#[cfg(doc)]
use super::{
    Answer, CREDIT_MAX, IDS_MAX, PackageRecord, WATCH_TOPICS_MAX, WORK_BITS_MAX, credit_cost, work_holds,
};
use super::{Bytes, VERSIONS};
use crate::cbor::WireError;
use crate::ids::{BlobId, EntryId, RelayId, TopicId};
use crate::topic::{DeliveryToken, Descriptor, LinkContext, Right, TopicKeys};

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
        /// A number for which [`work_holds`] with the entry's id.
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
    /// Asks for short-lived credentials of the relay's TURN server.
    /// [`Answer::Turn`].
    #[n(16)]
    Turn {},
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

/// The number of a client's frame whose call may be unreadable.
#[must_use]
pub fn frame_number(bytes: &[u8]) -> u64 {
    let mut d = minicbor::Decoder::new(bytes);
    d.array().and_then(|_| d.u64()).unwrap_or(0)
}
