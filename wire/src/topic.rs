//! Topics: what a relay knows of one, the keys behind it, the seal of its
//! entries, and the tokens by which others may write to an inbox.
//!
//! Owns everything that follows from a topic secret (docs/protocol.md,
//! "Labels and derivations"). A relay only ever sees descriptors, proofs and
//! tokens; the seal and the secret stay with the members.

use ed25519_dalek::SigningKey;
use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::cbor::{self, WireError};
use crate::crypto::{self, Secret};
use crate::identity::Inbox;
use crate::ids::{EntryId, PeerKey, RelayId, TopicId, hash};
use crate::object::{Versioned as _, object};
use crate::signed::{self, Raw};
use crate::{labels, limits};

/// Kind numbers of the signed objects of relays (docs/protocol.md).
pub mod kinds {
    /// [`super::Token`].
    pub const TOKEN: u16 = 48;
    /// A relay's statement.
    pub const STATEMENT: u16 = 49;
    /// A relay's receipt.
    pub const RECEIPT: u16 = 50;
    /// A relay's eviction notice.
    pub const EVICTED: u16 = 51;
    /// A device's key package record.
    pub const PACKAGE: u16 = 52;
}

/// Nonce in front of a sealed entry, in bytes.
const NONCE_BYTES: usize = 24;
/// Nonce, tag and length prefix of a sealed entry, in bytes.
const SEAL_BYTES: usize = NONCE_BYTES + 16 + 4;
/// The largest object that fits into an entry, in bytes.
pub const OBJECT_BYTES_MAX: usize = limits::ENTRY_BYTES_MAX - SEAL_BYTES;
/// The longest text of a delivery token with its secret, in bytes.
pub const DELIVERY_TOKEN_BYTES_MAX: usize = 512;

/// Who may write to a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Holders of the write key: a group's log.
    Group,
    /// Holders of tokens: a device's inbox. The write key signs the tokens.
    Inbox,
}

/// What is proven when a topic is opened. Reading and appending are apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// By the read key.
    Read,
    /// By the write key.
    Write,
}

macro_rules! number {
    ($name:ident, $why:literal, $($variant:ident = $n:literal),*) => {
        impl $name {
            fn number(self) -> u8 {
                match self { $(Self::$variant => $n),* }
            }
        }
        impl<C> Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(&self, e: &mut Encoder<W>, _: &mut C)
                -> Result<(), minicbor::encode::Error<W::Error>> { e.u8(self.number())?.ok() }
        }
        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                match d.u8()? { $($n => Ok(Self::$variant),)* _ => Err(minicbor::decode::Error::message($why)) }
            }
        }
    };
}
number!(Mode, "unknown mode of topic", Group = 0, Inbox = 1);
number!(Right, "unknown right", Read = 1, Write = 2);

/// What a relay knows of a topic. Its hash is the topic id. CBOR
/// `[1, read_pub, write_pub, mode]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Descriptor {
    /// Public key that reading is proven with.
    pub read_pub: [u8; 32],
    /// Public key that appending is proven with, or that signs tokens.
    pub write_pub: [u8; 32],
    /// Who may write.
    pub mode: Mode,
}

impl Descriptor {
    /// The topic's id.
    #[must_use]
    pub fn id(&self) -> TopicId {
        TopicId(hash(labels::ID_TOPIC, &[&cbor::encode(self)]))
    }
    /// The key that a right is proven with.
    #[must_use]
    pub fn key(&self, right: Right) -> &[u8; 32] {
        match right {
            Right::Read => &self.read_pub,
            Right::Write => &self.write_pub,
        }
    }
}

impl From<Inbox> for Descriptor {
    fn from(inbox: Inbox) -> Self {
        Self { read_pub: inbox.read_pub, write_pub: inbox.write_pub, mode: Mode::Inbox }
    }
}

impl<C> Encode<C> for Descriptor {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        c: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(4)?.u8(1)?.bytes(&self.read_pub)?.bytes(&self.write_pub)?.encode_with(self.mode, c)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Descriptor {
    fn decode(d: &mut Decoder<'b>, c: &mut C) -> Result<Self, minicbor::decode::Error> {
        if d.array()? != Some(4) || d.u8()? != 1 {
            return Err(minicbor::decode::Error::message("malformed topic descriptor"));
        }
        Ok(Self { read_pub: cbor::fixed(d)?, write_pub: cbor::fixed(d)?, mode: d.decode_with(c)? })
    }
}

/// All keys of a topic, derived from its secret.
#[derive(Clone)]
pub struct TopicKeys {
    secret: Secret,
    read: SigningKey,
    write: SigningKey,
    seal: Secret,
    descriptor: Descriptor,
    id: TopicId,
}

impl core::fmt::Debug for TopicKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("TopicKeys").field("id", &self.id).finish_non_exhaustive()
    }
}

impl TopicKeys {
    /// Derives the keys of the topic that `secret` stands for: an MLS export
    /// for a group, 32 random bytes for an inbox.
    #[must_use]
    pub fn derive(secret: &Secret, mode: Mode) -> Self {
        let key = |label| SigningKey::from_bytes(crypto::derive(secret, label, b"").expose());
        let (read, write) = (key(labels::TOPIC_READ), key(labels::TOPIC_WRITE));
        let descriptor = Descriptor {
            read_pub: read.verifying_key().to_bytes(),
            write_pub: write.verifying_key().to_bytes(),
            mode,
        };
        let seal = crypto::derive(secret, labels::TOPIC_SEAL, b"");
        Self { secret: secret.clone(), read, write, seal, id: descriptor.id(), descriptor }
    }
    /// The secret that everything here follows from.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.secret
    }
    /// The topic's id.
    #[must_use]
    pub fn id(&self) -> TopicId {
        self.id
    }
    /// What relays are told.
    #[must_use]
    pub fn descriptor(&self) -> Descriptor {
        self.descriptor
    }
    /// The public half as cards carry it (meant for topics of mode inbox).
    #[must_use]
    pub fn inbox(&self) -> Inbox {
        Inbox { read_pub: self.descriptor.read_pub, write_pub: self.descriptor.write_pub }
    }
    fn key(&self, right: Right) -> &SigningKey {
        match right {
            Right::Read => &self.read,
            Right::Write => &self.write,
        }
    }
    fn ad(&self) -> Vec<u8> {
        [labels::AD_ENTRY.as_bytes(), &[0], &self.id.0].concat()
    }
    /// Seals an object into an entry of a bucket's size. `nonce` must be
    /// random and fresh. Objects over [`OBJECT_BYTES_MAX`] travel as blobs.
    pub fn seal(&self, object: &[u8], nonce: &[u8; 24]) -> Result<Vec<u8>, WireError> {
        let plaintext = pad(object, SEAL_BYTES - 4)?;
        let mut entry = nonce.to_vec();
        entry.extend(crypto::seal(&self.seal, nonce, &self.ad(), &plaintext));
        Ok(entry)
    }
    /// Opens what [`TopicKeys::seal`] made.
    pub fn open(&self, entry: &[u8]) -> Result<Vec<u8>, WireError> {
        check_entry_size(entry.len())?;
        let (nonce, sealed) = entry.split_first_chunk::<NONCE_BYTES>().ok_or(WireError::Seal)?;
        unpad(crypto::open(&self.seal, nonce, &self.ad(), sealed)?)
    }
    /// Proves a right on this topic for one link to a relay.
    #[must_use]
    pub fn prove(&self, link: &LinkContext<'_>, right: Right) -> [u8; 64] {
        crypto::sign(self.key(right), labels::SIG_RELAY_OPEN, &[&link.message(&self.id, right)])
    }
    /// Issues a delivery token to this inbox. `seed` must be random and fresh:
    /// it becomes the token's private key.
    #[must_use]
    pub fn issue_token(&self, seed: Secret, grant: Grant) -> DeliveryToken {
        let token = Token {
            kind: Token::KIND,
            version: Token::VERSION,
            inbox: self.id,
            key: SigningKey::from_bytes(seed.expose()).verifying_key().to_bytes(),
            uses: grant.uses,
            packages: grant.packages,
            expires_ms: grant.expires_ms,
        };
        let raw = signed::sign(&token, &self.write, &[]);
        DeliveryToken { raw: raw.to_bytes(), seed, token }
    }
}

/// Pads to the smallest bucket that has room for `overhead` more bytes:
/// u32 big-endian length, object, zeros. Shared by both seals.
pub fn pad(object: &[u8], overhead: usize) -> Result<Vec<u8>, WireError> {
    let needed = object.len().saturating_add(4).saturating_add(overhead);
    let bucket = limits::ENTRY_BUCKETS
        .into_iter()
        .find(|bucket| *bucket >= needed)
        .ok_or(WireError::TooLarge("the object of an entry"))?;
    let len = u32::try_from(object.len()).map_err(|_| WireError::TooLarge("the object of an entry"))?;
    let mut out = Vec::with_capacity(bucket);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(object);
    out.resize(bucket - overhead, 0);
    Ok(out)
}

/// Takes the object out of what [`pad`] made; padding other than zeros is
/// refused, so that one object has one padded form.
pub fn unpad(mut plaintext: Vec<u8>) -> Result<Vec<u8>, WireError> {
    let wrong = WireError::Invalid("the entry's padding is wrong");
    let Some((len, rest)) = plaintext.split_first_chunk::<4>() else { return Err(wrong) };
    let len = usize::try_from(u32::from_be_bytes(*len)).unwrap_or(usize::MAX);
    match rest.split_at_checked(len) {
        Some((_, zeros)) if zeros.iter().all(|b| *b == 0) => {
            plaintext.truncate(4 + len);
            plaintext.drain(..4);
            Ok(plaintext)
        }
        _ => Err(wrong),
    }
}

/// Entries have exactly the size of a bucket.
pub fn check_entry_size(len: usize) -> Result<(), WireError> {
    if limits::ENTRY_BUCKETS.contains(&len) {
        Ok(())
    } else {
        Err(WireError::Invalid("an entry has exactly the size of a bucket"))
    }
}

/// What binds a proof to one link: nobody can pass it on to another relay,
/// client or connection.
#[derive(Debug, Clone, Copy)]
pub struct LinkContext<'a> {
    /// The relay's key.
    pub relay: &'a RelayId,
    /// The client's transport key on this link.
    pub client: &'a PeerKey,
    /// The nonce of the relay's greeting.
    pub nonce: &'a [u8; 32],
}

impl LinkContext<'_> {
    fn message(&self, topic: &TopicId, right: Right) -> Vec<u8> {
        [&self.relay.0[..], &self.client.0, self.nonce, &topic.0, &[right.number()]].concat()
    }
    /// Checks a proof.
    pub fn verify(&self, descriptor: &Descriptor, right: Right, sig: &[u8; 64]) -> Result<(), WireError> {
        let message = self.message(&descriptor.id(), right);
        crypto::verify(descriptor.key(right), labels::SIG_RELAY_OPEN, &[&message], sig)
    }
}

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// Appends at each relay.
    pub uses: u32,
    /// Key packages that may be taken at each relay.
    pub packages: u32,
    /// End, Unix milliseconds.
    pub expires_ms: u64,
}

/// A delivery token as relays see it, signed by the inbox's write key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Token {
    /// Kind.
    #[n(0)]
    pub kind: u16,
    /// Version of the shape.
    #[n(1)]
    pub version: u16,
    /// The inbox.
    #[n(3)]
    pub inbox: TopicId,
    /// Public key that each use is signed with.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub key: [u8; 32],
    /// Appends at each relay.
    #[n(5)]
    pub uses: u32,
    /// Key packages that may be taken at each relay.
    #[n(6)]
    pub packages: u32,
    /// End, Unix milliseconds.
    #[n(7)]
    pub expires_ms: u64,
}

object! { Token: kinds::TOKEN, fields [0, 1, 3, 4, 5, 6, 7], label labels::SIG_TOKEN }

impl Token {
    /// Reads a token and checks that `inbox` issued it. Its end is the
    /// caller's to judge.
    pub fn verify(bytes: &[u8], inbox: &Descriptor) -> Result<Self, WireError> {
        if bytes.len() > DELIVERY_TOKEN_BYTES_MAX {
            return Err(WireError::TooLarge("the delivery token"));
        }
        let raw = Raw::from_bytes(bytes)?;
        let token: Self = raw.body()?;
        if inbox.mode != Mode::Inbox || token.inbox != inbox.id() {
            return Err(WireError::Invalid("the delivery token is for another inbox"));
        }
        raw.verify::<Self>(&inbox.write_pub, &[])?;
        Ok(token)
    }
    /// Checks one use of this token at `relay` for `what`: an entry's id, or
    /// the id of a request for a key package.
    pub fn verify_use(&self, relay: &RelayId, what: &EntryId, sig: &[u8; 64]) -> Result<(), WireError> {
        crypto::verify(&self.key, labels::SIG_TOKEN_USE, &[&relay.0, &what.0], sig)
    }
}

/// A delivery token with its private key: what a contact is given.
#[derive(Clone, PartialEq, Eq)]
pub struct DeliveryToken {
    raw: Vec<u8>,
    seed: Secret,
    token: Token,
}

impl core::fmt::Debug for DeliveryToken {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("DeliveryToken").field("inbox", &self.token.inbox).finish_non_exhaustive()
    }
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct DeliveryTokenForm {
    #[cbor(n(0), with = "minicbor::bytes")]
    raw: Vec<u8>,
    #[n(1)]
    seed: Secret,
}

impl DeliveryToken {
    /// What it allows, and for which inbox.
    #[must_use]
    pub fn token(&self) -> &Token {
        &self.token
    }
    /// The signed token alone, as relays are shown it.
    #[must_use]
    pub fn signed(&self) -> &[u8] {
        &self.raw
    }
    /// The bytes that cards and answers carry; at most
    /// [`DELIVERY_TOKEN_BYTES_MAX`].
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(&DeliveryTokenForm { raw: self.raw.clone(), seed: self.seed.clone() })
    }
    /// Parses [`DeliveryToken::to_bytes`] and checks that `inbox` issued it.
    pub fn from_bytes(bytes: &[u8], inbox: &Descriptor) -> Result<Self, WireError> {
        if bytes.len() > DELIVERY_TOKEN_BYTES_MAX {
            return Err(WireError::TooLarge("the delivery token"));
        }
        let form: DeliveryTokenForm = cbor::decode(bytes, &[])?;
        let token = Token::verify(&form.raw, inbox)?;
        if SigningKey::from_bytes(form.seed.expose()).verifying_key().to_bytes() != token.key {
            return Err(WireError::Invalid("the delivery token's private key is another one"));
        }
        Ok(Self { raw: form.raw, seed: form.seed, token })
    }
    /// Signs one use at `relay`, as [`Token::verify_use`] checks it.
    #[must_use]
    pub fn sign_use(&self, relay: &RelayId, what: &EntryId) -> [u8; 64] {
        crypto::sign(&SigningKey::from_bytes(self.seed.expose()), labels::SIG_TOKEN_USE, &[&relay.0, &what.0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(byte: u8, mode: Mode) -> TopicKeys {
        TopicKeys::derive(&Secret::new([byte; 32]), mode)
    }

    #[test]
    fn the_secret_never_prints() {
        let keys = keys(0xab, Mode::Group);
        assert!(!format!("{keys:?}").contains("171"));
    }

    #[test]
    fn descriptors_of_cards_and_topics_name_the_same_inbox() {
        let keys = keys(1, Mode::Inbox);
        assert_eq!(keys.inbox().topic(), keys.id());
        assert_eq!(Descriptor::from(keys.inbox()), keys.descriptor());
        assert_ne!(TopicKeys::derive(keys.secret(), Mode::Group).id(), keys.id());
        let bytes = cbor::encode(&keys.descriptor());
        assert_eq!(cbor::decode::<Descriptor>(&bytes, &[]).unwrap(), keys.descriptor());
    }

    #[test]
    fn golden_topic_of_a_fixed_secret() {
        let keys = keys(7, Mode::Group);
        assert_eq!(keys.id().hex(), GOLDEN_TOPIC);
    }
    // Computed by an independent implementation of docs/protocol.md.
    const GOLDEN_TOPIC: &str = "7088e862a123f38b8a471445a1144f512b98b9ccf68d2813b29486bc6a5deb36";

    #[test]
    fn entries_have_bucket_sizes_at_every_edge() {
        let keys = keys(1, Mode::Group);
        for bucket in limits::ENTRY_BUCKETS {
            for (len, expected) in [(bucket - SEAL_BYTES, Some(bucket)), (bucket - SEAL_BYTES + 1, None)] {
                let object = vec![9; len];
                match keys.seal(&object, &[1; 24]) {
                    Ok(entry) => {
                        assert!(limits::ENTRY_BUCKETS.contains(&entry.len()));
                        assert!(expected.is_none_or(|e| e == entry.len()));
                        assert_eq!(keys.open(&entry).unwrap(), object);
                    }
                    Err(e) => assert!(len > OBJECT_BYTES_MAX, "{e}"),
                }
            }
        }
        assert_eq!(keys.open(&keys.seal(b"", &[1; 24]).unwrap()).unwrap(), b"");
    }

    #[test]
    fn an_entry_opens_in_its_topic_only() {
        let entry = keys(1, Mode::Group).seal(b"hello", &[1; 24]).unwrap();
        assert_eq!(keys(2, Mode::Group).open(&entry), Err(WireError::Seal));
        let mut bent = entry.clone();
        bent[500] ^= 1;
        assert_eq!(keys(1, Mode::Group).open(&bent), Err(WireError::Seal));
        assert!(keys(1, Mode::Group).open(&entry[..1000]).is_err());
        assert!(keys(1, Mode::Group).open(&[]).is_err());
    }

    #[test]
    fn padding_has_one_form() {
        let mut padded = pad(b"abc", 40).unwrap();
        assert_eq!(unpad(padded.clone()).unwrap(), b"abc");
        *padded.last_mut().unwrap() = 1;
        assert!(unpad(padded).is_err());
        assert!(unpad(vec![0xff; 8]).is_err());
        assert!(unpad(vec![0; 3]).is_err());
    }

    #[test]
    fn a_proof_holds_for_its_relay_client_nonce_topic_and_right_only() {
        let (relay, client, nonce) = (RelayId([1; 32]), PeerKey([2; 32]), [3; 32]);
        let link = LinkContext { relay: &relay, client: &client, nonce: &nonce };
        let topic = keys(1, Mode::Group);
        let sig = topic.prove(&link, Right::Read);
        let d = topic.descriptor();
        assert!(link.verify(&d, Right::Read, &sig).is_ok());
        assert!(link.verify(&d, Right::Write, &sig).is_err());
        assert!(link.verify(&keys(2, Mode::Group).descriptor(), Right::Read, &sig).is_err());
        assert!(LinkContext { relay: &RelayId([9; 32]), ..link }.verify(&d, Right::Read, &sig).is_err());
        assert!(LinkContext { client: &PeerKey([9; 32]), ..link }.verify(&d, Right::Read, &sig).is_err());
        assert!(LinkContext { nonce: &[9; 32], ..link }.verify(&d, Right::Read, &sig).is_err());
    }

    #[test]
    fn tokens_belong_to_their_inbox_and_uses_to_their_relay_and_entry() {
        let inbox = keys(1, Mode::Inbox);
        let grant = Grant { uses: 5, packages: 1, expires_ms: 77 };
        let token = inbox.issue_token(Secret::new([9; 32]), grant);
        let bytes = token.to_bytes();
        assert!(bytes.len() <= DELIVERY_TOKEN_BYTES_MAX, "{}", bytes.len());
        assert_eq!(DeliveryToken::from_bytes(&bytes, &inbox.descriptor()).unwrap(), token);
        assert!(DeliveryToken::from_bytes(&bytes, &keys(2, Mode::Inbox).descriptor()).is_err());
        assert!(DeliveryToken::from_bytes(&bytes, &keys(1, Mode::Group).descriptor()).is_err());
        let seen = Token::verify(token.signed(), &inbox.descriptor()).unwrap();
        assert_eq!((seen.uses, seen.packages, seen.expires_ms), (5, 1, 77));
        let (relay, entry) = (RelayId([1; 32]), EntryId([2; 32]));
        let sig = token.sign_use(&relay, &entry);
        assert!(seen.verify_use(&relay, &entry, &sig).is_ok());
        assert!(seen.verify_use(&RelayId([3; 32]), &entry, &sig).is_err());
        assert!(seen.verify_use(&relay, &EntryId([3; 32]), &sig).is_err());
        let forged =
            TopicKeys::derive(&Secret::new([4; 32]), Mode::Inbox).issue_token(Secret::new([9; 32]), grant);
        assert!(Token::verify(forged.signed(), &inbox.descriptor()).is_err());
    }

    proptest! {
        #[test]
        fn seal_round_trips(object in proptest::collection::vec(any::<u8>(), 0..6000), nonce: [u8; 24]) {
            let keys = keys(3, Mode::Group);
            let entry = keys.seal(&object, &nonce).unwrap();
            prop_assert_eq!(keys.open(&entry).unwrap(), object);
        }

        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..1100)) {
            let inbox = keys(1, Mode::Inbox).descriptor();
            let _ = Token::verify(&bytes, &inbox);
            let _ = DeliveryToken::from_bytes(&bytes, &inbox);
            let _ = keys(1, Mode::Group).open(&bytes);
            let _ = unpad(bytes);
        }
    }
}
