//! A connection on which nothing arrives any more, without any notice.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_cut_is_noticed_by_a_check_on_both_sides() {
    let mut a = Node::start(1, &[]).await;
    let mut b = Node::start(2, &[TCP]).await;
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = format!("/ip4/127.0.0.1/tcp/{}", proxy.local_addr().unwrap().port());
    let port: u16 = b.addrs[0].rsplit('/').next().unwrap().parse().unwrap();
    let cut = Arc::new(AtomicBool::new(false));
    let swallow = cut.clone();
    std::thread::spawn(move || {
        let near = proxy.accept().unwrap().0;
        let far = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        std::thread::scope(|s| {
            s.spawn(|| pass(near, far_too, &swallow));
            s.spawn(|| pass(far, near_too, &swallow));
        });
    });
    a.dial(b.key(), &[addr]);
    let (at_a, ..) = a.up().await;
    let (at_b, ..) = b.up().await;
    cut.store(true, Ordering::SeqCst);
    // By themselves they would ask in two minutes.
    for (node, link) in [(&mut a, at_a), (&mut b, at_b)] {
        node.command(NetCommand::Check);
        assert!(node.down(link).await.contains("stopped answering"));
    }
}
