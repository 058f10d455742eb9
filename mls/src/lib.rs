//! The group engine: MLS groups without a server that orders anything.
//!
//! Owns how a group's state follows from the commits, marks and orders that
//! are known: validity, the choice between concurrent commits, images of MLS
//! state per state id, events and their numbers, key packages, joining, sync.
//! Sans-IO: a store transaction, the time and bytes come in, objects and
//! outcomes go out. Must never read a clock, draw randomness, spawn, or keep
//! anything that the store does not hold.

mod api;
#[cfg(feature = "bench")]
pub mod bench;
mod crypto;
mod engine;
mod image;
pub mod inbox;
mod limits;
mod news;
mod ratchet_rows;
#[cfg(feature = "mutants")]
pub mod rogue;
mod rows;
mod runs;
mod sender_data;
#[cfg(feature = "test-trace")]
pub mod trace;
mod valid;
pub mod view;

pub use api::{
    Add, Bundle, Change, CommitFact, Committed, DeviceKeys, Duties, EngineError, ExtBytes, Facts, GroupView,
    Intent, Joined, Joiner, MemberView, Outcome, Readd, ReceivedEvent, Resealed, SentEvent, StateFact,
    TipChange, TopicSecret, Topics, WelcomeInfo,
};
pub use engine::{Engine, ORPHAN_BYTES_MAX, ORPHANS_MAX, PACKAGES_MAX, packages_left};
pub use kith_rule::mutant;
#[cfg(feature = "mutants")]
pub use limits::keep_images;
pub use view::{delivered, event_bytes};
