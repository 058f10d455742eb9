//! Signed objects: CBOR `[body: bstr, sig: bstr 64]`, body a canonical map.
//! Signatures and ids are over the received body bytes, never over a
//! re-encoding.

use ed25519_dalek::SigningKey;
use minicbor::{Decode, Encode};

use crate::cbor::{self, WireError};
use crate::crypto;
use crate::object::Versioned;

/// The body of a signed object.
pub trait Body: Versioned {
    /// Label of the signature.
    const LABEL: &'static str;
}

/// A signed object with the exact bytes that were signed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Raw {
    /// The body's bytes.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub body: Vec<u8>,
    /// The signature.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub sig: [u8; 64],
}

impl Raw {
    /// Reads the outer array; the body is not looked at yet.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        cbor::decode(bytes, &[])
    }
    /// The object's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }
    /// The kind that the body claims, for dispatch before it is decoded.
    pub fn kind(&self) -> Result<u16, WireError> {
        let mut d = minicbor::Decoder::new(&self.body);
        d.map()?;
        match d.u64()? {
            0 => Ok(d.u16()?),
            _ => Err(WireError::Malformed("an object starts with its kind".into())),
        }
    }
    /// Decodes the body as `T` without looking at the signature: for objects
    /// whose signer is named inside. Call [`Raw::verify`] before using it.
    pub fn body<T: Body>(&self) -> Result<T, WireError> {
        T::from_bytes(&self.body)
    }
    /// Verifies the signature of `public` with `prefix` in front of the body
    /// (events: group id and state id; empty otherwise).
    pub fn verify<T: Body>(&self, public: &[u8; 32], prefix: &[&[u8]]) -> Result<(), WireError> {
        let mut parts = prefix.to_vec();
        parts.push(&self.body);
        crypto::verify(public, T::LABEL, &parts, &self.sig)
    }
}

/// Signs a body; `prefix` as in [`Raw::verify`].
#[must_use]
pub fn sign<T: Body>(body: &T, key: &SigningKey, prefix: &[&[u8]]) -> Raw {
    let body = body.to_bytes();
    let mut parts = prefix.to_vec();
    parts.push(&body);
    let sig = crypto::sign(key, T::LABEL, &parts);
    Raw { body, sig }
}
