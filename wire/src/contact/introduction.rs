//! How a device introduces itself: credential, profile, card and token, each
//! with its own proof.

use minicbor::{Decode, Encode};

use crate::cbor::{self, WireError};
use crate::identity::{Credential, DeviceCard, Profile, Verified};
use crate::limits;
use crate::signed::Raw;

/// No credential, profile, card or token inside is longer, in bytes.
const PART_BYTES_MAX: usize = 32 << 10;

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
        cbor::encode(self)
    }
    /// Parses an introduction that stands alone; not verified yet.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > limits::EVENT_BODY_BYTES_MAX {
            return Err(WireError::TooLarge("the introduction"));
        }
        let it: Self = cbor::decode(bytes, &[0, 1, 2, 3])?;
        it.check()?;
        Ok(it)
    }
    pub(super) fn check(&self) -> Result<(), WireError> {
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
fn read_profile(who: &Verified, bytes: &[u8]) -> Result<Profile, WireError> {
    let profile: Profile = who.read_by_account(&Raw::from_bytes(bytes)?)?;
    if profile.account != who.account || profile.generation != who.generation {
        return Err(WireError::Invalid("the profile is of another account"));
    }
    Ok(profile)
}

/// Reads a signed card of the device that a credential proves.
fn read_card(who: &Verified, bytes: &[u8]) -> Result<DeviceCard, WireError> {
    let card: DeviceCard = who.read_by_device(&Raw::from_bytes(bytes)?)?;
    if card.account != who.account || card.device != who.device {
        return Err(WireError::Invalid("the card is of another device"));
    }
    Ok(card)
}
