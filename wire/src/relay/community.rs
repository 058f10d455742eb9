//! Community links: how a person is told about a relay.
//!
//! `kith-relay:` and base64url of `CBOR [1, name, key, addrs, admission] ‖
//! 4 bytes of checksum`. Holds the admission token, so it is for members.

use minicbor::{Decode, Encode};

use crate::cbor;
use crate::identity::{RelayHint, check_addrs};
use crate::ids::{RelayId, hash};
use crate::{labels, limits};

/// What a community link starts with.
pub(crate) const SCHEME: &str = "kith-relay:";
/// The longest link, in characters.
const LINK_CHARS_MAX: usize = 4096;
/// The longest admission token, in bytes.
const ADMISSION_BYTES_MAX: usize = 64;
const CHECK_BYTES: usize = 4;
const VERSION: u16 = 1;

/// A relay, as its operator hands it to members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommunityLink {
    /// The relay's name, for people.
    pub name: String,
    /// Its key.
    pub key: RelayId,
    /// Multiaddrs in text form, without `/p2p/…`.
    pub addrs: Vec<String>,
    /// Shown to the relay in the greeting; empty under open admission.
    pub admission: Vec<u8>,
}

/// Why a text is no community link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommunityLinkError {
    /// Another kind of text.
    #[error("a community link starts with “{SCHEME}”: copy it whole from the relay's operator")]
    Scheme,
    /// Cut or mistyped.
    #[error("this community link is incomplete or mistyped: copy it again, whole")]
    Damaged,
    /// Of a newer version.
    #[error("this community link is of a newer version: update Kith")]
    Newer,
    /// Fields out of bounds.
    #[error("this community link is not valid: ask the relay's operator for a new one ({0})")]
    Invalid(&'static str),
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct Form {
    #[n(0)]
    version: u16,
    #[n(1)]
    name: String,
    #[n(2)]
    key: RelayId,
    #[n(3)]
    addrs: Vec<String>,
    #[cbor(n(4), with = "minicbor::bytes")]
    admission: Vec<u8>,
}

fn checksum(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let mut out = [0; CHECK_BYTES];
    for (o, b) in out.iter_mut().zip(hash(labels::ID_COMMUNITY_LINK, &[bytes])) {
        *o = b;
    }
    out
}

impl CommunityLink {
    /// The link's text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let form = Form {
            version: VERSION,
            name: self.name.clone(),
            key: self.key,
            addrs: self.addrs.clone(),
            admission: self.admission.clone(),
        };
        let mut bytes = cbor::encode(&form);
        bytes.extend(checksum(&bytes));
        format!("{SCHEME}{}", data_encoding::BASE64URL_NOPAD.encode(&bytes))
    }
    /// Reads a link; white space around it is ignored.
    pub fn from_text(text: &str) -> Result<Self, CommunityLinkError> {
        use CommunityLinkError as E;
        let rest = text.trim().strip_prefix(SCHEME).ok_or(E::Scheme)?;
        if rest.len() > LINK_CHARS_MAX {
            return Err(E::Invalid("it is too long"));
        }
        let bytes = data_encoding::BASE64URL_NOPAD.decode(rest.as_bytes()).map_err(|_| E::Damaged)?;
        let (body, check) = bytes.split_last_chunk::<CHECK_BYTES>().ok_or(E::Damaged)?;
        if checksum(body) != *check {
            return Err(E::Damaged);
        }
        let mut d = minicbor::Decoder::new(body);
        match d.array().and_then(|_| d.u16()) {
            Ok(VERSION) => {}
            Ok(_) => return Err(E::Newer),
            Err(_) => return Err(E::Invalid("it is malformed")),
        }
        let form: Form = cbor::decode(body, &[]).map_err(|_| E::Invalid("it is malformed"))?;
        if form.name.len() > limits::NAME_BYTES_MAX {
            return Err(E::Invalid("the name is too long"));
        }
        if form.addrs.is_empty() || check_addrs(&form.addrs).is_err() {
            return Err(E::Invalid("the addresses are missing, too many or too long"));
        }
        if form.admission.len() > ADMISSION_BYTES_MAX {
            return Err(E::Invalid("the admission token is too long"));
        }
        Ok(Self { name: form.name, key: form.key, addrs: form.addrs, admission: form.admission })
    }
    /// What others may be told: everything but the admission token.
    #[must_use]
    pub fn hint(&self) -> RelayHint {
        RelayHint { id: self.key, name: self.name.clone(), addrs: self.addrs.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn link() -> CommunityLink {
        CommunityLink {
            name: "Chess club".into(),
            key: RelayId([7; 32]),
            addrs: vec!["/ip4/127.0.0.1/udp/4001/quic-v1".into(), "/ip4/127.0.0.1/tcp/4001".into()],
            admission: vec![1; 16],
        }
    }

    #[test]
    fn round_trips_and_says_what_is_wrong() {
        let text = link().to_text();
        assert_eq!(CommunityLink::from_text(&format!(" {text}\n")), Ok(link()));
        assert_eq!(CommunityLink::from_text("https://x"), Err(CommunityLinkError::Scheme));
        assert_eq!(CommunityLink::from_text(&text[..text.len() - 3]), Err(CommunityLinkError::Damaged));
        assert_eq!(CommunityLink::from_text(SCHEME), Err(CommunityLinkError::Damaged));
        let mut no_addrs = link();
        no_addrs.addrs.clear();
        assert!(matches!(CommunityLink::from_text(&no_addrs.to_text()), Err(CommunityLinkError::Invalid(_))));
        let long = format!("{SCHEME}{}", "A".repeat(LINK_CHARS_MAX + 1));
        assert!(matches!(CommunityLink::from_text(&long), Err(CommunityLinkError::Invalid(_))));
    }

    #[test]
    fn a_newer_version_is_told_apart() {
        let mut body = vec![0x82, 2, 0];
        body.extend(checksum(&body.clone()));
        let text = format!("{SCHEME}{}", data_encoding::BASE64URL_NOPAD.encode(&body));
        assert_eq!(CommunityLink::from_text(&text), Err(CommunityLinkError::Newer));
    }

    proptest! {
        #[test]
        fn one_wrong_character_is_found(at in 11usize..150, c in "[A-Za-z0-9_-]") {
            let mut text = link().to_text();
            let at = at.min(text.len() - 1);
            prop_assume!(text[at..=at] != c);
            text.replace_range(at..=at, &c);
            prop_assert!(CommunityLink::from_text(&text).is_err());
        }

        #[test]
        fn noise_never_panics(text in "\\PC{0,80}") {
            let _ = CommunityLink::from_text(&text);
            let _ = CommunityLink::from_text(&format!("{SCHEME}{text}"));
        }
    }
}
