//! Objects that wait for a state to become known.

use kith_rule::mutant::{self, Mutant};
use kith_store::{Key, Table};
use kith_wire::ids::StateId;
use kith_wire::limits;
use sha2::{Digest, Sha256};

use super::ctx::{Ctx, broken};
use crate::EngineError;
use crate::api::Outcome;
use crate::rows::{self, OrphanRow};

/// Waiting objects of one group. When full, the oldest go: sync brings them
/// again.
pub const ORPHANS_MAX: u32 = 256;
/// Bytes of the waiting objects of one group.
pub const ORPHAN_BYTES_MAX: u64 = 4 << 20;
/// How long an object waits.
const ORPHAN_MS: u64 = 600_000;

/// What is kept loaded of an object that waits.
pub(super) struct Waiting {
    number: u64,
    needs: StateId,
    digest: [u8; 32],
    bytes: usize,
    since_ms: u64,
}

fn digest(object: &[u8]) -> [u8; 32] {
    Sha256::digest(object).into()
}

impl Ctx<'_, '_> {
    /// What waits, oldest first.
    fn waiting(&mut self) -> Result<&mut Vec<Waiting>, EngineError> {
        if self.session.waiting.is_none() {
            let rows = rows::numbered(self.tx, Table::Orphans, &self.gid.0, 0, ORPHANS_MAX as usize + 1)?;
            let read = |(number, value): (u64, Vec<u8>)| {
                let OrphanRow { needs, object, since_ms } = rows::decode(&value)?;
                Ok(Waiting { number, needs, digest: digest(&object), bytes: object.len(), since_ms })
            };
            self.session.waiting = Some(rows.into_iter().map(read).collect::<Result<_, EngineError>>()?);
        }
        self.session.waiting.as_mut().ok_or_else(|| broken("what waits is missing"))
    }

    /// Takes an object away and answers it; `None` if it has gone already.
    fn take_orphan(&mut self, number: u64) -> Result<Option<Vec<u8>>, EngineError> {
        let waiting = self.waiting()?;
        let Some(at) = waiting.iter().position(|w| w.number == number) else { return Ok(None) };
        let bytes = waiting.remove(at).bytes;
        // Before anything can fail: what is loaded is not what is stored.
        self.changed();
        let gid = self.gid;
        let order = number.to_be_bytes();
        let key = Key::at(Table::Orphans, &gid.0, &order);
        let row: Option<OrphanRow> = rows::get(self.tx, key)?;
        self.tx.delete(key);
        let group = self.row_mut();
        group.orphan_count = group.orphan_count.saturating_sub(1);
        group.orphan_bytes = group.orphan_bytes.saturating_sub(bytes as u64);
        Ok(row.map(|row| row.object))
    }

    /// Keeps an object until `needs` is known.
    pub(super) fn orphan(&mut self, needs: StateId, object: &[u8]) -> Result<(), EngineError> {
        if object.len() > 2 * limits::ENTRY_BYTES_MAX {
            self.out.push(Outcome::Rejected("the object is larger than any may be"));
            return Ok(());
        }
        let (gid, now) = (self.gid, self.now);
        let digest = digest(object);
        if self.waiting()?.iter().any(|w| w.digest == digest) {
            self.out.push(Outcome::Buffered);
            self.out.push(Outcome::NeedCommits);
            return Ok(());
        }
        while let Some(oldest) = self.waiting()?.first() {
            let (number, since_ms) = (oldest.number, oldest.since_ms);
            let full = self.row().orphan_count >= ORPHANS_MAX
                || self.row().orphan_bytes + object.len() as u64 > ORPHAN_BYTES_MAX;
            let stale = since_ms.saturating_add(ORPHAN_MS) < now;
            if (!full && !stale) || mutant::on(Mutant::OrphansUnbounded) {
                break;
            }
            self.take_orphan(number)?;
        }
        let row = self.row_mut();
        let number = row.orphan_next;
        row.orphan_next += 1;
        row.orphan_count += 1;
        row.orphan_bytes += object.len() as u64;
        let value = OrphanRow { needs, object: object.to_vec(), since_ms: now };
        rows::put(self.tx, Key::at(Table::Orphans, &gid.0, &number.to_be_bytes()), &value);
        let bytes = object.len();
        self.waiting()?.push(Waiting { number, needs, digest, bytes, since_ms: now });
        self.out.push(Outcome::Buffered);
        self.out.push(Outcome::NeedCommits);
        Ok(())
    }

    /// Takes in what waited for states that are known now, until nothing more
    /// comes of it.
    pub(super) fn release_orphans(&mut self) -> Result<(), EngineError> {
        // Each round takes at least one object away, so the bound is never met.
        for _ in 0..=ORPHANS_MAX {
            if self.row().orphan_count == 0 || self.session.none_due {
                return Ok(());
            }
            let mut released = false;
            let all: Vec<(u64, StateId)> = self.waiting()?.iter().map(|w| (w.number, w.needs)).collect();
            for (number, needs) in all {
                if self.state(&needs)?.is_none() {
                    continue;
                }
                released = true;
                let Some(object) = self.take_orphan(number)? else { continue };
                let before = self.out.len();
                self.ingest_one(&object)?;
                // What became of it says nothing about the object that came
                // now: only news are passed on.
                let came = self.out.split_off(before);
                self.out.extend(came.into_iter().filter(|o| {
                    !matches!(
                        o,
                        Outcome::Rejected(_) | Outcome::Known | Outcome::Unreadable | Outcome::Buffered
                    )
                }));
            }
            self.session.none_due = !released;
        }
        Err(broken("objects that wait do not get fewer"))
    }
}
