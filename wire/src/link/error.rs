//! What may be wrong with a pasted text, one sentence each.

use crate::cbor::WireError;

/// Why a text is not a usable invite. Each is a sentence for the person who
/// pasted or scanned it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Something else altogether.
    #[error("this is not an invite: an invite starts with \"kith-invite:\"")]
    NotAnInvite,
    /// A relay's community link.
    #[error("this is the link of a relay, not an invite: add it in the settings under relays")]
    CommunityLink,
    /// A link for adding a device.
    #[error(
        "this link adds a device to an account, it is not an invite: use it under devices, and only if it is yours"
    )]
    DeviceLink,
    /// An account id.
    #[error("this is an account id, not an invite: ask the person for an invite link")]
    AccountId,
    /// A safety number.
    #[error("this is a safety number, not an invite: open the person's page to compare it")]
    SafetyNumber,
    /// Ends before its end.
    #[error("the invite is cut short: copy the whole link, or scan the QR code again")]
    Cut,
    /// The checksum does not fit.
    #[error("the invite is mistyped or damaged: copy the link again, or scan the QR code")]
    Mistyped,
    /// Too much text.
    #[error("this text is too long for an invite: paste the link alone")]
    TooLong,
    /// The shape is of a later version.
    #[error("this invite was made by a newer Kith: update Kith here, then use it again")]
    Newer,
    /// The signature is wrong, or a field is.
    #[error("this invite is not genuine ({0}): ask the person for a new one")]
    Forged(WireError),
    /// Its time is over.
    #[error("this invite has expired: ask the person for a new one")]
    Expired,
}

impl LinkError {
    /// Stable code for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAnInvite => "not_an_invite",
            Self::CommunityLink => "community_link",
            Self::DeviceLink => "device_link",
            Self::AccountId => "account_id",
            Self::SafetyNumber => "safety_number",
            Self::Cut => "invite_cut",
            Self::Mistyped => "invite_mistyped",
            Self::TooLong => "invite_too_long",
            Self::Newer => "invite_newer",
            Self::Forged(_) => "invite_forged",
            Self::Expired => "invite_expired",
        }
    }
}
