//! The sender data of a PrivateMessage (RFC 9420 6.3.2): which leaf encrypted
//! it, and with which generation of its ratchet. OpenMLS does not tell the
//! generation; here it is read off the raw ciphertext, with the state's sender
//! data secret. So it is known what was really sent, not what a counter beside
//! it believes: by a device that meets a ciphertext of its own, and by the
//! tests that hold that no key is ever used twice.

use openmls_traits::crypto::OpenMlsCrypto;
use openmls_traits::types::{AeadType, HashType};

use crate::crypto::Crypto;
use crate::image::{Image, Kind};

/// Who encrypted a message, and with which key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SenderData {
    /// Sender's leaf.
    pub(crate) leaf: u32,
    /// Generation in the leaf's application ratchet.
    pub(crate) generation: u32,
}

/// Opens the sender data of an MLSMessage with a PrivateMessage.
pub(crate) fn of(crypto: &Crypto, secret: &[u8], message: &[u8]) -> Option<SenderData> {
    // MLSMessage: version u16, wire format u16 (2 = PrivateMessage).
    let (head, rest) = message.split_at_checked(4)?;
    (head == [0, 1, 0, 2]).then_some(())?;
    let (group, rest) = vector(rest)?;
    let (epoch_and_type, rest) = rest.split_at_checked(9)?;
    let (_authenticated, rest) = vector(rest)?;
    let (sealed, rest) = vector(rest)?;
    let (ciphertext, rest) = vector(rest)?;
    rest.is_empty().then_some(())?;
    let sample = ciphertext.get(..32.min(ciphertext.len()))?;
    let key = expand(crypto, secret, "key", sample, 32)?;
    let nonce = expand(crypto, secret, "nonce", sample, 12)?;
    let mut aad = prefixed(group)?;
    aad.extend_from_slice(epoch_and_type);
    let plain = crypto.aead_decrypt(AeadType::ChaCha20Poly1305, &key, sealed, &nonce, &aad).ok()?;
    let (leaf, rest) = plain.split_at_checked(4)?;
    let (generation, _reuse_guard) = rest.split_at_checked(4)?;
    Some(SenderData {
        leaf: u32::from_be_bytes(leaf.try_into().ok()?),
        generation: u32::from_be_bytes(generation.try_into().ok()?),
    })
}

/// ExpandWithLabel (RFC 9420 8).
fn expand(crypto: &Crypto, secret: &[u8], label: &str, context: &[u8], len: u16) -> Option<Vec<u8>> {
    let mut info = len.to_be_bytes().to_vec();
    info.extend(prefixed(format!("MLS 1.0 {label}").as_bytes())?);
    info.extend(prefixed(context)?);
    let out = crypto.hkdf_expand(HashType::Sha2_256, secret, &info, usize::from(len)).ok()?;
    Some(out.as_slice().to_vec())
}

fn prefixed(bytes: &[u8]) -> Option<Vec<u8>> {
    let len = u8::try_from(bytes.len()).ok().filter(|n| *n < 64)?;
    Some([&[len], bytes].concat())
}

fn vector(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let first = *bytes.first()?;
    let n = 1usize << (first >> 6);
    let (head, rest) = bytes.split_at_checked(n)?;
    let len = head.iter().skip(1).fold(usize::from(first & 0x3f), |v, b| v << 8 | usize::from(*b));
    rest.split_at_checked(len)
}

/// The sender data secret of a state, in its stored row of message secrets.
pub(crate) fn secret(image: &Image) -> Option<Vec<u8>> {
    let row = image.raw(Kind::MessageSecrets)?;
    let row: ciborium::Value = ciborium::from_reader(&*row).ok()?;
    let secrets = field(&row, "message_secrets")?;
    bytes_in(field(secrets, "sender_data_secret")?)
}

fn field<'a>(value: &'a ciborium::Value, name: &str) -> Option<&'a ciborium::Value> {
    value.as_map()?.iter().find(|(k, _)| k.as_text() == Some(name)).map(|(_, v)| v)
}

/// The first byte string, or list of integers, inside a value.
fn bytes_in(value: &ciborium::Value) -> Option<Vec<u8>> {
    match value {
        ciborium::Value::Bytes(bytes) => Some(bytes.clone()),
        ciborium::Value::Map(entries) => entries.iter().find_map(|(_, v)| bytes_in(v)),
        ciborium::Value::Array(items) => items
            .iter()
            .map(|i| i.as_integer().and_then(|n| u8::try_from(n).ok()))
            .collect::<Option<Vec<u8>>>()
            .or_else(|| items.iter().find_map(bytes_in)),
        _ => None,
    }
}
