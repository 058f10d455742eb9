//! What the events of a conversation carry: one type number each, and the
//! shape of its content. A type that is not listed here is kept and shown as
//! "needs a newer Kith".

use minicbor::{Decode, Encode};

use crate::cbor::{self, WireError};
use crate::ids::{DeviceId, EventId};
use crate::limits;

/// A device card, in an [`crate::contact::Introduction`] that proves whose it is.
pub const TYPE_CARD: u16 = 1;
/// Text: [`Text`].
pub const TYPE_TEXT: u16 = 2;
/// A read receipt: [`ReadUpTo`].
pub const TYPE_READ: u16 = 3;
/// A profile, in an [`crate::contact::Introduction`] that proves whose it is.
pub const TYPE_PROFILE: u16 = 4;

/// A text message.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Text {
    /// The text, UTF-8, not empty.
    #[n(0)]
    pub text: String,
    /// The event it answers.
    #[n(1)]
    pub reply_to: Option<EventId>,
}

/// Bytes of a text message at most: the event's body less its other fields.
pub const TEXT_BYTES_MAX: usize = limits::EVENT_BODY_BYTES_MAX - 2_048;

impl Text {
    /// The content's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }
    /// Parses and bounds.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let text: Self = cbor::decode(bytes, &[0, 1])?;
        if text.text.is_empty() {
            return Err(WireError::Invalid("a text message is empty"));
        }
        if text.text.len() > TEXT_BYTES_MAX {
            return Err(WireError::TooLarge("a text message"));
        }
        Ok(text)
    }
}

/// "I have read everything of these devices up to here."
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ReadUpTo {
    /// (author device, its sequence number), ascending by device.
    #[n(0)]
    pub devices: Vec<(DeviceId, u64)>,
}

impl ReadUpTo {
    /// The content's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }
    /// Parses and bounds.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let read: Self = cbor::decode(bytes, &[0])?;
        if read.devices.len() > limits::DEVICES_PER_GROUP_MAX {
            return Err(WireError::TooLarge("a read receipt"));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_round_trip_and_refuse_what_they_must() {
        let text = Text { text: "héllo 👋".into(), reply_to: Some(EventId([1; 32])) };
        assert_eq!(Text::from_bytes(&text.to_bytes()), Ok(text));
        assert!(Text::from_bytes(&Text { text: String::new(), reply_to: None }.to_bytes()).is_err());
        let long = Text { text: "x".repeat(TEXT_BYTES_MAX + 1), reply_to: None };
        assert!(Text::from_bytes(&long.to_bytes()).is_err());
        let read = ReadUpTo { devices: vec![(DeviceId([1; 32]), 7)] };
        assert_eq!(ReadUpTo::from_bytes(&read.to_bytes()), Ok(read));
        let value: serde_cbor::Value =
            serde_cbor::from_slice(&Text { text: "a".into(), reply_to: None }.to_bytes()).unwrap();
        assert!(matches!(value, serde_cbor::Value::Map(_)));
    }
}
