//! The swarm towards contacts and its owner: dials, accepts, reserves at
//! relays, prefers direct links, watches connections.

mod events;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt};
use kith_wire::ids::PeerKey;
use kith_wire::net::{LinkFacts, LinkKind, Mapping, NetEvent, Path};
use libp2p::core::transport::ListenerId;
use libp2p::identity::Keypair;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, Swarm};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::addr::{self, Way};
use crate::blobs::{self, BlobError, BlobStream, Opened};
use crate::client::Report;
use crate::dialing::{self, Attempt, Step};
use crate::error::OverlayError;
use crate::facts::{self, Nearby, Observed};
use crate::keys;
use crate::link::{self, Note, Shared};
use crate::outbox::Outbox;
use crate::reach::{Action, Ready, Relays};
use crate::streams;
use crate::swarm::{self, Contact as Behaviour, Habits};
use crate::table::Meta;

/// Contacts being dialled at once; more fail at once with the reason.
pub(crate) const ATTEMPTS_MAX: usize = 256;
/// Tasks of links, those being refused included; streams beyond are dropped.
const TASKS_MAX: usize = 4096;
/// Events that may wait for their reader before commands are left waiting.
const EVENTS_WAITING_MAX: usize = 1024;
/// Own listen addresses that are remembered.
const LISTEN_ADDRS_MAX: usize = 64;
/// How long the relays of a contact stay of interest after a dial.
const CIRCUIT_INTEREST: Duration = Duration::from_secs(60);
/// How long a connection may take to show that it still works.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);
/// Connections at once that are made only to learn an address.
const PROBES_MAX: usize = 4;
/// The owner looks around at least this often.
const LOOK_AROUND: Duration = Duration::from_secs(60);

const STARTED_AGAIN: &str = "the network of this node failed and was started again; connecting again";
const DIRECT_SWITCHED: &str = "direct connections were switched on or off; connecting again";
pub(crate) const SHUTTING_DOWN: &str = "this node is shutting down";

/// What the owner is asked to do.
pub(crate) enum Command {
    /// Reach a contact.
    Dial { peer: PeerKey, addrs: Vec<String>, patient: bool },
    /// Keep reservations at exactly these relays.
    Reserve(Vec<(PeerKey, Vec<String>)>),
    /// End the connections on which nothing answers.
    Check,
    /// Open a stream for files on a direct connection.
    OpenBlob(PeerKey, Opened),
    /// Report a dial that failed before it began.
    Fail(LinkKind, PeerKey, String),
}

/// What does not change.
pub(crate) struct Config {
    pub(crate) keypair: Keypair,
    pub(crate) key: PeerKey,
    pub(crate) listen: Vec<Multiaddr>,
    pub(crate) circuits: bool,
    pub(crate) nearby: bool,
    pub(crate) upnp: bool,
}

impl Config {
    fn habits(&self, direct: bool) -> Habits {
        // A node that only listens to its own machine concerns no router.
        let outward = self.listen.iter().any(|a| addr::ip(a).is_none_or(|ip| !ip.is_loopback()));
        Habits {
            punch: direct,
            nearby: direct && self.nearby,
            upnp: direct && self.upnp && outward,
            outside: direct && outward,
        }
    }
}

struct Conn {
    peer: PeerId,
    key: PeerKey,
    path: Path,
    addr: Multiaddr,
    /// Ours, and direct: it can carry reservations.
    dialed: bool,
    /// Whether it offers circuits, once it has said so.
    hop: Option<bool>,
    failed_pings: u32,
    upgraded: bool,
    punched: bool,
    /// The relay of a circuit.
    via: Option<PeerKey>,
    rtt: Option<Duration>,
    /// The round trip as it was last told.
    rtt_told: Option<Duration>,
}

impl Conn {
    fn facts(&self) -> LinkFacts {
        LinkFacts {
            near: self.path != Path::Circuit && addr::ip(&self.addr).is_some_and(addr::is_near),
            punched: self.punched,
            relay: self.via,
            rtt_ms: self.rtt.map(facts::ms),
        }
    }
}

struct Opening {
    meta: Meta,
    peer: PeerId,
    outbox: Arc<Outbox>,
}

/// See the module.
pub(crate) struct Contact {
    config: Config,
    direct: bool,
    me: PeerId,
    swarm: Swarm<Behaviour>,
    shared: Shared<Report>,
    conns: BTreeMap<ConnectionId, Conn>,
    attempts: BTreeMap<PeerId, Attempt>,
    opening: BTreeMap<u64, Opening>,
    relays: Relays,
    circuit_listeners: HashMap<ListenerId, PeerId>,
    listening: HashMap<ListenerId, Vec<Multiaddr>>,
    told: Option<Vec<String>>,
    /// Connections made only to learn the outside TCP address.
    probes: BTreeSet<ConnectionId>,
    observed: Observed,
    /// What was last told of how others see this node.
    outside: (Mapping, Option<bool>),
    nearby: Nearby,
    /// Addresses at the router that lead here.
    mapped: Vec<Multiaddr>,
    waiting: VecDeque<NetEvent>,
    close_later: Vec<(Instant, ConnectionId)>,
    /// Streams for files that were asked for: over which connection.
    blobs_opening: BTreeMap<u64, (PeerKey, ConnectionId, Opened)>,
    next_blob: u64,
    blobs: mpsc::Sender<BlobStream>,
    /// Connections that are to show that they still work, and until when.
    checks: BTreeMap<u64, (ConnectionId, Instant)>,
    next_check: u64,
}

/// Builds the swarm and listens, if direct connections are on.
fn build(config: &Config, direct: bool) -> Result<Swarm<Behaviour>, OverlayError> {
    let mut swarm = swarm::contact(config.keypair.clone(), config.habits(direct))?;
    if direct {
        swarm::listen(&mut swarm, &config.listen)?;
    }
    Ok(swarm)
}

impl Contact {
    /// Sets up the swarm; nothing runs before [`Contact::run`].
    pub(crate) fn new(
        config: Config,
        direct: bool,
        shared: Shared<Report>,
        blobs: mpsc::Sender<BlobStream>,
        seed: u64,
    ) -> Result<Self, OverlayError> {
        let swarm = build(&config, direct)?;
        Ok(Self {
            me: *swarm.local_peer_id(),
            config,
            direct,
            swarm,
            shared,
            conns: BTreeMap::new(),
            attempts: BTreeMap::new(),
            opening: BTreeMap::new(),
            relays: Relays::new(seed),
            circuit_listeners: HashMap::new(),
            listening: HashMap::new(),
            told: None,
            probes: BTreeSet::new(),
            observed: Observed::default(),
            outside: (Mapping::Unknown, None),
            nearby: Nearby::default(),
            mapped: Vec::new(),
            waiting: VecDeque::new(),
            close_later: Vec::new(),
            blobs_opening: BTreeMap::new(),
            next_blob: 0,
            blobs,
            checks: BTreeMap::new(),
            next_check: 0,
        })
    }

    /// Runs until `stop`, or until every handle is gone.
    pub(crate) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut notes: mpsc::Receiver<Note>,
        mut direct: watch::Receiver<bool>,
        stop: CancellationToken,
    ) {
        // libp2p states its invariants as panics, some within a peer's reach.
        // A new swarm starts from nothing, so none of them outlives it.
        loop {
            let life = self.live(&mut commands, &mut notes, &mut direct, &stop);
            if AssertUnwindSafe(life).catch_unwind().await.is_ok() {
                break;
            }
            tracing::error!("the network towards contacts failed and is started again");
            if !self.rebuild(self.direct, STARTED_AGAIN, Instant::now()) {
                break;
            }
        }
        self.shared.links.cut_all(LinkKind::Peer, SHUTTING_DOWN);
    }

    async fn live(
        &mut self,
        commands: &mut mpsc::Receiver<Command>,
        notes: &mut mpsc::Receiver<Note>,
        direct: &mut watch::Receiver<bool>,
        stop: &CancellationToken,
    ) {
        let events = self.shared.events.clone();
        loop {
            let wake = self.step(Instant::now());
            tokio::select! {
                () = stop.cancelled() => break,
                event = self.swarm.select_next_some() => self.on_swarm(event),
                Some(note) = notes.recv() => self.on_note(note),
                Ok(()) = direct.changed() => {
                    let on = *direct.borrow_and_update();
                    if on != self.direct {
                        self.rebuild(on, DIRECT_SWITCHED, Instant::now());
                    }
                }
                command = commands.recv(), if self.waiting.len() < EVENTS_WAITING_MAX => match command {
                    Some(command) => self.on_command(command),
                    None => break,
                },
                permit = events.reserve(), if !self.waiting.is_empty() => match permit {
                    Ok(permit) => if let Some(event) = self.waiting.pop_front() {
                        permit.send(event);
                    },
                    Err(_) => break,
                },
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Dial { peer, addrs, patient } => self.dial(peer, &addrs, patient, now),
            Command::OpenBlob(key, opened) => self.open_blob(key, opened),
            Command::Check => self.check(now),
            Command::Fail(kind, peer, reason) => {
                self.waiting.push_back(NetEvent::DialFailed { kind, peer, reason });
            }
            Command::Reserve(relays) => {
                let known = |(key, addrs): (PeerKey, Vec<String>)| {
                    let peer = keys::peer_id(&key)?;
                    Some((peer, addr::direct_only(&addrs, &peer)))
                };
                let relays = if self.config.circuits { relays } else { Vec::new() };
                self.relays.reserve(relays.into_iter().filter_map(known).collect(), now);
            }
        }
    }

    /// Opens a stream for files, never through a relay: a circuit is for
    /// messages.
    fn open_blob(&mut self, key: PeerKey, opened: Opened) {
        let best = self
            .conns
            .iter()
            .filter(|(_, c)| c.key == key && c.path != Path::Circuit)
            .min_by_key(|(id, c)| (c.failed_pings, !self.shared.links.uses(LinkKind::Peer, key, **id)))
            .map(|(id, c)| (*id, c.peer));
        let (Some((conn, peer)), true) = (best, self.blobs_opening.len() < blobs::OPENING_MAX) else {
            let _gone = opened.send(Err(BlobError::NoConnection));
            return;
        };
        let token = self.next_blob;
        self.next_blob += 1;
        self.blobs_opening.insert(token, (key, conn, opened));
        self.swarm.behaviour_mut().blobs.open(peer, conn, token);
    }

    fn on_blob(&mut self, event: streams::Event) {
        match event {
            streams::Event::Inbound { conn, stream } => {
                let Some(c) = self.conns.get(&conn).filter(|c| c.path != Path::Circuit) else { return };
                // Nobody takes them, or too slowly: the stream closes.
                let _full = self.blobs.try_send(BlobStream::new(c.key, stream));
            }
            streams::Event::Opened { token, stream } => {
                if let Some((key, _, opened)) = self.blobs_opening.remove(&token) {
                    let _gone = opened.send(Ok(BlobStream::new(key, stream)));
                }
            }
            streams::Event::OpenFailed { token, .. } => {
                if let Some((_, _, opened)) = self.blobs_opening.remove(&token) {
                    let _gone = opened.send(Err(BlobError::Refused));
                }
            }
        }
    }

    fn fail(&mut self, key: PeerKey, reason: String) {
        self.waiting.push_back(NetEvent::DialFailed { kind: LinkKind::Peer, peer: key, reason });
    }

    fn dial(&mut self, key: PeerKey, addrs: &[String], patient: bool, now: Instant) {
        let Some(peer) = keys::peer_id(&key) else {
            return self.fail(key, "this peer’s transport key is not valid".into());
        };
        if key == self.config.key {
            return self.fail(key, "this is the node itself".into());
        }
        if self.shared.links.best(LinkKind::Peer, key).is_some() || self.attempts.contains_key(&peer) {
            return;
        }
        if self.attempts.len() >= ATTEMPTS_MAX {
            return self.fail(key, "too many peers are being dialled at once; try again in a moment".into());
        }
        let near = if self.direct { self.nearby.of(&peer).to_vec() } else { Vec::new() };
        let mut direct = near.clone();
        let mut circuits = Vec::new();
        for text in addrs.iter().take(addr::DIAL_ADDRS_MAX) {
            match addr::way(text, &peer) {
                Some(Way::Direct(addr)) if self.direct && !direct.contains(&addr) => direct.push(addr),
                Some(Way::Circuit { relay, at }) if self.config.circuits && relay != self.me => {
                    circuits.push((relay, at));
                }
                Some(_) | None => {}
            }
        }
        let error = if self.direct { dialing::NO_ADDRESS } else { dialing::DIRECT_OFF };
        tracing::debug!(direct = direct.len(), circuits = circuits.len(), "dialling a contact");
        // Whoever is back is at all relays of their addresses: one of them is asked.
        let ready = |(relay, _): &&(PeerId, _)| self.relays.ready(relay, now) == Ready::Yes;
        if !patient && let Some(one) = circuits.iter().find(ready).cloned() {
            (direct, circuits) = (near, vec![one]);
        }
        self.attempts.insert(peer, Attempt::new(key, direct, circuits, patient, error, now));
    }

    /// Starts the swarm anew, with direct connections on or off; whether that
    /// worked. All state of the old one goes with it: nothing may stay that
    /// punches or listens.
    fn rebuild(&mut self, direct: bool, reason: &'static str, now: Instant) -> bool {
        self.shared.links.cut_all(LinkKind::Peer, reason);
        // The old one lets go of its ports first.
        match swarm::contact(self.config.keypair.clone(), Habits::default()) {
            Ok(placeholder) => self.swarm = placeholder,
            Err(_) => return false,
        }
        self.swarm = match build(&self.config, direct) {
            Ok(swarm) => swarm,
            Err(e) => {
                // Reaching out still works if a port was taken meanwhile.
                tracing::warn!(error = %e, "no direct connections will come in");
                match swarm::contact(self.config.keypair.clone(), self.config.habits(direct)) {
                    Ok(swarm) => swarm,
                    Err(_) => return false,
                }
            }
        };
        self.direct = direct;
        self.conns.clear();
        self.observed = Observed::default();
        self.probes.clear();
        self.nearby = Nearby::default();
        self.mapped.clear();
        self.circuit_listeners.clear();
        self.listening.clear();
        self.close_later.clear();
        self.blobs_opening.clear();
        self.checks.clear();
        for (_, opening) in std::mem::take(&mut self.opening) {
            self.shared.links.remove(opening.meta.id);
        }
        for (_, attempt) in std::mem::take(&mut self.attempts) {
            self.fail(attempt.key, reason.into());
        }
        self.relays.reset(now);
        self.tell_addresses();
        self.tell_outside();
        true
    }

    /// Does everything that is due; when to look again at the latest.
    fn step(&mut self, now: Instant) -> Instant {
        let mut wake = now + LOOK_AROUND;
        for peer in self.attempts.keys().copied().collect::<Vec<_>>() {
            if let Some(at) = self.attempt(peer, now) {
                wake = wake.min(at);
            }
        }
        for action in self.relays.poll(now) {
            self.act(action, now);
        }
        if let Some(at) = self.relays.next_wake(now) {
            wake = wake.min(at);
        }
        let silent: Vec<(u64, ConnectionId)> = self
            .checks
            .iter()
            .filter(|(_, (_, at))| *at <= now)
            .map(|(token, (c, _))| (*token, *c))
            .collect();
        for (token, conn) in silent {
            self.checks.remove(&token);
            self.end_silent(conn);
        }
        wake = self.checks.values().map(|(_, at)| *at).fold(wake, Instant::min);
        let (due, rest) = std::mem::take(&mut self.close_later).into_iter().partition(|(at, _)| *at <= now);
        self.close_later = rest;
        let due: Vec<(Instant, ConnectionId)> = due;
        for (_, conn) in due {
            self.close_unused(conn);
        }
        self.close_later.iter().map(|(at, _)| *at).fold(wake, Instant::min)
    }

    /// Every connection has to show that it still works. One on which nothing
    /// answers would otherwise be kept for ten seconds and more, and what is
    /// dialled through it with it.
    fn check(&mut self, now: Instant) {
        let unasked: Vec<_> = self
            .conns
            .iter()
            .filter(|(id, _)| !self.checks.values().any(|(conn, _)| conn == *id))
            .map(|(id, c)| (*id, c.peer))
            .collect();
        for (conn, peer) in unasked {
            let token = self.next_check;
            self.next_check += 1;
            self.checks.insert(token, (conn, now + CHECK_TIMEOUT));
            self.swarm.behaviour_mut().alive.open(peer, conn, token);
        }
    }

    fn end_silent(&mut self, conn: ConnectionId) {
        if let Some(c) = self.conns.get(&conn) {
            self.shared.links.dead(LinkKind::Peer, c.key, conn);
            self.swarm.close_connection(conn);
        }
    }

    fn close_unused(&mut self, conn: ConnectionId) {
        let used = self.conns.get(&conn).is_some_and(|c| self.shared.links.uses(LinkKind::Peer, c.key, conn));
        if !used {
            self.swarm.close_connection(conn);
        }
    }

    /// One step of one attempt; when to look again.
    fn attempt(&mut self, peer: PeerId, now: Instant) -> Option<Instant> {
        loop {
            let attempt = self.attempts.get_mut(&peer)?;
            let key = attempt.key;
            if self.shared.links.best(LinkKind::Peer, key).is_some() {
                self.attempts.remove(&peer);
                return None;
            }
            // Each stage of opening has its own timeout.
            if self.opening.values().any(|o| o.peer == peer) {
                return None;
            }
            let theirs = self.shared.links.offered(LinkKind::Peer, key);
            if !theirs && let Some((conn, path)) = self.usable(peer, now) {
                self.open(peer, key, conn, path);
                continue;
            }
            let attempt = self.attempts.get_mut(&peer)?;
            match attempt.step(theirs, now) {
                Step::Wait(at) => return Some(at),
                Step::Fail(reason) => {
                    tracing::debug!(reason, "a contact was not reached");
                    self.attempts.remove(&peer);
                    self.fail(key, reason);
                    return None;
                }
                Step::Direct(addrs) => {
                    tracing::debug!(addresses = addrs.len(), "dialling straight");
                    let conn = self.start_dial(peer, addrs);
                    self.attempts.get_mut(&peer)?.direct_dialed(conn, now);
                }
                Step::Circuit(relay, at) => {
                    self.relays.circuits(relay, &at, now, now + CIRCUIT_INTEREST);
                    let ready = self.relays.ready(&relay, now);
                    tracing::debug!(?ready, "dialling through a relay");
                    match ready {
                        Ready::Wait => return Some(now + Duration::from_secs(1)),
                        Ready::No => self.attempts.get_mut(&peer)?.circuit_dialed(None),
                        Ready::Yes => {
                            let conn = self.start_dial(peer, vec![addr::through(relay, &at, peer)]);
                            self.attempts.get_mut(&peer)?.circuit_dialed(conn);
                        }
                    }
                }
            }
        }
    }

    /// The best connection on which a link may be tried.
    fn usable(&self, peer: PeerId, now: Instant) -> Option<(ConnectionId, Path)> {
        let attempt = self.attempts.get(&peer)?;
        self.conns
            .iter()
            .filter(|(id, c)| c.peer == peer && attempt.may_use(**id, now))
            .max_by_key(|(_, c)| c.path != Path::Circuit)
            .map(|(id, c)| (*id, c.path))
    }

    fn start_dial(&mut self, peer: PeerId, addrs: Vec<Multiaddr>) -> Option<ConnectionId> {
        let opts = DialOpts::peer_id(peer).addresses(addrs).condition(PeerCondition::Always).build();
        let conn = opts.connection_id();
        self.swarm.dial(opts).ok().map(|()| conn)
    }

    /// Asks for a stream on that connection, to become the link.
    fn open(&mut self, peer: PeerId, key: PeerKey, conn: ConnectionId, path: Path) {
        let ip = self.conns.get(&conn).and_then(|c| addr::ip(&c.addr));
        let meta = Meta::new(LinkKind::Peer, key, self.config.key, path, conn, ip);
        match self.shared.links.begin_open(&meta) {
            Ok(outbox) => {
                let token = meta.id.0;
                self.opening.insert(token, Opening { meta, peer, outbox });
                self.swarm.behaviour_mut().streams.open(peer, conn, token);
            }
            Err(why) => {
                let failed = match why {
                    crate::table::Blocked::Full => link::Failed::Full,
                    crate::table::Blocked::Stands | crate::table::Blocked::UnderWay => {
                        link::Failed::Duplicate
                    }
                };
                self.open_failed(peer, conn, failed);
            }
        }
    }

    /// Connects to a relay that is linked over QUIC once more over TCP, to learn
    /// the outside address of the TCP port: a contact whose network lets no UDP
    /// out is reached by nothing else. The connection ends once that is known.
    fn probe(&mut self, relay: PeerId) {
        let of_relay = || self.conns.values().filter(|c| c.peer == relay && c.dialed);
        let quic = of_relay().all(|c| c.path == Path::DirectQuic) && of_relay().next().is_some();
        if !self.direct || !quic || self.probes.len() >= PROBES_MAX {
            return;
        }
        let addrs: Vec<Multiaddr> = self.relays.addrs(&relay).into_iter().filter(addr::is_tcp).collect();
        if !addrs.is_empty()
            && let Some(conn) = self.start_dial(relay, addrs)
        {
            self.probes.insert(conn);
        }
    }

    fn open_failed(&mut self, peer: PeerId, conn: ConnectionId, why: link::Failed) {
        tracing::debug!(?why, "a link was not opened");
        if why == link::Failed::Timeout {
            // A connection that does not answer is worse than none.
            self.swarm.close_connection(conn);
        }
        let Some(attempt) = self.attempts.get_mut(&peer) else { return };
        if let Some(reason) = attempt.open_failed(conn, why, Instant::now()) {
            let key = attempt.key;
            if self.shared.links.best(LinkKind::Peer, key).is_none() {
                self.fail(key, reason);
            }
            self.attempts.remove(&peer);
        }
    }

    /// Opens a direct link beside a relayed one; only the smaller key does.
    fn upgrade(&mut self, peer: PeerId) {
        let Some(key) = keys::peer_key(&peer) else { return };
        if self.config.key > key || self.shared.links.best(LinkKind::Peer, key) != Some(Path::Circuit) {
            return;
        }
        let direct = self
            .conns
            .iter_mut()
            .find(|(_, c)| c.peer == peer && c.path != Path::Circuit && !c.upgraded)
            .map(|(id, c)| {
                c.upgraded = true;
                (*id, c.path)
            });
        if let Some((conn, path)) = direct {
            self.open(peer, key, conn, path);
        }
    }

    fn act(&mut self, action: Action, now: Instant) {
        match action {
            Action::Dial(relay, addrs) => {
                // It may be connected from before it was of interest.
                let known = self
                    .conns
                    .iter()
                    .find_map(|(id, c)| (c.peer == relay && c.dialed).then_some((*id, c.path, c.hop)));
                if let Some((id, path, hop)) = known {
                    self.relays.connected(relay, id, path, now);
                    if let Some(hop) = hop {
                        self.relays.identified(relay, id, hop, now);
                    }
                } else if self.start_dial(relay, addrs).is_none() {
                    self.relays.dial_failed(relay, now);
                }
            }
            // If it fails, what stands goes on.
            Action::Better(relay, addrs) => {
                self.start_dial(relay, addrs);
            }
            Action::Listen(relay, conn) => {
                let listener = self
                    .conns
                    .get(&conn)
                    .map(|c| addr::circuit(relay, &c.addr))
                    .and_then(|addr| self.swarm.listen_on(addr).ok());
                if let Some(id) = listener {
                    self.circuit_listeners.insert(id, relay);
                }
                self.relays.listening(relay, listener, now);
            }
            Action::Close(conn) => {
                self.swarm.close_connection(conn);
            }
            Action::Report(relay, active) => {
                if let Some(relay) = keys::peer_key(&relay) {
                    // Only the newest word about a relay matters.
                    self.waiting
                        .retain(|e| !matches!(e, NetEvent::Reservation { relay: r, .. } if *r == relay));
                    self.waiting.push_back(NetEvent::Reservation { relay, active });
                }
            }
        }
    }
}
