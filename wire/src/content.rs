//! What the events of a conversation carry: one type number each, and the
//! shape of its content. A type that is not listed here is kept and shown as
//! "needs a newer Kith".

use minicbor::{Decode, Encode};

use crate::blob::tree::Blob;
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
/// A file: [`Attachment`].
pub const TYPE_FILE: u16 = 5;
/// Call signalling: [`crate::call::Signal`].
pub const TYPE_CALL: u16 = 6;

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

/// Bytes (UTF-8) of a file's name.
pub const FILE_NAME_BYTES_MAX: usize = 255;
/// Bytes of a media type.
pub const MEDIA_TYPE_BYTES_MAX: usize = 127;
/// Bytes (UTF-8) of the words beside a file.
pub const CAPTION_BYTES_MAX: usize = 16 << 10;
/// Bytes of a preview picture.
pub const PREVIEW_BYTES_MAX: usize = 24 << 10;
/// Samples of a voice message's waveform.
pub const WAVEFORM_MAX: usize = 128;

/// A file: where its bytes are known from, and what its sender says of it.
/// Name, type and looks are words of the sender; only the bytes are checked.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Attachment {
    /// Key, root and size.
    #[n(0)]
    pub blob: Blob,
    /// Name.
    #[n(1)]
    pub name: String,
    /// Media type, like `image/jpeg`; empty = unknown.
    #[n(2)]
    pub media_type: String,
    /// Words beside it; may be empty.
    #[n(3)]
    pub caption: String,
    /// The event it answers.
    #[n(4)]
    pub reply_to: Option<EventId>,
    /// How it looks or sounds.
    #[n(5)]
    pub look: Option<Look>,
}

/// How a picture, film or recording looks or sounds, so that it has its place
/// before it is fetched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Look {
    /// Width in pixels; 0 = unknown.
    #[n(0)]
    pub width: u32,
    /// Height in pixels; 0 = unknown.
    #[n(1)]
    pub height: u32,
    /// Length in milliseconds; 0 = unknown.
    #[n(2)]
    pub duration_ms: u64,
    /// A small JPEG or WebP; may be empty.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub preview: Vec<u8>,
    /// Loudness over time, 0 to 255; not empty only for voice messages.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub waveform: Vec<u8>,
    /// It was recorded as a voice message.
    #[n(5)]
    pub voice: bool,
}

impl Attachment {
    /// The content's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }
    /// Parses and bounds.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let file: Self = cbor::decode(bytes, &[0, 1, 2, 3, 4, 5])?;
        file.check()?;
        Ok(file)
    }
    /// Whether it is within its bounds.
    pub fn check(&self) -> Result<(), WireError> {
        self.blob.tree()?;
        let look = self.look.clone().unwrap_or_default();
        for (len, max, what) in [
            (self.name.len(), FILE_NAME_BYTES_MAX, "the file's name"),
            (self.media_type.len(), MEDIA_TYPE_BYTES_MAX, "the file's type"),
            (self.caption.len(), CAPTION_BYTES_MAX, "the text beside the file"),
            (look.preview.len(), PREVIEW_BYTES_MAX, "the file's preview"),
            (look.waveform.len(), WAVEFORM_MAX, "the recording's waveform"),
        ] {
            if len > max {
                return Err(WireError::TooLarge(what));
            }
        }
        Ok(())
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
        let file = Attachment {
            blob: Blob {
                key: crate::crypto::Secret::new([1; 32]),
                root: crate::ids::BlobId([2; 32]),
                size: 9,
            },
            name: "träumerei.mp3".into(),
            media_type: "audio/mpeg".into(),
            caption: String::new(),
            reply_to: None,
            look: Some(Look { duration_ms: 9, waveform: vec![1, 2], ..Look::default() }),
        };
        assert_eq!(Attachment::from_bytes(&file.to_bytes()), Ok(file.clone()));
        let long = Attachment { name: "x".repeat(256), ..file.clone() };
        assert!(Attachment::from_bytes(&long.to_bytes()).is_err());
        let huge = Attachment { blob: Blob { size: u64::MAX, ..file.blob.clone() }, ..file };
        assert!(Attachment::from_bytes(&huge.to_bytes()).is_err());
        let value: serde_cbor::Value =
            serde_cbor::from_slice(&Text { text: "a".into(), reply_to: None }.to_bytes()).unwrap();
        assert!(matches!(value, serde_cbor::Value::Map(_)));
    }
}
