//! Calls as a person and a page see them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
