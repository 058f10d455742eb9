//! What a person sees, as data: the shapes of the HTTP API. Ids are
//! lower-case hex (64 characters), except account ids: `kith1…`. Times are
//! Unix milliseconds.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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

/// State of a relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Relay {
    /// Relay id.
    pub id: String,
    /// Name from its statement or link.
    pub name: String,
    /// Connected.
    pub up: bool,
    /// Why not, as a sentence.
    pub problem: Option<String>,
    /// How long it keeps messages, seconds.
    pub retention_s: Option<u64>,
    /// The community link.
    pub link: String,
    /// `direct_quic` or `direct_tcp`, while connected.
    pub path: Option<String>,
    /// Since when it is connected, Unix ms.
    pub since: Option<u64>,
    /// The last round trip, ms.
    pub rtt_ms: Option<u32>,
    /// How it stands, as the doctor says it.
    pub sentence: String,
    /// What would help.
    pub advice: Option<String>,
}

/// A TURN server and the right to use it, as a browser's `RTCIceServer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TurnServer {
    /// Name of the relay that runs it.
    pub relay: String,
    /// `stun:…` and `turn:…`.
    pub urls: Vec<String>,
    /// User name.
    pub username: String,
    /// Password.
    pub credential: String,
    /// How long new allocations are granted, seconds from now.
    pub valid_s: u64,
}

/// A live link to another person's device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeerLink {
    /// Account, once proven.
    pub account: Option<String>,
    /// Name as shown here.
    pub name: String,
    /// `direct_quic`, `direct_tcp` or `circuit`.
    pub path: String,
    /// `lan`, `direct_quic`, `direct_tcp`, `punched` or `relayed`.
    pub label: String,
    /// Name of the relay in between.
    pub relay: Option<String>,
    /// Since when, Unix ms.
    pub since: u64,
    /// The last round trip, ms.
    pub rtt_ms: Option<u32>,
    /// What the path is and why it is not better, as the doctor says it.
    pub sentence: String,
    /// What would help.
    pub advice: Option<String>,
}

/// A person none of whose devices is linked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Away {
    /// Account.
    pub account: String,
    /// Name as shown here.
    pub name: String,
    /// Where messages are kept meanwhile, and why there is no link.
    pub sentence: String,
    /// What would help.
    pub advice: Option<String>,
}

/// A finding of the doctor about this node itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// What is.
    pub sentence: String,
    /// What would help.
    pub advice: Option<String>,
}

/// The network in one view.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Network {
    /// Relays in use.
    pub relays: Vec<Relay>,
    /// Live links to people.
    pub peers: Vec<PeerLink>,
    /// Own addresses in use.
    pub addrs: Vec<String>,
    /// Objects waiting here for a path.
    pub waiting: u32,
    /// People that are not connected, at most [`AWAY_LIST_MAX`].
    pub away: Vec<Away>,
    /// What the doctor has to say about this node.
    pub findings: Vec<Finding>,
}

/// People that the network view lists as away.
pub const AWAY_LIST_MAX: usize = 100;

/// Files that the storage view lists for one conversation.
pub const STORED_LIST_MAX: usize = 100;

/// Whether a file's bytes are here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileState {
    /// Not fetched; it can be.
    #[default]
    Offered,
    /// Being fetched, or waiting for somebody who has it.
    Fetching,
    /// Fetched in part, and held.
    Paused,
    /// All of it is here.
    Here,
    /// It was here and made room; it can be fetched again.
    Gone,
}

/// What relays hold of an own file, for people who were away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum KeptAtRelays {
    /// Nothing yet; it is being put there, if anybody needs it.
    Waiting,
    /// All of it.
    Until {
        /// Kept until then.
        until: u64,
    },
    /// No relay takes a file of this size: it arrives while both are online.
    TooLarge,
    /// Held back by the person: relays get no more of it.
    Paused,
}

/// A file. Name, type and looks are words of its sender, made fit to show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct File {
    /// Its id on this node, 64 hex digits.
    pub id: String,
    /// Its name: no path, safe to save under.
    pub name: String,
    /// Media type, like `image/jpeg`; empty = unknown.
    pub media_type: String,
    /// Bytes.
    pub size: u64,
    /// Whether its bytes are here.
    pub state: FileState,
    /// It was added here.
    pub own: bool,
    /// It stays when room is made.
    pub keep: bool,
    /// Why it is not being fetched, as a sentence.
    pub problem: Option<String>,
    /// Own files that somebody has still to get.
    pub at_relays: Option<KeptAtRelays>,
    /// Pixels; 0 = unknown.
    pub width: u32,
    /// Pixels; 0 = unknown.
    pub height: u32,
    /// Length of a film or recording; 0 = unknown.
    pub duration_ms: u64,
    /// A small picture as a `data:` URL.
    pub preview: Option<String>,
    /// Loudness over time of a voice message, 0 to 255.
    pub waveform: Vec<u8>,
    /// It was recorded as a voice message.
    pub voice: bool,
}

/// A file where somebody shared it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SharedFile {
    /// The message that brought it.
    pub message: String,
    /// The message's place in the conversation.
    pub position: u64,
    /// Its author, as this person calls them.
    pub author_name: String,
    /// When it was sent, Unix ms.
    pub at: u64,
    /// The file.
    pub file: File,
}

/// A page of a conversation's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FilePage {
    /// Newest first.
    pub files: Vec<SharedFile>,
    /// Older ones exist behind the last.
    pub more: bool,
}

/// How far the fetching of a file is, or, where it is all here, how far it is
/// on its way to relays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileProgress {
    /// The file.
    pub id: String,
    /// Bytes of it that are here, verified; or at the relay.
    pub have: u64,
    /// Bytes of it.
    pub size: u64,
    /// Bytes per second over the last seconds.
    pub rate: u64,
    /// Devices and relays that it comes from; 0 = nobody who has it can be reached.
    pub sources: u32,
}

/// How much may be fetched, kept and moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSettings {
    /// Bytes of fetched files that are kept; what was not looked at for longest goes first.
    pub cache_bytes: u64,
    /// Files up to this size are fetched without being asked for.
    pub auto_bytes: u64,
    /// Bytes per second to others; 0 = no limit.
    pub up_bytes_per_s: u64,
    /// Bytes per second from others; 0 = no limit.
    pub down_bytes_per_s: u64,
}

impl Default for FileSettings {
    fn default() -> Self {
        Self { cache_bytes: 8_000_000_000, auto_bytes: 16_000_000, up_bytes_per_s: 0, down_bytes_per_s: 0 }
    }
}

/// What files take of the disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Storage {
    /// The bounds.
    pub settings: FileSettings,
    /// Bytes of fetched files that may make room.
    pub cached_bytes: u64,
    /// Bytes that the disk has left.
    pub free_bytes: u64,
    /// Per conversation, most first.
    pub conversations: Vec<StoredFiles>,
}

/// Files of one conversation that are here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoredFiles {
    /// The conversation; empty = files in no message.
    pub conversation: String,
    /// Its title.
    pub title: String,
    /// How many.
    pub files: u64,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Bytes of those that were sent from here.
    pub own_bytes: u64,
    /// Bytes of fetched ones that stay.
    pub kept_bytes: u64,
    /// The largest, at most 100.
    pub list: Vec<File>,
}

/// Where a call stands here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallPhase {
    /// We call; nothing rings yet.
    Calling,
    /// It rings at the other side.
    Ringing,
    /// It rings here.
    Incoming,
    /// Answered here; the caller has not taken it yet.
    Answering,
    /// Being talked in.
    Active,
    /// Another device of ours has to do with it.
    Elsewhere,
    /// Over.
    Over,
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallOutcome {
    /// They talked.
    Answered,
    /// Nobody answered in time.
    Unanswered,
    /// Declined.
    Declined,
    /// The other side was in another call.
    Busy,
    /// Whoever called gave up.
    Cancelled,
    /// It was answered, and came to nothing.
    Failed,
    /// Both called at once; the other call stands.
    GaveWay,
}

/// Why a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallReason {
    /// Somebody hung up.
    HungUp,
    /// Somebody declined.
    Declined,
    /// In another call.
    Busy,
    /// The path broke, time ran out, or a page went away.
    Lost,
    /// The key in use was not the one that was agreed.
    WrongKey,
    /// The other one may not call any more.
    Removed,
}

/// What somebody sends in a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CallMedia {
    /// The microphone is on.
    pub microphone: bool,
    /// A camera or screen is shown.
    pub video: bool,
    /// What is shown is a screen.
    pub screen: bool,
}

/// A call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Call {
    /// Its id, 32 hex digits.
    pub id: String,
    /// The conversation.
    pub conversation: String,
    /// With whom.
    pub peer: String,
    /// Their name as shown here.
    pub name: String,
    /// We call.
    pub outgoing: bool,
    /// It began with a picture.
    pub video: bool,
    /// Where it stands.
    pub phase: CallPhase,
    /// Who carries its media here.
    pub tab: Option<String>,
    /// It is to be answered by that page without asking: both called at once.
    pub auto: bool,
    /// When it began.
    pub begun_at: u64,
    /// How long it has been, or was, talked.
    pub active_ms: Option<u64>,
    /// Our address is hidden: media go through relays only.
    pub hide_address: bool,
    /// What the other side sends.
    pub their: CallMedia,
    /// What became of it, once it is over.
    pub outcome: Option<CallOutcome>,
    /// Why, once it is over.
    pub reason: Option<CallReason>,
}

/// What a signal of the other side is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallSignalKind {
    /// A description to answer.
    Offer,
    /// The answer to ours.
    Answer,
    /// Further addresses.
    Candidates,
    /// They ask for a new offer.
    Restart,
}

/// Something of the other side for whoever carries the media.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CallSignal {
    /// Counts what came in the call, from 1.
    pub number: u32,
    /// Number of an offer, for its answer.
    pub seq: u32,
    /// What it is.
    pub kind: CallSignalKind,
    /// The session description.
    pub sdp: Option<String>,
    /// The one key that media may be sealed with, as SHA-256 in hex with
    /// colons: whatever else is met on the way is an attacker.
    pub fingerprint: Option<String>,
    /// Candidate lines.
    pub candidates: Vec<String>,
}

/// A call, and what came in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CallNow {
    /// The call.
    pub call: Call,
    /// What came, in order.
    pub signals: Vec<CallSignal>,
}

/// A server that helps media to find their way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CallServer {
    /// `stun:` and `turn:` addresses.
    pub urls: Vec<String>,
    /// For TURN.
    pub username: Option<String>,
    /// For TURN.
    pub credential: Option<String>,
}

/// What a page needs to find a path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CallServers {
    /// Servers of the own relays.
    pub servers: Vec<CallServer>,
    /// Only addresses of relays may be used.
    pub hide_address: bool,
}
