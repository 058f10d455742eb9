//! What a relay says: its greeting, answers, refusals and pushes.

use minicbor::{Decode, Encode};

use super::Refusal;
#[cfg(doc)]
use super::{Evicted, PackageRecord, Receipt, Statement};
use crate::ids::{EntryId, TopicId};

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
    /// Where calls are relayed, and the right to it for a while.
    #[n(11)]
    Turn {
        /// Credentials and addresses.
        #[n(0)]
        turn: Turn,
    },
}

/// A TURN server and the right to use it for a while, as a browser's
/// `RTCIceServer` wants it. Bounded by what [`Turn::is_sound`] checks.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Turn {
    /// `stun:HOST:PORT`, `turn:HOST:PORT?transport=udp` and the like.
    #[n(0)]
    pub urls: Vec<String>,
    /// `<end, Unix seconds>:<random>`.
    #[n(1)]
    pub username: String,
    /// Base64 of HMAC-SHA1 over the user name under the server's secret.
    #[n(2)]
    pub credential: String,
    /// How long new allocations are granted, seconds from now.
    #[n(3)]
    pub valid_s: u64,
}

impl Turn {
    /// Addresses in one answer.
    pub const URLS_MAX: usize = 8;
    /// Bytes of each text.
    pub const TEXT_BYTES_MAX: usize = 300;

    /// Whether a node may pass this on to a browser: few addresses, all of
    /// TURN or STUN servers, nothing but plain characters.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let plain = |t: &str| t.len() <= Self::TEXT_BYTES_MAX && t.bytes().all(|b| b.is_ascii_graphic());
        let url =
            |u: &String| ["stun:", "turn:", "turns:"].iter().any(|scheme| u.starts_with(scheme)) && plain(u);
        !self.urls.is_empty()
            && self.urls.len() <= Self::URLS_MAX
            && self.urls.iter().all(url)
            && plain(&self.username)
            && plain(&self.credential)
            && self.valid_s > 0
    }
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
