//! The HTTP side of a node: REST, one WebSocket event stream, and the embedded
//! web app, on a loopback address.
//!
//! Owns sessions, the checks at the door (Host, Origin, rate limits, sizes),
//! the shapes of bodies, and the OpenAPI document. Must never know how a node
//! works: it asks a [`Backend`], which the composition root provides.

pub mod app;
pub mod assets;
pub mod backend;
mod door;
pub mod events;
mod extract;
mod limits;
mod media;
pub mod problem;
mod qr;
mod routes;
pub mod server;
pub mod sessions;
mod strip;
mod ws;

pub use app::App;
pub use backend::{Backend, FileSink, FileSource, RelayTest, VaultState};
pub use events::EventHub;
pub use problem::Problem;
pub use routes::openapi;
pub use server::Server;
pub use sessions::Sessions;
