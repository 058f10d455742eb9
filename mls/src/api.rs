//! What the engine is asked and what it answers, as data.

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;
use kith_store::StoreError;
use kith_wire::cbor::WireError;
use kith_wire::crypto::Secret;
use kith_wire::group::{BundleRef, ConversationKind, GroupExt, OrderKind, Role, Target};
use kith_wire::identity::RelayHint;
use kith_wire::ids::{AccountId, CommitId, DeviceId, EventId, GroupId, OrderId, StateId, TopicId};
use minicbor::{Decode, Encode};

/// The keys of this device.
#[derive(Clone)]
pub struct DeviceKeys {
    /// Ed25519: MLS leaf key; signs events, marks, orders.
    pub signing: SigningKey,
    /// X25519: opens what is sealed to this device's inbox.
    pub box_secret: x25519_dalek::StaticSecret,
    /// The credential's bytes, as in every leaf of this device.
    pub credential: Vec<u8>,
    /// The account that the credential proves.
    pub account: AccountId,
}

impl DeviceKeys {
    /// The device id.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        DeviceId(self.signing.verifying_key().to_bytes())
    }
}

impl core::fmt::Debug for DeviceKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "DeviceKeys({:?})", self.device())
    }
}

/// Why the engine did not do what it was asked. After `Store` and `Broken` the
/// transaction must be dropped; the others have changed nothing either.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The environment: retry later.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No such group here.
    #[error("this conversation is not known here")]
    UnknownGroup,
    /// No such event here.
    #[error("this message is not known here any more")]
    UnknownEvent,
    /// This device is not in the group (any more).
    #[error("this device is not a member of the conversation: ask a member to add it again")]
    NotMember,
    /// The input is malformed.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The change may not be made, or not by this account.
    #[error("{0}")]
    Refused(&'static str),
    /// A key package cannot be used.
    #[error("the other device's key package cannot be used: {0}. Ask it for a fresh one")]
    Package(&'static str),
    /// The Welcome cannot be used.
    #[error("the invitation to the conversation cannot be used: {0}. Ask the sender to add you again")]
    Welcome(&'static str),
    /// This store may be an older copy of one that has spoken already.
    #[error(
        "this device has not compared notes with the conversation's other members yet: that happens by itself as soon as one of them, or a relay, is reached. Try again then"
    )]
    NotHeard,
    /// The tip still holds somebody who is to go.
    #[error("somebody is being removed from the conversation: it goes on as soon as that is done")]
    Tainted,
    /// Stored state contradicts itself, or OpenMLS failed on our own input.
    #[error("the conversation's stored state is damaged: {0}. Restore the data folder from a copy")]
    Broken(String),
}

/// An account or device that is to be added.
#[derive(Debug, Clone)]
pub struct Add {
    /// MLS KeyPackage.
    pub package: Vec<u8>,
    /// The device's inbox, where the Welcome goes.
    pub inbox: TopicId,
}

/// A change to a group, made by one commit.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Devices to add.
    pub adds: Vec<Add>,
    /// Accounts to remove, with all their devices.
    pub remove_accounts: Vec<AccountId>,
    /// Single devices to remove.
    pub remove_devices: Vec<DeviceId>,
    /// New settings; `None` keeps them.
    pub ext: Option<GroupExt>,
    /// Begin a new topic though nobody is removed.
    pub rotate: bool,
    /// Device cards (signed) that joiners are given.
    pub cards: Vec<Vec<u8>>,
    /// Devices that asked to be let in again.
    pub readds: Vec<Readd>,
}

/// A device that asked to be let in again; see [`Outcome::Readd`].
#[derive(Debug, Clone)]
pub struct Readd {
    /// Its request with the key package, as it came.
    pub request: Vec<u8>,
    /// The device's inbox, where the Welcome goes.
    pub inbox: TopicId,
}

/// What a commit wanted to do: told to its author when it loses.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Intent {
    /// Accounts or further devices added.
    #[n(0)]
    pub added: Vec<(AccountId, DeviceId)>,
    /// Devices removed.
    #[n(1)]
    pub removed: Vec<(AccountId, DeviceId)>,
    /// Settings before, if they changed.
    #[n(2)]
    pub ext_before: Option<ExtBytes>,
    /// Settings wanted, if they changed.
    #[n(3)]
    pub ext_after: Option<ExtBytes>,
    /// Removals and demotions that it lifted: known when it was decided.
    #[n(4)]
    pub lifted: Vec<OrderId>,
}

/// Encoded settings.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct ExtBytes(#[cbor(n(0), with = "minicbor::bytes")] pub Vec<u8>);

/// An own commit, merged and stored, ready to be published.
#[derive(Debug, Clone)]
pub struct Committed {
    /// Its id.
    pub commit: CommitId,
    /// State that it leaves: publish on that state's topic.
    pub parent: StateId,
    /// State that it leads to: the tip now.
    pub state: StateId,
    /// Envelope to publish on `parent_topic`.
    pub envelope: Vec<u8>,
    /// State that names the topic of the parent.
    pub parent_topic: StateId,
    /// A new topic begins; the envelope also goes to the inboxes of the other
    /// accounts' devices.
    pub rotated: bool,
    /// Orders made for it, to publish before it on the parent's topic.
    pub orders: Vec<Vec<u8>>,
    /// Own marks to publish with it: first those for the parent's topic, last
    /// the one of the new state, which goes to the new topic.
    pub marks: Vec<Vec<u8>>,
    /// Devices that need a Welcome once the commit has settled.
    pub joiners: Vec<Joiner>,
    /// The join bundle that all joiners share; empty without joiners.
    pub bundle: Vec<u8>,
    /// The change itself.
    pub intent: Intent,
    /// Accounts that it let go by their own order.
    pub left: Vec<AccountId>,
    /// What else it led to, for instance if a concurrent commit wins against it.
    pub outcomes: Vec<Outcome>,
}

/// What a Welcome for one device is made of. Durable form: its encoding.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Joiner {
    /// The device.
    #[n(0)]
    pub device: DeviceId,
    /// Its account.
    #[n(1)]
    pub account: AccountId,
    /// Its X25519 key.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub box_key: [u8; 32],
    /// Its inbox.
    #[n(3)]
    pub inbox: TopicId,
    /// Group.
    #[n(4)]
    pub gid: GroupId,
    /// State joined.
    #[n(5)]
    pub state: StateId,
    /// The commit that adds.
    #[n(6)]
    pub commit: CommitId,
    /// MLS Welcome, cut to this device.
    #[cbor(n(7), with = "minicbor::bytes")]
    pub welcome: Vec<u8>,
    /// Topic secret of the joined state.
    #[n(8)]
    pub topic: Secret,
    /// The group's relays.
    #[n(9)]
    pub relays: Vec<RelayHint>,
}

/// Where a Welcome's bundle is; see [`crate::Engine::welcome`].
pub type Bundle = BundleRef;

/// A group was joined.
#[derive(Debug, Clone)]
pub struct Joined {
    /// The group.
    pub gid: GroupId,
    /// What it is for.
    pub kind: ConversationKind,
    /// State joined.
    pub state: StateId,
    /// Account and device that sent the Welcome.
    pub inviter: (AccountId, DeviceId),
    /// Accounts in it, without the own one.
    pub accounts: Vec<AccountId>,
    /// Settings.
    pub ext: GroupExt,
    /// Device cards from the bundle (signed, not verified here).
    pub cards: Vec<Vec<u8>>,
    /// Own first mark, to publish on the topic.
    pub mark: Vec<u8>,
    /// What came out of objects that had waited, marks of the bundle included.
    pub outcomes: Vec<Outcome>,
    /// It replaced an earlier join of the same group.
    pub replaced: bool,
    /// This device was in already, had fallen behind, and is back.
    pub healed: bool,
    /// Another copy of this device's store has spoken in the group: see
    /// `engine/put_back.rs`.
    pub put_back: bool,
}

/// Who sent a Welcome, before anything is staged.
#[derive(Debug, Clone)]
pub struct WelcomeInfo {
    /// The group.
    pub gid: GroupId,
    /// State that it leads into.
    pub state: StateId,
    /// The inviting account.
    pub inviter: AccountId,
    /// Its device.
    pub inviter_device: DeviceId,
    /// Recipient inbox named inside.
    pub inbox: TopicId,
    /// Where the bundle is.
    pub bundle: BundleRef,
    /// The group's relays.
    pub relays: Vec<RelayHint>,
}

/// An own event, encrypted and stored.
#[derive(Debug, Clone)]
pub struct SentEvent {
    /// Its id.
    pub id: EventId,
    /// Its number.
    pub seq: u64,
    /// Its hybrid clock.
    pub hlc: u64,
    /// Envelope for topic and streams.
    pub envelope: Vec<u8>,
    /// State that it was written in.
    pub at: StateId,
    /// Own mark that must go out before it, if one was due.
    pub mark: Option<Vec<u8>>,
    /// Which key the ciphertext used.
    #[cfg(feature = "test-trace")]
    pub trace: crate::trace::Trace,
}

/// How an own event can be sent again.
#[derive(Debug, Clone)]
pub enum Resealed {
    /// Everybody at the tip was in its audience: a new envelope under the tip.
    Envelope(Box<SentEvent>),
    /// Some at the tip may not see it: serve [`crate::event_bytes`] to these
    /// devices by stream or inbox only.
    Only(Vec<DeviceId>),
}

/// What one ingested object led to.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// An event to show.
    Event(ReceivedEvent),
    /// The group moved to another state.
    Tip(TipChange),
    /// An own commit lost against a concurrent one: "not applied".
    OwnCommitLost {
        /// Which.
        commit: CommitId,
        /// What it wanted.
        intent: Intent,
    },
    /// Own events of a branch that lost, in order: reseal each.
    Resend(Vec<EventId>),
    /// A device has all own events up to here.
    Acked {
        /// The device.
        device: DeviceId,
        /// Highest own event number without a gap.
        up_to_seq: u64,
    },
    /// A member's device was heard for the first time.
    Seen {
        /// Account.
        account: AccountId,
        /// Device.
        device: DeviceId,
    },
    /// Something is to be done in the group: see [`crate::view::duties`].
    Duties,
    /// A device asks to be let in again, or in as a new one of its account.
    Readd {
        /// Its account.
        account: AccountId,
        /// The device.
        device: DeviceId,
        /// The request, for [`Change::readds`].
        request: Vec<u8>,
    },
    /// An order is known now.
    Order {
        /// Its id.
        id: OrderId,
        /// What it asks.
        kind: OrderKind,
        /// Who.
        issuer: AccountId,
        /// The account meant.
        target: AccountId,
    },
    /// Kept until what it depends on comes.
    Buffered,
    /// Nothing new.
    Known,
    /// Its state is unknown: sync the commits.
    NeedCommits,
    /// Its state's keys are gone or were never here: its author sends it again.
    Unreadable,
    /// Two different objects under one number: proof against the device.
    Equivocation {
        /// The device.
        device: DeviceId,
        /// The number.
        number: u64,
    },
    /// Not valid; dropped.
    Rejected(&'static str),
}

/// An event that was accepted.
#[derive(Debug, Clone)]
pub struct ReceivedEvent {
    /// Its id.
    pub id: EventId,
    /// Author's device.
    pub device: DeviceId,
    /// Author.
    pub account: AccountId,
    /// Its number.
    pub seq: u64,
    /// Hybrid clock to order by; already corrected if the author's was far
    /// ahead.
    pub hlc: u64,
    /// The author's clock, at most ten minutes ahead of ours.
    pub wall_ms: u64,
    /// The author's clock was more than ten minutes ahead.
    pub ahead: bool,
    /// Type of the content.
    pub event_type: u16,
    /// Content.
    pub content: Vec<u8>,
    /// State that it was written in.
    pub at: StateId,
    /// What its author had from others, changes.
    pub deps: BTreeMap<DeviceId, u64>,
}

/// A move from one state to another.
#[derive(Debug, Clone)]
pub struct TipChange {
    /// Before.
    pub old: StateId,
    /// After.
    pub new: StateId,
    /// Epoch after.
    pub epoch: u64,
    /// Accounts that came.
    pub added: Vec<AccountId>,
    /// Accounts that went.
    pub removed: Vec<AccountId>,
    /// Devices that came, of old and new accounts.
    pub added_devices: Vec<(AccountId, DeviceId)>,
    /// Devices that went.
    pub removed_devices: Vec<(AccountId, DeviceId)>,
    /// Settings changed: the new ones.
    pub ext: Option<GroupExt>,
    /// This device is out.
    pub me_removed: bool,
    /// Author of the last commit on the way.
    pub by: AccountId,
    /// Those removed left by their own order.
    pub left: Vec<AccountId>,
    /// The topic changed.
    pub rotated: bool,
    /// States were given up for this: a concurrent commit won.
    pub switched: bool,
}

/// What a device should do in a group, beside what its person asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Duties {
    /// The tip leaves orders open: no event can be sent on it.
    pub tainted: bool,
    /// A commit of this device carries some of them out: any change does, an
    /// empty one too.
    pub enact: bool,
    /// The accounts and devices that are to go.
    pub targets: Vec<Target>,
    /// The others stand in a state that this device cannot enter: it should
    /// ask to be let in again.
    pub behind: bool,
    /// Unix ms at which this device's keys should be refreshed by a commit.
    pub update_at: u64,
}

/// A group as it is at its tip.
#[derive(Debug, Clone)]
pub struct GroupView {
    /// What it is for.
    pub kind: ConversationKind,
    /// Tip.
    pub tip: StateId,
    /// Epoch of the tip.
    pub epoch: u64,
    /// Settings.
    pub ext: GroupExt,
    /// Members by leaf.
    pub members: Vec<MemberView>,
    /// This device is a member.
    pub me_in: bool,
    /// This device has fallen behind and has to be let in again.
    pub behind: bool,
    /// Own role.
    pub role: Role,
}

/// One device in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberView {
    /// Account.
    pub account: AccountId,
    /// Device.
    pub device: DeviceId,
    /// Leaf index.
    pub leaf: u32,
    /// Role of the account.
    pub role: Role,
    /// X25519 key.
    pub box_key: [u8; 32],
    /// A mark of the device is held: it really is here.
    pub seen: bool,
}

/// A topic's secret, and the state at which the topic began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSecret {
    /// Names the topic locally.
    pub state: StateId,
    /// Secret S of relay.md.
    pub secret: Secret,
}

/// Topics of a group.
#[derive(Debug, Clone)]
pub struct Topics {
    /// Where events, marks and orders go, and commits that leave the tip.
    pub current: Option<TopicSecret>,
    /// Further topics to watch: those of states in the secret window.
    pub watched: Vec<TopicSecret>,
    /// Older ones, to poll hourly.
    pub old: Vec<TopicSecret>,
}

/// All that this device has stored of a group and that bears on the choice
/// between branches, from its anchor on: for whoever wants to judge anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Group.
    pub gid: GroupId,
    /// Where the known history begins.
    pub anchor: StateId,
    /// Where this device stands.
    pub tip: StateId,
    /// Where it should stand, if it cannot enter that state.
    pub goal: Option<StateId>,
    /// Until then it may keep its tip for a new order, Unix ms.
    pub hold_until: u64,
    /// The fork rule decides; else the history is one line.
    pub contested: bool,
    /// States, the anchor among them.
    pub states: Vec<StateFact>,
    /// Commits between these states.
    pub commits: Vec<CommitFact>,
    /// Marks as they were signed; the own ones too.
    pub marks: Vec<Vec<u8>>,
    /// Orders as they were signed.
    pub orders: Vec<Vec<u8>>,
    /// Second objects under one number: the proof of it.
    pub rivals: Vec<Vec<u8>>,
    /// For devices that signed two objects under one number: that number.
    pub mutes: BTreeMap<DeviceId, u64>,
}

/// A known state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateFact {
    /// Its id.
    pub id: StateId,
    /// Its epoch.
    pub epoch: u64,
    /// Settings.
    pub ext: GroupExt,
    /// Leaf, device and account of each member.
    pub members: Vec<(u32, DeviceId, AccountId)>,
}

/// A known valid commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitFact {
    /// Its id.
    pub id: CommitId,
    /// State that it leaves.
    pub parent: StateId,
    /// State that it leads to.
    pub child: StateId,
    /// Author.
    pub account: AccountId,
    /// The author's device.
    pub device: DeviceId,
    /// Orders that it carries.
    pub orders: Vec<OrderId>,
}
