//! What one group costs one device, by the number of devices in it: processor
//! time of each operation, through the engine and with OpenMLS alone on the
//! same tree, and bytes.
//!
//! The sender, one receiver and the joiners are real engines. The others came
//! into the tree with key packages that engines made (`crowd.rs`). Each has
//! updated its keys, or one of each two neighbours: no node of the tree is
//! blank.

use std::collections::BTreeMap;
use std::time::Duration;

use kith_store::{MemoryStore, Overlay, Store, Tx};
use kith_wire::crypto::Secret;
use kith_wire::group::{BundleRef, GroupExt, Role, RoleEntry};
use kith_wire::identity::RelayHint;
use kith_wire::ids::{BlobId, GroupId, RelayId, TopicId};
use kith_wire::limits;

use super::bare::Bare;
use super::crowd::Member;
use super::{NOW, TEXT, keys, seed};
use crate::{Add, Change, Committed, DeviceKeys, Engine, EngineError, Joiner, Outcome};

const DEVICES_MAX: u32 = limits::DEVICES_PER_GROUP_MAX as u32;
/// Devices that one commit adds, to see what each of them gets; members that
/// speak, to see what that does to a message.
const HUNDRED: u32 = 100;
/// Accounts that may change the group, the owner among them.
const ADMINS: u32 = 5;
// Numbers of devices: 0 is the sender, and the crowd follows.
const RECEIVER: u32 = 1_000_000;
const JOINERS: u32 = 2_000_000;
const MANY_JOINERS: u32 = 3_000_000;

/// How often things are done.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Members of the crowd that may all update their keys; of a larger one
    /// every second does.
    pub updates: usize,
    /// Times that one is added and removed and an update is made.
    pub rounds: u32,
    /// Batches of messages, each measured as a whole.
    pub batches: u32,
    /// Messages in a batch.
    pub messages: u32,
}

/// One figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Which, without the group's size.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
}

/// Measures a group of so many devices, 2 to 1,000. `cpu` answers the
/// processor time used so far.
///
/// One is added to a group of this size, removed from it again, and updates
/// are made in it; only if the limit leaves no room, it has one fewer
/// meanwhile.
///
/// # Panics
/// If the engine or OpenMLS fails, which would be a fault of the bench.
pub fn measure(devices: u32, effort: Effort, cpu: &dyn Fn() -> Duration) -> Vec<Figure> {
    let before = devices.min(DEVICES_MAX - 1);
    let mut group = Group::new(before, cpu);
    group.fill(effort);
    group.hear_marks("first_mark");
    group.commits(effort);
    if before < devices {
        group.grow();
    }
    group.hear_marks("mark");
    group.messages(effort, "");
    if group.hear_speakers() {
        group.messages(effort, "_spoken");
    }
    group.figures
}

/// A device with its engine and store.
struct Node {
    keys: DeviceKeys,
    engine: Engine,
    store: MemoryStore,
    /// Bytes given to the store so far.
    written: usize,
}

impl Node {
    fn new(n: u32) -> Self {
        let keys = keys(n);
        let engine = Engine::new(keys.clone(), seed(6, n));
        Self { keys, engine, store: MemoryStore::new(), written: 0 }
    }

    /// One transaction that becomes durable.
    fn run<T>(&mut self, f: impl FnOnce(&mut Engine, &mut Tx<'_>) -> Result<T, EngineError>) -> T {
        let under = Overlay::default();
        let mut tx = Tx::new(&self.store, &under);
        let out = f(&mut self.engine, &mut tx).unwrap();
        let changes = tx.finish();
        self.written += size(&changes);
        self.store.write(&changes).unwrap();
        out
    }

    fn commit(&mut self, now: u64, gid: GroupId, change: &Change) -> Committed {
        self.run(|engine, tx| engine.commit(tx, now, gid, change))
    }

    /// Takes in all that a commit's author publishes with it.
    fn follow(&mut self, now: u64, gid: GroupId, commit: &Committed) {
        let (after, before) = commit.marks.split_last().unwrap();
        let published = before.iter().chain(&commit.orders).chain([&commit.envelope, after]);
        let outcomes: Vec<Outcome> = published.flat_map(|object| self.take(now, gid, object)).collect();
        assert!(outcomes.iter().any(|o| matches!(o, Outcome::Tip(tip) if tip.new == commit.state)));
    }

    fn take(&mut self, now: u64, gid: GroupId, object: &[u8]) -> Vec<Outcome> {
        let outcomes = self.run(|engine, tx| engine.ingest(tx, now, gid, object));
        assert!(!outcomes.iter().any(|o| matches!(o, Outcome::Rejected(_) | Outcome::Buffered)));
        outcomes
    }

    /// Takes in a message.
    fn hear(&mut self, now: u64, gid: GroupId, envelope: &[u8]) {
        let outcomes = self.take(now, gid, envelope);
        assert!(outcomes.iter().any(|o| matches!(o, Outcome::Event(e) if e.content == TEXT)));
    }

    fn send(&mut self, now: u64, gid: GroupId) -> Vec<u8> {
        self.run(|engine, tx| engine.send(tx, now, gid, 2, &TEXT)).envelope
    }

    fn add(&mut self) -> Add {
        let package = self.run(|engine, tx| engine.key_package(tx, false));
        Add { package, inbox: TopicId([0; 32]) }
    }

    fn welcome(&self, joiner: &Joiner) -> Vec<u8> {
        let bundle = BundleRef::Blob { blob: BlobId([7; 32]), key: Secret::new([7; 32]), size: 1 << 20 };
        self.engine.welcome(joiner, bundle)
    }

    fn bare(&self, gid: GroupId) -> Bare {
        Bare::of(&self.keys, &self.store, gid)
    }
}

/// Bytes of a transaction: keys and values.
fn size(changes: &Overlay) -> usize {
    let rows = changes.changes().map(|(k, v)| k.name.len() + k.order.len() + v.map_or(0, <[u8]>::len));
    rows.sum::<usize>() + changes.shredded().iter().map(|(_, name)| name.len()).sum::<usize>()
}

/// Processor times of one thing in milliseconds, turn by turn.
#[derive(Default)]
struct Times {
    engine: Vec<f64>,
    bare: Vec<f64>,
}

struct Group<'c> {
    cpu: &'c dyn Fn() -> Duration,
    now: u64,
    gid: GroupId,
    sender: Node,
    receiver: Node,
    crowd: Vec<Member>,
    figures: Vec<Figure>,
}

impl<'c> Group<'c> {
    /// The sender alone, and who is to come.
    fn new(devices: u32, cpu: &'c dyn Fn() -> Duration) -> Self {
        let mut sender = Node::new(0);
        let relays = (0..limits::GROUP_RELAYS_MAX).map(relay).collect();
        let mut ext = GroupExt::group(sender.keys.account, "Friends of the old harbour", relays);
        let admins = (1..ADMINS).map(|n| (keys(n).account, RoleEntry { role: Role::Admin, epoch: 0 }));
        ext.roles.extend(admins);
        let gid = sender.run(|engine, tx| engine.create(tx, NOW, &ext));
        let crowd = (1..devices - 1).map(Member::new).collect();
        let receiver = Node::new(RECEIVER);
        Self { cpu, now: NOW, gid, sender, receiver, crowd, figures: Vec::new() }
    }

    fn figure(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.figures.push(Figure { name: name.into(), value, unit });
    }

    /// Median times, and the median of their ratios turn by turn.
    fn times(&mut self, name: &str, times: Times) {
        let ratios = times.engine.iter().zip(&times.bare).map(|(e, b)| e / b).collect();
        self.figure(format!("{name}_ms"), median(times.engine), "ms");
        self.figure(format!("{name}_bare_ms"), median(times.bare), "ms");
        self.figure(format!("{name}_ratio"), median(ratios), "x");
    }

    fn later(&mut self) -> u64 {
        self.now += 1_000;
        self.now
    }

    /// Lets everybody in and the tree fill.
    fn fill(&mut self, effort: Effort) {
        let (gid, all) = (self.gid, self.crowd.len());
        // A hundred more must have room.
        let first = all.min((DEVICES_MAX - HUNDRED - 1) as usize);
        self.add_crowd(0, first);
        self.add_hundred();
        self.add_crowd(first, all);
        // The sender is leaf 0 and the first of the crowd its neighbour.
        let step = if all > effort.updates { 2 } else { 1 };
        let mut updates = 0;
        for member in self.crowd.iter().skip(step - 1).step_by(step) {
            self.now += 1_000;
            let commit = member.update(&self.sender.store, gid);
            let outcomes = self.sender.take(self.now, gid, &commit);
            assert!(outcomes.iter().any(|o| matches!(o, Outcome::Tip(_))));
            updates += 1;
        }
        self.figure("self_updates", f64::from(updates), "devices");

        let now = self.later();
        let change = Change { adds: vec![self.receiver.add()], ..Change::default() };
        let commit = self.sender.commit(now, gid, &change);
        self.join_receiver(now, &commit);
        let update = self.receiver.commit(now, gid, &Change::default());
        self.sender.follow(now, gid, &update);
    }

    fn join_receiver(&mut self, now: u64, commit: &Committed) {
        let welcome = self.sender.welcome(&commit.joiners[0]);
        let joined = self.receiver.run(|engine, tx| engine.join(tx, now, &welcome, &commit.bundle));
        self.sender.take(now, self.gid, &joined.mark);
    }

    fn add_crowd(&mut self, from: usize, to: usize) {
        if from == to {
            return;
        }
        let now = self.later();
        self.sender.commit(now, self.gid, &adding(&self.crowd[from..to]));
    }

    /// What each gets when one commit adds a hundred; the commit is dropped.
    fn add_hundred(&mut self) {
        let joiners: Vec<Member> = (MANY_JOINERS..MANY_JOINERS + HUNDRED).map(Member::new).collect();
        let (now, change) = (self.later(), adding(&joiners));
        let under = Overlay::default();
        let mut tx = Tx::new(&self.sender.store, &under);
        let commit = self.sender.engine.commit(&mut tx, now, self.gid, &change).unwrap();
        self.sender.engine.forget_cached();
        let largest = commit.joiners.iter().map(|j| self.sender.welcome(j).len()).max();
        self.figure("welcome_bytes_100", largest.unwrap_or(0) as f64, "B");
    }

    /// One added, removed again, and an update of the sender, each followed by
    /// the receiver.
    fn commits(&mut self, effort: Effort) {
        let gid = self.gid;
        let mut times: BTreeMap<&'static str, Times> = BTreeMap::new();
        for round in 0..effort.rounds {
            let mut joiner = Node::new(JOINERS + round);
            let (device, account) = (joiner.keys.device(), joiner.keys.account);
            let add = joiner.add();
            let package = add.package.clone();
            let (mut sender, mut receiver) = (self.sender.bare(gid), self.receiver.bare(gid));
            let remove = Change { remove_accounts: vec![account], ..Change::default() };
            let steps = [
                (["add", "add_recv"], Change { adds: vec![add], ..Change::default() }, Some(&package), None),
                (["remove", "remove_recv"], remove, None, Some(device)),
                (["update", "update_recv"], Change::default(), None, None),
            ];
            for ([name, recv], change, package, gone) in steps {
                let (cpu, now) = (self.cpu, self.later());
                let of = times.entry(name).or_default();
                let commit = timed(cpu, &mut of.engine, || self.sender.commit(now, gid, &change));
                let bare = timed(cpu, &mut of.bare, || sender.commit(package.map(Vec::as_slice), gone));
                let of = times.entry(recv).or_default();
                timed(cpu, &mut of.engine, || self.receiver.follow(now, gid, &commit));
                timed(cpu, &mut of.bare, || receiver.follow(&bare));
                if round == 0 {
                    self.sizes(name, &commit);
                    self.join(&mut joiner, &commit);
                }
            }
            // The receiver fills the nodes that the removal has blanked.
            let now = self.later();
            let update = self.receiver.commit(now, gid, &Change::default());
            self.sender.follow(now, gid, &update);
        }
        for (name, times) in times {
            self.times(name, times);
        }
    }

    fn sizes(&mut self, name: &str, commit: &Committed) {
        let suffix = if name == "update" { String::new() } else { format!("_{name}") };
        self.figure(format!("commit_bytes{suffix}"), commit.envelope.len() as f64, "B");
        if let Some(joiner) = commit.joiners.first() {
            self.figure("welcome_bytes", self.sender.welcome(joiner).len() as f64, "B");
            self.figure("bundle_bytes", commit.bundle.len() as f64, "B");
        }
    }

    /// The joiner gets in, and hears the sender.
    fn join(&mut self, joiner: &mut Node, commit: &Committed) {
        let (cpu, gid, now) = (self.cpu, self.gid, self.later());
        let Some(invited) = commit.joiners.first() else { return };
        let welcome = self.sender.welcome(invited);
        let mut time = Vec::new();
        timed(cpu, &mut time, || joiner.run(|engine, tx| engine.join(tx, now, &welcome, &commit.bundle)));
        self.figure("join_ms", median(time), "ms");
        let message = self.sender.send(now, gid);
        joiner.hear(now, gid, &message);
        self.receiver.hear(now, gid, &message);
    }

    /// One more, to stay.
    fn grow(&mut self) {
        let (gid, now) = (self.gid, self.later());
        let change = Change { adds: vec![Node::new(JOINERS - 1).add()], ..Change::default() };
        let commit = self.sender.commit(now, gid, &change);
        self.receiver.follow(now, gid, &commit);
    }

    /// Everybody says that they stand at the tip, after the sender and the
    /// receiver did: more news of others a device cannot hold.
    fn hear_marks(&mut self, name: &str) {
        let (cpu, gid, now) = (self.cpu, self.gid, self.later());
        if let Some(mark) = self.sender.run(|engine, tx| engine.mark(tx, now, gid)) {
            self.receiver.take(now, gid, &mark);
        }
        if let Some(mark) = self.receiver.run(|engine, tx| engine.mark(tx, now, gid)) {
            self.sender.take(now, gid, &mark);
        }
        let tip = crate::view::group(&self.sender.store, gid).unwrap().tip;
        let mut times = Vec::new();
        let written = self.sender.written;
        for member in &mut self.crowd {
            let mark = member.mark(gid, tip);
            timed(cpu, &mut times, || self.sender.take(now, gid, &mark));
            self.receiver.take(now, gid, &mark);
        }
        if !times.is_empty() {
            let bytes = (self.sender.written - written) as f64 / times.len() as f64;
            self.figure(format!("{name}_recv_ms"), median(times), "ms");
            self.figure(format!("bytes_per_{name}"), bytes, "B");
        }
    }

    /// Some of the crowd speak in the state in which messages are measured.
    fn hear_speakers(&mut self) -> bool {
        let (gid, now) = (self.gid, self.later());
        let speakers = self.crowd.iter().take(HUNDRED as usize);
        let said: Vec<Vec<u8>> = speakers.map(|member| member.speak(&self.sender.store, gid)).collect();
        for message in &said {
            self.sender.hear(now, gid, message);
            self.receiver.hear(now, gid, message);
        }
        if !said.is_empty() {
            self.figure("speakers", said.len() as f64, "devices");
        }
        !said.is_empty()
    }

    /// Batches of messages from the sender to the receiver.
    fn messages(&mut self, effort: Effort, suffix: &str) {
        let (cpu, gid) = (self.cpu, self.gid);
        let (mut sender, mut receiver) = (self.sender.bare(gid), self.receiver.bare(gid));
        let (mut send, mut recv) = (Times::default(), Times::default());
        let (mut sent, mut received) = (0, 0);
        for batch in 0..=effort.batches {
            let now = self.later();
            let numbers = 0..effort.messages;
            let before = (self.sender.written, self.receiver.written);
            let messages: Vec<Vec<u8>> = timed(cpu, &mut send.engine, || {
                numbers.clone().map(|_| self.sender.send(now, gid)).collect()
            });
            timed(cpu, &mut recv.engine, || messages.iter().for_each(|m| self.receiver.hear(now, gid, m)));
            let messages: Vec<Vec<u8>> =
                timed(cpu, &mut send.bare, || numbers.map(|_| sender.send(&TEXT)).collect());
            timed(cpu, &mut recv.bare, || {
                messages.iter().for_each(|m| assert_eq!(receiver.receive(m), TEXT));
            });
            if batch == 0 {
                // What the first message in a state derives is not counted.
                (send, recv) = (Times::default(), Times::default());
            } else {
                sent += self.sender.written - before.0;
                received += self.receiver.written - before.1;
            }
        }
        for list in [&mut send.engine, &mut send.bare, &mut recv.engine, &mut recv.bare] {
            list.iter_mut().for_each(|time| *time /= f64::from(effort.messages));
        }
        self.times(&format!("send{suffix}"), send);
        self.times(&format!("recv{suffix}"), recv);
        let messages = f64::from(effort.batches * effort.messages);
        self.figure(format!("bytes_per_msg{suffix}"), sent as f64 / messages, "B");
        self.figure(format!("bytes_per_recv{suffix}"), received as f64 / messages, "B");
    }
}

fn adding(members: &[Member]) -> Change {
    let inbox = TopicId([0; 32]);
    let adds = members.iter().map(|m| Add { package: m.package.clone(), inbox }).collect();
    Change { adds, ..Change::default() }
}

/// A relay as a group lists it: a name and two addresses.
fn relay(n: usize) -> RelayHint {
    RelayHint {
        id: RelayId([u8::try_from(n).unwrap_or(0); 32]),
        name: format!("harbour relay {n}"),
        addrs: vec![
            format!("/dns4/relay{n}.harbour.example/udp/4001/quic-v1"),
            format!("/dns4/relay{n}.harbour.example/tcp/4001"),
        ],
    }
}

fn timed<T>(cpu: &dyn Fn() -> Duration, into: &mut Vec<f64>, f: impl FnOnce() -> T) -> T {
    let begin = cpu();
    let out = f();
    into.push(cpu().saturating_sub(begin).as_secs_f64() * 1e3);
    out
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
