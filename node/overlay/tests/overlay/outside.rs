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

/// A bare client of the relay, listening at this address.
async fn bare(relay: &Relay, listen: &str) -> (Swarm<Bare>, Multiaddr) {
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
    swarm.listen_on(listen.parse().unwrap()).unwrap();
    let own = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address;
        }
    };
    swarm.dial(relay.addrs[0].parse::<Multiaddr>().unwrap()).unwrap();
    (swarm, own)
}

/// Whether a call back to that address gets through.
async fn called(swarm: &mut Swarm<Bare>, addr: &Multiaddr) -> bool {
    let candidate = NewExternalAddrCandidate { addr };
    swarm.behaviour_mut().autonat.on_swarm_event(FromSwarm::NewExternalAddrCandidate(candidate));
    let told = async {
        loop {
            if let SwarmEvent::Behaviour(BareEvent::Autonat(told)) = swarm.select_next_some().await
                && told.tested_addr == *addr
            {
                return told.result.is_ok();
            }
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("an answer in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_calls_back_to_where_its_client_is_and_nowhere_else() {
    let relay = Relay::start(11, &[TCP]).await;
    let (mut swarm, own) = bare(&relay, TCP).await;
    assert!(called(&mut swarm, &own).await);
    // Somebody else's, who hears nothing of it.
    let other = TcpListener::bind("127.0.0.2:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let foreign: Multiaddr = format!("/ip4/127.0.0.2/tcp/{port}").parse().unwrap();
    assert!(!called(&mut swarm, &foreign).await);
    other.set_nonblocking(true).unwrap();
    assert_eq!(other.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    let _positive_control = std::net::TcpStream::connect(other.local_addr().unwrap()).unwrap();
    other.set_nonblocking(false).unwrap();
    other.accept().unwrap();
    // A name would be looked up in the relay's own network.
    let named: Multiaddr = format!("/dns4/localhost/tcp/{port}").parse().unwrap();
    assert!(!called(&mut swarm, &named).await);
}

/// A call back does not stay, and does not count as the client's own.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_back_is_ended_and_its_client_stays() {
    let relay = Relay::start(11, &[TCP]).await;
    let (mut swarm, own) = bare(&relay, TCP).await;
    assert!(called(&mut swarm, &own).await);
    let ended = async {
        loop {
            if let SwarmEvent::ConnectionClosed { endpoint, .. } = swarm.select_next_some().await {
                break endpoint;
            }
        }
    };
    let endpoint = tokio::time::timeout(PATIENCE, ended).await.expect("the end of the call");
    assert!(endpoint.is_listener() && swarm.network_info().num_peers() == 1);
}
