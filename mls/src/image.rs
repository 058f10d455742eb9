//! The image of one group state: all rows that OpenMLS keeps for it, as one
//! map with a record of what changed, so that a message writes one small row:
//! of the message secrets only the part that it changed.
//!
//! Each image belongs to one state id, never to an epoch number. It is cloned
//! to make the next state's image; an older copy is never put back.

use core::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kith_store::{Key, Range, Read, StoreError, Table, Tx};
use openmls_traits::OpenMlsProvider;
use openmls_traits::storage::{CURRENT_VERSION, StorageProvider, traits};
use serde::{Serialize, de::DeserializeOwned};

use crate::crypto::{Crypto, Rand};
use crate::{ratchet_rows, runs};

/// What a row is. The number is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Kind {
    JoinConfig = 1,
    OwnLeafNodes = 2,
    ProposalRefs = 3,
    Proposals = 4,
    Tree = 5,
    Interim = 6,
    Context = 7,
    ConfirmationTag = 8,
    GroupState = 9,
    MessageSecrets = 10,
    ResumptionPsks = 11,
    OwnLeafIndex = 12,
    EpochSecrets = 13,
    SignatureKey = 14,
    EncryptionKey = 15,
    EpochKeys = 16,
    KeyPackage = 17,
    Psk = 18,
}

/// Why OpenMLS could not read or write a row.
#[derive(Debug, thiserror::Error)]
#[error("a row of the group's state is malformed: {0}")]
pub(crate) struct ImageError(String);

/// Place of a row: its kind, and a key where a kind has several rows.
type Place = (u8, Vec<u8>);

#[derive(Clone)]
struct Slot {
    number: u16,
    value: Arc<[u8]>,
}

#[derive(Default, Clone)]
struct Rows {
    map: BTreeMap<Place, Slot>,
    /// Written since the last save; places that are gone carry their number.
    dirty: BTreeSet<Place>,
    gone: BTreeSet<(u8, u16)>,
    /// The image was loaded, or saved before.
    stored: bool,
    /// The message secrets as they were saved or loaded last.
    saved: Option<Secrets>,
}

/// The message secrets, and the rows that they lie in: number of each, and
/// where in the value it begins.
#[derive(Clone)]
struct Secrets {
    value: Arc<[u8]>,
    rows: Vec<(u16, usize)>,
}

impl Secrets {
    fn cut(value: Arc<[u8]>) -> Self {
        Self { rows: ratchet_rows::cut(&value), value }
    }
    fn rows(&self) -> impl Iterator<Item = (u16, &[u8])> {
        let ends = self.rows.iter().skip(1).map(|(_, begin)| *begin).chain([self.value.len()]);
        self.rows.iter().zip(ends).map(|((number, begin), end)| (*number, &self.value[*begin..end]))
    }
}

/// Rows of one state.
#[derive(Default, Clone)]
pub(crate) struct Image(RefCell<Rows>);

/// Rows that one image may have, when it is read: far above what OpenMLS writes.
const ROWS_MAX: usize = 4096;
/// Set in the length of a row's key if its value is packed.
const PACKED: u16 = 1 << 15;
const SECRETS: u8 = Kind::MessageSecrets as u8;

impl Image {
    /// A copy with shared values and nothing marked as changed but everything
    /// to be written: the basis of the next state's image.
    pub(crate) fn branch(&self) -> Self {
        let rows = self.0.borrow();
        let dirty = rows.map.keys().cloned().collect();
        Self(RefCell::new(Rows { map: rows.map.clone(), dirty, ..Rows::default() }))
    }
    /// The rows that a public group is made of, as an image of their own.
    pub(crate) fn public(&self) -> Self {
        const PUBLIC: [Kind; 4] = [Kind::Tree, Kind::Interim, Kind::Context, Kind::ConfirmationTag];
        let rows = self.0.borrow();
        let is_public = |place: &Place| PUBLIC.iter().any(|kind| *kind as u8 == place.0);
        let map = rows.map.iter().filter(|(place, _)| is_public(place));
        let map: BTreeMap<Place, Slot> = map.map(|(place, slot)| (place.clone(), slot.clone())).collect();
        let dirty = map.keys().cloned().collect();
        Self(RefCell::new(Rows { map, dirty, ..Rows::default() }))
    }
    /// Reads an image; `None` if there is no row under the name.
    pub(crate) fn load(read: &dyn Read, table: Table, name: &[u8]) -> Result<Option<Self>, StoreError> {
        let mut rows = Rows { stored: true, ..Rows::default() };
        let (mut secrets, mut cuts) = (Vec::new(), Vec::new());
        for (order, value) in read.scan(all(table, name))? {
            let corrupt = || StoreError::Corrupt("a group state has a malformed row".into());
            let (&kind, number) = order.split_first().ok_or_else(corrupt)?;
            let number = u16::from_be_bytes(number.try_into().map_err(|_| corrupt())?);
            let (len, rest) = value.split_at_checked(2).ok_or_else(corrupt)?;
            let len = u16::from_be_bytes(len.try_into().map_err(|_| corrupt())?);
            let (key, value) = rest.split_at_checked(usize::from(len & !PACKED)).ok_or_else(corrupt)?;
            let unpacked = match len & PACKED {
                0 => None,
                _ => Some(runs::unpack(value).ok_or_else(corrupt)?),
            };
            let value = unpacked.as_deref().unwrap_or(value);
            if kind == SECRETS {
                cuts.push((number, secrets.len()));
                secrets.extend_from_slice(value);
            } else {
                rows.map.insert((kind, key.to_vec()), Slot { number, value: value.into() });
            }
        }
        if !cuts.is_empty() {
            let value: Arc<[u8]> = secrets.into();
            rows.map.insert((SECRETS, Vec::new()), Slot { number: 0, value: value.clone() });
            rows.saved = Some(Secrets { value, rows: cuts });
        }
        Ok((!rows.map.is_empty()).then_some(Self(RefCell::new(rows))))
    }
    /// Writes what changed since the last save. The first time, what another
    /// image left under the name goes.
    pub(crate) fn save(&self, tx: &mut Tx<'_>, table: Table, name: &[u8]) -> Result<(), StoreError> {
        let mut rows = self.0.borrow_mut();
        let rows = &mut *rows;
        if !core::mem::replace(&mut rows.stored, true) {
            for (order, _) in tx.scan(all(table, name))? {
                tx.delete(Key::at(table, name, &order));
            }
        }
        for (kind, number) in core::mem::take(&mut rows.gone) {
            tx.delete(Key::at(table, name, &order(kind, number)));
        }
        for place in core::mem::take(&mut rows.dirty) {
            let Some(slot) = rows.map.get(&place) else { continue };
            if place.0 == SECRETS {
                let secrets = Secrets::cut(slot.value.clone());
                save_secrets(tx, table, name, rows.saved.as_ref(), &secrets);
                rows.saved = Some(secrets);
                continue;
            }
            let len = u16::try_from(place.1.len()).unwrap_or(u16::MAX);
            let value = [&len.to_be_bytes(), &*place.1, &slot.value].concat();
            tx.put(Key::at(table, name, &order(place.0, slot.number)), value);
        }
        Ok(())
    }
    /// Drops all rows of a kind.
    pub(crate) fn drop_kind(&self, kind: Kind) {
        let places: Vec<Place> = {
            let rows = self.0.borrow();
            rows.map.keys().filter(|p| p.0 == kind as u8).cloned().collect()
        };
        for (kind, key) in places {
            self.remove(kind, &key);
        }
    }
    /// The interim transcript hash.
    pub(crate) fn interim(&self) -> Option<Vec<u8>> {
        self.get::<Vec<u8>>(Kind::Interim, Vec::new()).ok().flatten()
    }
    /// A row as it lies.
    pub(crate) fn raw(&self, kind: Kind) -> Option<Arc<[u8]>> {
        self.0.borrow().map.get(&(kind as u8, Vec::new())).map(|s| s.value.clone())
    }
    fn put_raw(&self, kind: u8, key: Vec<u8>, value: Arc<[u8]>) {
        let mut rows = self.0.borrow_mut();
        let place = (kind, key);
        if let Some(slot) = rows.map.get_mut(&place) {
            slot.value = value;
        } else {
            let taken: BTreeSet<u16> = rows
                .map
                .range((kind, Vec::new())..)
                .take_while(|(p, _)| p.0 == kind)
                .map(|(_, s)| s.number)
                .collect();
            let number = (0..u16::MAX).find(|n| !taken.contains(n)).unwrap_or(u16::MAX);
            rows.gone.remove(&(kind, number));
            rows.map.insert(place.clone(), Slot { number, value });
        }
        rows.dirty.insert(place);
    }
    pub(crate) fn put(&self, kind: Kind, key: Vec<u8>, value: &impl Serialize) -> Result<(), ImageError> {
        let mut bytes = Vec::new();
        ciborium::into_writer(value, &mut bytes).map_err(|e| ImageError(e.to_string()))?;
        self.put_raw(kind as u8, key, bytes.into());
        Ok(())
    }
    pub(crate) fn get<T: DeserializeOwned>(&self, kind: Kind, key: Vec<u8>) -> Result<Option<T>, ImageError> {
        let value = self.0.borrow().map.get(&(kind as u8, key)).map(|s| s.value.clone());
        value.map(|v| ciborium::from_reader(&*v).map_err(|e| ImageError(e.to_string()))).transpose()
    }
    fn remove(&self, kind: u8, key: &[u8]) {
        let mut rows = self.0.borrow_mut();
        let place = (kind, key.to_vec());
        if let Some(slot) = rows.map.remove(&place) {
            rows.gone.insert((kind, slot.number));
            if kind == SECRETS {
                let saved = rows.saved.take();
                rows.gone.extend(saved.iter().flat_map(|s| &s.rows).map(|(number, _)| (kind, *number)));
            }
            rows.dirty.remove(&place);
        }
    }
}

/// Writes the rows of the message secrets that are not as they were saved.
fn save_secrets(tx: &mut Tx<'_>, table: Table, name: &[u8], saved: Option<&Secrets>, secrets: &Secrets) {
    let mut before = saved.into_iter().flat_map(Secrets::rows).peekable();
    for (number, bytes) in secrets.rows() {
        while let Some((gone, _)) = before.next_if(|(n, _)| *n < number) {
            tx.delete(Key::at(table, name, &order(SECRETS, gone)));
        }
        if before.next_if(|(n, _)| *n == number) != Some((number, bytes)) {
            let value = [&PACKED.to_be_bytes()[..], &runs::pack(bytes)].concat();
            tx.put(Key::at(table, name, &order(SECRETS, number)), value);
        }
    }
    for (gone, _) in before {
        tx.delete(Key::at(table, name, &order(SECRETS, gone)));
    }
}

/// All rows of an image.
fn all(table: Table, name: &[u8]) -> Range<'_> {
    Range { table, name, from: &[], to: None, reverse: false, limit: ROWS_MAX }
}

fn order(kind: u8, number: u16) -> [u8; 3] {
    let [a, b] = number.to_be_bytes();
    [kind, a, b]
}

pub(crate) fn key_of(key: &impl Serialize) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    ciborium::into_writer(key, &mut bytes).map_err(|e| ImageError(e.to_string()))?;
    Ok(bytes)
}

/// What OpenMLS is handed: cryptography, randomness and one image.
pub(crate) struct Provider<'a> {
    pub(crate) crypto: &'a Crypto,
    pub(crate) rand: &'a Rand,
    pub(crate) image: &'a Image,
}

impl OpenMlsProvider for Provider<'_> {
    type CryptoProvider = Crypto;
    type RandProvider = Rand;
    type StorageProvider = Image;

    fn storage(&self) -> &Image {
        self.image
    }
    fn crypto(&self) -> &Crypto {
        self.crypto
    }
    fn rand(&self) -> &Rand {
        self.rand
    }
}

/// Rows of which a group has one: the group id is not part of their place,
/// because an image belongs to one group.
macro_rules! group_rows {
    ($($write:ident $read:ident $delete:ident $tr:ident $kind:ident;)*) => {$(
        fn $write<G: traits::GroupId<CURRENT_VERSION>, T: traits::$tr<CURRENT_VERSION>>(
            &self, _: &G, value: &T,
        ) -> Result<(), ImageError> {
            self.put(Kind::$kind, Vec::new(), value)
        }
        fn $read<G: traits::GroupId<CURRENT_VERSION>, T: traits::$tr<CURRENT_VERSION>>(
            &self, _: &G,
        ) -> Result<Option<T>, ImageError> {
            self.get(Kind::$kind, Vec::new())
        }
        fn $delete<G: traits::GroupId<CURRENT_VERSION>>(&self, _: &G) -> Result<(), ImageError> {
            self.remove(Kind::$kind as u8, &[]);
            Ok(())
        }
    )*};
}

/// Rows with a key of their own.
macro_rules! keyed_rows {
    ($($write:ident $read:ident $delete:ident $k:ident $tr:ident $kind:ident;)*) => {$(
        fn $write<K: traits::$k<CURRENT_VERSION>, T: traits::$tr<CURRENT_VERSION>>(
            &self, key: &K, value: &T,
        ) -> Result<(), ImageError> {
            self.put(Kind::$kind, key_of(key)?, value)
        }
        fn $read<K: traits::$k<CURRENT_VERSION>, T: traits::$tr<CURRENT_VERSION>>(
            &self, key: &K,
        ) -> Result<Option<T>, ImageError> {
            self.get(Kind::$kind, key_of(key)?)
        }
        fn $delete<K: traits::$k<CURRENT_VERSION>>(&self, key: &K) -> Result<(), ImageError> {
            self.remove(Kind::$kind as u8, &key_of(key)?);
            Ok(())
        }
    )*};
}

impl StorageProvider<CURRENT_VERSION> for Image {
    type Error = ImageError;

    group_rows! {
        write_tree tree delete_tree TreeSync Tree;
        write_interim_transcript_hash interim_transcript_hash delete_interim_transcript_hash InterimTranscriptHash Interim;
        write_context group_context delete_context GroupContext Context;
        write_confirmation_tag confirmation_tag delete_confirmation_tag ConfirmationTag ConfirmationTag;
        write_message_secrets message_secrets delete_message_secrets MessageSecrets MessageSecrets;
        write_resumption_psk_store resumption_psk_store delete_all_resumption_psk_secrets ResumptionPskStore ResumptionPsks;
        write_own_leaf_index own_leaf_index delete_own_leaf_index LeafNodeIndex OwnLeafIndex;
        write_group_epoch_secrets group_epoch_secrets delete_group_epoch_secrets GroupEpochSecrets EpochSecrets;
        write_mls_join_config mls_group_join_config delete_group_config MlsGroupJoinConfig JoinConfig;
    }
    keyed_rows! {
        write_signature_key_pair signature_key_pair delete_signature_key_pair SignaturePublicKey SignatureKeyPair SignatureKey;
        write_key_package key_package delete_key_package HashReference KeyPackage KeyPackage;
    }

    // These two have their parameters the other way round in the trait.
    fn write_group_state<T: traits::GroupState<CURRENT_VERSION>, G: traits::GroupId<CURRENT_VERSION>>(
        &self,
        _: &G,
        value: &T,
    ) -> Result<(), ImageError> {
        self.put(Kind::GroupState, Vec::new(), value)
    }
    fn group_state<T: traits::GroupState<CURRENT_VERSION>, G: traits::GroupId<CURRENT_VERSION>>(
        &self,
        _: &G,
    ) -> Result<Option<T>, ImageError> {
        self.get(Kind::GroupState, Vec::new())
    }
    fn delete_group_state<G: traits::GroupId<CURRENT_VERSION>>(&self, _: &G) -> Result<(), ImageError> {
        self.remove(Kind::GroupState as u8, &[]);
        Ok(())
    }
    fn write_encryption_key_pair<
        K: traits::EncryptionKey<CURRENT_VERSION>,
        T: traits::HpkeKeyPair<CURRENT_VERSION>,
    >(
        &self,
        key: &K,
        value: &T,
    ) -> Result<(), ImageError> {
        self.put(Kind::EncryptionKey, key_of(key)?, value)
    }
    fn encryption_key_pair<
        T: traits::HpkeKeyPair<CURRENT_VERSION>,
        K: traits::EncryptionKey<CURRENT_VERSION>,
    >(
        &self,
        key: &K,
    ) -> Result<Option<T>, ImageError> {
        self.get(Kind::EncryptionKey, key_of(key)?)
    }
    fn delete_encryption_key_pair<K: traits::EncryptionKey<CURRENT_VERSION>>(
        &self,
        key: &K,
    ) -> Result<(), ImageError> {
        self.remove(Kind::EncryptionKey as u8, &key_of(key)?);
        Ok(())
    }

    fn write_psk<K: traits::PskId<CURRENT_VERSION>, T: traits::PskBundle<CURRENT_VERSION>>(
        &self,
        key: &K,
        value: &T,
    ) -> Result<(), ImageError> {
        self.put(Kind::Psk, key_of(key)?, value)
    }
    fn psk<T: traits::PskBundle<CURRENT_VERSION>, K: traits::PskId<CURRENT_VERSION>>(
        &self,
        key: &K,
    ) -> Result<Option<T>, ImageError> {
        self.get(Kind::Psk, key_of(key)?)
    }
    fn delete_psk<K: traits::PskId<CURRENT_VERSION>>(&self, key: &K) -> Result<(), ImageError> {
        self.remove(Kind::Psk as u8, &key_of(key)?);
        Ok(())
    }

    fn append_own_leaf_node<G: traits::GroupId<CURRENT_VERSION>, T: traits::LeafNode<CURRENT_VERSION>>(
        &self,
        _: &G,
        leaf: &T,
    ) -> Result<(), ImageError> {
        let mut leaves: Vec<ciborium::Value> = self.get(Kind::OwnLeafNodes, Vec::new())?.unwrap_or_default();
        leaves.push(ciborium::Value::serialized(leaf).map_err(|e| ImageError(e.to_string()))?);
        self.put(Kind::OwnLeafNodes, Vec::new(), &leaves)
    }
    fn own_leaf_nodes<G: traits::GroupId<CURRENT_VERSION>, T: traits::LeafNode<CURRENT_VERSION>>(
        &self,
        _: &G,
    ) -> Result<Vec<T>, ImageError> {
        Ok(self.get(Kind::OwnLeafNodes, Vec::new())?.unwrap_or_default())
    }
    fn delete_own_leaf_nodes<G: traits::GroupId<CURRENT_VERSION>>(&self, _: &G) -> Result<(), ImageError> {
        self.remove(Kind::OwnLeafNodes as u8, &[]);
        Ok(())
    }

    fn queue_proposal<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
        P: traits::QueuedProposal<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
        proposal_ref: &R,
        proposal: &P,
    ) -> Result<(), ImageError> {
        let key = key_of(proposal_ref)?;
        let mut refs: Vec<Vec<u8>> = self.get(Kind::ProposalRefs, Vec::new())?.unwrap_or_default();
        if !refs.contains(&key) {
            refs.push(key.clone());
            self.put(Kind::ProposalRefs, Vec::new(), &refs)?;
        }
        self.put(Kind::Proposals, key, proposal)
    }
    fn queued_proposal_refs<G: traits::GroupId<CURRENT_VERSION>, R: traits::ProposalRef<CURRENT_VERSION>>(
        &self,
        _: &G,
    ) -> Result<Vec<R>, ImageError> {
        let refs: Vec<Vec<u8>> = self.get(Kind::ProposalRefs, Vec::new())?.unwrap_or_default();
        refs.iter()
            .map(|r| ciborium::from_reader(r.as_slice()).map_err(|e| ImageError(e.to_string())))
            .collect()
    }
    fn queued_proposals<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
        P: traits::QueuedProposal<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
    ) -> Result<Vec<(R, P)>, ImageError> {
        let refs: Vec<Vec<u8>> = self.get(Kind::ProposalRefs, Vec::new())?.unwrap_or_default();
        let mut out = Vec::with_capacity(refs.len());
        for key in refs {
            let r = ciborium::from_reader(key.as_slice()).map_err(|e| ImageError(e.to_string()))?;
            let p = self.get(Kind::Proposals, key)?;
            out.push((r, p.ok_or_else(|| ImageError("a queued proposal is missing".into()))?));
        }
        Ok(out)
    }
    fn remove_proposal<G: traits::GroupId<CURRENT_VERSION>, R: traits::ProposalRef<CURRENT_VERSION>>(
        &self,
        _: &G,
        proposal_ref: &R,
    ) -> Result<(), ImageError> {
        let key = key_of(proposal_ref)?;
        let mut refs: Vec<Vec<u8>> = self.get(Kind::ProposalRefs, Vec::new())?.unwrap_or_default();
        refs.retain(|r| *r != key);
        self.put(Kind::ProposalRefs, Vec::new(), &refs)?;
        self.remove(Kind::Proposals as u8, &key);
        Ok(())
    }
    fn clear_proposal_queue<G: traits::GroupId<CURRENT_VERSION>, R: traits::ProposalRef<CURRENT_VERSION>>(
        &self,
        _: &G,
    ) -> Result<(), ImageError> {
        self.drop_kind(Kind::Proposals);
        self.remove(Kind::ProposalRefs as u8, &[]);
        Ok(())
    }

    fn write_encryption_epoch_key_pairs<
        G: traits::GroupId<CURRENT_VERSION>,
        E: traits::EpochKey<CURRENT_VERSION>,
        T: traits::HpkeKeyPair<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
        epoch: &E,
        leaf_index: u32,
        key_pairs: &[T],
    ) -> Result<(), ImageError> {
        self.put(Kind::EpochKeys, key_of(&(epoch, leaf_index))?, &key_pairs)
    }
    fn encryption_epoch_key_pairs<
        G: traits::GroupId<CURRENT_VERSION>,
        E: traits::EpochKey<CURRENT_VERSION>,
        T: traits::HpkeKeyPair<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
        epoch: &E,
        leaf_index: u32,
    ) -> Result<Vec<T>, ImageError> {
        Ok(self.get(Kind::EpochKeys, key_of(&(epoch, leaf_index))?)?.unwrap_or_default())
    }
    fn delete_encryption_epoch_key_pairs<
        G: traits::GroupId<CURRENT_VERSION>,
        E: traits::EpochKey<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
        epoch: &E,
        leaf_index: u32,
    ) -> Result<(), ImageError> {
        self.remove(Kind::EpochKeys as u8, &key_of(&(epoch, leaf_index))?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ciborium::{Value, cbor};
    use kith_store::{MemoryStore, Overlay, Store as _};
    use proptest::prelude::*;

    const NAME: [u8; 32] = [7; 32];

    /// Message secrets in OpenMLS's shape, with these ratchets.
    fn secrets(ratchets: &[Option<u64>]) -> Value {
        let places: Vec<Value> = ratchets
            .iter()
            .map(|r| r.map_or(Value::Null, |n| cbor!({ "head" => [n, n] }).unwrap()))
            .collect();
        cbor!({
            "message_secrets" => { "secret_tree" => { "application_sender_ratchets" => places, "size" => 3 } },
        })
        .unwrap()
    }

    /// Saves in a transaction that becomes durable.
    fn save(image: &Image, store: &MemoryStore) {
        let under = Overlay::default();
        let mut tx = Tx::new(store, &under);
        image.save(&mut tx, Table::Images, &NAME).unwrap();
        store.write(&tx.finish()).unwrap();
    }

    fn values(image: &Image) -> Vec<(Place, Arc<[u8]>)> {
        image.0.borrow().map.iter().map(|(place, slot)| (place.clone(), slot.value.clone())).collect()
    }

    /// What happens to an image.
    #[derive(Debug, Clone)]
    enum Step {
        Secrets(Vec<Option<u64>>),
        Other(u8, Vec<u8>),
        Drop(bool),
        Save,
        /// As after a start.
        Load,
        /// Another image is made of it and put under the same name.
        Branch,
    }

    fn step() -> impl Strategy<Value = Step> {
        let ratchet = proptest::option::of(prop_oneof![0..3u64, Just(70_000)]);
        prop_oneof![
            4 => proptest::collection::vec(ratchet, 0..6).prop_map(Step::Secrets),
            1 => (0..3u8, proptest::collection::vec(any::<u8>(), 0..9)).prop_map(|(n, v)| Step::Other(n, v)),
            1 => any::<bool>().prop_map(Step::Drop),
            3 => Just(Step::Save),
            1 => Just(Step::Load),
            1 => Just(Step::Branch),
        ]
    }

    proptest! {
        #[test]
        fn what_was_saved_is_loaded(steps in proptest::collection::vec(step(), 0..30)) {
            let (store, mut image) = (MemoryStore::new(), Image::default());
            for step in steps {
                match step {
                    Step::Secrets(ratchets) => {
                        image.put(Kind::MessageSecrets, Vec::new(), &secrets(&ratchets)).unwrap();
                    }
                    Step::Other(n, value) => image.put(Kind::EpochKeys, vec![n], &value).unwrap(),
                    Step::Drop(true) => image.remove(SECRETS, &[]),
                    Step::Drop(false) => image.drop_kind(Kind::EpochKeys),
                    Step::Save => {
                        save(&image, &store);
                        let loaded = Image::load(&store, Table::Images, &NAME).unwrap().unwrap_or_default();
                        prop_assert_eq!(values(&loaded), values(&image));
                    }
                    Step::Load => image = Image::load(&store, Table::Images, &NAME).unwrap().unwrap_or_default(),
                    Step::Branch => image = image.branch(),
                }
            }
        }
    }

    #[test]
    fn message_secrets_that_were_one_row_are_read_and_cut() {
        let (store, image) = (MemoryStore::new(), Image::default());
        image.put(Kind::MessageSecrets, Vec::new(), &secrets(&[Some(1), None, Some(2)])).unwrap();
        let whole = image.raw(Kind::MessageSecrets).unwrap();
        let under = Overlay::default();
        let mut tx = Tx::new(&store, &under);
        let row = [&PACKED.to_be_bytes()[..], &runs::pack(&whole)].concat();
        tx.put(Key::at(Table::Images, &NAME, &order(SECRETS, 0)), row);
        store.write(&tx.finish()).unwrap();

        let image = Image::load(&store, Table::Images, &NAME).unwrap().unwrap();
        assert_eq!(image.raw(Kind::MessageSecrets), Some(whole));
        image.put(Kind::MessageSecrets, Vec::new(), &secrets(&[Some(1), None, Some(3)])).unwrap();
        save(&image, &store);
        assert_eq!(store.scan_table(Table::Images).unwrap().len(), 3);
        let loaded = Image::load(&store, Table::Images, &NAME).unwrap().unwrap();
        assert_eq!(values(&loaded), values(&image));
    }
}
