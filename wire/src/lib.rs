//! The wire: every byte that Kith stores or sends gets its shape here.
//!
//! Owns ids, the CBOR codec with its one canonical form, signed objects and
//! their labels, key derivations, topics and their seal, the relay protocol,
//! the peer protocol, links, and the types of the network port. Must never
//! read a clock, draw randomness, or do I/O: those are arguments.

pub mod blob;
pub mod bulk;
pub mod call;
pub mod cbor;
pub mod contact;
pub mod content;
pub mod crypto;
pub mod group;
pub mod identity;
pub mod ids;
pub mod labels;
pub mod limits;
pub mod link;
pub mod net;
pub mod object;
pub mod peer;
pub mod relay;
pub mod signed;
pub mod topic;
