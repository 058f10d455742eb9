//! Four devices do what devices do, in any order, over a net that delays,
//! drops, repeats and reorders. Then everybody is given everything: all who
//! are in stand on one tip, have what was said to them once, and talk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use arbitrary::{Arbitrary, Unstructured};
use kith_mls::{Add, Change, Committed, DeviceKeys, Duties};
use kith_store::MemoryStore;
use kith_wire::group::{GroupExt, Role, RoleEntry, Target};
use kith_wire::ids::{AccountId, CommitId, DeviceId, EventId, GroupId, TopicId};

use crate::device::{Device, fair, keys, publish, published, resend, settle};

/// Devices: two accounts with one, and one with two.
const DEVICES: usize = 4;
/// Operations of one run.
const OPERATIONS_MAX: usize = 48;
/// Commits between two points where all have everything: no branch may leave
/// the window in which it can be followed.
const COMMITS_MAX: usize = 6;
/// Tries to carry out orders until somebody may write again.
const TRIES_MAX: usize = 8;

/// One thing that happens. Numbers are taken modulo what there is.
#[derive(Debug, Arbitrary)]
enum Operation {
    Send(u8),
    Update(u8),
    Rotate(u8),
    Title(u8, u8),
    Role(u8, u8, u8),
    Add(u8, u8),
    Remove(u8, u8),
    RemoveDevice(u8, u8),
    Leave(u8),
    Mark(u8),
    Reseal(u8, u8),
    /// The object at this place of the queue comes.
    Deliver(u8, u8),
    /// The first so many come, in order.
    DeliverMany(u8, u8),
    /// It comes and stays in the queue.
    Duplicate(u8, u8),
    Drop(u8, u8),
    /// Any object that was ever published comes.
    Replay(u8, u16),
    Sync(u8, u8),
    Restart(u8),
    /// What was begun is not finished: its transaction is dropped.
    Crash(u8, u8),
    /// Minutes pass.
    Wait(u8, u16),
    /// Everybody gets everything.
    Settle,
}

/// A Welcome on its way.
struct Invitation {
    commit: CommitId,
    by: usize,
    to: usize,
    welcome: Vec<u8>,
    bundle: Vec<u8>,
}

struct World {
    gid: GroupId,
    devices: Vec<Device>,
    /// What is on its way to each device.
    queues: Vec<Vec<Vec<u8>>>,
    /// All that was ever published.
    published: Vec<Vec<u8>>,
    invitations: Vec<Invitation>,
    /// Commits since all had everything.
    commits: usize,
    /// Events with their author and audience.
    said: BTreeMap<EventId, (usize, Vec<(AccountId, DeviceId)>)>,
    /// Devices that were added by a commit whose Welcome is of no use.
    stranded: BTreeSet<DeviceId>,
    /// Devices that came, or came again, since the start.
    came: BTreeSet<DeviceId>,
}

/// A device between two runs.
type Kept = (DeviceKeys, MemoryStore, u64);

/// Three devices in a group and one outside, at rest. Made once.
fn base() -> &'static (GroupId, Vec<Kept>) {
    static BASE: OnceLock<(GroupId, Vec<Kept>)> = OnceLock::new();
    BASE.get_or_init(|| {
        let mut all = [(1, 1), (2, 1), (3, 1), (2, 2)].map(|(a, d)| Device::new(keys(a, d), a * 10 + d));
        let [a, b, c, _] = &mut all;
        let mut ext = GroupExt::group(a.account(), "tea", Vec::new());
        ext.roles.insert(b.account(), RoleEntry { role: Role::Admin, epoch: 0 });
        let gid = a.run(|e, tx, now| e.create(tx, now, &ext)).expect("a group");
        let adds = [&mut *b, &mut *c].map(|d| Add { package: d.package(), inbox: TopicId(d.id().0) });
        let change = Change { adds: adds.into(), ..Change::default() };
        let commit = a.run(|e, tx, now| e.commit(tx, now, gid, &change)).expect("a commit");
        for d in [&mut *b, &mut *c] {
            let welcome = a.welcome(&commit, d.id()).expect("a Welcome");
            d.join(&welcome, &commit.bundle).expect("a join");
        }
        settle(gid, &mut [a, b, c]);
        (gid, all.iter().map(|d| (d.keys.clone(), d.store.fork(), d.now)).collect())
    })
}

impl World {
    fn new() -> Self {
        let (gid, kept) = base();
        let wake = |(n, (keys, store, now)): (usize, &Kept)| {
            Device::on(keys.clone(), store.fork(), *now, 1000 + n as u64)
        };
        Self {
            gid: *gid,
            devices: kept.iter().enumerate().map(wake).collect(),
            queues: vec![Vec::new(); DEVICES],
            published: Vec::new(),
            invitations: Vec::new(),
            commits: 0,
            said: BTreeMap::new(),
            stranded: BTreeSet::new(),
            came: BTreeSet::new(),
        }
    }

    /// A device that may act: one that knows the group.
    fn here(&self, n: u8) -> Option<usize> {
        let n = usize::from(n) % DEVICES;
        self.devices[n].knows(self.gid).then_some(n)
    }

    fn publish(&mut self, by: usize, objects: &[Vec<u8>]) {
        for object in objects {
            for (_, queue) in self.queues.iter_mut().enumerate().filter(|(n, _)| *n != by) {
                queue.push(object.clone());
            }
            self.published.push(object.clone());
        }
    }

    fn deliver(&mut self, to: usize, object: &[u8]) {
        if self.devices[to].knows(self.gid) {
            self.devices[to].ingest(self.gid, object);
        }
    }

    fn send(&mut self, by: usize, text: &str) -> Option<EventId> {
        let sent = self.devices[by].send(self.gid, text)?;
        let audience = kith_mls::view::audience(&self.devices[by].store, self.gid, sent.at);
        self.said.insert(sent.id, (by, audience.expect("an own state is known")));
        self.publish(by, &published(&sent));
        Some(sent.id)
    }

    fn commit(&mut self, by: usize, change: &Change) -> Option<Committed> {
        if self.commits >= COMMITS_MAX {
            return None;
        }
        let committed = self.devices[by].commit(self.gid, change)?;
        self.commits += 1;
        self.publish(by, &publish(&committed));
        for joiner in &committed.joiners {
            let Some(to) = self.devices.iter().position(|d| d.id() == joiner.device) else { continue };
            let Some(welcome) = self.devices[by].welcome(&committed, joiner.device) else { continue };
            let (commit, bundle) = (committed.commit, committed.bundle.clone());
            self.invitations.push(Invitation { commit, by, to, welcome, bundle });
        }
        Some(committed)
    }

    fn add(&mut self, whom: usize) -> Change {
        let package = self.devices[whom].package();
        let inbox = TopicId(self.devices[whom].id().0);
        Change { adds: vec![Add { package, inbox }], ..Change::default() }
    }

    fn run(&mut self, operation: &Operation) -> Option<()> {
        use Operation as O;
        let gid = self.gid;
        let pick = |n: u8, len: usize| (len > 0).then(|| usize::from(n) % len);
        match *operation {
            O::Send(n) => {
                let by = self.here(n)?;
                self.send(by, "hello");
            }
            O::Update(n) => {
                let by = self.here(n)?;
                self.commit(by, &Change::default());
            }
            O::Rotate(n) => {
                let by = self.here(n)?;
                self.commit(by, &Change { rotate: true, ..Change::default() });
            }
            O::Title(n, title) => {
                let by = self.here(n)?;
                let mut ext = self.devices[by].view(gid).ext;
                ext.policy.title = format!("tea {title}");
                self.commit(by, &Change { ext: Some(ext), ..Change::default() });
            }
            O::Role(n, whom, role) => {
                let by = self.here(n)?;
                let view = self.devices[by].view(gid);
                let whom = self.devices[usize::from(whom) % DEVICES].account();
                let role = [Role::Member, Role::Moderator, Role::Admin, Role::Owner][usize::from(role) % 4];
                let mut ext = view.ext;
                ext.roles.insert(whom, RoleEntry { role, epoch: view.epoch + 1 });
                self.commit(by, &Change { ext: Some(ext), ..Change::default() });
            }
            O::Add(n, whom) => {
                let by = self.here(n)?;
                let whom = usize::from(whom) % DEVICES;
                let change = self.add(whom);
                self.commit(by, &change);
            }
            O::Remove(n, whom) => {
                let by = self.here(n)?;
                let whom = self.devices[usize::from(whom) % DEVICES].account();
                self.commit(by, &Change { remove_accounts: vec![whom], ..Change::default() });
            }
            O::RemoveDevice(n, whom) => {
                let by = self.here(n)?;
                let whom = self.devices[usize::from(whom) % DEVICES].id();
                self.commit(by, &Change { remove_devices: vec![whom], ..Change::default() });
            }
            O::Leave(n) => {
                let by = self.here(n)?;
                let orders = fair(self.devices[by].run(|e, tx, now| e.leave(tx, now, gid)))?;
                self.publish(by, &orders);
            }
            O::Mark(n) => {
                let by = self.here(n)?;
                let mark = self.devices[by].mark(gid)?;
                self.publish(by, &[mark]);
            }
            O::Reseal(n, event) => {
                let by = self.here(n)?;
                let at = pick(event, self.said.len())?;
                let id = *self.said.keys().nth(at)?;
                self.devices[by].resend.push(id);
                self.resend(by);
            }
            O::Deliver(n, at) => {
                let to = self.here(n)?;
                let at = pick(at, self.queues[to].len())?;
                let object = self.queues[to].remove(at);
                self.deliver(to, &object);
            }
            O::DeliverMany(n, many) => {
                let to = self.here(n)?;
                let many = usize::from(many).min(self.queues[to].len());
                for object in self.queues[to].drain(..many).collect::<Vec<_>>() {
                    self.deliver(to, &object);
                }
            }
            O::Duplicate(n, at) => {
                let to = self.here(n)?;
                let object = self.queues[to][pick(at, self.queues[to].len())?].clone();
                self.deliver(to, &object);
            }
            O::Drop(n, at) => {
                let to = self.here(n)?;
                let at = pick(at, self.queues[to].len())?;
                self.queues[to].remove(at);
            }
            O::Replay(n, at) => {
                let to = self.here(n)?;
                let at = usize::from(at).checked_rem(self.published.len())?;
                let object = self.published[at].clone();
                self.deliver(to, &object);
            }
            O::Sync(n, other) => {
                let (from, to) = (self.here(n)?, self.here(other)?);
                let hello = self.devices[to].hello(gid);
                let peer = self.devices[to].id();
                for object in self.devices[from].answer(gid, peer, &hello) {
                    self.deliver(to, &object);
                }
            }
            O::Restart(n) => self.devices[usize::from(n) % DEVICES].restart(),
            O::Crash(n, what) => self.crash(n, what)?,
            O::Wait(n, minutes) => {
                self.devices[usize::from(n) % DEVICES].now += u64::from(minutes) * 60_000;
            }
            O::Settle => self.settle(),
        }
        Some(())
    }

    fn crash(&mut self, n: u8, what: u8) -> Option<()> {
        let by = self.here(n)?;
        let gid = self.gid;
        let object = self.queues[by].first().cloned();
        let d = &mut self.devices[by];
        match what % 4 {
            0 => {
                fair(d.run_and_drop(|e, tx, now| e.send(tx, now, gid, 2, b"never")));
            }
            1 => {
                fair(d.run_and_drop(|e, tx, now| e.commit(tx, now, gid, &Change::default())));
            }
            2 => {
                fair(d.run_and_drop(|e, tx, now| e.mark(tx, now, gid)));
            }
            _ => {
                let object = object?;
                fair(d.run_and_drop(|e, tx, now| e.ingest(tx, now, gid, &object)));
            }
        }
        if what >= 128 {
            d.restart();
        }
        Some(())
    }

    fn resend(&mut self, by: usize) {
        for (only, object) in resend(self.gid, &mut self.devices[by]) {
            let Some(only) = only else {
                self.publish(by, &[object]);
                continue;
            };
            for to in 0..DEVICES {
                if only.contains(&self.devices[to].id()) {
                    self.queues[to].push(object.clone());
                }
            }
        }
    }

    /// Everybody gets everything; then who was added by a commit that stands
    /// joins.
    fn settle(&mut self) {
        loop {
            for to in 0..DEVICES {
                for object in std::mem::take(&mut self.queues[to]) {
                    self.deliver(to, &object);
                }
            }
            settle(self.gid, &mut self.devices.iter_mut().collect::<Vec<_>>());
            if self.invitations.is_empty() {
                break;
            }
            for invitation in std::mem::take(&mut self.invitations) {
                self.invite(&invitation);
            }
        }
        self.commits = 0;
    }

    fn invite(&mut self, it: &Invitation) {
        let id = self.devices[it.to].id();
        let view = self.devices[it.by].view(self.gid);
        let added = view.me_in && view.members.iter().any(|m| m.device == id);
        if !added || self.devices[it.by].lost.contains(&it.commit) {
            // Lost, or undone since: its author adds it anew if it still wants to.
            self.stranded.insert(id);
            return;
        }
        match fair(self.devices[it.to].join(&it.welcome, &it.bundle)) {
            Some(joined) => {
                self.stranded.remove(&id);
                self.came.insert(id);
                self.publish(it.to, &[joined.mark]);
            }
            None => {
                self.stranded.insert(id);
            }
        }
    }

    /// A Welcome for this device was of no use, and it does not stand in the
    /// group by itself: as one does that was in before, added once more on a
    /// branch that lost.
    fn cut_off(&self, d: &Device) -> bool {
        let stands = || {
            let view = d.view(self.gid);
            view.me_in && !view.behind
        };
        self.stranded.contains(&d.id()) && !(d.knows(self.gid) && stands())
    }

    /// All who are in stand on one tip, and all who are on its list know it.
    /// Left out is who was removed on a branch that lost and is to go on the
    /// one that won as well: nobody lets it in for the time between, and
    /// others are not measured by it.
    fn assert_one_tip(&self) -> Vec<usize> {
        let is_in = |n: &usize| self.devices[*n].knows(self.gid) && self.devices[*n].view(self.gid).me_in;
        let stands = |n: &usize| is_in(n) && !self.devices[*n].view(self.gid).behind;
        let first = (0..DEVICES).find(stands).or_else(|| (0..DEVICES).find(is_in)).expect("nobody is left");
        let one = self.devices[first].view(self.gid);
        let mut present = Vec::new();
        for (n, d) in self.devices.iter().enumerate() {
            let listed = one.members.iter().any(|m| m.device == d.id());
            if self.cut_off(d) || !d.knows(self.gid) {
                continue;
            }
            let view = d.view(self.gid);
            if view.behind && self.to_go(n, &[first]) {
                continue;
            }
            assert_eq!(view.me_in, listed, "device {n} is wrong about being in");
            assert!(listed || !view.behind, "device {n} waits to be let in where it is not listed");
            if listed {
                assert_eq!(view.tip, one.tip, "device {n} stands elsewhere");
                present.push(n);
            }
        }
        present
    }

    /// What was said reached all for whom it was and who have been there ever
    /// since, once. Left out is what not everybody who is in may see: it
    /// travels bare, and whoever does not know the branch that it was written
    /// on cannot take it in. So is what those say who are ordered to go: of
    /// that counts only what the order's author had heard.
    fn assert_all_heard(&self, present: &[usize]) {
        let came = |d: &Device| d.healed || self.came.contains(&d.id());
        let stayed = |n: &usize| present.contains(n) && !came(&self.devices[*n]);
        for (id, (by, audience)) in &self.said {
            let may_see = |n: &usize| audience.iter().any(|(a, _)| *a == self.devices[*n].account());
            if !stayed(by) || self.to_go(*by, present) || !present.iter().all(may_see) {
                continue;
            }
            for n in present.iter().filter(|n| *n != by && stayed(n)) {
                let d = &self.devices[*n];
                if audience.iter().any(|(_, it)| *it == d.id()) {
                    assert_eq!(d.shown.get(id), Some(&1), "device {n} has not heard what {by} said");
                }
            }
        }
        for (n, d) in self.devices.iter().enumerate() {
            assert!(d.shown.values().all(|times| *times == 1), "device {n} shows an event twice");
        }
    }

    /// Each who is in says something that all others hear, unless all are to
    /// go. Orders that stand in the way are carried out first.
    fn assert_all_talk(&mut self) {
        for _ in 0..TRIES_MAX {
            let present = self.assert_one_tip();
            let mut silent = Vec::new();
            for by in &present {
                if self.send(*by, "and now").is_none() {
                    silent.push(*by);
                }
            }
            if silent.is_empty() {
                self.settle();
                let present = self.assert_one_tip();
                self.assert_all_heard(&present);
                return;
            }
            if self.over(&present) {
                return;
            }
            self.carry_out(&present);
            self.settle();
        }
        panic!("somebody who is in cannot write any more");
    }

    /// Whoever should carry out what is ordered does so.
    fn carry_out(&mut self, present: &[usize]) {
        for by in present.iter().copied() {
            if self.duties(by).enact && self.commit(by, &Change::default()).is_some() {
                return;
            }
        }
    }

    /// Whether somebody who is in knows of an order against this device.
    fn to_go(&self, n: usize, present: &[usize]) -> bool {
        let (account, device) = (self.devices[n].account(), self.devices[n].id());
        let meant = |t: &Target| *t == Target::Account(account) || *t == Target::Device(device);
        present.iter().any(|by| self.duties(*by).targets.iter().any(meant))
    }

    /// All who are in have left or were ordered to go, or were added and never
    /// came: nobody is there to carry it out, and nobody writes any more.
    fn over(&self, present: &[usize]) -> bool {
        let never_came = |id: &DeviceId| self.devices.iter().any(|d| d.id() == *id && self.cut_off(d));
        present.iter().all(|n| {
            let targets = self.duties(*n).targets;
            self.devices[*n].view(self.gid).members.iter().all(|m| {
                targets.contains(&Target::Account(m.account))
                    || targets.contains(&Target::Device(m.device))
                    || never_came(&m.device)
            })
        })
    }

    fn duties(&self, n: usize) -> Duties {
        kith_mls::view::duties(&self.devices[n].store, self.gid).expect("the group is known here")
    }
}

/// Runs the operations that `bytes` stand for, then holds all of the above.
pub fn operations(bytes: &[u8]) {
    let mut world = World::new();
    let mut u = Unstructured::new(bytes);
    let told = std::env::var_os("KITH_FUZZ_TELL").is_some();
    for _ in 0..OPERATIONS_MAX {
        if u.is_empty() {
            break;
        }
        let Ok(operation) = Operation::arbitrary(&mut u) else { break };
        let done = world.run(&operation).is_some();
        if told {
            eprintln!("{operation:?}{}", if done { "" } else { " (nothing)" });
        }
    }
    world.settle();
    let inside: Vec<usize> = (0..DEVICES)
        .filter(|n| world.devices[*n].knows(world.gid) && world.devices[*n].view(world.gid).me_in)
        .collect();
    // Nobody lets anybody in again where all are to leave.
    if world.over(&inside) {
        return;
    }
    let present = world.assert_one_tip();
    world.assert_all_heard(&present);
    world.assert_all_talk();
}
