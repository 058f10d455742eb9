//! Whether a call from outside gets through to this node: AutoNAT v2, asked of
//! the relays. Which address is tested is decided here, and not by whatever far
//! ends claim to see: for each of them libp2p would send up to 100 kB, and keep
//! it for ever.

use std::collections::BTreeMap;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::NewExternalAddrCandidate;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use libp2p_autonat::v2::client;

/// Addresses that are tested while the swarm lives; later ones are not.
const TESTS_MAX: usize = 16;
/// How long somebody who could test an address is looked for.
const PATIENCE: Duration = Duration::from_secs(60);

/// An address was tested: [`Behaviour::ask`] tells what came of it.
#[derive(Debug)]
pub(crate) struct Tested;

struct Test {
    since: Instant,
    through: Option<bool>,
}

/// The behaviour; see the module.
#[derive(Default)]
pub(crate) struct Behaviour {
    client: client::Behaviour,
    tests: BTreeMap<Multiaddr, Test>,
    /// A connection has told the client something.
    stirred: bool,
}

impl Behaviour {
    /// Whether a call to this address gets through; the first time it has to
    /// be found out, and `None` comes back.
    pub(crate) fn ask(&mut self, addr: &Multiaddr) -> Option<bool> {
        if let Some(test) = self.tests.get(addr) {
            return test.through;
        }
        if self.tests.len() < TESTS_MAX {
            self.tests.insert(addr.clone(), Test { since: Instant::now(), through: None });
            let candidate = NewExternalAddrCandidate { addr };
            self.client.on_swarm_event(FromSwarm::NewExternalAddrCandidate(candidate));
        }
        None
    }

    /// Whether the client has something to do: it wakes up each five seconds
    /// for as long as it is asked.
    fn busy(&self) -> bool {
        self.stirred || self.tests.values().any(|t| t.through.is_none() && t.since.elapsed() < PATIENCE)
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = THandler<client::Behaviour>;
    type ToSwarm = Tested;

    fn handle_established_inbound_connection(
        &mut self,
        conn: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<Self::ConnectionHandler, ConnectionDenied> {
        self.client.handle_established_inbound_connection(conn, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        conn: ConnectionId,
        peer: PeerId,
        addr: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<Self::ConnectionHandler, ConnectionDenied> {
        self.client.handle_established_outbound_connection(conn, peer, addr, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if !matches!(event, FromSwarm::NewExternalAddrCandidate(_)) {
            self.client.on_swarm_event(event);
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        conn: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.stirred = true;
        self.client.on_connection_handler_event(peer, conn, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Tested, THandlerInEvent<Self>>> {
        while self.busy() {
            match self.client.poll(cx) {
                Poll::Ready(ToSwarm::GenerateEvent(client::Event { tested_addr, result, .. })) => {
                    if let Some(test) = self.tests.get_mut(&tested_addr) {
                        test.through = Some(result.is_ok());
                    }
                    return Poll::Ready(ToSwarm::GenerateEvent(Tested));
                }
                // Identify would tell it to everybody.
                Poll::Ready(ToSwarm::ExternalAddrConfirmed(_)) => {}
                Poll::Ready(other) => return Poll::Ready(other.map_out(|_| Tested)),
                Poll::Pending => {
                    self.stirred = false;
                    return Poll::Pending;
                }
            }
        }
        Poll::Pending
    }
}
