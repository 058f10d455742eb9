//! A device with an engine over a memory store, and a net that carries
//! objects between devices in the order that a test wants.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::SigningKey;
use kith_mls::{
    Add, Change, Committed, DeviceKeys, Engine, EngineError, Joined, Outcome, ReceivedEvent, SentEvent,
};
use kith_store::{MemoryStore, Overlay, Store, Tx};
use kith_wire::group::{BundleRef, GroupExt};
use kith_wire::identity::{Credential, Rotation};
use kith_wire::ids::{AccountId, DeviceId, EventId, GroupId, StateId, TopicId};

/// A time to start at.
pub(crate) const T0: u64 = 1_800_000_000_000;

/// One device.
pub(crate) struct Device {
    pub(crate) keys: DeviceKeys,
    pub(crate) store: MemoryStore,
    pub(crate) engine: Engine,
    pub(crate) now: u64,
    /// Drop the engine and open a new one before every call.
    pub(crate) restart_always: bool,
    seed: u64,
    /// Events shown, by id, with how often.
    pub(crate) shown: BTreeMap<EventId, u32>,
    /// Own events that had to be sent again.
    pub(crate) resend: Vec<EventId>,
    /// Traces of all ciphertexts, with their bytes.
    pub(crate) traces: Vec<(kith_mls::trace::Trace, Vec<u8>)>,
}

fn seed32(tag: u8, n: u64) -> [u8; 32] {
    let mut out = [tag; 32];
    out[..8].copy_from_slice(&n.to_be_bytes());
    out
}

impl Device {
    /// Device number `device` of account number `account`.
    pub(crate) fn new(account: u64, device: u64) -> Self {
        let recovery = SigningKey::from_bytes(&seed32(1, account));
        let account_key = SigningKey::from_bytes(&seed32(2, account));
        let signing = SigningKey::from_bytes(&seed32(3, account * 1000 + device));
        let box_secret = x25519_dalek::StaticSecret::from(seed32(4, account * 1000 + device));
        let rotation = Rotation::issue(&recovery, 0, account_key.verifying_key().to_bytes());
        let id = DeviceId(signing.verifying_key().to_bytes());
        let box_pub = x25519_dalek::PublicKey::from(&box_secret).to_bytes();
        let credential = Credential::issue(&rotation, &account_key, id, box_pub).to_bytes();
        let keys = DeviceKeys { signing, box_secret, credential, account: rotation.account() };
        let seed = account * 7919 + device;
        let engine = Engine::new(keys.clone(), seed32(5, seed));
        Self {
            keys,
            store: MemoryStore::new(),
            engine,
            now: T0,
            restart_always: false,
            seed,
            shown: BTreeMap::new(),
            resend: Vec::new(),
            traces: Vec::new(),
        }
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
        if self.restart_always {
            self.restart();
        }
        self.now += 1;
        let under = Overlay::default();
        let mut tx = Tx::new(&self.store, &under);
        let out = f(&mut self.engine, &mut tx, self.now)?;
        let changes = tx.finish();
        self.store.write(&changes).unwrap();
        Ok(out)
    }
    /// Runs in a transaction that is dropped.
    pub(crate) fn run_and_fail<T>(
        &mut self,
        f: impl FnOnce(&mut Engine, &mut Tx<'_>, u64) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let under = Overlay::default();
        let mut tx = Tx::new(&self.store, &under);
        f(&mut self.engine, &mut tx, self.now)
    }
    pub(crate) fn package(&mut self) -> Vec<u8> {
        self.run(|e, tx, _| e.key_package(tx, false)).unwrap()
    }
    pub(crate) fn create(&mut self, title: &str) -> GroupId {
        let ext = GroupExt::group(self.account(), title, Vec::new());
        self.run(|e, tx, now| e.create(tx, now, &ext)).unwrap()
    }
    pub(crate) fn commit(&mut self, gid: GroupId, change: &Change) -> Result<Committed, EngineError> {
        self.run(|e, tx, now| e.commit(tx, now, gid, change))
    }
    pub(crate) fn update(&mut self, gid: GroupId) -> Committed {
        self.commit(gid, &Change::default()).unwrap()
    }
    pub(crate) fn send(&mut self, gid: GroupId, text: &str) -> SentEvent {
        let sent = self.run(|e, tx, now| e.send(tx, now, gid, 2, text.as_bytes())).unwrap();
        self.traces.push((sent.trace, sent.envelope.clone()));
        sent
    }
    pub(crate) fn mark(&mut self, gid: GroupId) -> Option<Vec<u8>> {
        self.run(|e, tx, now| e.mark(tx, now, gid)).unwrap()
    }
    pub(crate) fn ingest(&mut self, gid: GroupId, object: &[u8]) -> Vec<Outcome> {
        let out = self.run(|e, tx, now| e.ingest(tx, now, gid, object)).unwrap();
        self.note(&out);
        out
    }
    pub(crate) fn note(&mut self, out: &[Outcome]) {
        for o in out {
            match o {
                Outcome::Event(e) => *self.shown.entry(e.id).or_default() += 1,
                Outcome::Resend(ids) => self.resend.extend(ids),
                _ => {}
            }
        }
    }
    pub(crate) fn tip(&self, gid: GroupId) -> StateId {
        kith_mls::view::group(&self.store, gid).unwrap().tip
    }
    pub(crate) fn accounts(&self, gid: GroupId) -> BTreeSet<AccountId> {
        kith_mls::view::group(&self.store, gid).unwrap().members.iter().map(|m| m.account).collect()
    }
    pub(crate) fn me_in(&self, gid: GroupId) -> bool {
        kith_mls::view::group(&self.store, gid).unwrap().me_in
    }
    pub(crate) fn hello(&mut self, gid: GroupId) -> Vec<u8> {
        self.run(|e, tx, _| e.sync_hello(tx, gid)).unwrap()
    }
    pub(crate) fn answer(&mut self, gid: GroupId, peer: DeviceId, hello: &[u8]) -> Vec<Vec<u8>> {
        self.run(|e, tx, _| e.sync_answer(tx, gid, peer, hello, 1 << 20)).unwrap()
    }
    /// The hello to somebody who is out here and said another.
    pub(crate) fn hello_back(&mut self, gid: GroupId, peer: DeviceId, theirs: &[u8]) -> Option<Vec<u8>> {
        self.run(|e, tx, _| e.sync_hello_back(tx, gid, peer, theirs)).unwrap()
    }
    /// Adds devices by one commit; the joiners have joined when this returns.
    /// Answers what the other members have to be given.
    pub(crate) fn add(&mut self, gid: GroupId, others: &mut [&mut Device]) -> Vec<Vec<u8>> {
        let adds =
            others.iter_mut().map(|d| Add { package: d.package(), inbox: TopicId(d.id().0) }).collect();
        let committed = self.commit(gid, &Change { adds, ..Change::default() }).unwrap();
        let mut objects = publish(&committed);
        for d in others.iter_mut() {
            let joined = self.welcome(&committed, d);
            objects.push(joined.mark);
        }
        objects
    }
    /// Hands one joiner of a commit its Welcome.
    pub(crate) fn welcome(&self, committed: &Committed, joiner: &mut Device) -> Joined {
        let welcome = self.welcome_bytes(committed, joiner.id());
        let joined = joiner.run(|e, tx, now| e.join(tx, now, &welcome, &committed.bundle)).unwrap();
        let outcomes = joined.outcomes.clone();
        joiner.note(&outcomes);
        joined
    }
    pub(crate) fn welcome_bytes(&self, committed: &Committed, device: DeviceId) -> Vec<u8> {
        let joiner = committed.joiners.iter().find(|j| j.device == device).unwrap();
        self.engine.welcome(joiner, BundleRef::Inline(committed.bundle.clone()))
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

/// Gives all objects to a device and then its due mark back.
pub(crate) fn give(device: &mut Device, gid: GroupId, objects: &[Vec<u8>]) -> Vec<Outcome> {
    objects.iter().flat_map(|o| device.ingest(gid, o)).collect()
}

/// The events among outcomes.
pub(crate) fn events(outcomes: &[Outcome]) -> Vec<&ReceivedEvent> {
    outcomes.iter().filter_map(|o| if let Outcome::Event(e) = o { Some(e) } else { None }).collect()
}

/// Texts of the events among outcomes.
pub(crate) fn texts(outcomes: &[Outcome]) -> Vec<String> {
    events(outcomes).iter().map(|e| String::from_utf8(e.content.clone()).unwrap()).collect()
}

/// Exchanges marks and sync answers between all devices until nobody has
/// anything new; devices that are out are asked as well.
pub(crate) fn settle(gid: GroupId, devices: &mut [&mut Device]) {
    for _ in 0..20 {
        let mut quiet = true;
        for i in 0..devices.len() {
            let resend = std::mem::take(&mut devices[i].resend);
            for id in resend {
                let out = devices[i].run(|e, tx, now| e.reseal(tx, now, gid, id));
                if let Ok(kith_mls::Resealed::Envelope(sent)) = out {
                    devices[i].traces.push((sent.trace, sent.envelope.clone()));
                    quiet = false;
                    let objects = published(&sent);
                    for j in (0..devices.len()).filter(|j| *j != i) {
                        give(devices[j], gid, &objects);
                    }
                }
            }
            let mark = devices[i].mark(gid);
            quiet &= mark.is_none();
            for j in (0..devices.len()).filter(|j| *j != i) {
                if let Some(mark) = &mark {
                    devices[j].ingest(gid, mark);
                }
                let hello = devices[j].hello(gid);
                let peer = devices[j].id();
                let objects = devices[i].answer(gid, peer, &hello);
                let outcomes = give(devices[j], gid, &objects);
                quiet &= !outcomes
                    .iter()
                    .any(|o| matches!(o, Outcome::Event(_) | Outcome::Tip(_) | Outcome::Acked { .. }));
            }
        }
        if quiet {
            return;
        }
    }
    panic!("the devices do not come to rest");
}

/// Holds that no key was used for two different ciphertexts.
pub(crate) fn assert_no_reuse(devices: &[&Device]) {
    let mut seen: BTreeMap<kith_mls::trace::Trace, Vec<u8>> = BTreeMap::new();
    for (trace, bytes) in devices.iter().flat_map(|d| &d.traces) {
        if let Some(before) = seen.insert(*trace, bytes.clone()) {
            assert_eq!(&before, bytes, "a key was used twice: {trace:?}");
        }
    }
    assert!(!seen.is_empty());
}
