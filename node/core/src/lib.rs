//! One participant as a state machine: no async, no sockets, no clock, no
//! randomness of its own. Time, bytes and a seed come in as arguments; what
//! should happen in the world comes out as [`api::Output`]s after the writes
//! that they rest on are durable.
//!
//! [`node::Node`] takes inputs and gives outputs; [`read`] answers what a
//! person sees, on any thread, from stored rows alone.

pub mod api;
pub mod calls;
mod changes;
mod commands;
mod ctx;
mod delivery;
mod doctor;
mod duty;
mod early;
pub mod files;
mod groups;
mod heard;
pub mod identity;
mod inbox;
mod invites;
mod lacking;
mod links;
mod live;
mod membership;
mod network;
pub mod node;
mod outbox;
mod people;
pub mod read;
mod relays;
mod report;
mod rights;
#[cfg(feature = "mutants")]
mod rogue;
mod rows;
mod saying;
pub mod text;
mod timeline;
pub mod view;
mod welcomes;

pub use node::{Config, Node, OpenError};

pub use heard::is_holding;
