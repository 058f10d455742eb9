//! What all handlers share.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use crate::assets::Assets;
use crate::backend::Backend;
use crate::events::EventHub;
use crate::limits::{STREAMS_MAX, UnlockDoor};
use crate::sessions::Sessions;

/// The HTTP side of one node.
pub struct App {
    backend: Arc<dyn Backend>,
    sessions: Arc<Sessions>,
    events: Arc<EventHub>,
    assets: Box<dyn Assets>,
    /// The one `Host` that is answered.
    host: String,
    pub(crate) unlock_door: UnlockDoor,
    pub(crate) streams: Arc<Semaphore>,
    stop: watch::Sender<bool>,
}

impl App {
    /// Puts the parts together; `host` is the address as browsers write it,
    /// like `127.0.0.1:4000`.
    #[must_use]
    pub fn new(
        backend: Arc<dyn Backend>,
        sessions: Arc<Sessions>,
        events: Arc<EventHub>,
        assets: Box<dyn Assets>,
        host: String,
    ) -> Self {
        Self {
            backend,
            sessions,
            events,
            assets,
            host,
            unlock_door: UnlockDoor::default(),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            stop: watch::Sender::new(false),
        }
    }
    pub(crate) fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.sessions
    }
    pub(crate) fn events(&self) -> &EventHub {
        &self.events
    }
    pub(crate) fn assets(&self) -> &dyn Assets {
        &*self.assets
    }
    pub(crate) fn host(&self) -> &str {
        &self.host
    }
    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.host)
    }
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }
    /// Ends all streams, so that the server can end.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }
    /// The URL of a sign-in link.
    #[must_use]
    pub fn link_url(&self, token: &str) -> String {
        format!("{}/link/{token}", self.origin())
    }
}
