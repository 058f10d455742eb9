//! A connection on which nothing arrives any more, without any notice.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::*;

/// Passes bytes on until it is told to swallow them.
fn pass(mut from: TcpStream, mut to: TcpStream, cut: &AtomicBool) {
    let mut buf = vec![0; 1 << 16];
    while let Ok(n @ 1..) = from.read(&mut buf) {
        if !cut.load(Ordering::SeqCst) && to.write_all(&buf[..n]).is_err() {
            return;
        }
    }
}

/// A way over TCP that can be cut without either end being told.
struct Way {
    addr: String,
    /// Of the connections that are made now.
    cut: Arc<Mutex<Arc<AtomicBool>>>,
}

impl Way {
    /// Leads to where this address leads.
    fn to(addr: &str) -> Self {
        let port: u16 = addr.rsplit('/').next().unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port());
        let cut = Arc::new(Mutex::new(Arc::new(AtomicBool::new(false))));
        let now = cut.clone();
        std::thread::spawn(move || {
            while let Ok((near, _)) = listener.accept() {
                let far = TcpStream::connect(("127.0.0.1", port)).unwrap();
                let cut = now.lock().unwrap().clone();
                let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let cut_too = cut.clone();
                std::thread::spawn(move || pass(near, far_too, &cut));
                std::thread::spawn(move || pass(far, near_too, &cut_too));
            }
        });
        Self { addr, cut }
    }

    /// What stands falls silent; what is made from now on works.
    fn cut(&self) {
        std::mem::take(&mut *self.cut.lock().unwrap()).store(true, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_cut_is_noticed_by_a_check_on_both_sides() {
    let mut a = Node::start(1, &[]).await;
    let mut b = Node::start(2, &[TCP]).await;
    let way = Way::to(&b.addrs[0]);
    a.dial(b.key(), std::slice::from_ref(&way.addr));
    let (at_a, ..) = a.up().await;
    let (at_b, ..) = b.up().await;
    way.cut();
    // By themselves they would ask in two minutes.
    for (node, link) in [(&mut a, at_a), (&mut b, at_b)] {
        node.command(NetCommand::Check);
        assert!(node.down(link).await.contains("stopped answering"));
    }
}

/// However often a client is killed and comes again, what it left behind at the
/// relay does not keep it out.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_client_left_behind_does_not_keep_it_out() {
    let mut relay = Relay::start(11, &[TCP]).await;
    let way = Way::to(&relay.addrs[0]);
    for _ in 0..24 {
        let mut node = Node::start(1, &[]).await;
        let addrs = vec![way.addr.clone()];
        node.command(NetCommand::Dial { kind: LinkKind::Log, peer: relay.key(), addrs, patient: true });
        node.up().await;
        while !matches!(relay.event().await, ServerEvent::Up { .. }) {}
        way.cut();
    }
}

/// Circuits lead to where a node is now, not to what it left behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_circuit_leads_to_the_newest_reservation() {
    let relay = Relay::start(11, &[TCP]).await;
    let way = Way::to(&relay.addrs[0]);
    for _ in 0..6 {
        let mut b = relays::hidden(2).await;
        b.command(NetCommand::Reserve { relays: vec![(relay.key(), vec![way.addr.clone()])] });
        relays::stands(&mut b).await;
        way.cut();
    }
    let mut b = relays::hidden(2).await;
    b.command(NetCommand::Reserve { relays: vec![(relay.key(), relay.addrs.clone())] });
    relays::stands(&mut b).await;
    let mut a = relays::hidden(1).await;
    a.dial(b.key(), &[relay.circuit()]);
    let (_, peer, _, path) = a.up().await;
    assert_eq!((peer, path), (b.key(), Path::Circuit));
    assert_eq!(b.up().await.3, Path::Circuit);
}
