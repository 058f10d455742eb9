//! A long and lossy way for UDP between two namespaces, for kernels without
//! `netem`: two processes that stand in for the far side, joined by a cable.
//!
//! Each one holds the far node's address in the near node's network, so that
//! nodes know nothing of it: what comes for any port there is held for half
//! the round trip, lost now and then, and said again by the other process,
//! from the very port that it came from.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::random::Random;

/// Longest datagram that passes.
const DATAGRAM: usize = 2_048;
/// Ports of one side that are stood in for; packets of more are lost.
const PORTS_MAX: usize = 64;
/// Packets on their way in one direction; further ones are lost, as at a full
/// router.
const HELD_MAX: usize = 32 << 10;
/// Two ports in front of what passes on the cable.
const HEAD: usize = 4;

/// What `cargo xtask` is called with in a namespace:
/// `distance FAR_IP FAR_PORT NEAR_IP CABLE OTHER_CABLE DELAY_MS LOSS_PER_MILLE SEED`.
pub(crate) fn run(args: &[String]) -> Result<bool> {
    let [far, far_port, near, cable, other, delay, loss, seed] = args else {
        bail!("a distance takes eight arguments");
    };
    let ip = |text: &String| text.parse::<Ipv4Addr>().with_context(|| format!("{text:?} is no address"));
    let cable: SocketAddr = cable.parse().context("the cable's end")?;
    let link = UdpSocket::bind(cable)?;
    link.connect(other.parse::<SocketAddr>().context("the cable's other end")?)?;
    let (held, due) = sync_channel(HELD_MAX);
    let side = Arc::new(Side {
        far: ip(far)?,
        near: ip(near)?,
        ports: Mutex::new(BTreeMap::new()),
        way: Mutex::new((held, Random::new(seed.parse()?))),
        delay: Duration::from_millis(delay.parse()?),
        loss: loss.parse()?,
    });
    let sending = link.try_clone()?;
    thread::spawn(move || pass(&due, &sending));
    side.port(far_port.parse()?)?;
    println!("ready: {cable}");
    let mut packet = [0; DATAGRAM];
    loop {
        let n = link.recv(&mut packet).unwrap_or(0);
        let Some((head, payload)) = packet.get(..n).and_then(|p| p.split_at_checked(HEAD)) else { continue };
        let [from, to] = [[head[0], head[1]], [head[2], head[3]]].map(u16::from_be_bytes);
        if let Ok(socket) = side.port(from) {
            // A packet that cannot be sent is lost, as they are.
            let _lost = socket.send_to(payload, SocketAddrV4::new(side.near, to));
        }
    }
}

/// A datagram and when it is let go.
type Late = (Instant, Vec<u8>);

struct Side {
    /// Whom we stand in for.
    far: Ipv4Addr,
    /// Who is here.
    near: Ipv4Addr,
    ports: Mutex<BTreeMap<u16, Arc<UdpSocket>>>,
    /// What is on its way, and the dice.
    way: Mutex<(SyncSender<Late>, Random)>,
    delay: Duration,
    /// Of a thousand.
    loss: u64,
}

impl Side {
    /// The socket at one of the far side's ports.
    fn port(self: &Arc<Self>, port: u16) -> Result<Arc<UdpSocket>> {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(socket) = ports.get(&port) {
            return Ok(Arc::clone(socket));
        }
        if ports.len() >= PORTS_MAX {
            bail!("too many ports");
        }
        let socket = Arc::new(UdpSocket::bind((self.far, port))?);
        ports.insert(port, Arc::clone(&socket));
        let (side, hearing) = (Arc::clone(self), Arc::clone(&socket));
        thread::spawn(move || side.hear(&hearing, port));
        Ok(socket)
    }

    /// Takes what the near node says to a port of the far one.
    fn hear(&self, socket: &UdpSocket, port: u16) {
        let mut packet = [0; DATAGRAM];
        loop {
            // A refused port is told here: it concerns one packet only.
            let Ok((n, from)) = socket.recv_from(&mut packet) else { continue };
            let Some(payload) = packet.get(..n) else { continue };
            let mut way = self.way.lock().unwrap_or_else(PoisonError::into_inner);
            if way.1.next() % 1_000 < self.loss {
                continue;
            }
            let head = [from.port().to_be_bytes(), port.to_be_bytes()].concat();
            let packet = (Instant::now() + self.delay, [&head[..], payload].concat());
            if let Err(TrySendError::Disconnected(_)) = way.0.try_send(packet) {
                return;
            }
        }
    }
}

/// Sends each packet when it is due.
fn pass(due: &Receiver<(Instant, Vec<u8>)>, link: &UdpSocket) {
    for (at, packet) in due {
        let wait = at.saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            thread::sleep(wait);
        }
        let _lost = link.send(&packet);
    }
}
