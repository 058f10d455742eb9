//! Entries of device inboxes: HPKE to the device's box key, padded to a
//! bucket (docs/protocol.md, "inbox seal").
//!
//! The object inside is signed and names its recipient; that is checked by
//! whoever reads it.

use kith_wire::crypto::Secret;
use kith_wire::ids::{DeviceId, TopicId};
use kith_wire::topic::{pad, unpad};
use kith_wire::{labels, limits};
use openmls_traits::crypto::OpenMlsCrypto;
use openmls_traits::types::{HpkeAeadType, HpkeCiphertext, HpkeConfig, HpkeKdfType, HpkeKemType};
use x25519_dalek::StaticSecret;

use crate::EngineError;
use crate::crypto::Crypto;

/// Bytes that the seal adds: encapsulated key and tag.
const SEAL_BYTES: usize = 32 + 16;

/// The largest object that fits an inbox entry, in bytes.
pub const OBJECT_BYTES_MAX: usize = limits::ENTRY_BYTES_MAX - SEAL_BYTES - 4;

fn info(topic: TopicId, device: DeviceId) -> Vec<u8> {
    [labels::HPKE_INBOX.as_bytes(), &[0], &topic.0, &device.0].concat()
}

/// Seals an object to a device. `ephemeral` must be 32 fresh random bytes.
pub fn seal(
    ephemeral: [u8; 32],
    box_key: &[u8; 32],
    topic: TopicId,
    device: DeviceId,
    object: &[u8],
) -> Result<Vec<u8>, EngineError> {
    let plain = pad(object, SEAL_BYTES)
        .map_err(|_| EngineError::Refused("this is too large for an inbox: send it as a file"))?;
    // The ephemeral key is given, so that the engine's seed is not needed.
    let crypto = Crypto::new(Secret::new([0; 32]));
    let sealed = crypto
        .hpke_seal_with(
            HpkeAeadType::ChaCha20Poly1305,
            &StaticSecret::from(ephemeral),
            box_key,
            &info(topic, device),
            b"",
            &plain,
        )
        .map_err(|_| {
            EngineError::Refused("the other device's key is not usable: ask for a new contact card")
        })?;
    Ok([sealed.kem_output.as_slice(), sealed.ciphertext.as_slice()].concat())
}

/// Opens an entry of the own inbox.
pub fn open(
    secret: &StaticSecret,
    topic: TopicId,
    device: DeviceId,
    entry: &[u8],
) -> Result<Vec<u8>, EngineError> {
    let sealed = EngineError::Wire(kith_wire::cbor::WireError::Seal);
    if !limits::ENTRY_BUCKETS.contains(&entry.len()) {
        return Err(sealed);
    }
    let Some((enc, ciphertext)) = entry.split_at_checked(32) else { return Err(sealed) };
    let config = HpkeConfig(HpkeKemType::DhKem25519, HpkeKdfType::HkdfSha256, HpkeAeadType::ChaCha20Poly1305);
    let input = HpkeCiphertext { kem_output: enc.to_vec().into(), ciphertext: ciphertext.to_vec().into() };
    let crypto = Crypto::new(Secret::new([0; 32]));
    let Ok(plain) = crypto.hpke_open(config, &input, secret.as_bytes(), &info(topic, device), b"") else {
        return Err(sealed);
    };
    unpad(plain).map_err(|_| sealed)
}
