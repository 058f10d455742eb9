//! The image of one group state: all rows that OpenMLS keeps for it, as one
//! map with a record of what changed, so that a message writes one row.
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
use crate::runs;

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
}

/// Rows of one state.
#[derive(Default, Clone)]
pub(crate) struct Image(RefCell<Rows>);

/// Rows that one image may have, when it is read: far above what OpenMLS writes.
const ROWS_MAX: usize = 4096;
/// Set in the length of a row's key if its value is packed.
const PACKED: u16 = 1 << 15;

impl Image {
    /// A copy with shared values and nothing marked as changed but everything
    /// to be written: the basis of the next state's image.
    pub(crate) fn branch(&self) -> Self {
        let rows = self.0.borrow();
        let dirty = rows.map.keys().cloned().collect();
        Self(RefCell::new(Rows { map: rows.map.clone(), dirty, gone: BTreeSet::new() }))
    }
    /// The rows that a public group is made of, as an image of their own.
    pub(crate) fn public(&self) -> Self {
        const PUBLIC: [Kind; 4] = [Kind::Tree, Kind::Interim, Kind::Context, Kind::ConfirmationTag];
        let rows = self.0.borrow();
        let is_public = |place: &Place| PUBLIC.iter().any(|kind| *kind as u8 == place.0);
        let map = rows.map.iter().filter(|(place, _)| is_public(place));
        let map: BTreeMap<Place, Slot> = map.map(|(place, slot)| (place.clone(), slot.clone())).collect();
        let dirty = map.keys().cloned().collect();
        Self(RefCell::new(Rows { map, dirty, gone: BTreeSet::new() }))
    }
    /// Reads an image; `None` if there is no row under the name.
    pub(crate) fn load(read: &dyn Read, table: Table, name: &[u8]) -> Result<Option<Self>, StoreError> {
        let range = Range { table, name, from: &[], to: None, reverse: false, limit: ROWS_MAX };
        let mut rows = Rows::default();
        for (order, value) in read.scan(range)? {
            let corrupt = || StoreError::Corrupt("a group state has a malformed row".into());
            let (&kind, number) = order.split_first().ok_or_else(corrupt)?;
            let number = u16::from_be_bytes(number.try_into().map_err(|_| corrupt())?);
            let (len, rest) = value.split_at_checked(2).ok_or_else(corrupt)?;
            let len = u16::from_be_bytes(len.try_into().map_err(|_| corrupt())?);
            let (key, value) = rest.split_at_checked(usize::from(len & !PACKED)).ok_or_else(corrupt)?;
            let value = match len & PACKED {
                0 => value.into(),
                _ => runs::unpack(value).ok_or_else(corrupt)?.into(),
            };
            rows.map.insert((kind, key.to_vec()), Slot { number, value });
        }
        Ok((!rows.map.is_empty()).then_some(Self(RefCell::new(rows))))
    }
    /// Writes what changed since the last save.
    pub(crate) fn save(&self, tx: &mut Tx<'_>, table: Table, name: &[u8]) {
        let mut rows = self.0.borrow_mut();
        let rows = &mut *rows;
        for (kind, number) in core::mem::take(&mut rows.gone) {
            tx.delete(Key::at(table, name, &order(kind, number)));
        }
        for place in core::mem::take(&mut rows.dirty) {
            let Some(slot) = rows.map.get(&place) else { continue };
            let len = u16::try_from(place.1.len()).unwrap_or(u16::MAX);
            let packed = (place.0 == Kind::MessageSecrets as u8).then(|| runs::pack(&slot.value));
            let len = if packed.is_some() { len | PACKED } else { len };
            let bytes = packed.as_deref().unwrap_or(&slot.value);
            let mut value = Vec::with_capacity(2 + place.1.len() + bytes.len());
            value.extend_from_slice(&len.to_be_bytes());
            value.extend_from_slice(&place.1);
            value.extend_from_slice(bytes);
            tx.put(Key::at(table, name, &order(place.0, slot.number)), value);
        }
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
            rows.dirty.remove(&place);
        }
    }
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
