//! A relay calls back for AutoNAT v2, and only where its client is.

use std::net::TcpListener;

use super::*;
use futures::StreamExt;
use libp2p::swarm::behaviour::{FromSwarm, NewExternalAddrCandidate};
use libp2p::swarm::{NetworkBehaviour, Swarm, SwarmEvent};
use libp2p::{Multiaddr, SwarmBuilder, identify, noise, tcp, yamux};
use libp2p_autonat::v2::client;

#[derive(NetworkBehaviour)]
struct Bare {
    autonat: client::Behaviour,
    identify: identify::Behaviour,
}

/// A bare client of a relay.
struct Client {
    swarm: Swarm<Bare>,
    /// Where it listens.
    own: Multiaddr,
    /// Calls of the relay's that have ended.
    ended: usize,
}

impl Client {
    async fn start(relay: &Relay) -> Self {
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|key| Bare {
                autonat: client::Behaviour::default(),
                identify: identify::Behaviour::new(identify::Config::new("/bare/1".into(), key.public())),
            })
            .unwrap()
            .with_swarm_config(|c| c.with_idle_connection_timeout(PATIENCE))
            .build();
        swarm.listen_on(TCP.parse().unwrap()).unwrap();
        let own = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        swarm.dial(relay.addrs[0].parse::<Multiaddr>().unwrap()).unwrap();
        Self { swarm, own, ended: 0 }
    }

    async fn event(&mut self) -> SwarmEvent<BareEvent> {
        let event = tokio::time::timeout(PATIENCE, self.swarm.select_next_some());
        let event = event.await.expect("an event in time");
        if let SwarmEvent::ConnectionClosed { endpoint, .. } = &event {
            assert!(endpoint.is_listener(), "its own connection stays");
            self.ended += 1;
        }
        event
    }

    /// Whether a call back to that address gets through.
    async fn called(&mut self, addr: &Multiaddr) -> bool {
        let candidate = NewExternalAddrCandidate { addr };
        self.swarm.behaviour_mut().autonat.on_swarm_event(FromSwarm::NewExternalAddrCandidate(candidate));
        loop {
            if let SwarmEvent::Behaviour(BareEvent::Autonat(told)) = self.event().await
                && told.tested_addr == *addr
            {
                return told.result.is_ok();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_calls_back_to_where_its_client_is_and_nowhere_else() {
    let relay = Relay::start(11, &[TCP]).await;
    let mut client = Client::start(&relay).await;
    let own = client.own.clone();
    assert!(client.called(&own).await);
    // Somebody else's, who hears nothing of it.
    let other = TcpListener::bind("127.0.0.2:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let foreign: Multiaddr = format!("/ip4/127.0.0.2/tcp/{port}").parse().unwrap();
    assert!(!client.called(&foreign).await);
    other.set_nonblocking(true).unwrap();
    assert_eq!(other.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    // A name would be looked up in the relay's own network.
    let named: Multiaddr = format!("/dns4/localhost/tcp/{port}").parse().unwrap();
    assert!(!client.called(&named).await);
    // It would have been heard.
    let _caller = std::net::TcpStream::connect(other.local_addr().unwrap()).unwrap();
    other.set_nonblocking(false).unwrap();
    other.accept().unwrap();
}

/// A call back does not stay, and does not count as the client's own.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_back_is_ended_and_its_client_stays() {
    let relay = Relay::start(11, &[TCP]).await;
    let mut client = Client::start(&relay).await;
    let own = client.own.clone();
    assert!(client.called(&own).await);
    while client.ended == 0 {
        client.event().await;
    }
    assert_eq!(client.swarm.network_info().num_peers(), 1);
}
