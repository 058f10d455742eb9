//! The text form of an invite: scheme, base64url, checksum, and what people
//! and mail programs do to it.

use sha2::{Digest, Sha256};

use super::LinkError;
use crate::ids::AccountId;
use crate::relay;

/// How every invite link starts.
pub(super) const INVITE_SCHEME: &str = "kith-invite:";
/// How a link that adds a device starts.
const DEVICE_SCHEME: &str = "kith-link:";
/// Bytes of the checksum behind the object.
const CHECKSUM_BYTES: usize = 4;
/// Pasted text that is looked at, in bytes.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// The link with this object.
pub(super) fn write(object: &[u8]) -> String {
    let bytes = [object, &checksum(object)].concat();
    format!("{INVITE_SCHEME}{}", data_encoding::BASE64URL_NOPAD.encode(&bytes))
}

/// The object of a link that stands somewhere in this text.
pub(super) fn read(text: &str) -> Result<Vec<u8>, LinkError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(LinkError::TooLong);
    }
    let link = find(text)?;
    // A link alone, or the first word of a sentence; if that fails, the
    // same with line breaks taken out, as mail programs put them in.
    let word = link.split_whitespace().next().unwrap_or_default();
    unarmour(word).or_else(|first| {
        let whole: String = link.split_whitespace().collect();
        if whole == word { Err(first) } else { unarmour(&whole).map_err(|_| first) }
    })
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut out = [0; CHECKSUM_BYTES];
    out.iter_mut().zip(Sha256::digest(bytes)).for_each(|(o, b)| *o = b);
    out
}

/// The text behind the scheme, or what the text is instead.
fn find(text: &str) -> Result<&str, LinkError> {
    let at = |scheme: &str| {
        let found = text.to_ascii_lowercase().find(scheme)?;
        text.get(found + scheme.len()..)
    };
    if let Some(link) = at(INVITE_SCHEME) {
        return Ok(link.trim_start_matches("//").trim_start());
    }
    Err(if at(relay::SCHEME).is_some() {
        LinkError::CommunityLink
    } else if at(DEVICE_SCHEME).is_some() {
        LinkError::DeviceLink
    } else if at("kith-safety:").is_some() {
        LinkError::SafetyNumber
    } else if AccountId::from_text(text.trim()).is_some() {
        LinkError::AccountId
    } else {
        LinkError::NotAnInvite
    })
}

/// Base64url and checksum off. Trailing characters that no link has (a full
/// stop, a bracket) are passed over.
fn unarmour(word: &str) -> Result<Vec<u8>, LinkError> {
    let word = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_');
    let bytes = match data_encoding::BASE64URL_NOPAD.decode(word.as_bytes()) {
        Ok(bytes) => bytes,
        // A length that base64 cannot have: characters are missing.
        Err(e) if e.kind == data_encoding::DecodeKind::Length => return Err(LinkError::Cut),
        Err(e) if e.kind == data_encoding::DecodeKind::Trailing => {
            let whole = word.len() - word.len() % 4;
            let bytes =
                word.get(..whole).and_then(|w| data_encoding::BASE64URL_NOPAD.decode(w.as_bytes()).ok());
            return Err(if bytes.is_some_and(|b| is_cut(&b)) { LinkError::Cut } else { LinkError::Mistyped });
        }
        Err(_) => return Err(LinkError::Mistyped),
    };
    let body = bytes
        .split_last_chunk::<CHECKSUM_BYTES>()
        .and_then(|(body, sum)| (checksum(body) == *sum).then_some(body));
    match body {
        Some(body) => Ok(body.to_vec()),
        None if is_cut(&bytes) => Err(LinkError::Cut),
        None => Err(LinkError::Mistyped),
    }
}

/// Whether the object's head announces more bytes than there are.
fn is_cut(bytes: &[u8]) -> bool {
    let &[0x82, 0x59, high, low, ..] = bytes else { return bytes.len() < 4 };
    let body = usize::from(high) << 8 | usize::from(low);
    bytes.len() < 4 + body + 2 + 64 + CHECKSUM_BYTES
}
