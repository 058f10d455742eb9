//! The few primitives that the wire needs, each with its label in front:
//! key derivation, Ed25519 signatures, XChaCha20-Poly1305.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::cbor::WireError;

/// A 32-byte secret that wipes itself and never prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    /// Wraps key bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }
    /// From exactly 32 bytes, else `None`.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::new)
    }
    /// The key bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl<C> minicbor::Encode<C> for Secret {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&*self.0)?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Secret {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Self::from_slice(d.bytes()?).ok_or_else(|| minicbor::decode::Error::message("a secret has 32 bytes"))
    }
}

/// `X(secret, label, context, 32)` of docs/protocol.md: HKDF-SHA-256-Expand
/// with the secret as PRK and `label ‖ 0 ‖ context` as info.
#[must_use]
pub fn derive(secret: &Secret, label: &str, context: &[u8]) -> Secret {
    let mut out = [0; 32];
    derive_into(secret, label, context, &mut out);
    Secret::new(out)
}

/// As [`derive()`], for another length (at most 8,160 bytes; longer stays zero).
pub fn derive_into(secret: &Secret, label: &str, context: &[u8], out: &mut [u8]) {
    // A 32-byte PRK is always long enough, and no caller asks for over 8,160 bytes.
    if let Ok(h) = Hkdf::<Sha256>::from_prk(secret.expose()) {
        let _infallible = h.expand_multi_info(&[label.as_bytes(), &[0], context], out);
    }
}

/// HKDF-SHA-256-Extract.
#[must_use]
pub fn extract(salt: &str, input: &[u8]) -> Secret {
    Secret::new(Hkdf::<Sha256>::extract(Some(salt.as_bytes()), input).0.into())
}

fn signing_input(label: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut input = Vec::with_capacity(label.len() + 1 + parts.iter().map(|p| p.len()).sum::<usize>());
    input.extend_from_slice(label.as_bytes());
    input.push(0);
    for p in parts {
        input.extend_from_slice(p);
    }
    input
}

/// Ed25519 over `label ‖ 0 ‖ parts`.
#[must_use]
pub fn sign(key: &SigningKey, label: &str, parts: &[&[u8]]) -> [u8; 64] {
    key.sign(&signing_input(label, parts)).to_bytes()
}

/// Verifies strictly (no small-order keys, no malleable signatures).
pub fn verify(public: &[u8; 32], label: &str, parts: &[&[u8]], sig: &[u8; 64]) -> Result<(), WireError> {
    verify_bytes(public, &signing_input(label, parts), sig)
}

/// As [`verify`], over bytes as they are.
pub fn verify_bytes(public: &[u8; 32], message: &[u8], sig: &[u8; 64]) -> Result<(), WireError> {
    let check = || {
        VerifyingKey::from_bytes(public)
            .and_then(|k| k.verify_strict(message, &Signature::from_bytes(sig)))
            .map_err(|_| WireError::Signature)
    };
    #[cfg(feature = "verify-once")]
    return once::verified(public, message, sig, check);
    #[cfg(not(feature = "verify-once"))]
    check()
}

/// Remembers which signatures are good, for a thread that runs many nodes: each
/// of them checks the same signature of the same bytes.
#[cfg(feature = "verify-once")]
pub mod once {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use sha2::{Digest, Sha256};

    use crate::cbor::WireError;

    /// Signatures remembered.
    const GOOD_MAX: usize = 1 << 16;

    thread_local! {
        static GOOD: RefCell<Option<BTreeSet<[u8; 32]>>> = RefCell::default();
    }

    /// From now on this thread checks a good signature once only.
    pub fn begin() {
        GOOD.with_borrow_mut(|good| _ = good.get_or_insert_default());
    }

    pub(super) fn verified(
        public: &[u8; 32],
        message: &[u8],
        sig: &[u8; 64],
        check: impl FnOnce() -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        GOOD.with_borrow_mut(|good| {
            let Some(good) = good else { return check() };
            let all: [u8; 32] =
                Sha256::new().chain_update(public).chain_update(sig).chain_update(message).finalize().into();
            if good.contains(&all) {
                return Ok(());
            }
            check()?;
            if good.len() >= GOOD_MAX {
                good.clear();
            }
            good.insert(all);
            Ok(())
        })
    }
}

/// XChaCha20-Poly1305; returns ciphertext and tag, without the nonce.
#[must_use]
pub fn seal(key: &Secret, nonce: &[u8; 24], ad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    // Encryption into a Vec fails only beyond 256 GiB.
    XChaCha20Poly1305::new(key.expose().into())
        .encrypt(&XNonce::from(*nonce), Payload { msg: plaintext, aad: ad })
        .unwrap_or_default()
}

/// Opens what [`seal`] made.
pub fn open(key: &Secret, nonce: &[u8; 24], ad: &[u8], ciphertext: &[u8]) -> Result<Vec<u8>, WireError> {
    XChaCha20Poly1305::new(key.expose().into())
        .decrypt(&XNonce::from(*nonce), Payload { msg: ciphertext, aad: ad })
        .map_err(|_| WireError::Seal)
}

#[cfg(all(test, feature = "verify-once"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_one_signature_of_one_message_by_one_key() {
        once::begin();
        let (key, other) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let (public, stranger) = (key.verifying_key().to_bytes(), other.verifying_key().to_bytes());
        let sig = key.sign(b"tea").to_bytes();
        let mut bent = sig;
        bent[0] ^= 1;
        for _ in 0..2 {
            assert!(verify_bytes(&public, b"tea", &sig).is_ok());
            assert!(verify_bytes(&public, b"tea ", &sig).is_err());
            assert!(verify_bytes(&stranger, b"tea", &sig).is_err());
            assert!(verify_bytes(&public, b"tea", &bent).is_err());
        }
    }
}
