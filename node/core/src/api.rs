//! What may be asked of a node and what it answers: the seam between the state
//! machine and everything around it (driver, web UI, CLI, simulator).

use kith_wire::blob::tree::Blob;
use kith_wire::call::{CallId, Reason};
use kith_wire::content::Look;
use kith_wire::ids::{AccountId, EventId, FileId, GroupId, InviteId, RelayId};
use kith_wire::net::{NetCommand, NetEvent};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::calls::machine::Ask;
use crate::files::port::{Do, Heard};
use crate::view;

/// Wall and monotonic time of one input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Unix time in milliseconds. May jump.
    pub wall_ms: u64,
    /// Monotonic milliseconds since some start. Never goes back.
    pub mono_ms: u64,
}

/// What comes in.
#[derive(Debug)]
pub enum Input {
    /// Something happened on the network.
    Net(NetEvent),
    /// A person or program asks for something; `id` returns in the reply.
    Command {
        /// Chosen by the caller.
        id: u64,
        /// What is asked.
        command: Command,
    },
    /// The part that moves and keeps the bytes of files has something to say.
    File(Heard),
    /// A deadline that `poll_timeout` named has come.
    Tick,
}

/// What goes out, always after the commit it rests on.
#[derive(Debug)]
pub enum Output {
    /// For the overlay.
    Net(NetCommand),
    /// For the part that moves and keeps the bytes of files.
    File(Do),
    /// The answer to a command.
    Reply {
        /// The command's id.
        id: u64,
        /// The result.
        result: Result<Reply, Refusal>,
    },
    /// For every open UI.
    Event(Event),
}

/// A request that changes something. Reads go through [`crate::view`] on a
/// snapshot instead.
#[derive(Debug, Clone)]
pub enum Command {
    /// Change own profile.
    SetProfile {
        /// Name shown to others.
        name: String,
        /// About text.
        about: String,
    },
    /// Change privacy and network settings.
    SetSettings(view::Settings),
    /// Use a relay.
    AddRelay {
        /// Its community link.
        link: String,
    },
    /// Stop using a relay.
    RemoveRelay {
        /// Which.
        relay: RelayId,
    },
    /// Make an invite.
    CreateInvite {
        /// The group it leads to; none = to become a contact.
        group: Option<GroupId>,
        /// How often it can be used.
        uses: u32,
        /// How long it holds, seconds.
        valid_s: u64,
    },
    /// Withdraw an invite.
    RevokeInvite {
        /// Which.
        invite: InviteId,
    },
    /// Answer an invite link: ask for contact or to join the group.
    UseInvite {
        /// The link.
        link: String,
        /// A few words with the request.
        greeting: String,
    },
    /// Say yes to a request.
    AcceptContact {
        /// Whose.
        account: AccountId,
    },
    /// Say no to a request. The other side is told.
    RefuseContact {
        /// Whose.
        account: AccountId,
    },
    /// Block or unblock. The other side is not told.
    BlockContact {
        /// Whom.
        account: AccountId,
        /// Block, else unblock.
        blocked: bool,
    },
    /// Set or clear the private nickname.
    SetNickname {
        /// Whose.
        account: AccountId,
        /// The nickname; none clears it.
        nickname: Option<String>,
    },
    /// Record that safety numbers were compared, or withdraw that.
    SetVerified {
        /// With whom.
        account: AccountId,
        /// Compared and the same.
        verified: bool,
    },
    /// Create a group with these contacts.
    CreateGroup {
        /// Its title.
        title: String,
        /// Who is to come in.
        members: Vec<AccountId>,
    },
    /// Rename a group.
    RenameGroup {
        /// The conversation.
        group: GroupId,
        /// Its new title.
        title: String,
    },
    /// Add contacts to a group.
    AddMembers {
        /// The conversation.
        group: GroupId,
        /// Who is to come in.
        members: Vec<AccountId>,
    },
    /// Remove an account from a group.
    RemoveMember {
        /// The conversation.
        group: GroupId,
        /// Who is to go.
        account: AccountId,
    },
    /// Give a member of a group a role, or take it away.
    SetRole {
        /// The conversation.
        group: GroupId,
        /// Whose.
        account: AccountId,
        /// The new role.
        role: view::Role,
    },
    /// Leave a group; its history stays readable here.
    LeaveGroup {
        /// The conversation.
        group: GroupId,
    },
    /// Delete a conversation here, history and all.
    DeleteConversation {
        /// The conversation.
        group: GroupId,
    },
    /// Send text.
    SendText {
        /// The conversation.
        group: GroupId,
        /// The text.
        text: String,
        /// The message it answers.
        reply_to: Option<EventId>,
        /// The client's idempotency key: the same key again answers as the
        /// first time.
        key: String,
    },
    /// Send a file that is here.
    SendFile {
        /// The conversation.
        group: GroupId,
        /// The file.
        file: FileId,
        /// Words beside it; may be empty.
        caption: String,
        /// The message it answers.
        reply_to: Option<EventId>,
        /// How it looks or sounds.
        look: Option<Look>,
        /// The client's idempotency key, as in `SendText`.
        key: String,
    },
    /// Something about a file.
    File(FileCommand),
    /// Something about calls.
    Call(CallCommand),
    /// Send a failed message again.
    Retry {
        /// The conversation.
        group: GroupId,
        /// The message.
        event: EventId,
    },
    /// Report a message to the group's admins.
    Report {
        /// The conversation.
        group: GroupId,
        /// The message.
        event: EventId,
        /// What there is to say to it; may be empty.
        reason: String,
    },
    /// Put a report of a member aside, on this device.
    SettleReport {
        /// The conversation.
        group: GroupId,
        /// The report's row.
        report: EventId,
    },
    /// The person has seen everything up to a place.
    MarkRead {
        /// The conversation.
        group: GroupId,
        /// The place in its timeline.
        position: u64,
    },
    /// Where a call may be relayed now: TURN servers of own relays, with
    /// credentials that hold.
    Turn,
    /// The person is typing.
    Typing {
        /// The conversation.
        group: GroupId,
    },
}

/// What is asked for about one file.
#[derive(Debug, Clone)]
pub enum FileCommand {
    /// A file was sealed here, all of it durable, and is to be sent.
    Add {
        /// What it takes to read it.
        blob: Blob,
        /// Its name.
        name: String,
        /// Its media type; empty = unknown.
        media_type: String,
    },
    /// Fetch it, or go on.
    Fetch {
        /// The file.
        file: FileId,
    },
    /// Somebody reads it: fetch it, unless the person paused it.
    Read {
        /// The file.
        file: FileId,
    },
    /// Stop fetching for now.
    Pause {
        /// The file.
        file: FileId,
    },
    /// Its bytes need not be here any more.
    Free {
        /// The file.
        file: FileId,
    },
    /// Whether it stays when room is made.
    Keep {
        /// The file.
        file: FileId,
        /// It stays.
        keep: bool,
    },
    /// How much may be fetched, kept and moved.
    Settings(view::FileSettings),
}

/// What is asked for about calls. Each page, or program, that carries media
/// names itself: its `tab`.
#[derive(Debug, Clone)]
pub enum CallCommand {
    /// Call the other person of a direct conversation.
    Dial {
        /// The conversation.
        conversation: GroupId,
        /// The offer.
        sdp: String,
        /// Begins with a picture.
        video: bool,
        /// Who carries the media.
        tab: String,
    },
    /// Take a call, or do something in it.
    Do {
        /// The call.
        call: CallId,
        /// Who carries the media.
        tab: String,
        /// What.
        ask: Ask,
    },
    /// Decline, give up, or hang up. Anybody here may.
    HangUp {
        /// The call.
        call: CallId,
        /// Why.
        reason: Reason,
    },
    /// All calls that are not over.
    List,
    /// One call, and what came in it.
    Get {
        /// The call.
        call: CallId,
        /// Number of the last signal that is known already; 0 = none.
        after: u32,
    },
    /// Servers that help media to find their way.
    Servers {
        /// With whom is talked; none: the own set-up is tested.
        account: Option<AccountId>,
    },
    /// Whether the own address is hidden from somebody in calls.
    SetHide {
        /// From whom.
        account: AccountId,
        /// Hidden.
        hide: bool,
    },
}

/// What a successful command answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Nothing to say.
    Done,
    /// The message was accepted and is durable here.
    Accepted {
        /// Its id.
        event: EventId,
        /// Its place in the timeline.
        position: u64,
    },
    /// The conversation that came of it.
    Conversation(GroupId),
    /// An invite.
    Invite(Box<view::Invite>),
    /// A relay.
    Relay(Box<view::Relay>),
    /// The contact that a request now waits for.
    Contact(AccountId),
    /// A file that can be sent.
    File(FileId),
    /// The call that was begun.
    Call(CallId),
    /// Calls.
    Calls(Vec<view::Call>),
    /// A call, and what came in it.
    CallNow(Box<view::CallNow>),
    /// Servers for media.
    CallServers(Box<view::CallServers>),
    /// TURN servers; none if no relay offers one.
    Turn(Vec<view::TurnServer>),
}

/// Why a command was not carried out. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Stable, for programs: `snake_case`.
    pub code: String,
    /// A sentence that says what to do.
    pub message: String,
}

impl Refusal {
    /// A refusal with its stable code and sentence.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

/// What the UI is told as it happens. Sent over the event stream as JSON with
/// a `type` field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// A message is new or changed.
    Message {
        /// Its conversation.
        conversation: String,
        /// The message as it is now.
        message: Box<view::Message>,
    },
    /// A message is gone from here.
    MessageRemoved {
        /// Its conversation.
        conversation: String,
        /// Where it stood.
        position: u64,
    },
    /// A conversation is new or changed.
    Conversation {
        /// As it is now.
        conversation: Box<view::Conversation>,
    },
    /// A conversation is gone.
    ConversationRemoved {
        /// Its id.
        id: String,
    },
    /// A contact is new or changed.
    Contact {
        /// As it is now.
        contact: Box<view::Contact>,
    },
    /// How far the fetching of a file is.
    FileProgress {
        /// As of now.
        progress: view::FileProgress,
    },
    /// Somebody types.
    Typing {
        /// Where.
        conversation: String,
        /// Who.
        account: String,
    },
    /// A call is new, stands differently, or is over.
    Call {
        /// As it is now.
        call: Box<view::Call>,
    },
    /// Something came for whoever carries the media of a call.
    CallSignal {
        /// The call.
        call: String,
        /// Who carries its media here, if anybody does by now.
        tab: Option<String>,
        /// What came.
        signal: view::CallSignal,
    },
    /// The network state changed.
    Network {
        /// As it is now.
        network: Box<view::Network>,
    },
    /// A change that the person asked for was not applied.
    Notice {
        /// Where, if anywhere.
        conversation: Option<String>,
        /// Stable code.
        code: String,
        /// A sentence.
        message: String,
    },
}
