//! What own relays give for calls: servers that carry media when no direct
//! path is found, and that tell a browser its address.

use super::Relays;
use crate::view::CallServer;

impl Relays {
    /// Servers of own relays for a page, at most two.
    pub(crate) fn call_servers(&self, _now_ms: u64) -> Vec<CallServer> {
        Vec::new()
    }

    /// Whether some own relay carries media.
    pub(crate) fn has_call_relay(&self) -> bool {
        !self.call_servers(0).is_empty()
    }
}
