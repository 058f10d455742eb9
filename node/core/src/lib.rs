//! One participant as a state machine: no async, no sockets, no clock, no
//! randomness of its own. Time, bytes and a seed come in as arguments; what
//! should happen in the world comes out as [`Output`]s after the writes that
//! they rest on are durable.

pub mod api;
pub mod view;
