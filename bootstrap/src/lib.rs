//! The relay's service: a blind log as a state machine.
//!
//! Owns topics, entries, inboxes, key packages and chunk records, and who may
//! do what with them. Frames and time come in, frames go out after what they
//! say is durable. Must never know what an entry means, nor read a clock,
//! touch a socket or draw randomness of its own; it links no MLS code. [`turn`]
//! is the state machine of the TURN server beside it.

mod limits;
mod rate;
mod rows;
mod service;
pub mod turn;

pub use limits::Limits;
pub use service::{ChunkStore, Known, MemoryChunks, Now, OpenError, Output, Service, Setup, TurnSetup};
