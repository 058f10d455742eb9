//! A device with an engine over a memory store, and what devices do with each
//! other when nothing holds them up.

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::SigningKey;
use kith_mls::{
    Change, Committed, DeviceKeys, Engine, EngineError, Joined, Outcome, Readd, Resealed, SentEvent,
};
use kith_store::{MemoryStore, Overlay, Store, Tx};
use kith_wire::group::BundleRef;
use kith_wire::identity::{Credential, Rotation};
use kith_wire::ids::{AccountId, CommitId, DeviceId, EventId, GroupId, StateId, TopicId};

/// A time to start at.
const T0: u64 = 1_800_000_000_000;
/// Bytes of one answer to a sync hello.
const ANSWER_BYTES: usize = 1 << 20;
/// Rounds in which devices must come to rest.
const ROUNDS_MAX: usize = 40;
/// Times in a row that devices are let in again.
const HEALS_MAX: usize = 6;
/// Longer than a device keeps its tip for an order that has just come.
const HOLD_MS: u64 = 11_000;

/// One device.
pub(crate) struct Device {
    pub(crate) keys: DeviceKeys,
    pub(crate) store: MemoryStore,
    engine: Engine,
    pub(crate) now: u64,
    seed: u64,
    /// Events shown, by id, with how often.
    pub(crate) shown: BTreeMap<EventId, u32>,
    /// Own events by number.
    sent: BTreeMap<u64, EventId>,
    /// Own events that have to be sent again.
    pub(crate) resend: Vec<EventId>,
    /// Own commits that lost.
    pub(crate) lost: BTreeSet<CommitId>,
    /// It had fallen behind and was let in again.
    pub(crate) healed: bool,
}

fn seed32(tag: u8, n: u64) -> [u8; 32] {
    let mut out = [tag; 32];
    out[..8].copy_from_slice(&n.to_be_bytes());
    out
}

/// Keys of device number `device` of account number `account`.
pub(crate) fn keys(account: u64, device: u64) -> DeviceKeys {
    let recovery = SigningKey::from_bytes(&seed32(1, account));
    let account_key = SigningKey::from_bytes(&seed32(2, account));
    let signing = SigningKey::from_bytes(&seed32(3, account * 1000 + device));
    let box_secret = x25519_dalek::StaticSecret::from(seed32(4, account * 1000 + device));
    let rotation = Rotation::issue(&recovery, 0, account_key.verifying_key().to_bytes());
    let id = DeviceId(signing.verifying_key().to_bytes());
    let box_pub = x25519_dalek::PublicKey::from(&box_secret).to_bytes();
    let credential = Credential::issue(&rotation, &account_key, id, box_pub).to_bytes();
    DeviceKeys { signing, box_secret, credential, account: rotation.account() }
}

/// An error that a device may meet: never damage, never a store that fails.
pub(crate) fn fair<T>(result: Result<T, EngineError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(e @ (EngineError::Broken(_) | EngineError::Store(_))) => panic!("{e}"),
        Err(_) => None,
    }
}

impl Device {
    pub(crate) fn new(keys: DeviceKeys, seed: u64) -> Self {
        Self::on(keys, MemoryStore::new(), T0, seed)
    }
    /// A device that starts on these rows.
    pub(crate) fn on(keys: DeviceKeys, store: MemoryStore, now: u64, seed: u64) -> Self {
        let engine = Engine::new(keys.clone(), seed32(5, seed));
        let (shown, sent, resend, lost) = (BTreeMap::new(), BTreeMap::new(), Vec::new(), BTreeSet::new());
        Self { keys, store, engine, now, seed, shown, sent, resend, lost, healed: false }
    }
    pub(crate) fn id(&self) -> DeviceId {
        self.keys.device()
    }
    pub(crate) fn account(&self) -> AccountId {
        self.keys.account
    }
    /// As after a start of the process: nothing but the store is left.
    pub(crate) fn restart(&mut self) {
        self.seed += 1_000_003;
        self.engine = Engine::new(self.keys.clone(), seed32(5, self.seed));
    }
    /// Runs in a transaction that becomes durable if it succeeds.
    pub(crate) fn run<T>(
        &mut self,
        f: impl FnOnce(&mut Engine, &mut Tx<'_>, u64) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        self.now += 1;
        let under = Overlay::default();
        let mut tx = Tx::new(&self.store, &under);
        let out = f(&mut self.engine, &mut tx, self.now)?;
        let changes = tx.finish();
        self.store.write(&changes).expect("memory takes every write");
        Ok(out)
    }
    /// Runs in a transaction that is dropped.
    pub(crate) fn run_and_drop<T>(
        &mut self,
        f: impl FnOnce(&mut Engine, &mut Tx<'_>, u64) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let under = Overlay::default();
        let mut tx = Tx::new(&self.store, &under);
        f(&mut self.engine, &mut tx, self.now)
    }
    /// Takes in one object: whatever it is, the answer is an outcome.
    pub(crate) fn ingest(&mut self, gid: GroupId, object: &[u8]) -> Vec<Outcome> {
        let out = self.run(|e, tx, now| e.ingest(tx, now, gid, object));
        let out = out.unwrap_or_else(|e| panic!("an object led to an error: {e}"));
        self.note(&out);
        out
    }
    fn note(&mut self, out: &[Outcome]) {
        for o in out {
            match o {
                Outcome::Event(e) => *self.shown.entry(e.id).or_default() += 1,
                Outcome::Resend(ids) => self.resend.extend(ids),
                Outcome::OwnCommitLost { commit, .. } => {
                    self.lost.insert(*commit);
                }
                _ => {}
            }
        }
    }
    pub(crate) fn commit(&mut self, gid: GroupId, change: &Change) -> Option<Committed> {
        let committed = fair(self.run(|e, tx, now| e.commit(tx, now, gid, change)))?;
        self.note(&committed.outcomes);
        Some(committed)
    }
    /// Lets a device in again that asks for it, if this one may.
    pub(crate) fn serve(&mut self, gid: GroupId, request: &[u8]) -> Option<Committed> {
        let asked = |outcome| match outcome {
            Outcome::Readd { device, request, .. } => Some(Readd { request, inbox: TopicId(device.0) }),
            _ => None,
        };
        let readds: Vec<Readd> = self.ingest(gid, request).into_iter().filter_map(asked).collect();
        if readds.is_empty() {
            return None;
        }
        self.commit(gid, &Change { readds, ..Change::default() })
    }
    /// Time passes: what was put off is done.
    fn look(&mut self, gid: GroupId) {
        self.now += HOLD_MS;
        let out = fair(self.run(|e, tx, now| e.look(tx, now, gid))).unwrap_or_default();
        self.note(&out);
    }
    pub(crate) fn send(&mut self, gid: GroupId, text: &str) -> Option<SentEvent> {
        let sent = fair(self.run(|e, tx, now| e.send(tx, now, gid, 2, text.as_bytes())))?;
        self.sent.insert(sent.seq, sent.id);
        Some(sent)
    }
    /// Notes the own events that somebody who is in still lacks.
    fn repeat(&mut self, gid: GroupId) {
        let all = kith_mls::delivered(&self.store, gid).expect("the group is known here");
        if let Some(least) = all.iter().map(|(_, _, seq)| *seq).min() {
            self.resend.extend(self.sent.range(least + 1..).map(|(_, id)| *id));
        }
    }
    pub(crate) fn package(&mut self) -> Vec<u8> {
        self.run(|e, tx, _| e.key_package(tx, false)).expect("a key package can always be made")
    }
    pub(crate) fn mark(&mut self, gid: GroupId) -> Option<Vec<u8>> {
        fair(self.run(|e, tx, now| e.mark(tx, now, gid))).flatten()
    }
    pub(crate) fn knows(&self, gid: GroupId) -> bool {
        kith_mls::view::group(&self.store, gid).is_ok()
    }
    pub(crate) fn view(&self, gid: GroupId) -> kith_mls::GroupView {
        kith_mls::view::group(&self.store, gid).expect("the group is known here")
    }
    pub(crate) fn tip(&self, gid: GroupId) -> StateId {
        self.view(gid).tip
    }
    pub(crate) fn hello(&mut self, gid: GroupId) -> Vec<u8> {
        self.run(|e, tx, _| e.sync_hello(tx, gid)).expect("the group is known here")
    }
    pub(crate) fn answer(&mut self, gid: GroupId, peer: DeviceId, hello: &[u8]) -> Vec<Vec<u8>> {
        fair(self.run(|e, tx, _| e.sync_answer(tx, gid, peer, hello, ANSWER_BYTES))).unwrap_or_default()
    }
    /// The signed Welcome for one joiner of an own commit.
    pub(crate) fn welcome(&self, committed: &Committed, device: DeviceId) -> Option<Vec<u8>> {
        let joiner = committed.joiners.iter().find(|j| j.device == device)?;
        Some(self.engine.welcome(joiner, BundleRef::Inline(committed.bundle.clone())))
    }
    pub(crate) fn join(&mut self, welcome: &[u8], bundle: &[u8]) -> Result<Joined, EngineError> {
        let joined = self.run(|e, tx, now| e.join(tx, now, welcome, bundle))?;
        self.note(&joined.outcomes);
        self.healed |= joined.healed;
        Ok(joined)
    }
}

/// What a commit's author publishes.
pub(crate) fn publish(committed: &Committed) -> Vec<Vec<u8>> {
    let mut objects = committed.orders.clone();
    objects.push(committed.envelope.clone());
    objects.extend(committed.marks.clone());
    objects
}

/// What a sender publishes.
pub(crate) fn published(sent: &SentEvent) -> Vec<Vec<u8>> {
    sent.mark.iter().cloned().chain([sent.envelope.clone()]).collect()
}

/// Gives `to` what `from` has and it lacks; answers whether it was news.
fn sync(gid: GroupId, from: &mut Device, to: &mut Device) -> bool {
    let hello = to.hello(gid);
    let mut news = false;
    for object in from.answer(gid, to.id(), &hello) {
        let out = to.ingest(gid, &object);
        news |= out.iter().any(|o| matches!(o, Outcome::Event(_) | Outcome::Tip(_) | Outcome::Acked { .. }));
    }
    news
}

/// Own events of a branch that lost, sent again: as envelopes for all, or bare
/// for those who may see them.
pub(crate) fn resend(gid: GroupId, d: &mut Device) -> Vec<(Option<Vec<DeviceId>>, Vec<u8>)> {
    let mut out = Vec::new();
    for id in std::mem::take(&mut d.resend) {
        match fair(d.run(|e, tx, now| e.reseal(tx, now, gid, id))) {
            Some(Resealed::Envelope(sent)) => out.extend(published(&sent).into_iter().map(|o| (None, o))),
            Some(Resealed::Only(devices)) => {
                let bare = kith_mls::event_bytes(&d.store, gid, id).expect("it was sealed again");
                out.push((Some(devices), bare));
            }
            // It is not in at the moment; that may be undone.
            None if kith_mls::event_bytes(&d.store, gid, id).is_ok() => d.resend.push(id),
            None => {}
        }
    }
    out
}

/// Exchanges marks, what has to be sent again, and sync answers between all
/// who know the group, until nobody has anything new. What was put off for a
/// while is done, and who has fallen behind is let in again. What somebody
/// still lacks then is sent again by its author, once.
pub(crate) fn settle(gid: GroupId, devices: &mut [&mut Device]) {
    let here: Vec<usize> = (0..devices.len()).filter(|i| devices[*i].knows(gid)).collect();
    rest(gid, devices, &here);
    for _ in 0..HEALS_MAX {
        for i in here.iter().copied() {
            devices[i].look(gid);
        }
        rest(gid, devices, &here);
        if !heal(gid, devices, &here) {
            break;
        }
        rest(gid, devices, &here);
    }
    for i in here.iter().copied() {
        devices[i].repeat(gid);
    }
    rest(gid, devices, &here);
}

/// Lets devices in again that ask for it; answers whether one did.
fn heal(gid: GroupId, devices: &mut [&mut Device], here: &[usize]) -> bool {
    let mut healed = false;
    for i in here.iter().copied().filter(|i| devices[*i].view(gid).behind).collect::<Vec<_>>() {
        let Some(request) = fair(devices[i].run(|e, tx, now| e.ask_back(tx, now, gid))) else { continue };
        for j in here.iter().copied().filter(|j| *j != i) {
            let Some(committed) = devices[j].serve(gid, &request) else { continue };
            for object in publish(&committed) {
                for k in here.iter().copied().filter(|k| *k != j) {
                    devices[k].ingest(gid, &object);
                }
            }
            if let Some(welcome) = devices[j].welcome(&committed, devices[i].id())
                && fair(devices[i].join(&welcome, &committed.bundle).map(drop)).is_some()
            {
                healed = true;
            }
            break;
        }
    }
    healed
}

fn rest(gid: GroupId, devices: &mut [&mut Device], here: &[usize]) {
    for _ in 0..ROUNDS_MAX {
        let mut quiet = true;
        for i in here.iter().copied() {
            let again = resend(gid, devices[i]);
            quiet &= again.is_empty();
            let mark = devices[i].mark(gid);
            quiet &= mark.is_none();
            for j in here.iter().copied().filter(|j| *j != i) {
                let to = devices[j].id();
                for (only, object) in &again {
                    if only.as_ref().is_none_or(|o| o.contains(&to)) {
                        devices[j].ingest(gid, object);
                    }
                }
                if let Some(mark) = &mark {
                    devices[j].ingest(gid, mark);
                }
                let (from, to) = two(devices, i, j);
                quiet &= !sync(gid, from, to);
            }
        }
        if quiet {
            return;
        }
    }
    panic!("the devices do not come to rest");
}

/// Two different devices of a list.
fn two<'a>(devices: &'a mut [&mut Device], i: usize, j: usize) -> (&'a mut Device, &'a mut Device) {
    let (low, high) = devices.split_at_mut(i.max(j));
    let (one, other) = (&mut *low[i.min(j)], &mut *high[0]);
    if i < j { (one, other) } else { (other, one) }
}
