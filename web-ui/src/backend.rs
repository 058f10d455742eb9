//! What the HTTP side asks of a node. The composition root implements it over
//! the driver; tests over a small node of their own.

use std::future::Future;
use std::pin::Pin;

use kith_core::api::{Command, Refusal, Reply};
use kith_core::view;
use kith_wire::crypto::Secret;
use kith_wire::ids::{AccountId, EventId, FileId, GroupId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

/// An answer that takes a while.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send + 'a>>;

/// Where the vault stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum VaultState {
    /// No account here yet.
    Fresh,
    /// An account is here; its keys are not in memory.
    Locked,
    /// The node is running.
    Unlocked,
}

/// What trying out a relay found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RelayTest {
    /// It answered and would serve us.
    pub ok: bool,
    /// Its name.
    pub name: String,
    /// How long it keeps messages, seconds.
    pub retention_s: Option<u64>,
    /// What is wrong, as a sentence.
    pub problem: Option<String>,
}

/// Takes in the bytes of a file that is being added. Dropped before its end,
/// nothing of it stays.
pub trait FileSink: Send {
    /// The next bytes.
    fn write(&mut self, bytes: Vec<u8>) -> Later<'_, ()>;
    /// All bytes were written: the file is durable, and can be sent.
    fn finish(self: Box<Self>) -> Later<'static, FileId>;
}

/// Gives the bytes of a file, as they arrive.
pub trait FileSource: Send {
    /// Some bytes from `offset` on; none at the end of the file. Waits for
    /// what is still to come.
    fn read(&mut self, offset: u64) -> Later<'_, Vec<u8>>;
}

/// A node as the HTTP side sees it. Refusals carry the stable codes of
/// docs/api.md; [`crate::problem::status`] gives each its HTTP status.
///
/// What opens the vault answers with the session key (derived from the vault's
/// master key), by which sessions in the file are told from forged ones.
pub trait Backend: Send + Sync + 'static {
    /// Where the vault stands. Must not wait.
    fn state(&self) -> VaultState;
    /// Own name, while unlocked.
    fn name(&self) -> Option<String>;

    /// Makes an account in memory and answers its 24 words.
    fn create(&self, name: String, passphrase: Zeroizing<String>) -> Later<'_, Vec<String>>;
    /// Which three words must be repeated (0-based).
    fn challenge(&self) -> Result<Vec<u32>, Refusal>;
    /// Repeats three words; writes the account and opens the vault.
    fn confirm(&self, answers: Vec<(u32, Zeroizing<String>)>) -> Later<'_, Secret>;
    /// Opens the vault.
    fn unlock(&self, passphrase: Zeroizing<String>) -> Later<'_, Secret>;
    /// Opens the vault by the recovery words and sets a new passphrase.
    fn recover(&self, words: Zeroizing<String>, passphrase: Zeroizing<String>) -> Later<'_, Secret>;
    /// Changes the passphrase.
    fn change_passphrase(&self, old: Zeroizing<String>, new: Zeroizing<String>) -> Later<'_, ()>;
    /// Forgets all keys and stops the node until the next unlock.
    fn lock(&self) -> Later<'_, ()>;

    /// Something that changes the node. Answered when it is durable.
    fn command(&self, command: Command) -> Later<'_, Reply>;
    /// Tries a relay without taking it into use.
    fn test_relay(&self, link: String) -> Later<'_, RelayTest>;
    /// Answers a page's description with an endpoint of this node that sends
    /// sound and picture back, for a test of the own set-up.
    fn call_test(&self, sdp: String) -> Later<'_, String>;
    /// Begins a file of exactly `size` bytes.
    fn add_file(&self, name: String, media_type: String, size: u64) -> Later<'_, Box<dyn FileSink>>;
    /// Opens a file that is here or on its way, or fetches it from now on.
    fn open_file(&self, file: FileId) -> Later<'_, Option<(view::File, Box<dyn FileSource>)>>;
    /// How far a file is that is being fetched. Must not wait.
    fn file_progress(&self, file: FileId) -> Option<view::FileProgress>;
    /// The network as of now. Must not wait.
    fn network(&self) -> Result<view::Network, Refusal>;

    // Reads of a snapshot. They may touch the disk, so they are called on a
    // thread that may block.

    /// Own account.
    fn me(&self) -> Result<view::Me, Refusal>;
    /// Settings.
    fn settings(&self) -> Result<view::Settings, Refusal>;
    /// All people.
    fn contacts(&self) -> Result<Vec<view::Contact>, Refusal>;
    /// Invites made here.
    fn invites(&self) -> Result<Vec<view::Invite>, Refusal>;
    /// The safety number with somebody.
    fn safety(&self, account: AccountId) -> Result<Option<view::Safety>, Refusal>;
    /// All conversations, newest activity first.
    fn conversations(&self) -> Result<Vec<view::Conversation>, Refusal>;
    /// One conversation in full.
    fn conversation(&self, group: GroupId) -> Result<Option<view::ConversationDetails>, Refusal>;
    /// A page of a timeline: before or after a position, else the newest.
    fn messages(
        &self,
        group: GroupId,
        before: Option<u64>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Option<view::MessagePage>, Refusal>;
    /// Files of a conversation before a position, newest first.
    fn files(
        &self,
        group: GroupId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Option<view::FilePage>, Refusal>;
    /// One file.
    fn file(&self, file: FileId) -> Result<Option<view::File>, Refusal>;
    /// What files take of the disk.
    fn storage(&self) -> Result<view::Storage, Refusal>;
    /// Where a message of one's own got to.
    fn delivery(&self, group: GroupId, event: EventId) -> Result<Option<view::Delivery>, Refusal>;
}
