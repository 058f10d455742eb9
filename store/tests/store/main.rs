//! The store from outside: one contract that every backend keeps, and what
//! each part promises beyond it.

mod blobs;
mod contract;
mod migrate;
mod model;
#[cfg(feature = "rocksdb")]
mod rocks;
mod sealed;
mod vault;
