//! Many nodes and relays in one process, in virtual time: the same state
//! machines as in the product, with a network that a seed decides.
//!
//! Owns the virtual clock and the schedule of what is under way. Must never
//! look into a node: it is driven through its inputs and outputs, and judged
//! by what a person would see.

mod relay;
mod world;

pub use world::{Faults, NodeIndex, RelayIndex, World};
