//! The ceiling of a file transfer: one process reads a file and sends it over
//! one bare stream in frames of 256 KiB, another writes it with fdatasync at
//! the end.
//!
//! `bulk give (quic|tcp|plain) IP:PORT MIB PATH` makes the file, prints
//! `ready: ADDRESS` and gives it once. `bulk take (quic|tcp|plain) ADDRESS
//! PATH` takes it and prints `rate: MiB/s`, from the opening of the stream to
//! the end of fdatasync.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Instant;

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{StreamProtocol, SwarmEvent};
use libp2p::{Multiaddr, SwarmBuilder, noise, tcp, yamux};

type Fault = Box<dyn std::error::Error + Send + Sync>;

const FRAME: usize = 256 << 10;
const PROTOCOL: StreamProtocol = StreamProtocol::new("/kith/bench/bulk/1");
const USAGE: &str = "bulk give (quic|tcp|plain) IP:PORT MIB PATH | bulk take (quic|tcp|plain) ADDRESS PATH";

fn main() -> Result<(), Fault> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match args[..] {
        ["give", kind, at, mib, path] => {
            let path = Path::new(path);
            make(path, mib.parse::<usize>()? * 4)?;
            if kind == "plain" { give_plain(at, path) } else { runtime.block_on(give(kind, at, path)) }
        }
        ["take", kind, address, path] => {
            let path = Path::new(path);
            let (bytes, begin) = if kind == "plain" {
                take_plain(address, path)?
            } else {
                runtime.block_on(take(address, path))?
            };
            println!("rate: {:.3}", bytes as f64 / f64::from(1 << 20) / begin.elapsed().as_secs_f64());
            Ok(())
        }
        _ => Err(USAGE.into()),
    }
}

/// A file of so many frames of noise.
fn make(path: &Path, frames: usize) -> Result<(), Fault> {
    let mut file = File::create(path)?;
    let noise: Vec<u8> = (0..FRAME).map(|i| (i.wrapping_mul(2_654_435_761) >> 7) as u8).collect();
    for _ in 0..frames {
        file.write_all(&noise)?;
    }
    Ok(file.sync_all()?)
}

fn ready(address: &str) -> Result<(), Fault> {
    println!("ready: {address}");
    Ok(std::io::stdout().flush()?)
}

fn give_plain(at: &str, path: &Path) -> Result<(), Fault> {
    let listener = std::net::TcpListener::bind(at)?;
    ready(&listener.local_addr()?.to_string())?;
    let (mut to, _) = listener.accept()?;
    let mut file = File::open(path)?;
    let mut frame = vec![0; FRAME];
    loop {
        let n = file.read(&mut frame)?;
        if n == 0 {
            return Ok(());
        }
        to.write_all(&frame[..n])?;
    }
}

fn take_plain(address: &str, path: &Path) -> Result<(u64, Instant), Fault> {
    let mut from = std::net::TcpStream::connect(address)?;
    let begin = Instant::now();
    let mut out = File::create(path)?;
    let (mut frame, mut bytes) = (vec![0; FRAME], 0);
    loop {
        let n = from.read(&mut frame)?;
        if n == 0 {
            break;
        }
        out.write_all(&frame[..n])?;
        bytes += n as u64;
    }
    out.sync_data()?;
    Ok((bytes, begin))
}

fn swarm() -> Result<libp2p::Swarm<libp2p_stream::Behaviour>, Fault> {
    Ok(SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
        .with_quic()
        .with_behaviour(|_| libp2p_stream::Behaviour::new())?
        .build())
}

async fn give(kind: &str, at: &str, path: &Path) -> Result<(), Fault> {
    let mut swarm = swarm()?;
    let (ip, port) = at.split_once(':').ok_or(USAGE)?;
    let listen = match kind {
        "quic" => format!("/ip4/{ip}/udp/{port}/quic-v1"),
        _ => format!("/ip4/{ip}/tcp/{port}"),
    };
    swarm.listen_on(listen.parse()?)?;
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address;
        }
    };
    ready(&address.with(Protocol::P2p(*swarm.local_peer_id())).to_string())?;
    let mut incoming = swarm.behaviour().new_control().accept(PROTOCOL)?;
    tokio::spawn(async move { while swarm.next().await.is_some() {} });
    let (_, mut stream) = incoming.next().await.ok_or("no stream came in")?;
    let mut file = File::open(path)?;
    let mut frame = vec![0; FRAME];
    loop {
        let n = file.read(&mut frame)?;
        if n == 0 {
            break;
        }
        stream.write_all(&frame[..n]).await?;
    }
    stream.close().await?;
    // The other side ends the stream when it has everything.
    let _ended = stream.read(&mut frame).await;
    Ok(())
}

async fn take(address: &str, path: &Path) -> Result<(u64, Instant), Fault> {
    let mut swarm = swarm()?;
    let address: Multiaddr = address.parse()?;
    let peer = address.iter().find_map(|part| match part {
        Protocol::P2p(peer) => Some(peer),
        _ => None,
    });
    let peer = peer.ok_or("the address names no peer")?;
    swarm.dial(address)?;
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished { .. } => break,
            SwarmEvent::OutgoingConnectionError { error, .. } => return Err(error.into()),
            _ => {}
        }
    }
    let mut control = swarm.behaviour().new_control();
    tokio::spawn(async move { while swarm.next().await.is_some() {} });
    let begin = Instant::now();
    let mut stream = control.open_stream(peer, PROTOCOL).await?;
    // A stream is there for the other side once something was said on it.
    stream.flush().await?;
    let mut out = File::create(path)?;
    let (mut frame, mut bytes) = (vec![0; FRAME], 0);
    loop {
        let n = stream.read(&mut frame).await?;
        if n == 0 {
            break;
        }
        out.write_all(&frame[..n])?;
        bytes += n as u64;
    }
    out.sync_data()?;
    Ok((bytes, begin))
}
