//! The node's side: one handle for commands, one channel of events, behind
//! them the contact swarm and one swarm per relay.

use std::sync::{Arc, Mutex, PoisonError};

use kith_wire::crypto::Secret;
use kith_wire::ids::PeerKey;
use kith_wire::limits::FRAME_BYTES_MAX;
use kith_wire::net::{LinkId, LinkKind, NetCommand, NetEvent};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::blobs::{self, BlobError, BlobStream};
use crate::contact::{self, Command, Contact};
use crate::error::{OverlayError, SendError};
use crate::keys;
use crate::link::{self, Shared, WeakShared};
use crate::logs;
use crate::table::{Links, Meta, SILENT};

/// Commands that may wait; more are refused or waited for.
const COMMANDS_WAITING_MAX: usize = 256;
/// Links of a node, to contacts and relays.
pub const CLIENT_LINKS_MAX: usize = 1024;
/// MiB of large frames that may be coming in at once.
const LARGE_MIB: usize = 32;

/// How a node's overlay is set up.
#[derive(Clone)]
pub struct ClientConfig {
    /// Seed of the key that contacts know.
    pub transport_key: Secret,
    /// From this the throw-away keys towards relays are derived.
    pub relay_keys_seed: [u8; 32],
    /// Multiaddrs to listen on for contacts, with port 0 for any free one.
    pub listen: Vec<String>,
    /// Whether contacts may be connected to straight. If not the node neither
    /// listens nor dials nor punches: contacts reach it through circuits only,
    /// and see no address of it.
    pub direct: bool,
    /// Whether circuits through relays may be used.
    pub circuits: bool,
    /// Whether the node makes its transport key known in the local network
    /// (mDNS) and looks for contacts there. Everybody in that network sees it.
    pub nearby: bool,
    /// Whether the router is asked for a port (UPnP).
    pub upnp: bool,
    /// Events (and so frames of up to `limits::FRAME_BYTES_MAX`) that may wait
    /// for their reader. When that many do nothing more is read from the
    /// network.
    pub events: usize,
}

impl std::fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientConfig").field("direct", &self.direct).finish_non_exhaustive()
    }
}

impl ClientConfig {
    /// Everything on, any free port on all IPv4 interfaces.
    #[must_use]
    pub fn new(transport_key: Secret, relay_keys_seed: [u8; 32]) -> Self {
        Self {
            transport_key,
            relay_keys_seed,
            listen: vec!["/ip4/0.0.0.0/udp/0/quic-v1".into(), "/ip4/0.0.0.0/tcp/0".into()],
            direct: true,
            circuits: true,
            nearby: false,
            upnp: false,
            events: 256,
        }
    }
}

/// How a node words its events.
pub(crate) struct Report;

impl link::Report for Report {
    type Event = NetEvent;

    fn up(meta: &Meta) -> NetEvent {
        NetEvent::Up { link: meta.id, kind: meta.kind, peer: meta.peer, local: meta.local, path: meta.path }
    }
    fn frame(link: LinkId, frame: Vec<u8>) -> NetEvent {
        NetEvent::Frame { link, frame }
    }
    fn down(link: LinkId, reason: String) -> NetEvent {
        NetEvent::Down { link, reason }
    }
}

/// The node's overlay.
pub struct Overlay;

impl Overlay {
    /// Starts it, inside a tokio runtime. Listening has begun on return; the
    /// addresses follow as [`NetEvent::Addresses`]. The events end when the
    /// overlay has ended.
    pub fn spawn(config: ClientConfig) -> Result<(OverlayHandle, mpsc::Receiver<NetEvent>), OverlayError> {
        let runtime = Handle::try_current().map_err(|_| OverlayError::NoRuntime)?;
        let keypair = keys::keypair(&config.transport_key)?;
        let key = keys::public(&keypair).ok_or(OverlayError::Key)?;
        let mut listen = Vec::new();
        for text in config.listen {
            listen.push(text.parse().map_err(|_| OverlayError::Address(text))?);
        }
        let seed = getrandom::u64().map_err(|e| OverlayError::Setup(e.to_string()))?;
        let (events, events_rx) = mpsc::channel(config.events.max(1));
        let (commands, commands_rx) = mpsc::channel(COMMANDS_WAITING_MAX);
        let (direct, direct_rx) = watch::channel(config.direct);
        let (shared, notes) = Shared::<Report>::new(Links::new(CLIENT_LINKS_MAX), events, LARGE_MIB);
        let (blobs, blobs_rx) = mpsc::channel(blobs::INCOMING_MAX);
        let stop = CancellationToken::new();
        let contact = Contact::new(
            contact::Config {
                keypair,
                key,
                listen,
                circuits: config.circuits,
                nearby: config.nearby,
                upnp: config.upnp,
            },
            config.direct,
            shared.clone(),
            blobs,
            seed,
        )?;
        let handle = shared.downgrade();
        shared.tasks.spawn(contact.run(commands_rx, notes, direct_rx, stop.clone()));
        let relay_seed = Secret::new(config.relay_keys_seed);
        let inner = Inner {
            key,
            relay_seed,
            commands,
            direct,
            shared: handle,
            stop,
            runtime,
            blobs: Mutex::new(Some(blobs_rx)),
        };
        Ok((OverlayHandle(Arc::new(inner)), events_rx))
    }
}

struct Inner {
    key: PeerKey,
    relay_seed: Secret,
    commands: mpsc::Sender<Command>,
    direct: watch::Sender<bool>,
    shared: WeakShared<Report>,
    stop: CancellationToken,
    runtime: Handle,
    blobs: Mutex<Option<mpsc::Receiver<BlobStream>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Commands the overlay; cheap to clone. With the last one it stops.
#[derive(Clone)]
pub struct OverlayHandle(Arc<Inner>);

impl std::fmt::Debug for OverlayHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OverlayHandle").finish_non_exhaustive()
    }
}

/// A command that has to wait for the contact swarm, or `None` if it is done.
type Rest = Option<Command>;

impl OverlayHandle {
    /// The key that contacts know.
    #[must_use]
    pub fn local_key(&self) -> PeerKey {
        self.0.key
    }

    /// Does a command without waiting. `Send`, `Close` and dials of relays are
    /// never busy; a `Send` that does not fit into the link's queue cuts the
    /// link, which `Down` reports; one to a link that is gone is dropped.
    pub fn try_send(&self, command: NetCommand) -> Result<(), SendError> {
        match self.perform(command)? {
            None => Ok(()),
            Some(rest) => self.0.commands.try_send(rest).map_err(|e| match e {
                mpsc::error::TrySendError::Full(rest) => SendError::Busy(Box::new(undo(rest))),
                mpsc::error::TrySendError::Closed(_) => SendError::Closed,
            }),
        }
    }

    /// Does a command, waiting while too many wait already. Whoever reads the
    /// events must not wait here without reading them.
    pub async fn send(&self, command: NetCommand) -> Result<(), SendError> {
        match self.perform(command)? {
            None => Ok(()),
            Some(rest) => self.0.commands.send(rest).await.map_err(|_| SendError::Closed),
        }
    }

    /// As [`OverlayHandle::send`] on a thread outside the runtime.
    pub fn send_blocking(&self, command: NetCommand) -> Result<(), SendError> {
        match self.perform(command)? {
            None => Ok(()),
            Some(rest) => self.0.commands.blocking_send(rest).map_err(|_| SendError::Closed),
        }
    }

    /// Opens a stream for files to a peer that is directly connected. To be
    /// asked for from a task that may wait.
    pub async fn open_blob(&self, peer: PeerKey) -> Result<BlobStream, BlobError> {
        let (opened, stream) = oneshot::channel();
        if self.0.stop.is_cancelled() {
            return Err(BlobError::Closed);
        }
        self.0.commands.send(Command::OpenBlob(peer, opened)).await.map_err(|_| BlobError::Closed)?;
        stream.await.unwrap_or(Err(BlobError::NoConnection))
    }

    /// The streams for files that others open. Can be taken once; while
    /// nobody reads them, they are closed.
    #[must_use]
    pub fn take_blobs(&self) -> Option<mpsc::Receiver<BlobStream>> {
        self.0.blobs.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Switches direct connections on or off. Links to contacts go `Down` and
    /// may be dialled again at once; those to relays stay.
    pub fn set_direct(&self, direct: bool) {
        self.0.direct.send_replace(direct);
    }

    /// Ends all links (with `Down`, as far as the events are read) and stops.
    pub async fn shutdown(&self) {
        self.0.stop.cancel();
        self.0.shared.end().await;
    }

    fn perform(&self, command: NetCommand) -> Result<Rest, SendError> {
        let inner = &*self.0;
        if inner.stop.is_cancelled() {
            return Err(SendError::Closed);
        }
        match command {
            NetCommand::Send { link, frame } => {
                if frame.len() > FRAME_BYTES_MAX {
                    return Err(SendError::TooLarge(frame.len()));
                }
                if let Some(outbox) = inner.shared.links.outbox(link) {
                    // Whether it was taken or not: `Down` tells of a cut link.
                    let _told_by_down = outbox.push(frame);
                }
                Ok(None)
            }
            NetCommand::Close { link } => {
                if let Some(outbox) = inner.shared.links.outbox(link) {
                    outbox.finish("this side closed the link");
                }
                Ok(None)
            }
            NetCommand::Cut { link } => {
                if let Some(outbox) = inner.shared.links.outbox(link) {
                    outbox.cut(SILENT);
                }
                Ok(None)
            }
            NetCommand::Check => {
                // With that many commands waiting a later one will do.
                let _full = inner.commands.try_send(Command::Check);
                Ok(None)
            }
            NetCommand::Dial { kind: LinkKind::Log, peer, addrs, .. } => {
                let failed =
                    logs::dial(&inner.shared, &inner.relay_seed, peer, &addrs, &inner.stop, &inner.runtime);
                Ok(failed.map(|reason| Command::Fail(LinkKind::Log, peer, reason)))
            }
            NetCommand::Dial { kind: LinkKind::Peer, peer, addrs, patient } => {
                Ok(Some(Command::Dial { peer, addrs, patient }))
            }
            NetCommand::Reserve { relays } => Ok(Some(Command::Reserve(relays))),
        }
    }
}

/// The command that could not be queued, as it came in.
fn undo(rest: Command) -> NetCommand {
    match rest {
        Command::Dial { peer, addrs, patient } => {
            NetCommand::Dial { kind: LinkKind::Peer, peer, addrs, patient }
        }
        Command::Reserve(relays) => NetCommand::Reserve { relays },
        Command::Check => NetCommand::Check,
        // Never comes this way.
        Command::OpenBlob(peer, _) => {
            NetCommand::Dial { kind: LinkKind::Peer, peer, addrs: Vec::new(), patient: true }
        }
        Command::Fail(kind, peer, _) => NetCommand::Dial { kind, peer, addrs: Vec::new(), patient: true },
    }
}
