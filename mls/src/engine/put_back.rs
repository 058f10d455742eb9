//! A device that was put back to an earlier copy of its disk (identity.md): it
//! meets what it has said itself and does not remember. Its counters and
//! ratchets are behind, so that whatever it says next would be said twice under
//! one number or one key. It says nothing until members have let it in again,
//! on a new leaf, and its numbers go on behind those that were used.

use kith_rule::mutant::{self, Mutant};
use kith_store::{Key, Read as _, Table};
use kith_wire::group::{Mark, Order, mark_id};
use kith_wire::ids::{OrderId, StateId};
use kith_wire::signed::Raw;

use super::ctx::Ctx;
use super::marks::MARKS_MAX;
use crate::EngineError;
use crate::api::Outcome;
use crate::{rows, sender_data};

/// So far ahead of what it knows to have said the device goes on: it may have
/// said more. The first mark on the new leaf tells the others to wait for none
/// of it.
const GAP: u64 = 1_024;

impl Ctx<'_, '_> {
    /// Proof that another copy of this store has spoken: its events went up to
    /// `seq` at least.
    pub(super) fn put_back(&mut self, seq: u64) -> Result<(), EngineError> {
        if mutant::on(Mutant::OlderCopySpeaks) {
            self.out.push(Outcome::Known);
            return Ok(());
        }
        let row = self.row_mut();
        let first = !row.put_back;
        if first || row.seq < seq {
            row.seq = row.seq.max(seq).saturating_add(GAP);
        }
        row.put_back = true;
        self.out.push(if first { Outcome::Duties } else { Outcome::Known });
        Ok(())
    }

    /// A ciphertext of this device's leaf came back: as it was sent from here,
    /// or with a key that this store has yet to use.
    pub(super) fn meet_own(&mut self, state: &StateId, message: &[u8]) -> Result<(), EngineError> {
        let spent = self.row().held.iter().find(|(held, _)| held == state).map_or(0, |(_, spent)| *spent);
        let crypto = self.crypto;
        let used = match self.load(*state)? {
            Some(loaded) => sender_data::secret(&loaded.image)
                .and_then(|secret| sender_data::of(crypto, &secret, message)),
            None => None,
        };
        if used.is_some_and(|used| used.generation >= spent) {
            return self.put_back(self.row().seq);
        }
        self.out.push(Outcome::Known);
        Ok(())
    }

    /// A mark of this device came back. One that this store does not hold
    /// counts as it counts elsewhere, and the chain goes on behind it.
    pub(super) fn meet_own_mark(&mut self, raw: &Raw, mark: &Mark, bytes: &[u8]) -> Result<(), EngineError> {
        let name = rows::pair(&self.gid, &mark.device.0);
        let newer = mark.n > self.row().mark_n;
        let stored = self.tx.get(Key::at(Table::Marks, &name, &mark.n.to_be_bytes()))?;
        let same = |s: &Vec<u8>| Raw::from_bytes(s).is_ok_and(|s| s.body == raw.body);
        let forgotten = mark.n.saturating_add(MARKS_MAX) <= self.row().mark_n;
        let known = stored.as_ref().is_some_and(same);
        if known || forgotten || ((newer || stored.is_some()) && mutant::on(Mutant::OlderCopySpeaks)) {
            self.out.push(Outcome::Known);
            return Ok(());
        }
        if raw.verify::<Mark>(&mark.device.0, &[]).is_err() {
            return self.reject("the mark's signature is wrong");
        }
        if stored.is_some() {
            return self.meet_own_rival(mark, bytes);
        }
        if newer {
            let row = self.row_mut();
            row.mark_n = mark.n;
            row.mark_prev = Some(mark_id(raw).0);
            self.put_back(mark.changed.get(&mark.device).map_or(0, |(seq, _)| *seq))?;
        }
        if self.state(&mark.at)?.is_none() {
            return self.orphan(mark.at, bytes);
        }
        self.put_mark(&name, mark.n, bytes.to_vec());
        self.note_mark(raw, mark, true);
        self.choose()
    }

    /// A copy of this store has signed another mark under a number of this one:
    /// for the others this device's chain ends there, and so it must here, or
    /// its own votes would keep it where nobody else stands.
    fn meet_own_rival(&mut self, mark: &Mark, bytes: &[u8]) -> Result<(), EngineError> {
        if self.state(&mark.at)?.is_none() {
            return self.orphan(mark.at, bytes);
        }
        if self.device(&mark.device)?.mute.is_none() {
            self.put_back(mark.changed.get(&mark.device).map_or(0, |(seq, _)| *seq))?;
        }
        self.two_under_one_number(mark, bytes)
    }

    /// The same of an order; it is stored like others'.
    pub(super) fn meet_own_order(&mut self, id: &OrderId, order: &Order) -> Result<(), EngineError> {
        if order.n <= self.row().mark_n || mutant::on(Mutant::OlderCopySpeaks) {
            return Ok(());
        }
        let row = self.row_mut();
        row.mark_n = order.n;
        row.mark_prev = Some(id.0);
        self.put_back(0)
    }
}
