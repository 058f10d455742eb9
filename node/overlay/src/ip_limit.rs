//! A limit on connections per source address (IPv6: per /64), so that one
//! machine cannot take all of a server's.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dummy,
};
use libp2p::{Multiaddr, PeerId};

use crate::addr;

/// Too many connections from one address.
#[derive(Debug, thiserror::Error)]
#[error("too many connections from one address")]
struct Exceeded;

/// The behaviour; see the module. Its maps are as large as the number of
/// connections, which `connection_limits` (in front of it) bounds.
pub(crate) struct Behaviour {
    max: usize,
    counts: BTreeMap<IpAddr, usize>,
    conns: BTreeMap<ConnectionId, IpAddr>,
}

impl Behaviour {
    /// At most `max` connections, made or being made, from one address.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, counts: BTreeMap::new(), conns: BTreeMap::new() }
    }

    fn leave(&mut self, conn: ConnectionId) {
        if let Some(ip) = self.conns.remove(&conn)
            && let Some(count) = self.counts.get_mut(&ip)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&ip);
            }
        }
    }
}

/// What one machine or home usually has to itself.
pub(crate) fn prefix(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = std::convert::Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        conn: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let Some(ip) = addr::ip(remote).map(prefix) else { return Ok(()) };
        let count = self.counts.entry(ip).or_default();
        if *count >= self.max {
            return Err(ConnectionDenied::new(Exceeded));
        }
        *count += 1;
        self.conns.insert(conn, ip);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<dummy::ConnectionHandler, ConnectionDenied> {
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
            FromSwarm::ConnectionClosed(closed) => self.leave(closed.connection_id),
            FromSwarm::ListenFailure(failed) => self.leave(failed.connection_id),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_its_share_and_gets_it_back() {
        let mut limit = Behaviour::new(2);
        let from = |t: &str| t.parse::<Multiaddr>().unwrap();
        let local = from("/ip4/127.0.0.1/tcp/1");
        let mut ask = |n, addr: &str| {
            limit
                .handle_pending_inbound_connection(ConnectionId::new_unchecked(n), &local, &from(addr))
                .is_ok()
        };
        assert!(ask(1, "/ip6/2001:db8::1/tcp/1"));
        assert!(ask(2, "/ip6/2001:db8::2/tcp/1"));
        assert!(!ask(3, "/ip6/2001:db8::ffff/tcp/1"));
        assert!(ask(4, "/ip4/192.0.2.1/tcp/1"));
        limit.leave(ConnectionId::new_unchecked(1));
        limit.leave(ConnectionId::new_unchecked(3));
        let again = limit.handle_pending_inbound_connection(
            ConnectionId::new_unchecked(5),
            &local,
            &from("/ip6/2001:db8::9/tcp/1"),
        );
        assert!(again.is_ok());
        assert_eq!(limit.conns.len(), 3);
    }
}
