//! The store from outside: one contract that every backend keeps, and what
//! each part promises beyond it.

mod contract;
mod model;
mod sealed;
