//! The three swarms: towards contacts, towards one relay under a throw-away
//! key, and the server. Which protocols each speaks, and its limits.

use std::time::Duration;

use libp2p::Transport as _;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::{self, NetworkBehaviour, StreamProtocol, Swarm};
use libp2p::{
    Multiaddr, PeerId, SwarmBuilder, TransportError, connection_limits, dcutr, identify, mdns, noise, ping,
    quic, relay, tcp, upnp, websocket, yamux,
};
use libp2p_autonat::v2::server as autonat;

use crate::addr;
use crate::error::OverlayError;
use crate::{call_back, ip_limit, outside, streams};

/// Links between nodes.
pub(crate) const PEER_PROTOCOL: StreamProtocol = StreamProtocol::new("/kith/peer/1");
/// Streams that carry files between nodes.
pub(crate) const BLOB_PROTOCOL: StreamProtocol = StreamProtocol::new("/kith/blob/1");
/// Links from a node to a relay.
pub(crate) const LOG_PROTOCOL: StreamProtocol = StreamProtocol::new("/kith/log/1");
/// A stream of this protocol says nothing: whether it can be had shows whether
/// the far end answers. Relays do not speak it; that they say so is an answer.
const ALIVE_PROTOCOL: StreamProtocol = StreamProtocol::new("/kith/alive/1");
/// What identify says of every Kith program: nothing that tells them apart.
const IDENTIFY_PROTOCOL: &str = "/kith/1";
const AGENT: &str = "kith";

/// Dial timeout of one connection, transport and encryption included.
pub(crate) const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two pings of a connection, by a node and by a server. Rarely: who
/// waits for an answer asks for a check, and what nobody waits for may take its
/// time. Every byte here is sent by every idle node, day and night.
const PING_INTERVAL: Duration = Duration::from_secs(120);
const SERVER_PING_INTERVAL: Duration = Duration::from_secs(300);
/// After so long without a packet a node sends one on a QUIC connection:
/// routers forget an idle UDP flow after 30 seconds and more.
const QUIC_KEEP_ALIVE: Duration = Duration::from_secs(25);
/// How long a QUIC connection may be silent.
const QUIC_IDLE_MS: u32 = 65_000;
/// How long a ping may take.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Failed pings in a row that end a connection, besides the first, which
/// libp2p keeps to itself.
pub(crate) const PING_FAILURES_MAX: u32 = 1;
/// How long a connection without a link stays.
const CONTACT_IDLE: Duration = Duration::from_secs(600);
const LOG_IDLE: Duration = Duration::from_secs(30);
const SERVER_IDLE: Duration = Duration::from_secs(120);
/// Streams that the far end may have open on one connection.
const STREAMS_MAX: usize = 128;
/// Streams that may be agreeing on their protocol on one connection.
const NEGOTIATING_MAX: usize = 16;
/// Connections of a node, to contacts, relays and strangers.
const CONNECTIONS_MAX: u32 = 512;
/// Connections that one IP address may have to a node.
const CONNECTIONS_PER_IP_MAX: usize = 128;
/// Connections being made, per direction.
const PENDING_MAX: u32 = 128;
/// QUIC hole punching yields two connections besides the relayed one.
const CONNECTIONS_PER_PEER_MAX: u32 = 8;
/// The largest WebSocket frame: Noise's are at most 64 KiB.
const WS_FRAME_BYTES_MAX: usize = 256 << 10;
/// Bytes of a QUIC connection that the server holds unread.
const SERVER_QUIC_BYTES: u32 = 2 << 20;

/// Towards contacts.
#[derive(NetworkBehaviour)]
pub(crate) struct Contact {
    limits: connection_limits::Behaviour,
    ips: ip_limit::Behaviour,
    pub(crate) streams: streams::Behaviour,
    pub(crate) blobs: streams::Behaviour,
    pub(crate) alive: streams::Behaviour,
    relay: relay::client::Behaviour,
    dcutr: Toggle<dcutr::Behaviour>,
    mdns: Toggle<mdns::tokio::Behaviour>,
    upnp: Toggle<upnp::tokio::Behaviour>,
    pub(crate) outside: Toggle<outside::Behaviour>,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

/// Towards one relay.
#[derive(NetworkBehaviour)]
pub(crate) struct Log {
    pub(crate) streams: streams::Behaviour,
    ping: ping::Behaviour,
}

/// The server.
#[derive(NetworkBehaviour)]
pub(crate) struct Server {
    limits: connection_limits::Behaviour,
    ips: ip_limit::Behaviour,
    pub(crate) streams: streams::Behaviour,
    relay: relay::Behaviour,
    call_back: call_back::Behaviour,
    autonat: autonat::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

fn identify(key: &Keypair) -> identify::Behaviour {
    identify::Behaviour::new(
        identify::Config::new(IDENTIFY_PROTOCOL.into(), key.public())
            .with_agent_version(AGENT.into())
            .with_hide_listen_addrs(true)
            .with_cache_size(0),
    )
}

fn ping(interval: Duration) -> ping::Behaviour {
    ping::Behaviour::new(ping::Config::new().with_interval(interval).with_timeout(PING_TIMEOUT))
}

fn yamux() -> yamux::Config {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(STREAMS_MAX);
    config
}

fn quic(mut config: quic::Config) -> quic::Config {
    config.max_concurrent_stream_limit = u32::try_from(STREAMS_MAX).unwrap_or(u32::MAX);
    config.keep_alive_interval = QUIC_KEEP_ALIVE;
    config.max_idle_timeout = QUIC_IDLE_MS;
    config
}

/// WebSocket over TCP: what networks let out that allow a browser only.
fn ws(key: &Keypair) -> Result<Boxed<(PeerId, StreamMuxerBox)>, Box<dyn std::error::Error + Send + Sync>> {
    let mut config = websocket::Config::new(tcp::tokio::Transport::new(tcp::Config::default()));
    config.set_max_data_size(WS_FRAME_BYTES_MAX).set_max_redirects(0);
    Ok(config
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(key)?)
        .multiplex(yamux())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed())
}

fn swarm_config(config: swarm::Config, idle: Duration) -> swarm::Config {
    config
        .with_idle_connection_timeout(idle)
        .with_max_negotiating_inbound_streams(NEGOTIATING_MAX)
        .with_smart_dial()
}

fn setup(e: impl std::fmt::Display) -> OverlayError {
    OverlayError::Setup(e.to_string())
}

/// Listens on all of `addrs`, or says why not.
///
/// libp2p shares TCP ports (it needs that for hole punching), so a second
/// program on the same port would silently take half of the connections:
/// each address is tried without sharing first.
pub(crate) fn listen<B: NetworkBehaviour>(
    swarm: &mut Swarm<B>,
    addrs: &[Multiaddr],
) -> Result<(), OverlayError> {
    for addr in addrs {
        let tried = match addr::socket(addr) {
            Some(addr::Socket::Tcp(at)) => std::net::TcpListener::bind(at).map(drop),
            Some(addr::Socket::Quic(at)) => std::net::UdpSocket::bind(at).map(drop),
            None => return Err(OverlayError::Address(addr.to_string())),
        };
        tried.map_err(|e| OverlayError::listen(addr.to_string(), &e))?;
        swarm.listen_on(addr.clone()).map_err(|e| match e {
            TransportError::MultiaddrNotSupported(addr) => OverlayError::Address(addr.to_string()),
            TransportError::Other(e) => OverlayError::listen(addr.to_string(), &e),
        })?;
    }
    Ok(())
}

/// What the swarm towards contacts does besides dialling and listening.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Habits {
    /// Punch holes.
    pub(crate) punch: bool,
    /// Make itself known in the own network, and look for others there.
    pub(crate) nearby: bool,
    /// Ask the router for a port.
    pub(crate) upnp: bool,
    /// Have relays call back.
    pub(crate) outside: bool,
}

/// The swarm towards contacts.
pub(crate) fn contact(key: Keypair, habits: Habits) -> Result<Swarm<Contact>, OverlayError> {
    let me = key.public().to_peer_id();
    let mdns = if habits.nearby {
        Some(mdns::tokio::Behaviour::new(mdns::Config::default(), me).map_err(setup)?)
    } else {
        None
    };
    let limits = connection_limits::ConnectionLimits::default()
        .with_max_pending_incoming(Some(PENDING_MAX))
        .with_max_pending_outgoing(Some(PENDING_MAX))
        .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER_MAX))
        .with_max_established(Some(CONNECTIONS_MAX));
    let behaviour = |key: &Keypair, relay| Contact {
        limits: connection_limits::Behaviour::new(limits),
        ips: ip_limit::Behaviour::new(CONNECTIONS_PER_IP_MAX),
        streams: streams::Behaviour::new(PEER_PROTOCOL, true),
        blobs: streams::Behaviour::new(BLOB_PROTOCOL, true),
        alive: streams::Behaviour::new(ALIVE_PROTOCOL, true),
        relay,
        dcutr: habits.punch.then(|| dcutr::Behaviour::new(me)).into(),
        mdns: mdns.into(),
        upnp: habits.upnp.then(upnp::tokio::Behaviour::default).into(),
        outside: habits.outside.then(outside::Behaviour::default).into(),
        identify: identify(key),
        ping: ping(PING_INTERVAL),
    };
    let builder = SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux)
        .map_err(setup)?
        .with_quic_config(quic)
        .with_other_transport(ws)
        .map_err(setup)?
        .with_dns()
        .map_err(setup)?
        .with_relay_client(noise::Config::new, yamux)
        .map_err(setup)?;
    Ok(builder
        .with_behaviour(behaviour)
        .map_err(setup)?
        .with_swarm_config(|c| swarm_config(c, CONTACT_IDLE))
        .with_connection_timeout(DIAL_TIMEOUT)
        .build())
}

/// A swarm towards one relay: it only dials.
pub(crate) fn log(key: Keypair) -> Result<Swarm<Log>, OverlayError> {
    Ok(SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux)
        .map_err(setup)?
        .with_quic_config(quic)
        .with_other_transport(ws)
        .map_err(setup)?
        .with_dns()
        .map_err(setup)?
        .with_behaviour(|_| Log {
            streams: streams::Behaviour::new(LOG_PROTOCOL, false),
            ping: ping(PING_INTERVAL),
        })
        .map_err(setup)?
        .with_swarm_config(|c| swarm_config(c, LOG_IDLE))
        .with_connection_timeout(DIAL_TIMEOUT)
        .build())
}

/// What the server's swarm is limited to.
pub(crate) struct ServerLimits {
    pub(crate) connections: u32,
    pub(crate) connections_per_peer: u32,
    pub(crate) connections_per_ip: usize,
    pub(crate) relay: relay::Config,
}

/// The server's swarm.
pub(crate) fn server(key: Keypair, limits: ServerLimits) -> Result<Swarm<Server>, OverlayError> {
    let connections = connection_limits::ConnectionLimits::default()
        .with_max_pending_incoming(Some(limits.connections.max(PENDING_MAX)))
        .with_max_pending_outgoing(Some(PENDING_MAX))
        .with_max_established_per_peer(Some(limits.connections_per_peer))
        .with_max_established(Some(limits.connections));
    let quic_config = |config| {
        let mut config = quic(config);
        // Clients keep their own ways open.
        config.keep_alive_interval = Duration::from_millis(QUIC_IDLE_MS.into());
        config.max_stream_data = SERVER_QUIC_BYTES;
        config.max_connection_data = SERVER_QUIC_BYTES;
        config
    };
    let behaviour = |key: &Keypair| {
        let me: PeerId = key.public().to_peer_id();
        Server {
            limits: connection_limits::Behaviour::new(connections),
            ips: ip_limit::Behaviour::new(limits.connections_per_ip),
            streams: streams::Behaviour::new(LOG_PROTOCOL, true),
            relay: relay::Behaviour::new(me, limits.relay),
            call_back: call_back::Behaviour::default(),
            autonat: autonat::Behaviour::default(),
            identify: identify(key),
            ping: ping(SERVER_PING_INTERVAL),
        }
    };
    Ok(SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::default().listen_backlog(4096), noise::Config::new, yamux)
        .map_err(setup)?
        .with_quic_config(quic_config)
        .with_other_transport(ws)
        .map_err(setup)?
        .with_behaviour(behaviour)
        .map_err(setup)?
        .with_swarm_config(|c| swarm_config(c, SERVER_IDLE))
        .with_connection_timeout(DIAL_TIMEOUT)
        .build())
}
