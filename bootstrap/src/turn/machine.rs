//! Who may allocate, what is relayed, and what is shed.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use subtle::ConstantTimeEq as _;

use super::allocation::{Allocation, Made};
use super::credentials::{self, Secrets, hmac_sha1};
use super::guard::Guard;
use super::stun::{Builder, Class, Message, attr, channel_data, channel_frame, method};
use crate::rate::Bucket;
use crate::service::Now;

/// Lifetime of an allocation unless asked for another, and the longest, s.
const LIFETIME_S: (u32, u32) = (600, 3600);
/// An allocation ends after this long, refreshed or not, ms.
const ALLOCATION_MS_MAX: u64 = 24 * 3_600_000;
/// How long a nonce serves, ms; twice as long at most.
const NONCE_MS: u64 = 1_800_000;
/// Requests per second of one address, on average.
const REQUESTS_PER_S: u64 = 50;
/// Addresses whose requests are counted at once; what comes from others while
/// it is full is dropped and counted.
const SOURCES_MAX: usize = 16_384;
/// Credentials whose use is counted at once; others get no allocation while
/// it is full.
const USERS_MAX: usize = 65_536;
/// The largest datagram that is relayed.
const DATAGRAM_BYTES_MAX: usize = 4096;
const SOFTWARE: &[u8] = b"kith-bootstrap";
const UDP: u8 = 17;

/// A client: which socket or stream it comes through, and from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Client {
    /// The listening socket, or the accepted stream.
    pub via: u64,
    /// Its address.
    pub addr: SocketAddr,
    /// Over a stream (frames are padded).
    pub stream: bool,
}

/// Names a relayed address for its lifetime; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RelayId(pub u64);

/// Opens and closes relayed addresses.
pub trait Relays {
    /// Opens one of the family (with an even port if asked); `None`: this
    /// relay has none, or none is free.
    fn open(&mut self, id: RelayId, v6: bool, even: bool) -> Option<SocketAddr>;
    /// Whether there can be addresses of that family.
    fn serves(&self, v6: bool) -> bool;
    /// Closes it.
    fn close(&mut self, id: RelayId);
}

/// What is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// To a client.
    Client(Client, Vec<u8>),
    /// From a relayed address to a peer.
    Peer(RelayId, SocketAddr, Vec<u8>),
}

/// What does not change.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Name of the server in the authentication.
    pub realm: String,
    /// What credentials are checked with.
    pub secrets: Secrets,
    /// Who may be a peer.
    pub guard: Guard,
    /// Allocations at once.
    pub allocations: usize,
    /// The same for one credential.
    pub allocations_per_user: usize,
    /// The same for one address.
    pub allocations_per_ip: usize,
    /// Bytes per second of one allocation, both ways together.
    pub bytes_per_s: u64,
    /// Bytes per second of all.
    pub total_bytes_per_s: u64,
    /// Bytes under one credential.
    pub user_bytes: u64,
    /// Random: nonces are made with it.
    pub seed: [u8; 32],
}

/// What happened, in numbers: nothing that names anybody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Answers to STUN binding requests.
    pub bindings: u64,
    /// Allocations made.
    pub allocated: u64,
    /// Allocations that stand.
    pub allocations: u64,
    /// Requests refused for want of valid credentials.
    pub unauthorised: u64,
    /// Requests refused because a quota is used up.
    pub over_quota: u64,
    /// Peers refused because of their address.
    pub forbidden: u64,
    /// Bytes from clients to peers.
    pub bytes_out: u64,
    /// Bytes from peers to clients.
    pub bytes_in: u64,
    /// Datagrams dropped: over budget, too large, or unasked for.
    pub dropped: u64,
    /// Requests dropped because their source asks too much.
    pub shed: u64,
}

#[derive(Default)]
struct User {
    allocations: usize,
    bytes: u64,
    end_s: u64,
}

/// A STUN and TURN server.
pub struct Machine {
    rules: Rules,
    allocations: BTreeMap<Client, Allocation>,
    relays: BTreeMap<RelayId, Client>,
    users: BTreeMap<String, User>,
    ips: BTreeMap<IpAddr, usize>,
    sources: BTreeMap<IpAddr, (Bucket, u64)>,
    total: Bucket,
    next: u64,
    counters: Counters,
}

/// An error answer: code and reason.
struct No(u16, &'static str);

const UNAUTHORIZED: No = No(401, "Unauthorized");
const BAD_REQUEST: No = No(400, "Bad Request");
const STALE: No = No(438, "Stale Nonce");
const MISMATCH: No = No(437, "Allocation Mismatch");
const QUOTA: No = No(486, "Allocation Quota Reached");
const FORBIDDEN: No = No(403, "Forbidden");
const FULL: No = No(508, "Insufficient Capacity");

/// One request, authenticated.
struct Asked<'a, 'm> {
    message: &'m Message<'a>,
    tx: [u8; 12],
    client: Client,
    username: &'a str,
    key: [u8; 16],
    now: Now,
}

/// An address for counting: IPv6 by the /64 of one network.
fn source(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() >> 64 << 64).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Machine {
    /// Nothing allocated yet.
    #[must_use]
    pub fn new(rules: Rules, now: Now) -> Self {
        let total = Bucket::full(rules.total_bytes_per_s, now.mono_ms);
        Self {
            rules,
            allocations: BTreeMap::new(),
            relays: BTreeMap::new(),
            users: BTreeMap::new(),
            ips: BTreeMap::new(),
            sources: BTreeMap::new(),
            total,
            next: 1,
            counters: Counters::default(),
        }
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters { allocations: self.allocations.len() as u64, ..self.counters }
    }

    /// Whether this client has an allocation.
    #[must_use]
    pub fn holds(&self, client: &Client) -> bool {
        self.allocations.contains_key(client)
    }

    /// A datagram or frame of a client.
    pub fn client(
        &mut self,
        now: Now,
        client: Client,
        bytes: &[u8],
        relays: &mut dyn Relays,
    ) -> Option<Output> {
        if let Some((number, data)) = channel_data(bytes) {
            let peer = self.allocations.get(&client)?.channel(number, now.mono_ms);
            return match peer {
                Some(peer) => self.pass_to_peer(now, client, peer, data),
                None => self.dropped(),
            };
        }
        let message = Message::parse(bytes)?;
        match (message.class, message.method) {
            (Class::Indication, method::SEND) => self.send(now, client, &message),
            (Class::Request, _) => {
                if !self.admit(now, client.addr.ip()) {
                    self.counters.shed += 1;
                    return None;
                }
                let answer = self.request(now, client, &message, relays);
                Some(Output::Client(client, answer))
            }
            _ => None,
        }
    }

    /// A datagram that came to a relayed address.
    pub fn peer(&mut self, now: Now, relay: RelayId, from: SocketAddr, data: &[u8]) -> Option<Output> {
        let client = *self.relays.get(&relay)?;
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let a = self.allocations.get(&client)?;
        let wanted = a.permits(from.ip(), now.mono_ms) && self.rules.guard.allows(&from);
        let number = a.number(&from, now.mono_ms);
        if !wanted || !self.spend(now, client, data.len()) {
            return self.dropped();
        }
        self.counters.bytes_in += data.len() as u64;
        let frame = match number {
            Some(number) => channel_frame(number, data, client.stream),
            None => {
                let mut tx = [0; 12];
                // Indications have no answers: numbers are as good as noise.
                tx[..8].copy_from_slice(&self.counters.bytes_in.to_be_bytes());
                Builder::new(Class::Indication, method::DATA, tx)
                    .address(attr::PEER, from)
                    .put(attr::DATA, data)
                    .bare()
            }
        };
        Some(Output::Client(client, frame))
    }

    /// A client's stream is gone, and its allocation with it.
    pub fn gone(&mut self, client: &Client, relays: &mut dyn Relays) {
        if let Some(a) = self.allocations.remove(client) {
            self.release(&a, relays);
        }
    }

    /// Ends what has run out.
    pub fn expire(&mut self, now: Now, relays: &mut dyn Relays) {
        let over: Vec<Client> = self
            .allocations
            .iter()
            .filter(|(_, a)| now.mono_ms >= a.until_ms.min(a.end_ms))
            .map(|(client, _)| *client)
            .collect();
        for client in over {
            self.gone(&client, relays);
        }
        for a in self.allocations.values_mut() {
            a.expire(now.mono_ms);
        }
        let now_s = now.wall_ms / 1000;
        self.users.retain(|_, user| user.allocations > 0 || user.end_s > now_s);
        self.sources.retain(|_, (_, at)| at.saturating_add(2000) > now.mono_ms);
    }

    fn release(&mut self, a: &Allocation, relays: &mut dyn Relays) {
        relays.close(a.relay);
        self.relays.remove(&a.relay);
        if let Some(user) = self.users.get_mut(&a.username) {
            user.allocations = user.allocations.saturating_sub(1);
        }
        let ip = source(a.client.addr.ip());
        if let Some(count) = self.ips.get_mut(&ip) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.ips.remove(&ip);
            }
        }
    }

    fn dropped(&mut self) -> Option<Output> {
        self.counters.dropped += 1;
        None
    }

    fn admit(&mut self, now: Now, ip: IpAddr) -> bool {
        let ip = source(ip);
        if !self.sources.contains_key(&ip) && self.sources.len() >= SOURCES_MAX {
            self.sources.retain(|_, (_, at)| at.saturating_add(2000) > now.mono_ms);
            if self.sources.len() >= SOURCES_MAX {
                return false;
            }
        }
        let (bucket, at) =
            self.sources.entry(ip).or_insert_with(|| (Bucket::full(REQUESTS_PER_S, now.mono_ms), 0));
        *at = now.mono_ms;
        bucket.take(1, REQUESTS_PER_S, now.mono_ms).is_ok()
    }

    /// Takes bytes from every budget that they count for.
    fn spend(&mut self, now: Now, client: Client, len: usize) -> bool {
        let len = len as u64;
        let Some(a) = self.allocations.get_mut(&client) else { return false };
        let Some(user) = self.users.get_mut(&a.username) else { return false };
        if len > DATAGRAM_BYTES_MAX as u64
            || user.bytes.saturating_add(len) > self.rules.user_bytes
            || a.budget.take(len, self.rules.bytes_per_s, now.mono_ms).is_err()
            || self.total.take(len, self.rules.total_bytes_per_s, now.mono_ms).is_err()
        {
            return false;
        }
        user.bytes += len;
        true
    }

    fn pass_to_peer(&mut self, now: Now, client: Client, peer: SocketAddr, data: &[u8]) -> Option<Output> {
        let a = self.allocations.get(&client)?;
        let relay = a.relay;
        if !a.permits(peer.ip(), now.mono_ms)
            || !self.rules.guard.allows(&peer)
            || peer.is_ipv4() != a.relayed.is_ipv4()
            || !self.spend(now, client, data.len())
        {
            return self.dropped();
        }
        self.counters.bytes_out += data.len() as u64;
        Some(Output::Peer(relay, peer, data.to_vec()))
    }

    fn send(&mut self, now: Now, client: Client, message: &Message<'_>) -> Option<Output> {
        let peer = *message.addresses(attr::PEER)?.first()?;
        let data = message.get(attr::DATA)?;
        if !message.unknown().is_empty() {
            return self.dropped();
        }
        self.pass_to_peer(now, client, peer, data)
    }

    fn request(
        &mut self,
        now: Now,
        client: Client,
        message: &Message<'_>,
        relays: &mut dyn Relays,
    ) -> Vec<u8> {
        let unknown = message.unknown();
        if !unknown.is_empty() {
            let kinds: Vec<u8> = unknown.iter().flat_map(|k| k.to_be_bytes()).collect();
            let answer = message.answer(Class::Error).error(420, "Unknown Attribute");
            return answer.put(attr::UNKNOWN, &kinds).finish(None);
        }
        if message.method == method::BINDING {
            self.counters.bindings += 1;
            let at = SocketAddr::new(client.addr.ip().to_canonical(), client.addr.port());
            return message.answer(Class::Success).address(attr::MAPPED, at).finish(None);
        }
        let (username, key) = match self.authenticate(now, client, message) {
            Ok(who) => who,
            Err(no @ No(code, _)) => {
                let mut answer = message.answer(Class::Error).error(no.0, no.1);
                if matches!(code, 401 | 438) {
                    answer = answer
                        .put(attr::REALM, self.rules.realm.as_bytes())
                        .put(attr::NONCE, self.nonce(client.addr.ip(), now.mono_ms / NONCE_MS).as_bytes());
                }
                return answer.finish(None);
            }
        };
        let asked = Asked { message, tx: message.tx(), client, username, key, now };
        let result = match message.method {
            method::ALLOCATE => self.allocate(&asked, relays),
            method::REFRESH => self.refresh(&asked, relays),
            method::CREATE_PERMISSION => self.permit(&asked),
            method::CHANNEL_BIND => self.bind(&asked),
            _ => Err(BAD_REQUEST),
        };
        let answer = match result {
            Ok(answer) => answer.put(attr::SOFTWARE, SOFTWARE),
            Err(No(code, reason)) => {
                match code {
                    403 => self.counters.forbidden += 1,
                    486 | 508 => self.counters.over_quota += 1,
                    _ => {}
                }
                message.answer(Class::Error).error(code, reason)
            }
        };
        answer.finish(Some(&key))
    }

    fn nonce(&self, ip: IpAddr, period: u64) -> String {
        let ip = match source(ip) {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let mac = hmac_sha1(&self.rules.seed, &[&period.to_be_bytes(), &ip]);
        data_encoding::HEXLOWER.encode(&mac)
    }

    fn authenticate<'a>(
        &mut self,
        now: Now,
        client: Client,
        message: &Message<'a>,
    ) -> Result<(&'a str, [u8; 16]), No> {
        if !message.has_integrity() {
            return Err(UNAUTHORIZED);
        }
        let (Some(username), Some(realm), Some(nonce)) =
            (message.text(attr::USERNAME), message.text(attr::REALM), message.text(attr::NONCE))
        else {
            return Err(BAD_REQUEST);
        };
        let period = now.mono_ms / NONCE_MS;
        let fresh = [Some(period), period.checked_sub(1)]
            .into_iter()
            .flatten()
            .any(|p| self.nonce(client.addr.ip(), p).as_bytes().ct_eq(nonce.as_bytes()).into());
        if !fresh {
            return Err(STALE);
        }
        if let Some(a) = self.allocations.get(&client) {
            // What stands goes on when its credentials have run out.
            return if a.username != username {
                Err(No(441, "Wrong Credentials"))
            } else if message.is_signed(&a.key) {
                Ok((username, a.key))
            } else {
                self.counters.unauthorised += 1;
                Err(UNAUTHORIZED)
            };
        }
        let valid = realm == self.rules.realm
            && credentials::end_s(username).is_some_and(|end| end > now.wall_ms / 1000);
        let key = self.rules.secrets.keys(username, realm).find(|key| message.is_signed(key));
        match key {
            Some(key) if valid => Ok((username, key)),
            _ => {
                self.counters.unauthorised += 1;
                Err(UNAUTHORIZED)
            }
        }
    }

    fn allocate(&mut self, asked: &Asked<'_, '_>, relays: &mut dyn Relays) -> Result<Builder, No> {
        let Asked { message, tx, client, username, key, now } = *asked;
        if let Some(a) = self.allocations.get(&client) {
            let left = a.until_ms.saturating_sub(now.mono_ms) / 1000;
            return if a.made_by == tx {
                Ok(allocated(message, a.relayed, client, left))
            } else {
                Err(MISMATCH)
            };
        }
        match message.get(attr::TRANSPORT) {
            Some([UDP, ..]) => {}
            Some(_) => return Err(No(442, "Unsupported Transport Protocol")),
            None => return Err(BAD_REQUEST),
        }
        let v6 = match message.get(attr::FAMILY) {
            None | Some([1, ..]) => false,
            Some([2, ..]) => true,
            Some(_) => return Err(No(440, "Address Family not Supported")),
        };
        if !relays.serves(v6) {
            return Err(No(440, "Address Family not Supported"));
        }
        let even = match message.get(attr::EVEN_PORT) {
            None => false,
            // A second port cannot be put aside.
            Some([flags, ..]) if flags >> 7 == 1 => return Err(FULL),
            Some(_) => true,
        };
        let ip = source(client.addr.ip());
        let user = self.users.get(username);
        let of_user = user.map_or(0, |u| u.allocations);
        if self.allocations.len() >= self.rules.allocations
            || (user.is_none() && self.users.len() >= USERS_MAX)
        {
            return Err(FULL);
        }
        if of_user >= self.rules.allocations_per_user
            || self.ips.get(&ip).copied().unwrap_or(0) >= self.rules.allocations_per_ip
            || user.is_some_and(|u| u.bytes >= self.rules.user_bytes)
        {
            return Err(QUOTA);
        }
        let relay = RelayId(self.next);
        let relayed = relays.open(relay, v6, even).ok_or(FULL)?;
        self.next += 1;
        let lifetime = u64::from(lifetime(message));
        let made = Made {
            client,
            relay,
            relayed,
            username: username.to_owned(),
            key,
            made_by: tx,
            budget: Bucket::full(self.rules.bytes_per_s, now.mono_ms),
        };
        let end_ms = now.mono_ms + ALLOCATION_MS_MAX;
        self.allocations.insert(client, Allocation::new(made, now.mono_ms + lifetime * 1000, end_ms));
        self.relays.insert(relay, client);
        let user = self.users.entry(username.to_owned()).or_default();
        user.allocations += 1;
        user.end_s = credentials::end_s(username).unwrap_or(0);
        *self.ips.entry(ip).or_default() += 1;
        self.counters.allocated += 1;
        Ok(allocated(message, relayed, client, lifetime))
    }

    fn refresh(&mut self, asked: &Asked<'_, '_>, relays: &mut dyn Relays) -> Result<Builder, No> {
        let a = self.allocations.get_mut(&asked.client).ok_or(MISMATCH)?;
        let lifetime = if asked.message.u32(attr::LIFETIME) == Some(0) { 0 } else { lifetime(asked.message) };
        if lifetime == 0 {
            self.gone(&asked.client, relays);
        } else {
            a.until_ms = asked.now.mono_ms + u64::from(lifetime) * 1000;
        }
        Ok(asked.message.answer(Class::Success).put(attr::LIFETIME, &lifetime.to_be_bytes()))
    }

    /// The peers of a request, all of them allowed.
    fn peers(&self, asked: &Asked<'_, '_>) -> Result<Vec<SocketAddr>, No> {
        let a = self.allocations.get(&asked.client).ok_or(MISMATCH)?;
        let peers = asked.message.addresses(attr::PEER).filter(|p| !p.is_empty()).ok_or(BAD_REQUEST)?;
        for peer in &peers {
            if !self.rules.guard.allows_ip(peer.ip()) {
                return Err(FORBIDDEN);
            }
            if peer.is_ipv4() != a.relayed.is_ipv4() {
                return Err(No(443, "Peer Address Family Mismatch"));
            }
        }
        Ok(peers)
    }

    fn permit(&mut self, asked: &Asked<'_, '_>) -> Result<Builder, No> {
        let peers = self.peers(asked)?;
        let a = self.allocations.get_mut(&asked.client).ok_or(MISMATCH)?;
        if !peers.iter().all(|peer| a.permit(peer.ip(), asked.now.mono_ms)) {
            return Err(FULL);
        }
        Ok(asked.message.answer(Class::Success))
    }

    fn bind(&mut self, asked: &Asked<'_, '_>) -> Result<Builder, No> {
        let peer = *self.peers(asked)?.first().ok_or(BAD_REQUEST)?;
        if !self.rules.guard.allows(&peer) {
            return Err(FORBIDDEN);
        }
        let number = asked.message.u32(attr::CHANNEL).ok_or(BAD_REQUEST)?;
        let number = u16::try_from(number >> 16).map_err(|_| BAD_REQUEST)?;
        let a = self.allocations.get_mut(&asked.client).ok_or(MISMATCH)?;
        if !a.bind(number, peer, asked.now.mono_ms) {
            return Err(BAD_REQUEST);
        }
        Ok(asked.message.answer(Class::Success))
    }
}

fn lifetime(message: &Message<'_>) -> u32 {
    message.u32(attr::LIFETIME).unwrap_or(0).clamp(LIFETIME_S.0, LIFETIME_S.1)
}

fn allocated(message: &Message<'_>, relayed: SocketAddr, client: Client, lifetime_s: u64) -> Builder {
    let mapped = SocketAddr::new(client.addr.ip().to_canonical(), client.addr.port());
    message
        .answer(Class::Success)
        .address(attr::RELAYED, relayed)
        .address(attr::MAPPED, mapped)
        .put(attr::LIFETIME, &u32::try_from(lifetime_s).unwrap_or(u32::MAX).to_be_bytes())
}
