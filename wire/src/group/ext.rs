//! The group context extension 0xFF20: what the members have agreed on.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use crate::cbor::{self, WireError};
use crate::identity::RelayHint;
use crate::ids::AccountId;
use crate::limits;

/// Extension type in the MLS group context.
pub const EXTENSION_TYPE: u16 = 0xFF20;

const FIELDS: &[u64] = &[0, 1, 2, 3, 4, 5];

/// What a group is for. Never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum ConversationKind {
    /// Two accounts.
    #[n(1)]
    Direct,
    /// A group.
    #[n(2)]
    Group,
    /// Reserved.
    #[n(3)]
    Channel,
    /// An account's own devices; never shown.
    #[n(4)]
    Own,
}

/// How large the group means to become; selects local trade-offs only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum SizeClass {
    /// Up to 64 devices.
    #[n(0)]
    Small,
    /// Up to 1,000 devices.
    #[n(1)]
    Large,
}

/// Standing of an account, ascending. Accounts without an entry are members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Role {
    /// May write.
    #[n(0)]
    Member,
    /// May do what the policy gives moderators.
    #[n(1)]
    Moderator,
    /// May do what the policy gives admins.
    #[n(2)]
    Admin,
    /// Made the group, or was given it.
    #[n(3)]
    Owner,
}

/// A role and the epoch of the commit that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct RoleEntry {
    /// The role.
    #[n(0)]
    pub role: Role,
    /// Epoch that the giving commit led to; 0 = at creation.
    #[n(1)]
    pub epoch: u64,
}

/// Title, and the lowest role that may do a thing.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Policy {
    /// Title, at most 128 bytes; empty for direct groups.
    #[n(1)]
    pub title: String,
    /// May add accounts.
    #[n(2)]
    pub add: Role,
    /// May change title and relays.
    #[n(3)]
    pub change: Role,
    /// May remove accounts that stand below.
    #[n(4)]
    pub remove: Role,
}

/// The extension's content.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct GroupExt {
    /// What the group is for.
    #[n(0)]
    pub kind: ConversationKind,
    /// Selects fork rule, validity rules and constants. Only grows.
    #[n(1)]
    pub rules: u16,
    /// Size that the group means to have.
    #[n(2)]
    pub size: SizeClass,
    /// Accounts above `member`.
    #[n(3)]
    pub roles: BTreeMap<AccountId, RoleEntry>,
    /// Title and rights.
    #[n(4)]
    pub policy: Policy,
    /// Relays, at most 5.
    #[n(5)]
    pub relays: Vec<RelayHint>,
}

impl GroupExt {
    /// The rules that this version writes, and the highest it follows.
    pub const RULES: u16 = 1;

    /// A group with its creator as owner.
    #[must_use]
    pub fn group(creator: AccountId, title: &str, relays: Vec<RelayHint>) -> Self {
        let owner = RoleEntry { role: Role::Owner, epoch: 0 };
        Self {
            kind: ConversationKind::Group,
            rules: Self::RULES,
            size: SizeClass::Small,
            roles: BTreeMap::from([(creator, owner)]),
            policy: Policy {
                title: title.into(),
                add: Role::Admin,
                change: Role::Admin,
                remove: Role::Admin,
            },
            relays,
        }
    }
    /// A direct group: both accounts stand alike and may change its relays.
    #[must_use]
    pub fn direct(relays: Vec<RelayHint>) -> Self {
        Self {
            kind: ConversationKind::Direct,
            rules: Self::RULES,
            size: SizeClass::Small,
            roles: BTreeMap::new(),
            policy: Policy {
                title: String::new(),
                add: Role::Member,
                change: Role::Member,
                remove: Role::Owner,
            },
            relays,
        }
    }
    /// An account's own devices.
    #[must_use]
    pub fn own(relays: Vec<RelayHint>) -> Self {
        Self { kind: ConversationKind::Own, ..Self::direct(relays) }
    }
    /// Bytes for the group context.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }
    /// Parses and checks bounds.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > limits::GROUP_EXT_BYTES_MAX {
            return Err(WireError::TooLarge("the group's settings"));
        }
        let ext: Self = cbor::decode(bytes, FIELDS)?;
        ext.check()?;
        Ok(ext)
    }
    /// Bounds that the types do not express.
    pub fn check(&self) -> Result<(), WireError> {
        if self.rules == 0 {
            return Err(WireError::Invalid("a group's rules number starts at 1"));
        }
        if self.kind == ConversationKind::Channel {
            return Err(WireError::Invalid("channels need a newer Kith"));
        }
        if self.policy.title.len() > limits::NAME_BYTES_MAX {
            return Err(WireError::TooLarge("the group's title"));
        }
        if self.relays.len() > limits::GROUP_RELAYS_MAX {
            return Err(WireError::TooLarge("the group's list of relays"));
        }
        if self.roles.len() > limits::DEVICES_PER_GROUP_MAX {
            return Err(WireError::TooLarge("the group's list of roles"));
        }
        self.relays.iter().try_for_each(RelayHint::check)
    }
}
