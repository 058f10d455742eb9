//! What can go wrong, in sentences.

use std::io::ErrorKind;

use kith_wire::net::NetCommand;

/// The overlay could not start.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// The seed is not usable as an Ed25519 key.
    #[error("the transport key of this data folder is damaged; restore it from a backup")]
    Key,
    /// An address in the configuration is not a multiaddr.
    #[error(
        "“{0}” is not an address to listen on; write for example /ip4/0.0.0.0/udp/4001/quic-v1 or /ip4/0.0.0.0/tcp/4001"
    )]
    Address(String),
    /// Somebody else listens there.
    #[error("the port of {0} is in use; stop the other program or choose another port")]
    PortInUse(String),
    /// The address could not be listened on.
    #[error("cannot listen on {addr}: {why}")]
    Listen {
        /// The address.
        addr: String,
        /// The system's words.
        why: String,
    },
    /// A transport could not be set up.
    #[error("the network could not be set up: {0}")]
    Setup(String),
    /// Called outside a tokio runtime.
    #[error("the network needs a running tokio runtime")]
    NoRuntime,
}

impl OverlayError {
    /// Why `addr` could not be listened on.
    pub(crate) fn listen(addr: String, error: &std::io::Error) -> Self {
        let why = match error.kind() {
            ErrorKind::AddrInUse => return Self::PortInUse(addr),
            ErrorKind::AddrNotAvailable => "this machine does not have that address".into(),
            ErrorKind::PermissionDenied => {
                "the system does not allow it; ports below 1024 need extra rights".into()
            }
            _ => error.to_string(),
        };
        Self::Listen { addr, why }
    }
}

/// A command was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The queue of commands is full; the command comes back.
    #[error("the network is busy; try again in a moment")]
    Busy(Box<NetCommand>),
    /// The overlay has been shut down.
    #[error("the network is switched off")]
    Closed,
    /// The frame is larger than `limits::FRAME_BYTES_MAX`. The link stands.
    #[error("a frame of {0} bytes is too large to send")]
    TooLarge(usize),
}
