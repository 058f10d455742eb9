//! A file's chunks and the lists that name them, as one tree of sealed chunks.
//!
//! Level 0 is the file. The ids of a level's chunks, one after the other, are
//! the plaintext of the level above, sealed in the same way under a key of
//! its own; the level that has one chunk is the top, and that chunk's id is
//! the file's root. So whoever holds root, key and size can verify each chunk
//! by itself, and the lists travel, rest and pad like any other chunk. A list
//! names 8,192 chunks: 2 GiB of file.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use super::{Layout, open, seal};
use crate::cbor::WireError;
use crate::crypto::{self, Secret};
use crate::ids::{BlobId, FileId, hash};
use crate::{labels, limits};

/// Ids in one list.
pub const LIST_IDS: u64 = (limits::BLOB_CHUNK_BYTES / ID_BYTES) as u64;
const ID_BYTES: usize = 32;

/// The place of one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(array)]
pub struct Spot {
    /// 0 = the file itself, above it lists.
    #[n(0)]
    pub level: u8,
    /// Place within the level.
    #[n(1)]
    pub index: u64,
}

impl Spot {
    /// A chunk of the file itself.
    #[must_use]
    pub fn data(index: u64) -> Self {
        Self { level: 0, index }
    }
    /// The list that names it.
    #[must_use]
    pub fn parent(self) -> Self {
        Self { level: self.level.saturating_add(1), index: self.index / LIST_IDS }
    }
}

/// The shape of a file's tree: follows from its size alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// From the file up to the level of one chunk; never empty.
    levels: Vec<Layout>,
}

impl Tree {
    /// The tree of a file of `size` bytes.
    pub fn of(size: u64) -> Result<Self, WireError> {
        let mut levels = vec![Layout::of(size)?];
        while let Some(below) = levels.last().map(Layout::chunks).filter(|chunks| *chunks > 1) {
            levels.push(Layout::of(below * ID_BYTES as u64)?);
        }
        Ok(Self { levels })
    }
    /// The level that has one chunk.
    #[must_use]
    pub fn top(&self) -> Spot {
        let level = u8::try_from(self.levels.len().saturating_sub(1)).unwrap_or(u8::MAX);
        Spot { level, index: 0 }
    }
    /// How a level is cut.
    #[must_use]
    pub fn layout(&self, level: u8) -> Option<Layout> {
        self.levels.get(usize::from(level)).copied()
    }
    /// Whether the tree has this chunk.
    #[must_use]
    pub fn contains(&self, spot: Spot) -> bool {
        self.layout(spot.level).is_some_and(|layout| spot.index < layout.chunks())
    }
    /// Chunks of the file itself.
    #[must_use]
    pub fn data_chunks(&self) -> u64 {
        self.layout(0).map_or(0, |layout| layout.chunks())
    }
    /// Bytes of the file.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.layout(0).map_or(0, |layout| layout.size())
    }
    /// Chunks of all levels.
    #[must_use]
    pub fn chunks(&self) -> u64 {
        self.levels.iter().map(Layout::chunks).sum()
    }
    /// Bytes of a sealed chunk; 0 if the tree has none there.
    #[must_use]
    pub fn sealed_len(&self, spot: Spot) -> usize {
        self.layout(spot.level)
            .filter(|_| self.contains(spot))
            .map_or(0, |layout| layout.sealed_len(spot.index))
    }
    /// Bytes of all sealed chunks: what the file takes at a relay or on disk.
    #[must_use]
    pub fn sealed_bytes(&self) -> u64 {
        self.levels
            .iter()
            .map(|layout| {
                let full = (limits::BLOB_CHUNK_BYTES + super::TAG_BYTES) as u64;
                (layout.chunks() - 1) * full + layout.sealed_len(layout.chunks() - 1) as u64
            })
            .sum()
    }
    /// A chunk's number, counted from the top list down to the file's last
    /// chunk: in this order each is named by one before it.
    #[must_use]
    pub fn number(&self, spot: Spot) -> Option<u64> {
        if !self.contains(spot) {
            return None;
        }
        let above = self.levels.iter().skip(usize::from(spot.level) + 1).map(Layout::chunks).sum::<u64>();
        Some(above + spot.index)
    }
    /// The chunk with this number.
    #[must_use]
    pub fn spot(&self, mut number: u64) -> Option<Spot> {
        for (level, layout) in self.levels.iter().enumerate().rev() {
            if number < layout.chunks() {
                return Some(Spot { level: u8::try_from(level).ok()?, index: number });
            }
            number -= layout.chunks();
        }
        None
    }
}

/// What a message says of a file, and all that it takes to fetch and read it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Blob {
    /// Random, for this file only.
    #[n(0)]
    pub key: Secret,
    /// Id of the top chunk.
    #[n(1)]
    pub root: BlobId,
    /// Bytes of the file.
    #[n(2)]
    pub size: u64,
}

impl Blob {
    /// Its tree; `Err` for a size that no file has here.
    pub fn tree(&self) -> Result<Tree, WireError> {
        Tree::of(self.size)
    }
    /// How this node names it: two messages name the same file only if they
    /// agree on all of it.
    #[must_use]
    pub fn id(&self) -> FileId {
        FileId(hash(labels::ID_FILE, &[self.key.expose(), &self.root.0, &self.size.to_be_bytes()]))
    }
    /// The name of its folder on disk: says nothing without the key.
    #[must_use]
    pub fn folder(&self) -> [u8; 16] {
        let mut name = [0; 16];
        crypto::derive_into(&self.key, labels::BLOB_FOLDER, &self.root.0, &mut name);
        name
    }
}

fn level_key(key: &Secret, level: u8) -> Secret {
    if level == 0 { key.clone() } else { crypto::derive(key, labels::BLOB_LIST, &[level]) }
}

const NO_SUCH_CHUNK: WireError = WireError::Invalid("the file has no such chunk");

/// Opens the chunk at `spot`, which must have the name `id`.
pub fn open_at(
    key: &Secret,
    tree: &Tree,
    spot: Spot,
    id: &BlobId,
    sealed: &[u8],
) -> Result<Vec<u8>, WireError> {
    let layout = tree.layout(spot.level).ok_or(NO_SUCH_CHUNK)?;
    open(&level_key(key, spot.level), layout, spot.index, id, sealed)
}

/// One sealed chunk on its way to wherever chunks are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedChunk {
    /// Its place.
    pub spot: Spot,
    /// Its name.
    pub id: BlobId,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Seals a file from its first chunk to its last; holds the chunks' names
/// (32 bytes each) and nothing else of it.
#[derive(Debug)]
pub struct Sealer {
    key: Secret,
    tree: Tree,
    ids: Vec<u8>,
    next: u64,
}

impl Sealer {
    /// For a file of `size` bytes under a fresh random key.
    pub fn new(key: Secret, size: u64) -> Result<Self, WireError> {
        Ok(Self { key, tree: Tree::of(size)?, ids: Vec::new(), next: 0 })
    }
    /// The file's tree.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }
    /// Bytes that the next chunk takes; `None` after the last.
    #[must_use]
    pub fn wanted(&self) -> Option<usize> {
        let layout = self.tree.layout(0)?;
        (self.next < layout.chunks()).then(|| layout.plain_len(self.next))
    }
    /// Seals the next chunk: exactly as many bytes as [`Sealer::wanted`] says.
    pub fn chunk(&mut self, plain: &[u8]) -> Result<SealedChunk, WireError> {
        let layout = self.tree.layout(0).ok_or(NO_SUCH_CHUNK)?;
        let (id, bytes) = seal(&self.key, layout, self.next, plain)?;
        let spot = Spot::data(self.next);
        self.ids.extend_from_slice(&id.0);
        self.next += 1;
        Ok(SealedChunk { spot, id, bytes })
    }
    /// After the last chunk: the file as a message names it, and its lists.
    pub fn finish(self) -> Result<(Blob, Vec<SealedChunk>), WireError> {
        if self.wanted().is_some() {
            return Err(WireError::Invalid("the file is shorter than it was said to be"));
        }
        let mut lists = Vec::new();
        let mut ids = self.ids;
        for level in 1..=self.tree.top().level {
            let layout = self.tree.layout(level).ok_or(NO_SUCH_CHUNK)?;
            let key = level_key(&self.key, level);
            let mut above = Vec::new();
            for (index, plain) in (0..).zip(ids.chunks(limits::BLOB_CHUNK_BYTES)) {
                let (id, bytes) = seal(&key, layout, index, plain)?;
                above.extend_from_slice(&id.0);
                lists.push(SealedChunk { spot: Spot { level, index }, id, bytes });
            }
            ids = above;
        }
        let root = BlobId::from_slice(&ids).ok_or(NO_SUCH_CHUNK)?;
        Ok((Blob { key: self.key, root, size: self.tree.size() }, lists))
    }
}

/// The names of a file's chunks, as far as its lists have been read.
#[derive(Debug, Clone)]
pub struct Index {
    blob: Blob,
    tree: Tree,
    /// The ids of each list that was read, 32 bytes each.
    lists: BTreeMap<Spot, Vec<u8>>,
}

impl Index {
    /// Knows the root only.
    pub fn new(blob: Blob) -> Result<Self, WireError> {
        Ok(Self { tree: blob.tree()?, blob, lists: BTreeMap::new() })
    }
    /// The file.
    #[must_use]
    pub fn blob(&self) -> &Blob {
        &self.blob
    }
    /// Its tree.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }
    /// A chunk's name, if the list that names it was read.
    #[must_use]
    pub fn name(&self, spot: Spot) -> Option<BlobId> {
        if !self.tree.contains(spot) {
            return None;
        }
        if spot == self.tree.top() {
            return Some(self.blob.root);
        }
        let list = self.lists.get(&spot.parent())?;
        let at = usize::try_from(spot.index % LIST_IDS).ok()? * ID_BYTES;
        list.get(at..at + ID_BYTES).and_then(BlobId::from_slice)
    }
    /// Whether these bytes are the chunk at `spot`: its hash is compared, and
    /// a list is read. `Ok(false)`: the list that names it was not read yet.
    pub fn take(&mut self, spot: Spot, sealed: &[u8]) -> Result<bool, WireError> {
        let Some(id) = self.name(spot) else {
            return if self.tree.contains(spot) { Ok(false) } else { Err(NO_SUCH_CHUNK) };
        };
        if spot.level == 0 {
            if sealed.len() != self.tree.sealed_len(spot) || BlobId::of(sealed) != id {
                return Err(WireError::Invalid("a chunk of the file is another one"));
            }
        } else {
            let ids = open_at(&self.blob.key, &self.tree, spot, &id, sealed)?;
            self.lists.insert(spot, ids);
        }
        Ok(true)
    }
    /// Opens a chunk of the file. `Ok(None)`: its name is not known yet.
    pub fn open(&self, index: u64, sealed: &[u8]) -> Result<Option<Vec<u8>>, WireError> {
        let spot = Spot::data(index);
        let Some(id) = self.name(spot) else { return Ok(None) };
        open_at(&self.blob.key, &self.tree, spot, &id, sealed).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CHUNK: u64 = limits::BLOB_CHUNK_BYTES as u64;

    fn content(size: u64) -> Vec<u8> {
        (0..size).map(|i| (i % 251) as u8 ^ (i / 251 % 256) as u8).collect()
    }

    fn sealed(key: u8, plain: &[u8]) -> (Blob, BTreeMap<Spot, SealedChunk>) {
        let mut sealer = Sealer::new(Secret::new([key; 32]), plain.len() as u64).unwrap();
        let mut chunks = BTreeMap::new();
        let mut rest = plain;
        while let Some(wanted) = sealer.wanted() {
            let (now, later) = rest.split_at(wanted);
            let chunk = sealer.chunk(now).unwrap();
            chunks.insert(chunk.spot, chunk);
            rest = later;
        }
        let (blob, lists) = sealer.finish().unwrap();
        chunks.extend(lists.into_iter().map(|list| (list.spot, list)));
        (blob, chunks)
    }

    #[test]
    fn the_shape_follows_from_the_size() {
        for (size, levels) in [
            (0, vec![1]),
            (1, vec![1]),
            (CHUNK, vec![1]),
            (CHUNK + 1, vec![2, 1]),
            (2 << 30, vec![8192, 1]),
            ((2 << 30) + 1, vec![8193, 2, 1]),
            (10 << 30, vec![40_960, 5, 1]),
            (64 << 30, vec![262_144, 32, 1]),
        ] {
            let tree = Tree::of(size).unwrap();
            let found: Vec<u64> = tree.levels.iter().map(Layout::chunks).collect();
            assert_eq!(found, levels, "{size}");
            assert_eq!(usize::from(tree.top().level), levels.len() - 1);
            assert_eq!(tree.chunks(), levels.iter().sum::<u64>());
            for number in [0, 1, tree.chunks() / 2, tree.chunks() - 1] {
                if let Some(spot) = tree.spot(number) {
                    assert_eq!(tree.number(spot), Some(number));
                }
            }
            assert_eq!(tree.spot(0), Some(tree.top()));
            assert_eq!(tree.spot(tree.chunks()), None);
        }
        assert!(Tree::of((64 << 30) + 1).is_err());
        assert!(Tree::of(u64::MAX).is_err());
    }

    /// The bytes of a file never change shape: a key, a size and a content
    /// always make this root.
    #[test]
    fn golden_roots() {
        for (size, root) in GOLDEN {
            let (blob, chunks) = sealed(7, &content(*size));
            assert_eq!(blob.root.hex(), *root, "{size}");
            let total: u64 = chunks.values().map(|c| c.bytes.len() as u64).sum();
            assert_eq!(blob.tree().unwrap().sealed_bytes(), total);
        }
    }

    const GOLDEN: &[(u64, &str)] = &[
        (0, "1d0a742a52e7f41688a1a20f29f42818277178fb840f79f42970130054d47b05"),
        (5_000, "bd3e0f9edf915b8a15ebd6857aeb5731487218d33d08dc36e7bb3a2a844fd67f"),
        (CHUNK, "113bffb9ff3f4e09b74d03d179223d3a85de7c30bae57edbfbb599b528551c83"),
        (3 * CHUNK + 17, "768d3aa1721043b9241d2768de1e0099a37c21f472c295d3ebfd8184ca7713cd"),
    ];

    #[test]
    fn what_is_not_the_file_is_found_out() {
        let (blob, chunks) = sealed(1, &content(2 * CHUNK + 9));
        let mut index = Index::new(blob.clone()).unwrap();
        let top = index.tree().top();
        // Nothing is named before its list was read.
        assert_eq!(index.take(Spot::data(0), &chunks[&Spot::data(0)].bytes), Ok(false));
        assert_eq!(index.open(0, &chunks[&Spot::data(0)].bytes), Ok(None));
        let mut bent = chunks[&top].bytes.clone();
        bent[3] ^= 1;
        assert!(index.take(top, &bent).is_err());
        assert_eq!(index.take(top, &chunks[&top].bytes), Ok(true));
        assert!(index.take(Spot::data(1), &chunks[&Spot::data(0)].bytes).is_err());
        assert!(index.take(Spot::data(0), &chunks[&Spot::data(0)].bytes[1..]).is_err());
        assert!(index.take(Spot::data(3), &[]).is_err());
        assert!(index.take(Spot { level: 9, index: 0 }, &[]).is_err());
        // Chunks say how many there are, and a file that is cut short shows
        // in its padding.
        let mut longer = Index::new(Blob { size: blob.size + CHUNK, ..blob.clone() }).unwrap();
        assert_eq!(longer.take(top, &chunks[&top].bytes), Ok(true));
        assert!(longer.open(0, &chunks[&Spot::data(0)].bytes).is_err());
        let mut shorter = Index::new(Blob { size: blob.size - 1, ..blob.clone() }).unwrap();
        assert_eq!(shorter.take(top, &chunks[&top].bytes), Ok(true));
        assert!(shorter.open(2, &chunks[&Spot::data(2)].bytes).is_err());
        // A root that a message lies about is never met.
        let mut wrong = Index::new(Blob { root: BlobId([9; 32]), ..blob }).unwrap();
        assert!(wrong.take(top, &chunks[&top].bytes).is_err());
    }

    #[test]
    fn a_file_that_ends_early_or_late_is_refused() {
        let mut sealer = Sealer::new(Secret::new([1; 32]), CHUNK + 5).unwrap();
        assert!(sealer.chunk(&[0; 5]).is_err());
        sealer.chunk(&vec![0; limits::BLOB_CHUNK_BYTES]).unwrap();
        assert_eq!(sealer.wanted(), Some(5));
        assert!(sealer.chunk(&[0; 6]).is_err());
        assert!(sealer.finish().is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn any_file_comes_back_in_any_order(size in 0..4 * CHUNK, seed in any::<u64>()) {
            let plain = content(size);
            let (blob, chunks) = sealed(3, &plain);
            let mut index = Index::new(blob).unwrap();
            let mut order: Vec<Spot> = chunks.keys().copied().collect();
            let middle = (seed as usize) % order.len();
            order.rotate_left(middle);
            // Lists may come late: what they name is taken on the second round.
            let mut taken = std::collections::BTreeSet::new();
            for spot in order.iter().chain(&order) {
                if index.take(*spot, &chunks[spot].bytes).unwrap() {
                    taken.insert(*spot);
                }
            }
            prop_assert_eq!(taken.len(), chunks.len());
            let mut back = Vec::new();
            for i in 0..index.tree().data_chunks() {
                back.extend(index.open(i, &chunks[&Spot::data(i)].bytes).unwrap().unwrap());
            }
            prop_assert_eq!(back, plain);
        }

        #[test]
        fn noise_is_never_a_chunk(level in 0u8..4, number in 0u64..9, bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut index = Index::new(sealed(2, &content(CHUNK + 1)).0).unwrap();
            prop_assert_ne!(index.take(Spot { level, index: number }, &bytes), Ok(true));
        }
    }
}
