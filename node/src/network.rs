//! The overlay as the driver uses it: never waits, and what the overlay does
//! not take at once waits here, within bounds.

use std::collections::VecDeque;
use std::time::Duration;

use kith_overlay::{ClientConfig, Overlay, OverlayHandle, SendError};
use kith_wire::crypto::Secret;
use kith_wire::net::{NetCommand, NetEvent};
use tokio::sync::mpsc;

/// Commands that wait here for the overlay.
const WAITING_MAX: usize = 16_384;
/// Bytes of frames that wait here for the overlay.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// Events that the overlay may be ahead; each may be a frame of a megabyte.
const EVENTS_MAX: usize = 256;
/// Longest wait for links to close.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// How to reach the network.
#[derive(Debug, Clone)]
pub(crate) struct NetConfig {
    pub(crate) listen: Vec<String>,
    /// `--no-direct` was not given.
    pub(crate) direct: bool,
    /// Make the node known in the local network, and find contacts there.
    pub(crate) nearby: bool,
    /// Ask the router for a port.
    pub(crate) upnp: bool,
}

/// A running overlay.
pub(crate) struct Net {
    handle: Option<OverlayHandle>,
    events: mpsc::Receiver<NetEvent>,
    waiting: VecDeque<NetCommand>,
    bytes: usize,
    direct_allowed: bool,
}

fn frame_bytes(command: &NetCommand) -> usize {
    if let NetCommand::Send { frame, .. } = command { frame.len() } else { 0 }
}

impl Net {
    /// Starts the overlay under a node's keys. Needs a runtime around it.
    pub(crate) fn start(
        config: &NetConfig,
        direct: bool,
        transport_key: Secret,
        relay_keys_seed: &Secret,
    ) -> Result<Self, String> {
        let client = ClientConfig {
            transport_key,
            relay_keys_seed: *relay_keys_seed.expose(),
            listen: config.listen.clone(),
            direct: config.direct && direct,
            circuits: true,
            nearby: config.nearby,
            upnp: config.upnp,
            events: EVENTS_MAX,
        };
        let (handle, events) = Overlay::spawn(client).map_err(|e| e.to_string())?;
        Ok(Self {
            handle: Some(handle),
            events,
            waiting: VecDeque::new(),
            bytes: 0,
            direct_allowed: config.direct,
        })
    }

    /// The next event; `None` when the overlay has ended.
    pub(crate) async fn next(&mut self) -> Option<NetEvent> {
        self.events.recv().await
    }
    pub(crate) fn try_next(&mut self) -> Option<NetEvent> {
        self.events.try_recv().ok()
    }
    /// The overlay itself, for streams that carry files.
    pub(crate) fn overlay(&self) -> Option<&OverlayHandle> {
        self.handle.as_ref()
    }
    /// Whether commands wait here.
    pub(crate) fn waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Queues a command. A link whose frames no longer fit is closed instead:
    /// the state machine hears of it and sends again on the next one.
    pub(crate) fn push(&mut self, command: NetCommand) {
        let full = self.waiting.len() >= WAITING_MAX || self.bytes >= WAITING_BYTES_MAX;
        if full && let NetCommand::Send { link, .. } = command {
            let bytes = &mut self.bytes;
            self.waiting.retain(|waiting| {
                let same = matches!(waiting, NetCommand::Send { link: l, .. } | NetCommand::Close { link: l } if *l == link);
                if same {
                    *bytes -= frame_bytes(waiting);
                }
                !same
            });
            self.waiting.push_back(NetCommand::Close { link });
            return;
        }
        self.bytes += frame_bytes(&command);
        self.waiting.push_back(command);
    }

    /// Hands over what the overlay takes now.
    pub(crate) fn flush(&mut self) {
        let Some(handle) = &self.handle else { return };
        while let Some(command) = self.waiting.pop_front() {
            let size = frame_bytes(&command);
            match handle.try_send(command) {
                Err(SendError::Busy(command)) => {
                    self.waiting.push_front(*command);
                    return;
                }
                // Closed: its event channel ends too, and the driver sees that.
                Ok(()) | Err(SendError::Closed | SendError::TooLarge(_)) => self.bytes -= size,
            }
        }
    }

    /// The person's own wish about direct links.
    pub(crate) fn set_direct(&self, direct: bool) {
        if let Some(handle) = &self.handle {
            handle.set_direct(direct && self.direct_allowed);
        }
    }

    /// Closes all links.
    pub(crate) async fn shutdown(&mut self) {
        self.flush();
        if let Some(handle) = self.handle.take()
            && tokio::time::timeout(CLOSE_WITHIN, handle.shutdown()).await.is_err()
        {
            tracing::warn!("links to others did not close in time");
        }
    }
}
