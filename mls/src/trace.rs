//! Which key a ciphertext used, read off the raw ciphertext: for the tests
//! that hold that no (state, leaf, generation) is ever used twice.
//!
//! OpenMLS does not tell the generation. It stands in the sender data of the
//! PrivateMessage (RFC 9420 6.3.2), sealed under the state's sender data
//! secret; that is opened here. So the report says what was really sent, not
//! what a counter beside it believes. Only with the feature `test-trace`.

use kith_wire::ids::StateId;
use openmls_traits::crypto::OpenMlsCrypto;
use openmls_traits::types::{AeadType, HashType};

use crate::crypto::Crypto;
use crate::image::{Image, Kind};

/// The key of one ciphertext. Two different ciphertexts with an equal trace
/// are a nonce reuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Trace {
    /// State whose secret tree it belongs to.
    pub state: StateId,
    /// Sender's leaf.
    pub leaf: u32,
    /// Generation in the leaf's application ratchet.
    pub generation: u32,
}

/// Opens the sender data of an MLSMessage with a PrivateMessage.
pub(crate) fn of(crypto: &Crypto, secret: &[u8], state: StateId, message: &[u8]) -> Option<Trace> {
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
    Some(Trace {
        state,
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
pub(crate) fn sender_data_secret(image: &Image) -> Option<Vec<u8>> {
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
