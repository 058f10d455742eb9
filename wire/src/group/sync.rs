//! Member-to-member sync on a proven stream: what I know, what you lack.

use std::collections::BTreeMap;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::kinds;
use crate::cbor::{self, WireError};
use crate::ids::{DeviceId, GroupId, StateId};
use crate::limits;

/// States that a hello may name as heads.
pub(super) const HEADS_MAX: usize = 64;

/// What the sender knows of a group.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Hello {
    /// [`kinds::SYNC_HELLO`].
    #[n(0)]
    pub kind: u16,
    /// 1.
    #[n(1)]
    pub version: u16,
    /// Group.
    #[n(2)]
    pub gid: GroupId,
    /// Where its history begins.
    #[n(3)]
    pub anchor: StateId,
    /// Its tip.
    #[n(4)]
    pub tip: StateId,
    /// Tips of other branches, then ancestors of the tip, ever sparser.
    #[n(5)]
    pub heads: Vec<StateId>,
    /// Highest event number without a gap, per device.
    #[n(6)]
    pub vv: BTreeMap<DeviceId, u64>,
    /// Hash over its order ids, ascending.
    #[cbor(n(7), with = "minicbor::bytes")]
    pub orders: [u8; 32],
    /// Highest mark number per device.
    #[n(8)]
    pub marks: BTreeMap<DeviceId, u64>,
}

impl Hello {
    /// Parses a hello.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let hello: Self = cbor::decode(bytes, &[0, 1, 2, 3, 4, 5, 6, 7, 8])?;
        if hello.kind != kinds::SYNC_HELLO {
            return Err(WireError::Kind { expected: kinds::SYNC_HELLO, got: hello.kind });
        }
        if hello.version != 1 {
            return Err(WireError::Version(hello.version));
        }
        let many = limits::DEVICES_PER_GROUP_MAX;
        if hello.heads.len() > HEADS_MAX || hello.vv.len() > many || hello.marks.len() > many {
            return Err(WireError::TooLarge("a sync hello's list"));
        }
        Ok(hello)
    }
    /// The hello's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }
}

/// Objects that the other side lacks, in the order in which they apply.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Give {
    /// [`kinds::SYNC_GIVE`].
    #[n(0)]
    pub kind: u16,
    /// 1.
    #[n(1)]
    pub version: u16,
    /// Group.
    #[n(2)]
    pub gid: GroupId,
    /// Commit envelopes, orders, marks, bare events.
    #[n(3)]
    pub objects: Vec<ByteVec>,
}
