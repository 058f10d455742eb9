//! What people's devices say to each other about being contacts: requests,
//! answers, updates of profile and card.
//!
//! Each object travels sealed to one device's inbox, is signed by the sending
//! device and names device and inbox of the recipient, so that nobody can
//! hand it on to a third person as if it were meant for them.

use ed25519_dalek::SigningKey;
use minicbor::{Decode, Encode};
use subtle::ConstantTimeEq;

use crate::cbor::WireError;
use crate::crypto::{self, Secret};
use crate::identity::{Credential, DeviceCard, Profile, Verified, kinds};
use crate::ids::{AccountId, DeviceId, GroupId, InviteId, TopicId, hash};
use crate::signed::{self, Body, Raw};
use crate::{labels, limits};

/// No credential, profile, card or token inside is longer, in bytes.
const PART_BYTES_MAX: usize = 32 << 10;
/// No key package inside is longer, in bytes.
const KEY_PACKAGE_BYTES_MAX: usize = 8 << 10;

/// Who is speaking, as bytes: credential always, the rest where it belongs.
/// Speaks for itself wherever it is found: in contact objects, in the profile
/// and card events of groups, in join bundles.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Introduction {
    /// The sender's credential.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub credential: Vec<u8>,
    /// Signed [`Profile`].
    #[cbor(n(1), with = "minicbor::bytes")]
    pub profile: Option<Vec<u8>>,
    /// Signed [`DeviceCard`].
    #[cbor(n(2), with = "minicbor::bytes")]
    pub card: Option<Vec<u8>>,
    /// Delivery token with its secret, for writing into the sender's inbox.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub token: Option<Vec<u8>>,
}

/// A verified [`Introduction`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduced {
    /// The sender.
    pub who: Verified,
    /// Their profile, if given.
    pub profile: Option<Profile>,
    /// Their card, if given.
    pub card: Option<DeviceCard>,
}

impl Introduction {
    /// The introduction's bytes, where it stands alone.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        crate::cbor::encode(self)
    }
    /// Parses an introduction that stands alone; not verified yet.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > limits::EVENT_BODY_BYTES_MAX {
            return Err(WireError::TooLarge("the introduction"));
        }
        let it: Self = crate::cbor::decode(bytes, &[0, 1, 2, 3])?;
        it.check()?;
        Ok(it)
    }
    fn check(&self) -> Result<(), WireError> {
        let parts = [Some(&self.credential), self.profile.as_ref(), self.card.as_ref(), self.token.as_ref()];
        if parts.into_iter().flatten().any(|p| p.len() > PART_BYTES_MAX) {
            return Err(WireError::TooLarge("a part of the introduction"));
        }
        Ok(())
    }
    /// Verifies every part and that all speak of one account and device.
    pub fn verify(&self) -> Result<Introduced, WireError> {
        let who = Credential::verify_bytes(&self.credential)?;
        let profile = self.profile.as_deref().map(|p| read_profile(&who, p)).transpose()?;
        let card = self.card.as_deref().map(|c| read_card(&who, c)).transpose()?;
        Ok(Introduced { who, profile, card })
    }
}

/// Reads a signed profile of the account that a credential proves.
pub fn read_profile(who: &Verified, bytes: &[u8]) -> Result<Profile, WireError> {
    let profile: Profile = who.read_by_account(&Raw::from_bytes(bytes)?)?;
    if profile.account != who.account || profile.generation != who.generation {
        return Err(WireError::Invalid("the profile is of another account"));
    }
    Ok(profile)
}

/// Reads a signed card of the device that a credential proves.
pub fn read_card(who: &Verified, bytes: &[u8]) -> Result<DeviceCard, WireError> {
    let card: DeviceCard = who.read_by_device(&Raw::from_bytes(bytes)?)?;
    if card.account != who.account || card.device != who.device {
        return Err(WireError::Invalid("the card is of another device"));
    }
    Ok(card)
}

/// "I have your invite: let us be contacts" or "let me into that group".
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ContactRequest {
    /// Kind.
    #[n(0)]
    pub kind: u16,
    /// Version of the shape.
    #[n(1)]
    pub version: u16,
    /// The recipient's device.
    #[n(3)]
    pub to: DeviceId,
    /// The recipient's inbox.
    #[n(4)]
    pub to_inbox: TopicId,
    /// The sender, with profile, card and a token for the answer.
    #[n(5)]
    pub from: Introduction,
    /// A fresh key package of the sender's device.
    #[cbor(n(6), with = "minicbor::bytes")]
    pub key_package: Vec<u8>,
    /// The invite that is answered.
    #[n(7)]
    pub invite: InviteId,
    /// [`invite_proof`] of the invite's secret.
    #[cbor(n(8), with = "minicbor::bytes")]
    pub proof: [u8; 32],
    /// A few words to the recipient.
    #[n(9)]
    pub greeting: String,
    /// The group to be let into, for an invite to a group.
    #[n(10)]
    pub group: Option<GroupId>,
    /// When it was written, Unix milliseconds.
    #[n(11)]
    pub at_ms: u64,
}

impl Body for ContactRequest {
    const KIND: u16 = kinds::CONTACT_REQUEST;
    const FIELDS: &'static [u64] = &[0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11];
    const LABEL: &'static str = labels::SIG_CONTACT;
    fn head(&self) -> (u16, u16) {
        (self.kind, self.version)
    }
    fn check(&self) -> Result<(), WireError> {
        self.from.check()?;
        if self.from.profile.is_none() || self.from.card.is_none() {
            return Err(WireError::Invalid("a request needs the sender's profile and card"));
        }
        if self.key_package.is_empty() || self.key_package.len() > KEY_PACKAGE_BYTES_MAX {
            return Err(WireError::TooLarge("the key package"));
        }
        if self.greeting.len() > limits::ABOUT_BYTES_MAX {
            return Err(WireError::TooLarge("the greeting"));
        }
        Ok(())
    }
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Verdict {
    /// Yes.
    #[n(0)]
    Accepted,
    /// The person said no.
    #[n(1)]
    Refused,
    /// The invite's uses are used up.
    #[n(2)]
    UsedUp,
    /// The invite was withdrawn.
    #[n(3)]
    Withdrawn,
    /// The invite's time was over.
    #[n(4)]
    Expired,
    /// The inviter cannot take more requests now.
    #[n(5)]
    Busy,
}

/// The answer to a [`ContactRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ContactAnswer {
    /// Kind.
    #[n(0)]
    pub kind: u16,
    /// Version of the shape.
    #[n(1)]
    pub version: u16,
    /// The recipient's device.
    #[n(3)]
    pub to: DeviceId,
    /// The recipient's inbox.
    #[n(4)]
    pub to_inbox: TopicId,
    /// The sender; with profile, card and token only when accepted.
    #[n(5)]
    pub from: Introduction,
    /// [`request_id`] of the request.
    #[cbor(n(6), with = "minicbor::bytes")]
    pub request: [u8; 32],
    /// Yes, or why not.
    #[n(7)]
    pub verdict: Verdict,
    /// When it was written, Unix milliseconds.
    #[n(8)]
    pub at_ms: u64,
}

impl Body for ContactAnswer {
    const KIND: u16 = kinds::CONTACT_ANSWER;
    const FIELDS: &'static [u64] = &[0, 1, 3, 4, 5, 6, 7, 8];
    const LABEL: &'static str = labels::SIG_CONTACT;
    fn head(&self) -> (u16, u16) {
        (self.kind, self.version)
    }
    fn check(&self) -> Result<(), WireError> {
        self.from.check()
    }
}

/// A new profile, card or token for somebody who is already a contact.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ContactUpdate {
    /// Kind.
    #[n(0)]
    pub kind: u16,
    /// Version of the shape.
    #[n(1)]
    pub version: u16,
    /// The recipient's device.
    #[n(3)]
    pub to: DeviceId,
    /// The recipient's inbox.
    #[n(4)]
    pub to_inbox: TopicId,
    /// The sender and what is new.
    #[n(5)]
    pub from: Introduction,
    /// When it was written, Unix milliseconds.
    #[n(6)]
    pub at_ms: u64,
}

impl Body for ContactUpdate {
    const KIND: u16 = kinds::CONTACT_UPDATE;
    const FIELDS: &'static [u64] = &[0, 1, 3, 4, 5, 6];
    const LABEL: &'static str = labels::SIG_CONTACT;
    fn head(&self) -> (u16, u16) {
        (self.kind, self.version)
    }
    fn check(&self) -> Result<(), WireError> {
        self.from.check()
    }
}

/// Any object of this file, verified: signature, every part of the
/// introduction, and that it is meant for this device and inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contact {
    /// A request.
    Request(Box<ContactRequest>, Introduced),
    /// An answer.
    Answer(Box<ContactAnswer>, Introduced),
    /// An update.
    Update(Box<ContactUpdate>, Introduced),
}

/// Whether a signed object of this kind belongs to this file.
#[must_use]
pub fn is_contact_kind(kind: u16) -> bool {
    matches!(kind, kinds::CONTACT_REQUEST | kinds::CONTACT_ANSWER | kinds::CONTACT_UPDATE)
}

/// Parses and verifies a contact object that came into `inbox` of `device`.
pub fn open(bytes: &[u8], device: &DeviceId, inbox: &TopicId) -> Result<Contact, WireError> {
    if bytes.len() > limits::ENTRY_BYTES_MAX {
        return Err(WireError::TooLarge("the object"));
    }
    let raw = Raw::from_bytes(bytes)?;
    let addressed = |to: &DeviceId, to_inbox: &TopicId| {
        if to == device && to_inbox == inbox {
            Ok(())
        } else {
            Err(WireError::Invalid("the object is meant for somebody else"))
        }
    };
    match raw.kind()? {
        kinds::CONTACT_REQUEST => {
            let body: ContactRequest = raw.body()?;
            addressed(&body.to, &body.to_inbox)?;
            let from = introduced::<ContactRequest>(&raw, &body.from)?;
            Ok(Contact::Request(Box::new(body), from))
        }
        kinds::CONTACT_ANSWER => {
            let body: ContactAnswer = raw.body()?;
            addressed(&body.to, &body.to_inbox)?;
            let from = introduced::<ContactAnswer>(&raw, &body.from)?;
            Ok(Contact::Answer(Box::new(body), from))
        }
        kinds::CONTACT_UPDATE => {
            let body: ContactUpdate = raw.body()?;
            addressed(&body.to, &body.to_inbox)?;
            let from = introduced::<ContactUpdate>(&raw, &body.from)?;
            Ok(Contact::Update(Box::new(body), from))
        }
        got => Err(WireError::Kind { expected: kinds::CONTACT_REQUEST, got }),
    }
}

fn introduced<T: Body>(raw: &Raw, from: &Introduction) -> Result<Introduced, WireError> {
    // The cheapest check that a forger cannot pass comes before the others.
    let device = Credential::from_bytes(&from.credential)?.device();
    raw.verify::<T>(&device.0, &[])?;
    from.verify()
}

/// Signs one of this file's objects with the sending device's key.
#[must_use]
pub fn sign<T: Body>(body: &T, device: &SigningKey) -> Vec<u8> {
    signed::sign(body, device, &[]).to_bytes()
}

/// How an answer names the request it is for: hash of the request's bytes.
#[must_use]
pub fn request_id(request: &[u8]) -> [u8; 32] {
    hash(labels::ID_REQUEST, &[request])
}

/// Proof that `account` holds the invite's secret when it writes from
/// `device`. It does not give the secret away and is worth nothing to anybody
/// else.
#[must_use]
pub fn invite_proof(secret: &Secret, account: &AccountId, device: &DeviceId) -> [u8; 32] {
    let context = [account.0, device.0].concat();
    *crypto::derive(secret, labels::INVITE_PROOF, &context).expose()
}

/// Compares a request's proof in constant time.
#[must_use]
pub fn invite_proof_holds(secret: &Secret, who: &Verified, proof: &[u8; 32]) -> bool {
    invite_proof(secret, &who.account, &who.device).ct_eq(proof).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Inbox, RelayHint, Rotation};
    use crate::ids::{PeerKey, RelayId};
    use proptest::prelude::*;

    struct Person {
        device: SigningKey,
        intro: Introduction,
        who: Verified,
    }

    fn person(seed: u8) -> Person {
        let key = |n: u8| SigningKey::from_bytes(&[seed.wrapping_add(n); 32]);
        let (recovery, account, device) = (key(0), key(1), key(2));
        let rotation = Rotation::issue(&recovery, 0, account.verifying_key().to_bytes());
        let id = DeviceId(device.verifying_key().to_bytes());
        let credential = Credential::issue(&rotation, &account, id, [9; 32]);
        let profile = Profile::new(rotation.account(), 0, 1, "Åsa".into(), "Hi".into());
        let card = DeviceCard {
            kind: DeviceCard::KIND,
            version: 1,
            account: rotation.account(),
            device: id,
            revision: 1,
            inbox: Inbox { read_pub: [1; 32], write_pub: [2; 32] },
            relays: vec![RelayHint {
                id: RelayId([3; 32]),
                name: "r".into(),
                addrs: vec!["/ip4/1.2.3.4/tcp/1".into()],
            }],
            transport: PeerKey([4; 32]),
            addrs: vec!["/ip4/1.2.3.4/udp/1/quic-v1".into()],
            issued_ms: 1,
            expires_ms: 2,
            token: None,
        };
        let intro = Introduction {
            credential: credential.to_bytes(),
            profile: Some(sign(&profile, &account)),
            card: Some(sign(&card, &device)),
            token: None,
        };
        let who = credential.verify().unwrap();
        Person { device, intro, who }
    }

    const TO: DeviceId = DeviceId([5; 32]);
    const INBOX: TopicId = TopicId([6; 32]);

    fn request(from: &Person) -> ContactRequest {
        ContactRequest {
            kind: ContactRequest::KIND,
            version: 1,
            to: TO,
            to_inbox: INBOX,
            from: from.intro.clone(),
            key_package: vec![1; 300],
            invite: InviteId([7; 32]),
            proof: invite_proof(&Secret::new([8; 32]), &from.who.account, &from.who.device),
            greeting: "Hello, it is me".into(),
            group: None,
            at_ms: 77,
        }
    }

    #[test]
    fn requests_answers_and_updates_round_trip() {
        let (alice, secret) = (person(1), Secret::new([8; 32]));
        let bytes = sign(&request(&alice), &alice.device);
        let Contact::Request(body, from) = open(&bytes, &TO, &INBOX).unwrap() else { panic!() };
        assert_eq!((*body).clone(), request(&alice));
        assert_eq!(from.who, alice.who);
        assert_eq!(from.profile.unwrap().name, "Åsa");
        assert!(invite_proof_holds(&secret, &alice.who, &body.proof));
        assert!(!invite_proof_holds(&Secret::new([9; 32]), &alice.who, &body.proof));
        assert!(!invite_proof_holds(&secret, &person(50).who, &body.proof));
        let answer = ContactAnswer {
            kind: ContactAnswer::KIND,
            version: 1,
            to: TO,
            to_inbox: INBOX,
            from: Introduction { profile: None, card: None, ..alice.intro.clone() },
            request: request_id(&bytes),
            verdict: Verdict::UsedUp,
            at_ms: 78,
        };
        let bytes = sign(&answer, &alice.device);
        assert!(matches!(open(&bytes, &TO, &INBOX).unwrap(), Contact::Answer(b, _) if *b == answer));
        let update = ContactUpdate {
            kind: ContactUpdate::KIND,
            version: 1,
            to: TO,
            to_inbox: INBOX,
            from: alice.intro.clone(),
            at_ms: 79,
        };
        let bytes = sign(&update, &alice.device);
        assert!(matches!(open(&bytes, &TO, &INBOX).unwrap(), Contact::Update(b, _) if *b == update));
        let value: serde_cbor::Value = serde_cbor::from_slice(&bytes).unwrap();
        assert!(matches!(value, serde_cbor::Value::Array(parts) if parts.len() == 2));
    }

    #[test]
    fn an_object_for_somebody_else_or_from_another_hand_is_refused() {
        let (alice, mallory) = (person(1), person(50));
        let bytes = sign(&request(&alice), &alice.device);
        assert!(open(&bytes, &DeviceId([9; 32]), &INBOX).is_err());
        assert!(open(&bytes, &TO, &TopicId([9; 32])).is_err());
        // Signed by another device than the credential's.
        let forged = sign(&request(&alice), &mallory.device);
        assert_eq!(open(&forged, &TO, &INBOX), Err(WireError::Signature));
        // Another person's profile or card put in.
        for swap in [0, 1] {
            let mut body = request(&alice);
            if swap == 0 {
                body.from.profile.clone_from(&mallory.intro.profile);
            } else {
                body.from.card.clone_from(&mallory.intro.card);
            }
            assert!(open(&sign(&body, &alice.device), &TO, &INBOX).is_err());
        }
        // A request without profile or card, or with too long a greeting.
        let mut body = request(&alice);
        body.from.card = None;
        assert!(open(&sign(&body, &alice.device), &TO, &INBOX).is_err());
        let mut body = request(&alice);
        body.greeting = "x".repeat(2000);
        assert_eq!(open(&sign(&body, &alice.device), &TO, &INBOX), Err(WireError::TooLarge("the greeting")));
    }

    #[test]
    fn introductions_stand_alone() {
        let alice = person(1);
        let bytes = alice.intro.to_bytes();
        let read = Introduction::from_bytes(&bytes).unwrap();
        assert_eq!(read, alice.intro);
        assert_eq!(read.verify().unwrap().who, alice.who);
        let bare = Introduction { credential: alice.intro.credential, ..Introduction::default() };
        assert_eq!(Introduction::from_bytes(&bare.to_bytes()).unwrap(), bare);
    }

    proptest! {
        #[test]
        fn any_changed_byte_is_refused(at in 0usize..2000, flip in 1u8..) {
            let alice = person(1);
            let mut bytes = sign(&request(&alice), &alice.device);
            let at = at % bytes.len();
            bytes[at] ^= flip;
            prop_assert!(open(&bytes, &TO, &INBOX).is_err());
        }

        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(open(&bytes, &TO, &INBOX).is_err());
            let _ = Introduction::from_bytes(&bytes);
        }
    }
}
