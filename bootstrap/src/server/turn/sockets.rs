//! The sockets of the TURN server: clients over UDP and TCP, relayed addresses.
//!
//! Every packet is handled where it is read, under one lock that is held for
//! microseconds; nothing waits behind a slow receiver, what does not fit into
//! a socket or a stream's queue is dropped as a network would.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use kith_bootstrap::Now;
use kith_bootstrap::turn::{Client, FRAME_BYTES_MAX, Machine, Output, RelayId, Relays, Rules, frame_len};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// The largest datagram that is read.
const DATAGRAM_BYTES_MAX: usize = 1 << 16;
/// Frames that wait to be written to one stream; more are dropped.
const QUEUE_MAX: usize = 256;
/// Ports that are tried before there is none.
const PORT_TRIES: u64 = 64;
/// Streams at once, over those with an allocation.
const SPARE_STREAMS_MAX: usize = 512;
/// Streams of one address.
const STREAMS_PER_IP_MAX: usize = 128;
/// How long a stream may stay without an allocation.
const UNUSED_MAX: Duration = Duration::from_secs(30);
/// How long a write to a stream may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two looks at what has run out.
const TICK: Duration = Duration::from_secs(5);
/// Between two reports.
const REPORT: Duration = Duration::from_secs(600);
/// How many UDP sockets a port may be tried on at first bind for any port.
const BOTH_TRIES: usize = 16;

/// Where relayed addresses lie: bound to, and known as.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outside {
    pub(super) bind: IpAddr,
    pub(super) ip: IpAddr,
}

struct Relayed {
    socket: Arc<UdpSocket>,
    reader: AbortHandle,
}

struct Stream {
    queue: mpsc::Sender<Vec<u8>>,
    addr: SocketAddr,
    since: Instant,
    task: AbortHandle,
}

struct Sockets {
    relayed: BTreeMap<RelayId, Relayed>,
    outside: (Option<Outside>, Option<Outside>),
    ports: (u16, u16),
    random: u64,
    me: Weak<Shared>,
}

struct State {
    machine: Machine,
    sockets: Sockets,
    streams: BTreeMap<u64, Stream>,
}

struct Shared {
    state: Mutex<State>,
    listeners: Vec<Arc<UdpSocket>>,
    next_via: AtomicU64,
    streams_max: usize,
    start: Instant,
}

impl Relays for Sockets {
    fn serves(&self, v6: bool) -> bool {
        if v6 { self.outside.1.is_some() } else { self.outside.0.is_some() }
    }

    fn open(&mut self, id: RelayId, v6: bool, even: bool) -> Option<SocketAddr> {
        let outside = if v6 { self.outside.1? } else { self.outside.0? };
        let span = u64::from(self.ports.1 - self.ports.0) + 1;
        for _ in 0..PORT_TRIES {
            // Spread, so that a port is not used again at once.
            self.random =
                self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut port = self.ports.0 + u16::try_from((self.random >> 33) % span).unwrap_or(0);
            if even && port % 2 == 1 {
                port -= 1;
            }
            if port < self.ports.0 {
                continue;
            }
            let Ok(socket) = std::net::UdpSocket::bind((outside.bind, port)) else { continue };
            if socket.set_nonblocking(true).is_err() {
                continue;
            }
            let Ok(socket) = UdpSocket::from_std(socket) else { continue };
            let socket = Arc::new(socket);
            let reader = tokio::spawn(relayed(self.me.clone(), id, socket.clone())).abort_handle();
            self.relayed.insert(id, Relayed { socket, reader });
            return Some(SocketAddr::new(outside.ip, port));
        }
        None
    }

    fn close(&mut self, id: RelayId) {
        if let Some(gone) = self.relayed.remove(&id) {
            gone.reader.abort();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Now {
        let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        Now {
            wall_ms: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, ms),
            mono_ms: ms(self.start.elapsed()),
        }
    }

    fn client(&self, client: Client, bytes: &[u8]) {
        let now = self.now();
        let mut state = self.lock();
        let State { machine, sockets, .. } = &mut *state;
        if let Some(output) = machine.client(now, client, bytes, sockets) {
            self.send(&state, output);
        }
    }

    fn peer(&self, relay: RelayId, from: SocketAddr, data: &[u8]) {
        let now = self.now();
        let mut state = self.lock();
        if let Some(output) = state.machine.peer(now, relay, from, data) {
            self.send(&state, output);
        }
    }

    /// Sends without waiting; what finds no room is lost, as datagrams are.
    fn send(&self, state: &State, output: Output) {
        match output {
            Output::Client(client, bytes) if client.stream => {
                if let Some(stream) = state.streams.get(&client.via) {
                    let _lost = stream.queue.try_send(bytes);
                }
            }
            Output::Client(client, bytes) => {
                let at = usize::try_from(client.via).unwrap_or(usize::MAX);
                if let Some(socket) = self.listeners.get(at) {
                    let _lost = socket.try_send_to(&bytes, client.addr);
                }
            }
            Output::Peer(relay, to, bytes) => {
                if let Some(relayed) = state.sockets.relayed.get(&relay) {
                    let _lost = relayed.socket.try_send_to(&bytes, to);
                }
            }
        }
    }

    fn close(&self, via: u64, client: &Client) {
        let mut state = self.lock();
        let State { machine, sockets, streams } = &mut *state;
        machine.gone(client, sockets);
        streams.remove(&via);
    }
}

/// Binds UDP and TCP on each address, the same port for both, and serves.
/// Answers what was bound.
pub(super) async fn start(
    rules: Rules,
    listen: &[SocketAddr],
    outside: (Option<Outside>, Option<Outside>),
) -> anyhow::Result<Vec<SocketAddr>> {
    let mut rules = rules;
    rules.guard.own = [outside.0, outside.1].into_iter().flatten().flat_map(|o| [o.ip, o.bind]).collect();
    rules.guard.own.retain(|ip| !ip.is_unspecified());
    let mut udp = Vec::new();
    let mut tcp = Vec::new();
    let mut bound = Vec::new();
    for at in listen {
        let (u, t) = both(*at).await.with_context(|| {
            format!("TURN cannot listen on {at}: choose another address with --turn, or turn it off with --turn off")
        })?;
        bound.push(u.local_addr()?);
        udp.push(Arc::new(u));
        tcp.push(t);
    }
    let ports = rules.guard.ports;
    let streams_max = rules.allocations.saturating_add(SPARE_STREAMS_MAX);
    let start = Instant::now();
    let now = Now::default();
    let random = rules.seed.iter().take(8).fold(0u64, |n, b| (n << 8) | u64::from(*b));
    let shared = Arc::new_cyclic(|me| Shared {
        state: Mutex::new(State {
            machine: Machine::new(rules, now),
            sockets: Sockets { relayed: BTreeMap::new(), outside, ports, random, me: me.clone() },
            streams: BTreeMap::new(),
        }),
        next_via: AtomicU64::new(udp.len() as u64),
        listeners: udp.clone(),
        streams_max,
        start,
    });
    for (via, socket) in udp.into_iter().enumerate() {
        tokio::spawn(datagrams(shared.clone(), via as u64, socket));
    }
    for listener in tcp {
        tokio::spawn(accept(shared.clone(), listener));
    }
    tokio::spawn(tick(shared));
    Ok(bound)
}

/// UDP and TCP at one port.
async fn both(at: SocketAddr) -> std::io::Result<(UdpSocket, TcpListener)> {
    let mut last = std::io::Error::from(std::io::ErrorKind::AddrInUse);
    for _ in 0..if at.port() == 0 { BOTH_TRIES } else { 1 } {
        let udp = UdpSocket::bind(at).await?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(e) => last = e,
        }
    }
    Err(last)
}

async fn datagrams(shared: Arc<Shared>, via: u64, socket: Arc<UdpSocket>) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        // Errors are those of single datagrams (an unreachable receiver).
        if let Ok((len, addr)) = socket.recv_from(&mut buffer).await
            && let Some(bytes) = buffer.get(..len)
        {
            shared.client(Client { via, addr, stream: false }, bytes);
        }
    }
}

async fn relayed(shared: Weak<Shared>, id: RelayId, socket: Arc<UdpSocket>) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let received = socket.recv_from(&mut buffer).await;
        let Some(shared) = shared.upgrade() else { return };
        if let Ok((len, from)) = received
            && let Some(data) = buffer.get(..len)
        {
            shared.peer(id, from, data);
        }
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        let Ok((stream, addr)) = listener.accept().await else {
            // Out of descriptors, most likely: others have to go first.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let ip = addr.ip().to_canonical();
        let mut state = shared.lock();
        let of_ip = state.streams.values().filter(|s| s.addr.ip().to_canonical() == ip).count();
        if state.streams.len() >= shared.streams_max || of_ip >= STREAMS_PER_IP_MAX {
            continue;
        }
        let via = shared.next_via.fetch_add(1, Ordering::Relaxed);
        let (queue, queued) = mpsc::channel(QUEUE_MAX);
        let task = tokio::spawn(serve(shared.clone(), via, addr, stream, queued)).abort_handle();
        state.streams.insert(via, Stream { queue, addr, since: Instant::now(), task });
    }
}

async fn serve(
    shared: Arc<Shared>,
    via: u64,
    addr: SocketAddr,
    stream: TcpStream,
    mut queued: mpsc::Receiver<Vec<u8>>,
) {
    let client = Client { via, addr, stream: true };
    // Media must not wait for fuller packets.
    let _optional = stream.set_nodelay(true);
    let (reader, mut writer) = stream.into_split();
    let writing = async {
        while let Some(bytes) = queued.recv().await {
            match tokio::time::timeout(WRITE_TIMEOUT, writer.write_all(&bytes)).await {
                Ok(Ok(())) => {}
                _ => return,
            }
        }
    };
    tokio::select! {
        () = frames(&shared, client, reader) => {}
        () = writing => {}
    }
    shared.close(via, &client);
}

/// Reads frames until the stream ends or carries something else.
async fn frames(shared: &Shared, client: Client, mut reader: OwnedReadHalf) {
    let mut buffer: Vec<u8> = Vec::with_capacity(4096);
    loop {
        let mut at = 0;
        loop {
            let rest = buffer.get(at..).unwrap_or_default();
            match frame_len(rest) {
                Ok(Some(len)) if len <= rest.len() => {
                    shared.client(client, rest.get(..len).unwrap_or_default());
                    at += len;
                }
                Ok(Some(len)) if len > FRAME_BYTES_MAX => return,
                Ok(_) => break,
                Err(_) => return,
            }
        }
        buffer.drain(..at);
        match reader.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

async fn tick(shared: Arc<Shared>) {
    let mut every = tokio::time::interval(TICK);
    let mut reported = (Instant::now(), kith_bootstrap::turn::Counters::default());
    loop {
        every.tick().await;
        let now = shared.now();
        let mut state = shared.lock();
        let State { machine, sockets, streams } = &mut *state;
        machine.expire(now, sockets);
        let mut unused = Vec::new();
        for (via, stream) in streams.iter() {
            let client = Client { via: *via, addr: stream.addr, stream: true };
            if stream.since.elapsed() >= UNUSED_MAX && !machine.holds(&client) {
                unused.push(*via);
            }
        }
        for via in unused {
            if let Some(stream) = streams.remove(&via) {
                stream.task.abort();
            }
        }
        let counters = machine.counters();
        drop(state);
        if reported.0.elapsed() >= REPORT && reported.1 != counters {
            reported = (Instant::now(), counters);
            tracing::info!(?counters, "TURN so far");
        }
    }
}
