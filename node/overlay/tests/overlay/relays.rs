//! Links to relays, and links between nodes through them.

use super::*;
use kith_overlay::{CircuitLimits, OverlayError};

async fn reserved(node: &mut Node, relay: &Relay) -> String {
    node.command(NetCommand::Reserve { relays: vec![(relay.key(), relay.addrs.clone())] });
    stands(node).await
}

/// Waits for a reservation; the circuit address that came with it.
pub(super) async fn stands(node: &mut Node) -> String {
    let mut active = false;
    loop {
        if active && let Some(addr) = node.addrs.iter().find(|a| a.ends_with("/p2p-circuit")) {
            return addr.clone();
        }
        if let NetEvent::Reservation { active: a, .. } = node.event().await {
            active = a;
        }
    }
}

pub(super) async fn hidden(n: u8) -> Node {
    let mut config = Node::config(n, &[TCP, QUIC]);
    config.direct = false;
    Node::with(config)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_and_relays_under_throw_away_keys() {
    let mut a = Node::start(1, &[TCP]).await;
    let mut locals = vec![a.key()];
    let mut relays = [Relay::start(11, &[QUIC]).await, Relay::start(12, &[TCP]).await];
    for relay in &mut relays {
        a.dial_log(relay);
        a.dial_log(relay); // no second link
        let (at_a, peer, local, _) = a.up().await;
        assert_eq!(peer, relay.key());
        let ServerEvent::Up { link, peer, ip } = relay.event().await else { panic!() };
        assert_eq!(peer, local);
        assert!(ip.unwrap().is_loopback());
        locals.push(local);
        a.send(at_a, b"hello".to_vec());
        let ServerEvent::Frame { link: l, frame } = relay.event().await else { panic!() };
        assert!(l == link && frame == b"hello");
        relay.handle.send(link, vec![9; 1 << 20]).unwrap();
        assert_eq!(a.frame(at_a).await.len(), 1 << 20);
        relay.handle.close(link, "enough");
        assert!(a.down(at_a).await.contains("closed"));
        assert!(matches!(relay.event().await, ServerEvent::Down { reason, .. } if reason == "enough"));
        // The same key within the week: the relay's quotas hold.
        a.dial_log(relay);
        assert_eq!(a.up().await.2, local);
    }
    locals.sort_unstable();
    locals.dedup();
    assert_eq!(locals.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_goes_away_is_noticed_and_found_again() {
    let mut a = Node::start(1, &[]).await;
    let relay = Relay::start(11, &[TCP]).await;
    a.dial_log(&relay);
    let (link, ..) = a.up().await;
    relay.handle.shutdown().await;
    a.down(link).await;
    a.dial_log(&relay);
    assert!(a.failed().await.contains("nobody answers"));
    let listen = relay.addrs[0].clone();
    let again = Relay::start(11, &[&listen]).await;
    a.dial_log(&again);
    a.up().await;
    // Somebody else's key at that address.
    let other = Relay { addrs: again.addrs.clone(), ..Relay::start(13, &[TCP]).await };
    a.dial_log(&other);
    assert!(a.failed().await.contains("somebody else"));
}

#[tokio::test(flavor = "multi_thread")]
async fn circuits_work_with_direct_connections_off() {
    for listen in [TCP, QUIC] {
        let relay = Relay::start(11, &[listen]).await;
        let (mut a, mut b) = (hidden(1).await, hidden(2).await);
        let circuit = reserved(&mut b, &relay).await;
        assert_eq!(circuit, relay.circuit());
        assert_eq!(b.addrs.len(), 1, "nothing but the circuit is told: {:?}", b.addrs);
        a.dial(b.key(), &[circuit]);
        let (at_a, peer, _, path) = a.up().await;
        assert_eq!((peer, path), (b.key(), Path::Circuit));
        let (at_b, _, _, path) = b.up().await;
        assert_eq!(path, Path::Circuit);
        for i in 0..100u8 {
            a.send(at_a, vec![i; 1000]);
            b.send(at_b, vec![i; 1000]);
        }
        for i in 0..100u8 {
            assert_eq!(a.frame(at_a).await, vec![i; 1000]);
            assert_eq!(b.frame(at_b).await, vec![i; 1000]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circuit_is_taken_when_no_direct_address_answers() {
    let relay = Relay::start(11, &[TCP]).await;
    let other = Relay::start(12, &[TCP]).await;
    let mut a = Node::start(1, &[TCP]).await;
    let mut b = hidden(2).await;
    let circuit = reserved(&mut b, &relay).await;
    // A port where nobody is, somebody else's, a relay without a reservation.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dead = format!("/ip4/127.0.0.1/tcp/{free}");
    a.dial(b.key(), &[dead, other.addrs[0].clone(), other.circuit(), circuit]);
    assert_eq!(a.up().await.3, Path::Circuit);
    assert_eq!(b.up().await.3, Path::Circuit);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_is_made_again_after_the_relay_restarts() {
    for listen in [TCP, QUIC] {
        let relay = Relay::start(11, &[listen]).await;
        let (mut a, mut b) = (hidden(1).await, hidden(2).await);
        let circuit = reserved(&mut b, &relay).await;
        relay.handle.shutdown().await;
        b.until(|e| matches!(e, NetEvent::Reservation { active: false, .. })).await;
        a.dial(b.key(), std::slice::from_ref(&circuit));
        assert!(!a.failed().await.is_empty());
        let port = relay.addrs[0].clone();
        drop(relay);
        let relay = Relay::start(11, &[&port]).await;
        assert_eq!(relay.circuit(), circuit);
        assert_eq!(stands(&mut b).await, circuit);
        // a's own pause for this relay may still run.
        loop {
            a.dial(b.key(), std::slice::from_ref(&circuit));
            let event = a.until(|e| matches!(e, NetEvent::Up { .. } | NetEvent::DialFailed { .. })).await;
            if matches!(event, NetEvent::Up { .. }) {
                break;
            }
        }
        b.up().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_direct_link_takes_the_place_of_a_relayed_one() {
    let relay = Relay::start(11, &[TCP]).await;
    let mut a = Node::start(1, &[TCP]).await;
    let mut b = Node::start(2, &[TCP]).await;
    // Both have to know how the relay sees them before the circuit opens.
    reserved(&mut a, &relay).await;
    let circuit = reserved(&mut b, &relay).await;
    a.dial(b.key(), &[circuit]);
    for node in [&mut a, &mut b] {
        let (mut first, mut path) = (None, Path::Circuit);
        while path == Path::Circuit {
            let (link, _, _, p) = node.up().await;
            path = p;
            if path == Path::Circuit {
                first = Some(link);
            }
        }
        if let Some(relayed) = first {
            let reason = node.down(relayed).await;
            assert!(reason.contains("direct") || reason.contains("closed"), "{reason}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reservations_end_when_they_are_not_wanted() {
    let relay = Relay::start(11, &[TCP]).await;
    let mut a = hidden(1).await;
    reserved(&mut a, &relay).await;
    a.command(NetCommand::Reserve { relays: vec![] });
    a.until(|e| matches!(e, NetEvent::Reservation { active: false, .. })).await;
    while !a.addrs.is_empty() {
        a.event().await;
    }
    // And come back when they are.
    reserved(&mut a, &relay).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_no_relay() {
    let no_relay = Node::start(3, &[TCP]).await;
    let mut a = hidden(1).await;
    a.command(NetCommand::Reserve { relays: vec![(no_relay.key(), no_relay.addrs.clone())] });
    let event = a.until(|e| matches!(e, NetEvent::Reservation { .. })).await;
    assert!(matches!(event, NetEvent::Reservation { active: false, .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circuit_ends_at_its_limit_and_says_so() {
    let mut config = ServerConfig::new(Secret::new([11; 32]));
    config.listen = vec![TCP.into()];
    config.circuits = CircuitLimits { circuit_bytes_max: 64 << 10, ..CircuitLimits::default() };
    let relay = Relay::with(config).await;
    let (mut a, mut b) = (hidden(1).await, hidden(2).await);
    let circuit = reserved(&mut b, &relay).await;
    a.dial(b.key(), &[circuit]);
    let (at_a, ..) = a.up().await;
    let (at_b, ..) = b.up().await;
    a.send(at_a, vec![1; 200 << 10]);
    assert!(!a.down(at_a).await.is_empty());
    assert!(!b.down(at_b).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_cannot_take_all_connections() {
    let mut config = ServerConfig::new(Secret::new([11; 32]));
    config.listen = vec![TCP.into()];
    config.connections_per_ip_max = 2;
    let relay = Relay::with(config).await;
    let mut nodes = Vec::new();
    for n in 1..=3 {
        let mut node = hidden(n).await;
        node.dial_log(&relay);
        if n < 3 {
            node.up().await;
        } else {
            assert!(!node.failed().await.is_empty());
        }
        nodes.push(node);
    }
    assert_eq!(relay.handle.links(), 2);
    // Who leaves makes room.
    nodes[0].handle.shutdown().await;
    let mut relay = relay;
    while !matches!(relay.event().await, ServerEvent::Down { .. }) {}
    nodes[2].dial_log(&relay);
    let event = nodes[2].until(|e| matches!(e, NetEvent::Up { .. } | NetEvent::DialFailed { .. })).await;
    assert!(matches!(event, NetEvent::Up { .. }), "{event:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relays_port_in_use_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = ServerConfig::new(Secret::new([11; 32]));
    config.listen = vec![format!("/ip4/127.0.0.1/tcp/{}", taken.local_addr().unwrap().port())];
    assert!(matches!(Server::spawn(config), Err(OverlayError::PortInUse(_))));
}
