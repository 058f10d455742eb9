//! What people's devices say to each other about being contacts: requests,
//! answers, updates of profile and card.
//!
//! Each object travels sealed to one device's inbox, is signed by the sending
//! device and names device and inbox of the recipient, so that nobody can
//! hand it on to a third person as if it were meant for them.

mod introduction;

pub use introduction::{Introduced, Introduction};

use ed25519_dalek::SigningKey;
use minicbor::{Decode, Encode};
use subtle::ConstantTimeEq;

use crate::cbor::WireError;
use crate::crypto::{self, Secret};
use crate::identity::{Credential, Verified, kinds};
use crate::ids::{AccountId, DeviceId, GroupId, InviteId, TopicId, hash};
use crate::object::object;
use crate::signed::{self, Body, Raw};
use crate::{labels, limits};

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

object! {
    ContactRequest: kinds::CONTACT_REQUEST, fields [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11],
    label labels::SIG_CONTACT, check Self::bounds
}

impl ContactRequest {
    fn bounds(&self) -> Result<(), WireError> {
        self.from.check()?;
        if self.from.profile.is_none() || self.from.card.is_none() {
            return Err(WireError::Invalid("a request needs the sender's profile and card"));
        }
        if self.key_package.is_empty() || self.key_package.len() > limits::KEY_PACKAGE_BYTES_MAX {
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

object! {
    ContactAnswer: kinds::CONTACT_ANSWER, fields [0, 1, 3, 4, 5, 6, 7, 8],
    label labels::SIG_CONTACT, check Self::bounds
}

impl ContactAnswer {
    fn bounds(&self) -> Result<(), WireError> {
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

object! {
    ContactUpdate: kinds::CONTACT_UPDATE, fields [0, 1, 3, 4, 5, 6],
    label labels::SIG_CONTACT, check Self::bounds
}

impl ContactUpdate {
    fn bounds(&self) -> Result<(), WireError> {
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
    match raw.kind()? {
        kinds::CONTACT_REQUEST => {
            let (body, from) = read(&raw, device, inbox)?;
            Ok(Contact::Request(body, from))
        }
        kinds::CONTACT_ANSWER => {
            let (body, from) = read(&raw, device, inbox)?;
            Ok(Contact::Answer(body, from))
        }
        kinds::CONTACT_UPDATE => {
            let (body, from) = read(&raw, device, inbox)?;
            Ok(Contact::Update(body, from))
        }
        got => Err(WireError::Kind { expected: kinds::CONTACT_REQUEST, got }),
    }
}

/// What every object of this file has: a recipient and a sender.
trait Addressed: Body {
    fn to(&self) -> (&DeviceId, &TopicId);
    fn from(&self) -> &Introduction;
}

macro_rules! addressed {
    ($($name:ident),*) => {$(
        impl Addressed for $name {
            fn to(&self) -> (&DeviceId, &TopicId) {
                (&self.to, &self.to_inbox)
            }
            fn from(&self) -> &Introduction {
                &self.from
            }
        }
    )*};
}
addressed!(ContactRequest, ContactAnswer, ContactUpdate);

fn read<T: Addressed>(
    raw: &Raw,
    device: &DeviceId,
    inbox: &TopicId,
) -> Result<(Box<T>, Introduced), WireError> {
    let body: T = raw.body()?;
    if body.to() != (device, inbox) {
        return Err(WireError::Invalid("the object is meant for somebody else"));
    }
    // The cheapest check that a forger cannot pass comes before the others.
    let sender = Credential::from_bytes(&body.from().credential)?.device();
    raw.verify::<T>(&sender.0, &[])?;
    let from = body.from().verify()?;
    Ok((Box::new(body), from))
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
    use crate::identity::{DeviceCard, Inbox, Profile, RelayHint, sample};
    use crate::ids::{PeerKey, RelayId};
    use crate::object::Versioned as _;
    use proptest::prelude::*;

    struct Person {
        device: SigningKey,
        intro: Introduction,
        who: Verified,
    }

    fn person(seed: u8) -> Person {
        let (credential, account, device) = sample(seed);
        let who = credential.verify().unwrap();
        let profile = Profile::new(who.account, 0, 1, "Åsa".into(), "Hi".into());
        let card = DeviceCard {
            kind: DeviceCard::KIND,
            version: 1,
            account: who.account,
            device: who.device,
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
