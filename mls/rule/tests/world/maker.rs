//! Makes facts as devices would: states, commits, marks and orders with their
//! chains. Checks nothing, so that scripts can lie.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kith_rule::{Commit, Decision, History, Leaf, Mark, Order, Rights, State, decide};
use kith_wire::group::{ConversationKind, OrderKind, Role, RoleEntry, Target};
use kith_wire::ids::{AccountId, CommitId, DeviceId, GroupId, MarkId, OrderId, StateId};

/// SplitMix64.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
    pub(crate) fn id(&mut self) -> [u8; 32] {
        let mut out = [0; 32];
        for part in out.chunks_mut(8) {
            part.copy_from_slice(&self.next().to_be_bytes());
        }
        out
    }
    pub(crate) fn pick<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        if of.is_empty() { None } else { Some(of[self.below(of.len())].clone()) }
    }
    pub(crate) fn shuffle<T>(&mut self, of: &mut [T]) {
        for i in (1..of.len()).rev() {
            of.swap(i, self.below(i + 1));
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Fact {
    Commit(Commit, State),
    Mark(Mark),
    Order(Order),
}

impl Fact {
    pub(crate) fn put(&self, into: &mut History) {
        match self.clone() {
            Self::Commit(c, s) => {
                into.insert_state(s);
                into.insert_commit(c);
            }
            Self::Mark(m) => into.insert_mark(m),
            Self::Order(o) => into.insert_order(o),
        }
    }
}

/// What a commit changes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Change {
    pub(crate) add: Vec<(AccountId, DeviceId)>,
    pub(crate) remove: Vec<DeviceId>,
    pub(crate) roles: Vec<(AccountId, Role)>,
    pub(crate) enacts: Vec<OrderId>,
    /// First byte of the commit id; random without.
    pub(crate) ground: Option<u8>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Head {
    pub(crate) n: u64,
    pub(crate) prev: Option<[u8; 32]>,
}

pub(crate) struct Maker {
    pub(crate) gid: GroupId,
    pub(crate) rng: Rng,
    pub(crate) genesis: StateId,
    pub(crate) states: BTreeMap<StateId, State>,
    pub(crate) parents: BTreeMap<StateId, StateId>,
    pub(crate) facts: Vec<Fact>,
    pub(crate) heads: BTreeMap<DeviceId, Head>,
}

pub(crate) fn account(n: usize) -> AccountId {
    let mut id = [0; 32];
    id[0] = 0xA0;
    id[1] = (n >> 8) as u8;
    id[2] = n as u8;
    AccountId(id)
}

pub(crate) fn device(account: usize, n: usize) -> DeviceId {
    let mut id = [0; 32];
    id[0] = 0xD0;
    id[1] = (account >> 8) as u8;
    id[2] = account as u8;
    id[3] = n as u8;
    DeviceId(id)
}

pub(crate) fn account_no(id: &AccountId) -> usize {
    usize::from(id.0[1]) << 8 | usize::from(id.0[2])
}

/// Ids of devices say whose they are.
pub(crate) fn account_of(d: DeviceId) -> AccountId {
    account(usize::from(d.0[1]) << 8 | usize::from(d.0[2]))
}

impl Maker {
    /// A group whose accounts have these roles and numbers of devices. Every
    /// device marks genesis.
    pub(crate) fn new(seed: u64, accounts: &[(Role, usize)]) -> Self {
        let mut rng = Rng(seed);
        let gid = GroupId(rng.id());
        let genesis = StateId(rng.id());
        let mut leaves = Vec::new();
        let mut roles = BTreeMap::new();
        for (a, (role, devices)) in accounts.iter().enumerate() {
            for d in 0..*devices {
                leaves.push(Leaf { index: leaves.len() as u32, device: device(a, d), account: account(a) });
            }
            if *role > Role::Member {
                roles.insert(account(a), RoleEntry { role: *role, epoch: 0 });
            }
        }
        let all: Vec<DeviceId> = leaves.iter().map(|l| l.device).collect();
        let rights = Rights { add: Role::Admin, remove: Role::Admin };
        let state = State::new(genesis, 0, ConversationKind::Group, rights, leaves, Arc::new(roles));
        let mut out = Self {
            gid,
            rng,
            genesis,
            states: BTreeMap::from([(genesis, state)]),
            parents: BTreeMap::new(),
            facts: Vec::new(),
            heads: BTreeMap::new(),
        };
        for d in all {
            out.mark(d, genesis);
        }
        out
    }
    pub(crate) fn state(&self, id: StateId) -> &State {
        &self.states[&id]
    }
    /// An empty history that knows genesis.
    pub(crate) fn empty(&self) -> History {
        let mut h = History::new(self.gid, self.genesis);
        h.insert_state(self.states[&self.genesis].clone());
        h
    }
    pub(crate) fn history(&self) -> History {
        let mut h = self.empty();
        self.facts.iter().for_each(|f| f.put(&mut h));
        h
    }
    pub(crate) fn decide(&self) -> Decision {
        decide(&self.history()).unwrap()
    }
    pub(crate) fn tip(&self) -> StateId {
        self.decide().tip
    }
    /// A commit, without any mark.
    pub(crate) fn bare(&mut self, by: DeviceId, parent: StateId, change: &Change) -> StateId {
        let p = self.states[&parent].clone();
        let mut id = CommitId(self.rng.id());
        if let Some(first) = change.ground {
            id.0[0] = first;
        }
        let child = StateId(self.rng.id());
        let mut leaves: Vec<Leaf> =
            p.leaves().iter().filter(|l| !change.remove.contains(&l.device)).copied().collect();
        for (account, device) in &change.add {
            let index = (0..).find(|i| leaves.iter().all(|l| l.index != *i)).unwrap();
            leaves.push(Leaf { index, device: *device, account: *account });
        }
        let mut roles = p.roles().clone();
        for (account, role) in &change.roles {
            if *role == Role::Member {
                roles.remove(account);
            } else {
                roles.insert(*account, RoleEntry { role: *role, epoch: p.epoch() + 1 });
            }
        }
        let rights = Rights { add: Role::Admin, remove: Role::Admin };
        let state =
            State::new(child, p.epoch() + 1, ConversationKind::Group, rights, leaves, Arc::new(roles));
        self.states.insert(child, state.clone());
        self.parents.insert(child, parent);
        let commit =
            Commit { id, parent, child, account: account_of(by), device: by, enacts: change.enacts.clone() };
        self.facts.push(Fact::Commit(commit, state));
        child
    }
    /// A commit with its author's mark.
    pub(crate) fn commit(&mut self, by: DeviceId, parent: StateId, change: &Change) -> StateId {
        let child = self.bare(by, parent, change);
        self.mark(by, child);
        child
    }
    pub(crate) fn update(&mut self, by: DeviceId, parent: StateId) -> StateId {
        self.commit(by, parent, &Change::default())
    }
    /// A chain of updates by one device.
    pub(crate) fn branch(&mut self, by: DeviceId, from: StateId, n: usize) -> StateId {
        (0..n).fold(from, |at, _| self.update(by, at))
    }
    /// Updates by devices in turn; all of them mark each.
    pub(crate) fn chain(&mut self, by: &[DeviceId], from: StateId, n: usize) -> StateId {
        let mut at = from;
        for i in 0..n {
            at = self.bare(by[i % by.len()], at, &Change::default());
            for d in by {
                self.mark(*d, at);
            }
        }
        at
    }
    pub(crate) fn mark(&mut self, by: DeviceId, at: StateId) -> MarkId {
        self.mark_with(by, at, BTreeMap::new(), BTreeSet::new())
    }
    pub(crate) fn mark_with(
        &mut self,
        by: DeviceId,
        at: StateId,
        acks: BTreeMap<DeviceId, (u64, u64)>,
        bad: BTreeSet<CommitId>,
    ) -> MarkId {
        let head = self.heads.entry(by).or_default().clone();
        let id = self.raw_mark(by, head.n + 1, head.prev, at, acks, bad);
        self.heads.insert(by, Head { n: head.n + 1, prev: Some(id.0) });
        id
    }
    pub(crate) fn raw_mark(
        &mut self,
        device: DeviceId,
        n: u64,
        prev: Option<[u8; 32]>,
        at: StateId,
        acks: BTreeMap<DeviceId, (u64, u64)>,
        bad: BTreeSet<CommitId>,
    ) -> MarkId {
        let id = MarkId(self.rng.id());
        self.facts.push(Fact::Mark(Mark { id, device, n, prev, at, acks, bad }));
        id
    }
    /// An order to let an account in again that lifts another.
    pub(crate) fn lift(&mut self, by: DeviceId, whom: usize, at: StateId, order: OrderId) -> OrderId {
        let id = self.order(by, OrderKind::Add, Target::Account(account(whom)), at, BTreeMap::new());
        if let Some(Fact::Order(o)) = self.facts.last_mut() {
            o.lifts = vec![order];
        }
        id
    }

    /// An order with the next number; its ref is given, as a liar would.
    pub(crate) fn order(
        &mut self,
        by: DeviceId,
        kind: OrderKind,
        target: Target,
        at: StateId,
        cut: BTreeMap<DeviceId, (u64, u64)>,
    ) -> OrderId {
        let head = self.heads.entry(by).or_default().clone();
        let id = OrderId(self.rng.id());
        let issuer = account_of(by);
        let n = head.n + 1;
        self.facts.push(Fact::Order(Order {
            id,
            issuer,
            device: by,
            n,
            prev: head.prev,
            kind,
            target,
            at,
            lifts: Vec::new(),
            cut,
            statement: false,
        }));
        self.heads.insert(by, Head { n, prev: Some(id.0) });
        id
    }
    /// Marks `at`, then orders an account out with an honest cut.
    pub(crate) fn remove(&mut self, by: DeviceId, target: usize, at: StateId) -> OrderId {
        self.mark(by, at);
        let cut = self.cut(target);
        self.order(by, OrderKind::Remove, Target::Account(account(target)), at, cut)
    }
    /// The numbers that an account's devices have reached.
    pub(crate) fn cut(&self, target: usize) -> BTreeMap<DeviceId, (u64, u64)> {
        let of = account(target);
        self.heads.iter().filter(|(d, _)| account_of(**d) == of).map(|(d, h)| (*d, (0, h.n))).collect()
    }
    /// The commit that enacts a removal.
    pub(crate) fn enact(&mut self, by: DeviceId, parent: StateId, order: OrderId, target: usize) -> StateId {
        let remove = self.devices_in(parent, target);
        self.commit(by, parent, &Change { remove, enacts: vec![order], ..Change::default() })
    }
    pub(crate) fn devices_in(&self, at: StateId, target: usize) -> Vec<DeviceId> {
        self.states[&at].leaves().iter().filter(|l| l.account == account(target)).map(|l| l.device).collect()
    }
    pub(crate) fn commit_of(&self, child: StateId) -> CommitId {
        self.facts
            .iter()
            .find_map(|f| match f {
                Fact::Commit(c, _) if c.child == child => Some(c.id),
                _ => None,
            })
            .unwrap()
    }
    pub(crate) fn reaches(&self, above: StateId, below: StateId) -> bool {
        let mut at = Some(below);
        while let Some(s) = at {
            if s == above {
                return true;
            }
            at = self.parents.get(&s).copied();
        }
        false
    }
}
