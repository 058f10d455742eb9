//! The service: links, one burst of frames, its commit, what goes out then.
//!
//! Handlers of single calls lie in the modules below; each works on one
//! transaction that is dropped when the call is refused. What they answer is
//! held back until the burst's batch is durable.

mod chunks;
mod inbox;
mod link;
mod log;
mod sweep;
mod topics;
mod turn;
mod watch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ed25519_dalek::SigningKey;
use kith_store::{Key, Overlay, Store, StoreError, Table, Tx};
use kith_wire::crypto::{self, Secret};
use kith_wire::ids::{BlobId, PeerKey, RelayId, TopicId};
use kith_wire::net::LinkId;
use kith_wire::relay::{
    Answer, Call, ClientFrame, Code, Push, Refusal, ServerFrame, Statement, VERSIONS, common_version,
    frame_number,
};
use kith_wire::topic::kinds;
use kith_wire::{labels, limits as wire_limits, object::Versioned as _};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use subtle::ConstantTimeEq as _;

use crate::limits::Limits;
use crate::rows;
use link::Link;

pub use chunks::{ChunkStore, Known, MemoryChunks};
pub use turn::TurnSetup;

/// Version of the rows that this service writes.
const SCHEMA: u32 = 1;
/// Frames on one link that could not be read before it is closed.
const MALFORMED_MAX: u32 = 16;
/// Wait that a refusal names when only expiry frees space, ms.
const RETRY_FULL_MS: u64 = 3_600_000;
/// Wait that a refusal names when somebody else has to act first, ms.
const RETRY_OTHERS_MS: u64 = 30_000;

/// Wall and monotonic time of one input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Unix time in milliseconds. May jump.
    pub wall_ms: u64,
    /// Monotonic milliseconds since some start. Never goes back.
    pub mono_ms: u64,
}

/// What goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send a frame.
    Send {
        /// Where.
        link: LinkId,
        /// The frame.
        frame: Vec<u8>,
    },
    /// Close a link, after what was sent before.
    Close {
        /// Which.
        link: LinkId,
    },
}

/// What a service is opened with.
pub struct Setup {
    /// The relay's key.
    pub key: SigningKey,
    /// Its name, for people.
    pub name: String,
    /// The token that members show; `None` = whoever comes is a member.
    pub admission: Option<Vec<u8>>,
    /// Whether others may use topics that members started, and deliver with
    /// an inbox's tokens.
    pub guests: bool,
    /// Limits.
    pub limits: Limits,
    /// Random: nonces come from it.
    pub seed: [u8; 32],
}

/// Why a service does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The rows are another relay's.
    #[error(
        "this data folder belongs to a relay with another key: put its key file back, or choose another folder with --data"
    )]
    OtherRelay,
}

/// What handlers share and never change.
pub(crate) struct Relay {
    key: SigningKey,
    id: RelayId,
    limits: Limits,
    admission: Option<Vec<u8>>,
    guests: bool,
    turn: Option<TurnSetup>,
    /// Keys the hash of address prefixes.
    charge_secret: [u8; 32],
    statement: Vec<u8>,
}

/// Why a call ends without an answer.
enum Stop {
    Refused(Refusal),
    Store(StoreError),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
impl From<StoreError> for Stop {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

fn no<T>(code: Code) -> Result<T, Stop> {
    Err(Refusal::of(code).into())
}

/// What follows from a call that was carried out.
enum Effect {
    /// A topic has a new entry.
    Appended(TopicId),
    /// A link watches a topic.
    Watching(TopicId),
    /// A link no longer watches a topic.
    Unwatching(TopicId),
    /// A link got credit.
    Credit,
    /// Few key packages are left.
    PackagesLow { inbox: TopicId, left: u64 },
    /// A chunk's bytes were stored.
    StoredChunk(BlobId),
    /// A chunk's record is gone.
    DroppedChunk(BlobId),
}

/// One call's transaction and tools.
struct Ctx<'a> {
    tx: Tx<'a>,
    now: Now,
    relay: &'a Relay,
    chunks: &'a mut dyn ChunkStore,
    effects: Vec<Effect>,
}

struct Staged {
    link: LinkId,
    number: u64,
    frame: Vec<u8>,
}

/// A blind log over a store.
pub struct Service<S, C> {
    store: S,
    chunks: C,
    relay: Relay,
    rng: ChaCha20Rng,
    links: BTreeMap<LinkId, Link>,
    watchers: BTreeMap<TopicId, BTreeSet<LinkId>>,
    /// Links that may be sent more live entries now.
    hungry: BTreeSet<LinkId>,
    /// Where the pump goes on, so that all links get their turn.
    pump_from: LinkId,
    pending: Overlay,
    staged: Vec<Staged>,
    staged_bytes: usize,
    stored_chunks: Vec<BlobId>,
    dropped_chunks: Vec<BlobId>,
    ready: VecDeque<Output>,
    sweep: sweep::Sweep,
}

impl<S: Store, C: ChunkStore> Service<S, C> {
    /// Opens the service on what the store holds.
    pub fn open(store: S, chunks: C, setup: Setup, now: Now) -> Result<Self, OpenError> {
        let id = RelayId(setup.key.verifying_key().to_bytes());
        claim(&store, &id)?;
        let limits = setup.limits;
        let statement = Statement {
            kind: kinds::STATEMENT,
            version: Statement::VERSION,
            relay: id,
            name: setup.name,
            retention_s: limits.retention_s,
            topic_bytes: limits.topic_bytes,
            share_bytes: limits.share_bytes(),
            sender_bytes: limits.sender_bytes,
            sender_topics: limits.sender_topics,
            calls_per_s: limits.calls_per_s,
            bytes_per_s: limits.bytes_per_s,
            open_topics: limits.open_topics,
            packages: limits.packages,
            work_bits: limits.work_bits,
            request_bytes: limits.request_bytes,
            admission: setup.admission.is_some(),
            issued_ms: now.wall_ms,
        }
        .sign(&setup.key);
        let charge_secret =
            *crypto::derive(&Secret::new(setup.key.to_bytes()), labels::RELAY_CHARGE, b"").expose();
        let relay = Relay {
            key: setup.key,
            id,
            limits,
            admission: setup.admission,
            guests: setup.guests,
            turn: None,
            charge_secret,
            statement,
        };
        Ok(Self {
            store,
            chunks,
            relay,
            rng: ChaCha20Rng::from_seed(setup.seed),
            links: BTreeMap::new(),
            watchers: BTreeMap::new(),
            hungry: BTreeSet::new(),
            pump_from: LinkId(0),
            pending: Overlay::default(),
            staged: Vec::new(),
            staged_bytes: 0,
            stored_chunks: Vec::new(),
            dropped_chunks: Vec::new(),
            ready: VecDeque::new(),
            sweep: sweep::Sweep::new(now),
        })
    }

    /// From now on members are handed credentials of this TURN server.
    pub fn offer_turn(&mut self, turn: TurnSetup) {
        self.relay.turn = Some(turn);
    }

    /// The relay's key.
    #[must_use]
    pub fn id(&self) -> RelayId {
        self.relay.id
    }
    /// Links that stand.
    #[must_use]
    pub fn links(&self) -> usize {
        self.links.len()
    }
    /// Bytes charged and topics held, for the operator.
    pub fn usage(&self) -> Result<(u64, u64), StoreError> {
        rows::Usage::total(&self.store).map(|u| (u.bytes, u.topics))
    }
    /// Removes chunks without a record, left by a crash between bytes and
    /// record. Answers how many.
    pub fn remove_strays(&mut self) -> Result<u64, StoreError> {
        let store = &self.store;
        self.chunks.retain(&|id| Ok(rows::Chunk::load(store, id)?.is_some()))
    }

    /// A link came up. `client` is the far end's transport key, `source` its
    /// address prefix in any form: it is hashed and charged with what the
    /// link stores.
    pub fn link_up(&mut self, now: Now, link: LinkId, client: PeerKey, source: &[u8]) {
        if self.links.len() as u64 >= self.relay.limits.links {
            let refusal = Refusal::of(Code::TooMany).limit(self.relay.limits.links).retry_ms(RETRY_OTHERS_MS);
            self.ready.push_back(Output::Send {
                link,
                frame: ServerFrame::Refused { number: 0, refusal }.to_bytes(),
            });
            self.ready.push_back(Output::Close { link });
            return;
        }
        let mut nonce = [0; 32];
        self.rng.fill_bytes(&mut nonce);
        let frame = ServerFrame::Hello {
            lowest: VERSIONS.0,
            highest: VERSIONS.1,
            nonce,
            statement: self.relay.statement.clone(),
        };
        self.ready.push_back(Output::Send { link, frame: frame.to_bytes() });
        self.links.insert(link, Link::new(&self.relay, now, client, nonce, source));
    }

    /// A link is gone.
    pub fn link_down(&mut self, link: LinkId) {
        self.hungry.remove(&link);
        if let Some(gone) = self.links.remove(&link) {
            for topic in gone.watch.keys() {
                self.unwatch(link, topic);
            }
        }
    }

    /// A frame came in. Answers are held back until [`Service::commit`]. An
    /// error is the store's: the call was refused, and the caller judges
    /// whether to go on.
    pub fn frame(&mut self, now: Now, link_id: LinkId, bytes: &[u8]) -> Result<(), StoreError> {
        let Some(link) = self.links.get_mut(&link_id) else { return Ok(()) };
        let parsed = ClientFrame::from_bytes(bytes);
        let number = parsed.as_ref().map_or_else(|_| frame_number(bytes), |f| f.number);
        let mut ctx = Ctx {
            tx: Tx::new(&self.store, &self.pending),
            now,
            relay: &self.relay,
            chunks: &mut self.chunks,
            effects: Vec::new(),
        };
        let result = match parsed {
            Ok(frame) => {
                link.admit(&ctx, bytes.len(), &frame.call).and_then(|()| handle(&mut ctx, link, frame.call))
            }
            Err(_) => {
                link.malformed += 1;
                no(Code::Malformed)
            }
        };
        let close = link.malformed >= MALFORMED_MAX;
        let (frame, failure) = match result {
            Ok(answer) => {
                let Ctx { tx, effects, .. } = ctx;
                let changes = tx.finish();
                self.pending.absorb(changes);
                self.follow(link_id, effects);
                (ServerFrame::Answer { number, answer }, None)
            }
            Err(Stop::Refused(refusal)) => (ServerFrame::Refused { number, refusal }, None),
            Err(Stop::Store(e)) => {
                let refusal = Refusal::of(Code::Storage).retry_ms(RETRY_OTHERS_MS);
                (ServerFrame::Refused { number, refusal }, Some(e))
            }
        };
        self.stage(link_id, number, frame.to_bytes());
        if close {
            self.link_down(link_id);
            self.stage(link_id, number, Vec::new());
        }
        failure.map_or(Ok(()), Err)
    }

    fn stage(&mut self, link: LinkId, number: u64, frame: Vec<u8>) {
        self.staged_bytes = self.staged_bytes.saturating_add(frame.len());
        self.staged.push(Staged { link, number, frame });
    }

    /// Bytes of answers that wait for [`Service::commit`]: a burst should end
    /// when there are many.
    #[must_use]
    pub fn staged_bytes(&self) -> usize {
        self.staged_bytes
    }

    fn follow(&mut self, link_id: LinkId, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Appended(topic) => {
                    for watcher in self.watchers.get(&topic).into_iter().flatten() {
                        if let Some(link) = self.links.get_mut(watcher) {
                            link.behind.insert(topic);
                            self.hungry.insert(*watcher);
                        }
                    }
                }
                Effect::Watching(topic) => {
                    self.watchers.entry(topic).or_default().insert(link_id);
                    self.hungry.insert(link_id);
                }
                Effect::Unwatching(topic) => self.unwatch(link_id, &topic),
                Effect::Credit => {
                    self.hungry.insert(link_id);
                }
                Effect::PackagesLow { inbox, left } => {
                    let push = ServerFrame::Push { push: Push::PackagesLow { inbox, left } }.to_bytes();
                    let owners: Vec<LinkId> = self
                        .watchers
                        .get(&inbox)
                        .into_iter()
                        .flatten()
                        .filter(|l| self.links.get(l).is_some_and(|l| l.may_write(&inbox)))
                        .copied()
                        .collect();
                    for owner in owners {
                        self.stage(owner, 0, push.clone());
                    }
                }
                Effect::StoredChunk(id) => self.stored_chunks.push(id),
                Effect::DroppedChunk(id) => self.dropped_chunks.push(id),
            }
        }
    }

    fn unwatch(&mut self, link: LinkId, topic: &TopicId) {
        if let Some(links) = self.watchers.get_mut(topic) {
            links.remove(&link);
            if links.is_empty() {
                self.watchers.remove(topic);
            }
        }
    }

    /// Makes the burst durable and releases what it answered, then live
    /// entries. On an error nothing of the burst was stored and every answer
    /// of it has become a refusal.
    pub fn commit(&mut self, now: Now) -> Result<(), StoreError> {
        let pending = core::mem::take(&mut self.pending);
        let stored = core::mem::take(&mut self.stored_chunks);
        let dropped = core::mem::take(&mut self.dropped_chunks);
        let result = if stored.is_empty() { Ok(()) } else { self.chunks.sync() };
        let result =
            result.and_then(|()| if pending.is_empty() { Ok(()) } else { self.store.write(&pending) });
        let staged = core::mem::take(&mut self.staged);
        self.staged_bytes = 0;
        match &result {
            Ok(()) => {
                for s in staged {
                    self.release(s.link, s.frame);
                }
                for id in dropped {
                    // A file that stays is found and removed at the next start.
                    let _stays = self.chunks.remove(&id);
                }
                self.pump()?;
            }
            Err(_) => {
                let refusal = Refusal::of(Code::Storage).retry_ms(RETRY_OTHERS_MS);
                for s in staged {
                    let frame = if s.frame.is_empty() {
                        Vec::new()
                    } else {
                        ServerFrame::Refused { number: s.number, refusal }.to_bytes()
                    };
                    self.release(s.link, frame);
                }
                for id in stored {
                    let _stays = self.chunks.remove(&id);
                }
                self.sweep.failed(now);
            }
        }
        result
    }

    fn release(&mut self, link: LinkId, frame: Vec<u8>) {
        self.ready.push_back(if frame.is_empty() {
            Output::Close { link }
        } else {
            Output::Send { link, frame }
        });
    }

    /// What is to be sent. Drained to `None` after every commit.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.ready.pop_front()
    }

    /// When [`Service::tick`] wants to be called, monotonic ms.
    #[must_use]
    pub fn poll_timeout(&self) -> u64 {
        if self.hungry.is_empty() { self.sweep.next_ms() } else { 0 }
    }

    /// Does what time asks for: drops what has ended, in bounded steps. To be
    /// followed by [`Service::commit`].
    pub fn tick(&mut self, now: Now) -> Result<(), StoreError> {
        if now.mono_ms < self.sweep.next_ms() {
            return Ok(());
        }
        let mut ctx = Ctx {
            tx: Tx::new(&self.store, &self.pending),
            now,
            relay: &self.relay,
            chunks: &mut self.chunks,
            effects: Vec::new(),
        };
        let watchers = &self.watchers;
        let outcome = self.sweep.step(&mut ctx, &|topic| watchers.contains_key(topic))?;
        let Ctx { tx, effects, .. } = ctx;
        let changes = tx.finish();
        self.pending.absorb(changes);
        self.sweep.stepped(now, outcome);
        // Sweeping concerns no link; its effects name chunks only.
        self.follow(LinkId(0), effects);
        Ok(())
    }

    /// Tells every link that the relay stops, and closes it.
    pub fn stop(&mut self) {
        let refusal = Refusal::of(Code::Stopping).retry_ms(RETRY_OTHERS_MS);
        let frame = ServerFrame::Refused { number: 0, refusal }.to_bytes();
        for link in core::mem::take(&mut self.links).into_keys() {
            self.ready.push_back(Output::Send { link, frame: frame.clone() });
            self.ready.push_back(Output::Close { link });
        }
        self.watchers.clear();
        self.hungry.clear();
    }
}

/// Writes this relay's name into an empty store, or checks it.
fn claim(store: &dyn Store, id: &RelayId) -> Result<(), OpenError> {
    let key = Key::of(Table::Meta, b"relay");
    let Some(row) = store.get(key)? else {
        let mut overlay = Overlay::default();
        overlay.put(key, [&SCHEMA.to_be_bytes()[..], &id.0].concat());
        return Ok(store.write(&overlay)?);
    };
    let Some((version, rest)) = row.split_first_chunk::<4>() else {
        return Err(StoreError::Corrupt("the relay's own row is malformed".into()).into());
    };
    match u32::from_be_bytes(*version) {
        SCHEMA if rest == id.0 => Ok(()),
        SCHEMA => Err(OpenError::OtherRelay),
        found => Err(StoreError::Newer { found, known: SCHEMA }.into()),
    }
}

fn handle(ctx: &mut Ctx<'_>, link: &mut Link, call: Call) -> Result<Answer, Stop> {
    match call {
        Call::Hello { lowest, highest, admission } => hello(ctx, link, (lowest, highest), &admission),
        Call::Statement {} => Ok(Answer::Statement { statement: ctx.relay.statement.clone() }),
        Call::Open { descriptor, right, proof } => topics::open(ctx, link, descriptor, right, &proof),
        Call::Append { topic, id, bytes, keep_s } => log::append(ctx, link, topic, id, bytes, keep_s),
        Call::Read { topic, after, max_bytes } => log::read(ctx, link, &topic, after, max_bytes),
        Call::Have { topic, after } => log::have(ctx, link, &topic, after),
        Call::Want { topic, ids } => log::want(ctx, link, &topic, &ids),
        Call::Watch { topics, credit } => watch::watch(ctx, link, &topics, credit),
        Call::Unwatch { topics } => watch::unwatch(ctx, link, &topics),
        Call::Credit { bytes } => Ok(watch::credit(ctx, link, bytes)),
        Call::Deliver { inbox, token, proof, id, bytes, keep_s } => {
            let item = log::Item { id, bytes, keep_s };
            inbox::deliver(ctx, link, &inbox, &token, &proof, item)
        }
        Call::Request { inbox, work, id, bytes, keep_s } => {
            let item = log::Item { id, bytes, keep_s };
            inbox::request(ctx, link, &inbox, work, item)
        }
        Call::PutPackages { inbox, records, last_resort } => {
            inbox::put_packages(ctx, link, inbox, records, last_resort)
        }
        Call::TakePackage { inbox, token, request, proof } => {
            inbox::take_package(ctx, &inbox, &token, &request, &proof)
        }
        Call::PutChunk { topic, id, bytes, keep_s } => chunks::put(ctx, link, topic, id, &bytes, keep_s),
        Call::GetChunk { id, from, len } => chunks::get(ctx, &id, from, len),
        Call::Turn {} => turn::mint(ctx, link),
    }
}

fn hello(ctx: &Ctx<'_>, link: &mut Link, theirs: (u16, u16), admission: &[u8]) -> Result<Answer, Stop> {
    let Some(version) = common_version(theirs) else {
        return Err(Refusal::of(Code::Version).limit(u64::from(VERSIONS.1)).into());
    };
    let member = match &ctx.relay.admission {
        None => true,
        Some(expected) if bool::from(expected.as_slice().ct_eq(admission)) => true,
        Some(_) if admission.is_empty() && ctx.relay.guests => false,
        Some(_) => return no(Code::Admission),
    };
    link.greet(ctx.relay, member);
    Ok(Answer::Hello { version })
}

/// The largest answer that a call asks for, in bytes, as far as it is large.
fn answer_bytes(call: &Call) -> u64 {
    match call {
        Call::Read { max_bytes, .. } => (*max_bytes).min(kith_wire::relay::ANSWER_BYTES_MAX as u64),
        Call::Want { ids, .. } => (ids.len() as u64).saturating_mul(wire_limits::ENTRY_BUCKETS[0] as u64),
        Call::GetChunk { len, .. } => (*len).min(kith_wire::relay::CHUNK_BYTES_MAX as u64),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
