//! What somebody does who has a member's device and will not play by the
//! rules. Each attack is one deed of a run; the checkers judge the others.

use kith_core::api::Command;
use kith_core::view::Role;
use kith_mls::mutant::Mutant;
use kith_mls::rogue;
use kith_mls::{Add, Change, view};
use kith_wire::group::{BundleRef, CommitEnvelope, EventEnvelope, JoinBundle, RoleEntry, commit_id, kinds};
use kith_wire::ids::StateId;
use kith_wire::object::Versioned as _;
use kith_wire::peer::Frame;
use kith_wire::signed::{self, Raw};
use rand_core::Rng as _;

use super::{Run, Said};
use crate::puppet::{Puppet, objects};

/// An attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// A long branch, kept back until the others have gone on.
    WithheldBranch,
    /// Commits that race against the attacker's own removal.
    RaceRemoval,
    /// Two commits on one state and two marks under one number, each shown to
    /// one half.
    Equivocation,
    /// Another's commit with other tags, ground until its id is low.
    ForgedTags,
    /// A commit whose path some cannot open.
    GarbagePath,
    /// A commit whose path only a colluder can open.
    Colluders,
    /// A commit on the state before, again and again.
    CommitDrip,
    /// Marks for both sides of a fork, kept back and shown in another order to
    /// each half.
    WithheldMarks,
    /// An admin's commit on a state of long ago.
    StaleAdmin,
    /// A removed admin orders somebody out as if it were before.
    BackdatedOrder,
    /// A Welcome into a branch on which the attacker is owner.
    SelfPromotion,
    /// An update path that gives the seat to another identity.
    SeatSwap,
    /// Floods of objects at states that nobody knows.
    FutureFlood,
    /// A device that was put back to an earlier day.
    RewoundVault,
}

/// An attack as a scenario of its own: how it is called, and what has to be
/// missing for it to succeed.
#[derive(Debug)]
pub struct Script {
    /// Its name on the command line and in figures.
    pub name: &'static str,
    /// What is done.
    pub attack: Attack,
    /// Defences that its control is run without.
    pub without: &'static [Mutant],
    /// Commits that the others make before.
    pub commits_before: u32,
}

const NO_VOTES: &[Mutant] = &[Mutant::IgnoreLive, Mutant::IgnoreMajority, Mutant::IgnoreVotes];

const fn script(name: &'static str, attack: Attack, without: &'static [Mutant]) -> Script {
    Script { name, attack, without, commits_before: 3 }
}

/// All of them.
pub const SCRIPTS: &[Script] = &[
    script("withheld-branch", Attack::WithheldBranch, NO_VOTES),
    script("race-removal", Attack::RaceRemoval, &[Mutant::OrdersLapse]),
    script("equivocation", Attack::Equivocation, &[Mutant::NoMute]),
    script("forged-tags", Attack::ForgedTags, &[Mutant::UnsignedEnvelope]),
    script("garbage-path", Attack::GarbagePath, &[Mutant::NeverAskBack]),
    script("colluders", Attack::Colluders, &[Mutant::NeverReject]),
    script("commit-drip", Attack::CommitDrip, NO_VOTES),
    script("withheld-marks", Attack::WithheldMarks, &[Mutant::LateMarksDropped]),
    Script { commits_before: 1_000, ..script("stale-admin", Attack::StaleAdmin, NO_VOTES) },
    script("backdated-order", Attack::BackdatedOrder, &[Mutant::OrdersBeyondCut]),
    script("self-promotion", Attack::SelfPromotion, &[Mutant::AnyWelcome]),
    script("seat-swap", Attack::SeatSwap, &[Mutant::SeatChanges]),
    script("future-flood", Attack::FutureFlood, &[Mutant::OrphansUnbounded]),
    script("rewound-vault", Attack::RewoundVault, &[Mutant::OlderCopySpeaks]),
];

impl Script {
    /// The script of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        SCRIPTS.iter().find(|s| s.name == name)
    }
}

/// Objects of one flood.
const FLOOD: u32 = 600;

impl Run {
    /// Somebody who can be turned: alone with its account in the group, no
    /// founder, running.
    fn traitor(&mut self) -> Option<usize> {
        let members = self.members(0);
        let fit: Vec<usize> = (1..self.nodes.len())
            .filter(|n| {
                members.contains(n)
                    && self.siblings(*n).len() == 1
                    && !self.evil.contains(n)
                    && !self.gone.contains_key(n)
                    && self.world.runs(self.nodes[*n])
                    && self.members(*n).contains(n)
            })
            .collect();
        let n = u32::try_from(fit.len()).unwrap_or(0);
        let at = self.below(n) as usize;
        fit.get(at).copied()
    }

    fn puppet(&mut self, who: usize) -> Option<Puppet> {
        let (keys, store) = self.world.possess(self.nodes[who])?;
        self.turned(who);
        Some(self.puppet_on(keys, store))
    }

    fn puppet_on(&mut self, keys: kith_mls::DeviceKeys, store: kith_store::MemoryStore) -> Puppet {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        Puppet::new(keys, store, self.group, seed)
    }

    /// Somebody may be put out for good reason, with all devices.
    fn may_go(&mut self, who: usize) {
        for device in self.siblings(who) {
            self.gone.entry(device).or_default();
        }
    }

    /// From now on nothing is expected of it, and nothing of what it said.
    fn turned(&mut self, who: usize) {
        self.evil.insert(who);
        self.gone.entry(who).or_default();
    }

    /// Another admin, if there is one.
    fn peer_admin(&self) -> usize {
        let fit = |n: &usize| self.appointed.contains(n) && self.members(*n).contains(n);
        self.honest().into_iter().find(fit).unwrap_or(0)
    }

    fn wall(&self) -> u64 {
        self.world.now().wall_ms
    }

    fn object(&mut self, from: usize, to: usize, object: &[u8]) {
        let number = self.world.fresh_number();
        let frame = Frame::Object { number, group: self.group, object: object.to_vec() };
        self.world.inject(self.nodes[from], self.nodes[to], &frame);
    }

    pub(super) fn honest(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|n| !self.evil.contains(n)).collect()
    }

    /// Gives objects to some; each in the order given.
    fn show(&mut self, from: usize, to: &[usize], objects: &[Vec<u8>]) {
        for to in to {
            for object in objects {
                self.object(from, *to, object);
            }
        }
    }

    fn show_all(&mut self, from: usize, objects: &[Vec<u8>]) {
        let to = self.honest();
        self.show(from, &to, objects);
    }

    /// The attacker's commits, for the checks: none of them may come to count
    /// in a calm world.
    fn note_rogue(&mut self, commit: kith_wire::ids::CommitId) {
        self.rogue.insert(commit);
    }

    /// Changes by others while the attacker looks on.
    /// The one who changes it is no higher than the attacker.
    fn others_go_on(&mut self, times: u32) {
        let by = self.peer_admin();
        for n in 0..times {
            self.rename(by, &format!("on {n}"));
            self.world.run(4_000);
        }
    }

    /// Does it, if there is somebody to do it. `strict`: the world is calm, and
    /// nothing of it may come to count.
    pub(super) fn attack(&mut self, attack: Attack, strict: bool) -> bool {
        self.strict = strict;
        if attack == Attack::RewoundVault {
            return self.rewind(strict);
        }
        let Some(who) = self.traitor() else { return false };
        let as_admin = matches!(
            attack,
            Attack::StaleAdmin | Attack::BackdatedOrder | Attack::WithheldBranch | Attack::CommitDrip
        );
        if as_admin {
            self.set_role(0, who, Role::Admin);
            self.world.run(5_000);
        }
        let done = match attack {
            Attack::WithheldBranch => self.withheld_branch(who, 4),
            Attack::StaleAdmin => self.withheld_branch(who, self.commits_before),
            Attack::RaceRemoval => self.race_removal(who),
            Attack::Equivocation => self.equivocation(who),
            Attack::ForgedTags => self.forged_tags(who),
            Attack::GarbagePath => self.garbage_path(who),
            Attack::Colluders => self.colluders(who),
            Attack::CommitDrip => self.commit_drip(who),
            Attack::WithheldMarks => self.withheld_marks(who),
            Attack::BackdatedOrder => self.backdated_order(who),
            Attack::SelfPromotion => self.self_promotion(who),
            Attack::SeatSwap => self.seat_swap(who),
            Attack::FutureFlood => self.future_flood(who),
            Attack::RewoundVault => None,
        };
        let done = done.is_some();
        self.tell(&format!("attack of {who}: {attack:?}: {done}"));
        if done {
            let named = SCRIPTS.iter().find(|s| s.attack == attack).map_or("", |s| s.name);
            self.report.attacks.insert(named);
        }
        self.world.run(3_000);
        done
    }

    fn withheld_branch(&mut self, who: usize, others: u32) -> Option<()> {
        let mut puppet = self.puppet(who)?;
        let mut branch = Vec::new();
        for _ in 0..others.min(6) + 2 {
            let now = self.wall();
            let Ok(done) = puppet.commit(now, &Change::default()) else { break };
            self.note_rogue(done.commit);
            branch.extend(objects(&done));
        }
        self.others_go_on(others);
        self.show_all(who, &branch);
        Some(())
    }

    /// The founder is alone when it removes the attacker, whose commits all
    /// others have by then.
    fn race_removal(&mut self, who: usize) -> Option<()> {
        let mut puppet = self.puppet(who)?;
        self.alone(0, true);
        let command = Command::RemoveMember { group: self.group, account: self.accounts[who] };
        if self.world.ask(self.nodes[0], command).is_ok() {
            self.report.removals += 1;
            self.ordered_out.insert(who);
        }
        let mut race = Vec::new();
        for _ in 0..3 {
            let now = self.wall();
            let Ok(done) = puppet.commit(now, &Change::default()) else { break };
            race.extend(objects(&done));
        }
        self.show_all(who, &race);
        self.world.run(8_000);
        self.alone(0, false);
        Some(())
    }

    /// Cuts one off from all others, or ends that.
    fn alone(&mut self, who: usize, yes: bool) {
        for n in self.honest().into_iter().filter(|n| *n != who) {
            self.world.reachable(self.nodes[who], self.nodes[n], !yes);
        }
        for relay in self.relays.clone() {
            self.world.relay_reachable(self.nodes[who], relay, !yes);
        }
    }

    fn equivocation(&mut self, who: usize) -> Option<()> {
        let mut one = self.puppet(who)?;
        let mut other = self.twin(&one);
        let now = self.wall();
        let (a, b) = (one.commit(now, &Change::default()), other.commit(now, &Change::default()));
        let (Ok(a), Ok(b)) = (a, b) else { return Some(()) };
        for (place, to) in self.honest().into_iter().enumerate() {
            let seen = if place % 2 == 0 { objects(&a) } else { objects(&b) };
            self.show(who, &[to], &seen);
        }
        Some(())
    }

    /// The same device with the same rows, another time.
    fn twin(&mut self, of: &Puppet) -> Puppet {
        self.puppet_on(of.keys(), of.store.fork())
    }

    fn forged_tags(&mut self, who: usize) -> Option<()> {
        // Somebody who has not seen the commit yet is shown the forgery.
        let puppet = self.puppet(who)?;
        let before = self.commits_at(0);
        let honest = self.honest();
        let late: Vec<usize> = honest.iter().copied().filter(|n| *n != 0 && n % 2 == 1).collect();
        for n in &late {
            for other in &honest {
                if n != other {
                    self.world.reachable(self.nodes[*n], self.nodes[*other], false);
                }
            }
        }
        self.rename(0, "to be forged");
        self.world.run(2_000);
        let fresh = self.commits_at(0).into_iter().find(|c| !before.iter().any(|b| b.id == c.id));
        if let Some(genuine) = fresh {
            for forgery in forgeries(&puppet, &genuine.envelope) {
                self.show(who, &late, core::slice::from_ref(&forgery));
                self.show(who, &honest, &[forgery]);
            }
        }
        self.world.run(3_000);
        for n in &late {
            for other in &honest {
                if n != other {
                    self.world.reachable(self.nodes[*n], self.nodes[*other], true);
                }
            }
        }
        Some(())
    }

    fn commits_at(&self, n: usize) -> Vec<view::CommitView> {
        let store = self.world.store(self.nodes[n]);
        store.and_then(|s| view::commits(&*s, self.group).ok()).map(|(c, _)| c).unwrap_or_default()
    }

    fn garbage_path(&mut self, who: usize) -> Option<()> {
        let mut puppet = self.puppet(who)?;
        let at = self.below(3) as u8;
        puppet.engine.garble().set(at, 3, false);
        let now = self.wall();
        let done = puppet.commit(now, &Change::default());
        if let Ok(done) = done {
            self.show_all(who, &objects(&done));
        }
        Some(())
    }

    fn colluders(&mut self, who: usize) -> Option<()> {
        let friend = {
            let mut fit = self.honest();
            fit.retain(|n| *n != 0 && *n != who && self.siblings(*n).len() == 1);
            // Nor who has just left, and tells nobody as an attacker.
            fit.retain(|n| !self.gone.contains_key(n));
            fit.retain(|n| self.world.runs(self.nodes[*n]) && self.members(*n).contains(n));
            *fit.first()?
        };
        // Two of four cannot be outvoted.
        if self.members(0).len() < 5 {
            return None;
        }
        let mut puppet = self.puppet(who)?;
        let helper = self.puppet(friend)?;
        // All of it: the colluder's voice says that it could be opened.
        puppet.engine.garble().set(0, 1, false);
        let now = self.wall();
        let done = puppet.commit(now, &Change::default());
        let Ok(done) = done else { return Some(()) };
        self.note_rogue(done.commit);
        let (n, prev) = helper.chain_end();
        let (vote, _) = helper.mark(n + 1, prev, done.state);
        self.show_all(who, &objects(&done));
        self.show_all(friend, &[vote]);
        Some(())
    }

    fn commit_drip(&mut self, who: usize) -> Option<()> {
        let mut puppet = self.puppet(who)?;
        for n in 0..6 {
            let caught = self.world.take_caught(self.nodes[who]);
            for frame in caught {
                if let Frame::Object { object, .. } = frame {
                    let now = self.wall();
                    puppet.ingest(now, &object);
                }
            }
            // On the state before the one that the others are about to make.
            let mut drop = self.twin(&puppet);
            let by = self.peer_admin();
            self.rename(by, &format!("drip {n}"));
            self.world.run(3_000);
            let now = self.wall();
            if let Ok(done) = drop.commit(now, &Change::default()) {
                self.note_rogue(done.commit);
                self.show_all(who, &[done.envelope]);
            }
            self.world.run(1_000);
        }
        Some(())
    }

    /// Two halves fork; the attacker's voice decides, and is heard in another
    /// order by each.
    fn withheld_marks(&mut self, who: usize) -> Option<()> {
        let puppet = self.puppet(who)?;
        let honest = self.honest();
        let side = |n: usize| honest.iter().position(|h| *h == n).is_some_and(|p| p % 2 == 1);
        for a in &honest {
            for b in &honest {
                if side(*a) != side(*b) {
                    self.world.reachable(self.nodes[*a], self.nodes[*b], false);
                }
            }
            for relay in self.relays.clone() {
                if side(*a) {
                    self.world.relay_reachable(self.nodes[*a], relay, false);
                }
            }
        }
        for n in &honest {
            self.rename(*n, &format!("side of {n}"));
        }
        self.world.run(8_000);
        let tips: Vec<StateId> = [false, true]
            .into_iter()
            .filter_map(|s| {
                let n = honest.iter().copied().find(|n| side(*n) == s)?;
                let store = self.world.store(self.nodes[n])?;
                Some(view::group(&*store, self.group).ok()?.tip)
            })
            .collect();
        let (n, prev) = puppet.chain_end();
        if let [one, two] = tips.as_slice() {
            let (first, id) = puppet.mark(n + 1, prev, *one);
            let (second, _) = puppet.mark(n + 2, Some(id), *two);
            // They come before the states are known to all: each half keeps
            // them until then, in the order in which they came.
            for to in &honest {
                let order =
                    if side(*to) { [second.clone(), first.clone()] } else { [first.clone(), second.clone()] };
                self.show(who, &[*to], &order);
            }
        }
        self.world.run(2_000);
        for a in &honest {
            for b in &honest {
                if a < b {
                    self.world.reachable(self.nodes[*a], self.nodes[*b], true);
                }
            }
            for relay in self.relays.clone() {
                self.world.relay_reachable(self.nodes[*a], relay, true);
            }
        }
        Some(())
    }

    /// An admin orders somebody out when it has been ordered out itself; or,
    /// by hand, as of a state that it has long left.
    fn backdated_order(&mut self, who: usize) -> Option<()> {
        let by_hand = !self.strict && who % 2 == 1;
        if by_hand {
            self.others_go_on(2);
        }
        let mut puppet = self.puppet(who)?;
        let mut juniors = self.honest();
        juniors.retain(|n| {
            *n != 0
                && self.members(0).contains(n)
                && !self.gone.contains_key(n)
                && !self.appointed.contains(n)
        });
        let junior = *juniors.first()?;
        if by_hand {
            // Who does not know what the attacker has marked cannot see that
            // the order refers to before it: then it is one of an admin.
            let tip = view::group(&puppet.store, self.group).ok()?.tip;
            let members = self.members(0);
            let elsewhere = |n: &usize| members.contains(n) && self.tip_of(*n) != Some(tip);
            if self.honest().iter().any(elsewhere) {
                self.may_go(junior);
            }
            let objects = puppet.backdated(self.accounts[junior])?;
            self.show_all(who, &objects);
            self.world.run(5_000);
            return Some(());
        }
        let command = Command::RemoveMember { group: self.group, account: self.accounts[who] };
        if self.world.ask(self.nodes[0], command).is_ok() {
            self.report.removals += 1;
            self.ordered_out.insert(who);
        } else {
            // Then it is an admin who may.
            self.may_go(junior);
        }
        self.world.run(10_000);
        let now = self.wall();
        let change = Change { remove_accounts: vec![self.accounts[junior]], ..Change::default() };
        if let Ok(done) = puppet.commit(now, &change) {
            self.show_all(who, &objects(&done));
        }
        Some(())
    }

    /// One forbidden thing alone, so that no other defence stops it: a role
    /// that nobody gave, or a removal that nobody ordered.
    fn forbidden_alone(&mut self, who: usize, victim: usize, puppet: &mut Puppet) -> Option<()> {
        let group = view::group(&puppet.store, self.group).ok()?;
        let mut ext = group.ext;
        let epoch = group.epoch + 1;
        ext.roles.insert(self.accounts[who], RoleEntry { role: kith_wire::group::Role::Owner, epoch });
        let change = if who % 3 == 1 {
            Change { ext: Some(ext), ..Change::default() }
        } else {
            Change { remove_devices: vec![self.devices[victim]], ..Change::default() }
        };
        let now = self.wall();
        let done = puppet.forbidden(now, &change).ok()?;
        self.note_rogue(done.commit);
        self.show_all(who, &objects(&done));
        Some(())
    }

    fn self_promotion(&mut self, who: usize) -> Option<()> {
        let mut puppet = self.puppet(who)?;
        let mut victims = self.honest();
        victims.retain(|n| self.members(0).contains(n));
        let at = self.below(u32::try_from(victims.len()).ok()?) as usize;
        let victim = *victims.get(at)?;
        if !self.strict && !who.is_multiple_of(3) {
            return self.forbidden_alone(who, victim, &mut puppet);
        }
        self.world.inject(self.nodes[who], self.nodes[victim], &Frame::PackageRequest);
        self.world.run(9_000);
        let package = self.world.take_caught(self.nodes[who]).into_iter().find_map(|f| match f {
            Frame::Package { package } => Some(package),
            _ => None,
        });
        let (Some(package), Some(inbox)) = (package, self.world.inbox(self.nodes[victim])) else {
            return Some(());
        };
        let group = view::group(&puppet.store, self.group).ok()?;
        let mut ext = group.ext.clone();
        ext.roles.insert(
            self.accounts[who],
            RoleEntry { role: kith_wire::group::Role::Owner, epoch: group.epoch + 1 },
        );
        let change = Change {
            ext: Some(ext),
            remove_devices: vec![self.devices[victim]],
            adds: vec![Add { package, inbox }],
            ..Change::default()
        };
        let now = self.wall();
        let Ok(done) = puppet.forbidden(now, &change) else { return Some(()) };
        self.note_rogue(done.commit);
        // The branch's past is kept quiet: it would give the promotion away.
        let mut bundle = JoinBundle::from_bytes(&done.bundle).ok()?;
        bundle.commits.clear();
        bundle.checkpoint = None;
        if let Some(joiner) = done.joiners.first() {
            let welcome = puppet.engine.welcome(joiner, BundleRef::Inline(bundle.to_bytes()));
            let sealed = puppet.engine.seal_inbox(&joiner.box_key, joiner.inbox, joiner.device, &welcome);
            if let Ok(sealed) = sealed {
                let number = self.world.fresh_number();
                self.world.inject(self.nodes[who], self.nodes[victim], &Frame::Inbox { number, sealed });
            }
        }
        self.world.run(3_000);
        self.show_all(who, &[done.envelope]);
        Some(())
    }

    fn seat_swap(&mut self, who: usize) -> Option<()> {
        let stranger = self.world.node("stranger").ok()?;
        let identity = self.world.keys(stranger)?;
        self.world.stop(stranger);
        let mut puppet = self.puppet(who)?;
        let now = self.wall();
        let done = rogue::seated(identity, || puppet.forbidden(now, &Change::default()));
        if let Ok(done) = done {
            self.note_rogue(done.commit);
            self.show_all(who, &objects(&done));
        }
        Some(())
    }

    fn future_flood(&mut self, who: usize) -> Option<()> {
        let puppet = self.puppet(who)?;
        let (n, prev) = puppet.chain_end();
        let mut flood = Vec::new();
        for i in 0..FLOOD {
            let mut at = [0; 32];
            self.rng.fill_bytes(&mut at);
            let at = StateId(at);
            flood.push(if i % 3 == 0 {
                puppet.mark(n + 1 + u64::from(i), prev, at).0
            } else {
                EventEnvelope::new(at, vec![7; 200]).to_bytes()
            });
        }
        self.show_all(who, &flood);
        Some(())
    }

    /// Its owner copies an old disk back and writes at once. The device is no
    /// attacker's; but what it said since is not expected at itself any more.
    /// `calm`: what it says from then on reaches the others, under new keys.
    pub(super) fn rewind(&mut self, calm: bool) -> bool {
        let Some((who, old)) = self.old_disk.take() else { return false };
        let going = self.evil.contains(&who) || self.ordered_out.contains(&who);
        if going || !self.members(0).contains(&who) {
            return false;
        }
        self.turned(who);
        if self.world.rewind(self.nodes[who], old, calm).is_err() {
            return false;
        }
        self.report.attacks.insert("rewound-vault");
        self.put_back.insert(who);
        let at = self.world.now().mono_ms;
        for n in 0..3 {
            let text = format!("again {n} of {who}, {at} ms");
            let command = Command::SendText {
                group: self.group,
                text: text.clone(),
                reply_to: None,
                key: text.clone(),
            };
            let (audience, barred) = (self.members(who), Vec::new());
            if self.world.ask(self.nodes[who], command).is_ok() && calm {
                self.said.push(Said { text, author: who, audience, barred, in_calm: true });
            }
            self.world.run(2_000);
        }
        true
    }
}

/// Another's commit with a changed membership tag, ground until its id is
/// low, and with a changed confirmation tag; under the old signature and
/// under the attacker's own.
fn forgeries(puppet: &Puppet, genuine: &[u8]) -> Vec<Vec<u8>> {
    let Ok(raw) = Raw::from_bytes(genuine) else { return Vec::new() };
    let Ok(envelope) = raw.body::<CommitEnvelope>() else { return Vec::new() };
    let mut out = Vec::new();
    // Both tags are a length of one byte and 32 bytes, at the end.
    for from_end in [1, 34] {
        let mut best: Option<Vec<u8>> = None;
        for n in 1..=64u8 {
            let mut message = envelope.message.clone();
            let Some(at) = message.len().checked_sub(from_end) else { continue };
            message[at] ^= n;
            if best.as_ref().is_none_or(|b| commit_id(&message) < commit_id(b)) {
                best = Some(message);
            }
        }
        let Some(message) = best else { continue };
        let forged = CommitEnvelope { kind: kinds::COMMIT, message, ..envelope.clone() };
        let own = signed::sign(&forged, &puppet.keys.signing, &[]);
        out.push(Raw { body: own.body.clone(), sig: raw.sig }.to_bytes());
        out.push(own.to_bytes());
    }
    out
}
