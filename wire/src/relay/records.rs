//! What a relay signs: its statement, receipts, notices of eviction. And what
//! a device signs for a relay to hand out: key package records.

use ed25519_dalek::SigningKey;
use minicbor::{Decode, Encode};

use crate::cbor::WireError;
use crate::ids::{DeviceId, EntryId, RelayId, TopicId};
use crate::object::{Versioned as _, object};
use crate::signed::{self, Body, Raw};
use crate::topic::kinds;
use crate::{labels, limits};

/// The largest statement, receipt or notice, in bytes.
const RECORD_BYTES_MAX: usize = 2048;
/// The largest signed key package record, in bytes.
pub const PACKAGE_RECORD_BYTES_MAX: usize = limits::KEY_PACKAGE_BYTES_MAX + 256;

fn parse<T: Body>(bytes: &[u8], relay: &RelayId) -> Result<T, WireError> {
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(WireError::TooLarge("a relay's record"));
    }
    let raw = Raw::from_bytes(bytes)?;
    let body: T = raw.body()?;
    raw.verify::<T>(&relay.0, &[])?;
    Ok(body)
}

/// What a relay promises and how much it takes. A client shows it and holds
/// the relay to it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Statement {
    /// Kind.
    #[n(0)]
    pub kind: u16,
    /// Version of the shape.
    #[n(1)]
    pub version: u16,
    /// The relay.
    #[n(3)]
    pub relay: RelayId,
    /// Its name, for people.
    #[n(4)]
    pub name: String,
    /// The longest time that anything is kept, in seconds.
    #[n(5)]
    pub retention_s: u64,
    /// Bytes of one topic.
    #[n(6)]
    pub topic_bytes: u64,
    /// Bytes of one topic that one sender may fill.
    #[n(7)]
    pub share_bytes: u64,
    /// Bytes over all topics that one sender may fill.
    #[n(8)]
    pub sender_bytes: u64,
    /// Topics that one sender may start.
    #[n(9)]
    pub sender_topics: u64,
    /// Calls per second on one connection, on average.
    #[n(10)]
    pub calls_per_s: u64,
    /// Bytes per second on one connection, both ways, on average.
    #[n(11)]
    pub bytes_per_s: u64,
    /// Topics that one connection may have open.
    #[n(12)]
    pub open_topics: u64,
    /// Key packages of one inbox.
    #[n(13)]
    pub packages: u64,
    /// Bits of work for a request without a token.
    #[n(14)]
    pub work_bits: u8,
    /// Bytes of requests without a token in one inbox.
    #[n(15)]
    pub request_bytes: u64,
    /// Whether a community link is needed.
    #[n(16)]
    pub admission: bool,
    /// When it was signed, Unix milliseconds.
    #[n(17)]
    pub issued_ms: u64,
}

object! {
    Statement: kinds::STATEMENT, fields [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17],
    label labels::SIG_RELAY_STATEMENT, check Self::bounds
}

impl Statement {
    fn bounds(&self) -> Result<(), WireError> {
        if self.name.len() > limits::NAME_BYTES_MAX {
            return Err(WireError::TooLarge("the relay's name"));
        }
        Ok(())
    }
    /// Signs it with the relay's key.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        signed::sign(self, key, &[]).to_bytes()
    }
    /// Reads a statement of `relay`.
    pub fn verify(bytes: &[u8], relay: &RelayId) -> Result<Self, WireError> {
        let statement: Self = parse(bytes, relay)?;
        if statement.relay == *relay {
            Ok(statement)
        } else {
            Err(WireError::Invalid("the statement is of another relay"))
        }
    }
}

/// A relay's promise: this entry is durable here and will be until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Receipt {
    /// Kind.
    #[n(0)]
    pub kind: u16,
    /// Version of the shape.
    #[n(1)]
    pub version: u16,
    /// The topic.
    #[n(3)]
    pub topic: TopicId,
    /// The entry.
    #[n(4)]
    pub id: EntryId,
    /// Its place in the topic.
    #[n(5)]
    pub index: u64,
    /// End of the promise, Unix milliseconds.
    #[n(6)]
    pub stored_until_ms: u64,
}

object! { Receipt: kinds::RECEIPT, fields [0, 1, 3, 4, 5, 6], label labels::SIG_RELAY_RECEIPT }

impl Receipt {
    /// Signs a receipt. The same arguments give the same bytes.
    #[must_use]
    pub fn sign(key: &SigningKey, topic: TopicId, id: EntryId, index: u64, stored_until_ms: u64) -> Vec<u8> {
        let body = Self { kind: Self::KIND, version: Self::VERSION, topic, id, index, stored_until_ms };
        signed::sign(&body, key, &[]).to_bytes()
    }
    /// Reads a receipt of `relay` for exactly this entry of this topic.
    pub fn verify(bytes: &[u8], relay: &RelayId, topic: &TopicId, id: &EntryId) -> Result<Self, WireError> {
        let receipt: Self = parse(bytes, relay)?;
        if receipt.topic == *topic && receipt.id == *id {
            Ok(receipt)
        } else {
            Err(WireError::Invalid("the receipt is for something else"))
        }
    }
}

/// Why a relay dropped something before its time.
pub mod evicted {
    /// The operator ordered it.
    pub const OPERATOR: u16 = 1;
    /// The stored bytes were damaged.
    pub const DAMAGED: u16 = 2;
}

/// A relay's admission that it dropped entries before their time.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Evicted {
    /// Kind.
    #[n(0)]
    pub kind: u16,
    /// Version of the shape.
    #[n(1)]
    pub version: u16,
    /// The topic.
    #[n(3)]
    pub topic: TopicId,
    /// First index that is gone.
    #[n(4)]
    pub from: u64,
    /// Last index that is gone.
    #[n(5)]
    pub to: u64,
    /// Why: a number of [`evicted`].
    #[n(6)]
    pub reason: u16,
    /// When, Unix milliseconds.
    #[n(7)]
    pub at_ms: u64,
}

object! {
    Evicted: kinds::EVICTED, fields [0, 1, 3, 4, 5, 6, 7],
    label labels::SIG_RELAY_EVICTED, check Self::bounds
}

impl Evicted {
    fn bounds(&self) -> Result<(), WireError> {
        if self.from > self.to {
            return Err(WireError::Invalid("the notice of eviction ends before it begins"));
        }
        Ok(())
    }
    /// Signs it with the relay's key.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        signed::sign(self, key, &[]).to_bytes()
    }
    /// Reads a notice of `relay`.
    pub fn verify(bytes: &[u8], relay: &RelayId) -> Result<Self, WireError> {
        parse(bytes, relay)
    }
}

/// A key package that a device left for whoever adds it while it is away.
/// The relay hands it out unread; whoever takes it verifies it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PackageRecord {
    /// Kind.
    #[n(0)]
    pub kind: u16,
    /// Version of the shape.
    #[n(1)]
    pub version: u16,
    /// The device that signs.
    #[n(3)]
    pub device: DeviceId,
    /// The MLS key package's bytes.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub package: Vec<u8>,
    /// When it was published, Unix milliseconds.
    #[n(5)]
    pub published_ms: u64,
    /// Given out again and again when no other is left.
    #[n(6)]
    pub last_resort: bool,
}

object! {
    PackageRecord: kinds::PACKAGE, fields [0, 1, 3, 4, 5, 6],
    label labels::SIG_PACKAGE, check Self::bounds
}

impl PackageRecord {
    fn bounds(&self) -> Result<(), WireError> {
        if self.package.len() > limits::KEY_PACKAGE_BYTES_MAX {
            return Err(WireError::TooLarge("the key package"));
        }
        Ok(())
    }
    /// Signs a record with the device's key.
    #[must_use]
    pub fn sign(key: &SigningKey, package: Vec<u8>, published_ms: u64, last_resort: bool) -> Vec<u8> {
        let body = Self {
            kind: Self::KIND,
            version: Self::VERSION,
            device: DeviceId(key.verifying_key().to_bytes()),
            package,
            published_ms,
            last_resort,
        };
        signed::sign(&body, key, &[]).to_bytes()
    }
    /// Reads a record of `device`.
    pub fn verify(bytes: &[u8], device: &DeviceId) -> Result<Self, WireError> {
        if bytes.len() > PACKAGE_RECORD_BYTES_MAX {
            return Err(WireError::TooLarge("the key package record"));
        }
        let raw = Raw::from_bytes(bytes)?;
        let record: Self = raw.body()?;
        if record.device != *device {
            return Err(WireError::Invalid("the key package is of another device"));
        }
        raw.verify::<Self>(&device.0, &[])?;
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_verify_for_their_relay_topic_and_entry_only() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let relay = RelayId(key.verifying_key().to_bytes());
        let (topic, id) = (TopicId([2; 32]), EntryId([3; 32]));
        let bytes = Receipt::sign(&key, topic, id, 7, 8);
        assert_eq!(bytes, Receipt::sign(&key, topic, id, 7, 8));
        let receipt = Receipt::verify(&bytes, &relay, &topic, &id).unwrap();
        assert_eq!((receipt.index, receipt.stored_until_ms), (7, 8));
        assert!(Receipt::verify(&bytes, &RelayId([9; 32]), &topic, &id).is_err());
        assert!(Receipt::verify(&bytes, &relay, &TopicId([9; 32]), &id).is_err());
        assert!(Receipt::verify(&bytes, &relay, &topic, &EntryId([9; 32])).is_err());
        let mut bent = bytes;
        *bent.last_mut().unwrap() ^= 1;
        assert!(Receipt::verify(&bent, &relay, &topic, &id).is_err());
    }

    #[test]
    fn package_records_are_their_devices() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let device = DeviceId(key.verifying_key().to_bytes());
        let bytes = PackageRecord::sign(&key, vec![5; 600], 9, true);
        assert!(bytes.len() < PACKAGE_RECORD_BYTES_MAX);
        let record = PackageRecord::verify(&bytes, &device).unwrap();
        assert_eq!((record.package.len(), record.last_resort), (600, true));
        assert!(PackageRecord::verify(&bytes, &DeviceId([2; 32])).is_err());
        let large = PackageRecord::sign(&key, vec![5; limits::KEY_PACKAGE_BYTES_MAX + 1], 9, true);
        assert!(PackageRecord::verify(&large, &device).is_err());
    }
}
