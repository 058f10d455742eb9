//! What the swarm, its behaviours and the links' tasks say, and what follows.

use std::time::{Duration, Instant};

use kith_wire::net::{LinkKind, NetEvent, Path};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{ConnectionId, DialError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, identify, mdns, ping, relay, upnp};

use super::{Conn, Contact, EVENTS_WAITING_MAX, LISTEN_ADDRS_MAX, TASKS_MAX};
use crate::addr::{self, Way};
use crate::link::{self, Note};
use crate::swarm::{ContactEvent, PING_FAILURES_MAX};
use crate::table::{Meta, RELAYED_GRACE};
use crate::{dialing, facts, keys, outside, streams};

/// Neighbours that one word from the own network may name.
const NEARBY_AT_ONCE_MAX: usize = 64;

impl Contact {
    pub(super) fn on_swarm(&mut self, event: SwarmEvent<ContactEvent>) {
        let now = Instant::now();
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event, now),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                let Some(key) = keys::peer_key(&peer_id) else {
                    self.swarm.close_connection(connection_id);
                    return;
                };
                let path = addr::path(&endpoint);
                // A direct connection that neither side could simply dial
                // comes while a circuit leads to the same peer.
                let dialed_by_us = self.attempts.get(&peer_id).is_some_and(|a| a.is_dialing(connection_id));
                let punched = path != Path::Circuit
                    && !dialed_by_us
                    && self.conns.values().any(|c| c.peer == peer_id && c.path == Path::Circuit);
                let conn = Conn {
                    punched,
                    via: addr::relay_of(&endpoint),
                    rtt: None,
                    rtt_told: None,
                    peer: peer_id,
                    key,
                    path,
                    addr: plain(endpoint.get_remote_address()),
                    dialed: path != Path::Circuit && endpoint.is_dialer(),
                    hop: None,
                    failed_pings: 0,
                    upgraded: false,
                };
                let dialed = conn.dialed;
                tracing::debug!(?path, dialed, punched, "connected");
                self.conns.insert(connection_id, conn);
                if let Some(attempt) = self.attempts.get_mut(&peer_id) {
                    attempt.dial_ended(connection_id, None);
                }
                if dialed && !self.probes.contains(&connection_id) {
                    self.relays.connected(peer_id, connection_id, path, now);
                }
                self.upgrade(peer_id);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                tracing::debug!(by_us = cause.is_none(), "disconnected");
                self.probes.remove(&connection_id);
                self.checks.retain(|_, (conn, _)| *conn != connection_id);
                if let Some(c) = self.conns.remove(&connection_id) {
                    self.shared.links.lost(LinkKind::Peer, c.key, connection_id);
                }
                self.relays.disconnected(peer_id, connection_id, now);
                if !self.conns.values().any(|c| c.peer == peer_id) {
                    self.observed.gone(&peer_id);
                    self.tell_outside();
                }
                let lost: Vec<u64> = self
                    .opening
                    .iter()
                    .filter(|(_, o)| o.meta.conn == connection_id)
                    .map(|(token, _)| *token)
                    .collect();
                for token in lost {
                    self.stream_failed(token, link::Failed::Broken);
                }
                // Who waits for these hears that they are gone.
                self.blobs_opening.retain(|_, (_, conn, _)| *conn != connection_id);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, .. }
                if self.probes.remove(&connection_id) => {}
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id: Some(peer), error } => {
                tracing::debug!(reason = dialing::dial_error(&error), "not connected");
                if let Some(attempt) = self.attempts.get_mut(&peer) {
                    let smaller = self.config.key < attempt.key;
                    let again = matches!(error, DialError::Transport(_))
                        && attempt.dial_again(connection_id, smaller, now);
                    if !again {
                        attempt.dial_ended(connection_id, Some(dialing::dial_error(&error)));
                    }
                }
                self.relays.dial_failed(peer, now);
            }
            SwarmEvent::NewListenAddr { listener_id, address } => {
                let addrs = self.listening.entry(listener_id).or_default();
                if addrs.len() < LISTEN_ADDRS_MAX && !addrs.contains(&address) {
                    addrs.push(address);
                }
                self.tell_addresses();
            }
            SwarmEvent::ExpiredListenAddr { listener_id, address } => {
                if let Some(addrs) = self.listening.get_mut(&listener_id) {
                    addrs.retain(|a| *a != address);
                }
                if !self.circuit_listeners.contains_key(&listener_id) {
                    // This computer has left a network.
                    self.check(now);
                }
                self.tell_addresses();
            }
            SwarmEvent::ListenerClosed { listener_id, .. } => {
                self.listening.remove(&listener_id);
                self.circuit_listeners.remove(&listener_id);
                self.relays.listener_closed(listener_id, now);
                self.tell_addresses();
            }
            // Identify would tell it to everybody; only contacts get it, sealed.
            SwarmEvent::ExternalAddrConfirmed { address } => self.swarm.remove_external_address(&address),
            _ => {}
        }
    }

    fn on_behaviour(&mut self, event: ContactEvent, now: Instant) {
        match event {
            ContactEvent::Streams(streams::Event::Inbound { conn, stream }) => {
                let Some(c) = self.conns.get(&conn) else { return };
                if self.shared.tasks.len() >= TASKS_MAX {
                    return;
                }
                let meta = Meta::new(LinkKind::Peer, c.key, self.config.key, c.path, conn, addr::ip(&c.addr));
                match self.shared.links.offer(&meta) {
                    Ok(outbox) => {
                        self.shared.spawn(link::accept(self.shared.clone(), meta, stream, outbox));
                    }
                    Err(why) => {
                        self.shared.spawn(link::refuse(stream, why));
                    }
                }
            }
            ContactEvent::Streams(streams::Event::Opened { token, stream }) => {
                // Gone if the connection was closed meanwhile; the stream drops.
                if let Some(o) = self.opening.get(&token) {
                    let (meta, outbox) = (o.meta.clone(), o.outbox.clone());
                    self.shared.spawn(link::open(self.shared.clone(), meta, stream, outbox));
                }
            }
            ContactEvent::Streams(streams::Event::OpenFailed { token, error }) => {
                self.stream_failed(token, dialing::open_error(error));
            }
            ContactEvent::Blobs(event) => self.on_blob(event),
            // Whatever the answer was, it is one.
            ContactEvent::Alive(streams::Event::Opened { token, .. }) => {
                self.checks.remove(&token);
            }
            ContactEvent::Alive(streams::Event::OpenFailed { token, error })
                if error != streams::OpenError::Timeout =>
            {
                self.checks.remove(&token);
            }
            ContactEvent::Mdns(mdns::Event::Discovered(found)) => {
                for (peer, addr) in found.into_iter().take(NEARBY_AT_ONCE_MAX) {
                    if let Some(Way::Direct(addr)) = addr::way(&addr.to_string(), &peer) {
                        self.found_nearby(peer, addr, now);
                    }
                }
            }
            ContactEvent::Mdns(mdns::Event::Expired(gone)) => {
                for (peer, addr) in gone {
                    self.nearby.gone(&peer, &plain(&addr));
                }
            }
            ContactEvent::Upnp(upnp::Event::NewExternalAddr { external_addr, .. })
                if !self.mapped.contains(&external_addr) && self.mapped.len() < LISTEN_ADDRS_MAX =>
            {
                self.mapped.push(external_addr);
                self.tell_addresses();
            }
            ContactEvent::Upnp(upnp::Event::ExpiredExternalAddr { external_addr, .. }) => {
                self.mapped.retain(|a| *a != external_addr);
                self.tell_addresses();
            }
            ContactEvent::Outside(outside::Tested) => self.tell_outside(),
            ContactEvent::Relay(relay::client::Event::ReservationReqAccepted { relay_peer_id, .. }) => {
                self.relays.granted(relay_peer_id, now);
                self.probe(relay_peer_id);
                self.tell_addresses();
            }
            ContactEvent::Identify(identify::Event::Received { peer_id, connection_id, info }) => {
                let hop = info.protocols.contains(&relay::HOP_PROTOCOL_NAME);
                if let Some(c) = self.conns.get_mut(&connection_id) {
                    c.hop = Some(hop);
                    // Far ends in the own network see what the router does not change.
                    let far = !addr::ip(&c.addr).is_some_and(addr::is_near);
                    if c.dialed && far && c.path == Path::DirectQuic {
                        self.observed.seen(peer_id, plain(&info.observed_addr));
                        self.tell_outside();
                    }
                }
                if self.probes.remove(&connection_id) {
                    self.swarm.close_connection(connection_id);
                    return;
                }
                self.relays.identified(peer_id, connection_id, hop, now);
            }
            ContactEvent::Ping(ping::Event { connection, result, .. }) => {
                let Some(c) = self.conns.get_mut(&connection) else { return };
                match result {
                    Ok(rtt) => {
                        c.failed_pings = 0;
                        c.rtt = Some(rtt);
                        if facts::differs(c.rtt_told, rtt) {
                            c.rtt_told = Some(rtt);
                            self.tell_facts(connection);
                        }
                    }
                    Err(ping::Failure::Unsupported) => c.failed_pings = 0,
                    Err(_) => {
                        c.failed_pings += 1;
                        if c.failed_pings >= PING_FAILURES_MAX {
                            self.end_silent(connection);
                        }
                    }
                }
            }
            _ => {}
        }
    }

    /// A neighbour has told an address: an attempt to reach it goes there, and
    /// whoever would try again later is told to do so now.
    fn found_nearby(&mut self, peer: PeerId, addr: Multiaddr, now: Instant) {
        if !self.nearby.found(peer, addr.clone()) {
            return;
        }
        if let Some(attempt) = self.attempts.get_mut(&peer) {
            attempt.nearby(addr, now);
        }
        if let Some(peer) = keys::peer_key(&peer)
            && self.waiting.len() < EVENTS_WAITING_MAX
        {
            self.waiting.retain(|e| !matches!(e, NetEvent::Nearby { peer: p } if *p == peer));
            self.waiting.push_back(NetEvent::Nearby { peer });
        }
    }

    /// A stream that was asked for will not become a link.
    fn stream_failed(&mut self, token: u64, why: link::Failed) {
        if let Some(o) = self.opening.remove(&token) {
            self.shared.links.remove(o.meta.id);
            self.open_failed(o.peer, o.meta.conn, why);
        }
    }

    pub(super) fn on_note(&mut self, note: Note) {
        match note {
            Note::Up(meta) => {
                tracing::debug!(path = ?meta.path, "a link is up");
                self.opening.remove(&meta.id.0);
                self.tell_facts(meta.conn);
                let Some(peer) = keys::peer_id(&meta.peer) else { return };
                self.attempts.remove(&peer);
                if meta.path == Path::Circuit {
                    self.upgrade(peer);
                    return;
                }
                // dcutr keeps relayed connections open for ever.
                let at = Instant::now() + RELAYED_GRACE + Duration::from_millis(500);
                let relayed = self.conns.iter().filter(|(_, c)| c.peer == peer && c.path == Path::Circuit);
                self.close_later.extend(relayed.map(|(id, _)| (at, *id)));
            }
            Note::Ended(meta) => {
                self.opening.remove(&meta.id.0);
                if meta.path == Path::Circuit {
                    self.close_unused(meta.conn);
                }
            }
            Note::Failed(meta, why) => {
                // Of a stream of theirs nobody here waits for the outcome.
                if self.opening.contains_key(&meta.id.0) {
                    self.stream_failed(meta.id.0, why);
                }
            }
        }
    }

    /// Tells what is known of the links on a connection.
    pub(super) fn tell_facts(&mut self, conn: ConnectionId) {
        let Some(c) = self.conns.get(&conn) else { return };
        let facts = c.facts();
        for link in self.shared.links.up_on(LinkKind::Peer, c.key, conn) {
            // Only the newest word about a link matters.
            self.waiting.retain(|e| !matches!(e, NetEvent::Measured { link: l, .. } if *l == link));
            self.waiting.push_back(NetEvent::Measured { link, facts });
        }
    }

    /// Tells how others see this node, and has it found out whether they can
    /// call it there.
    pub(super) fn tell_outside(&mut self) {
        let own: Vec<Multiaddr> = self.listening.values().flatten().cloned().collect();
        let mapping = self.observed.mapping(&own);
        let tests = self.swarm.behaviour_mut().outside.as_mut();
        let inbound = self.observed.agreed().zip(tests).and_then(|(addr, tests)| tests.ask(addr));
        if (mapping, inbound) != self.outside {
            self.outside = (mapping, inbound);
            // Only the newest word about it matters.
            self.waiting.retain(|e| !matches!(e, NetEvent::Outside { .. }));
            self.waiting.push_back(NetEvent::Outside { mapping, inbound });
        }
    }

    pub(super) fn tell_addresses(&mut self) {
        let (mut plain, mut circuits) = (self.mapped.clone(), Vec::new());
        for (listener, addrs) in &self.listening {
            if self.circuit_listeners.contains_key(listener) {
                circuits.extend(addrs.iter().cloned());
            } else {
                plain.extend(addrs.iter().cloned());
            }
        }
        let addrs = addr::own(&plain, &circuits, &self.me);
        if self.told.as_ref() == Some(&addrs) {
            return;
        }
        self.told = Some(addrs.clone());
        // Only the newest set matters.
        self.waiting.retain(|e| !matches!(e, NetEvent::Addresses { .. }));
        self.waiting.push_back(NetEvent::Addresses { addrs });
    }
}

/// An address without `/p2p/…` at the end.
fn plain(addr: &Multiaddr) -> Multiaddr {
    let mut short = addr.clone();
    match short.pop() {
        Some(Protocol::P2p(_)) => short,
        _ => addr.clone(),
    }
}
