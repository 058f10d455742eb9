//! A node against a peer that speaks libp2p but not (quite) our protocol.

use super::*;
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::swarm::{Stream, StreamProtocol, SwarmEvent};
use libp2p::{PeerId, SwarmBuilder, noise, tcp, yamux};

/// A bare libp2p peer that accepts streams of this protocol.
struct Bare {
    key: PeerKey,
    addr: String,
    control: libp2p_stream::Control,
    streams: libp2p_stream::IncomingStreams,
}

async fn bare(protocol: &'static str) -> Bare {
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| libp2p_stream::Behaviour::new())
        .unwrap()
        .build();
    swarm.listen_on(TCP.parse().unwrap()).unwrap();
    let addr = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address.to_string();
        }
    };
    let mut control = swarm.behaviour().new_control();
    let streams = control.accept(StreamProtocol::new(protocol)).unwrap();
    let key = kith_overlay::peer_key_from_text(&swarm.local_peer_id().to_base58()).unwrap();
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    Bare { key, addr, control, streams }
}

/// The far end's half of a link that the node opened.
async fn accepted(bare: &mut Bare) -> Stream {
    let (_, mut stream) = bare.streams.next().await.unwrap();
    stream.write_all(&[1]).await.unwrap();
    stream.flush().await.unwrap();
    let mut confirmed = [0];
    stream.read_exact(&mut confirmed).await.unwrap();
    assert_eq!(confirmed, [1]);
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn another_version_is_told_in_a_sentence() {
    let mut a = Node::start(1, &[TCP]).await;
    let other = bare("/kith/peer/2").await;
    a.dial(other.key, std::slice::from_ref(&other.addr));
    assert!(a.failed().await.contains("speaks another version of Kith’s protocol"));
    a.command(NetCommand::Dial {
        kind: LinkKind::Log,
        peer: other.key,
        addrs: vec![other.addr],
        patient: true,
    });
    assert!(a.failed().await.contains("speaks another version of Kith’s protocol"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_a_later_version_is_told_in_a_sentence() {
    let mut a = Node::start(1, &[TCP]).await;
    let mut other = bare("/kith/peer/1").await;
    a.dial(other.key, std::slice::from_ref(&other.addr));
    let (_, mut stream) = other.streams.next().await.unwrap();
    stream.write_all(&[77]).await.unwrap();
    stream.flush().await.unwrap();
    assert!(a.failed().await.contains("another version"));
    a.dial(other.key, std::slice::from_ref(&other.addr));
    let (_, mut stream) = other.streams.next().await.unwrap();
    stream.write_all(&[3]).await.unwrap();
    stream.flush().await.unwrap();
    assert!(a.failed().await.contains("no room"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversize_frame_ends_the_link() {
    let mut a = Node::start(1, &[TCP]).await;
    let mut other = bare("/kith/peer/1").await;
    a.dial(other.key, std::slice::from_ref(&other.addr));
    let mut stream = accepted(&mut other).await;
    let (link, ..) = a.up().await;
    stream.write_all(&[0, 0, 0, 2, 7, 8]).await.unwrap();
    stream.write_all(&((1u32 << 20) + 1).to_be_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(a.frame(link).await, [7, 8]);
    assert!(a.down(link).await.contains("more than 1048576 bytes"));
    let mut rest = Vec::new();
    // Ended or reset, but over.
    let _either = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_frame_ends_the_link() {
    let mut a = Node::start(1, &[TCP]).await;
    let mut other = bare("/kith/peer/1").await;
    a.dial(other.key, std::slice::from_ref(&other.addr));
    let mut stream = accepted(&mut other).await;
    let (link, ..) = a.up().await;
    stream.write_all(&[0, 0, 0, 9, 7, 8]).await.unwrap();
    stream.close().await.unwrap();
    assert!(a.down(link).await.contains("in the middle of a frame"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_opens_many_links_has_one() {
    let mut a = Node::start(1, &[TCP]).await;
    let mut other = bare("/kith/nothing").await;
    let me: PeerId = peer_id_text(&a.key()).unwrap().parse().unwrap();
    // The node knows the way to it, so that the bare control needs no address.
    a.dial(other.key, std::slice::from_ref(&other.addr));
    assert!(a.failed().await.contains("another version"));
    let mut streams = Vec::new();
    while streams.len() < 20 {
        let mut s = other.control.open_stream(me, StreamProtocol::new("/kith/peer/1")).await.unwrap();
        let mut answer = [0];
        s.read_exact(&mut answer).await.unwrap();
        // Two may wait for their confirmation at once; a third is refused.
        assert!(answer == [1] || answer == [2]);
        if answer == [1] {
            s.write_all(&[1]).await.unwrap();
            s.flush().await.unwrap();
            streams.push(s);
        }
    }
    // Each newer one takes the place of the one before.
    let (mut up, mut down) = (0, 0);
    while (up, down) != (20, 19) {
        match a.event().await {
            NetEvent::Up { .. } => up += 1,
            NetEvent::Down { reason, .. } => {
                assert!(reason.contains("newer"), "{reason}");
                down += 1;
            }
            _ => {}
        }
    }
    let mut last = streams.pop().unwrap();
    last.write_all(&[0, 0, 0, 1, 5]).await.unwrap();
    last.flush().await.unwrap();
    assert!(matches!(a.event().await, NetEvent::Frame { frame, .. } if frame == [5]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_says_nothing_is_no_link() {
    let mut a = Node::start(1, &[TCP]).await;
    let mut other = bare("/kith/peer/1").await;
    let me: PeerId = peer_id_text(&a.key()).unwrap().parse().unwrap();
    a.dial(other.key, std::slice::from_ref(&other.addr));
    let stream = accepted(&mut other).await;
    let (link, ..) = a.up().await;
    // Offered but never confirmed: the standing link is not touched.
    let mut silent = Vec::new();
    for _ in 0..5 {
        silent.push(other.control.open_stream(me, StreamProtocol::new("/kith/peer/1")).await.unwrap());
    }
    a.send(link, vec![1]);
    let mut stream = stream;
    let mut frame = [0; 5];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame, [0, 0, 0, 1, 1]);
    drop(silent);
}
