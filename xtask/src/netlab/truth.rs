//! Ground truth: whether bare sockets, with nothing of Kith, get through a
//! pair of translating machines when both sides send at once.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use socket2::{Domain, Socket, Type};

use super::street::{SERVER, Street};

/// How long both sides keep trying.
const TRYING: Duration = Duration::from_secs(3);
/// Between two datagrams.
const STEP: Duration = Duration::from_millis(100);

/// What gets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Truth {
    pub(super) udp: bool,
    pub(super) tcp: bool,
}

/// Tries both.
pub(super) fn measure(street: &Street) -> Result<Truth> {
    Ok(Truth { udp: udp(street)?, tcp: tcp(street)? })
}

/// Each side learns its outside address from the server, then both send to
/// each other's, and to wherever something comes from.
fn udp(street: &Street) -> Result<bool> {
    let server = street.server.within(|| Ok(UdpSocket::bind((SERVER[0], 0))?))?;
    server.set_read_timeout(Some(Duration::from_secs(1)))?;
    let at = server.local_addr()?;
    let mut sockets = Vec::new();
    let mut outside = Vec::new();
    for home in &street.homes {
        let socket = home.host.within(|| Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?))?;
        socket.send_to(b"who am I", at)?;
        let mut buffer = [0; 64];
        // Nothing comes where UDP is blocked.
        let Ok((_, seen)) = server.recv_from(&mut buffer) else { return Ok(false) };
        socket.set_read_timeout(Some(STEP / 2))?;
        sockets.push(socket);
        outside.push(seen);
    }
    let mut heard = [false; 2];
    let mut to: Vec<SocketAddr> = outside.iter().rev().copied().collect();
    let end = Instant::now() + TRYING;
    while Instant::now() < end && heard != [true; 2] {
        for (i, socket) in sockets.iter().enumerate() {
            let _filtered = socket.send_to(b"hello", to[i]);
        }
        for (i, socket) in sockets.iter().enumerate() {
            let mut buffer = [0; 64];
            if let Ok((_, from)) = socket.recv_from(&mut buffer) {
                heard[i] = true;
                to[i] = from;
                socket.send_to(b"hello", from)?;
            }
        }
    }
    Ok(heard == [true; 2])
}

fn bound(port: u16) -> Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
    Ok(socket)
}

/// The same with connections: both connect at once, out of the port that the
/// server has seen.
fn tcp(street: &Street) -> Result<bool> {
    let server = street.server.within(|| Ok(TcpListener::bind((SERVER[0], 0))?))?;
    let at = server.local_addr()?;
    let mut ready = Vec::new();
    let mut seen_by_server: Vec<TcpStream> = Vec::new();
    let mut outside = Vec::new();
    for home in &street.homes {
        let (first, second) = home.host.within(|| {
            let first = bound(0)?;
            let port = first.local_addr()?.as_socket().context("an address")?.port();
            Ok((first, bound(port)?))
        })?;
        if first.connect_timeout(&at.into(), TRYING).is_err() {
            return Ok(false);
        }
        let (stream, seen) = server.accept()?;
        seen_by_server.push(stream);
        outside.push(seen);
        ready.push((first, second));
    }
    let to: Vec<SocketAddr> = outside.iter().rev().copied().collect();
    let threads: Vec<_> = ready
        .into_iter()
        .zip(to)
        .map(|((first, second), to)| {
            std::thread::spawn(move || {
                // A side that is a moment late refuses what a cone lets in:
                // one that listens, as every node does, would not.
                let end = Instant::now() + TRYING;
                let mut through = false;
                while !through && Instant::now() < end {
                    through = second.connect_timeout(&to.into(), TRYING).is_ok();
                }
                drop(first);
                through
            })
        })
        .collect();
    let mut through = true;
    for thread in threads {
        through &= thread.join().unwrap_or(false);
    }
    Ok(through)
}
