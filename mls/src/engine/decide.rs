//! Which state a group should stand in, by the fork rule (kith-rule), and the
//! facts that it is asked with.
//!
//! A group whose known history is one line without orders or disputes needs no
//! rule: its tip is the line's end. From the first fork, order or bad commit on
//! it is *contested*: its facts are read from the store when they are needed,
//! and kept up while the group is in use.

use std::sync::Arc;

use kith_rule::{ANCHOR_DISTANCE, Decision, History, Void, decide, open_at};
use kith_store::{Key, Read as _, Table};
use kith_wire::group::{Mark, Order, OrderKind, Target, kinds, mark_id, order_id};
use kith_wire::ids::{AccountId, CommitId, DeviceId, OrderId, StateId};
use kith_wire::signed::Raw;

use super::ctx::{Ctx, broken};
use crate::EngineError;
use crate::api::Outcome;
use crate::rows::{self, CommitRow, State};

/// How long the tip is kept after a new order, so that it can be carried out
/// there before another branch is looked at, ms.
const HOLD_MS: u64 = 10_000;
/// How long marks are waited for that may void an order to be signed anew, ms.
const MARKS_MS: u64 = 60_000;

fn commit_fact(id: CommitId, row: &CommitRow) -> kith_rule::Commit {
    kith_rule::Commit {
        id,
        parent: row.parent,
        child: row.child,
        account: row.account,
        device: row.device,
        enacts: row.orders.clone(),
    }
}

fn mark_fact(raw: &Raw, mark: &Mark) -> kith_rule::Mark {
    kith_rule::Mark {
        id: mark_id(raw),
        device: mark.device,
        n: mark.n,
        prev: mark.prev,
        at: mark.at,
        acks: mark.changed.clone(),
        bad: mark.bad.iter().map(|b| b.commit).collect(),
    }
}

pub(super) fn order_fact(raw: &Raw, order: &Order) -> kith_rule::Order {
    kith_rule::Order {
        id: order_id(raw),
        issuer: order.issuer,
        device: order.device,
        n: order.n,
        prev: order.prev,
        kind: order.order,
        target: order.target,
        at: order.at,
        lifts: order.lifts.clone(),
        cut: order.cut.clone(),
        // Statements of accounts are not judged yet: such an order counts as
        // one of its device.
        statement: false,
    }
}

impl Ctx<'_, '_> {
    /// From now on the fork rule decides.
    pub(super) fn contest(&mut self) {
        if !self.row().contested {
            self.row_mut().contested = true;
        }
        self.session.decision = None;
    }

    /// A fact has come in: the rule is asked again.
    fn note(&mut self, insert: impl FnOnce(&mut History)) {
        self.changed();
        if let Some(history) = &mut self.session.history {
            insert(history);
        }
        self.session.decision = None;
    }

    pub(super) fn note_commit(&mut self, id: CommitId, row: &CommitRow, child: &State) {
        self.note(|h| {
            h.insert_state(child.rule.clone());
            h.insert_commit(commit_fact(id, row));
        });
    }

    /// A mark that does not tell anything new leaves the decision as it is.
    pub(super) fn note_mark(&mut self, raw: &Raw, mark: &Mark, tells: bool) {
        let before = self.session.decision.take().filter(|_| !tells);
        self.note(|h| h.insert_mark(mark_fact(raw, mark)));
        self.session.decision = before;
    }

    pub(super) fn note_order(&mut self, raw: &Raw, order: &Order) {
        self.contest();
        self.note(|h| h.insert_order(order_fact(raw, order)));
    }

    pub(super) fn note_mute(&mut self, device: DeviceId, n: u64) {
        self.contest();
        self.note(|h| h.note_equivocation(device, n));
    }

    /// All facts from the anchor on, as they are stored.
    fn history(&mut self) -> Result<&History, EngineError> {
        if self.session.history.is_none() {
            let anchor = self.row().anchor;
            let mut history = History::new(self.gid, anchor);
            let mut open = vec![anchor];
            while let Some(at) = open.pop() {
                let state = self.known(&at)?;
                history.insert_state(state.rule.clone());
                for child in &state.row.children {
                    let row =
                        rows::commit(self.tx, &child.commit)?.ok_or_else(|| broken("a commit is missing"))?;
                    history.insert_commit(commit_fact(child.commit, &row));
                    open.push(child.state);
                }
            }
            let mut devices = rows::devices(self.tx, &self.gid)?;
            let me = self.me();
            if !devices.contains(&me) {
                devices.push(me);
            }
            for device in devices {
                let name = rows::pair(&self.gid, &device.0);
                for (_, bytes) in rows::numbered(self.tx, Table::Marks, &name, 0, usize::MAX)? {
                    let raw = Raw::from_bytes(&bytes)?;
                    history.insert_mark(mark_fact(&raw, &raw.body::<Mark>()?));
                }
                if let Some(n) = rows::device(self.tx, &self.gid, &device)?.and_then(|d| d.mute) {
                    history.note_equivocation(device, n);
                }
            }
            for bytes in rows::orders(self.tx, &self.gid)? {
                let raw = Raw::from_bytes(&bytes)?;
                history.insert_order(order_fact(&raw, &raw.body::<Order>()?));
            }
            self.session.history = Some(history);
        }
        self.session.history.as_ref().ok_or_else(|| broken("the history is missing"))
    }

    /// What the rule says about all facts.
    pub(super) fn decision(&mut self) -> Result<Arc<Decision>, EngineError> {
        if let Some(decision) = &self.session.decision {
            return Ok(decision.clone());
        }
        let decided = decide(self.history()?).ok_or_else(|| broken("the history has no beginning"))?;
        let decision = Arc::new(decided);
        self.session.decision = Some(decision.clone());
        Ok(decision)
    }

    /// The states to go through, the last one to stand in.
    pub(super) fn way(&mut self) -> Result<Vec<StateId>, EngineError> {
        if !self.row().contested {
            let mut way = vec![self.row().tip];
            while let Some(next) = self.children(way.last().unwrap_or(&self.row().tip.clone()))?.first() {
                way.push(*next);
            }
            return Ok(way);
        }
        let decision = self.decision()?;
        let mut way = vec![self.row().anchor];
        for id in &decision.path {
            way.push(rows::commit(self.tx, id)?.ok_or_else(|| broken("a commit is missing"))?.child);
        }
        Ok(way)
    }

    /// Orders that hold and are open at a state, and those of them to be
    /// signed anew.
    fn open_orders_at(&mut self, state: &State) -> Result<(Vec<OrderId>, Vec<OrderId>), EngineError> {
        if !self.row().contested {
            return Ok((Vec::new(), Vec::new()));
        }
        let held = self.held_at(&state.id)?;
        let gid = self.gid;
        let history = self.history()?;
        let held = held.iter().filter_map(|id| history.order(id));
        let (open, resign) = open_at(&gid, held, &state.rule);
        Ok((open.into_iter().collect(), resign.into_iter().collect()))
    }

    /// A new order first gets the chance to be carried out where the device
    /// stands; only then other branches are looked at. Else a branch that
    /// somebody prepared with the order in it would win at once. A device that
    /// has to be let in can carry out nothing, and waits for nothing.
    pub(super) fn on_hold(&mut self) -> Result<bool, EngineError> {
        // A clock that was set back does not make it longer.
        let until = self.row().hold_until;
        if until <= self.now || until > self.now.saturating_add(HOLD_MS) {
            return Ok(false);
        }
        let tip = self.tip()?;
        let (open, _) = self.open_orders_at(&tip)?;
        let mut waits = !open.is_empty() && tip.row.me_in && self.row().goal.is_none();
        for child in self.children(&tip.id)? {
            let child = self.known(&child)?;
            waits = waits && self.open_orders_at(&child)?.0.len() >= open.len();
        }
        if !waits {
            self.row_mut().hold_until = 0;
        }
        Ok(waits)
    }

    /// Begins the hold for an order that is open at the tip since just now.
    pub(super) fn hold_for(&mut self, order: OrderId) -> Result<(), EngineError> {
        let tip = self.tip()?;
        if tip.row.me_in && self.open_orders_at(&tip)?.0.contains(&order) {
            let until = self.now.saturating_add(HOLD_MS);
            self.row_mut().hold_until = until;
        }
        Ok(())
    }

    /// Notes which orders the tip leaves open, and where chains are cut.
    pub(super) fn look_at_orders(&mut self) -> Result<(), EngineError> {
        if !self.row().contested {
            return Ok(());
        }
        let tip = self.tip()?;
        let (open, resign) = self.open_orders_at(&tip)?;
        let decision = self.decision()?;
        self.wait_for_marks(!resign.is_empty(), &decision)?;
        let cuts = decision.cuts.iter().map(|(device, cut)| (*device, cut.seq)).collect();
        if (&self.row().open, &self.row().resign) != (&open, &resign) {
            if !open.is_empty() {
                self.out.push(Outcome::Duties);
            }
            let row = self.row_mut();
            (row.open, row.resign) = (open, resign);
        }
        if self.row().cuts != cuts {
            self.row_mut().cuts = cuts;
        }
        Ok(())
    }

    /// Somebody else's order is signed anew for good, so it must be known that it
    /// counts. A commit may come before the marks by which the orders count that
    /// it carried out, and one of those may void it. Who never shows the marks
    /// keeps nobody waiting for long.
    fn wait_for_marks(&mut self, resign: bool, decision: &Decision) -> Result<(), EngineError> {
        let unproven = |id: &OrderId| decision.void.get(id) == Some(&Void::Unlinked);
        let mut waits = false;
        if resign && decision.void.values().any(|why| *why == Void::Unlinked) {
            for commit in &decision.path {
                waits |= rows::commit(self.tx, commit)?.is_some_and(|c| c.orders.iter().any(unproven));
            }
        }
        let until = match self.row().wait_for_marks {
            _ if !waits => None,
            None => Some(self.now.saturating_add(MARKS_MS)),
            // A clock that was set back does not make it longer.
            Some(until) if until <= self.now || until > self.now.saturating_add(MARKS_MS) => Some(0),
            wait => wait,
        };
        if self.row().wait_for_marks != until {
            self.row_mut().wait_for_marks = until;
        }
        Ok(())
    }

    /// The anchor trails the tip by exactly so many commits. Branches that
    /// left before it are forgotten.
    pub(super) fn trail_anchor(&mut self) -> Result<(), EngineError> {
        let (tip, anchor) = (self.tip()?, self.row().anchor);
        let depth = tip.row.epoch.saturating_sub(self.known(&anchor)?.row.epoch);
        let Some(behind) = depth.checked_sub(ANCHOR_DISTANCE as u64).filter(|n| *n > 0) else {
            return Ok(());
        };
        let mut new = anchor;
        if self.row().contested {
            let way = self.way()?;
            let from = way.iter().position(|s| *s == anchor).unwrap_or(0);
            let on_the_way = usize::try_from(behind).ok().and_then(|n| way.get(from + n));
            new = on_the_way.filter(|_| way.contains(&tip.id)).copied().unwrap_or(anchor);
        } else {
            for _ in 0..behind {
                new = self.children(&new)?.first().copied().unwrap_or(new);
            }
        }
        if new != anchor {
            self.row_mut().anchor = new;
            if let Some(history) = &mut self.session.history {
                history.prune(new);
                self.session.decision = None;
            }
        }
        Ok(())
    }

    /// Orders that hold at a state: on the way to it nothing lifts them.
    pub(super) fn held_at(&mut self, state: &StateId) -> Result<Vec<OrderId>, EngineError> {
        let decision = self.decision()?;
        let mut held = Vec::new();
        for (order, lifts) in &decision.held {
            let mut lifted = false;
            for at in lifts {
                lifted = lifted || self.is_ancestor(at, state)?;
            }
            if !lifted {
                held.push(*order);
            }
        }
        Ok(held)
    }

    /// Orders that hold at the tip and that `about` picks.
    fn orders_that_hold(
        &mut self,
        about: impl Fn(&kith_rule::Order) -> bool,
    ) -> Result<Vec<OrderId>, EngineError> {
        if !self.row().contested {
            return Ok(Vec::new());
        }
        let tip = self.row().tip;
        let held = self.held_at(&tip)?;
        let history = self.history()?;
        let held = held.iter().filter_map(|id| history.order(id));
        Ok(held.filter(|o| about(o)).map(|o| o.id).collect())
    }

    /// Orders that hold and take somebody out who is to come in.
    pub(super) fn orders_against(
        &mut self,
        account: &AccountId,
        device: Option<&DeviceId>,
    ) -> Result<Vec<OrderId>, EngineError> {
        let who = targets(account, device);
        self.orders_that_hold(|o| o.kind != OrderKind::Demote && who.contains(&o.target))
    }

    /// Orders on the way to the tip that took somebody out and that no order
    /// on this way lifts: one on another branch is not known to everybody who
    /// will read the commit that lets them in.
    pub(super) fn orders_to_lift(
        &mut self,
        account: &AccountId,
        device: Option<&DeviceId>,
    ) -> Result<Vec<OrderId>, EngineError> {
        if !self.row().contested {
            return Ok(Vec::new());
        }
        let who = targets(account, device);
        let (mut against, mut lifts) = (Vec::new(), Vec::new());
        for order in self.history()?.orders() {
            match order.kind {
                OrderKind::Add if !order.lifts.is_empty() => lifts.push((order.at, order.lifts.clone())),
                OrderKind::Remove | OrderKind::Leave if who.contains(&order.target) => against.push(order.id),
                _ => {}
            }
        }
        let tip = self.row().tip;
        for (at, lifted) in lifts {
            if !against.is_empty() && self.is_ancestor(&at, &tip)? {
                against.retain(|o| !lifted.contains(o));
            }
        }
        let held = self.orders_against(account, device)?;
        against.retain(|o| !held.contains(o));
        against.extend(held);
        Ok(against)
    }

    /// Orders that hold and make an account a plain member.
    pub(super) fn demotions_of(&mut self, account: &AccountId) -> Result<Vec<OrderId>, EngineError> {
        let who = Target::Account(*account);
        self.orders_that_hold(|o| o.kind == OrderKind::Demote && o.target == who)
    }

    /// Whether a state's author is to go by an order that the state leaves
    /// open: nobody stands there by their own will.
    pub(super) fn made_by_a_target(&mut self, state: &State) -> Result<bool, EngineError> {
        let Some(commit) = state.row.commit.filter(|_| self.row().contested) else { return Ok(false) };
        let Some(commit) = rows::commit(self.tx, &commit)? else { return Ok(false) };
        let (open, _) = self.open_orders_at(state)?;
        let history = self.history()?;
        Ok(open.iter().filter_map(|id| history.order(id)).any(|o| {
            o.kind != OrderKind::Demote
                && (o.target == Target::Account(commit.account) || o.target == Target::Device(commit.device))
        }))
    }

    /// A stored order with its bytes.
    pub(super) fn order(&self, id: &OrderId) -> Result<Option<(Order, Vec<u8>)>, EngineError> {
        let Some(place) = self.tx.get(Key::of(Table::Orders, &rows::pair(&self.gid, &id.0)))? else {
            return Ok(None);
        };
        let Some(bytes) = self.tx.get(Key::at(Table::Orders, &self.gid.0, &place))? else { return Ok(None) };
        let raw = Raw::from_bytes(&bytes)?;
        debug_assert_eq!(raw.kind().ok(), Some(kinds::ORDER));
        Ok(Some((raw.body()?, bytes)))
    }
}

/// What an order has to name to be about an account, or about one device of it.
fn targets(account: &AccountId, device: Option<&DeviceId>) -> Vec<Target> {
    core::iter::once(Target::Account(*account)).chain(device.map(|d| Target::Device(*d))).collect()
}
