//! The decision: caps, rejected commits, and at each fork the five steps.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use kith_wire::group::{Role, Target, rank};
use kith_wire::ids::{AccountId, CommitId, DeviceId, GroupId, OrderId, StateId};

use crate::facts::{History, Order, State};
use crate::mutant::{self, Mutant};
use crate::orders::{Cut, Held, Orders, Void};
use crate::tree::Tree;
use crate::votes::Votes;
use crate::{SIBLINGS_MAX, SIBLINGS_PER_DEVICE_MAX};

/// What everybody who knows the same facts stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The state to stand in.
    pub tip: StateId,
    /// Commits from the anchor to the tip.
    pub path: Vec<CommitId>,
    /// Removals, leaves and demotions that hold at the tip.
    pub effective: BTreeSet<OrderId>,
    /// All that hold anywhere, with the states from which on they are lifted.
    pub held: BTreeMap<OrderId, Vec<StateId>>,
    /// Known orders without effect, and why.
    pub void: BTreeMap<OrderId, Void>,
    /// Where chains and events of devices end that are removed at the tip.
    pub cuts: BTreeMap<DeviceId, Cut>,
    /// Effective orders that the tip has not enacted: it is tainted, and no
    /// event may be sent on it.
    pub open: BTreeSet<OrderId>,
    /// Those of `open` that no commit may carry at the tip any more, since
    /// their issuer does not stand above the target there: whoever does signs
    /// them anew.
    pub resign: BTreeSet<OrderId>,
    /// Commits that too many accounts cannot process.
    pub rejected: BTreeSet<CommitId>,
    /// Commits beyond the caps: no candidates, and need not be kept. What
    /// comes after them is dropped with them and not listed.
    pub dropped: BTreeSet<CommitId>,
    /// Devices that an order cuts: who acknowledges more of one of these may
    /// move the cut.
    pub watched: BTreeSet<DeviceId>,
    /// Devices that signed two objects under one number, with the first such
    /// number: nothing counts from there on.
    pub muted: BTreeMap<DeviceId, u64>,
    /// States that more than one candidate leaves.
    pub forks: BTreeMap<StateId, Fork>,
}

/// What decided a fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Nobody stands on any other branch.
    Live,
    /// More than half of the electorate voted for it first.
    Majority,
    /// Its tip leaves fewer orders open.
    Orders,
    /// More first votes.
    Votes,
    /// Its author's rank.
    Rank,
    /// One author: the lowest commit id.
    Id,
}

/// One fork, for explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    /// Accounts in the electorate.
    pub electorate: usize,
    /// Candidates, ascending by commit id.
    pub kids: Vec<Kid>,
    /// The chosen commit.
    pub winner: CommitId,
    /// The step that set the winner apart from the next best.
    pub step: Step,
}

/// One branch of a fork.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kid {
    /// Its first commit.
    pub commit: CommitId,
    /// Accounts of the electorate that voted for it first.
    pub votes: BTreeSet<AccountId>,
    /// Somebody not removed stands on it now.
    pub live: bool,
    /// Effective orders that its tip leaves open.
    pub open: usize,
}

/// What decides between branches, the smallest wins.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    minority: bool,
    open: usize,
    votes: Reverse<usize>,
    rank: (Reverse<Role>, [u8; 32]),
    id: CommitId,
}

/// The fork rule. A function of the facts alone; `None` while the anchor's own
/// state is not known.
#[must_use]
pub fn decide(history: &History) -> Option<Decision> {
    let tree = Tree::new(history);
    let anchor = tree.nodes.first()?;
    let muted = history.mutes();
    let orders = Orders::new(history, &tree, &muted);
    let votes = Votes::new(history, &tree, &muted, &orders);
    let mut work = Work {
        history,
        tree: &tree,
        orders: &orders,
        votes: &votes,
        best: (0..tree.nodes.len()).collect(),
        open: vec![None; tree.nodes.len()],
        rejected: BTreeSet::new(),
        dropped: BTreeSet::new(),
        forks: BTreeMap::new(),
    };
    // Children have higher indices than their parents.
    for node in (0..tree.nodes.len()).rev() {
        work.choose(node);
    }
    let tip = work.best.first().copied()?;
    let mut path = Vec::new();
    let mut up = &tree.nodes[tip];
    while let (Some(commit), Some(parent)) = (up.commit, up.parent) {
        path.push(commit.id);
        up = &tree.nodes[parent];
    }
    path.reverse();
    debug_assert_eq!(up.state.id(), anchor.state.id());
    let Work { rejected, dropped, forks, .. } = work;
    let cuts = orders.cuts_at(&tree, tip);
    let (effective, lifted): (Vec<&Held<'_>>, Vec<_>) = orders.held.iter().partition(|h| h.holds(&tree, tip));
    let (open, resign) = open_at(&history.gid, effective.iter().map(|h| h.order), tree.nodes[tip].state);
    let id = |node: &usize| tree.nodes[*node].state.id();
    let mut void = orders.void.clone();
    void.extend(lifted.iter().map(|h| (h.order.id, Void::Lifted)));
    Some(Decision {
        tip: tree.nodes[tip].state.id(),
        path,
        effective: effective.iter().map(|h| h.order.id).collect(),
        held: orders.held.iter().map(|h| (h.order.id, h.lifts.iter().map(id).collect())).collect(),
        void,
        cuts,
        watched: orders.watched,
        open,
        resign,
        rejected,
        dropped,
        muted,
        forks,
    })
}

/// Of the orders that hold, those that a state has not carried out; and of
/// these the ones that no commit may carry there, since their issuer does not
/// stand above the target in that state or its device is gone: whoever does
/// signs them anew.
#[must_use]
pub fn open_at<'o>(
    gid: &GroupId,
    effective: impl IntoIterator<Item = &'o Order>,
    state: &State,
) -> (BTreeSet<OrderId>, BTreeSet<OrderId>) {
    let mut open = BTreeSet::new();
    let mut resign = BTreeSet::new();
    for o in effective.into_iter().filter(|o| !state.has_enacted(o.kind, &o.target)) {
        open.insert(o.id);
        let target = match o.target {
            Target::Account(a) => Some(a),
            Target::Device(d) => state.leaf(&d).map(|l| l.account),
        };
        let free = target == Some(o.issuer);
        // A commit's orders are checked against its parent's tree: the signing
        // device must still be a leaf there.
        let signs = state.leaf(&o.device).is_some_and(|l| l.account == o.issuer);
        let may = match target {
            Some(_) if free => signs || o.statement,
            Some(t) => signs && state.may_remove(gid, &o.issuer, &t),
            None => false,
        };
        if !may {
            resign.insert(o.id);
        }
    }
    (open, resign)
}

struct Work<'w, 'h> {
    history: &'h History,
    tree: &'w Tree<'h>,
    orders: &'w Orders<'h>,
    votes: &'w Votes,
    /// The best tip below each node.
    best: Vec<usize>,
    /// Open orders of a node, once counted.
    open: Vec<Option<usize>>,
    rejected: BTreeSet<CommitId>,
    dropped: BTreeSet<CommitId>,
    forks: BTreeMap<StateId, Fork>,
}

impl Work<'_, '_> {
    fn choose(&mut self, node: usize) {
        let kids = self.candidates(node);
        let [first, rest @ ..] = kids.as_slice() else { return };
        let winner = if rest.is_empty() { *first } else { self.compare(node, &kids) };
        self.best[node] = self.best[winner];
    }

    fn commit(&self, kid: usize) -> CommitId {
        self.tree.nodes[kid].commit.map(|c| c.id).unwrap_or_default()
    }

    /// Kids that are neither dropped nor rejected.
    fn candidates(&mut self, node: usize) -> Vec<usize> {
        let tree = self.tree;
        let mut kids = tree.nodes[node].kids.clone();
        if kids.len() > SIBLINGS_PER_DEVICE_MAX {
            self.cap(node, &mut kids);
        }
        if kids.iter().any(|k| self.votes.disputed(&self.commit(*k))) {
            let votes = self.votes.of(&self.history.gid, tree, self.orders, node);
            kids.retain(|k| {
                let rejected = self.votes.rejects(tree, &votes, node, *k);
                if rejected {
                    self.rejected.insert(self.tree.nodes[*k].commit.map(|c| c.id).unwrap_or_default());
                }
                !rejected
            });
        }
        kids
    }

    /// Drops commits beyond the caps. One that another account has marked, or
    /// marked something below, is never dropped.
    fn cap(&mut self, node: usize, kids: &mut Vec<usize>) {
        let mut of_device: BTreeMap<DeviceId, usize> = BTreeMap::new();
        let mut over = Vec::new();
        let mut ranked = Vec::new();
        for kid in kids.iter() {
            let Some(commit) = self.tree.nodes[*kid].commit else { continue };
            let count = of_device.entry(commit.device).or_default();
            *count += 1;
            let kept = self.votes.marked_by_others(*kid, &commit.account);
            if *count > SIBLINGS_PER_DEVICE_MAX && !kept {
                over.push(*kid);
            } else {
                ranked.push((self.rank(node, *kid), commit.id, *kid, kept));
            }
        }
        ranked.sort_unstable();
        over.extend(ranked.iter().skip(SIBLINGS_MAX).filter(|r| !r.3).map(|r| r.2));
        kids.retain(|k| !over.contains(k));
        self.dropped
            .extend(over.iter().map(|k| self.tree.nodes[*k].commit.map(|c| c.id).unwrap_or_default()));
    }

    /// Rank of a kid's author at its parent: role, then a hash that neither
    /// the committer nor the parent's author can grind.
    fn rank(&self, node: usize, kid: usize) -> (Reverse<Role>, [u8; 32]) {
        let state = self.tree.nodes[node].state;
        let author = self.tree.nodes[kid].commit.map(|c| c.account).unwrap_or_default();
        let gid = &self.history.gid;
        if mutant::on(Mutant::IgnoreRank) {
            return (Reverse(Role::Member), [0; 32]);
        }
        (Reverse(state.role(gid, &author)), rank(gid, state.epoch(), &author))
    }

    fn open_at(&mut self, node: usize) -> usize {
        if let Some(known) = self.open[node] {
            return known;
        }
        let state = self.tree.nodes[node].state;
        let open =
            |h: &&Held<'_>| !state.has_enacted(h.order.kind, &h.order.target) && h.holds(self.tree, node);
        let count = self.orders.held.iter().filter(open).count();
        self.open[node] = Some(count);
        count
    }

    fn compare(&mut self, node: usize, kids: &[usize]) -> usize {
        let votes = self.votes.of(&self.history.gid, self.tree, self.orders, node);
        let electorate = votes.len();
        let mut keys: Vec<(bool, Key, usize)> = Vec::new();
        let mut told = Vec::new();
        for kid in kids {
            let by: BTreeSet<AccountId> =
                votes.iter().filter(|(_, v)| **v == Some(*kid)).map(|(a, _)| *a).collect();
            let (commit, open) = (self.commit(*kid), self.open_at(self.best[*kid]));
            let live = self.votes.live[*kid];
            let key = Key {
                minority: by.len() * 2 <= electorate && !mutant::on(Mutant::IgnoreMajority),
                open: if mutant::on(Mutant::IgnoreOrders) { 0 } else { open },
                votes: Reverse(if mutant::on(Mutant::IgnoreVotes) { 0 } else { by.len() }),
                rank: self.rank(node, *kid),
                id: if mutant::on(Mutant::HighestId) { CommitId(commit.0.map(|b| !b)) } else { commit },
            };
            keys.push((!live && !mutant::on(Mutant::IgnoreLive), key, *kid));
            told.push(Kid { commit, votes: by, live, open });
        }
        // If nobody stands on any, all are candidates; else those that are live.
        keys.sort_unstable();
        let (winner, step) = match keys.as_slice() {
            [a, b, ..] => (a.2, step(a, b)),
            _ => (kids.first().copied().unwrap_or(node), Step::Live),
        };
        let fork = Fork { electorate, kids: told, winner: self.commit(winner), step };
        self.forks.insert(self.tree.nodes[node].state.id(), fork);
        winner
    }
}

fn step(a: &(bool, Key, usize), b: &(bool, Key, usize)) -> Step {
    if a.0 != b.0 {
        Step::Live
    } else if a.1.minority != b.1.minority {
        Step::Majority
    } else if a.1.open != b.1.open {
        Step::Orders
    } else if a.1.votes != b.1.votes {
        Step::Votes
    } else if a.1.rank != b.1.rank {
        Step::Rank
    } else {
        Step::Id
    }
}
