//! Who is who: credentials, account statements, device cards, safety numbers.
//!
//! Owns every object that ties keys to an account. All of them can be checked
//! from the account id alone, offline and in any order; none of them carries
//! a secret except a card's delivery token, which is for the eyes of the
//! group or contact that the card is given to.

mod card;
mod credential;
mod safety;
mod statements;

pub(crate) use card::check_addrs;
pub use card::{DeviceCard, Inbox, RelayHint};
#[cfg(test)]
pub(crate) use credential::tests::sample;
pub use credential::{Credential, Rotation, Verified};
pub use safety::{SafetyNumber, safety_number};
pub use statements::{Device, Profile, RevokeByAccount, RevokeByRecovery, Rotate};

/// Kind numbers of signed objects about identity and people (docs/protocol.md).
pub mod kinds {
    /// [`super::Rotate`].
    pub const ROTATE: u16 = 32;
    /// [`super::Device`].
    pub const DEVICE: u16 = 33;
    /// [`super::RevokeByAccount`].
    pub const REVOKE_BY_ACCOUNT: u16 = 34;
    /// [`super::RevokeByRecovery`].
    pub const REVOKE_BY_RECOVERY: u16 = 35;
    /// [`super::Profile`].
    pub const PROFILE: u16 = 36;
    /// [`super::DeviceCard`].
    pub const DEVICE_CARD: u16 = 37;
    /// The contact object ContactRequest.
    pub const CONTACT_REQUEST: u16 = 38;
    /// The contact object ContactAnswer.
    pub const CONTACT_ANSWER: u16 = 39;
    /// The contact object ContactUpdate.
    pub const CONTACT_UPDATE: u16 = 40;
    /// The link object Invite.
    pub const INVITE: u16 = 41;
}
