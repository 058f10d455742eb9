//! The HTTP side as a whole, over real sockets.

mod bodies;
mod common;
mod document;
mod door;
mod stream;
