//! `/kith/blob/1`: what two nodes say to each other on a stream that carries
//! one file, from the node that has chunks to the node that wants them.
//!
//! A frame is a canonical CBOR array `[kind, …]`. The opener says which file
//! by its root, asks for chunks by their place, and may ask for many before
//! the first one comes; answers come in the order of the asking, except that
//! those taken back are left out. Nothing said here is trusted: a chunk is
//! checked against the name that the file's lists give it.

use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::blob::tree::Spot;
use crate::blob::{CHUNKS_MAX, SEALED_BYTES_MAX};
use crate::cbor::{self, WireError};
use crate::ids::BlobId;

/// Bytes of a frame at most: a chunk and its heads.
pub const FRAME_BYTES_MAX: usize = SEALED_BYTES_MAX + 64;
/// Bytes of a frame that asks.
pub const ASK_BYTES_MAX: usize = 128;
/// Chunks that may be asked for and not yet answered.
pub const WINDOW_MAX: usize = 96;
/// Bytes of a [`Answer::Holds`]: one bit for each chunk of the file.
pub const HOLDS_BYTES_MAX: usize = (CHUNKS_MAX / 8) as usize;

/// From the node that wants chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// "I want this file": first on the stream; again to hear what the other
    /// side has by now. [`Answer::Holds`] or [`Answer::No`].
    Want {
        /// The file's root.
        root: BlobId,
    },
    /// One chunk. [`Answer::Chunk`] or [`Answer::Lack`].
    Get {
        /// Its place.
        spot: Spot,
    },
    /// "I have all of it." No answer; the stream ends.
    Done,
}

/// From the node that has chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// What is here of the file itself.
    Holds {
        /// A bit for each chunk, lowest bit first; empty = all of them.
        chunks: Vec<u8>,
    },
    /// The file is not here, or not for the one who asks: the same answer.
    No,
    /// A chunk.
    Chunk {
        /// Its place.
        spot: Spot,
        /// The sealed bytes.
        bytes: Vec<u8>,
    },
    /// This chunk is not here.
    Lack {
        /// Its place.
        spot: Spot,
    },
}

impl<C> Encode<C> for Ask {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        c: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        match self {
            Self::Want { root } => e.array(2)?.u8(0)?.encode_with(root, c)?.ok(),
            Self::Get { spot } => e.array(2)?.u8(1)?.encode_with(spot, c)?.ok(),
            Self::Done => e.array(1)?.u8(2)?.ok(),
        }
    }
}

fn counted<T>(frame: (T, u64), len: u64) -> Result<T, minicbor::decode::Error> {
    if frame.1 == len { Ok(frame.0) } else { Err(minicbor::decode::Error::message("wrong number of fields")) }
}

impl<'b, C> Decode<'b, C> for Ask {
    fn decode(d: &mut Decoder<'b>, c: &mut C) -> Result<Self, minicbor::decode::Error> {
        let len = d.array()?.unwrap_or(0);
        let frame = match d.u8()? {
            0 => (Self::Want { root: d.decode_with(c)? }, 2),
            1 => (Self::Get { spot: d.decode_with(c)? }, 2),
            2 => (Self::Done, 1),
            _ => return Err(minicbor::decode::Error::message("unknown kind of frame")),
        };
        counted(frame, len)
    }
}

impl<C> Encode<C> for Answer {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        c: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        match self {
            Self::Holds { chunks } => e.array(2)?.u8(0)?.bytes(chunks)?.ok(),
            Self::No => e.array(1)?.u8(1)?.ok(),
            Self::Chunk { spot, bytes } => e.array(3)?.u8(2)?.encode_with(spot, c)?.bytes(bytes)?.ok(),
            Self::Lack { spot } => e.array(2)?.u8(3)?.encode_with(spot, c)?.ok(),
        }
    }
}

impl<'b, C> Decode<'b, C> for Answer {
    fn decode(d: &mut Decoder<'b>, c: &mut C) -> Result<Self, minicbor::decode::Error> {
        let len = d.array()?.unwrap_or(0);
        let frame = match d.u8()? {
            0 => (Self::Holds { chunks: d.bytes()?.to_vec() }, 2),
            1 => (Self::No, 1),
            2 => (Self::Chunk { spot: d.decode_with(c)?, bytes: d.bytes()?.to_vec() }, 3),
            3 => (Self::Lack { spot: d.decode_with(c)? }, 2),
            _ => return Err(minicbor::decode::Error::message("unknown kind of frame")),
        };
        counted(frame, len)
    }
}

impl Ask {
    /// The frame's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }
    /// Parses one frame, which must be canonical and fill the bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        cbor::decode(bytes, &[])
    }
}

impl Answer {
    /// The frame's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }
    /// Parses one frame, which must be canonical and fill the bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let answer: Self = cbor::decode(bytes, &[])?;
        match &answer {
            Self::Holds { chunks } if chunks.len() > HOLDS_BYTES_MAX => Err(WireError::TooLarge("the frame")),
            Self::Chunk { bytes, .. } if bytes.len() > SEALED_BYTES_MAX => {
                Err(WireError::TooLarge("the chunk"))
            }
            _ => Ok(answer),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spots() -> impl Strategy<Value = Spot> {
        (any::<u8>(), any::<u64>()).prop_map(|(level, index)| Spot { level, index })
    }

    proptest! {
        #[test]
        fn frames_round_trip(root in any::<[u8; 32]>(), spot in spots(), bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for ask in [Ask::Want { root: BlobId(root) }, Ask::Get { spot }, Ask::Done] {
                prop_assert!(ask.to_bytes().len() <= ASK_BYTES_MAX);
                prop_assert_eq!(Ask::from_bytes(&ask.to_bytes()).unwrap(), ask);
            }
            for answer in [
                Answer::Holds { chunks: bytes.clone() },
                Answer::No,
                Answer::Chunk { spot, bytes },
                Answer::Lack { spot },
            ] {
                prop_assert!(serde_cbor::from_slice::<serde_cbor::Value>(&answer.to_bytes()).is_ok());
                prop_assert_eq!(Answer::from_bytes(&answer.to_bytes()).unwrap(), answer);
            }
        }

        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = (Ask::from_bytes(&bytes), Answer::from_bytes(&bytes));
        }
    }

    #[test]
    fn the_largest_frames_fit_and_larger_ones_are_refused() {
        let spot = Spot { level: u8::MAX, index: u64::MAX };
        let chunk = Answer::Chunk { spot, bytes: vec![0; SEALED_BYTES_MAX] };
        assert!(chunk.to_bytes().len() <= FRAME_BYTES_MAX);
        let more = Answer::Chunk { spot, bytes: vec![0; SEALED_BYTES_MAX + 1] };
        assert!(Answer::from_bytes(&more.to_bytes()).is_err());
        let holds = Answer::Holds { chunks: vec![0; HOLDS_BYTES_MAX + 1] };
        assert!(Answer::from_bytes(&holds.to_bytes()).is_err());
        assert!(Answer::Holds { chunks: vec![0; HOLDS_BYTES_MAX] }.to_bytes().len() <= FRAME_BYTES_MAX);
    }
}
