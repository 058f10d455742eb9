//! Fuzz targets as plain functions: bytes in, a panic for whatever must not
//! happen. `cargo fuzz` feeds them new bytes; `replay` feeds them the corpus.
#![forbid(unsafe_code)]

mod device;
mod ingest;
mod operations;
pub mod seeds;
mod wire;

pub use ingest::ingest;
pub use operations::operations;
pub use wire::wire;

/// A target: takes bytes, panics if something is wrong.
pub type Target = fn(&[u8]);

/// All targets by the name of their corpus folder.
pub const TARGETS: [(&str, Target); 3] = [("wire", wire), ("ingest", ingest), ("operations", operations)];
