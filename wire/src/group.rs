//! Objects of groups: what members say to each other, as bytes.
//!
//! Owns the shapes of docs/protocol.md and the group design: commit envelopes
//! and what a commit carries for Kith, events and their envelope, marks,
//! orders, re-add requests, Welcomes, join bundles, the group context
//! extension, and the sync messages. Knows shapes and bounds only; whether an
//! object is valid in a group is decided by the engine.

mod event;
mod ext;
mod join;
mod objects;
mod report;
mod sync;

pub use event::{Event, EventEnvelope, SignedEvent};
pub use ext::{ConversationKind, EXTENSION_TYPE, GroupExt, Policy, Role, RoleEntry, SizeClass};
pub use join::{BundleRef, Checkpoint, JoinBundle, WelcomeEnv};
pub use objects::{
    BadCommit, CommitEnvelope, CommitMeta, CommitReason, Mark, Order, OrderKind, PackedReadd, ReaddReq,
    Target,
};
pub use report::Report;
pub use sync::{ChainEnd, Hello};

use crate::cbor::WireError;
use crate::ids::{self, AccountId, CommitId, GroupId, MarkId, OrderId, StateId};
use crate::labels;
use crate::object::Versioned as _;
use crate::signed::Raw;

/// Kind numbers of group objects (key 0 of their bodies): 1 to 31.
pub mod kinds {
    /// [`super::CommitEnvelope`].
    pub const COMMIT: u16 = 1;
    /// [`super::CommitMeta`].
    pub const COMMIT_META: u16 = 2;
    /// [`super::Event`].
    pub const EVENT: u16 = 3;
    /// [`super::EventEnvelope`].
    pub const EVENT_ENVELOPE: u16 = 4;
    /// [`super::Mark`].
    pub const MARK: u16 = 5;
    /// [`super::Order`].
    pub const ORDER: u16 = 6;
    /// [`super::ReaddReq`].
    pub const READD: u16 = 7;
    /// [`super::WelcomeEnv`].
    pub const WELCOME: u16 = 8;
    /// [`super::JoinBundle`].
    pub const JOIN_BUNDLE: u16 = 9;
    /// [`super::Hello`].
    pub const SYNC_HELLO: u16 = 11;
    /// [`super::Report`].
    pub const REPORT: u16 = 12;
}

/// A body of any signed object or event envelope, told apart by its form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// A signed object; its kind is known, its signature is not checked.
    Signed {
        /// Kind number.
        kind: u16,
        /// Body and signature.
        raw: Raw,
    },
    /// An encrypted event.
    EventEnvelope(EventEnvelope),
    /// A signed event outside MLS, with its group and state.
    BareEvent(SignedEvent),
    /// A re-add request with its key package.
    Readd(PackedReadd),
}

impl Object {
    /// Parses what is found on a topic or stream: canonical, one object.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        match bytes.first() {
            Some(0x82) => {
                let raw = Raw::from_bytes(bytes)?;
                Ok(Self::Signed { kind: raw.kind()?, raw })
            }
            Some(0x83) => Ok(Self::Readd(PackedReadd::from_bytes(bytes)?)),
            Some(0x84) => Ok(Self::BareEvent(SignedEvent::from_bare(bytes)?)),
            Some(0xa0..=0xb7) => Ok(Self::EventEnvelope(EventEnvelope::from_bytes(bytes)?)),
            _ => Err(WireError::Malformed("no group object starts like this".into())),
        }
    }
}

/// Id of a commit: over the bytes of its PublicMessage.
#[must_use]
pub fn commit_id(public_message: &[u8]) -> CommitId {
    CommitId(ids::hash(labels::ID_COMMIT, &[public_message]))
}

/// Id of a state: over the TLS forms of group context and confirmation tag.
#[must_use]
pub fn state_id(group_context: &[u8], confirmation_tag: &[u8]) -> StateId {
    StateId(ids::hash(labels::ID_STATE, &[group_context, confirmation_tag]))
}

/// Id of a mark, over its body as received.
#[must_use]
pub fn mark_id(raw: &Raw) -> MarkId {
    MarkId(ids::hash(labels::ID_MARK, &[&raw.body]))
}

/// Id of an order, over its body as received.
#[must_use]
pub fn order_id(raw: &Raw) -> OrderId {
    OrderId(ids::hash(labels::ID_ORDER, &[&raw.body]))
}

/// Rank of an account among those of one role at an epoch: lower comes first.
#[must_use]
pub fn rank(gid: &GroupId, epoch: u64, account: &AccountId) -> [u8; 32] {
    ids::hash(labels::ID_RANK, &[&gid.0, &epoch.to_be_bytes(), &account.0])
}
