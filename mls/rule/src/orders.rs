//! Which orders are effective, and where they cut the chains of their targets.
//!
//! Orders are taken from the highest issuer down; each that holds voids what
//! its target signed beyond its cut, later orders included. One that is lifted
//! is lifted from the state on that the lifting order refers to: what came
//! before, and what other branches hold, it decides as it always did. Else
//! letting somebody in again would change how older forks ended.

use std::collections::{BTreeMap, BTreeSet};

use kith_wire::group::{OrderKind, Target};
use kith_wire::ids::{AccountId, DeviceId, OrderId, StateId};

use crate::facts::{Entry, History, Order, Standing, raise};
use crate::mutant::{self, Mutant};
use crate::tree::Tree;
use crate::votes::eligible;

/// The last numbers of a device that still count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cut {
    /// Events.
    pub seq: u64,
    /// Orders.
    pub n: u64,
    /// Marks: at least `n`, and at least what most accounts had acknowledged.
    pub votes: u64,
}

impl Cut {
    fn lower(self, other: Self) -> Self {
        Self { seq: self.seq.min(other.seq), n: self.n.min(other.n), votes: self.votes.min(other.votes) }
    }
}

/// Why a known order has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Void {
    /// The state it refers to is not known, or lies before the anchor.
    UnknownState,
    /// Its device is not of its issuer at that state, or its target is nobody
    /// there.
    Stranger,
    /// Its issuer may not order this there.
    Unauthorised,
    /// The mark before it is not known, or stands elsewhere.
    Unlinked,
    /// It refers to an ancestor of a state that its device had marked before.
    Backdated,
    /// Its device signed two objects with this number or a lower one.
    Equivocated,
    /// It is numbered above its device's cut.
    Cut,
    /// A later order lets the target in again, on the way to the tip.
    Lifted,
}

/// A removal, leave or demotion that holds.
pub(crate) struct Held<'h> {
    pub(crate) order: &'h Order,
    /// Node that it refers to.
    pub(crate) at: usize,
    /// Nodes from which on it is lifted.
    pub(crate) lifts: Vec<usize>,
}

impl Held<'_> {
    /// Whether it holds at a node.
    pub(crate) fn holds(&self, tree: &Tree<'_>, node: usize) -> bool {
        !self.lifts.iter().any(|l| tree.reaches(*l, node))
    }
}

/// Whether a node comes after one of those that lift: what a device signs
/// there it signs as somebody who was let in again.
fn is_after(tree: &Tree<'_>, lifts: &[usize], node: usize) -> bool {
    lifts.iter().any(|l| *l != node && tree.reaches(*l, node))
}

/// The verdict over all known orders.
pub(crate) struct Orders<'h> {
    /// Removals, leaves and demotions that hold somewhere.
    pub(crate) held: Vec<Held<'h>>,
    pub(crate) void: BTreeMap<OrderId, Void>,
    /// By device, with the nodes from which on they are lifted.
    cuts: BTreeMap<DeviceId, Vec<(Cut, Vec<usize>)>>,
    /// By account that an order takes out, places in `held`.
    removed: BTreeMap<AccountId, Vec<usize>>,
    /// The same by device that an order takes out alone.
    removed_devices: BTreeMap<DeviceId, Vec<usize>>,
    /// Devices of which it matters who had what when.
    pub(crate) watched: BTreeSet<DeviceId>,
}

struct Candidate<'h> {
    order: &'h Order,
    at: usize,
    standing: Standing,
    /// The authority came from the issuer's role.
    by_role: bool,
    leaf: u32,
}

impl<'h> Orders<'h> {
    pub(crate) fn new(history: &'h History, tree: &Tree<'h>, mutes: &BTreeMap<DeviceId, u64>) -> Self {
        let mut void = BTreeMap::new();
        let mut candidates = Vec::new();
        for order in history.orders.values() {
            match candidate(history, tree, mutes, order) {
                Ok(c) => candidates.push(c),
                Err(why) => {
                    void.insert(order.id, why);
                }
            }
        }
        // A statement of the account's own key goes before anything that a
        // device says. Equal standing is one account: its lowest leaf first,
        // and each device in its own order.
        candidates
            .sort_by_key(|c| (!c.order.statement, c.standing, c.leaf, c.order.device, c.order.n, c.order.id));
        let mut out = Self {
            held: Vec::new(),
            void,
            cuts: BTreeMap::new(),
            removed: BTreeMap::new(),
            removed_devices: BTreeMap::new(),
            watched: BTreeSet::new(),
        };
        out.take(history, tree, &candidates);
        out
    }

    /// The lowest last numbers that hold for what a device signs at a node.
    pub(crate) fn cut_at(&self, tree: &Tree<'_>, device: &DeviceId, node: usize) -> Option<Cut> {
        let cuts = self.cuts.get(device)?.iter();
        cuts.filter(|(_, lifts)| !is_after(tree, lifts, node)).map(|(cut, _)| *cut).reduce(Cut::lower)
    }

    /// Whether nothing that a device signed is beyond a cut.
    pub(crate) fn is_uncut(&self, device: &DeviceId) -> bool {
        !self.cuts.contains_key(device)
    }

    /// The same of all devices.
    pub(crate) fn cuts_at(&self, tree: &Tree<'_>, node: usize) -> BTreeMap<DeviceId, Cut> {
        self.cuts.keys().filter_map(|device| Some((*device, self.cut_at(tree, device, node)?))).collect()
    }

    /// Whether an order takes an account out of a node, or the device alone.
    pub(crate) fn is_out(
        &self,
        tree: &Tree<'_>,
        account: &AccountId,
        device: &DeviceId,
        node: usize,
    ) -> bool {
        let whole = self.removed.get(account).into_iter().flatten();
        let alone = self.removed_devices.get(device).into_iter().flatten();
        whole.chain(alone).filter_map(|i| self.held.get(*i)).any(|h| h.holds(tree, node))
    }

    /// Whether an order that refers to a node or before it takes an account
    /// out of it.
    pub(crate) fn is_out_since(&self, tree: &Tree<'_>, account: &AccountId, node: usize) -> bool {
        let mut held = self.removed.get(account).into_iter().flatten().filter_map(|i| self.held.get(*i));
        held.any(|h| tree.reaches(h.at, node) && h.holds(tree, node))
    }

    /// Whether any order takes an account out anywhere.
    pub(crate) fn is_target(&self, account: &AccountId) -> bool {
        self.removed.contains_key(account)
    }

    /// Takes the orders from the highest issuer down. Which of them are lifted
    /// follows from the orders that lift, and those may be beyond a cut that
    /// in turn holds only if it is not lifted: so it is done again until
    /// nothing changes, and ends after as many rounds as there are orders.
    fn take(&mut self, history: &'h History, tree: &Tree<'h>, candidates: &[Candidate<'h>]) {
        let mut lifted: Lifted = BTreeMap::new();
        for _ in 0..=candidates.len() {
            let stands = self.round(history, tree, candidates, &lifted);
            let now = lifted_by(&stands);
            let settled = now == lifted;
            lifted = now;
            self.hold(&stands, &lifted);
            if settled {
                break;
            }
        }
    }

    /// One round: the orders that are beyond no cut.
    fn round<'c>(
        &mut self,
        history: &'h History,
        tree: &Tree<'h>,
        candidates: &'c [Candidate<'h>],
        lifted: &Lifted,
    ) -> Vec<&'c Candidate<'h>> {
        self.cuts.clear();
        self.void.retain(|_, why| *why != Void::Cut);
        // Cuts that void only what rests on a role given before the order.
        let mut soft: BTreeMap<DeviceId, Vec<(u64, u64)>> = BTreeMap::new();
        let mut stands = Vec::new();
        for c in candidates {
            if self.is_cut(history, tree, &soft, c) {
                self.void.insert(c.order.id, Void::Cut);
                continue;
            }
            stands.push(c);
            if c.order.kind == OrderKind::Add || mutant::on(Mutant::OrdersLapse) {
                continue;
            }
            let cuts = read_cut(history, tree, c);
            self.watched.extend(cuts.keys());
            let lifts = lifted.get(&c.order.id);
            if lifts.is_some() || c.order.kind == OrderKind::Demote {
                let epoch = tree.nodes[c.at].state.epoch();
                for (device, cut) in &cuts {
                    soft.entry(*device).or_default().push((cut.n, epoch));
                }
            }
            if c.order.kind != OrderKind::Demote {
                for (device, cut) in cuts {
                    self.cuts.entry(device).or_default().push((cut, lifts.cloned().unwrap_or_default()));
                }
            }
        }
        stands
    }

    /// Notes what holds of the orders that stand.
    fn hold(&mut self, stands: &[&Candidate<'h>], lifted: &Lifted) {
        self.held.clear();
        self.removed.clear();
        self.removed_devices.clear();
        for c in stands {
            if c.order.kind == OrderKind::Add || mutant::on(Mutant::OrdersLapse) {
                continue;
            }
            let place = self.held.len();
            let lifts = lifted.get(&c.order.id).cloned().unwrap_or_default();
            self.held.push(Held { order: c.order, at: c.at, lifts });
            match c.order.target {
                _ if c.order.kind == OrderKind::Demote => {}
                Target::Account(a) => self.removed.entry(a).or_default().push(place),
                Target::Device(d) => self.removed_devices.entry(d).or_default().push(place),
            }
        }
    }

    fn is_cut(
        &self,
        history: &History,
        tree: &Tree<'_>,
        soft: &BTreeMap<DeviceId, Vec<(u64, u64)>>,
        c: &Candidate<'_>,
    ) -> bool {
        if mutant::on(Mutant::OrdersBeyondCut) {
            return false;
        }
        if self.cut_at(tree, &c.order.device, c.at).is_some_and(|cut| c.order.n > cut.n) {
            return true;
        }
        let Some(soft) = soft.get(&c.order.device).filter(|_| c.by_role) else { return false };
        let standing = tree.nodes[c.at].state.standing(&history.gid, &c.order.issuer);
        soft.iter().any(|(n, epoch)| c.order.n > *n && standing.1 <= *epoch)
    }
}

/// Orders that others lift, with the nodes that those refer to.
type Lifted = BTreeMap<OrderId, Vec<usize>>;

/// The orders that others of those that stand lift.
fn lifted_by(stands: &[&Candidate<'_>]) -> Lifted {
    let mut lifters: BTreeMap<OrderId, Vec<&Candidate<'_>>> = BTreeMap::new();
    for by in stands.iter().filter(|c| c.order.kind == OrderKind::Add) {
        for id in &by.order.lifts {
            lifters.entry(*id).or_default().push(by);
        }
    }
    let mut lifted = Lifted::new();
    for c in stands.iter().filter(|c| c.order.kind != OrderKind::Add) {
        let by = lifters.get(&c.order.id).into_iter().flatten().filter(|l| may_lift(l, c));
        let mut nodes: Vec<usize> = by.map(|l| l.at).collect();
        nodes.sort_unstable();
        if !nodes.is_empty() {
            lifted.insert(c.order.id, nodes);
        }
    }
    lifted
}

/// A lifting needs an issuer not below the one who gave the order; a leave
/// anyone else who may add; a statement of the account's key stays.
fn may_lift(by: &Candidate<'_>, of: &Candidate<'_>) -> bool {
    match of.order.kind {
        _ if of.order.statement => false,
        OrderKind::Leave => by.order.issuer != of.order.issuer,
        _ => by.standing <= of.standing,
    }
}

fn candidate<'h>(
    history: &'h History,
    tree: &Tree<'h>,
    mutes: &BTreeMap<DeviceId, u64>,
    order: &'h Order,
) -> Result<Candidate<'h>, Void> {
    let at = tree.find(&order.at).ok_or(Void::UnknownState)?;
    let state = tree.nodes[at].state;
    let leaf = state.leaf(&order.device).ok_or(Void::Stranger)?;
    if leaf.account != order.issuer && !order.statement {
        return Err(Void::Stranger);
    }
    if mutes.get(&order.device).is_some_and(|mute| order.n >= *mute) {
        return Err(Void::Equivocated);
    }
    linked(history, tree, order, at)?;
    let gid = &history.gid;
    let by_role = match (order.kind, order.target) {
        (OrderKind::Add, _) => state.may_add(gid, &order.issuer).then_some(true),
        (OrderKind::Leave, Target::Account(a)) => (a == order.issuer).then_some(false),
        (OrderKind::Leave, Target::Device(_)) | (OrderKind::Demote, Target::Device(_)) => None,
        (OrderKind::Remove, Target::Device(_)) if order.statement => Some(false),
        (OrderKind::Remove | OrderKind::Demote, target) => {
            let account = match target {
                Target::Account(a) => state.has_account(&a).then_some(a),
                Target::Device(d) => state.leaf(&d).map(|l| l.account),
            };
            let account = account.ok_or(Void::Stranger)?;
            if account == order.issuer {
                Some(false)
            } else {
                state.may_remove(gid, &order.issuer, &account).then_some(true)
            }
        }
    };
    Ok(Candidate {
        order,
        at,
        standing: state.standing(gid, &order.issuer),
        by_role: by_role.ok_or(Void::Unauthorised)?,
        leaf: leaf.index,
    })
}

/// The chain before the order leads, over orders at the same state only, to a
/// mark at it; and its device had marked nothing below that state before.
fn linked(history: &History, tree: &Tree<'_>, order: &Order, at: usize) -> Result<(), Void> {
    let chain = history.chains.get(&order.device).ok_or(Void::Unlinked)?;
    let mut link = order;
    loop {
        let before = link.n.checked_sub(1).and_then(|n| chain.entries.get(&n));
        let entry = before.zip(link.prev).and_then(|(rivals, id)| rivals.get(&id)).ok_or(Void::Unlinked)?;
        match entry {
            Entry::Mark(m) if m.at == order.at => break,
            Entry::Mark(_) => return Err(Void::Unlinked),
            Entry::Order(id, _) => link = history.orders.get(id).ok_or(Void::Unlinked)?,
        }
        if link.at != order.at {
            return Err(Void::Unlinked);
        }
    }
    let later = |m: &StateId| tree.find(m).is_some_and(|m| m != at && tree.reaches(at, m));
    if chain.stands.range(..order.n).any(|(_, m)| later(m)) && !mutant::on(Mutant::Backdated) {
        return Err(Void::Backdated);
    }
    Ok(())
}

/// The cut of each device of the target, read as no lower than what the
/// issuing device had acknowledged before, so that nobody voids what they had
/// accepted. An empty cut, and that of a statement which somebody else
/// carries, voids nothing.
fn read_cut(history: &History, tree: &Tree<'_>, c: &Candidate<'_>) -> BTreeMap<DeviceId, Cut> {
    let order = c.order;
    let state = tree.nodes[c.at].state;
    let own = state.leaf(&order.device).is_some_and(|l| l.account == order.issuer);
    if order.cut.is_empty() || !own {
        return BTreeMap::new();
    }
    let mut had: BTreeMap<DeviceId, (u64, u64)> = BTreeMap::new();
    if let Some(chain) = history.chains.get(&order.device) {
        had.clone_from(&chain.floor);
        for entry in chain.entries.range(..order.n).flat_map(|(_, rivals)| rivals.values()) {
            if let Entry::Mark(m) = entry {
                for (device, to) in &m.acks {
                    raise(&mut had, *device, *to);
                }
            }
        }
    }
    raise(&mut had, order.device, (0, order.n));
    let devices: BTreeSet<DeviceId> = match order.target {
        Target::Device(d) => BTreeSet::from([d]),
        Target::Account(a) => history.devices.get(&a).cloned().unwrap_or_default(),
    };
    let target = match order.target {
        Target::Account(a) => Some(a),
        Target::Device(d) => state.leaf(&d).map(|l| l.account),
    };
    let voters = eligible(&history.gid, state);
    let mut out = BTreeMap::new();
    for device in devices {
        let listed = order.cut.get(&device).copied().unwrap_or_default();
        let had = had.get(&device).copied().unwrap_or_default();
        let (seq, n) = (listed.0.max(had.0), listed.1.max(had.1));
        let votes = n.max(acknowledged_by_most(history, &voters, target, &device));
        out.insert(device, Cut { seq, n, votes });
    }
    out
}

/// The highest number of a device's chain that more than half of the accounts
/// have, its own among them.
fn acknowledged_by_most(
    history: &History,
    voters: &BTreeMap<AccountId, DeviceId>,
    target: Option<AccountId>,
    device: &DeviceId,
) -> u64 {
    let mut had: Vec<u64> = voters
        .keys()
        .filter(|a| Some(**a) != target)
        .filter_map(|a| {
            let devices = history.devices.get(a)?;
            let of = |d: &DeviceId| history.chains.get(d).and_then(|c| c.acked_of(device));
            devices.iter().filter_map(of).max()
        })
        .collect();
    had.sort_unstable_by(|a, b| b.cmp(a));
    let own = usize::from(target.is_some_and(|t| voters.contains_key(&t)));
    // At least one other, so that nobody vouches for itself alone.
    let others = (voters.len() / 2 + 1).saturating_sub(own).max(1);
    had.get(others - 1).copied().unwrap_or(0)
}
