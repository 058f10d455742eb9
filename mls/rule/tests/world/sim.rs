//! The simulation: honest devices and rogues, an unreliable network, then
//! healing, after which everything must come to rest.

use std::collections::{BTreeMap, BTreeSet};

use kith_rule::{Decision, History};
use kith_wire::group::{OrderKind, Role, Target, rank};
use kith_wire::ids::{AccountId, CommitId, DeviceId, OrderId, StateId};

use super::maker::{Change, Fact, Maker, Rng, account, account_no, account_of, device};

/// The rule under test.
pub(crate) type Rule = fn(&History) -> Decision;

/// States behind the tip that a device can still enter others from.
const WINDOW: usize = 8;
/// Ticks until a device acts on an order or request in place of a better
/// ranked one.
const BACKOFF: u64 = 2;
/// Ticks that a device abstains from a first vote for a branch that a target
/// of an order began.
const PATIENCE: u64 = 12;

#[derive(Debug, Clone)]
enum Intent {
    Update,
    Add(AccountId, DeviceId),
    Give(AccountId, Role),
    Out(Target),
    Lower(AccountId),
    Leave,
}

struct Dev {
    id: DeviceId,
    account: AccountId,
    rogue: bool,
    history: History,
    known: BTreeSet<usize>,
    inbox: BTreeSet<usize>,
    dirty: bool,
    pos: StateId,
    /// States whose secrets it has.
    held: BTreeSet<StateId>,
    own: BTreeSet<StateId>,
    marked: Option<StateId>,
    acks: BTreeMap<DeviceId, (u64, u64)>,
    said: BTreeMap<DeviceId, (u64, u64)>,
    bad: BTreeSet<CommitId>,
    tried: BTreeSet<CommitId>,
    intents: Vec<(Intent, Option<StateId>)>,
    /// When it first knew of something to do.
    since: BTreeMap<[u8; 32], u64>,
    abstains: Option<(StateId, u64)>,
    decision: Option<Decision>,
    /// Longest run of own path that was given up at once.
    rolled_back: usize,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) seed: u64,
    pub(crate) rogues: bool,
    pub(crate) ticks: u64,
}

#[derive(Debug, Default, Clone)]
pub(crate) struct Figures {
    pub(crate) commits: usize,
    pub(crate) forks: usize,
    pub(crate) orders: usize,
    pub(crate) rejected: usize,
    pub(crate) dropped: usize,
    pub(crate) muted: usize,
    pub(crate) heals: usize,
    pub(crate) rest: u64,
    pub(crate) deepest: usize,
    pub(crate) alone: bool,
}

pub(crate) struct World {
    pub(crate) m: Maker,
    rng: Rng,
    rule: Rule,
    devs: Vec<Dev>,
    now: u64,
    healed: bool,
    /// Pairs that cannot reach each other now, by direction.
    cut: BTreeSet<(usize, usize)>,
    mail: BTreeMap<u64, Vec<(usize, usize)>>,
    /// Facts that rogues keep to themselves.
    withheld: BTreeSet<usize>,
    garbage: BTreeMap<StateId, BTreeSet<DeviceId>>,
    welcome: BTreeMap<StateId, BTreeSet<DeviceId>>,
    wants: BTreeSet<DeviceId>,
    pub(crate) figures: Figures,
    fresh: usize,
}

impl World {
    pub(crate) fn new(set: Setting, rule: Rule) -> Self {
        let mut rng = Rng(set.seed.wrapping_mul(0xA24B_AED4_963E_E407).wrapping_add(1));
        let n = 3 + rng.below(5);
        let accounts: Vec<(Role, usize)> = (0..n)
            .map(|a| {
                let role = match (a, rng.below(10)) {
                    (0, _) => Role::Owner,
                    (_, 0..4) => Role::Admin,
                    (_, 4) => Role::Moderator,
                    _ => Role::Member,
                };
                (role, 1 + usize::from(rng.chance(30)))
            })
            .collect();
        let m = Maker::new(set.seed, &accounts);
        // Less than half of the accounts are rogues.
        let rogues: BTreeSet<usize> =
            if set.rogues { (0..(n - 1) / 2).map(|_| rng.below(n)).collect() } else { BTreeSet::new() };
        let mut world = Self {
            m,
            rng,
            rule,
            devs: Vec::new(),
            now: 0,
            healed: false,
            cut: BTreeSet::new(),
            mail: BTreeMap::new(),
            withheld: BTreeSet::new(),
            garbage: BTreeMap::new(),
            welcome: BTreeMap::new(),
            wants: BTreeSet::new(),
            figures: Figures::default(),
            fresh: n,
        };
        let genesis = world.m.genesis;
        for l in world.m.state(genesis).leaves().to_vec() {
            world.join(l.device, genesis, rogues.contains(&account_no(&l.account)));
        }
        for at in 0..world.m.facts.len() {
            for to in 0..world.devs.len() {
                world.learn(to, at);
            }
        }
        world
    }

    fn join(&mut self, id: DeviceId, at: StateId, rogue: bool) -> usize {
        self.devs.push(Dev {
            id,
            account: account_of(id),
            rogue,
            history: self.m.empty(),
            known: BTreeSet::new(),
            inbox: BTreeSet::new(),
            dirty: true,
            pos: at,
            held: BTreeSet::from([at]),
            own: BTreeSet::new(),
            marked: (at == self.m.genesis).then_some(at),
            acks: BTreeMap::new(),
            said: BTreeMap::new(),
            bad: BTreeSet::new(),
            tried: BTreeSet::new(),
            intents: Vec::new(),
            since: BTreeMap::new(),
            abstains: None,
            decision: None,
            rolled_back: 0,
        });
        self.devs.len() - 1
    }

    fn learn(&mut self, to: usize, fact: usize) {
        let dev = &mut self.devs[to];
        if !dev.known.insert(fact) {
            return;
        }
        self.m.facts[fact].put(&mut dev.history);
        if let Fact::Mark(kith_rule::Mark { device, n, .. })
        | Fact::Order(kith_rule::Order { device, n, .. }) = &self.m.facts[fact]
        {
            let at = dev.acks.entry(*device).or_default();
            at.1 = at.1.max(*n);
        }
        dev.dirty = true;
    }

    /// Runs the phase with faults, heals, and waits for rest.
    pub(crate) fn run(&mut self, ticks: u64) -> Result<(), String> {
        for _ in 0..ticks {
            self.weather();
            self.tick(true);
        }
        self.healed = true;
        self.cut.clear();
        self.withheld.clear();
        let mut quiet = 0u64;
        for round in 0..600u64 {
            let before = self.m.facts.len();
            for fact in 0..before {
                for to in 0..self.devs.len() {
                    self.learn(to, fact);
                }
            }
            self.mail.clear();
            self.tick(false);
            quiet = if self.m.facts.len() == before { quiet + 1 } else { 0 };
            if quiet > 2 * PATIENCE + 8 * BACKOFF {
                self.figures.rest = (round + 1).saturating_sub(quiet);
                return self.check();
            }
        }
        Err(format!("no rest, {} facts", self.m.facts.len()))
    }

    fn weather(&mut self) {
        if self.rng.chance(6) {
            self.cut.clear();
            if self.rng.chance(70) {
                for a in 0..self.devs.len() {
                    for b in 0..self.devs.len() {
                        if a != b && self.rng.chance(45) {
                            self.cut.insert((a, b));
                        }
                    }
                }
            }
        }
    }

    fn tick(&mut self, faults: bool) {
        self.now += 1;
        for (to, fact) in self.mail.remove(&self.now).unwrap_or_default() {
            self.devs[to].inbox.insert(fact);
        }
        let mut order: Vec<usize> = (0..self.devs.len()).collect();
        self.rng.shuffle(&mut order);
        for i in order {
            let mut batch: Vec<usize> = std::mem::take(&mut self.devs[i].inbox).into_iter().collect();
            self.rng.shuffle(&mut batch);
            for fact in batch {
                self.learn(i, fact);
            }
            if faults {
                self.wish(i);
                if self.devs[i].rogue {
                    self.misbehave(i);
                }
            }
            self.act(i);
        }
        if faults && self.rng.chance(30) {
            let (a, b) = (self.rng.below(self.devs.len()), self.rng.below(self.devs.len()));
            if a != b && !self.cut.contains(&(a, b)) {
                for fact in self.devs[a].known.clone() {
                    if !self.withheld.contains(&fact) {
                        self.devs[b].inbox.insert(fact);
                    }
                }
            }
        }
    }

    /// Sends facts made since `from`: lost, doubled and late at random.
    fn publish(&mut self, by: usize, from: usize, withhold: bool) {
        for fact in from..self.m.facts.len() {
            self.learn(by, fact);
            if withhold {
                self.withheld.insert(fact);
                continue;
            }
            for to in 0..self.devs.len() {
                if to == by || self.healed || self.cut.contains(&(by, to)) || self.rng.chance(12) {
                    continue;
                }
                for _ in 0..1 + usize::from(self.rng.chance(10)) {
                    let at = self.now + 1 + self.rng.below(5) as u64;
                    self.mail.entry(at).or_default().push((to, fact));
                }
            }
        }
    }

    fn in_group(&self, i: usize, at: StateId) -> bool {
        self.m.state(at).leaf(&self.devs[i].id).is_some()
    }

    /// A device's place among those that could act at a state.
    fn place(&self, i: usize, at: StateId, may: impl Fn(&AccountId) -> bool) -> u64 {
        let state = self.m.state(at);
        let key = |a: &AccountId| {
            (std::cmp::Reverse(state.role(&self.m.gid, a)), rank(&self.m.gid, state.epoch(), a))
        };
        let me = self.devs[i].account;
        let accounts: BTreeSet<AccountId> =
            state.leaves().iter().map(|l| l.account).filter(|a| may(a)).collect();
        let before = accounts.iter().filter(|a| key(a) < key(&me)).count() as u64;
        // Second devices last.
        let second = u64::from(state.voters().get(&me) != Some(&self.devs[i].id));
        before + second * accounts.len() as u64
    }

    fn waited(&mut self, i: usize, what: [u8; 32], place: u64) -> bool {
        let now = self.now;
        let since = *self.devs[i].since.entry(what).or_insert(now);
        now >= since + place * BACKOFF
    }

    fn mark(&mut self, i: usize, at: StateId) {
        let dev = &mut self.devs[i];
        let cuts = dev.decision.as_ref().map(|d| d.cuts.clone()).unwrap_or_default();
        let mut acks = BTreeMap::new();
        for (device, had) in &dev.acks {
            // What is void is not acknowledged.
            let n = cuts.get(device).map_or(had.1, |c| had.1.min(c.votes));
            if dev.said.get(device).is_none_or(|s| s.1 < n) {
                acks.insert(*device, (0, n));
            }
        }
        dev.said.extend(acks.clone());
        let bad = std::mem::take(&mut dev.bad);
        dev.marked = Some(at);
        let from = self.m.facts.len();
        let id = self.devs[i].id;
        self.m.mark_with(id, at, acks, bad);
        self.publish(i, from, false);
    }

    fn commit(&mut self, i: usize, change: &Change) -> StateId {
        let from = self.m.facts.len();
        let (id, pos) = (self.devs[i].id, self.devs[i].pos);
        let child = self.m.bare(id, pos, change);
        self.figures.commits += 1;
        self.publish(i, from, false);
        let dev = &mut self.devs[i];
        dev.held.insert(child);
        dev.own.insert(child);
        dev.pos = child;
        self.mark(i, child);
        for (_, joiner) in &change.add {
            self.welcome(i, *joiner, child);
        }
        child
    }

    /// A Welcome, with all that the inviter knows.
    fn welcome(&mut self, by: usize, joiner: DeviceId, child: StateId) {
        self.welcome.entry(child).or_default().insert(joiner);
        let known = self.devs[by].known.clone();
        let to = match self.devs.iter().position(|d| d.id == joiner) {
            Some(to) => to,
            None => {
                let own = account_of(joiner);
                let rogue = self.devs.iter().any(|d| d.account == own && d.rogue);
                self.join(joiner, child, rogue)
            }
        };
        for fact in known {
            self.devs[to].inbox.insert(fact);
        }
    }

    fn act(&mut self, i: usize) {
        for _ in 0..40 {
            if self.devs[i].dirty {
                self.devs[i].dirty = false;
                let d = (self.rule)(&self.devs[i].history);
                self.devs[i].decision = Some(d);
            }
            if !self.step(i) {
                return;
            }
        }
    }

    /// One thing that the device does now; false when there is nothing.
    fn step(&mut self, i: usize) -> bool {
        let Some(d) = self.devs[i].decision.clone() else { return false };
        let pos = self.devs[i].pos;
        let inside = self.in_group(i, pos) && self.devs[i].held.contains(&pos);
        // Orders first, on the state that it stands in.
        if inside && let Some(wait) = self.enact(i, &d, pos) {
            return wait;
        }
        if d.tip != pos {
            return self.go(i, &d);
        }
        if !inside {
            self.want(i, pos);
            return false;
        }
        self.wants.remove(&self.devs[i].id);
        if self.devs[i].marked != Some(pos) || !self.devs[i].bad.is_empty() {
            if self.abstains(i, &d) {
                return false;
            }
            self.mark(i, pos);
            return true;
        }
        self.try_rejected(i, &d) || self.sign_anew(i, &d) || self.readd(i) || self.pursue(i, &d)
    }

    /// The device is asked for where it is a member and cannot enter.
    fn want(&mut self, i: usize, tip: StateId) {
        if self.in_group(i, tip) {
            let id = self.devs[i].id;
            self.wants.insert(id);
        }
    }

    /// Orders not enacted where the device stands: it commits them before it
    /// does anything else, or waits for a better placed one. `None` if there
    /// are none for it.
    fn enact(&mut self, i: usize, d: &Decision, pos: StateId) -> Option<bool> {
        let state = self.m.state(pos).clone();
        let me = (self.devs[i].account, self.devs[i].id);
        let mut change = Change::default();
        let mut key = [0; 32];
        for o in d.effective.iter().filter_map(|o| self.devs[i].history.order(o).cloned()) {
            if state.has_enacted(o.kind, &o.target) {
                continue;
            }
            let (account, gone): (AccountId, Vec<DeviceId>) = match o.target {
                Target::Account(a) => {
                    (a, state.leaves().iter().filter(|l| l.account == a).map(|l| l.device).collect())
                }
                Target::Device(t) => (state.leaf(&t)?.account, vec![t]),
            };
            // Nobody can commit their own removal.
            if o.kind != OrderKind::Demote && gone.contains(&me.1) {
                continue;
            }
            let signs = state.leaf(&o.device).is_some_and(|l| l.account == o.issuer);
            let free = account == o.issuer || account == me.0;
            let may = free || (signs && state.may_remove(&self.m.gid, &o.issuer, &account));
            if !may {
                continue;
            }
            if o.kind == OrderKind::Demote {
                change.roles.push((account, Role::Member));
            } else {
                change.remove.extend(gone);
            }
            change.enacts.push(o.id);
            key.iter_mut().zip(o.id.0).for_each(|(k, b)| *k ^= b);
        }
        if change.enacts.is_empty() {
            return None;
        }
        key.iter_mut().zip(pos.0).for_each(|(k, b)| *k ^= b);
        // Somebody has done it on this branch: follow.
        let done = self.devs[i].history.commits().any(|c| {
            c.parent == pos
                && self.devs[i].history.state(&c.child).is_some_and(|s| {
                    d.effective
                        .iter()
                        .filter_map(|o| self.devs[i].history.order(o))
                        .all(|o| s.has_enacted(o.kind, &o.target))
                })
        });
        if done {
            return None;
        }
        let targets: BTreeSet<AccountId> = change.remove.iter().map(|r| account_of(*r)).collect();
        let place = self.place(i, pos, |a| !targets.contains(a));
        if !self.waited(i, key, place) {
            return Some(false);
        }
        change.remove.sort_unstable();
        change.remove.dedup();
        self.commit(i, &change);
        Some(true)
    }

    fn go(&mut self, i: usize, d: &Decision) -> bool {
        let id = self.devs[i].id;
        let mut path = Vec::new();
        let mut at = d.tip;
        while !self.devs[i].held.contains(&at) {
            if self.welcome.get(&at).is_some_and(|w| w.contains(&id)) {
                self.devs[i].held.insert(at);
                break;
            }
            let Some(c) = self.devs[i].history.commit_to(&at).cloned() else {
                self.want(i, d.tip);
                return false;
            };
            at = c.parent;
            path.push(c);
        }
        if !path.is_empty() && !self.in_group(i, at) {
            self.want(i, d.tip);
            return false;
        }
        for c in path.iter().rev() {
            if !self.in_group(i, c.child) {
                // Removed there. It keeps what it has.
                if self.in_group(i, d.tip) {
                    self.want(i, d.tip);
                }
                return false;
            }
            let victim = self.garbage.get(&c.child).is_some_and(|v| v.contains(&id));
            if victim {
                if self.devs[i].tried.insert(c.id) {
                    let pos = self.devs[i].pos;
                    self.devs[i].bad.insert(c.id);
                    if self.in_group(i, pos) {
                        self.mark(i, pos);
                        return true;
                    }
                }
                self.want(i, d.tip);
                return false;
            }
            self.devs[i].held.insert(c.child);
        }
        let old = self.devs[i].pos;
        let mut lost = 0;
        let mut up = old;
        while !self.m.reaches(up, d.tip) {
            lost += 1;
            up = self.m.parents[&up];
        }
        let dev = &mut self.devs[i];
        dev.rolled_back = dev.rolled_back.max(lost);
        dev.pos = d.tip;
        if dev.marked != Some(d.tip) {
            dev.abstains = None;
        }
        self.forget(i);
        true
    }

    /// Drops secrets older than the window; own commits' stay.
    fn forget(&mut self, i: usize) {
        let mut keep = self.devs[i].own.clone();
        let mut at = Some(self.devs[i].pos);
        for _ in 0..=WINDOW {
            let Some(s) = at else { break };
            keep.insert(s);
            at = self.m.parents.get(&s).copied();
        }
        self.devs[i].held.retain(|s| keep.contains(s));
    }

    /// A first vote for a branch that a target of an order began waits.
    fn abstains(&mut self, i: usize, d: &Decision) -> bool {
        let pos = self.devs[i].pos;
        let me = self.devs[i].account;
        let targets: BTreeSet<AccountId> = d
            .effective
            .iter()
            .filter_map(|o| self.devs[i].history.order(o))
            .filter_map(|o| match o.target {
                Target::Account(a) => Some(a),
                Target::Device(_) => None,
            })
            .collect();
        let contested = d.forks.values().any(|f| {
            f.kids.iter().any(|k| k.commit == f.winner && !k.votes.contains(&me))
                && self.devs[i]
                    .history
                    .commits()
                    .any(|c| c.id == f.winner && targets.contains(&c.account) && self.m.reaches(c.child, pos))
        });
        if !contested || targets.contains(&me) {
            return false;
        }
        let now = self.now;
        let since = match self.devs[i].abstains {
            Some((at, since)) if at == pos => since,
            _ => {
                self.devs[i].abstains = Some((pos, now));
                now
            }
        };
        now < since + PATIENCE
    }

    /// Who can process a commit that others call bad says so by its mark.
    fn try_rejected(&mut self, i: usize, d: &Decision) -> bool {
        for id in &d.rejected {
            let Some(c) = self.devs[i].history.commits().find(|c| c.id == *id).cloned() else { continue };
            let victim = self.garbage.get(&c.child).is_some_and(|v| v.contains(&self.devs[i].id));
            if self.devs[i].held.contains(&c.parent)
                && self.in_group(i, c.parent)
                && self.in_group(i, c.child)
                && !victim
                && self.devs[i].tried.insert(c.id)
            {
                self.devs[i].held.insert(c.child);
                self.mark(i, c.child);
                return true;
            }
        }
        false
    }

    fn sign_anew(&mut self, i: usize, d: &Decision) -> bool {
        let pos = self.devs[i].pos;
        let anew: Vec<_> = d.resign.iter().filter_map(|o| self.devs[i].history.order(o).cloned()).collect();
        for o in anew {
            let state = self.m.state(pos).clone();
            let account = match o.target {
                Target::Account(a) => a,
                Target::Device(t) => match state.leaf(&t) {
                    Some(l) => l.account,
                    None => continue,
                },
            };
            let gid = self.m.gid;
            let me = self.devs[i].account;
            let may = |a: &AccountId| *a == account || state.may_remove(&gid, a, &account);
            let targeted = d
                .open
                .iter()
                .filter_map(|o| self.devs[i].history.order(o))
                .any(|o| o.target == Target::Account(me) || o.target == Target::Device(self.devs[i].id));
            // Once at each state: an order that came to nothing would again.
            let mine = self.devs[i]
                .history
                .orders()
                .any(|x| x.issuer == me && x.at == pos && x.kind == o.kind && x.target == o.target);
            if !may(&me) || me == account || targeted || mine {
                continue;
            }
            let mut key = o.id.0;
            key.iter_mut().zip(pos.0).for_each(|(k, b)| *k = k.wrapping_add(b));
            let place = self.place(i, pos, may);
            if self.waited(i, key, place) {
                self.order(i, o.kind, o.target);
                return true;
            }
        }
        false
    }

    /// An order at the state that the device stands in, with an honest cut.
    fn order(&mut self, i: usize, kind: OrderKind, target: Target) -> OrderId {
        let pos = self.devs[i].pos;
        if self.devs[i].marked != Some(pos) {
            self.mark(i, pos);
        }
        let id = self.devs[i].id;
        let cut = match target {
            Target::Device(t) => vec![t],
            Target::Account(a) => {
                self.m.state(pos).leaves().iter().filter(|l| l.account == a).map(|l| l.device).collect()
            }
        };
        let cut =
            cut.into_iter().map(|t| (t, self.devs[i].acks.get(&t).copied().unwrap_or_default())).collect();
        let from = self.m.facts.len();
        self.figures.orders += 1;
        let order = self.m.order(id, kind, target, pos, cut);
        self.publish(i, from, false);
        order
    }

    /// Serves devices that cannot enter the tip.
    fn readd(&mut self, i: usize) -> bool {
        let pos = self.devs[i].pos;
        let waiting: Vec<DeviceId> = self
            .wants
            .iter()
            .copied()
            .filter(|w| {
                let reach = self.devs.iter().position(|d| d.id == *w);
                *w != self.devs[i].id
                    && self.m.state(pos).leaf(w).is_some()
                    && reach.is_some_and(|r| !self.cut.contains(&(r, i)) && !self.cut.contains(&(i, r)))
            })
            .collect();
        if waiting.is_empty() {
            return false;
        }
        let mut key = pos.0;
        key[0] ^= 0x55;
        let place = self.place(i, pos, |_| true);
        if !self.waited(i, key, place) {
            return false;
        }
        self.figures.heals += 1;
        let child = self.commit(i, &Change::default());
        for w in waiting {
            self.wants.remove(&w);
            self.welcome(i, w, child);
        }
        true
    }

    /// Now and then somebody wants something.
    fn wish(&mut self, i: usize) {
        if self.devs[i].rogue && self.rng.chance(50) || !self.rng.chance(5) {
            return;
        }
        let pos = self.devs[i].pos;
        if !self.in_group(i, pos) {
            return;
        }
        let state = self.m.state(pos).clone();
        let others: Vec<AccountId> =
            state.voters().into_keys().filter(|a| *a != self.devs[i].account).collect();
        let other = self.rng.pick(&others);
        let me = self.devs[i].account;
        let siblings: Vec<DeviceId> = state
            .leaves()
            .iter()
            .filter(|l| l.account == me && l.device != self.devs[i].id)
            .map(|l| l.device)
            .collect();
        let intent = match (self.rng.below(16), other) {
            (0, _) if state.voters().len() < 10 => {
                self.fresh += 1;
                Intent::Add(account(self.fresh), device(self.fresh, 0))
            }
            (1, _) if siblings.len() < 2 => {
                self.fresh += 1;
                Intent::Add(me, device(account_no(&me), 100 + self.fresh))
            }
            (2 | 3, Some(a)) => Intent::Out(Target::Account(a)),
            (4, Some(a)) => Intent::Lower(a),
            (5 | 6, Some(a)) => {
                let role = [Role::Moderator, Role::Admin, Role::Owner][self.rng.below(3)];
                Intent::Give(a, role)
            }
            (7, _) if self.rng.chance(30) => Intent::Leave,
            (8, _) => match self.rng.pick(&siblings) {
                Some(s) => Intent::Out(Target::Device(s)),
                None => Intent::Update,
            },
            (9, _) => Intent::Lower(me),
            _ => Intent::Update,
        };
        self.devs[i].intents.push((intent, None));
    }

    /// Carries out what is wanted, again when its commit lost.
    fn pursue(&mut self, i: usize, d: &Decision) -> bool {
        if !d.open.is_empty() {
            return false;
        }
        let pos = self.devs[i].pos;
        let state = self.m.state(pos).clone();
        let (me, gid) = (self.devs[i].account, self.m.gid);
        let mut intents = std::mem::take(&mut self.devs[i].intents);
        let mut acted = false;
        intents.retain_mut(|(intent, done)| {
            if acted {
                return true;
            }
            if let Some(at) = done {
                if self.m.reaches(*at, pos) {
                    return true;
                }
                *done = None;
            }
            let role = state.role(&gid, &me);
            let mut change = Change::default();
            match intent {
                Intent::Update => {}
                Intent::Add(a, t) => {
                    let gone = d.effective.iter().filter_map(|o| self.devs[i].history.order(o)).any(|o| {
                        o.kind != OrderKind::Demote
                            && (o.target == Target::Account(*a) || o.target == Target::Device(*t))
                    });
                    if gone || state.leaf(t).is_some() || (*a != me && !state.may_add(&gid, &me)) {
                        return false;
                    }
                    change.add.push((*a, *t));
                }
                Intent::Give(a, to) => {
                    let demoted = d
                        .effective
                        .iter()
                        .filter_map(|o| self.devs[i].history.order(o))
                        .any(|o| o.target == Target::Account(*a));
                    if demoted
                        || !state.has_account(a)
                        || role < *to
                        || role < Role::Admin
                        || state.role(&gid, a) >= *to
                    {
                        return false;
                    }
                    change.roles.push((*a, *to));
                }
                Intent::Out(target) => {
                    let may = match target {
                        Target::Account(a) => state.has_account(a) && state.may_remove(&gid, &me, a),
                        Target::Device(t) => state.leaf(t).is_some_and(|l| l.account == me),
                    };
                    if may {
                        self.order(i, OrderKind::Remove, *target);
                        acted = true;
                    }
                    return false;
                }
                Intent::Lower(a) => {
                    let high =
                        state.roles().get(a).is_some_and(|r| r.role > Role::Member) && state.has_account(a);
                    if high && (*a == me || state.may_remove(&gid, &me, a)) {
                        self.order(i, OrderKind::Demote, Target::Account(*a));
                        acted = true;
                    }
                    return false;
                }
                Intent::Leave => {
                    self.order(i, OrderKind::Leave, Target::Account(me));
                    acted = true;
                    return false;
                }
            }
            *done = Some(self.commit(i, &change));
            acted = true;
            true
        });
        intents.append(&mut self.devs[i].intents);
        self.devs[i].intents = intents;
        acted
    }

    /// What a rogue may do beside what others do.
    fn misbehave(&mut self, i: usize) {
        if !self.rng.chance(12) {
            return;
        }
        let (id, me, gid) = (self.devs[i].id, self.devs[i].account, self.m.gid);
        // Rogues keep the secrets of all states that they were in.
        let mine: Vec<StateId> = self.devs[i]
            .known
            .iter()
            .filter_map(|f| match &self.m.facts[*f] {
                Fact::Commit(c, s) if s.leaf(&id).is_some() => Some(c.child),
                _ => None,
            })
            .chain([self.m.genesis])
            .filter(|s| self.m.state(*s).leaf(&id).is_some())
            .collect();
        let Some(at) = self.rng.pick(&mine) else { return };
        let from = self.m.facts.len();
        let state = self.m.state(at).clone();
        let victims: Vec<AccountId> = state.voters().into_keys().filter(|a| *a != me).collect();
        let Some(victim) = self.rng.pick(&victims) else { return };
        let withhold = self.rng.chance(60);
        match self.rng.below(10) {
            // A branch of its own from anywhere.
            0..2 => {
                let depth = 1 + self.rng.below(7);
                self.m.branch(id, at, depth);
            }
            // Several commits on one state.
            2 => {
                for _ in 0..2 + self.rng.below(6) {
                    self.m.bare(id, at, &Change { ground: Some(0), ..Change::default() });
                }
            }
            // Two marks under one number.
            3 => {
                let head = self.m.heads.get(&id).cloned().unwrap_or_default();
                self.m.raw_mark(id, head.n + 1, head.prev, at, BTreeMap::new(), BTreeSet::new());
                self.m.mark(id, at);
            }
            // A mark anywhere.
            4 => {
                self.m.mark(id, at);
            }
            // A commit that some cannot process.
            5 => {
                let tip = self.devs[i].pos;
                if self.m.state(tip).leaf(&id).is_some() {
                    let child = self.m.commit(id, tip, &Change::default());
                    let cannot = self.devs.iter().map(|d| d.id).filter(|v| *v != id).collect::<Vec<_>>();
                    let cannot = cannot.into_iter().filter(|_| self.rng.chance(70)).collect();
                    self.garbage.insert(child, cannot);
                    self.publish(i, from, false);
                    return;
                }
            }
            // A good commit called bad.
            6 => {
                let any = self.rng.pick(&mine).map(|s| self.devs[i].history.commit_to(&s).map(|c| c.id));
                if let Some(Some(c)) = any {
                    self.m.mark_with(id, at, BTreeMap::new(), BTreeSet::from([c]));
                }
            }
            // An order with an old ref and a cut of everything.
            7 | 8 if state.may_remove(&gid, &me, &victim) => {
                self.m.mark(id, at);
                let cut = self.m.cut(account_no(&victim)).into_keys().map(|v| (v, (0, 0))).collect();
                let order = self.m.order(id, OrderKind::Remove, Target::Account(victim), at, cut);
                self.figures.orders += 1;
                if self.rng.chance(50) {
                    self.m.enact(id, at, order, account_no(&victim));
                }
            }
            // Lets out what it withheld.
            _ => {
                let own: Vec<usize> = self.devs[i].known.intersection(&self.withheld).copied().collect();
                for fact in own {
                    self.withheld.remove(&fact);
                    for to in 0..self.devs.len() {
                        if !self.cut.contains(&(i, to)) {
                            self.devs[to].inbox.insert(fact);
                        }
                    }
                }
            }
        }
        self.publish(i, from, withhold);
    }

    /// What must hold at rest.
    fn check(&mut self) -> Result<(), String> {
        let whole = self.m.history();
        let d = (self.rule)(&whole);
        let state = self.m.state(d.tip).clone();
        let first = kith_rule::decide(&whole).ok_or("no anchor")?;
        self.figures.forks = first.forks.len();
        self.figures.rejected = first.rejected.len();
        self.figures.dropped = first.dropped.len();
        self.figures.muted = first.muted.len();
        let honest: Vec<&Dev> =
            self.devs.iter().filter(|d| !d.rogue && state.leaf(&d.id).is_some()).collect();
        self.figures.deepest =
            self.devs.iter().filter(|d| !d.rogue).map(|d| d.rolled_back).max().unwrap_or(0);
        self.figures.alone = honest.is_empty();
        for dev in &honest {
            if dev.pos != d.tip {
                return Err(format!("{:?} stands elsewhere than the tip {:?}", dev.id, d.tip));
            }
            if !dev.held.contains(&d.tip) {
                return Err(format!("{:?} has no keys of the tip", dev.id));
            }
        }
        // Where more than half voted for one branch, and somebody is still on
        // it, nobody has gone elsewhere. (That votes are counted rightly is
        // held against a second count in `invariants`.)
        for (p, fork) in first.forks.iter().filter(|(p, _)| self.m.reaches(**p, d.tip) && **p != d.tip) {
            let most = fork.kids.iter().find(|k| k.live && k.votes.len() * 2 > fork.electorate);
            if most.is_some_and(|k| !d.path.contains(&k.commit)) {
                return Err(format!("the majority at {p:?} was undone"));
            }
        }
        // By the facts themselves: nobody whom an effective order is about is
        // in the tree. Without an honest member nobody is there to do it, and
        // without one who stands above, and is not to go itself, nobody may.
        let targeted = |a: &AccountId| {
            first.open.iter().filter_map(|o| whole.order(o)).any(|o| o.target == Target::Account(*a))
        };
        for o in first.effective.iter().filter_map(|o| whole.order(o)) {
            let account = match o.target {
                Target::Account(a) => Some(a),
                Target::Device(t) => state.leaf(&t).map(|l| l.account),
            };
            let there = match o.target {
                Target::Account(a) if o.kind == OrderKind::Demote => {
                    state.has_account(&a) && state.roles().get(&a).is_some_and(|r| r.role > Role::Member)
                }
                Target::Account(a) => state.has_account(&a),
                Target::Device(t) => state.leaf(&t).is_some(),
            };
            let able = honest.iter().any(|h| {
                Some(h.account) != account
                    && !targeted(&h.account)
                    && (account == Some(o.issuer)
                        || account.is_some_and(|a| state.may_remove(&self.m.gid, &h.account, &a)))
            });
            if there && able {
                return Err(format!("a target is still there: {o:?}"));
            }
        }
        Ok(())
    }
}

/// One run of a seed.
pub(crate) fn run(set: Setting, rule: Rule) -> (World, Result<(), String>) {
    let mut world = World::new(set, rule);
    let end = world.run(set.ticks);
    (world, end)
}

/// The rule of this crate.
pub(crate) fn ours(history: &History) -> Decision {
    kith_rule::decide(history).expect("the anchor is known")
}
