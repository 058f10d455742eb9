//! Many nodes and relays in one process, in virtual time: the same state
//! machines as in the product, with a network that a seed decides.
//!
//! Owns the virtual clock, the schedule of what is under way, the faults, and
//! the runs that a seed decides ([`run`]). Must never look into a node: it is
//! driven through its inputs and outputs, and judged by what a person would
//! see and by what lies in its store.

mod people;
mod puppet;
mod relay;
pub mod run;
mod world;

pub use kith_mls::mutant::{self, Mutant};
pub use relay::Mood;
pub use world::{Faults, NodeIndex, RelayIndex, World};
