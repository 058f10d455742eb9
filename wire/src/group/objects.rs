//! Commits, marks, orders and re-add requests.

use std::collections::BTreeMap;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Decoder, Encode, Encoder};

use super::kinds;
use crate::cbor::{self, WireError};
use crate::ids::{AccountId, CommitId, DeviceId, GroupId, OrderId, StateId};
use crate::object::object;
use crate::signed::Raw;
use crate::{labels, limits};

/// Orders and re-add requests that one commit may carry.
const COMMIT_ORDERS_MAX: usize = 64;
/// Bad commits that one mark may name.
const MARK_BAD_MAX: usize = 64;
/// States that a re-add request may name.
const READD_STATES_MAX: usize = 16;

/// A commit as its committer publishes it: signed a second time, because the
/// MLS signature does not cover the confirmation tag.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct CommitEnvelope {
    /// [`kinds::COMMIT`].
    #[n(0)]
    pub kind: u16,
    /// 1.
    #[n(1)]
    pub version: u16,
    /// Group.
    #[n(2)]
    pub gid: GroupId,
    /// State that the commit leaves.
    #[n(3)]
    pub parent: StateId,
    /// MLSMessage with the PublicMessage (RFC 9420 6.2).
    #[cbor(n(4), with = "minicbor::bytes")]
    pub message: Vec<u8>,
}

object! { CommitEnvelope: kinds::COMMIT, fields [0, 1, 2, 3, 4], label labels::SIG_COMMIT }

/// Why a commit was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum CommitReason {
    /// Fresh keys of the committer.
    #[n(1)]
    Update,
    /// New members or devices.
    #[n(2)]
    Add,
    /// Members or devices removed.
    #[n(3)]
    Remove,
    /// Another 0xFF20.
    #[n(4)]
    Policy,
    /// Devices that fell behind come back.
    #[n(5)]
    Readd,
}

/// What a commit says to Kith: the MLS authenticated data of every commit.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct CommitMeta {
    /// [`kinds::COMMIT_META`].
    #[n(0)]
    pub kind: u16,
    /// 1.
    #[n(1)]
    pub version: u16,
    /// Group.
    #[n(2)]
    pub gid: GroupId,
    /// State that the commit leaves.
    #[n(3)]
    pub parent: StateId,
    /// Orders that it enacts, signed, whole.
    #[n(4)]
    pub orders: Vec<ByteVec>,
    /// Re-add requests that it serves, signed, whole.
    #[n(5)]
    pub readds: Vec<ByteVec>,
    /// Why.
    #[n(6)]
    pub reason: CommitReason,
    /// Committer.
    #[n(7)]
    pub device: DeviceId,
    /// The state that follows begins a new topic.
    #[n(8)]
    pub rotate: bool,
}

object! { CommitMeta: kinds::COMMIT_META, fields [0, 1, 2, 3, 4, 5, 6, 7, 8], check Self::bounds }

impl CommitMeta {
    fn bounds(&self) -> Result<(), WireError> {
        if self.orders.len() > COMMIT_ORDERS_MAX || self.readds.len() > limits::DEVICES_PER_GROUP_MAX {
            return Err(WireError::TooLarge("a commit's list of orders"));
        }
        Ok(())
    }
}

/// A commit that a device could not process.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct BadCommit {
    /// Which.
    #[n(0)]
    pub commit: CommitId,
    /// 1 path ciphertext, 2 confirmation tag.
    #[n(1)]
    pub reason: u8,
}

/// A device's word on where it stands and what it has: vote and
/// acknowledgement in one.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Mark {
    /// [`kinds::MARK`].
    #[n(0)]
    pub kind: u16,
    /// 1.
    #[n(1)]
    pub version: u16,
    /// Group.
    #[n(2)]
    pub gid: GroupId,
    /// Whose.
    #[n(3)]
    pub device: DeviceId,
    /// 1, 2, 3, … per device and group; orders take numbers of the same chain.
    #[n(4)]
    pub n: u64,
    /// Id (of mark or order) number n − 1; none for the first.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub prev: Option<[u8; 32]>,
    /// State that the device is in.
    #[n(6)]
    pub at: StateId,
    /// What it has, changes since its last mark: highest event number without
    /// a gap and highest mark number, per device. The own entry is always
    /// there and says how many events it has sent.
    #[n(7)]
    pub changed: BTreeMap<DeviceId, (u64, u64)>,
    /// Commits that it cannot process.
    #[n(8)]
    pub bad: Vec<BadCommit>,
}

object! { Mark: kinds::MARK, fields [0, 1, 2, 3, 4, 5, 6, 7, 8], label labels::SIG_MARK, check Self::bounds }

impl Mark {
    fn bounds(&self) -> Result<(), WireError> {
        if self.n == 0 || (self.n == 1) != self.prev.is_none() {
            return Err(WireError::Invalid("a mark's number and its predecessor do not fit"));
        }
        if self.changed.len() > limits::DEVICES_PER_GROUP_MAX || self.bad.len() > MARK_BAD_MAX {
            return Err(WireError::TooLarge("a mark's list"));
        }
        Ok(())
    }
}

/// What an order asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum OrderKind {
    /// Take the target out.
    #[n(1)]
    Remove,
    /// Lower the target's role to member.
    #[n(2)]
    Demote,
    /// The issuer goes.
    #[n(3)]
    Leave,
    /// Let the target in again.
    #[n(4)]
    Add,
}

/// Whom an order is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Target {
    /// An account with all its devices.
    #[n(1)]
    Account(#[n(0)] AccountId),
    /// One device.
    #[n(2)]
    Device(#[n(0)] DeviceId),
}

/// A removal, demotion, leave or lifting that holds on every branch.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Order {
    /// [`kinds::ORDER`].
    #[n(0)]
    pub kind: u16,
    /// 1.
    #[n(1)]
    pub version: u16,
    /// Group.
    #[n(2)]
    pub gid: GroupId,
    /// Issuing account.
    #[n(3)]
    pub issuer: AccountId,
    /// Its device that signs.
    #[n(4)]
    pub device: DeviceId,
    /// Number in the device's chain of marks and orders.
    #[n(5)]
    pub n: u64,
    /// Id number n − 1 of that chain.
    #[cbor(n(6), with = "minicbor::bytes")]
    pub prev: Option<[u8; 32]>,
    /// What it asks for.
    #[n(7)]
    pub order: OrderKind,
    /// Whom it is about.
    #[n(8)]
    pub target: Target,
    /// State that it refers to: the `at` of the mark before it.
    #[n(9)]
    pub at: StateId,
    /// Orders that it lifts (`Add` only).
    #[n(10)]
    pub lifts: Vec<OrderId>,
    /// Last event and last mark of each device of the target that still count.
    #[n(11)]
    pub cut: BTreeMap<DeviceId, (u64, u64)>,
    /// Hybrid clock, for display only.
    #[n(12)]
    pub hlc: u64,
    /// A Revoke or Rotate of the own account that this order carries.
    #[cbor(n(13), with = "minicbor::bytes")]
    pub statement: Option<Vec<u8>>,
}

object! {
    Order: kinds::ORDER, fields [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13],
    label labels::SIG_ORDER, check Self::bounds
}

impl Order {
    fn bounds(&self) -> Result<(), WireError> {
        if self.n < 2 || self.prev.is_none() {
            return Err(WireError::Invalid("an order follows a mark of its device"));
        }
        if !self.lifts.is_empty() && self.order != OrderKind::Add {
            return Err(WireError::Invalid("only an order to add lifts others"));
        }
        if self.lifts.len() > COMMIT_ORDERS_MAX || self.cut.len() > limits::DEVICES_PER_GROUP_MAX {
            return Err(WireError::TooLarge("an order's list"));
        }
        Ok(())
    }
}

/// "Take me in again": a device that is too far behind, or a new one of an
/// account that is in.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ReaddReq {
    /// [`kinds::READD`].
    #[n(0)]
    pub kind: u16,
    /// 1.
    #[n(1)]
    pub version: u16,
    /// Group.
    #[n(2)]
    pub gid: GroupId,
    /// Who asks.
    #[n(3)]
    pub device: DeviceId,
    /// Its credential.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub credential: Vec<u8>,
    /// SHA-256 of the KeyPackage that lies beside, as MLSMessage.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub package: [u8; 32],
    /// The last states that it held.
    #[n(6)]
    pub held: Vec<StateId>,
}

object! { ReaddReq: kinds::READD, fields [0, 1, 2, 3, 4, 5, 6], label labels::SIG_READD, check Self::bounds }

impl ReaddReq {
    fn bounds(&self) -> Result<(), WireError> {
        if self.held.len() > READD_STATES_MAX {
            return Err(WireError::TooLarge("a re-add request's list of states"));
        }
        Ok(())
    }
}

/// A signed re-add request with the KeyPackage that it asks for: CBOR
/// `[body, sig, package]`. Commits carry the first two parts, as `[body, sig]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedReadd {
    /// The signed request.
    pub raw: Raw,
    /// MLSMessage with the KeyPackage (RFC 9420 10).
    pub package: Vec<u8>,
}

impl PackedReadd {
    /// The object's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.raw.body.len() + self.package.len() + 80);
        let mut e = Encoder::new(&mut out);
        // Writing to a Vec cannot fail.
        let _infallible = (|| {
            e.array(3)?.bytes(&self.raw.body)?.bytes(&self.raw.sig)?.bytes(&self.package)?;
            Ok::<(), minicbor::encode::Error<_>>(())
        })();
        out
    }
    /// Parses what [`PackedReadd::to_bytes`] made.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        cbor::check_canonical(bytes)?;
        let mut d = Decoder::new(bytes);
        if d.array()? != Some(3) {
            return Err(WireError::Malformed("a re-add request has three parts".into()));
        }
        let raw = Raw { body: d.bytes()?.to_vec(), sig: cbor::fixed(&mut d)? };
        let package = d.bytes()?.to_vec();
        if package.len() > limits::KEY_PACKAGE_BYTES_MAX {
            return Err(WireError::TooLarge("a key package"));
        }
        Ok(Self { raw, package })
    }
}
