//! Who may vote at a state, what each voter said first, and where accounts
//! stand now.

use std::collections::{BTreeMap, BTreeSet};

use kith_wire::group::Role;
use kith_wire::ids::{AccountId, CommitId, DeviceId, GroupId, StateId};

use crate::ELECTORATE_MAX;
use crate::facts::{History, State};
use crate::mutant::{self, Mutant};
use crate::orders::Orders;
use crate::tree::Tree;

/// Accounts that vote at a state with the device that does so: all of up to
/// [`ELECTORATE_MAX`], else moderators and higher.
pub(crate) fn eligible(gid: &GroupId, state: &State) -> BTreeMap<AccountId, DeviceId> {
    let mut voters = state.voters();
    if voters.len() > ELECTORATE_MAX {
        let heir = state.heir(gid);
        voters.retain(|a, _| {
            heir == Some(*a) || state.roles().get(a).is_some_and(|r| r.role >= Role::Moderator)
        });
    }
    voters
}

/// Marks turned into votes.
pub(crate) struct Votes {
    /// Of each node of interest: device and the kid under which it marked
    /// first.
    first: BTreeMap<usize, BTreeMap<DeviceId, usize>>,
    /// Nodes under which an account that nobody removed has its latest mark.
    pub(crate) live: Vec<bool>,
    /// Up to two accounts with a mark at a node or below: enough to know
    /// whether anybody beside the author has.
    marked: Vec<[Option<AccountId>; 2]>,
    /// Commits that devices cannot process.
    bad: BTreeMap<CommitId, BTreeSet<DeviceId>>,
}

impl Votes {
    pub(crate) fn new(
        history: &History,
        tree: &Tree<'_>,
        mutes: &BTreeMap<DeviceId, u64>,
        orders: &Orders<'_>,
    ) -> Self {
        let mut out = Self {
            first: BTreeMap::new(),
            live: vec![false; tree.nodes.len()],
            marked: vec![[None; 2]; tree.nodes.len()],
            bad: BTreeMap::new(),
        };
        // Numbers with a rival are beyond the chain's end.
        let counted = |device: &DeviceId, n: u64, at: Option<&StateId>| {
            // At the anchor nothing is lifted.
            let at = at.and_then(|at| tree.find(at)).unwrap_or(0);
            let cut = orders.cut_at(tree, device, at);
            cut.is_none_or(|cut| n <= cut.votes) && mutes.get(device).is_none_or(|mute| n < *mute)
        };
        for (device, chain) in &history.chains {
            for (n, bad) in &chain.bad {
                if !counted(device, *n, chain.stands.get(n)) {
                    continue;
                }
                for c in bad {
                    let id = history.children.get(c).and_then(|s| history.commits.get(s)).map(|c| c.id);
                    if let Some(id) = id {
                        out.bad.entry(id).or_default().insert(*device);
                    }
                }
            }
        }
        let interest: Vec<bool> = tree
            .nodes
            .iter()
            .map(|n| {
                n.kids.len() > 1
                    || n.kids
                        .iter()
                        .filter_map(|k| tree.nodes[*k].commit)
                        .any(|c| out.bad.contains_key(&c.id))
            })
            .collect();
        // The last device that went through a node: who has voted below a node
        // has voted below all its ancestors.
        let mut seen = vec![usize::MAX; tree.nodes.len()];
        for (stamp, (device, chain)) in history.chains.iter().enumerate() {
            let mut latest = None;
            let mute = mutes.get(device).copied().filter(|_| !mutant::on(Mutant::NoMute));
            let uncut = orders.is_uncut(device) || mutant::on(Mutant::VotesBeyondCut);
            let end = mute.unwrap_or(u64::MAX);
            // Most marks follow the last one: to the next state, at the same
            // place among its leaves.
            let (mut near, mut place) = (0, 0);
            for (n, at) in chain.stands.range(..end) {
                let Some(at) = tree.find_near(near, at) else { continue };
                if !uncut && orders.cut_at(tree, device, at).is_some_and(|cut| *n > cut.votes) {
                    continue;
                }
                let Some((here, leaf)) = tree.nodes[at].state.leaf_near(place, device) else { continue };
                (near, place) = (at, here);
                latest = Some((at, leaf.account));
                note(&mut out.marked[at], leaf.account);
                let mut kid = at;
                while seen[kid] != stamp || mutant::on(Mutant::LastVoteCounts) {
                    seen[kid] = stamp;
                    let Some(parent) = tree.nodes[kid].parent else { break };
                    if interest[parent] {
                        let first = out.first.entry(parent).or_default().entry(*device).or_insert(kid);
                        if mutant::on(Mutant::LastVoteCounts) {
                            *first = kid;
                        }
                    }
                    kid = parent;
                }
            }
            let Some((at, account)) = latest else { continue };
            if orders.is_out(tree, &account, device, at) {
                continue;
            }
            let mut up = Some(at);
            while let Some(node) = up.filter(|n| !out.live[*n]) {
                out.live[node] = true;
                up = tree.nodes[node].parent;
            }
        }
        for at in (1..tree.nodes.len()).rev() {
            if let Some(parent) = tree.nodes[at].parent {
                for account in out.marked[at].into_iter().flatten() {
                    note(&mut out.marked[parent], account);
                }
            }
        }
        out
    }

    /// Whether an account beside the author of a node's commit has a mark at
    /// the node or below.
    pub(crate) fn marked_by_others(&self, node: usize, author: &AccountId) -> bool {
        self.marked[node].iter().flatten().any(|a| a != author)
    }

    /// The electorate of a node and the first vote of each account in it. Who
    /// is removed by an order that refers to the node or before it counts only
    /// with a vote that its cut leaves standing.
    pub(crate) fn of(
        &self,
        gid: &GroupId,
        tree: &Tree<'_>,
        orders: &Orders<'_>,
        node: usize,
    ) -> BTreeMap<AccountId, Option<usize>> {
        let first = self.first.get(&node);
        eligible(gid, tree.nodes[node].state)
            .into_iter()
            .map(|(account, voter)| (account, first.and_then(|f| f.get(&voter)).copied()))
            .filter(|(account, vote)| {
                if mutant::on(Mutant::TargetsNeverVote) {
                    return !orders.is_target(account);
                }
                vote.is_some() || !orders.is_out_since(tree, account, node)
            })
            .collect()
    }

    /// Whether more of the electorate cannot process a node's commit than have
    /// voted for it, its author's account not counted.
    pub(crate) fn rejects(
        &self,
        tree: &Tree<'_>,
        votes: &BTreeMap<AccountId, Option<usize>>,
        parent: usize,
        kid: usize,
    ) -> bool {
        let Some(commit) = tree.nodes[kid].commit else { return false };
        let Some(bad) = self.bad.get(&commit.id).filter(|_| !mutant::on(Mutant::NeverReject)) else {
            return false;
        };
        let voters = tree.nodes[parent].state.voters();
        let (mut against, mut behind) = (0usize, 0usize);
        for (account, vote) in votes.iter().filter(|(a, _)| **a != commit.account) {
            if *vote == Some(kid) {
                behind += 1;
            } else if voters.get(account).is_some_and(|d| bad.contains(d)) {
                against += 1;
            }
        }
        against > behind
    }

    /// Whether anybody called the commit bad.
    pub(crate) fn disputed(&self, commit: &CommitId) -> bool {
        self.bad.contains_key(commit)
    }
}

fn note(of: &mut [Option<AccountId>; 2], account: AccountId) {
    if of.contains(&Some(account)) {
        return;
    }
    if let Some(free) = of.iter_mut().find(|a| a.is_none()) {
        *free = Some(account);
    }
}
