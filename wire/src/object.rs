//! Objects: canonical CBOR maps that begin with their kind and version.
//!
//! Owns what all of them have in common, signed or not. `object!` writes the
//! impls of a type:
//!
//! ```text
//! object! { Mark: kinds::MARK, fields [0, 1, 2, 3], label labels::SIG_MARK, check Self::bounds }
//! ```
//!
//! `fields` are the keys that the map may have, `label` makes it a
//! [`Body`](crate::signed::Body) that can be signed, and `check` names a method
//! with the bounds that the types do not express; the last two may be left out.

use minicbor::{Decode, Encode};

use crate::cbor::{self, WireError};

/// A `#[cbor(map)]` struct with its kind at key 0 and its version at key 1.
pub trait Versioned: Encode<()> + for<'b> Decode<'b, ()> {
    /// Kind number, unique in the product.
    const KIND: u16;
    /// The version written, and the highest one read.
    const VERSION: u16 = 1;
    /// Keys that the map may have, kind and version included.
    const FIELDS: &'static [u64];
    /// Kind and version as decoded.
    fn head(&self) -> (u16, u16);
    /// Bounds that the types do not express.
    fn check(&self) -> Result<(), WireError> {
        Ok(())
    }
    /// The map's bytes. Of a signed object this is the body alone.
    fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }
    /// Parses a map of this kind, of a version spoken here and within bounds.
    /// Of a signed object this is the body alone, and no signature is checked.
    fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let value: Self = cbor::decode(bytes, Self::FIELDS)?;
        let (kind, version) = value.head();
        if kind != Self::KIND {
            return Err(WireError::Kind { expected: Self::KIND, got: kind });
        }
        if version == 0 || version > Self::VERSION {
            return Err(WireError::Version(version));
        }
        value.check()?;
        Ok(value)
    }
}

/// Implements [`Versioned`] and, with a label, [`Body`](crate::signed::Body)
/// for a struct with the fields `kind` and `version`.
macro_rules! object {
    ($name:ident: $kind:expr, fields $fields:expr $(, label $label:expr)? $(, check $check:path)?) => {
        impl $crate::object::Versioned for $name {
            const KIND: u16 = $kind;
            const FIELDS: &'static [u64] = &$fields;
            fn head(&self) -> (u16, u16) {
                (self.kind, self.version)
            }
            $(fn check(&self) -> Result<(), $crate::cbor::WireError> {
                $check(self)
            })?
        }
        $(impl $crate::signed::Body for $name {
            const LABEL: &'static str = $label;
        })?
    };
}
pub(crate) use object;
