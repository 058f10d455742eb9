//! The rows that the service keeps, their keys, and typed access to them.

use kith_store::{Key, Range, Read, StoreError, Table, Tx};
use kith_wire::ids::{BlobId, EntryId, TopicId};
use kith_wire::topic::Descriptor;
use minicbor::{Decode, Encode};

/// Whom bytes are charged to: a keyed hash of admission and address prefix,
/// so that the disk holds no addresses.
pub(crate) type Charge = [u8; 16];

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Topic {
    #[n(0)]
    pub descriptor: Descriptor,
    /// Who started it.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub starter: Charge,
    /// Index of the next entry.
    #[n(2)]
    pub next: u64,
    /// Bytes charged to the topic.
    #[n(3)]
    pub used: u64,
    /// Entries and chunks.
    #[n(4)]
    pub objects: u64,
    /// Key packages waiting.
    #[n(5)]
    pub packages: u64,
    /// Number of the next key package.
    #[n(6)]
    pub next_package: u64,
    /// Tokens with rows.
    #[n(7)]
    pub tokens: u64,
    /// Bytes of requests without a token.
    #[n(8)]
    pub requests: u64,
    /// When it was last opened, Unix ms, to the day.
    #[n(9)]
    pub seen_ms: u64,
}

/// An entry's record, apart from its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Meta {
    #[n(0)]
    pub id: EntryId,
    #[n(1)]
    pub until_ms: u64,
    #[n(2)]
    pub len: u64,
    #[cbor(n(3), with = "minicbor::bytes")]
    pub charge: Charge,
    /// Came without a token.
    #[n(4)]
    pub request: bool,
}

/// What one sender or the whole relay uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Usage {
    #[n(0)]
    pub bytes: u64,
    #[n(1)]
    pub topics: u64,
}

/// Uses of a delivery token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct TokenUse {
    #[n(0)]
    pub uses: u64,
    #[n(1)]
    pub packages: u64,
}

/// A key package that waits.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Package {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub record: Vec<u8>,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub charge: Charge,
}

/// A chunk's record; its bytes lie in the chunk store.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Chunk {
    #[n(0)]
    pub topic: TopicId,
    #[n(1)]
    pub len: u64,
    #[n(2)]
    pub until_ms: u64,
    #[cbor(n(3), with = "minicbor::bytes")]
    pub charge: Charge,
}

/// What ends at a time.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Expiry {
    #[n(0)]
    Entry {
        #[n(0)]
        topic: TopicId,
        #[n(1)]
        index: u64,
    },
    #[n(1)]
    Chunk {
        #[n(0)]
        id: BlobId,
    },
    #[n(2)]
    Token {
        #[n(0)]
        topic: TopicId,
        #[cbor(n(1), with = "minicbor::bytes")]
        key: [u8; 32],
    },
    #[n(3)]
    Topic {
        #[n(0)]
        topic: TopicId,
    },
}

/// Name of the rows of [`Expiry`], ordered by time.
const EXPIRY: &[u8] = b"expiry";
/// Name of the row of the whole relay's usage.
const TOTAL: &[u8] = b"total";

pub(crate) fn encode<T: Encode<()>>(row: &T) -> Vec<u8> {
    kith_wire::cbor::encode(row)
}

pub(crate) fn decode<T: for<'b> Decode<'b, ()>>(bytes: &[u8]) -> Result<T, StoreError> {
    minicbor::decode(bytes).map_err(|e| StoreError::Corrupt(format!("a row does not decode: {e}")))
}

fn get<T: for<'b> Decode<'b, ()>>(r: &dyn Read, key: Key<'_>) -> Result<Option<T>, StoreError> {
    r.get(key)?.map(|bytes| decode(&bytes)).transpose()
}

fn order(prefix: u8, rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + rest.len());
    out.push(prefix);
    out.extend_from_slice(rest);
    out
}

impl Topic {
    pub(crate) fn load(r: &dyn Read, id: &TopicId) -> Result<Option<Self>, StoreError> {
        get(r, Key::of(Table::LogTopics, &id.0))
    }
    pub(crate) fn save(&self, tx: &mut Tx<'_>, id: &TopicId) {
        tx.put(Key::of(Table::LogTopics, &id.0), encode(self));
    }
    pub(crate) fn delete(tx: &mut Tx<'_>, id: &TopicId) {
        tx.delete(Key::of(Table::LogTopics, &id.0));
    }
}

/// What a counter row counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Counter {
    /// One sender's bytes in one topic.
    Share,
    /// One sender's bytes of requests in one inbox.
    Requests,
}

impl Counter {
    fn order(self, charge: &Charge) -> Vec<u8> {
        order(if matches!(self, Self::Share) { b's' } else { b'r' }, charge)
    }
    pub(crate) fn load(self, r: &dyn Read, topic: &TopicId, charge: &Charge) -> Result<u64, StoreError> {
        Ok(get(r, Key::at(Table::LogTopics, &topic.0, &self.order(charge)))?.unwrap_or(0))
    }
    pub(crate) fn save(self, tx: &mut Tx<'_>, topic: &TopicId, charge: &Charge, bytes: u64) {
        let order = self.order(charge);
        let key = Key::at(Table::LogTopics, &topic.0, &order);
        if bytes == 0 { tx.delete(key) } else { tx.put(key, encode(&bytes)) }
    }
}

impl Usage {
    pub(crate) fn of(r: &dyn Read, charge: &Charge) -> Result<Self, StoreError> {
        Ok(get(r, Key::of(Table::LogTopics, &order(b'c', charge)))?.unwrap_or_default())
    }
    pub(crate) fn save(self, tx: &mut Tx<'_>, charge: &Charge) {
        let name = order(b'c', charge);
        let key = Key::of(Table::LogTopics, &name);
        if self == Self::default() { tx.delete(key) } else { tx.put(key, encode(&self)) }
    }
    pub(crate) fn total(r: &dyn Read) -> Result<Self, StoreError> {
        Ok(get(r, Key::of(Table::LogTopics, TOTAL))?.unwrap_or_default())
    }
    pub(crate) fn save_total(self, tx: &mut Tx<'_>) {
        tx.put(Key::of(Table::LogTopics, TOTAL), encode(&self));
    }
}

/// Rows of entries: record by index, index by id, bytes by index.
pub(crate) mod entry {
    use super::{
        EntryId, Key, Meta, Range, Read, StoreError, Table, TopicId, Tx, decode, encode, get, order,
    };

    fn index_of(order: &[u8]) -> Option<u64> {
        order.last_chunk::<8>().map(|b| u64::from_be_bytes(*b))
    }
    pub(crate) fn meta(r: &dyn Read, topic: &TopicId, index: u64) -> Result<Option<Meta>, StoreError> {
        get(r, Key::at(Table::LogIds, &topic.0, &order(b'n', &index.to_be_bytes())))
    }
    pub(crate) fn index(r: &dyn Read, topic: &TopicId, id: &EntryId) -> Result<Option<u64>, StoreError> {
        get(r, Key::at(Table::LogIds, &topic.0, &order(b'i', &id.0)))
    }
    pub(crate) fn bytes(r: &dyn Read, topic: &TopicId, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        r.get(Key::at(Table::LogEntries, &topic.0, &index.to_be_bytes()))
    }
    pub(crate) fn put(tx: &mut Tx<'_>, topic: &TopicId, index: u64, meta: &Meta, bytes: Vec<u8>) {
        tx.put(Key::at(Table::LogIds, &topic.0, &order(b'n', &index.to_be_bytes())), encode(meta));
        tx.put(Key::at(Table::LogIds, &topic.0, &order(b'i', &meta.id.0)), encode(&index));
        tx.put(Key::at(Table::LogEntries, &topic.0, &index.to_be_bytes()), bytes);
    }
    pub(crate) fn delete(tx: &mut Tx<'_>, topic: &TopicId, index: u64, id: &EntryId) {
        tx.delete(Key::at(Table::LogIds, &topic.0, &order(b'n', &index.to_be_bytes())));
        tx.delete(Key::at(Table::LogIds, &topic.0, &order(b'i', &id.0)));
        tx.delete(Key::at(Table::LogEntries, &topic.0, &index.to_be_bytes()));
    }
    /// Records behind an index, ascending.
    pub(crate) fn behind(
        r: &dyn Read,
        topic: &TopicId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Meta)>, StoreError> {
        let Some(first) = after.checked_add(1) else { return Ok(Vec::new()) };
        let rows = r.scan(Range {
            table: Table::LogIds,
            name: &topic.0,
            from: &order(b'n', &first.to_be_bytes()),
            to: Some(&[b'n' + 1]),
            reverse: false,
            limit,
        })?;
        rows.iter()
            .filter_map(|(order, value)| Some((index_of(order)?, value)))
            .map(|(index, value)| Ok((index, decode(value)?)))
            .collect()
    }
    /// Bytes of the entries from one index to another, both included.
    pub(crate) fn bodies(
        r: &dyn Read,
        topic: &TopicId,
        first: u64,
        last: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        let to = last.checked_add(1).map(u64::to_be_bytes);
        let rows = r.scan(Range {
            table: Table::LogEntries,
            name: &topic.0,
            from: &first.to_be_bytes(),
            to: to.as_ref().map(<[u8; 8]>::as_slice),
            reverse: false,
            limit,
        })?;
        Ok(rows.into_iter().filter_map(|(order, bytes)| Some((index_of(&order)?, bytes))).collect())
    }
}

/// Rows of key packages.
pub(crate) mod package {
    use super::{Key, Package, Range, Read, StoreError, Table, TopicId, Tx, decode, encode, get, order};
    use kith_wire::ids::EntryId;

    pub(crate) fn waiting(r: &dyn Read, topic: &TopicId, record: &[u8]) -> Result<bool, StoreError> {
        let id = order(b'h', &EntryId::of(record).0);
        Ok(r.get(Key::at(Table::LogPackages, &topic.0, &id))?.is_some())
    }
    pub(crate) fn put(tx: &mut Tx<'_>, topic: &TopicId, number: u64, package: &Package) {
        let id = order(b'h', &EntryId::of(&package.record).0);
        tx.put(Key::at(Table::LogPackages, &topic.0, &id), Vec::new());
        tx.put(Key::at(Table::LogPackages, &topic.0, &order(b'p', &number.to_be_bytes())), encode(package));
    }
    pub(crate) fn last_resort(r: &dyn Read, topic: &TopicId) -> Result<Option<Package>, StoreError> {
        get(r, Key::at(Table::LogPackages, &topic.0, b"l"))
    }
    pub(crate) fn put_last_resort(tx: &mut Tx<'_>, topic: &TopicId, package: &Package) {
        tx.put(Key::at(Table::LogPackages, &topic.0, b"l"), encode(package));
    }
    /// Takes out the oldest.
    pub(crate) fn take(tx: &mut Tx<'_>, topic: &TopicId) -> Result<Option<Package>, StoreError> {
        let rows = tx.scan(Range {
            table: Table::LogPackages,
            name: &topic.0,
            from: b"p",
            to: Some(b"q"),
            reverse: false,
            limit: 1,
        })?;
        let Some((place, value)) = rows.into_iter().next() else { return Ok(None) };
        let package: Package = decode(&value)?;
        tx.delete(Key::at(Table::LogPackages, &topic.0, &place));
        tx.delete(Key::at(Table::LogPackages, &topic.0, &order(b'h', &EntryId::of(&package.record).0)));
        Ok(Some(package))
    }
    pub(crate) fn delete_last_resort(tx: &mut Tx<'_>, topic: &TopicId) {
        tx.delete(Key::at(Table::LogPackages, &topic.0, b"l"));
    }
}

/// Rows of token uses.
pub(crate) mod token {
    use super::{EntryId, Key, Range, Read, StoreError, Table, TokenUse, TopicId, Tx, encode, get};

    fn name(topic: &TopicId, key: &[u8; 32]) -> Vec<u8> {
        [topic.0, *key].concat()
    }
    pub(crate) fn load(
        r: &dyn Read,
        topic: &TopicId,
        key: &[u8; 32],
    ) -> Result<Option<TokenUse>, StoreError> {
        get(r, Key::of(Table::LogTokens, &name(topic, key)))
    }
    pub(crate) fn save(tx: &mut Tx<'_>, topic: &TopicId, key: &[u8; 32], uses: TokenUse) {
        tx.put(Key::of(Table::LogTokens, &name(topic, key)), encode(&uses));
    }
    /// The record that this request was given before.
    pub(crate) fn taken(
        r: &dyn Read,
        topic: &TopicId,
        key: &[u8; 32],
        request: &EntryId,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        r.get(Key::at(Table::LogTokens, &name(topic, key), &request.0))
    }
    pub(crate) fn save_taken(
        tx: &mut Tx<'_>,
        topic: &TopicId,
        key: &[u8; 32],
        request: &EntryId,
        record: Vec<u8>,
    ) {
        tx.put(Key::at(Table::LogTokens, &name(topic, key), &request.0), record);
    }
    /// Deletes all rows of a token; at most `limit` of them are records.
    pub(crate) fn delete(
        tx: &mut Tx<'_>,
        topic: &TopicId,
        key: &[u8; 32],
        limit: usize,
    ) -> Result<(), StoreError> {
        let name = name(topic, key);
        let all = Range { table: Table::LogTokens, name: &name, from: &[], to: None, reverse: false, limit };
        for (order, _) in tx.scan(all)? {
            tx.delete(Key::at(Table::LogTokens, &name, &order));
        }
        Ok(())
    }
}

impl Chunk {
    pub(crate) fn load(r: &dyn Read, id: &BlobId) -> Result<Option<Self>, StoreError> {
        get(r, Key::of(Table::LogChunks, &id.0))
    }
    pub(crate) fn save(&self, tx: &mut Tx<'_>, id: &BlobId) {
        tx.put(Key::of(Table::LogChunks, &id.0), encode(self));
    }
    pub(crate) fn delete(tx: &mut Tx<'_>, id: &BlobId) {
        tx.delete(Key::of(Table::LogChunks, &id.0));
    }
}

impl Expiry {
    pub(crate) fn put(&self, tx: &mut Tx<'_>, at_ms: u64) {
        let order = [&at_ms.to_be_bytes()[..], &encode(self)].concat();
        tx.put(Key::at(Table::LogIds, EXPIRY, &order), Vec::new());
    }
    /// What has ended by `now_ms`, oldest first, with the place of its row.
    pub(crate) fn due(
        r: &dyn Read,
        from: &[u8],
        now_ms: u64,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Self)>, StoreError> {
        let to = now_ms.saturating_add(1).to_be_bytes();
        let range = Range { table: Table::LogIds, name: EXPIRY, from, to: Some(&to), reverse: false, limit };
        r.scan(range)?
            .into_iter()
            .map(|(place, _)| {
                let what = decode(place.get(8..).unwrap_or_default())?;
                Ok((place, what))
            })
            .collect()
    }
    pub(crate) fn done(tx: &mut Tx<'_>, place: &[u8]) {
        tx.delete(Key::at(Table::LogIds, EXPIRY, place));
    }
}
