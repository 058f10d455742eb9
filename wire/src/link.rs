//! Invite links: what one person passes to another outside of Kith.
//!
//! `kith-invite:` and base64url of a signed object with a checksum. It must
//! fit a QR code that a phone reads at arm's length, so nothing is in it that
//! follows from something else in it: the invite's id and the key of its
//! delivery token follow from its secret, the device's certificate from the
//! invite's own signature.

mod addr;
mod armour;
mod error;

pub use error::LinkError;

use ed25519_dalek::SigningKey;
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::cbor::{self, WireError};
use crate::crypto::{self, Secret};
use crate::identity::{Inbox, RelayHint, Rotation, Verified, check_addrs, kinds};
use crate::ids::{DeviceId, GroupId, InviteId, PeerKey};
use crate::object::{Versioned as _, object};
use crate::signed::{self, Raw};
use crate::topic::{DeliveryToken, Grant, Token, TopicKeys};
use crate::{labels, limits};
use addr::{Addr, PackedRelay};

/// What an invite says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// The invite's secret: whoever holds it may use the invite.
    pub secret: Secret,
    /// R's word for the inviter's account key.
    pub rotation: Rotation,
    /// The inviting device.
    pub device: DeviceId,
    /// Its X25519 public key.
    pub box_pub: [u8; 32],
    /// The inviter's name.
    pub name: String,
    /// The inviting device's inbox.
    pub inbox: Inbox,
    /// Relays that hold the inbox.
    pub relays: Vec<RelayHint>,
    /// Transport key to dial.
    pub transport: PeerKey,
    /// Direct addresses.
    pub addrs: Vec<String>,
    /// How many people may use it.
    pub uses: u32,
    /// End of validity, Unix seconds.
    pub expires_s: u64,
    /// The inbox's signature of the invite's delivery token (its key follows
    /// from the secret); none where there are no relays.
    pub token_sig: Option<[u8; 64]>,
    /// The group that it leads to, with its title.
    pub group: Option<(GroupId, String)>,
}

/// An invite that was read and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// What it says.
    pub invite: Invite,
    /// Its id.
    pub id: InviteId,
    /// The inviter.
    pub who: Verified,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct InviteBody {
    #[n(0)]
    kind: u16,
    #[n(1)]
    version: u16,
    #[n(3)]
    secret: Secret,
    #[n(4)]
    rotation: Rotation,
    #[n(5)]
    device: DeviceId,
    #[cbor(n(6), with = "minicbor::bytes")]
    box_pub: [u8; 32],
    #[n(7)]
    name: String,
    #[n(8)]
    inbox: Inbox,
    #[n(9)]
    relays: Vec<PackedRelay>,
    #[n(10)]
    transport: PeerKey,
    #[n(11)]
    addrs: Vec<Addr>,
    #[n(12)]
    uses: u32,
    #[n(13)]
    expires_s: u64,
    #[cbor(n(14), with = "minicbor::bytes")]
    token_sig: Option<[u8; 64]>,
    #[n(15)]
    group: Option<GroupId>,
    #[n(16)]
    title: Option<String>,
}

object! {
    InviteBody: kinds::INVITE, fields [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
    label labels::SIG_INVITE, check Self::bounds
}

impl InviteBody {
    fn bounds(&self) -> Result<(), WireError> {
        if self.name.len() > limits::NAME_BYTES_MAX {
            return Err(WireError::TooLarge("the name"));
        }
        if self.title.as_ref().is_some_and(|t| t.len() > limits::NAME_BYTES_MAX) {
            return Err(WireError::TooLarge("the group's title"));
        }
        if self.group.is_some() != self.title.is_some() {
            return Err(WireError::Invalid("a group comes with its title"));
        }
        if self.relays.len() > limits::CARD_RELAYS_MAX {
            return Err(WireError::TooLarge("the number of relays"));
        }
        for relay in &self.relays {
            RelayHint::from(relay).check()?;
        }
        let addrs: Vec<String> = self.addrs.iter().map(|a| a.0.clone()).collect();
        check_addrs(&addrs)
    }
}

/// The id of the invite with this secret.
#[must_use]
pub fn invite_id(secret: &Secret) -> InviteId {
    InviteId(*crypto::derive(secret, labels::INVITE_ID, b"").expose())
}

/// What the delivery token of an invite allows. Relays drop repeats of one
/// entry by themselves, so two appends per person leave room for a second try.
fn invite_grant(uses: u32, expires_s: u64) -> Grant {
    Grant { uses: uses.saturating_mul(2), packages: 0, expires_ms: expires_s.saturating_mul(1000) }
}

impl Invite {
    /// Adds the delivery token by which requests reach `inbox` through relays.
    /// The token's key follows from the invite's secret, so the link carries
    /// the inbox's signature alone.
    pub fn add_token(&mut self, inbox: &TopicKeys) -> Result<(), WireError> {
        let seed = crypto::derive(&self.secret, labels::INVITE_TOKEN, b"");
        let token = inbox.issue_token(seed, invite_grant(self.uses, self.expires_s));
        self.token_sig = Some(Raw::from_bytes(token.signed())?.sig);
        Ok(())
    }
    /// The delivery token, if the invite has one and its inbox issued it.
    #[must_use]
    pub fn token(&self) -> Option<DeliveryToken> {
        let grant = invite_grant(self.uses, self.expires_s);
        let seed = crypto::derive(&self.secret, labels::INVITE_TOKEN, b"");
        let token = Token {
            kind: Token::KIND,
            version: Token::VERSION,
            inbox: self.inbox.topic(),
            key: SigningKey::from_bytes(seed.expose()).verifying_key().to_bytes(),
            uses: grant.uses,
            packages: grant.packages,
            expires_ms: grant.expires_ms,
        };
        let raw = Raw { body: cbor::encode(&token), sig: self.token_sig? }.to_bytes();
        let form = cbor::encode(&(ByteVec::from(raw), seed));
        DeliveryToken::from_bytes(&form, &self.inbox.into()).ok()
    }
    /// The link, signed with the account key of `rotation`.
    #[must_use]
    pub fn to_link(&self, account_key: &SigningKey) -> String {
        let (group, title) = self.group.clone().unzip();
        let body = InviteBody {
            kind: InviteBody::KIND,
            version: InviteBody::VERSION,
            secret: self.secret.clone(),
            rotation: self.rotation.clone(),
            device: self.device,
            box_pub: self.box_pub,
            name: self.name.clone(),
            inbox: self.inbox,
            relays: self.relays.iter().map(PackedRelay::from).collect(),
            transport: self.transport,
            addrs: self.addrs.iter().cloned().map(Addr).collect(),
            uses: self.uses,
            expires_s: self.expires_s,
            token_sig: self.token_sig,
            group,
            title,
        };
        armour::write(&signed::sign(&body, account_key, &[]).to_bytes())
    }
    /// Reads a link that a person pasted or scanned: words around it and line
    /// breaks inside are passed over. Verifies everything but what only the
    /// inviter knows (uses left, withdrawn).
    pub fn open(text: &str, now_ms: u64) -> Result<Opened, LinkError> {
        let bytes = armour::read(text)?;
        let opened = verify(&bytes)?;
        if opened.invite.expires_s.saturating_mul(1000) <= now_ms {
            return Err(LinkError::Expired);
        }
        Ok(opened)
    }
}

fn verify(bytes: &[u8]) -> Result<Opened, LinkError> {
    let raw = Raw::from_bytes(bytes).map_err(LinkError::Forged)?;
    let body: InviteBody = raw.body().map_err(|e| match e {
        WireError::Version(_) | WireError::UnknownField(_) => LinkError::Newer,
        other => LinkError::Forged(other),
    })?;
    body.rotation.verify().map_err(LinkError::Forged)?;
    raw.verify::<InviteBody>(&body.rotation.account_pub, &[]).map_err(LinkError::Forged)?;
    let who = Verified {
        account: body.rotation.account(),
        recovery_pub: body.rotation.recovery_pub,
        generation: body.rotation.generation,
        account_key: body.rotation.account_pub,
        device: body.device,
        box_key: body.box_pub,
    };
    let id = invite_id(&body.secret);
    let invite = Invite {
        secret: body.secret,
        rotation: body.rotation,
        device: body.device,
        box_pub: body.box_pub,
        name: body.name,
        inbox: body.inbox,
        relays: body.relays.iter().map(RelayHint::from).collect(),
        transport: body.transport,
        addrs: body.addrs.into_iter().map(|a| a.0).collect(),
        uses: body.uses,
        expires_s: body.expires_s,
        token_sig: body.token_sig,
        group: body.group.zip(body.title),
    };
    Ok(Opened { invite, id, who })
}

#[cfg(test)]
mod tests {
    use super::armour::INVITE_SCHEME;
    use super::*;
    use crate::identity::sample;
    use crate::ids::AccountId;
    use crate::topic::Mode;
    use proptest::prelude::*;

    const NOW_MS: u64 = 1_790_000_000_000;

    fn keys(seed: u8) -> (SigningKey, Rotation) {
        let (credential, account, _) = sample(seed);
        (account, credential.rotation())
    }

    fn invite(seed: u8) -> (Invite, SigningKey) {
        let (account, rotation) = keys(seed);
        let inbox = TopicKeys::derive(&Secret::new([seed; 32]), Mode::Inbox);
        let mut invite = Invite {
            secret: Secret::new([seed; 32]),
            rotation,
            device: DeviceId([7; 32]),
            box_pub: [8; 32],
            name: "Åsa Lindqvist".into(),
            inbox: inbox.inbox(),
            relays: vec![RelayHint {
                id: crate::ids::RelayId([9; 32]),
                name: "relay.example.org".into(),
                addrs: vec!["/dns4/relay.example.org/udp/4001/quic-v1".into()],
            }],
            transport: PeerKey([3; 32]),
            addrs: vec!["/ip4/192.168.1.23/udp/40123/quic-v1".into(), "/ip4/192.168.1.23/tcp/40123".into()],
            uses: 5,
            expires_s: NOW_MS / 1000 + 86_400,
            token_sig: None,
            group: None,
        };
        invite.add_token(&inbox).unwrap();
        (invite, account)
    }

    #[test]
    fn a_link_round_trips_and_fits_a_qr_code() {
        let (mut invite, account) = invite(1);
        let link = invite.to_link(&account);
        assert!(link.len() < 900, "{}", link.len());
        let opened = Invite::open(&link, NOW_MS).unwrap();
        assert_eq!(opened.invite, invite);
        assert_eq!(opened.id, invite_id(&invite.secret));
        assert_eq!(opened.who.account, invite.rotation.account());
        assert_eq!(opened.invite.token().unwrap().token().expires_ms, invite.expires_s * 1000);
        invite.group = Some((GroupId([6; 32]), "The book club of Tuesday".into()));
        let link = invite.to_link(&account);
        assert!(link.len() < 1000, "{}", link.len());
        assert_eq!(Invite::open(&link, NOW_MS).unwrap().invite, invite);
    }

    #[test]
    fn golden_vector() {
        let (invite, account) = invite(1);
        let digest = crate::ids::hash("test", &[invite.to_link(&account).as_bytes()]);
        assert_eq!(data_encoding::HEXLOWER.encode(&digest), GOLDEN);
        assert_eq!(invite_id(&invite.secret).hex(), GOLDEN_ID);
    }
    const GOLDEN: &str = "5f34a6fe568584013176b74c7c905deecfdea9074012ace3d965e0ff96343ccd";
    const GOLDEN_ID: &str = "05e8b012cd5bb838f6956bbc8f5d186db0f0adf2ecf3284804f660129b833930";

    #[test]
    fn an_independent_decoder_reads_the_object() {
        let (invite, account) = invite(1);
        let link = invite.to_link(&account);
        let bytes = data_encoding::BASE64URL_NOPAD.decode(&link.as_bytes()[INVITE_SCHEME.len()..]).unwrap();
        let value: serde_cbor::Value = serde_cbor::from_slice(&bytes[..bytes.len() - 4]).unwrap();
        let serde_cbor::Value::Array(parts) = value else { panic!() };
        let serde_cbor::Value::Bytes(body) = &parts[0] else { panic!() };
        let serde_cbor::Value::Map(map) = serde_cbor::from_slice(body).unwrap() else { panic!() };
        assert_eq!(map[&serde_cbor::Value::Integer(7)], serde_cbor::Value::Text(invite.name));
    }

    #[test]
    fn words_around_and_line_breaks_inside_do_no_harm() {
        let (invite, account) = invite(1);
        let link = invite.to_link(&account);
        let broken: String =
            link.as_bytes().chunks(70).map(|c| format!("{}\r\n", core::str::from_utf8(c).unwrap())).collect();
        for text in [
            format!("  {link}\n"),
            format!("Here is my invite: {link}. See you!"),
            format!("<{link}>"),
            format!("KITH-INVITE:{}", &link[INVITE_SCHEME.len()..]),
            format!("kith-invite://{}", &link[INVITE_SCHEME.len()..]),
            broken,
        ] {
            assert_eq!(Invite::open(&text, NOW_MS).unwrap().invite, invite, "{text}");
        }
    }

    #[test]
    fn every_wrong_text_gets_its_own_sentence() {
        let (invite, account) = invite(1);
        let link = invite.to_link(&account);
        let open = |text: &str| Invite::open(text, NOW_MS).unwrap_err();
        assert_eq!(open("hello"), LinkError::NotAnInvite);
        assert_eq!(open(""), LinkError::NotAnInvite);
        assert_eq!(open("kith-relay:AAAA"), LinkError::CommunityLink);
        assert_eq!(open("kith-link:AAAA"), LinkError::DeviceLink);
        assert_eq!(open(&AccountId([1; 32]).to_text()), LinkError::AccountId);
        assert_eq!(open("KITH-SAFETY:1:123"), LinkError::SafetyNumber);
        assert_eq!(open(&"a".repeat(20_000)), LinkError::TooLong);
        for cut in [12, 13, 14, 20, 100, 101, 102, 103, link.len() - 5, link.len() - 1] {
            assert_eq!(open(&link[..cut]), LinkError::Cut, "{cut}");
        }
        let mut typo = link.clone().into_bytes();
        typo[400] = if typo[400] == b'A' { b'B' } else { b'A' };
        assert_eq!(open(&String::from_utf8(typo).unwrap()), LinkError::Mistyped);
        assert_eq!(open(&link.replacen("kith-invite:", "kith-invite:Å", 1)), LinkError::Mistyped);
        assert_eq!(Invite::open(&link, (invite.expires_s + 1) * 1000), Err(LinkError::Expired));
        let codes = [
            LinkError::NotAnInvite,
            LinkError::Cut,
            LinkError::Mistyped,
            LinkError::Expired,
            LinkError::Newer,
        ];
        let set: std::collections::BTreeSet<&str> = codes.iter().map(LinkError::code).collect();
        assert_eq!(set.len(), codes.len());
    }

    #[test]
    fn forged_and_newer_invites_are_refused() {
        let (invite, account) = invite(1);
        let (_, other) = keys(50);
        // Signed by another account's key.
        let (stranger, _) = keys(60);
        assert!(matches!(Invite::open(&invite.to_link(&stranger), NOW_MS), Err(LinkError::Forged(_))));
        // Another account's rotation with this account's signature.
        let moved = Invite { rotation: other, ..invite.clone() };
        assert!(matches!(Invite::open(&moved.to_link(&account), NOW_MS), Err(LinkError::Forged(_))));
        // A token that the inbox did not issue is no token.
        let mut no_token = invite;
        no_token.uses = 6;
        assert!(Invite::open(&no_token.to_link(&account), NOW_MS).unwrap().invite.token().is_none());
        // A field or version that this Kith does not know.
        let body = [0xa2, 0, 0x18, 41, 1, 2];
        let raw = Raw { body: body.to_vec(), sig: [0; 64] };
        assert!(matches!(
            Invite::open(&armour::write(&raw.to_bytes()), NOW_MS),
            Err(LinkError::Forged(_) | LinkError::Newer)
        ));
        let body = [0xa3, 0, 0x18, 41, 1, 1, 17, 0];
        let raw = Raw { body: body.to_vec(), sig: [0; 64] };
        assert_eq!(Invite::open(&armour::write(&raw.to_bytes()), NOW_MS), Err(LinkError::Newer));
    }

    proptest! {
        #[test]
        fn any_changed_character_is_found(at in 12usize..800, c in proptest::char::range('!', '~')) {
            let (invite, account) = invite(1);
            let link = invite.to_link(&account);
            let at = at.min(link.len() - 1);
            let mut changed = link.clone();
            changed.replace_range(at..=at, &c.to_string());
            // A character behind the end that no link has is passed over; all others count.
            prop_assume!(changed != link);
            prop_assert!(Invite::open(&changed, NOW_MS).is_err());
        }

        #[test]
        fn any_changed_byte_under_a_right_checksum_is_refused(at in 0usize..600, flip in 1u8..) {
            let (invite, account) = invite(1);
            let link = invite.to_link(&account);
            let mut bytes = data_encoding::BASE64URL_NOPAD.decode(&link.as_bytes()[INVITE_SCHEME.len()..]).unwrap();
            bytes.truncate(bytes.len() - 4);
            let at = at % bytes.len();
            bytes[at] ^= flip;
            prop_assert!(Invite::open(&armour::write(&bytes), NOW_MS).is_err());
        }

        #[test]
        fn noise_never_panics(text in "\\PC{0,200}", bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Invite::open(&text, NOW_MS);
            let _ = Invite::open(&format!("kith-invite:{text}"), NOW_MS);
            prop_assert!(Invite::open(&armour::write(&bytes), NOW_MS).is_err());
        }
    }
}
