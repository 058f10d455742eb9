//! What a joiner gets: the Welcome in its inbox, and the bundle for all
//! joiners of one commit.

use std::collections::BTreeMap;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::kinds;
use crate::cbor::WireError;
use crate::crypto::Secret;
use crate::identity::RelayHint;
use crate::ids::{BlobId, CommitId, DeviceId, GroupId, StateId, TopicId};
use crate::object::object;
use crate::{labels, limits};

/// Where the join bundle of a Welcome is.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum BundleRef {
    /// Right here: for small groups.
    #[n(1)]
    Inline(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// A blob.
    #[n(2)]
    Blob {
        /// SHA-256 of its ciphertext.
        #[n(0)]
        blob: BlobId,
        /// Its key.
        #[n(1)]
        key: Secret,
        /// Bytes of the ciphertext.
        #[n(2)]
        size: u64,
    },
}

/// An MLS Welcome with what a joiner needs beside it. Travels sealed to the
/// joiner's inbox.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct WelcomeEnv {
    /// [`kinds::WELCOME`].
    #[n(0)]
    pub kind: u16,
    /// 1.
    #[n(1)]
    pub version: u16,
    /// Group.
    #[n(2)]
    pub gid: GroupId,
    /// MLS Welcome (RFC 9420 12.4.3.1), cut to the recipient's secrets.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub welcome: Vec<u8>,
    /// State that it leads into.
    #[n(4)]
    pub state: StateId,
    /// Credential of the inviting device, which signs.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub inviter: Vec<u8>,
    /// The commit that adds.
    #[n(6)]
    pub commit: CommitId,
    /// The join bundle.
    #[n(7)]
    pub bundle: BundleRef,
    /// Secret of the group's topic in that state.
    #[n(8)]
    pub topic: Secret,
    /// The group's relays.
    #[n(9)]
    pub relays: Vec<RelayHint>,
    /// Recipient.
    #[n(10)]
    pub device: DeviceId,
    /// Its inbox.
    #[n(11)]
    pub inbox: TopicId,
}

object! {
    WelcomeEnv: kinds::WELCOME, fields [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
    label labels::SIG_WELCOME, check Self::bounds
}

impl WelcomeEnv {
    fn bounds(&self) -> Result<(), WireError> {
        if self.relays.len() > limits::GROUP_RELAYS_MAX {
            return Err(WireError::TooLarge("the group's list of relays"));
        }
        self.relays.iter().try_for_each(RelayHint::check)
    }
}

/// A state's public part, in TLS forms.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Checkpoint {
    /// The state.
    #[n(0)]
    pub state: StateId,
    /// Ratchet tree (RFC 9420 12.4.3.3).
    #[cbor(n(1), with = "minicbor::bytes")]
    pub tree: Vec<u8>,
    /// GroupContext.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub context: Vec<u8>,
    /// Interim transcript hash.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub interim: Vec<u8>,
    /// Confirmation tag.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub tag: Vec<u8>,
    /// SHA-256 of the KeyPackages that re-adds on its chain used.
    #[n(5)]
    pub used: Vec<ByteVec>,
}

/// What all joiners of one commit share.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct JoinBundle {
    /// [`kinds::JOIN_BUNDLE`].
    #[n(0)]
    pub kind: u16,
    /// 1.
    #[n(1)]
    pub version: u16,
    /// Group.
    #[n(2)]
    pub gid: GroupId,
    /// Ratchet tree of the state that is joined, TLS.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub tree: Vec<u8>,
    /// Where the joiner's view of history begins; none: at the joined state.
    #[n(4)]
    pub checkpoint: Option<Checkpoint>,
    /// Commit envelopes from the checkpoint to the joined state.
    #[n(5)]
    pub commits: Vec<ByteVec>,
    /// Orders in force.
    #[n(6)]
    pub orders: Vec<ByteVec>,
    /// Latest marks.
    #[n(7)]
    pub marks: Vec<ByteVec>,
    /// Device cards.
    #[n(8)]
    pub cards: Vec<ByteVec>,
    /// Highest event and mark number per device, as the inviter had them.
    #[n(9)]
    pub seen: BTreeMap<DeviceId, (u64, u64)>,
    /// The state at which the group's present topic began.
    #[n(10)]
    pub topic_state: StateId,
}

object! { JoinBundle: kinds::JOIN_BUNDLE, fields [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10] }
