//! A second opinion on the fork rule, for the checkers.
//!
//! Owns a reading of the group design (fork choice, orders) and of ADR 0010
//! that shares no code with kith-rule: written again from the text, naive, over
//! plain maps, everything computed anew at each question. Where it and the
//! engine disagree, the text decides who is right. Statements of accounts are
//! not judged, as in the engine: such an order counts as one of its device.
//!
//! Must never call kith-rule.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use kith_mls::{CommitFact, Facts, StateFact};
use kith_wire::group::{ConversationKind, Mark, Order, OrderKind, Role, Target, kinds, rank};
use kith_wire::group::{mark_id, order_id};
use kith_wire::ids::{AccountId, CommitId, DeviceId, OrderId, StateId};
use kith_wire::signed::Raw;

/// Accounts up to which all of them vote; above, moderators do.
const ALL_VOTE: usize = 64;
/// Commits of one device on one state that are kept.
const PER_DEVICE: usize = 4;
/// Commits on one state that are kept.
const PER_STATE: usize = 64;
/// Epoch of a role that no commit gave.
const NOT_GIVEN: u64 = u64::MAX;

/// What chose one child among several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Nobody stands under the others any more.
    Live,
    /// More than half of the electorate voted for it first.
    Majority,
    /// Its tip leaves fewer orders open.
    Orders,
    /// More first votes.
    Votes,
    /// Its author's role and hash.
    Rank,
    /// Its id.
    Id,
}

impl Step {
    /// For the runner's output.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Majority => "majority",
            Self::Orders => "orders",
            Self::Votes => "votes",
            Self::Rank => "rank",
            Self::Id => "id",
        }
    }
}

/// What the oracle makes of the facts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The state to stand in.
    pub tip: StateId,
    /// Orders that hold at the tip.
    pub effective: BTreeSet<OrderId>,
    /// Of these, the ones that the tip has not carried out.
    pub open: Vec<OrderId>,
    /// Each state at which there was a choice, and what made it.
    pub forks: BTreeMap<StateId, Step>,
    /// States on the way at which the way leaves what most of all accounts
    /// voted for first, though nobody wants any of them out.
    pub undone: Vec<StateId>,
    /// Devices whose chain has ended, with the number: they signed two objects
    /// under it.
    pub ends: BTreeMap<DeviceId, u64>,
}

/// Judges the facts; the error says what does not fit in them.
pub(super) fn judge(facts: &Facts) -> Result<Verdict, String> {
    let mut oracle = Oracle::read(facts)?;
    oracle.settle_orders();
    let mut forks = BTreeMap::new();
    let tip = oracle.best(facts.anchor, &mut forks);
    let tip_state = oracle.states.get(&tip).copied().ok_or("the tip is no state")?;
    let open = oracle.held_at(tip).filter(|(_, o)| Oracle::is_open(o, tip_state)).map(|(id, _)| id).collect();
    let effective = oracle.held_at(tip).map(|(id, _)| id).collect();
    let undone = oracle.undone(tip);
    Ok(Verdict { tip, effective, open, forks, undone, ends: oracle.ends })
}

/// An entry of a device's chain.
enum Link {
    Mark(Mark),
    Order(Order),
}

impl Link {
    fn prev(&self) -> Option<[u8; 32]> {
        match self {
            Self::Mark(m) => m.prev,
            Self::Order(o) => o.prev,
        }
    }
}

struct Oracle<'a> {
    facts: &'a Facts,
    states: BTreeMap<StateId, &'a StateFact>,
    parents: BTreeMap<StateId, StateId>,
    /// By parent; of variants of one commit (one child) only the lowest id.
    kids: BTreeMap<StateId, Vec<&'a CommitFact>>,
    /// Child of each commit, variants too.
    child_of: BTreeMap<CommitId, StateId>,
    /// Each device's marks and orders by number, then by id.
    chains: BTreeMap<DeviceId, BTreeMap<u64, BTreeMap<[u8; 32], Link>>>,
    /// The number with which a device's chain ends, if it does.
    ends: BTreeMap<DeviceId, u64>,
    /// Marks that count, by number: at known states with their device in it,
    /// before the end of the chain.
    counted: BTreeMap<DeviceId, Vec<Mark>>,
    /// Children of commits that anybody calls bad.
    called_bad: BTreeSet<StateId>,
    /// For each state the numbers, in one walk over the tree, of itself and of
    /// the last one below it.
    spans: BTreeMap<StateId, (usize, usize)>,
    /// Orders not void, by id.
    taken: Vec<(OrderId, Order)>,
    /// Those of them that were lifted, with the states from which on.
    lifted: BTreeMap<OrderId, BTreeSet<StateId>>,
}

impl<'a> Oracle<'a> {
    // Reading.

    fn read(facts: &'a Facts) -> Result<Self, String> {
        let states: BTreeMap<_, _> = facts.states.iter().map(|s| (s.id, s)).collect();
        if !states.contains_key(&facts.anchor) {
            return Err("the anchor is no state".into());
        }
        let mut kids: BTreeMap<StateId, Vec<&CommitFact>> = BTreeMap::new();
        let mut sorted: Vec<&CommitFact> = facts.commits.iter().collect();
        sorted.sort_by_key(|c| c.id);
        let mut parents = BTreeMap::new();
        for c in &sorted {
            if !states.contains_key(&c.parent) || !states.contains_key(&c.child) {
                return Err(format!("commit {} hangs in the air", c.id.hex()));
            }
            let of = kids.entry(c.parent).or_default();
            if of.iter().all(|k| k.child != c.child) {
                of.push(c);
            }
            parents.insert(c.child, c.parent);
        }
        let mut chains: BTreeMap<_, BTreeMap<u64, BTreeMap<[u8; 32], Link>>> = BTreeMap::new();
        for bytes in facts.marks.iter().chain(&facts.orders).chain(&facts.rivals) {
            let raw = Raw::from_bytes(bytes).map_err(|e| e.to_string())?;
            let (device, n, id, link) = match raw.kind().map_err(|e| e.to_string())? {
                kinds::MARK => {
                    let mark: Mark = raw.body().map_err(|e| e.to_string())?;
                    (mark.device, mark.n, mark_id(&raw).0, Link::Mark(mark))
                }
                kinds::ORDER => {
                    let order: Order = raw.body().map_err(|e| e.to_string())?;
                    (order.device, order.n, order_id(&raw).0, Link::Order(order))
                }
                kind => return Err(format!("an object of kind {kind} among marks and orders")),
            };
            chains.entry(device).or_default().entry(n).or_default().insert(id, link);
        }
        let child_of = sorted.iter().map(|c| (c.id, c.child)).collect();
        let ends = facts.mutes.clone();
        let mut oracle = Self {
            facts,
            states,
            parents,
            kids,
            child_of,
            chains,
            ends,
            counted: BTreeMap::new(),
            called_bad: BTreeSet::new(),
            spans: BTreeMap::new(),
            taken: vec![],
            lifted: [].into(),
        };
        oracle.find_ends();
        oracle.find_marks();
        oracle.find_spans();
        Ok(oracle)
    }

    fn find_marks(&mut self) {
        for (device, chain) in &self.chains {
            let end = self.ends.get(device).copied().unwrap_or(u64::MAX);
            let counts = |m: &&Mark| {
                m.n < end && self.states.get(&m.at).is_some_and(|s| Self::account_at(s, device).is_some())
            };
            let marks = chain.values().flat_map(BTreeMap::values).filter_map(|link| match link {
                Link::Mark(mark) => Some(mark),
                Link::Order(_) => None,
            });
            let marks: Vec<Mark> = marks.filter(counts).cloned().collect();
            let bad = marks.iter().flat_map(|m| &m.bad).filter_map(|b| self.child_of.get(&b.commit));
            self.called_bad.extend(bad);
            self.counted.insert(*device, marks);
        }
    }

    fn find_spans(&mut self) {
        let roots = self.states.keys().filter(|s| !self.parents.contains_key(s));
        let mut open: Vec<(StateId, bool)> = roots.map(|s| (*s, false)).collect();
        let mut next = 0;
        while let Some((state, done)) = open.pop() {
            if done {
                self.spans.entry(state).and_modify(|(_, last)| *last = next - 1);
                continue;
            }
            self.spans.insert(state, (next, next));
            next += 1;
            open.push((state, true));
            open.extend(self.kids.get(&state).into_iter().flatten().map(|k| (k.child, false)));
        }
    }

    /// Two objects under one number end a chain there; so does a successor that
    /// names another predecessor than the known one.
    fn find_ends(&mut self) {
        for (device, chain) in &self.chains {
            for (n, links) in chain {
                let named = chain.get(&(n + 1)).into_iter().flat_map(BTreeMap::values);
                let other = named.filter_map(Link::prev).any(|prev| !links.contains_key(&prev));
                if links.len() > 1 || other {
                    let end = self.ends.entry(*device).or_insert(*n);
                    *end = (*end).min(*n);
                }
            }
        }
    }

    // The tree of states.

    fn is_below(&self, low: StateId, high: StateId) -> bool {
        low != high && self.is_at_or_below(low, high)
    }

    fn is_at_or_below(&self, low: StateId, high: StateId) -> bool {
        match (self.spans.get(&low), self.spans.get(&high)) {
            (Some((low, _)), Some((first, last))) => first <= low && low <= last,
            _ => low == high,
        }
    }

    // Members and their standing.

    fn accounts(state: &StateFact) -> BTreeSet<AccountId> {
        state.members.iter().map(|(_, _, account)| *account).collect()
    }

    fn account_at(state: &StateFact, device: &DeviceId) -> Option<AccountId> {
        state.members.iter().find(|(_, d, _)| d == device).map(|(.., account)| *account)
    }

    /// Role of an account and the epoch in which it was given, if a commit gave
    /// it. Where nobody is above `member`, one of them is the owner.
    fn role(&self, state: &StateFact, account: &AccountId) -> (Role, u64) {
        let entry = |a: &AccountId| match state.ext.roles.get(a) {
            Some(r) if r.role > Role::Member => (r.role, r.epoch),
            _ => (Role::Member, NOT_GIVEN),
        };
        let accounts = Self::accounts(state);
        let flat = accounts.iter().all(|a| entry(a).0 == Role::Member);
        if flat && state.ext.kind == ConversationKind::Group {
            let first = accounts.iter().min_by_key(|a| rank(&self.facts.gid, 0, a));
            if first == Some(account) {
                return (Role::Owner, NOT_GIVEN);
            }
        }
        entry(account)
    }

    /// Place of an account in its state: lower is higher.
    fn standing(&self, state: &StateFact, account: &AccountId) -> (Reverse<Role>, u64, AccountId) {
        let (role, epoch) = self.role(state, account);
        (Reverse(role), epoch, *account)
    }

    // Chains.

    fn marks(&self, device: &DeviceId) -> &[Mark] {
        self.counted.get(device).map(Vec::as_slice).unwrap_or_default()
    }

    // Orders.

    /// Whether an order is about a device, or the account that has it.
    fn is_about(order: &Order, account: &AccountId, device: &DeviceId) -> bool {
        order.target == Target::Account(*account) || order.target == Target::Device(*device)
    }

    fn target_account(state: &StateFact, target: &Target) -> Option<AccountId> {
        match target {
            Target::Account(a) => Self::accounts(state).contains(a).then_some(*a),
            Target::Device(d) => Self::account_at(state, d),
        }
    }

    /// About the issuer's own account: needs no role.
    fn is_free(&self, order: &Order) -> bool {
        let at = self.states.get(&order.at);
        order.order != OrderKind::Add
            && at.is_some_and(|s| Self::target_account(s, &order.target) == Some(order.issuer))
    }

    /// Whether an order counts, taken by itself.
    fn is_order(&self, order: &Order) -> bool {
        let Some(at) = self.states.get(&order.at).copied() else { return false };
        Self::account_at(at, &order.device) == Some(order.issuer)
            && self.ends.get(&order.device).is_none_or(|end| order.n < *end)
            && self.refers_to_its_mark(order)
            && self.is_allowed(order, at)
    }

    /// The mark before it is in the state that the order refers to, all between
    /// them is known, and the device had marked nothing below that state.
    fn refers_to_its_mark(&self, order: &Order) -> bool {
        let Some(chain) = self.chains.get(&order.device) else { return false };
        let (mut n, mut prev) = (order.n, order.prev);
        loop {
            let Some(before) = n.checked_sub(1) else { return false };
            let found = chain.get(&before).zip(prev).and_then(|(links, id)| links.get(&id));
            match found {
                Some(Link::Order(o)) => (n, prev) = (before, o.prev),
                Some(Link::Mark(m)) if m.at == order.at => break,
                None | Some(Link::Mark(_)) => return false,
            }
        }
        self.marks(&order.device).iter().all(|m| m.n > order.n || !self.is_below(m.at, order.at))
    }

    fn is_allowed(&self, order: &Order, at: &StateFact) -> bool {
        let (role, _) = self.role(at, &order.issuer);
        match (order.order, order.target) {
            (OrderKind::Add, _) => role >= at.ext.policy.add,
            (OrderKind::Leave, target) => target == Target::Account(order.issuer),
            // Roles are of accounts.
            (OrderKind::Demote, Target::Device(_)) => false,
            (OrderKind::Remove | OrderKind::Demote, target) => {
                let Some(target) = Self::target_account(at, &target) else { return false };
                target == order.issuer
                    || (role >= at.ext.policy.remove
                        && self.standing(at, &order.issuer) < self.standing(at, &target))
            }
        }
    }

    /// The last number of a device's chain that an order leaves standing, for
    /// orders: never below what its issuer's device had acknowledged before. An
    /// empty cut voids nothing; of a device that another does not name, all.
    fn cut_for_orders(&self, order: &Order, device: &DeviceId) -> Option<u64> {
        if order.cut.is_empty() {
            return None;
        }
        let stated = order.cut.get(device).map_or(0, |(_, n)| *n);
        let own = self.marks(&order.device);
        let had = own.iter().filter(|m| m.n < order.n).filter_map(|m| m.changed.get(device));
        had.map(|(_, n)| *n).max().max(Some(stated))
    }

    /// The same for votes: also not below what most accounts of the state that
    /// the order refers to have acknowledged.
    fn cut_for_votes(&self, order: &Order, device: &DeviceId) -> Option<u64> {
        let cut = self.cut_for_orders(order, device)?;
        let at = self.states.get(&order.at)?;
        let accounts = Self::accounts(at);
        let mut had: Vec<u64> = Vec::new();
        for account in &accounts {
            let everywhere = self.facts.states.iter().flat_map(|s| &s.members);
            let devices: BTreeSet<_> = everywhere.filter(|(.., a)| a == account).map(|(_, d, _)| d).collect();
            let marks = devices.into_iter().flat_map(|d| self.marks(d));
            had.push(marks.filter_map(|m| m.changed.get(device)).map(|(_, n)| *n).max().unwrap_or(0));
        }
        had.sort_unstable();
        had.reverse();
        // What the account has that makes a majority; nobody is most alone.
        let most = had.get((accounts.len() / 2).max(1)).copied().unwrap_or(0);
        Some(cut.max(most))
    }

    /// From the highest issuer down, orders are taken unless one taken before
    /// voids them. Lifting changes what voids what: again, until nothing does.
    fn settle_orders(&mut self) {
        let mut orders: Vec<(OrderId, Order)> = Vec::new();
        for links in self.chains.values().flat_map(BTreeMap::values) {
            for (id, link) in links {
                if let Link::Order(order) = link
                    && self.is_order(order)
                {
                    orders.push((OrderId(*id), order.clone()));
                }
            }
        }
        orders.sort_by_key(|(id, o)| {
            let at = self.states[&o.at];
            let leaf = at.members.iter().find(|(_, d, _)| *d == o.device).map(|(leaf, ..)| *leaf);
            (self.standing(at, &o.issuer), leaf, o.n, *id)
        });
        for _ in 0..=orders.len() {
            let mut taken: Vec<(OrderId, Order)> = Vec::new();
            for (id, order) in &orders {
                if !taken.iter().any(|(by, o)| self.voids(*by, o, order)) {
                    taken.push((*id, order.clone()));
                }
            }
            self.taken = taken;
            let lifted = self.lifted_by_taken();
            if lifted == self.lifted {
                return;
            }
            self.lifted = lifted;
        }
    }

    /// Whether an order that was taken voids another: numbered beyond its
    /// issuer's cut. A demotion, and a removal that was lifted, void only what
    /// rests on a role given before.
    fn voids(&self, id: OrderId, taken: &Order, other: &Order) -> bool {
        if taken.order == OrderKind::Add || !Self::is_about(taken, &other.issuer, &other.device) {
            return false;
        }
        if self.cut_for_orders(taken, &other.device).is_none_or(|cut| other.n <= cut) {
            return false;
        }
        if taken.order != OrderKind::Demote && !self.is_after_lift(id, other.at) {
            return true;
        }
        let (role, given) = self.role(self.states[&other.at], &other.issuer);
        !self.is_free(other) && role > Role::Member && given <= self.states[&taken.at].epoch
    }

    fn lifted_by_taken(&self) -> BTreeMap<OrderId, BTreeSet<StateId>> {
        let mut lifted: BTreeMap<OrderId, BTreeSet<StateId>> = BTreeMap::new();
        for (_, add) in self.taken.iter().filter(|(_, o)| o.order == OrderKind::Add) {
            for (id, order) in self.taken.iter().filter(|(id, _)| add.lifts.contains(id)) {
                let by = self.standing(self.states[&add.at], &add.issuer);
                let given_by = self.standing(self.states[&order.at], &order.issuer);
                // Below: by role and the time it was given; the same account is
                // not below itself.
                if order.order == OrderKind::Leave || by <= given_by {
                    lifted.entry(*id).or_default().insert(add.at);
                }
            }
        }
        lifted
    }

    /// States from which on an order is lifted.
    fn lifts(&self, id: OrderId) -> impl Iterator<Item = StateId> {
        self.lifted.get(&id).into_iter().flatten().copied()
    }

    /// Whether what is signed at a state is signed by somebody who was let in
    /// again after this order.
    fn is_after_lift(&self, id: OrderId, at: StateId) -> bool {
        self.lifts(id).any(|l| self.is_below(at, l))
    }

    /// T: removals, leaves and demotions.
    fn held(&self) -> impl Iterator<Item = (OrderId, &Order)> {
        self.taken.iter().filter(|(_, o)| o.order != OrderKind::Add).map(|(id, o)| (*id, o))
    }

    /// Those of T that hold at a state: nothing on the way to it lifts them.
    fn held_at(&self, state: StateId) -> impl Iterator<Item = (OrderId, &Order)> {
        self.held().filter(move |(id, _)| !self.lifts(*id).any(|l| self.is_at_or_below(state, l)))
    }

    /// Those of T that take somebody out, and hold at a state.
    fn removals_at(&self, state: StateId) -> impl Iterator<Item = &Order> {
        self.held_at(state).map(|(_, o)| o).filter(|o| o.order != OrderKind::Demote)
    }

    /// Whether a state has not carried an order out: the target is in the tree,
    /// or still has a role. Who lets it in or appoints it again has to lift the
    /// order.
    fn is_open(order: &Order, state: &StateFact) -> bool {
        let Some(target) = Self::target_account(state, &order.target) else { return false };
        let role = state.ext.roles.get(&target).map_or(Role::Member, |r| r.role);
        order.order != OrderKind::Demote || role > Role::Member
    }

    // Votes.

    /// The device that speaks for an account at a state.
    fn voter(state: &StateFact, account: &AccountId) -> Option<DeviceId> {
        state.members.iter().filter(|(.., a)| a == account).min().map(|(_, device, _)| *device)
    }

    /// Marks of a device of an account that no cut voids.
    fn uncut(&self, account: &AccountId, device: &DeviceId) -> Vec<&Mark> {
        let about = |o: &Order| o.order != OrderKind::Demote && Self::is_about(o, account, device);
        let cuts: Vec<(OrderId, u64)> = self
            .held()
            .filter(|(_, o)| about(o))
            .filter_map(|(id, o)| Some((id, self.cut_for_votes(o, device)?)))
            .collect();
        let counts = |m: &&Mark| cuts.iter().all(|(id, cut)| m.n <= *cut || self.is_after_lift(*id, m.at));
        self.marks(device).iter().filter(counts).collect()
    }

    /// Those of an account's voter at a state.
    fn votes(&self, state: &StateFact, account: &AccountId) -> Vec<&Mark> {
        let voter = Self::voter(state, account);
        voter.map(|voter| self.uncut(account, &voter)).unwrap_or_default()
    }

    /// The child of a state that an account voted for first.
    fn first(&self, state: &StateFact, account: &AccountId) -> Option<StateId> {
        let votes = self.votes(state, account);
        let first = votes.iter().filter(|m| self.is_below(m.at, state.id)).min_by_key(|m| m.n)?;
        let kids = self.kids.get(&state.id).into_iter().flatten();
        kids.map(|k| k.child).find(|child| self.is_at_or_below(first.at, *child))
    }

    fn electorate(&self, state: &StateFact) -> BTreeSet<AccountId> {
        let all = Self::accounts(state);
        let few = all.len() <= ALL_VOTE;
        all.into_iter()
            .filter(|a| few || self.role(state, a).0 >= Role::Moderator)
            .filter(|a| {
                let gone = self
                    .removals_at(state.id)
                    .any(|o| o.target == Target::Account(*a) && self.is_at_or_below(state.id, o.at));
                !gone || self.first(state, a).is_some()
            })
            .collect()
    }

    fn count(&self, state: &StateFact, kid: StateId) -> usize {
        self.electorate(state).iter().filter(|a| self.first(state, a) == Some(kid)).count()
    }

    /// Rejected for everybody: more of the electorate call it bad than voted
    /// for it first, its author not counted.
    fn is_rejected(&self, state: &StateFact, commit: &CommitFact) -> bool {
        if !self.called_bad.contains(&commit.child) {
            return false;
        }
        let (mut bad, mut good) = (0, 0);
        for account in self.electorate(state).iter().filter(|a| **a != commit.account) {
            let votes = self.votes(state, account);
            let mut calls = votes.iter().flat_map(|m| &m.bad);
            if self.first(state, account) == Some(commit.child) {
                good += 1;
            } else if calls.any(|b| self.child_of.get(&b.commit) == Some(&commit.child)) {
                bad += 1;
            }
        }
        bad > good
    }

    /// Marks of other accounts, on a commit or below it, protect it from the
    /// caps.
    fn is_protected(&self, commit: &CommitFact) -> bool {
        let under = |m: &&Mark| self.is_at_or_below(m.at, commit.child);
        self.chains.keys().any(|device| {
            let marks = self.marks(device);
            let others = marks.iter().filter(under).filter_map(|m| {
                let account = Self::account_at(self.states[&m.at], device)?;
                (account != commit.account).then_some((m.n, account))
            });
            others.into_iter().any(|(n, account)| self.uncut(&account, device).iter().any(|m| m.n == n))
        })
    }

    /// Children of a state within the caps, the best ranked first.
    fn kept(&self, state: &StateFact) -> Vec<&'a CommitFact> {
        let mut all = self.kids.get(&state.id).cloned().unwrap_or_default();
        all.sort_by_key(|k| k.id);
        let mut of_device: BTreeMap<DeviceId, usize> = BTreeMap::new();
        all.retain(|k| {
            let place = of_device.entry(k.device).or_default();
            *place += 1;
            *place <= PER_DEVICE || self.is_protected(k)
        });
        all.sort_by_key(|k| (self.rank(state, k), k.id));
        let mut place = 0;
        all.retain(|k| {
            place += 1;
            place <= PER_STATE || self.is_protected(k)
        });
        all
    }

    fn rank(&self, state: &StateFact, commit: &CommitFact) -> (Reverse<Role>, [u8; 32]) {
        let (role, _) = self.role(state, &commit.account);
        (Reverse(role), rank(&self.facts.gid, state.epoch, &commit.account))
    }

    /// Somebody who is not to go has the latest mark under it.
    fn is_live(&self, kid: StateId) -> bool {
        self.chains.keys().any(|device| {
            let marks = self.marks(device);
            let Some(account) = marks.iter().find_map(|m| Self::account_at(self.states[&m.at], device))
            else {
                return false;
            };
            let marks = self.uncut(&account, device);
            let Some(latest) = marks.iter().max_by_key(|m| m.n) else { return false };
            self.is_at_or_below(latest.at, kid)
                && !self.removals_at(latest.at).any(|o| Self::is_about(o, &account, device))
        })
    }

    // The choice.

    fn best(&self, at: StateId, forks: &mut BTreeMap<StateId, Step>) -> StateId {
        let state = self.states[&at];
        let kids: Vec<_> = self.kept(state).into_iter().filter(|k| !self.is_rejected(state, k)).collect();
        let ends: BTreeMap<StateId, StateId> =
            kids.iter().map(|k| (k.child, self.best(k.child, forks))).collect();
        let mut kids = match kids.as_slice() {
            [] => return at,
            [only] => return ends[&only.child],
            _ => kids,
        };
        if kids.iter().any(|k| self.is_live(k.child)) {
            kids.retain(|k| self.is_live(k.child));
        }
        let electorate = self.electorate(state).len();
        let open = |k: &CommitFact| {
            let end = self.states[&ends[&k.child]];
            self.held_at(end.id).filter(|(_, o)| Self::is_open(o, end)).count()
        };
        let mut step = Step::Live;
        if kids.len() > 1 {
            step = Step::Majority;
            keep_least(&mut kids, |k| 2 * self.count(state, k.child) <= electorate);
        }
        if kids.len() > 1 {
            step = Step::Orders;
            keep_least(&mut kids, |k| open(k));
        }
        if kids.len() > 1 {
            step = Step::Votes;
            keep_least(&mut kids, |k| Reverse(self.count(state, k.child)));
        }
        if kids.len() > 1 {
            step = Step::Rank;
            keep_least(&mut kids, |k| self.rank(state, k));
        }
        if kids.len() > 1 {
            step = Step::Id;
            keep_least(&mut kids, |k| k.id);
        }
        forks.insert(at, step);
        kids.first().map_or(at, |k| ends[&k.child])
    }

    /// Finality, counted without orders and cuts: where more than half of all
    /// accounts of a state, none of whom anybody wants out, voted for one child
    /// first, the way goes through it, unless it is bad.
    fn undone(&self, tip: StateId) -> Vec<StateId> {
        let mut undone = Vec::new();
        let orders: Vec<&Order> = self
            .chains
            .values()
            .flat_map(BTreeMap::values)
            .flat_map(BTreeMap::values)
            .filter_map(|link| if let Link::Order(o) = link { Some(o) } else { None })
            .collect();
        for (at, kids) in self.kids.iter().filter(|(at, kids)| kids.len() > 1 && self.is_below(tip, **at)) {
            let state = self.states[at];
            let accounts = Self::accounts(state);
            let mut votes: BTreeMap<StateId, usize> = BTreeMap::new();
            for account in &accounts {
                let Some(voter) = Self::voter(state, account) else { continue };
                if orders.iter().any(|o| o.order != OrderKind::Add && Self::is_about(o, account, &voter)) {
                    continue;
                }
                let marks = self.marks(&voter);
                let first = marks.iter().filter(|m| self.is_below(m.at, *at)).min_by_key(|m| m.n);
                let under = |k: &&&CommitFact| first.is_some_and(|m| self.is_at_or_below(m.at, k.child));
                if let Some(kid) = kids.iter().find(under) {
                    *votes.entry(kid.child).or_default() += 1;
                }
            }
            // Where nobody stands any more nobody knew of the majority in time.
            let stays = |kid: &CommitFact| {
                accounts.iter().any(|a| {
                    let devices = state.members.iter().filter(|(.., of)| of == a);
                    let mut latest = devices.filter_map(|(_, d, _)| self.marks(d).iter().max_by_key(|m| m.n));
                    latest.any(|m| self.is_at_or_below(m.at, kid.child))
                })
            };
            for kid in kids.iter().filter(|k| stays(k)) {
                let most = votes.get(&kid.child).is_some_and(|n| 2 * n > accounts.len());
                if most && !self.is_at_or_below(tip, kid.child) && !self.is_rejected(state, kid) {
                    undone.push(*at);
                }
            }
        }
        undone
    }
}

/// Keeps the children for which a value is least.
fn keep_least<V: Ord>(kids: &mut Vec<&CommitFact>, value: impl Fn(&CommitFact) -> V) {
    if let Some(least) = kids.iter().map(|k| value(k)).min() {
        kids.retain(|k| value(k) == least);
    }
}

#[cfg(test)]
mod against;
#[cfg(test)]
mod tests;
