//! The ceiling of a file transfer: reads a file, sends it over one bare
//! stream in frames of 256 KiB, writes it with fdatasync at the end; both
//! ends in one process. `bulk (quic|tcp|plain) MIB FOLDER` prints `rate: MiB/s`.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Instant;

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::swarm::{StreamProtocol, SwarmEvent};
use libp2p::{SwarmBuilder, noise, tcp, yamux};

type Fault = Box<dyn std::error::Error + Send + Sync>;

const FRAME: usize = 256 << 10;
const PROTOCOL: StreamProtocol = StreamProtocol::new("/kith/bench/bulk/1");

fn main() -> Result<(), Fault> {
    let args: Vec<String> = std::env::args().collect();
    let [_, kind, mib, folder] = &args[..] else { return Err("bulk (quic|tcp|plain) MIB FOLDER".into()) };
    let frames = mib.parse::<usize>()? * 4;
    let (from, to) = (Path::new(folder).join("bulk-from"), Path::new(folder).join("bulk-to"));
    let mut file = File::create(&from)?;
    let noise: Vec<u8> = (0..FRAME).map(|i| (i.wrapping_mul(2_654_435_761) >> 7) as u8).collect();
    for _ in 0..frames {
        file.write_all(&noise)?;
    }
    file.sync_all()?;
    let begin = Instant::now();
    if kind == "plain" {
        plain(&from, &to, frames)?;
    } else {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(stream(kind, &from, &to, frames))?;
    }
    println!("rate: {:.1}", frames as f64 / 4.0 / begin.elapsed().as_secs_f64());
    std::fs::remove_file(from)?;
    std::fs::remove_file(to)?;
    Ok(())
}

fn plain(from: &Path, to: &Path, frames: usize) -> Result<(), Fault> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let mut sending = std::net::TcpStream::connect(listener.local_addr()?)?;
    let mut file = File::open(from)?;
    let sender = std::thread::spawn(move || -> Result<(), Fault> {
        let mut frame = vec![0; FRAME];
        for _ in 0..frames {
            file.read_exact(&mut frame)?;
            sending.write_all(&frame)?;
        }
        Ok(())
    });
    let (mut receiving, _) = listener.accept()?;
    let mut out = File::create(to)?;
    let mut frame = vec![0; FRAME];
    for _ in 0..frames {
        receiving.read_exact(&mut frame)?;
        out.write_all(&frame)?;
    }
    out.sync_data()?;
    sender.join().map_err(|_| "the sender failed")?
}

fn swarm() -> Result<libp2p::Swarm<libp2p_stream::Behaviour>, Fault> {
    Ok(SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
        .with_quic()
        .with_behaviour(|_| libp2p_stream::Behaviour::new())?
        .build())
}

async fn stream(kind: &str, from: &Path, to: &Path, frames: usize) -> Result<(), Fault> {
    let listen = if kind == "quic" { "/ip4/127.0.0.1/udp/0/quic-v1" } else { "/ip4/127.0.0.1/tcp/0" };
    let (mut a, mut b) = (swarm()?, swarm()?);
    a.listen_on(listen.parse()?)?;
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = a.select_next_some().await {
            break address;
        }
    };
    let peer = *a.local_peer_id();
    let mut incoming = a.behaviour().new_control().accept(PROTOCOL)?;
    let mut control = b.behaviour().new_control();
    b.dial(address)?;
    loop {
        tokio::select! {
            _ = a.select_next_some() => {}
            event = b.select_next_some() => if matches!(event, SwarmEvent::ConnectionEstablished { .. }) {
                break;
            },
        }
    }
    let first = tokio::spawn(async move { while a.next().await.is_some() {} });
    let second = tokio::spawn(async move { while b.next().await.is_some() {} });
    let mut file = File::open(from)?;
    let sender = tokio::spawn(async move {
        let mut stream = control.open_stream(peer, PROTOCOL).await?;
        let mut frame = vec![0; FRAME];
        for _ in 0..frames {
            file.read_exact(&mut frame)?;
            stream.write_all(&frame).await?;
        }
        stream.close().await?;
        Ok::<_, Fault>(())
    });
    let (_, mut stream) = incoming.next().await.ok_or("no stream came in")?;
    let mut out = File::create(to)?;
    let mut frame = vec![0; FRAME];
    for _ in 0..frames {
        stream.read_exact(&mut frame).await?;
        out.write_all(&frame)?;
    }
    out.sync_data()?;
    sender.await??;
    first.abort();
    second.abort();
    Ok(())
}
