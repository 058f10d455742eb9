//! Links between two nodes.

use super::*;
use kith_overlay::{OverlayError, SendError};
use kith_wire::limits::FRAME_BYTES_MAX;

async fn linked(a: &mut Node, b: &mut Node) -> (LinkId, LinkId, Path) {
    a.dial(b.key(), &b.addrs);
    let (at_a, peer, local, path) = a.up().await;
    assert_eq!((peer, local), (b.key(), a.key()));
    let (at_b, peer, local, path_b) = b.up().await;
    assert_eq!((peer, local, path_b), (a.key(), b.key(), path));
    (at_a, at_b, path)
}

async fn both_ways(listen: &str, expected: Path) {
    let mut a = Node::start(1, &[listen]).await;
    let mut b = Node::start(2, &[listen]).await;
    let (at_a, at_b, path) = linked(&mut a, &mut b).await;
    assert_eq!(path, expected);
    let frames: Vec<Vec<u8>> = (0..300u32)
        .map(|i| i.to_be_bytes().repeat(usize::try_from(i).unwrap() % 70))
        .chain([vec![7; FRAME_BYTES_MAX], vec![], vec![8; 100_000]])
        .collect();
    for frame in &frames {
        a.send(at_a, frame.clone());
        b.send(at_b, frame.clone());
    }
    for frame in &frames {
        assert!(a.frame(at_a).await == *frame && b.frame(at_b).await == *frame);
    }
    // Dialling again changes nothing, whoever does it.
    a.dial(b.key(), &b.addrs);
    b.dial(a.key(), &a.addrs);
    a.send(at_a, b"still this one".to_vec());
    assert!(matches!(b.event().await, NetEvent::Frame { link, .. } if link == at_b));
    a.command(NetCommand::Close { link: at_a });
    assert!(a.down(at_a).await.contains("this side closed"));
    assert!(b.down(at_b).await.contains("the other side closed"));
    // And after the end it may be dialled again.
    linked(&mut b, &mut a).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_go_both_ways_in_order_over_quic() {
    both_ways(QUIC, Path::DirectQuic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_go_both_ways_in_order_over_tcp() {
    both_ways(TCP, Path::DirectTcp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_when_a_link_is_closed_is_still_written() {
    let mut a = Node::start(1, &[TCP]).await;
    let mut b = Node::start(2, &[TCP]).await;
    let (at_a, at_b, _) = linked(&mut a, &mut b).await;
    for _ in 0..3 {
        a.send(at_a, vec![5; FRAME_BYTES_MAX]);
    }
    a.command(NetCommand::Close { link: at_a });
    for _ in 0..3 {
        assert_eq!(b.frame(at_b).await.len(), FRAME_BYTES_MAX);
    }
    b.down(at_b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_large_a_frame_is_refused_and_the_link_stands() {
    let mut a = Node::start(1, &[TCP]).await;
    let mut b = Node::start(2, &[TCP]).await;
    let (at_a, at_b, _) = linked(&mut a, &mut b).await;
    let frame = vec![0; FRAME_BYTES_MAX + 1];
    let refused = a.handle.try_send(NetCommand::Send { link: at_a, frame });
    assert!(matches!(refused, Err(SendError::TooLarge(_))));
    a.send(at_a, vec![1]);
    assert_eq!(b.frame(at_b).await, [1]);
}

/// Which links are up at a node, by the events so far.
fn standing(up: &mut Vec<LinkId>, event: &NetEvent) {
    match event {
        NetEvent::Up { link, .. } => up.push(*link),
        NetEvent::Down { link, .. } => up.retain(|l| l != link),
        NetEvent::DialFailed { reason, .. } => panic!("{reason}"),
        _ => {}
    }
}

/// Reads events until this frame came in, on the one link that stands.
async fn settled(node: &mut Node, up: &mut Vec<LinkId>, wanted: &[u8]) {
    loop {
        let event = node.event().await;
        standing(up, &event);
        if let NetEvent::Frame { frame, link } = &event
            && frame == wanted
        {
            assert_eq!(up, &[*link]);
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_dial_at_once_and_one_link_stands() {
    for round in 0..12u8 {
        let listen = if round % 2 == 0 { QUIC } else { TCP };
        let mut a = Node::start(1, &[listen]).await;
        let mut b = Node::start(2, &[listen]).await;
        a.dial(b.key(), &b.addrs);
        b.dial(a.key(), &a.addrs);
        let (mut at_a, mut at_b) = (Vec::new(), Vec::new());
        while at_a.is_empty() {
            let event = a.event().await;
            standing(&mut at_a, &event);
        }
        while at_b.is_empty() {
            let event = b.event().await;
            standing(&mut at_b, &event);
        }
        a.send(at_a[0], b"from a".to_vec());
        b.send(at_b[0], b"from b".to_vec());
        settled(&mut a, &mut at_a, b"from b").await;
        settled(&mut b, &mut at_b, b"from a").await;
    }
}

#[test]
fn a_killed_peer_is_noticed() {
    let here = tokio::runtime::Runtime::new().unwrap();
    let there = tokio::runtime::Runtime::new().unwrap();
    for listen in [QUIC, TCP] {
        let mut b = there.block_on(Node::start(2, &[listen]));
        let (mut a, at_a) = here.block_on(async {
            let mut a = Node::start(1, &[listen]).await;
            a.dial(b.key(), &b.addrs);
            let (at_a, ..) = a.up().await;
            (a, at_a)
        });
        there.block_on(b.up());
        drop(b);
        assert!(!here.block_on(a.down(at_a)).is_empty());
    }
    // The whole runtime goes at once: no goodbye is said over TCP, the
    // system's reset tells; over QUIC the idle timeout does.
    let mut b = there.block_on(Node::start(2, &[TCP]));
    here.block_on(async {
        let mut a = Node::start(1, &[TCP]).await;
        a.dial(b.key(), &b.addrs);
        let (at_a, ..) = a.up().await;
        there.spawn(async move {
            let _kept = b.event().await;
            std::future::pending::<()>().await;
        });
        there.shutdown_background();
        assert!(!a.down(at_a).await.is_empty());
    });
}

/// A peer that vanishes without a word is found out by a check, not by the
/// transport a minute later; who answers is left alone.
#[test]
fn a_check_ends_what_does_not_answer_and_nothing_else() {
    let here = tokio::runtime::Runtime::new().unwrap();
    let there = tokio::runtime::Runtime::new().unwrap();
    let mut silent = there.block_on(Node::start(2, &[QUIC]));
    let (mut a, mut c, at_a, at_c, to_silent) = here.block_on(async {
        let mut a = Node::start(1, &[QUIC]).await;
        let mut c = Node::start(3, &[QUIC]).await;
        let (at_a, at_c, _) = linked(&mut a, &mut c).await;
        a.dial(silent.key(), &silent.addrs);
        let (to_silent, ..) = a.up().await;
        (a, c, at_a, at_c, to_silent)
    });
    there.spawn(async move {
        let _kept = silent.event().await;
        std::future::pending::<()>().await;
    });
    // Its threads have ended before the check asks: one that is still on its
    // way out might answer.
    there.shutdown_timeout(std::time::Duration::from_secs(60));
    here.block_on(async {
        a.command(NetCommand::Check);
        assert!(a.down(to_silent).await.contains("stopped answering"));
        a.send(at_a, b"still here".to_vec());
        let mut at_c = vec![at_c];
        settled(&mut c, &mut at_c, b"still here").await;
        // A link can be cut at once, too.
        a.command(NetCommand::Cut { link: at_a });
        assert!(a.down(at_a).await.contains("stopped answering"));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_peer_gets_a_new_link() {
    let mut a = Node::start(1, &[TCP]).await;
    let mut b = Node::start(2, &[TCP]).await;
    let (at_a, ..) = linked(&mut a, &mut b).await;
    b.handle.shutdown().await;
    let mut b = Node::start(2, &[TCP]).await;
    b.dial(a.key(), &a.addrs);
    let (at_b, ..) = b.up().await;
    let mut links = vec![at_a];
    b.send(at_b, b"again".to_vec());
    settled(&mut a, &mut links, b"again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_too_slowly_is_cut_with_the_reason() {
    let mut a = Node::start(1, &[TCP]).await;
    let mut config = Node::config(2, &[TCP]);
    config.events = 1;
    let mut b = Node::with(config);
    b.until(|e| matches!(e, NetEvent::Addresses { .. })).await;
    a.dial(b.key(), &b.addrs);
    let (at_a, ..) = a.up().await;
    b.up().await;
    // From here on b's events are not read.
    let handle = a.handle.clone();
    let reason = loop {
        tokio::select! {
            biased;
            reason = a.down(at_a) => break reason,
            () = async {
                for _ in 0..8 {
                    handle.try_send(NetCommand::Send { link: at_a, frame: vec![1; 64 << 10] }).unwrap();
                }
                tokio::task::yield_now().await;
            } => {}
        }
    };
    assert!(reason.contains("too slowly"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_dialled_is_told_in_a_sentence() {
    let mut a = Node::start(1, &[TCP]).await;
    let b = Node::start(2, &[TCP]).await;
    let c = Node::start(3, &[TCP]).await;
    a.dial(a.key(), &a.addrs);
    assert!(a.failed().await.contains("the node itself"));
    a.dial(b.key(), &[]);
    assert!(a.failed().await.contains("no address"));
    a.dial(b.key(), &["rubbish".into(), "/ip4/1.2.3.4".into(), "/memory/1".into()]);
    assert!(a.failed().await.contains("no address"));
    a.dial(b.key(), &c.addrs);
    assert!(a.failed().await.contains("somebody else"));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    a.dial(b.key(), &[format!("/ip4/127.0.0.1/tcp/{port}")]);
    assert!(a.failed().await.contains("nobody answers"));
    let no_point = (0..).map(|n| PeerKey([n; 32])).find(|k| peer_id_text(k).is_none()).unwrap();
    a.dial(no_point, &b.addrs);
    assert!(a.failed().await.contains("not valid"));
    let mut config = Node::config(1, &[TCP]);
    config.direct = false;
    let mut a = Node::with(config);
    a.dial(b.key(), &b.addrs);
    assert!(a.failed().await.contains("switched off"));
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_connections_can_be_switched_off_and_on() {
    let mut a = Node::start(1, &[TCP]).await;
    let mut b = Node::start(2, &[TCP]).await;
    let (at_a, at_b, _) = linked(&mut a, &mut b).await;
    let addrs = a.addrs.clone();
    a.handle.set_direct(false);
    assert!(a.down(at_a).await.contains("switched"));
    b.down(at_b).await;
    while !a.addrs.is_empty() {
        a.event().await;
    }
    b.dial(a.key(), &addrs);
    b.failed().await;
    a.handle.set_direct(true);
    a.until(|e| matches!(e, NetEvent::Addresses { addrs } if !addrs.is_empty())).await;
    linked(&mut b, &mut a).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_settings_are_told_in_sentences() {
    let mut config = Node::config(1, &["127.0.0.1:4001"]);
    assert!(matches!(Overlay::spawn(config.clone()), Err(OverlayError::Address(_))));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    config.listen = vec![format!("/ip4/127.0.0.1/tcp/{}", taken.local_addr().unwrap().port())];
    let error = Overlay::spawn(config.clone()).unwrap_err();
    assert!(matches!(error, OverlayError::PortInUse(_)), "{error}");
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    config.listen = vec![format!("/ip4/127.0.0.1/udp/{}/quic-v1", taken.local_addr().unwrap().port())];
    let error = Overlay::spawn(config.clone()).unwrap_err();
    assert!(matches!(error, OverlayError::PortInUse(_)), "{error}");
    // A second node, although libp2p itself would share the port.
    let other = Node::start(2, &[TCP]).await;
    config.listen.clone_from(&other.addrs);
    let error = Overlay::spawn(config.clone()).unwrap_err();
    assert!(matches!(error, OverlayError::PortInUse(_)), "{error}");
    config.listen = vec!["/ip4/192.0.2.77/tcp/0".into()];
    assert!(Overlay::spawn(config.clone()).unwrap_err().to_string().contains("does not have that address"));
    config.listen = vec!["/dns4/localhost/tcp/0".into()];
    assert!(matches!(Overlay::spawn(config), Err(OverlayError::Address(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_shutdown_everything_is_closed() {
    let mut a = Node::start(1, &[TCP]).await;
    let mut b = Node::start(2, &[TCP]).await;
    let (at_a, at_b, _) = linked(&mut a, &mut b).await;
    a.handle.shutdown().await;
    assert!(a.down(at_a).await.contains("shutting down"));
    assert!(matches!(a.handle.try_send(NetCommand::Close { link: at_a }), Err(SendError::Closed)));
    assert!(a.events.recv().await.is_none(), "the events end although the handle is there");
    b.down(at_b).await;
}
