//! Files as a person sees them: one, a list, how far it is, what they take.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
