//! The fork rule: which branch of a group's history everybody stands on, and
//! which removals and demotions hold there.
//!
//! A group has no ordering server, so commits may fork. What a device knows is
//! a set of facts that only grows: states, valid commits, marks and orders.
//! [`decide`] is a pure function of that set. It never reads clocks, keys, or
//! the order of arrival, so devices that know the same facts give the same
//! answer. It never verifies signatures and never judges whether a commit is
//! valid on its parent: whoever fills a [`History`] has done both.
//!
//! Words, as everywhere in Kith: a *state* is what an MLS epoch of one branch
//! leads to; a *mark* is a device's signed word on the state that it stands in
//! and on what it has from others, and is its vote; an *order* is a signed
//! removal, demotion, leave or lifting. Marks and orders of one device share
//! one numbered chain.

mod decide;
mod facts;
pub mod mutant;
mod orders;
mod tree;
mod votes;

pub use decide::{Decision, Fork, Kid, Step, decide, open_at};
pub use facts::{Commit, History, Leaf, Mark, Order, Rights, State};
pub use orders::{Cut, Void};

/// Electorate: above this many accounts only moderators and higher vote.
pub const ELECTORATE_MAX: usize = 64;
/// Commits kept of one device on one parent, unless others have marked them.
pub const SIBLINGS_PER_DEVICE_MAX: usize = 4;
/// Commits kept on one parent, unless others have marked them.
pub const SIBLINGS_MAX: usize = 64;
/// Commits that the anchor trails the tip by.
pub const ANCHOR_DISTANCE: usize = 1_024;
