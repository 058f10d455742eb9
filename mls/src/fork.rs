//! The choice between concurrent commits: one pure function.
//!
//! The rule of this version: at each state, a child whose branch has grown by
//! [`SETTLED_DEPTH`] commits beats one whose branch has not; among equals the
//! lowest commit id wins. The answer depends on the set of known commits only,
//! never on the order of their arrival, on clocks, or on what is held in keys.
//! Nothing else in the engine chooses between states.

use std::collections::BTreeMap;

use kith_wire::ids::{CommitId, StateId};

/// A branch this long is not given up for a shorter one: a commit that comes
/// late, after the others have gone on, does not undo their work.
pub const SETTLED_DEPTH: u32 = 8;

/// One known valid commit below a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kid {
    /// The commit.
    pub commit: CommitId,
    /// The state that it leads to.
    pub state: StateId,
}

/// Known commits by the state that they leave.
pub type Tree = BTreeMap<StateId, Vec<Kid>>;

/// The path from `root` (exclusive) to the winning tip.
#[must_use]
pub fn best(tree: &Tree, root: StateId) -> Vec<Kid> {
    let mut path = Vec::new();
    let mut at = root;
    // Commits bind their parent's hash, so there are no cycles; the bound only
    // keeps a damaged store from hanging the process.
    let bound: usize = tree.values().map(Vec::len).sum();
    while path.len() < bound {
        let Some(kids) = tree.get(&at) else { break };
        let winner = kids.iter().min_by_key(|k| (depth(tree, k.state) < SETTLED_DEPTH, k.commit));
        let Some(winner) = winner else { break };
        path.push(*winner);
        at = winner.state;
    }
    path
}

/// Commits on the longest branch that starts with the one into `state`,
/// counted up to [`SETTLED_DEPTH`].
fn depth(tree: &Tree, state: StateId) -> u32 {
    let mut level = vec![state];
    for depth in 1..SETTLED_DEPTH {
        level = level.iter().filter_map(|s| tree.get(s)).flatten().map(|k| k.state).collect();
        if level.is_empty() {
            return depth;
        }
    }
    SETTLED_DEPTH
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(n: u8) -> [u8; 32] {
        [n; 32]
    }
    fn kid(n: u8) -> Kid {
        Kid { commit: CommitId(id(n)), state: StateId(id(n)) }
    }

    #[test]
    fn lowest_commit_wins_among_siblings() {
        let tree = Tree::from([(StateId(id(0)), vec![kid(9), kid(3), kid(5)])]);
        assert_eq!(best(&tree, StateId(id(0))), vec![kid(3)]);
    }

    #[test]
    fn a_settled_branch_is_not_undone_by_a_late_lower_commit() {
        let mut tree = Tree::from([(StateId(id(0)), vec![kid(9), kid(3)])]);
        let mut at = 9;
        for n in 20..27 {
            tree.insert(StateId(id(at)), vec![kid(n)]);
            at = n;
        }
        assert_eq!(best(&tree, StateId(id(0))).first(), Some(&kid(9)));
        tree.remove(&StateId(id(25)));
        assert_eq!(best(&tree, StateId(id(0))), vec![kid(3)]);
    }

    proptest! {
        /// Any tree: the answer does not depend on the order of siblings.
        #[test]
        fn order_of_arrival_does_not_matter(parents in proptest::collection::vec(any::<prop::sample::Index>(), 1..40), seed in any::<u64>()) {
            let mut edges = Vec::new();
            for (n, p) in parents.iter().enumerate() {
                let parent = u8::try_from(p.index(n + 1)).unwrap();
                edges.push((parent, u8::try_from(n + 1).unwrap()));
            }
            let build = |edges: &[(u8, u8)]| {
                let mut tree = Tree::new();
                for (p, n) in edges {
                    tree.entry(StateId(id(*p))).or_default().push(kid(*n));
                }
                tree
            };
            let one = best(&build(&edges), StateId(id(0)));
            let mut s = seed;
            // One key per edge, drawn once: a shuffle that the seed decides.
            edges.sort_by_cached_key(|e| { s = s.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(u64::from(e.1)); s });
            prop_assert_eq!(best(&build(&edges), StateId(id(0))), one);
        }
    }
}
