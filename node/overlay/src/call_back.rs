//! Where a relay calls back to, for AutoNAT v2: to the IP addresses from which
//! the client itself is connected, and nowhere else. libp2p would dial whatever
//! a client names, the relay's own network included.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dummy,
};
use libp2p::{Multiaddr, PeerId};

use crate::addr;

/// The address is not one of the client's.
#[derive(Debug, thiserror::Error)]
#[error("the address is not one from which the client is connected")]
struct Foreign;

/// The behaviour; see the module. Its map is as large as the number of
/// connections, which `connection_limits` bounds.
#[derive(Default)]
pub(crate) struct Behaviour {
    from: BTreeMap<ConnectionId, (PeerId, IpAddr)>,
}

impl Behaviour {
    fn is_theirs(&self, peer: PeerId, addr: &Multiaddr) -> bool {
        let ip = addr::ip(addr).filter(|_| addr::is_plain(addr));
        ip.is_some_and(|ip| self.from.values().any(|from| *from == (peer, ip)))
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = std::convert::Infallible;

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        addrs: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        match peer {
            Some(peer) if addrs.iter().all(|a| self.is_theirs(peer, a)) => Ok(Vec::new()),
            _ => Err(ConnectionDenied::new(Foreign)),
        }
    }

    fn handle_established_inbound_connection(
        &mut self,
        conn: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<dummy::ConnectionHandler, ConnectionDenied> {
        if let Some(ip) = addr::ip(remote) {
            self.from.insert(conn, (peer, ip));
        }
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<dummy::ConnectionHandler, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(closed) => {
                self.from.remove(&closed.connection_id);
            }
            // Another behaviour refused it after this one had seen it.
            FromSwarm::ListenFailure(failed) => {
                self.from.remove(&failed.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ToSwarm<std::convert::Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}
