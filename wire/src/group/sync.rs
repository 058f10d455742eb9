//! Member-to-member sync on a proven stream: what a member knows of a group.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use super::kinds;
use crate::cbor::WireError;
use crate::ids::{DeviceId, GroupId, StateId};
use crate::limits;
use crate::object::object;

/// States that a hello may name as heads.
const HEADS_MAX: usize = 64;

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
    /// How far it has each device's chain of marks and orders.
    #[n(8)]
    pub marks: BTreeMap<DeviceId, ChainEnd>,
}

/// How far somebody has a device's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct ChainEnd {
    /// Highest number without a gap.
    #[n(0)]
    pub n: u64,
    /// The first bytes of the id of the last mark up to there; zeros if there
    /// is none. A device that showed different marks to different members is
    /// found out by it.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub tag: [u8; 16],
}

object! { Hello: kinds::SYNC_HELLO, fields [0, 1, 2, 3, 4, 5, 6, 7, 8], check Self::bounds }

impl Hello {
    fn bounds(&self) -> Result<(), WireError> {
        let many = limits::DEVICES_PER_GROUP_MAX;
        if self.heads.len() > HEADS_MAX || self.vv.len() > many || self.marks.len() > many {
            return Err(WireError::TooLarge("a sync hello's list"));
        }
        Ok(())
    }
}
