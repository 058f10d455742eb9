//! The relay's side: accepts links of the log protocol, and relays circuits
//! between nodes within limits that suit chat.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use kith_wire::crypto::Secret;
use kith_wire::ids::{PeerKey, RelayId};
use kith_wire::limits::FRAME_BYTES_MAX;
use kith_wire::net::{LinkId, LinkKind};
use libp2p::core::transport::ListenerId;
use libp2p::swarm::{ConnectionId, Swarm, SwarmEvent};
use libp2p::{Multiaddr, PeerId, ping, relay};
use libp2p_autonat::v2::server as autonat;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::addr;
use crate::contact::SHUTTING_DOWN;
use crate::error::{OverlayError, SendError};
use crate::keys;
use crate::link::{self, Note, Shared, WeakShared};
use crate::streams;
use crate::swarm::{self, PING_FAILURES_MAX, Server as Behaviour, ServerEvent as Event, ServerLimits};
use crate::table::{Links, Meta};

/// MiB of large frames that may be coming in at once.
const LARGE_MIB: usize = 64;
/// Tasks of links beyond the links themselves; streams beyond are dropped.
const SPARE_TASKS_MAX: usize = 1024;
/// Connections of one PeerId: with one more, the oldest goes. A client that was
/// killed, or whose network has changed, comes again before the old connection
/// is known to be dead, and must not be kept out by it.
const CONNECTIONS_PER_PEER_MAX: usize = 4;
/// The same, those included that are being closed; more are refused.
const CONNECTIONS_PER_PEER_TOP: u32 = 16;
/// Listen addresses that are remembered.
const LISTEN_ADDRS_MAX: usize = 64;

/// Limits of the circuits that the server relays.
#[derive(Debug, Clone)]
pub struct CircuitLimits {
    /// Nodes that may be reachable through this server at once.
    pub reservations_max: usize,
    /// The same for one PeerId (one per connection).
    pub reservations_per_peer_max: usize,
    /// Circuits at once.
    pub circuits_max: usize,
    /// The same for one PeerId.
    pub circuits_per_peer_max: usize,
    /// How long a circuit lasts, in seconds (1 to `u32::MAX`).
    pub circuit_s_max: u32,
    /// Bytes of a circuit, both directions together; at least 1.
    pub circuit_bytes_max: u64,
    /// Reservations that one IP address may ask for in a minute.
    pub reservations_per_ip_per_minute: u32,
    /// Circuits that one IP address may ask for in a minute.
    pub circuits_per_ip_per_minute: u32,
}

impl Default for CircuitLimits {
    fn default() -> Self {
        Self {
            reservations_max: 4096,
            reservations_per_peer_max: 2,
            circuits_max: 1024,
            circuits_per_peer_max: 8,
            circuit_s_max: 30 * 60,
            circuit_bytes_max: 16 << 20,
            reservations_per_ip_per_minute: 60,
            circuits_per_ip_per_minute: 120,
        }
    }
}

/// How a server is set up.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Seed of the relay's identity key.
    pub key: Secret,
    /// Multiaddrs to listen on.
    pub listen: Vec<String>,
    /// Addresses under which the world reaches it; empty: those listened on.
    pub external: Vec<String>,
    /// Limits of circuits.
    pub circuits: CircuitLimits,
    /// Connections at once.
    pub connections_max: u32,
    /// Connections at once from one IP address (IPv6: one /64).
    pub connections_per_ip_max: usize,
    /// Events (and so frames of up to `limits::FRAME_BYTES_MAX`) that may wait
    /// for their reader. When that many do nothing more is read from the
    /// network.
    pub events: usize,
}

impl ServerConfig {
    /// The defaults of a community relay: port 4001, QUIC and TCP.
    #[must_use]
    pub fn new(key: Secret) -> Self {
        Self {
            key,
            listen: vec!["/ip4/0.0.0.0/udp/4001/quic-v1".into(), "/ip4/0.0.0.0/tcp/4001".into()],
            external: Vec::new(),
            circuits: CircuitLimits::default(),
            connections_max: 8192,
            connections_per_ip_max: 256,
            events: 256,
        }
    }
}

const STARTED_AGAIN: &str = "the network of the relay failed and was started again; connect again";

/// What a server reports.
#[derive(Debug, Clone)]
pub enum ServerEvent {
    /// A link is up. A newer link of the same client may come up before the
    /// older one goes `Down`.
    Up {
        /// Its name from now on.
        link: LinkId,
        /// The client's (throw-away) transport key.
        peer: PeerKey,
        /// Where it comes from, for quota buckets; `None` if unknown.
        ip: Option<IpAddr>,
    },
    /// One frame came in.
    Frame {
        /// The link.
        link: LinkId,
        /// The frame.
        frame: Vec<u8>,
    },
    /// The link is gone. Frames sent before may be lost.
    Down {
        /// The link.
        link: LinkId,
        /// Why, as a sentence (no addresses).
        reason: String,
    },
}

struct Report;

impl link::Report for Report {
    type Event = ServerEvent;

    fn up(meta: &Meta) -> ServerEvent {
        ServerEvent::Up { link: meta.id, peer: meta.peer, ip: meta.ip }
    }
    fn frame(link: LinkId, frame: Vec<u8>) -> ServerEvent {
        ServerEvent::Frame { link, frame }
    }
    fn down(link: LinkId, reason: String) -> ServerEvent {
        ServerEvent::Down { link, reason }
    }
}

/// A relay's overlay.
pub struct Server;

impl Server {
    /// Starts it, inside a tokio runtime. It listens on return. The events end
    /// when it has ended.
    pub fn spawn(config: ServerConfig) -> Result<(ServerHandle, mpsc::Receiver<ServerEvent>), OverlayError> {
        Handle::try_current().map_err(|_| OverlayError::NoRuntime)?;
        let keypair = keys::keypair(&config.key)?;
        let key = keys::public(&keypair).ok_or(OverlayError::Key)?;
        let parse = |texts: Vec<String>| -> Result<Vec<Multiaddr>, OverlayError> {
            texts.into_iter().map(|t| t.parse().map_err(|_| OverlayError::Address(t))).collect()
        };
        let listen = parse(config.listen)?;
        let external = parse(config.external)?;
        let (listeners, own_external) = (listen.len(), external.is_empty());
        let external_texts = external.iter().map(ToString::to_string).collect();
        let build = move || -> Result<Swarm<Behaviour>, OverlayError> {
            let limits = ServerLimits {
                connections: config.connections_max.max(1),
                connections_per_peer: CONNECTIONS_PER_PEER_TOP,
                connections_per_ip: config.connections_per_ip_max.max(1),
                relay: relay_config(&config.circuits),
            };
            let mut swarm = swarm::server(keypair.clone(), limits)?;
            swarm::listen(&mut swarm, &listen)?;
            for addr in &external {
                swarm.add_external_address(addr.clone());
            }
            Ok(swarm)
        };
        let swarm = build()?;
        let (events, events_rx) = mpsc::channel(config.events.max(1));
        let links_max = usize::try_from(config.connections_max).unwrap_or(usize::MAX);
        let (shared, notes) = Shared::<Report>::new(Links::new(links_max), events, LARGE_MIB);
        let stop = CancellationToken::new();
        let (addrs, addrs_rx) = watch::channel(external_texts);
        let driver = Driver {
            swarm,
            shared: shared.clone(),
            key,
            own_external,
            conns: BTreeMap::new(),
            of_peer: BTreeMap::new(),
            calls: BTreeMap::new(),
            listeners,
            listening: HashMap::new(),
            addrs,
            tasks_max: links_max.saturating_add(SPARE_TASKS_MAX),
        };
        let handle = shared.downgrade();
        shared.tasks.spawn(run(driver, build, notes, stop.clone()));
        Ok((ServerHandle(Arc::new(Inner { key, shared: handle, stop, addrs: addrs_rx })), events_rx))
    }
}

/// Runs the server until `stop`. libp2p states its invariants as panics, some
/// perhaps within a client's reach: a new swarm takes the place of the old.
async fn run(
    mut driver: Driver,
    build: impl Fn() -> Result<Swarm<Behaviour>, OverlayError>,
    mut notes: mpsc::Receiver<Note>,
    stop: CancellationToken,
) {
    loop {
        if AssertUnwindSafe(driver.live(&mut notes, &stop)).catch_unwind().await.is_ok() {
            break;
        }
        tracing::error!("the network of the relay failed and is started again");
        let Driver { swarm, shared, key, own_external, listeners, addrs, tasks_max, .. } = driver;
        shared.links.cut_all(LinkKind::Log, STARTED_AGAIN);
        drop(swarm);
        let swarm = match build() {
            Ok(swarm) => swarm,
            Err(e) => {
                tracing::error!(error = %e, "the network of the relay could not be started again");
                return;
            }
        };
        driver = Driver {
            swarm,
            shared,
            key,
            own_external,
            conns: BTreeMap::new(),
            of_peer: BTreeMap::new(),
            calls: BTreeMap::new(),
            listeners,
            listening: HashMap::new(),
            addrs,
            tasks_max,
        };
    }
    driver.shared.links.cut_all(LinkKind::Log, SHUTTING_DOWN);
}

fn relay_config(limits: &CircuitLimits) -> relay::Config {
    let minute = Duration::from_secs(60);
    let per = |n: u32| (NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN), minute / n.max(1));
    let (reservations, reservation_every) = per(limits.reservations_per_ip_per_minute);
    let (circuits, circuit_every) = per(limits.circuits_per_ip_per_minute);
    let config = relay::Config {
        max_reservations: limits.reservations_max,
        max_reservations_per_peer: limits.reservations_per_peer_max,
        reservation_duration: Duration::from_secs(60 * 60),
        // The defaults count one request a minute for a whole address.
        reservation_rate_limiters: Vec::new(),
        max_circuits: limits.circuits_max,
        max_circuits_per_peer: limits.circuits_per_peer_max,
        max_circuit_duration: Duration::from_secs(limits.circuit_s_max.max(1).into()),
        max_circuit_bytes: limits.circuit_bytes_max.max(1),
        circuit_src_rate_limiters: Vec::new(),
    };
    config
        .reservation_rate_per_ip(reservations, reservation_every)
        .circuit_src_per_ip(circuits, circuit_every)
}

struct Inner {
    key: PeerKey,
    shared: WeakShared<Report>,
    stop: CancellationToken,
    addrs: watch::Receiver<Vec<String>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Commands the server; cheap to clone. With the last one it stops.
#[derive(Clone)]
pub struct ServerHandle(Arc<Inner>);

impl std::fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerHandle").finish_non_exhaustive()
    }
}

impl ServerHandle {
    /// The relay's identity: its libp2p key.
    #[must_use]
    pub fn relay_id(&self) -> RelayId {
        RelayId(self.0.key.0)
    }

    /// Its addresses, without `/p2p/…`: the configured external ones, else
    /// those listened on. Waits until each listener has one.
    pub async fn addresses(&self) -> Vec<String> {
        let mut addrs = self.0.addrs.clone();
        // The sender is gone only when the server is.
        match addrs.wait_for(|a| !a.is_empty()).await {
            Ok(addrs) => addrs.clone(),
            Err(_) => Vec::new(),
        }
    }

    /// Queues a frame without waiting. One that does not fit into the link's
    /// queue cuts the link, which `Down` reports; one to a link that is gone
    /// is dropped.
    pub fn send(&self, link: LinkId, frame: Vec<u8>) -> Result<(), SendError> {
        if frame.len() > FRAME_BYTES_MAX {
            return Err(SendError::TooLarge(frame.len()));
        }
        if self.0.stop.is_cancelled() {
            return Err(SendError::Closed);
        }
        if let Some(outbox) = self.0.shared.links.outbox(link) {
            let _told_by_down = outbox.push(frame);
        }
        Ok(())
    }

    /// Closes a link when what waits on it has been written.
    pub fn close(&self, link: LinkId, reason: &'static str) {
        if let Some(outbox) = self.0.shared.links.outbox(link) {
            outbox.finish(reason);
        }
    }

    /// Links that are up or coming up.
    #[must_use]
    pub fn links(&self) -> usize {
        self.0.shared.links.count(LinkKind::Log)
    }

    /// Ends all links (with `Down`, as far as the events are read) and stops.
    pub async fn shutdown(&self) {
        self.0.stop.cancel();
        self.0.shared.end().await;
    }
}

struct Conn {
    key: PeerKey,
    path: kith_wire::net::Path,
    ip: Option<IpAddr>,
    failed_pings: u32,
}

struct Driver {
    swarm: Swarm<Behaviour>,
    shared: Shared<Report>,
    key: PeerKey,
    own_external: bool,
    conns: BTreeMap<ConnectionId, Conn>,
    /// Each client's connections; a newer one has a greater name.
    of_peer: BTreeMap<PeerKey, BTreeSet<ConnectionId>>,
    /// Calls back to clients that asked for one.
    calls: BTreeMap<ConnectionId, PeerId>,
    listeners: usize,
    listening: HashMap<ListenerId, Vec<Multiaddr>>,
    addrs: watch::Sender<Vec<String>>,
    tasks_max: usize,
}

impl Driver {
    async fn live(&mut self, notes: &mut mpsc::Receiver<Note>, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                event = self.swarm.select_next_some() => self.on_swarm(event),
                // Nothing waits for the outcome of a client's stream.
                Some(_) = notes.recv() => {}
            }
        }
    }

    fn on_swarm(&mut self, event: SwarmEvent<Event>) {
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. }
                if endpoint.is_dialer() =>
            {
                self.calls.insert(connection_id, peer_id);
            }
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.established(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { connection_id, .. } => {
                self.calls.remove(&connection_id);
                if let Some(c) = self.conns.remove(&connection_id) {
                    self.shared.links.lost(LinkKind::Log, c.key, connection_id);
                    if let Some(all) = self.of_peer.get_mut(&c.key) {
                        all.remove(&connection_id);
                        if all.is_empty() {
                            self.of_peer.remove(&c.key);
                        }
                    }
                }
            }
            SwarmEvent::NewListenAddr { listener_id, address } => {
                // Without an external address no reservation is granted.
                if self.own_external {
                    self.swarm.add_external_address(address.clone());
                }
                let addrs = self.listening.entry(listener_id).or_default();
                if addrs.len() < LISTEN_ADDRS_MAX {
                    addrs.push(address);
                }
                self.tell();
            }
            SwarmEvent::ExpiredListenAddr { listener_id, address } => {
                if self.own_external {
                    self.swarm.remove_external_address(&address);
                }
                if let Some(addrs) = self.listening.get_mut(&listener_id) {
                    addrs.retain(|a| *a != address);
                }
                self.tell();
            }
            SwarmEvent::Behaviour(Event::Streams(streams::Event::Inbound { conn, stream })) => {
                let Some(c) = self.conns.get(&conn) else { return };
                if self.shared.tasks.len() >= self.tasks_max {
                    return;
                }
                let meta = Meta::new(LinkKind::Log, c.key, self.key, c.path, conn, c.ip);
                match self.shared.links.offer(&meta) {
                    Ok(outbox) => {
                        self.shared.spawn(link::accept(self.shared.clone(), meta, stream, outbox));
                    }
                    Err(why) => self.shared.spawn(link::refuse(stream, why)),
                }
            }
            SwarmEvent::Behaviour(Event::Ping(ping::Event { connection, result, .. })) => {
                let Some(c) = self.conns.get_mut(&connection) else { return };
                match result {
                    Ok(_) | Err(ping::Failure::Unsupported) => c.failed_pings = 0,
                    Err(_) => c.failed_pings += 1,
                }
                if c.failed_pings >= PING_FAILURES_MAX {
                    self.end(connection);
                }
            }
            // Of a call back nothing is wanted but that it came.
            SwarmEvent::Behaviour(Event::Autonat(autonat::Event { client, .. })) => {
                let calls = self.calls.extract_if(.., |_, peer| *peer == client);
                for (conn, _) in calls {
                    self.swarm.close_connection(conn);
                }
            }
            SwarmEvent::Behaviour(Event::Relay(relay::Event::ReservationReqAccepted {
                src_peer_id,
                renewed: false,
            })) => self.reserved(&src_peer_id),
            _ => {}
        }
    }

    fn established(&mut self, peer: PeerId, conn: ConnectionId, endpoint: &libp2p::core::ConnectedPoint) {
        let Some(key) = keys::peer_key(&peer) else {
            self.swarm.close_connection(conn);
            return;
        };
        let ip = addr::ip(endpoint.get_remote_address());
        self.conns.insert(conn, Conn { key, path: addr::path(endpoint), ip, failed_pings: 0 });
        let all = self.of_peer.entry(key).or_default();
        all.insert(conn);
        let surplus = all.len().saturating_sub(CONNECTIONS_PER_PEER_MAX);
        let oldest: Vec<ConnectionId> = all.iter().take(surplus).copied().collect();
        for conn in oldest {
            self.end(conn);
        }
    }

    /// A client has become reachable here. libp2p leads circuits to any of its
    /// connections that has a reservation, so those that it left behind go: a
    /// client keeps one.
    fn reserved(&mut self, peer: &PeerId) {
        let Some(all) = keys::peer_key(peer).and_then(|key| self.of_peer.get(&key)) else { return };
        let old: Vec<ConnectionId> = all.iter().rev().skip(1).copied().collect();
        for conn in old {
            self.end(conn);
        }
    }

    /// Closes a connection that is of no use any more, and its link at once.
    fn end(&mut self, conn: ConnectionId) {
        if let Some(c) = self.conns.get(&conn) {
            self.shared.links.dead(LinkKind::Log, c.key, conn);
        }
        self.swarm.close_connection(conn);
    }

    fn tell(&self) {
        if self.own_external && self.listening.len() >= self.listeners {
            let mut addrs: Vec<&Multiaddr> = self.listening.values().flatten().collect();
            addr::sort(&mut addrs);
            self.addrs.send_replace(addrs.into_iter().map(ToString::to_string).collect());
        }
    }
}
