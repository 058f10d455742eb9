//! What every handler of one input works with, and what it asks to be done.

use kith_mls::Engine;
use kith_store::Tx;
use kith_wire::ids::{AccountId, DeviceId, GroupId};
use rand_chacha::ChaCha20Rng;

use crate::api::Now;
use crate::identity::Identity;

/// One input's transaction and tools. Dropping it without `tx.finish()` undoes
/// every write of the input.
pub(crate) struct Ctx<'a> {
    /// Reads and writes.
    pub tx: Tx<'a>,
    /// Time of the input.
    pub now: Now,
    /// Seeded randomness.
    pub rng: &'a mut ChaCha20Rng,
    /// Own keys.
    pub me: &'a Identity,
    /// The group engine.
    pub engine: &'a mut Engine,
    /// What should follow, in order.
    pub out: &'a mut Vec<Effect>,
}

/// What a handler asks of the rest of the core. Carried out within the same
/// transaction.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Bring a signed object to a device's inbox, sealed to it.
    SendInbox {
        /// Its account.
        to: AccountId,
        /// The device.
        device: DeviceId,
        /// The signed object.
        object: Vec<u8>,
    },
    /// Start the direct conversation with an account.
    CreateDirect {
        /// The account.
        account: AccountId,
        /// A key package of its device.
        key_package: Vec<u8>,
    },
    /// Add a device to a group.
    AddToGroup {
        /// The group.
        group: GroupId,
        /// The account.
        account: AccountId,
        /// A key package of its device.
        key_package: Vec<u8>,
    },
    /// Show that we asked to join a group.
    Joining {
        /// The group.
        group: GroupId,
        /// Its title as the invite gave it.
        title: String,
    },
    /// A contact changed.
    Changed(AccountId),
    /// Something the person should read.
    Notice {
        /// Where, if anywhere.
        conversation: Option<GroupId>,
        /// Stable code.
        code: &'static str,
        /// A sentence.
        message: String,
    },
}
