//! Addresses: what may be dialled, what a connection's endpoint says about
//! its path, and which of our own addresses are told to others.

use std::net::{IpAddr, SocketAddr};

use kith_wire::ids::PeerKey;
use kith_wire::limits::{ADDR_BYTES_MAX, ADDRS_MAX};
use kith_wire::net::Path;
use libp2p::core::ConnectedPoint;
use libp2p::multiaddr::{Multiaddr, Protocol};
use libp2p::{PeerId, multiaddr};

use crate::keys;

/// Addresses of one peer that are looked at; more are ignored.
pub(crate) const DIAL_ADDRS_MAX: usize = 16;
/// Own loopback addresses that are told (to contacts, end to end encrypted).
const LOOPBACK_MAX: usize = 2;
/// Own circuit addresses that are told.
const CIRCUIT_MAX: usize = 3;

/// A way to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// Straight to it.
    Direct(Multiaddr),
    /// Through this relay.
    Circuit { relay: PeerId, at: Multiaddr },
}

/// Whether the address is of the kind that this node dials: one IP address or
/// DNS name, then TCP (perhaps with WebSocket) or QUIC, and nothing else.
pub(crate) fn is_plain(addr: &Multiaddr) -> bool {
    let mut parts = addr.iter();
    let host = match parts.next() {
        Some(Protocol::Ip4(ip)) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        Some(Protocol::Ip6(ip)) => !ip.is_unspecified() && !ip.is_multicast(),
        Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)) => true,
        _ => false,
    };
    let root = |path: &str| path == "/";
    let port = match (parts.next(), parts.next()) {
        (Some(Protocol::Tcp(port)), None) | (Some(Protocol::Udp(port)), Some(Protocol::QuicV1)) => port != 0,
        (Some(Protocol::Tcp(port)), Some(Protocol::Ws(path) | Protocol::Wss(path))) => {
            port != 0 && root(&path)
        }
        (Some(Protocol::Tcp(port)), Some(Protocol::Tls)) => {
            port != 0 && matches!(parts.next(), Some(Protocol::Ws(path)) if root(&path))
        }
        _ => false,
    };
    host && port && parts.next().is_none()
}

/// What is bound to listen on an address.
pub(crate) enum Socket {
    /// `/ip…/tcp/…`
    Tcp(SocketAddr),
    /// `/ip…/udp/…/quic-v1`
    Quic(SocketAddr),
}

/// The socket of an address to listen on; `None` if it is of another kind.
pub(crate) fn socket(addr: &Multiaddr) -> Option<Socket> {
    let mut parts = addr.iter();
    let ip: IpAddr = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    let socket = match (parts.next()?, parts.next()) {
        (Protocol::Tcp(port), None | Some(Protocol::Ws(_))) => Socket::Tcp((ip, port).into()),
        (Protocol::Udp(port), Some(Protocol::QuicV1)) => Socket::Quic((ip, port).into()),
        _ => return None,
    };
    parts.next().is_none().then_some(socket)
}

/// Parses one address of `peer`; `None` if this node cannot dial it.
pub(crate) fn way(text: &str, peer: &PeerId) -> Option<Way> {
    if text.len() > ADDR_BYTES_MAX {
        return None;
    }
    let addr = strip(text.parse().ok()?, peer);
    if is_plain(&addr) {
        return Some(Way::Direct(addr));
    }
    let mut at = addr;
    match (at.pop()?, at.pop()?) {
        (Protocol::P2pCircuit, Protocol::P2p(relay)) if is_plain(&at) && relay != *peer => {
            Some(Way::Circuit { relay, at })
        }
        _ => None,
    }
}

/// Without `/p2p/…` of the peer itself at the end.
fn strip(addr: Multiaddr, peer: &PeerId) -> Multiaddr {
    let mut short = addr.clone();
    match short.pop() {
        Some(Protocol::P2p(p)) if p == *peer => short,
        _ => addr,
    }
}

/// The direct addresses among `texts`, at most [`DIAL_ADDRS_MAX`].
pub(crate) fn direct_only(texts: &[String], peer: &PeerId) -> Vec<Multiaddr> {
    texts
        .iter()
        .take(DIAL_ADDRS_MAX)
        .filter_map(|t| match way(t, peer)? {
            Way::Direct(addr) => Some(addr),
            Way::Circuit { .. } => None,
        })
        .collect()
}

/// The address of `peer` through a relay.
pub(crate) fn through(relay: PeerId, at: &Multiaddr, peer: PeerId) -> Multiaddr {
    circuit(relay, at).with(Protocol::P2p(peer))
}

/// The address to listen on for circuits through a relay.
pub(crate) fn circuit(relay: PeerId, at: &Multiaddr) -> Multiaddr {
    at.clone().with(Protocol::P2p(relay)).with(Protocol::P2pCircuit)
}

/// How a connection travels.
pub(crate) fn path(endpoint: &ConnectedPoint) -> Path {
    if endpoint.is_relayed() {
        Path::Circuit
    } else if is_quic(endpoint.get_remote_address()) {
        Path::DirectQuic
    } else {
        Path::DirectTcp
    }
}

/// Whether an address is one of plain TCP.
pub(crate) fn is_tcp(addr: &Multiaddr) -> bool {
    addr.iter().any(|p| matches!(p, Protocol::Tcp(_)))
        && !addr.iter().any(|p| matches!(p, Protocol::Ws(_) | Protocol::Wss(_)))
}

/// Whether it is dialled over QUIC.
pub(crate) fn is_quic(addr: &Multiaddr) -> bool {
    addr.iter().any(|p| p == Protocol::QuicV1)
}

/// The relay that a circuit goes through.
pub(crate) fn relay_of(endpoint: &ConnectedPoint) -> Option<PeerKey> {
    let via = match endpoint {
        ConnectedPoint::Dialer { address, .. } => address,
        ConnectedPoint::Listener { local_addr, .. } => local_addr,
    };
    let mut last = None;
    for part in via {
        match part {
            Protocol::P2p(peer) => last = Some(peer),
            Protocol::P2pCircuit => return keys::peer_key(&last?),
            _ => {}
        }
    }
    None
}

/// Whether an address is one of a local network.
pub(crate) fn is_near(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local() || ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback(),
    }
}

/// The IP address at the start of an address.
pub(crate) fn ip(addr: &Multiaddr) -> Option<IpAddr> {
    match addr.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)),
        _ => None,
    }
}

fn is_loopback(addr: &Multiaddr) -> bool {
    ip(addr).is_some_and(|ip| ip.is_loopback())
}

fn is_link_local(addr: &Multiaddr) -> bool {
    match addr.iter().next() {
        Some(Protocol::Ip6(ip)) => ip.is_unicast_link_local(),
        Some(Protocol::Ip4(ip)) => ip.is_link_local(),
        _ => false,
    }
}

/// Best first: what others reach before loopback, QUIC before TCP.
pub(crate) fn sort(addrs: &mut [&Multiaddr]) {
    addrs.sort_by_cached_key(|a| (is_loopback(a), !a.iter().any(|p| p == Protocol::QuicV1), a.to_string()));
}

/// Own addresses worth telling, best first and at most
/// [`ADDRS_MAX`](kith_wire::limits::ADDRS_MAX): what others on the network
/// may reach (QUIC before TCP), circuits, loopback for peers on this machine.
pub(crate) fn own(listening: &[Multiaddr], circuits: &[Multiaddr], me: &PeerId) -> Vec<String> {
    let mut near: Vec<&Multiaddr> = listening.iter().filter(|a| is_plain(a) && !is_link_local(a)).collect();
    sort(&mut near);
    near.dedup();
    let loopback: Vec<&Multiaddr> =
        near.iter().copied().filter(|a| is_loopback(a)).take(LOOPBACK_MAX).collect();
    let mut far: Vec<Multiaddr> = Vec::new();
    for addr in circuits.iter().map(|a| strip(a.clone(), me)) {
        if far.len() < CIRCUIT_MAX && !far.contains(&addr) {
            far.push(addr);
        }
    }
    let room = ADDRS_MAX.saturating_sub(loopback.len() + far.len());
    let reachable = near.iter().copied().filter(|a| !is_loopback(a)).take(room);
    reachable.chain(&far).chain(loopback).map(ToString::to_string).collect()
}

/// Why an address written by a person cannot be used for a relay or peer, as
/// a sentence; `Ok` if this node could dial it. `/p2p/…` at the end is allowed
/// if it is `peer`'s.
pub fn check_address(text: &str, peer: &PeerKey) -> Result<(), String> {
    let Some(peer) = keys::peer_id(peer) else {
        return Err("The key is not a valid Ed25519 key.".into());
    };
    if text.len() > ADDR_BYTES_MAX {
        return Err(format!("An address has at most {ADDR_BYTES_MAX} characters."));
    }
    if let Err(e) = text.parse::<Multiaddr>() {
        return Err(format!("“{text}” is not an address ({}).", short(&e)));
    }
    match way(text, &peer) {
        Some(_) => Ok(()),
        None => Err(format!(
            "“{text}” cannot be dialled; write for example /dns4/relay.example/tcp/4001 or /ip4/192.0.2.1/udp/4001/quic-v1."
        )),
    }
}

fn short(e: &multiaddr::Error) -> String {
    match e {
        multiaddr::Error::UnknownProtocolString(name) => format!("“{name}” is not a known protocol"),
        multiaddr::Error::InvalidMultiaddr => "it has to start with /ip4, /ip6 or /dns".into(),
        _ => "it is malformed".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kith_wire::crypto::Secret;

    fn peer(n: u8) -> PeerId {
        keys::peer_id(&keys::public_key(&Secret::new([n; 32])).unwrap()).unwrap()
    }

    #[test]
    fn only_plain_and_circuit_addresses_are_dialled() {
        let (me, relay) = (peer(1), peer(2));
        let direct = |t: &str| matches!(way(t, &me), Some(Way::Direct(_)));
        assert!(direct("/ip4/127.0.0.1/tcp/4001"));
        assert!(direct("/ip6/::1/udp/4001/quic-v1"));
        assert!(direct("/dns4/relay.example/tcp/443"));
        assert!(direct("/ip4/127.0.0.1/tcp/443/ws"));
        assert!(direct("/dns4/relay.example/tcp/443/tls/ws"));
        assert!(direct(&format!("/ip4/127.0.0.1/tcp/4001/p2p/{me}")));
        for bad in [
            "",
            "/",
            "127.0.0.1:1",
            "/ip4/127.0.0.1",
            "/ip4/127.0.0.1/tcp/0",
            "/ip4/0.0.0.0/tcp/1",
            "/ip4/255.255.255.255/tcp/1",
            "/ip4/224.0.0.1/udp/1/quic-v1",
            "/ip4/1.2.3.4/udp/1",
            "/ip4/1.2.3.4/tcp/1/x-parity-ws/%2fpath",
            "/ip4/1.2.3.4/tcp/0/ws",
            "/ip4/1.2.3.4/tcp/1/tls",
            "/ip4/1.2.3.4/tcp/1/ws/ws",
            "/memory/1",
            "/unix/tmp",
            "/p2p-circuit",
            "/dnsaddr/a.example",
        ] {
            assert_eq!(way(bad, &me), None, "{bad}");
        }
        assert_eq!(way(&format!("/ip4/1.2.3.4/tcp/1/p2p/{relay}"), &me), None);
        assert_eq!(way(&"/ip4/1.2.3.4/tcp/1".repeat(30), &me), None);
        let through = format!("/ip4/1.2.3.4/tcp/1/p2p/{relay}/p2p-circuit");
        assert!(matches!(way(&through, &me), Some(Way::Circuit { relay: r, .. }) if r == relay));
        assert!(matches!(way(&format!("{through}/p2p/{me}"), &me), Some(Way::Circuit { .. })));
        assert_eq!(way(&format!("{through}/p2p/{relay}/p2p-circuit"), &me), None);
        assert_eq!(way(&through, &relay), None);
    }

    #[test]
    fn own_addresses_keep_room_for_every_kind() {
        let listening: Vec<Multiaddr> = (1..20)
            .map(|i| format!("/ip4/10.0.0.{i}/tcp/1").parse().unwrap())
            .chain(
                ["/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/udp/1/quic-v1", "/ip6/fe80::1/tcp/1"]
                    .map(|a| a.parse().unwrap()),
            )
            .collect();
        let circuits: Vec<Multiaddr> =
            (1..9).map(|i| circuit(peer(2), &format!("/ip4/1.2.3.{i}/tcp/1").parse().unwrap())).collect();
        let told = own(&listening, &circuits, &peer(1));
        assert_eq!(told.len(), ADDRS_MAX);
        assert_eq!(told.iter().filter(|a| a.contains("p2p-circuit")).count(), CIRCUIT_MAX);
        assert_eq!(told.iter().filter(|a| a.contains("127.0.0.1")).count(), LOOPBACK_MAX);
        assert!(told.iter().all(|a| !a.contains("fe80")));
        assert_eq!(told.last().unwrap(), "/ip4/127.0.0.1/tcp/1");
    }

    #[test]
    fn a_persons_mistakes_are_told_in_sentences() {
        let key = keys::public_key(&Secret::new([1; 32])).unwrap();
        assert!(check_address("/ip4/127.0.0.1/tcp/1", &key).is_ok());
        assert!(check_address("example.org:4001", &key).unwrap_err().contains("has to start with"));
        assert!(check_address("/ip4/1.2.3.4/udp/1", &key).unwrap_err().contains("cannot be dialled"));
    }
}
