//! Blobs: what is larger than a relay entry, sealed in chunks.
//!
//! Owns the chunk seal of docs/protocol.md: a random key per file, nonce =
//! 15 zeros ‖ last ‖ index, associated data over the number of chunks, so
//! that chunks can be neither swapped, cut off nor added. The name of a chunk
//! is the hash of its ciphertext; never convergent, because keys are random.
//! [`tree`] is the order of a file's chunks and of the lists that name them.

pub mod tree;

use crate::cbor::WireError;
use crate::crypto::{self, Secret};
use crate::ids::BlobId;
use crate::{labels, limits};

/// Tag of a sealed chunk, in bytes.
pub const TAG_BYTES: usize = 16;
/// Bytes of a sealed chunk at most.
pub const SEALED_BYTES_MAX: usize = limits::BLOB_CHUNK_BYTES + TAG_BYTES;
/// Chunks of one blob: 64 GiB.
pub const CHUNKS_MAX: u64 = 256 << 10;

/// How a blob of `size` bytes is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    size: u64,
    chunks: u64,
}

impl Layout {
    /// The layout of a blob. Empty blobs have one chunk of padding.
    pub fn of(size: u64) -> Result<Self, WireError> {
        let chunks = size.div_ceil(limits::BLOB_CHUNK_BYTES as u64).max(1);
        if chunks > CHUNKS_MAX {
            return Err(WireError::TooLarge("the file"));
        }
        Ok(Self { size, chunks })
    }
    /// Bytes of the plaintext.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }
    /// Number of chunks, at least 1.
    #[must_use]
    pub fn chunks(&self) -> u64 {
        self.chunks
    }
    /// Where a chunk's plaintext starts.
    #[must_use]
    pub fn offset(&self, index: u64) -> u64 {
        index.saturating_mul(limits::BLOB_CHUNK_BYTES as u64)
    }
    /// Bytes of plaintext in a chunk, padding not counted.
    #[must_use]
    pub fn plain_len(&self, index: u64) -> usize {
        let rest = self.size.saturating_sub(self.offset(index));
        usize::try_from(rest).unwrap_or(usize::MAX).min(limits::BLOB_CHUNK_BYTES)
    }
    /// Bytes of a sealed chunk.
    #[must_use]
    pub fn sealed_len(&self, index: u64) -> usize {
        padded(self.plain_len(index), self.is_last(index)) + TAG_BYTES
    }
    fn is_last(&self, index: u64) -> bool {
        // There is at least one chunk.
        index == self.chunks - 1
    }
    fn nonce(&self, index: u64) -> [u8; 24] {
        let mut nonce = [0; 24];
        nonce[15] = u8::from(self.is_last(index));
        nonce[16..].copy_from_slice(&index.to_be_bytes());
        nonce
    }
    fn ad(&self) -> Vec<u8> {
        [labels::AD_BLOB.as_bytes(), &[0], &self.chunks.to_be_bytes()].concat()
    }
}

/// Chunks are left open: a search for what must be sealed has to find it.
#[cfg(feature = "test-unsealed")]
pub static UNSEALED: core::sync::atomic::AtomicBool = core::sync::atomic::AtomicBool::new(false);

fn unsealed() -> bool {
    #[cfg(feature = "test-unsealed")]
    return UNSEALED.load(core::sync::atomic::Ordering::Relaxed);
    #[cfg(not(feature = "test-unsealed"))]
    false
}

/// The last chunk is padded to a bucket, so that a file's size shows roughly.
fn padded(len: usize, last: bool) -> usize {
    if !last {
        return limits::BLOB_CHUNK_BYTES;
    }
    limits::ENTRY_BUCKETS.into_iter().find(|bucket| *bucket >= len).unwrap_or(limits::BLOB_CHUNK_BYTES)
}

/// Seals chunk `index`, whose plaintext has exactly its length by `layout`.
/// The key belongs to one blob only.
pub fn seal(key: &Secret, layout: Layout, index: u64, plain: &[u8]) -> Result<(BlobId, Vec<u8>), WireError> {
    if index >= layout.chunks || plain.len() != layout.plain_len(index) {
        return Err(WireError::Invalid("a chunk of the file has the wrong length"));
    }
    let mut plaintext = plain.to_vec();
    plaintext.resize(padded(plain.len(), layout.is_last(index)), 0);
    let sealed = if unsealed() {
        [plaintext, vec![0; TAG_BYTES]].concat()
    } else {
        crypto::seal(key, &layout.nonce(index), &layout.ad(), &plaintext)
    };
    Ok((BlobId::of(&sealed), sealed))
}

/// Opens a sealed chunk that has the name `id`.
pub fn open(
    key: &Secret,
    layout: Layout,
    index: u64,
    id: &BlobId,
    sealed: &[u8],
) -> Result<Vec<u8>, WireError> {
    if index >= layout.chunks || sealed.len() != layout.sealed_len(index) {
        return Err(WireError::Invalid("a chunk of the file has the wrong length"));
    }
    if BlobId::of(sealed) != *id {
        return Err(WireError::Invalid("a chunk of the file is another one"));
    }
    let mut plaintext = if unsealed() {
        sealed.get(..sealed.len() - TAG_BYTES).unwrap_or_default().to_vec()
    } else {
        crypto::open(key, &layout.nonce(index), &layout.ad(), sealed)?
    };
    let len = layout.plain_len(index);
    if plaintext.get(len..).is_none_or(|pad| pad.iter().any(|b| *b != 0)) {
        return Err(WireError::Invalid("a chunk of the file is padded wrongly"));
    }
    plaintext.truncate(len);
    Ok(plaintext)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: u64 = limits::BLOB_CHUNK_BYTES as u64;

    #[test]
    fn every_size_around_the_edges_round_trips() {
        let key = Secret::new([1; 32]);
        for size in [0, 1, 1024, 1025, 131_072, 131_073, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 5] {
            let layout = Layout::of(size).unwrap();
            for index in 0..layout.chunks() {
                let plain = vec![7; layout.plain_len(index)];
                let (id, sealed) = seal(&key, layout, index, &plain).unwrap();
                assert_eq!(sealed.len(), layout.sealed_len(index));
                assert_eq!(open(&key, layout, index, &id, &sealed).unwrap(), plain);
            }
        }
        assert_eq!(Layout::of(1).unwrap().sealed_len(u64::MAX), limits::BLOB_CHUNK_BYTES + TAG_BYTES);
        assert!(Layout::of(CHUNKS_MAX * CHUNK + 1).is_err());
        assert!(Layout::of(u64::MAX).is_err());
    }

    #[test]
    fn chunks_cannot_be_swapped_cut_off_or_bent() {
        let key = Secret::new([1; 32]);
        let layout = Layout::of(3 * CHUNK).unwrap();
        let plain = vec![7; limits::BLOB_CHUNK_BYTES];
        let (id, sealed) = seal(&key, layout, 0, &plain).unwrap();
        assert_eq!(open(&key, layout, 1, &id, &sealed), Err(WireError::Seal));
        assert_eq!(open(&key, Layout::of(2 * CHUNK).unwrap(), 0, &id, &sealed), Err(WireError::Seal));
        assert_eq!(open(&Secret::new([2; 32]), layout, 0, &id, &sealed), Err(WireError::Seal));
        let mut bent = sealed.clone();
        bent[9] ^= 1;
        assert!(open(&key, layout, 0, &id, &bent).is_err());
        assert!(open(&key, layout, 0, &id, &sealed[1..]).is_err());
        assert!(open(&key, layout, 9, &id, &sealed).is_err());
        assert!(seal(&key, layout, 0, &plain[1..]).is_err());
    }
}
