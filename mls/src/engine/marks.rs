//! Marks and orders: the one numbered chain of each device, in which it says
//! where it stands, what it has, and what it orders.

use std::collections::BTreeMap;

use kith_rule::Void;
use kith_rule::mutant::{self, Mutant};
use kith_store::{Key, Read, Table};
use kith_wire::group::{Mark, Order, OrderKind, Target, kinds, mark_id, order_id};
use kith_wire::ids::{AccountId, OrderId};
use kith_wire::limits;
use kith_wire::signed::{self, Raw};

use super::ctx::Ctx;
use crate::EngineError;
use crate::api::Outcome;
use crate::rows::{self, State};
use crate::valid;

/// Marks kept of one device; the oldest go.
pub(super) const MARKS_MAX: u64 = 4096;
/// Orders kept of one group; more are refused.
const ORDERS_MAX: u64 = 4096;
/// Orders that one device may give in one state.
const ORDERS_PER_STATE_MAX: usize = 64;

impl Ctx<'_, '_> {
    /// Makes the next own mark at the tip.
    pub(super) fn make_mark(&mut self) -> Result<Vec<u8>, EngineError> {
        let tip = self.tip_as_member()?;
        let me = self.me();
        let gid = self.gid;
        let row = self.row_mut();
        let mut changed = row.unmarked.take();
        while changed.len() >= limits::DEVICES_PER_GROUP_MAX {
            if let Some((device, progress)) = changed.pop_last() {
                row.unmarked.insert(device, progress);
            }
        }
        let moved = row.mark_at != Some(tip.id);
        row.mark_n += 1;
        row.mark_due = !row.unmarked.is_empty();
        row.mark_at = Some(tip.id);
        let n = row.mark_n;
        changed.insert(me, (row.seq, n));
        let mark = Mark {
            kind: kinds::MARK,
            version: 1,
            gid,
            device: me,
            n,
            prev: row.mark_prev,
            at: tip.id,
            changed,
            bad: core::mem::take(&mut row.bad),
        };
        let raw = signed::sign(&mark, &self.keys.signing, &[]);
        self.row_mut().mark_prev = Some(mark_id(&raw).0);
        let bytes = raw.to_bytes();
        self.put_mark(&rows::pair(&gid, &me.0), n, bytes.clone());
        self.note_mark(&raw, &mark, moved || self.tells(&mark));
        Ok(bytes)
    }

    pub(super) fn put_mark(&mut self, name: &[u8], n: u64, bytes: Vec<u8>) {
        self.tx.put(Key::at(Table::Marks, name, &n.to_be_bytes()), bytes);
        if let Some(old) = n.checked_sub(MARKS_MAX) {
            self.tx.delete(Key::at(Table::Marks, name, &old.to_be_bytes()));
        }
    }

    /// A mark, if one is due. None is made in a state that somebody made who
    /// is to go.
    pub(super) fn due_mark(&mut self) -> Result<Option<Vec<u8>>, EngineError> {
        let tip = self.tip()?;
        let due = self.row().mark_at != Some(tip.id) || self.row().mark_due;
        if !tip.row.me_in || self.row().put_back || !due || self.made_by_a_target(&tip)? {
            return Ok(None);
        }
        Ok(Some(self.make_mark()?))
    }

    /// An order refers to the state of the mark before it.
    pub(super) fn mark_for_order(&mut self) -> Result<Option<Vec<u8>>, EngineError> {
        let tip = self.row().tip;
        if self.row().mark_at == Some(tip) { Ok(None) } else { self.make_mark().map(Some) }
    }

    /// Makes and stores an own order.
    pub(super) fn make_order(
        &mut self,
        at: &State,
        kind: OrderKind,
        target: Target,
        lifts: Vec<OrderId>,
    ) -> Result<Vec<u8>, EngineError> {
        let me = self.me();
        let mut cut = BTreeMap::new();
        for m in &at.members {
            let meant = match target {
                Target::Account(a) => m.account == a,
                Target::Device(d) => m.device == d,
            };
            if !meant {
                continue;
            }
            if m.device == me {
                cut.insert(me, (self.row().seq, self.row().mark_n + 1));
            } else {
                let known = self.device(&m.device)?;
                cut.insert(m.device, (known.events.contiguous().unwrap_or(0), known.mark_n));
            }
        }
        let gid = self.gid;
        let hlc = self.tick();
        let issuer = self.keys.account;
        let row = self.row_mut();
        row.mark_n += 1;
        let order = Order {
            kind: kinds::ORDER,
            version: 1,
            gid,
            issuer,
            device: me,
            n: row.mark_n,
            prev: row.mark_prev,
            order: kind,
            target,
            at: at.id,
            lifts,
            cut,
            hlc,
            statement: None,
        };
        let raw = signed::sign(&order, &self.keys.signing, &[]);
        self.row_mut().mark_prev = Some(order_id(&raw).0);
        let bytes = raw.to_bytes();
        if !self.store_order(&raw, &order, &bytes)? {
            return Err(EngineError::Refused(
                "this conversation has seen too many removals: start a new one",
            ));
        }
        Ok(bytes)
    }

    /// The account's own order to leave.
    pub(super) fn leave(&mut self) -> Result<Vec<Vec<u8>>, EngineError> {
        let tip = self.tip_as_member()?;
        let target = Target::Account(self.keys.account);
        for id in self.row().open.clone() {
            if let Some((order, signed)) = self.order(&id)?
                && (order.order, order.target) == (OrderKind::Leave, target)
            {
                return Ok(vec![signed]);
            }
        }
        let mut out: Vec<Vec<u8>> = self.mark_for_order()?.into_iter().collect();
        out.push(self.make_order(&tip, OrderKind::Leave, target, Vec::new())?);
        self.look_at_orders()?;
        Ok(out)
    }

    /// Orders known here, oldest first.
    pub(super) fn stored_orders(&self) -> Result<Vec<Vec<u8>>, EngineError> {
        rows::orders(self.tx, &self.gid)
    }

    /// Stores an order; false when there is no room.
    fn store_order(&mut self, raw: &Raw, order: &Order, bytes: &[u8]) -> Result<bool, EngineError> {
        let gid = self.gid;
        let next = rows::numbered_down(self.tx, Table::Orders, &gid.0, 1)?;
        let next = next.first().map_or(0, |(n, _)| n + 1);
        if next >= ORDERS_MAX {
            return Ok(false);
        }
        let place = next.to_be_bytes();
        self.tx.put(Key::at(Table::Orders, &gid.0, &place), bytes.to_vec());
        let name = rows::pair(&gid, &order_id(raw).0);
        self.tx.put(Key::of(Table::Orders, &name), place.to_vec());
        self.note_order(raw, order);
        self.changed();
        Ok(true)
    }

    pub(super) fn ingest_order(&mut self, raw: &Raw, bytes: &[u8]) -> Result<(), EngineError> {
        let Ok(order) = raw.body::<Order>() else {
            return self.reject("the order is malformed");
        };
        if order.gid != self.gid {
            return self.reject("the order is for another group");
        }
        let id = order_id(raw);
        if self.tx.get(Key::of(Table::Orders, &rows::pair(&self.gid, &id.0)))?.is_some() {
            self.out.push(Outcome::Known);
            return Ok(());
        }
        let Some(at) = self.state(&order.at)? else { return self.orphan(order.at, bytes) };
        if let Err(why) = valid::order(&self.gid, &at, bytes) {
            return self.reject(why);
        }
        let target = match order.target {
            Target::Account(a) => Some(a),
            Target::Device(d) => at.device(&d).map(|m| m.account),
        };
        let Some(target) = target else { return self.reject("the order is about nobody in the group") };
        let free = target == order.issuer;
        let allowed = match order.order {
            OrderKind::Leave => free,
            OrderKind::Remove | OrderKind::Demote => free || at.may_remove(&order.issuer, &target),
            OrderKind::Add => at.rule.may_add(&self.gid, &order.issuer),
        };
        if !allowed {
            return self.reject("the order's issuer may not give it");
        }
        if self.orders_of(&order)? >= ORDERS_PER_STATE_MAX {
            return self.reject("the device gave too many orders in one state");
        }
        if !self.store_order(raw, &order, bytes)? {
            return self.reject("there are too many orders");
        }
        if order.device == self.me() {
            self.meet_own_order(&id, &order)?;
        } else {
            let mut row = self.device(&order.device)?;
            row.mark_n = row.mark_n.max(order.n);
            row.note_number(order.n);
            self.put_device(order.device, row);
        }
        self.out.push(Outcome::Order { id, kind: order.order, issuer: order.issuer, target });
        self.hold_for(id)?;
        self.choose()
    }

    /// Orders known of the same device at the same state.
    fn orders_of(&mut self, order: &Order) -> Result<usize, EngineError> {
        let same = |o: &kith_rule::Order| o.device == order.device && o.at == order.at;
        if let Some(history) = &self.session.history {
            return Ok(history.orders().filter(|o| same(o)).count());
        }
        let mut count = 0;
        for bytes in rows::orders(self.tx, &self.gid)? {
            let other: Order = Raw::from_bytes(&bytes)?.body()?;
            count += usize::from(other.device == order.device && other.at == order.at);
        }
        Ok(count)
    }

    pub(super) fn ingest_mark(&mut self, raw: &Raw, bytes: &[u8]) -> Result<(), EngineError> {
        let Ok(mark) = raw.body::<Mark>() else { return self.reject("the mark is malformed") };
        if mark.gid != self.gid {
            return self.reject("the mark is for another group");
        }
        if mark.device == self.me() {
            return self.meet_own_mark(raw, &mark, bytes);
        }
        let name = rows::pair(&self.gid, &mark.device.0);
        if let Some(stored) = self.tx.get(Key::at(Table::Marks, &name, &mark.n.to_be_bytes()))? {
            let same = Raw::from_bytes(&stored).is_ok_and(|s| s.body == raw.body);
            if same {
                self.out.push(Outcome::Known);
                return Ok(());
            }
        }
        let Some(at) = self.state(&mark.at)? else { return self.orphan(mark.at, bytes) };
        let Some(member) = at.device(&mark.device).cloned() else {
            return self.reject("the mark comes from outside the group");
        };
        if raw.verify::<Mark>(&mark.device.0, &[]).is_err() {
            return self.reject("the mark's signature is wrong");
        }
        if self.tx.get(Key::at(Table::Marks, &name, &mark.n.to_be_bytes()))?.is_some() {
            return self.two_under_one_number(&mark, bytes);
        }
        self.put_mark(&name, mark.n, bytes.to_vec());
        self.accept_mark(raw, &mark, member.account)
    }

    /// A device signed another mark under a number: from there on its chain
    /// counts for nothing. The proof is kept for others.
    pub(super) fn two_under_one_number(&mut self, mark: &Mark, bytes: &[u8]) -> Result<(), EngineError> {
        let mut row = self.device(&mark.device)?;
        if row.mute.is_some_and(|n| n <= mark.n) {
            self.out.push(Outcome::Known);
            return Ok(());
        }
        row.mute = Some(mark.n);
        self.put_device(mark.device, row);
        let name = rows::rival(&self.gid, &mark.device);
        self.tx.put(Key::of(Table::Marks, &name), bytes.to_vec());
        self.note_mute(mark.device, mark.n);
        self.out.push(Outcome::Equivocation { device: mark.device, number: mark.n });
        self.choose()
    }

    fn accept_mark(&mut self, raw: &Raw, mark: &Mark, account: AccountId) -> Result<(), EngineError> {
        let me = self.me();
        let dropped = mutant::on(Mutant::LateMarksDropped) && self.device(&mark.device)?.mark_n > mark.n;
        let tells = self.tells(mark);
        if !dropped {
            self.note_mark(raw, mark, tells);
        }
        if !mark.bad.is_empty() {
            self.contest();
        }
        let mut row = self.device(&mark.device)?;
        let first = row.mark_at.is_none();
        row.note_number(mark.n);
        let before = row.events.contiguous();
        // The own entry of a device's first mark in a state that we are in
        // says from where on its events are for us.
        let (sent, _) = mark.changed.get(&mark.device).copied().unwrap_or((0, 0));
        if self.known(&mark.at)?.row.me_in {
            row.events.floor(sent);
        }
        let late = mark.n < row.mark_n;
        let moved = mark.n > row.mark_n && row.mark_at != Some(mark.at);
        if mark.n > row.mark_n || row.mark_at.is_none() {
            row.mark_n = row.mark_n.max(mark.n);
            row.mark_at = Some(mark.at);
            row.mark_seq = sent;
        }
        let acked = mark.changed.get(&me).map_or(0, |(seq, _)| *seq).min(self.row().seq);
        let news = acked > row.acked;
        row.acked = row.acked.max(acked);
        let now_has = row.events.contiguous();
        let n = row.mark_n;
        self.put_device(mark.device, row);
        self.progress(mark.device, before, now_has, n);
        if first {
            self.out.push(Outcome::Seen { account, device: mark.device });
        }
        if news {
            self.out.push(Outcome::Acked { device: mark.device, up_to_seq: acked });
        }
        let row = self.row();
        let joining = row.unsettled || row.package.is_some();
        if joining && (row.inviter != Some(mark.device) || mark.at != row.anchor) {
            // Somebody beside the inviter stands where we joined, or the group
            // has gone on from there: the join holds.
            let package = self.row_mut().package.take();
            self.row_mut().unsettled = false;
            if let Some(package) = package {
                super::packages::forget(self.tx, &package);
            }
        }
        if self.row().contested && (moved || late || tells) {
            self.session.decision = None;
            return self.choose();
        }
        if moved { self.drop_images() } else { Ok(()) }
    }

    /// Whether a mark may decide something though its device stands where it
    /// stood: it calls a commit bad, acknowledges what an order cuts, or is what
    /// an order of its device was waiting for.
    fn tells(&self, mark: &Mark) -> bool {
        let Some(decision) = &self.session.decision else { return true };
        let waits = |id: &OrderId| {
            let order = self.session.history.as_ref().and_then(|h| h.order(id));
            order.is_none_or(|o| o.device == mark.device)
        };
        !mark.bad.is_empty()
            || mark.changed.keys().any(|d| decision.watched.contains(d))
            || decision.void.iter().any(|(id, why)| *why == Void::Unlinked && waits(id))
    }

    /// Notes a device's progress for the next own event and mark. Only new
    /// events are worth a mark of their own, else marks would answer marks.
    pub(super) fn progress(
        &mut self,
        device: kith_wire::ids::DeviceId,
        before: Option<u64>,
        now: Option<u64>,
        mark_n: u64,
    ) {
        let Some(seq) = now else { return };
        let grew = before.is_none_or(|b| b < seq) && seq > 0;
        let row = self.row_mut();
        row.unmarked.insert(device, (seq, mark_n));
        if grew {
            row.mark_due = true;
            row.deps.insert(device, seq);
        }
    }

    pub(super) fn reject(&mut self, why: &'static str) -> Result<(), EngineError> {
        self.out.push(Outcome::Rejected(why));
        Ok(())
    }
}
