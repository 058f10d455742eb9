//! The known states below the anchor as arrays: parents before children, with
//! intervals that answer ancestry at once.

use std::collections::BTreeMap;

use kith_wire::ids::StateId;

use crate::facts::{Commit, History, State};

/// One state below the anchor, or the anchor.
pub(crate) struct Node<'h> {
    pub(crate) state: &'h State,
    /// The commit that leads here; none for the anchor.
    pub(crate) commit: Option<&'h Commit>,
    pub(crate) parent: Option<usize>,
    /// Ascending by commit id.
    pub(crate) kids: Vec<usize>,
    /// Preorder number of the last state below; the own one is the index.
    last: usize,
}

/// States that hang together with the anchor, in preorder: a subtree is the
/// range from its root on.
pub(crate) struct Tree<'h> {
    pub(crate) nodes: Vec<Node<'h>>,
    /// Ascending by id.
    index: Vec<(StateId, usize)>,
}

impl<'h> Tree<'h> {
    pub(crate) fn new(history: &'h History) -> Self {
        let mut below: BTreeMap<StateId, Vec<&Commit>> = BTreeMap::new();
        for c in history.commits.values() {
            if history.states.contains_key(&c.child) {
                below.entry(c.parent).or_default().push(c);
            }
        }
        for kids in below.values_mut() {
            kids.sort_by_key(|c| c.id);
        }
        let mut nodes: Vec<Node<'h>> = Vec::with_capacity(history.states.len());
        let mut todo: Vec<(Option<usize>, Option<&Commit>, StateId)> = vec![(None, None, history.anchor)];
        while let Some((parent, commit, id)) = todo.pop() {
            let Some(state) = history.states.get(&id) else { continue };
            let at = nodes.len();
            nodes.push(Node { state, commit, parent, kids: Vec::new(), last: at });
            if let Some(parent) = parent.and_then(|p| nodes.get_mut(p)) {
                parent.kids.push(at);
            }
            // Taken out: a commit hashes its parent, so no state comes twice.
            let kids = below.remove(&id).unwrap_or_default();
            todo.extend(kids.iter().rev().map(|c| (Some(at), Some(*c), c.child)));
        }
        for at in (1..nodes.len()).rev() {
            let last = nodes[at].last;
            if let Some(parent) = nodes[at].parent {
                nodes[parent].last = nodes[parent].last.max(last);
            }
        }
        let mut index: Vec<(StateId, usize)> =
            nodes.iter().enumerate().map(|(at, n)| (n.state.id(), at)).collect();
        index.sort_unstable();
        Self { nodes, index }
    }
    pub(crate) fn find(&self, id: &StateId) -> Option<usize> {
        let at = self.index.binary_search_by_key(id, |(id, _)| *id).ok()?;
        self.index.get(at).map(|(_, at)| *at)
    }
    /// The same, tried first at a node and at the one after it.
    pub(crate) fn find_near(&self, near: usize, id: &StateId) -> Option<usize> {
        let hit = |at: &usize| self.nodes.get(*at).is_some_and(|n| n.state.id() == *id);
        [near + 1, near].into_iter().find(hit).or_else(|| self.find(id))
    }
    /// Whether `below` is `above` or comes after it.
    pub(crate) fn reaches(&self, above: usize, below: usize) -> bool {
        above <= below && below <= self.nodes[above].last
    }
}
