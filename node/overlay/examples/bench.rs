//! Prints what the overlay costs beside a bare libp2p stream on the same
//! machine: `cargo run --release -p kith-overlay --example bench`.

use std::time::{Duration, Instant};

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use kith_overlay::{ClientConfig, Overlay, OverlayHandle, peer_key_from_text};
use kith_wire::crypto::Secret;
use kith_wire::net::{LinkId, LinkKind, NetCommand, NetEvent, Path};
use libp2p::swarm::{Stream, StreamProtocol, SwarmEvent};
use libp2p::{SwarmBuilder, noise, tcp, yamux};
use tokio::sync::mpsc::Receiver;

type Fault = Box<dyn std::error::Error>;

const FRAME: usize = 200;
const ROUNDS: usize = 5_000;
const WARM_UP: usize = 500;
const FRAMES: usize = 200_000;
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
const TCP: &str = "/ip4/127.0.0.1/tcp/0";

#[tokio::main]
async fn main() -> Result<(), Fault> {
    for (name, listen) in [("tcp", TCP), ("quic", QUIC)] {
        overlay(name, listen).await?;
    }
    bare("tcp", TCP).await?;
    bare("quic", QUIC).await
}

fn show(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    for (tag, per_mille) in [("p50", 500), ("p99", 990)] {
        let at = times.get(times.len() * per_mille / 1000).copied().unwrap_or_default();
        println!("{name} {tag} {:.1}", at.as_secs_f64() * 1e6);
    }
}

struct End {
    handle: OverlayHandle,
    events: Receiver<NetEvent>,
    addrs: Vec<String>,
}

async fn end(n: u8, listen: &str) -> Result<End, Fault> {
    let mut config = ClientConfig::new(Secret::new([n; 32]), [n; 32]);
    config.listen = vec![listen.into()];
    let (handle, mut events) = Overlay::spawn(config)?;
    loop {
        if let NetEvent::Addresses { addrs } = next(&mut events).await? {
            return Ok(End { handle, events, addrs });
        }
    }
}

async fn next(events: &mut Receiver<NetEvent>) -> Result<NetEvent, Fault> {
    Ok(events.recv().await.ok_or("the overlay ended")?)
}

async fn up(events: &mut Receiver<NetEvent>) -> Result<(LinkId, Path), Fault> {
    loop {
        match next(events).await? {
            NetEvent::Up { link, path, .. } => return Ok((link, path)),
            NetEvent::DialFailed { reason, .. } => return Err(reason.into()),
            _ => {}
        }
    }
}

async fn frame(events: &mut Receiver<NetEvent>) -> Result<Vec<u8>, Fault> {
    loop {
        match next(events).await? {
            NetEvent::Frame { frame, .. } => return Ok(frame),
            NetEvent::Down { reason, .. } => return Err(reason.into()),
            _ => {}
        }
    }
}

async fn overlay(name: &str, listen: &str) -> Result<(), Fault> {
    let (mut a, mut b) = (end(1, listen).await?, end(2, listen).await?);
    let dial = NetCommand::Dial {
        kind: LinkKind::Peer,
        peer: b.handle.local_key(),
        addrs: b.addrs.clone(),
        patient: true,
    };
    a.handle.try_send(dial)?;
    let (at_a, path) = up(&mut a.events).await?;
    let (at_b, _) = up(&mut b.events).await?;
    println!("# overlay over {name}: {path:?}");
    let echo = b.handle.clone();
    // The echo answers one round at a time, then only counts.
    let far = tokio::spawn(async move {
        for _ in 0..WARM_UP + ROUNDS {
            let Ok(f) = frame(&mut b.events).await else { return };
            let _told_by_down = echo.try_send(NetCommand::Send { link: at_b, frame: f });
        }
        for i in 1..=FRAMES {
            if frame(&mut b.events).await.is_err() {
                return;
            }
            if i % WINDOW == 0 {
                let _told_by_down = echo.try_send(NetCommand::Send { link: at_b, frame: vec![1] });
            }
        }
    });
    let mut times = Vec::with_capacity(ROUNDS);
    for round in 0..WARM_UP + ROUNDS {
        let start = Instant::now();
        a.handle.try_send(NetCommand::Send { link: at_a, frame: vec![0; FRAME] })?;
        frame(&mut a.events).await?;
        if round >= WARM_UP {
            times.push(start.elapsed());
        }
    }
    show(&format!("overlay.rtt_us[{name}]"), times);
    let start = Instant::now();
    let mut allowed = 2 * WINDOW;
    for i in 0..FRAMES {
        while i >= allowed {
            frame(&mut a.events).await?;
            allowed += WINDOW;
        }
        a.handle.try_send(NetCommand::Send { link: at_a, frame: vec![0; FRAME] })?;
    }
    far.await?;
    println!("overlay.frames_per_s[{name}] {:.0}", FRAMES as f64 / start.elapsed().as_secs_f64());
    a.handle.shutdown().await;
    Ok(())
}

/// Frames between two acknowledgements; two windows may be under way, which
/// fits into a link's queue.
const WINDOW: usize = 400;

async fn bare(name: &str, listen: &str) -> Result<(), Fault> {
    let protocol = StreamProtocol::new("/bench/1");
    let build = || -> Result<_, Fault> {
        Ok(SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
            .with_quic()
            .with_behaviour(|_| libp2p_stream::Behaviour::new())?
            .with_swarm_config(|c| c.with_idle_connection_timeout(Duration::from_secs(60)))
            .build())
    };
    let (mut a, mut b) = (build()?, build()?);
    b.listen_on(listen.parse()?)?;
    let addr = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = b.select_next_some().await {
            break address;
        }
    };
    let far = *b.local_peer_id();
    peer_key_from_text(&far.to_base58()).ok_or("no Ed25519 key")?;
    a.add_peer_address(far, addr.clone());
    a.dial(libp2p::swarm::dial_opts::DialOpts::peer_id(far).addresses(vec![addr]).build())?;
    let mut incoming = b.behaviour().new_control().accept(protocol.clone())?;
    let mut control = a.behaviour().new_control();
    for mut swarm in [a, b] {
        tokio::spawn(async move {
            loop {
                swarm.select_next_some().await;
            }
        });
    }
    let echo = tokio::spawn(async move {
        let Some((_, mut s)) = incoming.next().await else { return };
        let mut f = [0; FRAME];
        while s.read_exact(&mut f).await.is_ok() {
            if s.write_all(&f).await.is_err() || s.flush().await.is_err() {
                return;
            }
        }
    });
    let mut s: Stream = control.open_stream(far, protocol).await.map_err(|e| e.to_string())?;
    let mut times = Vec::with_capacity(ROUNDS);
    let mut f = [0; FRAME];
    for round in 0..WARM_UP + ROUNDS {
        let start = Instant::now();
        s.write_all(&f).await?;
        s.flush().await?;
        s.read_exact(&mut f).await?;
        if round >= WARM_UP {
            times.push(start.elapsed());
        }
    }
    show(&format!("overlay.libp2p_rtt_us[{name}]"), times);
    s.close().await?;
    echo.await?;
    Ok(())
}
