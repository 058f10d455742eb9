//! The facts that the rule reads, and the set that holds them.
//!
//! Insertion in any order gives the same set; a duplicate changes nothing.
//! Signatures and validity have been checked before a fact comes in here.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kith_wire::group::{ConversationKind, OrderKind, Role, RoleEntry, Target, rank};
use kith_wire::ids::{AccountId, CommitId, DeviceId, GroupId, MarkId, OrderId, StateId};

use crate::mutant::{self, Mutant};

/// One leaf of a state's ratchet tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaf {
    /// Leaf index (RFC 9420 7.7).
    pub index: u32,
    /// Device.
    pub device: DeviceId,
    /// Its account.
    pub account: AccountId,
}

/// The lowest roles that may add and remove accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// May add accounts.
    pub add: Role,
    /// May order removals and demotions.
    pub remove: Role,
}

/// The public side of one state, as far as the rule reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    id: StateId,
    epoch: u64,
    kind: ConversationKind,
    rights: Rights,
    /// Ascending by device.
    leaves: Arc<[Leaf]>,
    roles: Arc<BTreeMap<AccountId, RoleEntry>>,
}

/// Standing of an account in a state. The smallest stands highest: role, then
/// who was given it in the earlier epoch, then account id.
pub(crate) type Standing = (Reverse<Role>, u64, AccountId);

impl State {
    /// A state. Leaves may come in any order.
    #[must_use]
    pub fn new(
        id: StateId,
        epoch: u64,
        kind: ConversationKind,
        rights: Rights,
        mut leaves: Vec<Leaf>,
        roles: Arc<BTreeMap<AccountId, RoleEntry>>,
    ) -> Self {
        leaves.sort_by_key(|l| l.device);
        Self { id, epoch, kind, rights, leaves: leaves.into(), roles }
    }
    /// The same under another id: what a commit made anew leads to.
    #[must_use]
    pub fn renamed(&self, id: StateId) -> Self {
        Self { id, ..self.clone() }
    }
    /// Its id.
    #[must_use]
    pub fn id(&self) -> StateId {
        self.id
    }
    /// Its epoch number, which never identifies it.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }
    /// Leaves, ascending by device.
    #[must_use]
    pub fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }
    /// Roles as the group's settings hold them.
    #[must_use]
    pub fn roles(&self) -> &BTreeMap<AccountId, RoleEntry> {
        &self.roles
    }
    /// The leaf of a device.
    #[must_use]
    pub fn leaf(&self, device: &DeviceId) -> Option<&Leaf> {
        let at = self.leaves.binary_search_by_key(device, |l| l.device).ok()?;
        self.leaves.get(at)
    }
    /// The same with its place among the leaves, tried first at one.
    pub(crate) fn leaf_near(&self, place: usize, device: &DeviceId) -> Option<(usize, &Leaf)> {
        if let Some(leaf) = self.leaves.get(place).filter(|l| l.device == *device) {
            return Some((place, leaf));
        }
        let at = self.leaves.binary_search_by_key(device, |l| l.device).ok()?;
        self.leaves.get(at).map(|l| (at, l))
    }
    /// Whether an account has a leaf.
    #[must_use]
    pub fn has_account(&self, account: &AccountId) -> bool {
        self.leaves.iter().any(|l| l.account == *account)
    }
    /// Each account with the device that votes for it here: the one with its
    /// lowest leaf.
    #[must_use]
    pub fn voters(&self) -> BTreeMap<AccountId, DeviceId> {
        let mut lowest: BTreeMap<AccountId, (u32, DeviceId)> = BTreeMap::new();
        for l in self.leaves.iter() {
            let at = lowest.entry(l.account).or_insert((l.index, l.device));
            let other = (l.index, l.device);
            *at = if mutant::on(Mutant::HighestLeafVotes) { other.max(*at) } else { other.min(*at) };
        }
        lowest.into_iter().map(|(account, (_, device))| (account, device)).collect()
    }
    /// The account that counts as owner of a group in which nobody present has
    /// a role: the first by the hash of group and account. A leaf index does
    /// not say who has been here longest: a new leaf takes the leftmost blank.
    #[must_use]
    pub fn heir(&self, gid: &GroupId) -> Option<AccountId> {
        let present = |a: &AccountId, r: &RoleEntry| {
            r.role > Role::Member && self.leaves.iter().any(|l| l.account == *a)
        };
        if self.kind != ConversationKind::Group || self.roles.iter().any(|(a, r)| present(a, r)) {
            return None;
        }
        self.leaves.iter().map(|l| l.account).min_by_key(|a| (rank(gid, 0, a), *a))
    }
    /// Role of an account that has a leaf.
    #[must_use]
    pub fn role(&self, gid: &GroupId, account: &AccountId) -> Role {
        self.standing(gid, account).0.0
    }
    pub(crate) fn standing(&self, gid: &GroupId, account: &AccountId) -> Standing {
        match self.roles.get(account) {
            Some(r) if r.role > Role::Member => (Reverse(r.role), r.epoch, *account),
            _ if self.heir(gid) == Some(*account) => (Reverse(Role::Owner), u64::MAX, *account),
            _ => (Reverse(Role::Member), u64::MAX, *account),
        }
    }
    /// Whether `issuer` may have `target` removed or demoted: its role allows
    /// it, and it stands strictly above. Own devices need no right.
    #[must_use]
    pub fn may_remove(&self, gid: &GroupId, issuer: &AccountId, target: &AccountId) -> bool {
        let standing = self.standing(gid, issuer);
        if mutant::on(Mutant::AnybodyOrders) {
            return issuer != target;
        }
        issuer != target
            && self.kind == ConversationKind::Group
            && standing.0.0 >= self.rights.remove
            && standing < self.standing(gid, target)
    }
    /// Whether `issuer` may add accounts.
    #[must_use]
    pub fn may_add(&self, gid: &GroupId, issuer: &AccountId) -> bool {
        self.role(gid, issuer) >= self.rights.add
    }
    /// Whether nothing is left to do here for an order of this kind and target.
    #[must_use]
    pub fn has_enacted(&self, kind: OrderKind, target: &Target) -> bool {
        match (kind, target) {
            (OrderKind::Add, _) => true,
            (OrderKind::Demote, Target::Account(a)) => {
                self.roles.get(a).is_none_or(|r| r.role == Role::Member) || !self.has_account(a)
            }
            (_, Target::Account(a)) => !self.has_account(a),
            (_, Target::Device(d)) => self.leaf(d).is_none(),
        }
    }
}

/// A commit that is valid on its parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its id. Of several with one child the lowest counts.
    pub id: CommitId,
    /// State that it leaves.
    pub parent: StateId,
    /// State that it leads to.
    pub child: StateId,
    /// Author.
    pub account: AccountId,
    /// Its device.
    pub device: DeviceId,
    /// Orders that it carries. The rule itself reads from the child what has
    /// been enacted.
    pub enacts: Vec<OrderId>,
}

/// A device's vote and acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Its id.
    pub id: MarkId,
    /// Whose.
    pub device: DeviceId,
    /// Number in the device's chain.
    pub n: u64,
    /// Id number n − 1 of that chain.
    pub prev: Option<[u8; 32]>,
    /// State that the device stands in.
    pub at: StateId,
    /// Highest event and chain numbers that it has, changes only.
    pub acks: BTreeMap<DeviceId, (u64, u64)>,
    /// Commits that it cannot process.
    pub bad: BTreeSet<CommitId>,
}

/// A removal, demotion, leave or lifting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Its id.
    pub id: OrderId,
    /// Issuing account.
    pub issuer: AccountId,
    /// Device that signs: of the issuer, or with a statement of anybody.
    pub device: DeviceId,
    /// Number in the device's chain.
    pub n: u64,
    /// Id number n − 1 of that chain.
    pub prev: Option<[u8; 32]>,
    /// What it asks for.
    pub kind: OrderKind,
    /// About whom.
    pub target: Target,
    /// State that it refers to: the `at` of the mark before it.
    pub at: StateId,
    /// Orders that it lifts; [`OrderKind::Add`] only.
    pub lifts: Vec<OrderId>,
    /// Last event and chain number of each device of the target that count.
    pub cut: BTreeMap<DeviceId, (u64, u64)>,
    /// It carries a verified Revoke or Rotate of the issuer's account key for
    /// the target device.
    pub statement: bool,
}

/// One number of a device's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    Mark(Mark),
    /// Order and its predecessor.
    Order(OrderId, Option<[u8; 32]>),
}

impl Entry {
    fn prev(&self) -> Option<[u8; 32]> {
        match self {
            Self::Mark(m) => m.prev,
            Self::Order(_, prev) => *prev,
        }
    }
}

/// What is known of one device's chain of marks and orders.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Chain {
    /// By number; more than one under a number is an equivocation.
    pub(crate) entries: BTreeMap<u64, BTreeMap<[u8; 32], Entry>>,
    /// States of the marks without rivals, by number.
    pub(crate) stands: BTreeMap<u64, StateId>,
    /// Commits that the marks call bad, by number.
    pub(crate) bad: BTreeMap<u64, BTreeSet<CommitId>>,
    /// The first number from which on the chain counts for nothing: two
    /// objects under one number, or a successor that names another one.
    pub(crate) mute: Option<u64>,
    /// What pruned marks acknowledged.
    pub(crate) floor: BTreeMap<DeviceId, (u64, u64)>,
    /// What all marks acknowledged.
    pub(crate) acked: BTreeMap<DeviceId, (u64, u64)>,
}

impl Chain {
    fn mute_from(&mut self, n: u64) {
        self.mute = Some(self.mute.map_or(n, |m| m.min(n)));
    }
    /// Adds one entry. The order does not matter: who names a predecessor that
    /// is not the known one has signed two, whether both are known or not.
    fn put(&mut self, n: u64, id: [u8; 32], entry: Entry) {
        let rivals = self.entries.entry(n).or_default();
        if rivals.contains_key(&id) {
            return;
        }
        let prev = entry.prev();
        if let Entry::Mark(m) = &entry {
            self.stands.insert(n, m.at);
            if !m.bad.is_empty() {
                self.bad.entry(n).or_default().extend(m.bad.iter().copied());
            }
            for (device, had) in &m.acks {
                raise(&mut self.acked, *device, *had);
            }
        }
        rivals.insert(id, entry);
        let after = n.checked_add(1).and_then(|next| self.entries.get(&next));
        let named = |e: &Entry| e.prev().is_some_and(|p| p != id);
        let double = self.entries.get(&n).is_some_and(|r| r.len() > 1);
        if double || after.is_some_and(|after| after.values().any(named)) {
            self.mute_from(n);
        }
        if double {
            self.stands.remove(&n);
        }
        let before = n.checked_sub(1).and_then(|last| self.entries.get(&last));
        if before.zip(prev).is_some_and(|(before, prev)| !before.contains_key(&prev)) {
            self.mute_from(n - 1);
        }
    }
}

/// All facts known of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    pub(crate) gid: GroupId,
    pub(crate) anchor: StateId,
    pub(crate) states: BTreeMap<StateId, State>,
    /// By child.
    pub(crate) commits: BTreeMap<StateId, Commit>,
    /// Every commit id with its child: also of variants that do not count.
    pub(crate) children: BTreeMap<CommitId, StateId>,
    pub(crate) chains: BTreeMap<DeviceId, Chain>,
    pub(crate) orders: BTreeMap<OrderId, Order>,
    pub(crate) devices: BTreeMap<AccountId, BTreeSet<DeviceId>>,
}

impl History {
    /// An empty set. The anchor is genesis or the join checkpoint; its state
    /// comes in like any other.
    #[must_use]
    pub fn new(gid: GroupId, anchor: StateId) -> Self {
        Self {
            gid,
            anchor,
            states: BTreeMap::new(),
            commits: BTreeMap::new(),
            children: BTreeMap::new(),
            chains: BTreeMap::new(),
            orders: BTreeMap::new(),
            devices: BTreeMap::new(),
        }
    }
    /// The group.
    #[must_use]
    pub fn gid(&self) -> &GroupId {
        &self.gid
    }
    /// Where the known history begins.
    #[must_use]
    pub fn anchor(&self) -> StateId {
        self.anchor
    }
    /// A known state.
    #[must_use]
    pub fn state(&self, id: &StateId) -> Option<&State> {
        self.states.get(id)
    }
    /// The commit that leads to a state.
    #[must_use]
    pub fn commit_to(&self, child: &StateId) -> Option<&Commit> {
        self.commits.get(child)
    }
    /// All commits that count, ascending by child.
    pub fn commits(&self) -> impl Iterator<Item = &Commit> {
        self.commits.values()
    }
    /// All known orders, effective or not.
    pub fn orders(&self) -> impl Iterator<Item = &Order> {
        self.orders.values()
    }
    /// A known order, effective or not.
    #[must_use]
    pub fn order(&self, id: &OrderId) -> Option<&Order> {
        self.orders.get(id)
    }
    /// Adds a state.
    pub fn insert_state(&mut self, state: State) {
        if self.states.contains_key(&state.id) {
            return;
        }
        for l in state.leaves.iter() {
            self.devices.entry(l.account).or_default().insert(l.device);
        }
        self.states.insert(state.id, state);
    }
    /// Adds a valid commit. Of several that lead to one state, which differ in
    /// the membership tag only, the lowest id counts.
    pub fn insert_commit(&mut self, commit: Commit) {
        self.children.insert(commit.id, commit.child);
        match self.commits.get_mut(&commit.child) {
            Some(known) if known.id <= commit.id => {}
            Some(known) => *known = commit,
            None => {
                self.commits.insert(commit.child, commit);
            }
        }
    }
    /// Adds a mark.
    pub fn insert_mark(&mut self, mark: Mark) {
        let chain = self.chains.entry(mark.device).or_default();
        chain.put(mark.n, mark.id.0, Entry::Mark(mark));
    }
    /// Adds an order.
    pub fn insert_order(&mut self, order: Order) {
        let chain = self.chains.entry(order.device).or_default();
        chain.put(order.n, order.id.0, Entry::Order(order.id, order.prev));
        self.orders.insert(order.id, order);
    }
    /// Notes a proven equivocation whose objects are not kept: the device's
    /// chain counts for nothing from this number on.
    pub fn note_equivocation(&mut self, device: DeviceId, n: u64) {
        self.chains.entry(device).or_default().mute_from(n);
    }
    /// Gives up what lies before a known state, which becomes the anchor:
    /// other branches with their marks, and orders that refer to them. What
    /// the dropped marks acknowledged and equivocations are kept.
    pub fn prune(&mut self, anchor: StateId) {
        if !self.states.contains_key(&anchor) {
            return;
        }
        let mut below: BTreeMap<StateId, Vec<StateId>> = BTreeMap::new();
        for c in self.commits.values() {
            below.entry(c.parent).or_default().push(c.child);
        }
        let mut keep = BTreeSet::new();
        let mut todo = vec![anchor];
        while let Some(s) = todo.pop() {
            if keep.insert(s) {
                todo.extend(below.remove(&s).unwrap_or_default());
            }
        }
        let known: BTreeSet<StateId> = self.states.keys().copied().collect();
        // A state that is not known yet may still turn out to lie below.
        let gone = |s: &StateId| known.contains(s) && !keep.contains(s);
        for chain in self.chains.values_mut() {
            let Chain { entries, stands, bad, floor, .. } = chain;
            for rivals in entries.values_mut() {
                rivals.retain(|_, e| match e {
                    Entry::Mark(m) if gone(&m.at) => {
                        for (device, had) in &m.acks {
                            raise(floor, *device, *had);
                        }
                        false
                    }
                    Entry::Mark(_) => true,
                    Entry::Order(id, _) => self.orders.get(id).is_some_and(|o| !gone(&o.at)),
                });
            }
            entries.retain(|_, rivals| !rivals.is_empty());
            stands.retain(|n, _| entries.contains_key(n));
            bad.retain(|n, _| entries.contains_key(n));
        }
        self.orders.retain(|_, o| !gone(&o.at));
        self.commits.retain(|child, c| *child != anchor && !gone(child) && !gone(&c.parent));
        self.states.retain(|id, _| keep.contains(id));
        let Self { commits, children, .. } = self;
        children.retain(|_, child| commits.contains_key(child));
        self.anchor = anchor;
    }
    /// Devices whose chain counts for nothing from a number on.
    pub(crate) fn mutes(&self) -> BTreeMap<DeviceId, u64> {
        self.chains.iter().filter_map(|(device, chain)| Some((*device, chain.mute?))).collect()
    }
}

pub(crate) fn raise(of: &mut BTreeMap<DeviceId, (u64, u64)>, device: DeviceId, to: (u64, u64)) {
    let at = of.entry(device).or_default();
    *at = (at.0.max(to.0), at.1.max(to.1));
}
