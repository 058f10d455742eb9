//! The oracle alone.
