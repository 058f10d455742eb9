//! Device cards: where and how a device can be reached.

use minicbor::{Decode, Encode};

use super::kinds;
use crate::cbor::WireError;
use crate::ids::{AccountId, DeviceId, PeerKey, RelayId, TopicId};
use crate::object::object;
use crate::topic::{DELIVERY_TOKEN_BYTES_MAX, Descriptor};
use crate::{labels, limits};

/// A relay as others are told about it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct RelayHint {
    /// The relay's key.
    #[n(0)]
    pub id: RelayId,
    /// Its name, for people.
    #[n(1)]
    pub name: String,
    /// Multiaddrs in text form, without `/p2p/…`.
    #[n(2)]
    pub addrs: Vec<String>,
}

impl RelayHint {
    /// Bounds.
    pub fn check(&self) -> Result<(), WireError> {
        if self.name.len() > limits::NAME_BYTES_MAX {
            return Err(WireError::TooLarge("the relay's name"));
        }
        check_addrs(&self.addrs)
    }
}

/// Bounds of a list of addresses.
pub(crate) fn check_addrs(addrs: &[String]) -> Result<(), WireError> {
    if addrs.len() > limits::ADDRS_MAX {
        return Err(WireError::TooLarge("the number of addresses"));
    }
    if addrs.iter().any(|a| a.is_empty() || a.len() > limits::ADDR_BYTES_MAX) {
        return Err(WireError::TooLarge("an address"));
    }
    Ok(())
}

/// The public half of a device's inbox (relay.md, mode 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Inbox {
    /// Public key that reading is proven with.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub read_pub: [u8; 32],
    /// Public key that signs delivery tokens.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub write_pub: [u8; 32],
}

impl Inbox {
    /// The inbox's topic id.
    #[must_use]
    pub fn topic(&self) -> TopicId {
        Descriptor::from(*self).id()
    }
}

/// Where a device can be reached. Signed by the device; the higher revision
/// counts. Given to contacts and groups only: it names the transport key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct DeviceCard {
    /// Kind.
    #[n(0)]
    pub kind: u16,
    /// Version of the shape.
    #[n(1)]
    pub version: u16,
    /// The account that the device belongs to.
    #[n(3)]
    pub account: AccountId,
    /// The device.
    #[n(4)]
    pub device: DeviceId,
    /// Counts changes, from 1.
    #[n(5)]
    pub revision: u64,
    /// The device's inbox.
    #[n(6)]
    pub inbox: Inbox,
    /// Relays that hold the inbox, at most `limits::CARD_RELAYS_MAX`.
    #[n(7)]
    pub relays: Vec<RelayHint>,
    /// Transport key that contacts dial.
    #[n(8)]
    pub transport: PeerKey,
    /// Direct addresses, at most `limits::ADDRS_MAX`.
    #[n(9)]
    pub addrs: Vec<String>,
    /// When it was issued, Unix milliseconds.
    #[n(10)]
    pub issued_ms: u64,
    /// When it ends, Unix milliseconds.
    #[n(11)]
    pub expires_ms: u64,
    /// A delivery token with its secret, shared by all who get this card.
    #[cbor(n(12), with = "minicbor::bytes")]
    pub token: Option<Vec<u8>>,
}

object! {
    DeviceCard: kinds::DEVICE_CARD, fields [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
    label labels::SIG_DEVICE_CARD, check Self::bounds
}

impl DeviceCard {
    fn bounds(&self) -> Result<(), WireError> {
        if self.relays.len() > limits::CARD_RELAYS_MAX {
            return Err(WireError::TooLarge("the number of relays"));
        }
        self.relays.iter().try_for_each(RelayHint::check)?;
        check_addrs(&self.addrs)?;
        if self.token.as_ref().is_some_and(|t| t.len() > DELIVERY_TOKEN_BYTES_MAX) {
            return Err(WireError::TooLarge("the delivery token"));
        }
        if self.expires_ms <= self.issued_ms {
            return Err(WireError::Invalid("the card ends before it begins"));
        }
        Ok(())
    }
}
