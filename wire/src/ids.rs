//! Ids: 32-byte newtypes that never mix, and how they are written for people.

use core::fmt;
use sha2::{Digest, Sha256};

use crate::labels;

macro_rules! id {
    ($($(#[$m:meta])* $name:ident;)*) => {$(
        $(#[$m])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The id's bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 32] { &self.0 }
            /// From exactly 32 bytes, else `None`.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> { bytes.try_into().ok().map(Self) }
            /// Lower-case hex, 64 characters: the form of the HTTP API.
            #[must_use]
            pub fn hex(&self) -> String { data_encoding::HEXLOWER.encode(&self.0) }
            /// From 64 hex characters, else `None`.
            #[must_use]
            pub fn from_hex(text: &str) -> Option<Self> {
                Self::from_slice(&data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), data_encoding::HEXLOWER.encode(&self.0[..4]))
            }
        }
        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(&self, e: &mut minicbor::Encoder<W>, _: &mut C)
                -> Result<(), minicbor::encode::Error<W::Error>> { e.bytes(&self.0)?.ok() }
        }
        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                let at = d.position();
                Self::from_slice(d.bytes()?)
                    .ok_or_else(|| minicbor::decode::Error::message("an id has 32 bytes").at(at))
            }
        }
    )*};
}

id! {
    /// An account: hash of the recovery key's public half.
    AccountId;
    /// A device: its Ed25519 signing public key.
    DeviceId;
    /// A group: hash of creator account and nonce.
    GroupId;
    /// A group state: hash of group context and confirmation tag.
    StateId;
    /// A commit: hash of its PublicMessage bytes.
    CommitId;
    /// An event: hash of its signed body.
    EventId;
    /// An order.
    OrderId;
    /// A mark.
    MarkId;
    /// A topic at relays: hash of its descriptor.
    TopicId;
    /// A relay entry: SHA-256 of its bytes.
    EntryId;
    /// A blob or blob chunk: SHA-256 of its ciphertext.
    BlobId;
    /// A file as one node names it: hash of key, root and size. Not told to
    /// others.
    FileId;
    /// An invite: random.
    InviteId;
    /// A relay: its libp2p Ed25519 public key.
    RelayId;
    /// A transport identity (libp2p Ed25519 public key) as its contacts know it.
    PeerKey;
}

/// SHA-256 over a label, a zero byte and the parts in order.
#[must_use]
pub fn hash(label: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut h = Sha256::new();
    h.update(label.as_bytes());
    h.update([0]);
    for p in parts {
        h.update(p);
    }
    h.finalize().into()
}

const ACCOUNT_HRP: bech32::Hrp = bech32::Hrp::parse_unchecked("kith");

impl AccountId {
    /// The account that this recovery public key stands for.
    #[must_use]
    pub fn of_recovery_key(public: &[u8; 32]) -> Self {
        Self(hash(labels::ID_ACCOUNT, &[public]))
    }
    /// The form for people: bech32m, `kith1…`.
    #[must_use]
    pub fn to_text(&self) -> String {
        bech32::encode::<bech32::Bech32m>(ACCOUNT_HRP, &self.0).unwrap_or_else(|_| self.hex())
    }
    /// Parses `kith1…`; `None` if mistyped (the checksum finds it).
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let parsed = bech32::primitives::decode::CheckedHrpstring::new::<bech32::Bech32m>(text).ok()?;
        (parsed.hrp() == ACCOUNT_HRP).then_some(())?;
        Self::from_slice(&parsed.byte_iter().collect::<Vec<_>>())
    }
}

impl GroupId {
    /// The group that `creator` makes with this nonce.
    #[must_use]
    pub fn derive(creator: AccountId, nonce: &[u8; 32]) -> Self {
        Self(hash(labels::ID_GROUP, &[&creator.0, nonce]))
    }
}

impl EntryId {
    /// The id of an entry's bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl BlobId {
    /// The name of a sealed chunk or blob.
    #[must_use]
    pub fn of(ciphertext: &[u8]) -> Self {
        Self(Sha256::digest(ciphertext).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_text_round_trips_and_finds_typing_errors() {
        let id = AccountId::of_recovery_key(&[7; 32]);
        let text = id.to_text();
        assert!(text.starts_with("kith1"));
        assert_eq!(AccountId::from_text(&text), Some(id));
        let mut wrong = text.into_bytes();
        wrong[9] = if wrong[9] == b'q' { b'p' } else { b'q' };
        assert_eq!(AccountId::from_text(&String::from_utf8(wrong).unwrap()), None);
    }

    #[test]
    fn debug_shows_four_bytes_only() {
        assert_eq!(format!("{:?}", GroupId([0xab; 32])), "GroupId(abababab)");
    }
}
