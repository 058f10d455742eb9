//! The members of a large group that run no engine of their own. They are in
//! the tree with key packages that engines made, and what they say is signed
//! and encrypted with their keys; of the group's state they use a copy of
//! another member's, in which they stand at their own leaf.

use ciborium::Value;
use kith_store::{MemoryStore, Table};
use kith_wire::crypto::Secret;
use kith_wire::group::{
    CommitEnvelope, CommitMeta, CommitReason, Event, EventEnvelope, Mark, SignedEvent, kinds, mark_id,
};
use kith_wire::ids::{GroupId, StateId};
use kith_wire::object::Versioned as _;
use kith_wire::signed;
use openmls::prelude::tls_codec::Serialize as _;
use openmls::prelude::{GroupEpoch, LeafNodeIndex, MlsGroup};

use super::bare::package;
use super::{NOW, TEXT, keys, run, seed};
use crate::crypto::{Crypto, Rand};
use crate::engine::ctx::{self, DeviceSigner, mls_gid};
use crate::image::{Image, Kind, key_of};
use crate::{DeviceKeys, Engine};

/// A device of which only the keys and one key package exist.
pub(super) struct Member {
    keys: DeviceKeys,
    pub(super) package: Vec<u8>,
    /// Key pair of its leaf, as OpenMLS stores it.
    pair: Value,
    /// Number and id of its last mark.
    marked: Option<(u64, [u8; 32])>,
}

impl Member {
    /// Device number `n`: an engine makes its key package and is thrown away.
    pub(super) fn new(n: u32) -> Self {
        let (keys, store) = (keys(n), MemoryStore::new());
        let mut engine = Engine::new(keys.clone(), seed(5, n));
        let bytes = run(&store, |tx| engine.key_package(tx, false)).unwrap();
        let crypto = Crypto::new(Secret::new([1; 32]));
        let package = package(&crypto, &bytes);
        let name = package.hash_ref(&crypto).unwrap();
        let image = Image::load(&store, Table::Packages, name.as_slice()).unwrap().unwrap();
        let stored: Value = image.get(Kind::KeyPackage, key_of(&name).unwrap()).unwrap().unwrap();
        let public = Value::serialized(package.leaf_node().encryption_key()).unwrap();
        let private = field(stored, "private_encryption_key");
        let pair = Value::Map(vec![("public_key".into(), public), ("private_key".into(), private)]);
        Self { keys, package: bytes, pair, marked: None }
    }

    /// Its image of the state in which `store` holds a group's tip.
    fn image(&self, store: &MemoryStore, gid: GroupId) -> (Image, StateId) {
        let view = crate::view::group(store, gid).unwrap();
        let image = Image::load(store, Table::Images, &view.tip.0).unwrap().unwrap();
        let device = self.keys.device();
        let leaf = view.members.iter().find(|m| m.device == device).unwrap().leaf;
        let place = key_of(&(GroupEpoch::from(view.epoch), leaf)).unwrap();
        image.put(Kind::OwnLeafIndex, Vec::new(), &LeafNodeIndex::new(leaf)).unwrap();
        image.put(Kind::EpochKeys, place, &[&self.pair]).unwrap();
        let mut secrets: Value = image.get(Kind::MessageSecrets, Vec::new()).unwrap().unwrap();
        let tree = field_mut(field_mut(&mut secrets, "message_secrets"), "secret_tree");
        *field_mut(tree, "own_index") = leaf.into();
        image.put(Kind::MessageSecrets, Vec::new(), &secrets).unwrap();
        (image, view.tip)
    }

    /// Its first self-update, on the tip that `store` holds.
    pub(super) fn update(&self, store: &MemoryStore, gid: GroupId) -> Vec<u8> {
        let (image, parent) = self.image(store, gid);
        let (crypto, rand, signer) = self.tools(parent);
        let meta = CommitMeta {
            kind: kinds::COMMIT_META,
            version: 1,
            gid,
            parent,
            orders: Vec::new(),
            readds: Vec::new(),
            reason: CommitReason::Update,
            device: self.keys.device(),
            rotate: false,
        };
        let mut group = MlsGroup::load(&image, &mls_gid(&gid)).unwrap().unwrap();
        group.set_aad(meta.to_bytes());
        let bundle = group
            .commit_builder()
            .consume_proposal_store(false)
            .force_self_update(true)
            .load_psks(&image)
            .unwrap()
            .create_group_info(false)
            .build(&rand, &crypto, &signer, |_| true)
            .unwrap()
            .stage_commit(&ctx::provider(&crypto, &rand, &image))
            .unwrap();
        let message = bundle.into_messages().0.tls_serialize_detached().unwrap();
        let envelope = CommitEnvelope { kind: kinds::COMMIT, version: 1, gid, parent, message };
        signed::sign(&envelope, &self.keys.signing, &[]).to_bytes()
    }

    /// Its next mark: that it stands at this state.
    pub(super) fn mark(&mut self, gid: GroupId, at: StateId) -> Vec<u8> {
        let device = self.keys.device();
        let (n, prev) = self.marked.map_or((1, None), |(n, id)| (n + 1, Some(id)));
        let mark = Mark {
            kind: kinds::MARK,
            version: 1,
            gid,
            device,
            n,
            prev,
            at,
            changed: [(device, (0, n))].into(),
            bad: Vec::new(),
        };
        let raw = signed::sign(&mark, &self.keys.signing, &[]);
        self.marked = Some((n, mark_id(&raw).0));
        raw.to_bytes()
    }

    /// Its first message, in the state in which `store` holds the tip.
    pub(super) fn speak(&self, store: &MemoryStore, gid: GroupId) -> Vec<u8> {
        let (image, at) = self.image(store, gid);
        let (crypto, rand, signer) = self.tools(at);
        let event = Event {
            kind: kinds::EVENT,
            version: 1,
            device: self.keys.device(),
            seq: 1,
            prev: None,
            deps: Default::default(),
            hlc: NOW << 16,
            event_type: 2,
            content: TEXT.to_vec(),
        };
        let payload = SignedEvent::sign(&event, gid, at, &self.keys.signing).to_payload(at);
        let mut group = MlsGroup::load(&image, &mls_gid(&gid)).unwrap().unwrap();
        let given = ctx::provider(&crypto, &rand, &image);
        let message = group.create_message(&given, &signer, &payload).unwrap();
        EventEnvelope::new(at, message.tls_serialize_detached().unwrap()).to_bytes()
    }

    fn tools(&self, at: StateId) -> (Crypto, Rand, DeviceSigner<'_>) {
        (Crypto::new(Secret::new(self.keys.device().0)), Rand::new(at.0), DeviceSigner(&self.keys))
    }
}

fn field(value: Value, name: &str) -> Value {
    let entries = value.into_map().unwrap();
    entries.into_iter().find(|(key, _)| key.as_text() == Some(name)).unwrap().1
}

fn field_mut<'a>(value: &'a mut Value, name: &str) -> &'a mut Value {
    let entries = value.as_map_mut().unwrap();
    &mut entries.iter_mut().find(|(key, _)| key.as_text() == Some(name)).unwrap().1
}
