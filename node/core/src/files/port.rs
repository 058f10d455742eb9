//! What passes between the state machine, which decides about files, and the
//! part of the node that moves and keeps their bytes.

use kith_wire::blob::tree::Blob;
use kith_wire::ids::{BlobId, FileId, PeerKey, RelayId, TopicId};

/// Names one question for its answer; chosen by who asks.
pub type Token = u64;

/// What is to be done, always after the commit that it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Do {
    /// Have all of this file. Again with other sources: these are the ones.
    Fetch {
        /// The file.
        id: FileId,
        /// What it takes to fetch it.
        blob: Blob,
        /// Linked devices of members that may have it.
        devices: Vec<PeerKey>,
        /// Relays that may have it.
        relays: Vec<RelayId>,
    },
    /// Stop fetching or depositing; what is here stays.
    Stop {
        /// The file.
        id: FileId,
    },
    /// Its bytes are not to be here any more.
    Remove {
        /// The file.
        id: FileId,
        /// Which.
        blob: Blob,
    },
    /// Have all of it at these relays, under these topics.
    Deposit {
        /// The file.
        id: FileId,
        /// Which.
        blob: Blob,
        /// Where.
        relays: Vec<(RelayId, TopicId)>,
    },
    /// Answers [`Heard::Asked`].
    Serve {
        /// The question.
        token: Token,
        /// The file, if it is for the one who asked.
        file: Option<(FileId, Blob)>,
    },
    /// Answers [`Heard::PutChunk`] and [`Heard::GetChunk`].
    Relayed {
        /// The question.
        token: Token,
        /// What the relay said.
        answer: Relayed,
    },
    /// Bounds of transfers, bytes per second each; 0 = none.
    Limits {
        /// To others.
        up: u64,
        /// From others.
        down: u64,
    },
}

/// What a relay said about a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relayed {
    /// It keeps it until then, Unix ms.
    Stored(u64),
    /// The chunk's bytes; not verified.
    Chunk(Vec<u8>),
    /// It does not have it.
    Missing,
    /// Its space for this is used up.
    Full(String),
    /// Not now: no connection, or too much at once.
    Later,
}

/// What was found out, or is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A peer wants a file. Answered by [`Do::Serve`].
    Asked {
        /// Names the question.
        token: Token,
        /// Its transport key.
        peer: PeerKey,
        /// The file's root.
        root: BlobId,
    },
    /// A peer has all of a file now.
    Got {
        /// Its transport key.
        peer: PeerKey,
        /// The file's root.
        root: BlobId,
    },
    /// All of a file is here, durable.
    Complete {
        /// The file.
        id: FileId,
    },
    /// A file that should be here is not, or not whole.
    Damaged {
        /// The file.
        id: FileId,
    },
    /// A file cannot be fetched now, and a person has to see to it.
    Failed {
        /// The file.
        id: FileId,
        /// Why, as a sentence.
        problem: String,
    },
    /// Somebody reads it.
    Used {
        /// The file.
        id: FileId,
    },
    /// All of a file is at a relay.
    Deposited {
        /// The file.
        id: FileId,
        /// Where.
        relay: RelayId,
        /// Until then at least, Unix ms.
        until_ms: u64,
    },
    /// A relay does not take a file.
    NotDeposited {
        /// The file.
        id: FileId,
        /// Where.
        relay: RelayId,
        /// Why, as a sentence.
        problem: String,
    },
    /// Put a chunk to a relay. Answered by [`Do::Relayed`].
    PutChunk {
        /// Names the question.
        token: Token,
        /// The relay.
        relay: RelayId,
        /// The topic whose quota it counts for.
        topic: TopicId,
        /// The chunk's name.
        chunk: BlobId,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// Get a chunk from a relay. Answered by [`Do::Relayed`].
    GetChunk {
        /// Names the question.
        token: Token,
        /// The relay.
        relay: RelayId,
        /// The chunk's name.
        chunk: BlobId,
        /// Bytes of it at most: 0 asks only whether it is there.
        len: u64,
    },
}
