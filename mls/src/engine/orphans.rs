//! Objects that wait for a state to become known.

use kith_rule::mutant::{self, Mutant};
use kith_store::{Key, Range, Read, Table};
use kith_wire::ids::StateId;
use kith_wire::limits;

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

impl Ctx<'_, '_> {
    fn orphans(&self) -> Result<Vec<(Vec<u8>, OrphanRow)>, EngineError> {
        let all = Range {
            table: Table::Orphans,
            name: &self.gid.0,
            from: &[],
            to: None,
            reverse: false,
            limit: ORPHANS_MAX as usize + 1,
        };
        self.tx.scan(all)?.into_iter().map(|(order, value)| Ok((order, rows::decode(&value)?))).collect()
    }

    fn drop_orphan(&mut self, order: &[u8], bytes: usize) {
        let gid = self.gid;
        self.tx.delete(Key::at(Table::Orphans, &gid.0, order));
        let row = self.row_mut();
        row.orphan_count = row.orphan_count.saturating_sub(1);
        row.orphan_bytes = row.orphan_bytes.saturating_sub(bytes as u64);
    }

    /// Keeps an object until `needs` is known.
    pub(super) fn orphan(&mut self, needs: StateId, object: &[u8]) -> Result<(), EngineError> {
        if object.len() > 2 * limits::ENTRY_BYTES_MAX {
            self.out.push(Outcome::Rejected("the object is larger than any may be"));
            return Ok(());
        }
        let waiting = self.orphans()?;
        if waiting.iter().any(|(_, o)| o.object == object) {
            self.out.push(Outcome::Buffered);
            self.out.push(Outcome::NeedCommits);
            return Ok(());
        }
        for (order, old) in waiting {
            let full = self.row().orphan_count >= ORPHANS_MAX
                || self.row().orphan_bytes + object.len() as u64 > ORPHAN_BYTES_MAX;
            let stale = old.since_ms.saturating_add(ORPHAN_MS) < self.now;
            if (!full && !stale) || mutant::on(Mutant::OrphansUnbounded) {
                break;
            }
            self.drop_orphan(&order, old.object.len());
        }
        let (gid, now) = (self.gid, self.now);
        let row = self.row_mut();
        let number = row.orphan_next;
        row.orphan_next += 1;
        row.orphan_count += 1;
        row.orphan_bytes += object.len() as u64;
        let value = OrphanRow { needs, object: object.to_vec(), since_ms: now };
        rows::put(self.tx, Key::at(Table::Orphans, &gid.0, &number.to_be_bytes()), &value);
        self.out.push(Outcome::Buffered);
        self.out.push(Outcome::NeedCommits);
        Ok(())
    }

    /// Takes in what waited for states that are known now, until nothing more
    /// comes of it.
    pub(super) fn release_orphans(&mut self) -> Result<(), EngineError> {
        // Each round takes at least one object away, so the bound is never met.
        for _ in 0..=ORPHANS_MAX {
            if self.row().orphan_count == 0 {
                return Ok(());
            }
            let mut released = false;
            for (order, waiting) in self.orphans()? {
                if self.state(&waiting.needs)?.is_none() {
                    continue;
                }
                released = true;
                self.drop_orphan(&order, waiting.object.len());
                let before = self.out.len();
                self.ingest_one(&waiting.object)?;
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
            if !released {
                return Ok(());
            }
        }
        Err(broken("objects that wait do not get fewer"))
    }
}
