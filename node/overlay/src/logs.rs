//! Links to relays: each in a swarm of its own under a throw-away key, which
//! lives as long as the link.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::StreamExt;
use kith_wire::crypto::Secret;
use kith_wire::ids::PeerKey;
use kith_wire::net::{LinkFacts, LinkKind, NetEvent, Path};
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{ConnectionId, Swarm, SwarmEvent};
use libp2p::{PeerId, ping};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::addr;
use crate::client::Report;
use crate::contact::SHUTTING_DOWN;
use crate::dialing;
use crate::facts;
use crate::keys::{self, ThrowAway};
use crate::link::{self, Failed, Note, Shared, WeakShared};
use crate::outbox::Outbox;
use crate::streams;
use crate::swarm::{self, Log, LogEvent, PING_FAILURES_MAX};
use crate::table::{Blocked, LOST, LOST_GRACE, Meta, SILENT};

/// Links to relays at once; more fail at once with the reason.
pub(crate) const LOG_LINKS_MAX: usize = 32;
/// How long it may take until the link is up.
const UP_TIMEOUT: Duration = Duration::from_secs(25);

const KEY_CHANGES: &str = "the key used towards this relay changes every week; connecting again";

/// Starts a link to a relay unless there is one; `Some`: why not.
pub(crate) fn dial(
    shared: &WeakShared<Report>,
    seed: &Secret,
    relay: PeerKey,
    addrs: &[String],
    stop: &CancellationToken,
    runtime: &tokio::runtime::Handle,
) -> Option<String> {
    let Some(peer) = keys::peer_id(&relay) else {
        return Some("this relay’s key is not valid".into());
    };
    let addrs = addr::direct_only(addrs, &peer);
    if addrs.is_empty() {
        return Some("no address is known at which this relay could be reached".into());
    }
    let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let key = keys::throw_away(seed, &relay, unix_s);
    let Ok(local) = keys::public_key(&key.seed) else {
        return Some("no transport key could be made".into());
    };
    if shared.links.count(LinkKind::Log) >= LOG_LINKS_MAX {
        return Some("too many relays are in use at once; remove some".into());
    }
    let Some((shared, notes)) = shared.with_notes() else {
        return Some(SHUTTING_DOWN.into());
    };
    // The path and the connection are filled in when there is one.
    let none = ConnectionId::new_unchecked(0);
    let meta = Meta::new(LinkKind::Log, relay, local, Path::DirectTcp, none, None);
    let outbox = match shared.links.begin_open(&meta) {
        Ok(outbox) => outbox,
        Err(Blocked::Full) => return Some("too many connections; close some".into()),
        Err(Blocked::Stands | Blocked::UnderWay) => return None,
    };
    let tasks = shared.tasks.clone();
    let dead = shared.dead.clone();
    let log = LogLink { shared, meta, peer, outbox, opened: false, failed_pings: 0, rtt: None };
    let stop = stop.clone();
    tasks.spawn_on(
        async move {
            dead.run_until_cancelled(log.run(key, addrs, notes, stop)).await;
        },
        runtime,
    );
    None
}

struct LogLink {
    shared: Shared<Report>,
    meta: Meta,
    peer: PeerId,
    outbox: Arc<Outbox>,
    opened: bool,
    failed_pings: u32,
    /// As it was last told.
    rtt: Option<Duration>,
}

/// What an event means for the whole.
enum Outcome {
    Goes,
    Fails(String),
    Over,
}

impl LogLink {
    async fn run(
        mut self,
        key: ThrowAway,
        addrs: Vec<libp2p::Multiaddr>,
        notes: mpsc::Receiver<Note>,
        stop: CancellationToken,
    ) {
        if let Err(reason) = self.drive(key, addrs, notes, stop).await {
            self.shared.links.remove(self.meta.id);
            let event = NetEvent::DialFailed { kind: LinkKind::Log, peer: self.meta.peer, reason };
            let _gone = self.shared.events.send(event).await;
        }
    }

    async fn drive(
        &mut self,
        key: ThrowAway,
        addrs: Vec<libp2p::Multiaddr>,
        mut notes: mpsc::Receiver<Note>,
        stop: CancellationToken,
    ) -> Result<(), String> {
        let keypair = keys::keypair(&key.seed).map_err(|e| e.to_string())?;
        let mut swarm = swarm::log(keypair).map_err(|e| e.to_string())?;
        let opts = DialOpts::peer_id(self.peer).addresses(addrs).build();
        swarm.dial(opts).map_err(|e| dialing::dial_error(&e))?;
        let mut up = false;
        let mut ending = false;
        let up_until = Instant::now() + UP_TIMEOUT;
        let key_until = Instant::now() + Duration::from_secs(key.left_s.max(1));
        loop {
            let outcome = tokio::select! {
                event = swarm.select_next_some() => self.on_swarm(&mut swarm, event),
                Some(note) = notes.recv() => match note {
                    Note::Up(_) => {
                        up = true;
                        Outcome::Goes
                    }
                    Note::Ended(_) => Outcome::Over,
                    Note::Failed(_, why) => Outcome::Fails(failed(why)),
                },
                () = stop.cancelled(), if !ending => {
                    ending = true;
                    self.outbox.cut(SHUTTING_DOWN);
                    if up { Outcome::Goes } else { Outcome::Fails(SHUTTING_DOWN.into()) }
                }
                () = tokio::time::sleep_until(up_until), if !up => Outcome::Fails(dialing::NO_ANSWER.into()),
                () = tokio::time::sleep_until(key_until), if up && !ending => {
                    ending = true;
                    self.outbox.finish(KEY_CHANGES);
                    Outcome::Goes
                }
            };
            match outcome {
                Outcome::Goes => {}
                Outcome::Over => return Ok(()),
                Outcome::Fails(reason) => return Err(reason),
            }
        }
    }

    /// Tells the round trip when it has changed much. Not worth waiting for a
    /// reader: the next ping tells again.
    fn measured(&mut self, rtt: Duration) {
        if self.shared.links.outbox(self.meta.id).is_none() || !facts::differs(self.rtt, rtt) {
            return;
        }
        let rtt_ms = facts::ms(rtt);
        let link = self.meta.id;
        let facts = LinkFacts { rtt_ms: Some(rtt_ms), ..LinkFacts::default() };
        if self.shared.events.try_send(NetEvent::Measured { link, facts }).is_ok() {
            self.rtt = Some(rtt);
        }
    }

    fn on_swarm(&mut self, swarm: &mut Swarm<Log>, event: SwarmEvent<LogEvent>) -> Outcome {
        match event {
            SwarmEvent::ConnectionEstablished { connection_id, endpoint, .. } if !self.opened => {
                self.opened = true;
                self.meta.conn = connection_id;
                self.meta.path = addr::path(&endpoint);
                self.meta.ip = addr::ip(endpoint.get_remote_address());
                swarm.behaviour_mut().streams.open(self.peer, connection_id, self.meta.id.0);
                Outcome::Goes
            }
            SwarmEvent::OutgoingConnectionError { error, .. } if !self.opened => {
                Outcome::Fails(dialing::dial_error(&error))
            }
            SwarmEvent::ConnectionClosed { connection_id, .. } if connection_id == self.meta.conn => {
                self.outbox.finish_later(LOST_GRACE, LOST);
                Outcome::Goes
            }
            SwarmEvent::Behaviour(LogEvent::Streams(streams::Event::Opened { stream, .. })) => {
                let task = link::open(self.shared.clone(), self.meta.clone(), stream, self.outbox.clone());
                self.shared.spawn(task);
                Outcome::Goes
            }
            SwarmEvent::Behaviour(LogEvent::Streams(streams::Event::OpenFailed { error, .. })) => {
                Outcome::Fails(failed(dialing::open_error(error)))
            }
            SwarmEvent::Behaviour(LogEvent::Ping(ping::Event { connection, result, .. })) => {
                match result {
                    Ok(rtt) => {
                        self.failed_pings = 0;
                        self.measured(rtt);
                    }
                    Err(ping::Failure::Unsupported) => self.failed_pings = 0,
                    Err(_) => self.failed_pings += 1,
                }
                if self.failed_pings >= PING_FAILURES_MAX {
                    self.outbox.cut(SILENT);
                    swarm.close_connection(connection);
                }
                Outcome::Goes
            }
            _ => Outcome::Goes,
        }
    }
}

fn failed(why: Failed) -> String {
    match why {
        Failed::Unknown => dialing::OTHER_VERSION.into(),
        Failed::Full => "the relay has no room for another connection; try again later".into(),
        Failed::Timeout | Failed::Broken | Failed::Duplicate | Failed::Needless => {
            "the relay does not answer".into()
        }
    }
}
