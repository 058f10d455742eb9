//! One member of a group with OpenMLS alone: Kith's suite, provider, row codec
//! and settings; no events, no signatures of Kith, nothing stored.

use kith_store::{MemoryStore, Table};
use kith_wire::crypto::Secret;
use kith_wire::ids::{DeviceId, GroupId};
use openmls::prelude::tls_codec::{Deserialize as _, Serialize as _};
use openmls::prelude::{
    KeyPackage, LeafNodeIndex, MlsGroup, MlsMessageBodyIn, MlsMessageIn, ProcessedMessageContent,
    ProtocolVersion,
};

use crate::DeviceKeys;
use crate::crypto::{Crypto, Rand};
use crate::engine::ctx::{self, DeviceSigner, mls_gid};
use crate::image::Image;

/// A loaded member.
pub(super) struct Bare {
    keys: DeviceKeys,
    crypto: Crypto,
    rand: Rand,
    image: Image,
    group: MlsGroup,
}

impl Bare {
    /// The member that an engine is at its tip, from the image that it stored:
    /// so both work on the same tree.
    pub(super) fn of(keys: &DeviceKeys, store: &MemoryStore, gid: GroupId) -> Self {
        let tip = crate::view::group(store, gid).unwrap().tip;
        let image = Image::load(store, Table::Images, &tip.0).unwrap().unwrap();
        let group = MlsGroup::load(&image, &mls_gid(&gid)).unwrap().unwrap();
        let (crypto, rand) = (Crypto::new(Secret::new([1; 32])), Rand::new(tip.0));
        Self { keys: keys.clone(), crypto, rand, image, group }
    }

    /// Commits, with all that joiners need: the Welcome and the tree.
    pub(super) fn commit(&mut self, add: Option<&[u8]>, remove: Option<DeviceId>) -> Vec<u8> {
        let provider = ctx::provider(&self.crypto, &self.rand, &self.image);
        let adds = add.map(|bytes| package(&self.crypto, bytes));
        let removes = remove.map(|device| leaf_of(&self.group, device));
        let bundle = self
            .group
            .commit_builder()
            .consume_proposal_store(false)
            .force_self_update(true)
            .propose_adds(adds)
            .propose_removals(removes)
            .load_psks(&self.image)
            .unwrap()
            .create_group_info(false)
            .build(&self.rand, &self.crypto, &DeviceSigner(&self.keys), |_| true)
            .unwrap()
            .stage_commit(&provider)
            .unwrap();
        let (message, welcome, _) = bundle.into_messages();
        self.group.merge_pending_commit(&provider).unwrap();
        if let Some(welcome) = welcome {
            welcome.tls_serialize_detached().unwrap();
            self.group.export_ratchet_tree().tls_serialize_detached().unwrap();
        }
        message.tls_serialize_detached().unwrap()
    }

    /// Processes and merges another member's commit.
    pub(super) fn follow(&mut self, commit: &[u8]) {
        let provider = ctx::provider(&self.crypto, &self.rand, &self.image);
        let message = MlsMessageIn::tls_deserialize_exact(commit).unwrap();
        let message = message.try_into_protocol_message().unwrap();
        let processed = self.group.process_message(&provider, message).unwrap();
        let ProcessedMessageContent::StagedCommitMessage(staged) = processed.into_content() else {
            panic!("no commit");
        };
        self.group.merge_staged_commit(&provider, *staged).unwrap();
    }

    /// Encrypts a message.
    pub(super) fn send(&mut self, text: &[u8]) -> Vec<u8> {
        let provider = ctx::provider(&self.crypto, &self.rand, &self.image);
        let message = self.group.create_message(&provider, &DeviceSigner(&self.keys), text).unwrap();
        message.tls_serialize_detached().unwrap()
    }

    /// Decrypts a message.
    pub(super) fn receive(&mut self, message: &[u8]) -> Vec<u8> {
        let provider = ctx::provider(&self.crypto, &self.rand, &self.image);
        let message = MlsMessageIn::tls_deserialize_exact(message).unwrap();
        let message = message.try_into_protocol_message().unwrap();
        let processed = self.group.process_message(&provider, message).unwrap();
        let ProcessedMessageContent::ApplicationMessage(message) = processed.into_content() else {
            panic!("no message");
        };
        message.into_bytes()
    }
}

/// A key package out of its message.
pub(super) fn package(crypto: &Crypto, bytes: &[u8]) -> KeyPackage {
    let message = MlsMessageIn::tls_deserialize_exact(bytes).unwrap();
    let MlsMessageBodyIn::KeyPackage(package) = message.extract() else {
        panic!("no key package");
    };
    package.validate(crypto, ProtocolVersion::Mls10).unwrap()
}

fn leaf_of(group: &MlsGroup, device: DeviceId) -> LeafNodeIndex {
    group.members().find(|m| m.signature_key == device.0).unwrap().index
}
