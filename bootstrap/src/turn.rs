//! STUN and TURN (RFC 8489, RFC 8656) as a state machine: media of calls is
//! relayed for whoever shows credentials that this relay, or one with the same
//! secret, has minted.
//!
//! Bytes and time come in, [`Output`]s go out; sockets are the caller's
//! business, behind [`Relays`]. Nothing is relayed to addresses that only
//! networks of their own use ([`guard`]), nothing beyond budgets, and every
//! map has a bound and counts what it sheds.

mod allocation;
pub mod credentials;
mod guard;
mod machine;
mod stun;

#[cfg(test)]
mod tests;

pub use guard::{Guard, is_local};
pub use machine::{Client, Counters, Machine, Output, RelayId, Relays, Rules};
pub use stun::{FRAME_BYTES_MAX, NoFrame, frame_len};
