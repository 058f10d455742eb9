//! The network: the only crate that names libp2p.
//!
//! [`Overlay`] is the node's side (links to contacts under the key that they
//! know, links to relays under throw-away keys, circuits), [`Server`] the
//! relay's. Both move opaque frames over ordered, authenticated, encrypted
//! links; what the frames say is none of this crate's business. Port types:
//! `kith_wire::net`.
//!
//! Every queue is bounded: a link that is read too slowly is cut and says so,
//! a reader of events that is too slow slows the network down, nothing is
//! dropped in silence.

mod addr;
mod blobs;
mod call_back;
mod client;
mod contact;
mod dialing;
mod error;
mod facts;
mod ip_limit;
mod keys;
mod link;
mod logs;
mod outbox;
mod outside;
mod reach;
mod server;
mod streams;
mod swarm;
mod table;

pub use addr::check_address;
pub use blobs::{BlobError, BlobReader, BlobStream, BlobWriter};
pub use client::{CLIENT_LINKS_MAX, ClientConfig, Overlay, OverlayHandle};
pub use error::{OverlayError, SendError};
pub use keys::{peer_id_text, peer_key_from_text, public_key};
pub use outbox::{OUTBOX_BYTES_MAX, OUTBOX_FRAMES_MAX};
pub use server::{CircuitLimits, Server, ServerConfig, ServerEvent, ServerHandle};
