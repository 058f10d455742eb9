//! What a person sees, as data: the shapes of the HTTP API. Ids are
//! lower-case hex (64 characters), except account ids: `kith1…`. Times are
//! Unix milliseconds.

mod calls;
mod files;
mod network;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use calls::*;
pub use files::*;
pub use network::*;

/// Own account and device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Me {
    /// `kith1…`
    pub account: String,
    /// Device id.
    pub device: String,
    /// Name shown to others.
    pub name: String,
    /// About text.
    pub about: String,
    /// When the account was made here.
    pub since: u64,
}

/// Privacy and network settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Settings {
    /// Tell others what was read.
    pub read_receipts: bool,
    /// Tell others that one is typing.
    pub typing: bool,
    /// Dial and accept direct connections. Off: relays only.
    pub direct: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { read_receipts: true, typing: true, direct: true }
    }
}

/// How far a person has come as a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContactState {
    /// We asked; no answer yet.
    Requested,
    /// They asked; we have not answered.
    Incoming,
    /// Both agreed.
    Accepted,
    /// They said no.
    Refused,
    /// Known from a group only.
    Known,
    /// Blocked here.
    Blocked,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Contact {
    /// `kith1…`
    pub account: String,
    /// Their own name.
    pub name: String,
    /// Their about text.
    pub about: String,
    /// Our private name for them.
    pub nickname: Option<String>,
    /// Where we stand.
    pub state: ContactState,
    /// Greeting of an incoming or own request.
    pub greeting: String,
    /// Safety number compared.
    pub verified: bool,
    /// The direct conversation, once there is one.
    pub conversation: Option<String>,
    /// Request problems, as a sentence, if any.
    pub problem: Option<String>,
    /// When this state began.
    pub since: u64,
    /// Our address is hidden from them in calls: media go through relays only.
    pub hide_address: bool,
}

/// A safety number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Safety {
    /// 12 groups of 5 digits.
    pub digits: Vec<String>,
    /// What the QR code holds.
    pub qr_text: String,
    /// Compared and confirmed here.
    pub verified: bool,
}

/// An invite made here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Invite {
    /// Invite id.
    pub id: String,
    /// The link to pass on.
    pub link: String,
    /// The group it leads to; none for contacts.
    pub conversation: Option<String>,
    /// Uses left.
    pub uses_left: u32,
    /// Uses at first.
    pub uses: u32,
    /// End of validity.
    pub expires_at: u64,
}

/// Kind of conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConversationKind {
    /// Two accounts.
    Direct,
    /// A group.
    Group,
}

/// Whether one can write here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// A member.
    Active,
    /// Asked to join by an invite; the members have not added us yet.
    Joining,
    /// Left by own choice.
    Left,
    /// Removed by others.
    Removed,
}

/// A conversation as the list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Conversation {
    /// Group id.
    pub id: String,
    /// Direct or group.
    pub kind: ConversationKind,
    /// Group title, or the other person's name as shown here.
    pub title: String,
    /// The other account of a direct conversation.
    pub peer: Option<String>,
    /// May we write.
    pub standing: Standing,
    /// Messages behind the read mark.
    pub unread: u64,
    /// The newest message.
    pub last: Option<Preview>,
    /// Sorts the list: time of the last thing that happened.
    pub active_at: u64,
    /// Position up to which the person has read.
    pub read_position: u64,
    /// Accounts in it.
    pub member_count: u32,
    /// The others have gone on without this device, and it looks for its way back.
    pub catching_up: Option<CatchingUp>,
}

/// How a device that has fallen behind comes back into its group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CatchingUp {
    /// Members that were asked to let this device in again. 0: it still looks
    /// for the way by itself.
    pub asked: u32,
    /// When further ones are asked.
    pub next_at: Option<u64>,
}

/// The newest message of a conversation in one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Preview {
    /// Author's name as shown here; none for own messages.
    pub author: Option<String>,
    /// At most 200 characters.
    pub text: String,
    /// When.
    pub at: u64,
    /// State of an own message.
    pub state: Option<DeliveryState>,
}

/// Role in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Made the group, or was given it.
    Owner,
    /// May add, remove, rename.
    Admin,
    /// May write.
    Member,
}

/// A member of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Member {
    /// `kith1…`
    pub account: String,
    /// Name as shown here.
    pub name: String,
    /// Role.
    pub role: Role,
    /// Devices in the group.
    pub devices: u32,
    /// A mark of theirs on this chain is held: they really are here.
    pub seen: bool,
    /// It is us.
    pub me: bool,
    /// Safety number compared.
    pub verified: bool,
    /// We may make them an owner.
    pub may_make_owner: bool,
    /// We may make them an admin.
    pub may_make_admin: bool,
    /// We may take their role away; of ourselves: lay our own down.
    pub may_make_member: bool,
    /// We may remove them.
    pub may_remove: bool,
}

/// A conversation's details.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConversationDetails {
    /// As in the list.
    pub conversation: Conversation,
    /// Members, oneself first, then by role and name.
    pub members: Vec<Member>,
    /// Own role.
    pub role: Role,
    /// We may add people and make invites that lead here.
    pub may_add: bool,
    /// We may rename it.
    pub may_rename: bool,
    /// Names of the relays that the group uses.
    pub relays: Vec<String>,
    /// MLS epoch, for the curious.
    pub epoch: u64,
    /// Tip state id, for the curious.
    pub state: String,
}

/// What became of an own message, over all recipients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Waits here for a path.
    Queued,
    /// Kept at one or more relays.
    Stored,
    /// On at least one device of every other account... of theirs.
    Delivered,
    /// On all their devices.
    DeliveredAll,
    /// Read by every other account that sends read receipts, at least one.
    Read,
    /// Failed; the reason is in the details.
    Failed,
}

/// Delivery of one own message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    /// The summary.
    pub state: DeliveryState,
    /// Relays that were asked to keep it, and what each of them said.
    pub relays: Vec<RelayCopy>,
    /// Every recipient device.
    pub devices: Vec<DeviceDelivery>,
    /// The reason when it failed, as a sentence.
    pub problem: Option<String>,
}

/// What a relay said when it was asked to keep a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RelayCopy {
    /// The relay's name.
    pub relay: String,
    /// Kept until, Unix ms; 0 if it refused.
    pub until: u64,
    /// What that is worth now.
    pub state: RelayCopyState,
    /// Why it refused, as a sentence.
    pub problem: Option<String>,
}

/// What a relay's copy of a message is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RelayCopyState {
    /// It keeps one.
    Stored,
    /// It keeps one, and does not answer: another relay was asked as well.
    Silent,
    /// It signed for one and does not have it.
    Lost,
    /// It refused to keep one.
    Refused,
}

/// Delivery to one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeviceDelivery {
    /// Account.
    pub account: String,
    /// Name as shown here.
    pub name: String,
    /// Device id.
    pub device: String,
    /// `queued`, `stored`, `delivered`, `read` or `failed`.
    pub state: DeliveryState,
    /// When the device acknowledged or read it, if it did.
    pub at: Option<u64>,
}

/// What a timeline row is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Content {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// A file.
    File {
        /// The file, with what its sender says of it.
        file: Box<File>,
        /// Words beside it; may be empty.
        caption: String,
    },
    /// Something that happened to the conversation.
    Notice {
        /// Stable code: `created`, `added`, `removed`, `left`, `renamed`, `joined`, `role`, `heir`, `back`,
        /// `withdrawn_added`, `withdrawn_removed`, `withdrawn_role`, `named`, `again`, `not_applied`,
        /// `reported`, `device_changed`.
        code: String,
        /// Names and titles to fill in, in the order of the catalogue's sentence. An empty name: it is not
        /// known here who did it. Roles as `owner`, `admin`, `member`.
        args: Vec<String>,
    },
    /// A member reported a message to us, an admin. Author of the row: the member.
    Report {
        /// The message's event id.
        event: String,
        /// Its author's account.
        author: String,
        /// Its author's name as shown here.
        author_name: String,
        /// What it says, at most 1 KiB.
        quote: String,
        /// The message is here, so that the quote is its own words; else they are the reporter's.
        held: bool,
        /// What the member said to it; may be empty.
        reason: String,
        /// Nobody has put it aside on this device.
        open: bool,
        /// We may remove the message's author from the group.
        may_remove: bool,
    },
    /// A call.
    Call {
        /// Its id.
        call: String,
        /// We called.
        outgoing: bool,
        /// It began with a picture.
        video: bool,
        /// What became of it.
        outcome: CallOutcome,
        /// Why it ended.
        reason: CallReason,
        /// How long it was talked.
        talked_ms: u64,
    },
    /// An event type that this version does not know.
    Newer,
}

/// One row of a timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Message {
    /// Event id (for notices: of the row).
    pub id: String,
    /// Place in the timeline, ascending, never reused.
    pub position: u64,
    /// Author's account.
    pub author: String,
    /// Author's name as shown here.
    pub author_name: String,
    /// Written by this account.
    pub mine: bool,
    /// When it was written, by the author's clock (bounded).
    pub at: u64,
    /// What it is.
    pub content: Content,
    /// The message it answers.
    pub reply_to: Option<Quote>,
    /// For own messages.
    pub delivery: Option<DeliveryState>,
    /// End of storage at relays while `stored`.
    pub stored_until: Option<u64>,
    /// Relays that hold it while `stored`.
    pub stored_at: u32,
    /// We may report it: somebody is admin who neither wrote it nor is us.
    pub may_report: bool,
}

/// A quoted message in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Quote {
    /// Event id.
    pub id: String,
    /// Author's name as shown here.
    pub author_name: String,
    /// At most 200 characters.
    pub text: String,
}

/// A page of a timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MessagePage {
    /// Ascending by position.
    pub messages: Vec<Message>,
    /// Older rows exist before the first.
    pub more_before: bool,
    /// Newer rows exist behind the last.
    pub more_after: bool,
}
