//! What has ended goes, in bounded steps.

use kith_store::StoreError;
use kith_wire::ids::TopicId;

use super::topics::{SEEN_STEP_MS, idle_end};
use super::{Ctx, Now, Stop, chunks, inbox, log};
use crate::rows::{Expiry, Topic, Usage, entry};

/// Rows handled in one step.
const STEP_ROWS: usize = 256;
/// Time between sweeps when nothing is left, ms.
const PERIOD_MS: u64 = 60_000;

/// When to sweep next, and from where: the front of the queue is full of
/// deleted rows, which are slow to step over.
pub(super) struct Sweep {
    next_mono_ms: u64,
    from: Vec<u8>,
    last_wall_ms: u64,
}

/// How far a step came.
pub(super) struct Outcome {
    more: bool,
    from: Vec<u8>,
}

impl Sweep {
    pub(super) fn new(now: Now) -> Self {
        Self { next_mono_ms: now.mono_ms, from: Vec::new(), last_wall_ms: 0 }
    }
    pub(super) fn next_ms(&self) -> u64 {
        self.next_mono_ms
    }
    /// The step's changes were not stored: it is to be done again.
    pub(super) fn failed(&mut self, now: Now) {
        self.from.clear();
        self.next_mono_ms = now.mono_ms.saturating_add(PERIOD_MS);
    }
    pub(super) fn stepped(&mut self, now: Now, outcome: Outcome) {
        self.from = outcome.from;
        self.last_wall_ms = now.wall_ms;
        self.next_mono_ms = if outcome.more { 0 } else { now.mono_ms.saturating_add(PERIOD_MS) };
    }

    /// One step. `watched` topics are in use.
    pub(super) fn step(
        &self,
        ctx: &mut Ctx<'_>,
        watched: &dyn Fn(&TopicId) -> bool,
    ) -> Result<Outcome, StoreError> {
        // A clock that was set back may put new ends before old ones.
        let from = if ctx.now.wall_ms < self.last_wall_ms { &[] } else { self.from.as_slice() };
        let due = Expiry::due(&ctx.tx, from, ctx.now.wall_ms, STEP_ROWS)?;
        let more = due.len() == STEP_ROWS;
        let mut end = from.to_vec();
        for (place, what) in due {
            Expiry::done(&mut ctx.tx, &place);
            match expire(ctx, &what, watched) {
                // Nothing below refuses; if it did, the row's thing is gone.
                Ok(()) | Err(Stop::Refused(_)) => {}
                Err(Stop::Store(e)) => return Err(e),
            }
            end = place;
        }
        Ok(Outcome { more, from: end })
    }
}

fn expire(ctx: &mut Ctx<'_>, what: &Expiry, watched: &dyn Fn(&TopicId) -> bool) -> Result<(), Stop> {
    match what {
        Expiry::Entry { topic, index } => {
            let Some(meta) = entry::meta(&ctx.tx, topic, *index)? else { return Ok(()) };
            let Some(mut row) = Topic::load(&ctx.tx, topic)? else { return Ok(()) };
            log::remove(ctx, topic, &mut row, *index, &meta)
        }
        Expiry::Chunk { id } => chunks::expire(ctx, id),
        Expiry::Token { topic, key } => inbox::drop_token(ctx, topic, key),
        Expiry::Topic { topic } => expire_topic(ctx, topic, watched(topic)),
    }
}

/// A topic that holds nothing and that nobody opened for the time that
/// entries are kept ends, its key packages with it.
fn expire_topic(ctx: &mut Ctx<'_>, id: &TopicId, watched: bool) -> Result<(), Stop> {
    let Some(mut topic) = Topic::load(&ctx.tx, id)? else { return Ok(()) };
    let retention_ms = ctx.relay.limits.retention_s.saturating_mul(1000);
    let idle_since = topic.seen_ms.saturating_add(retention_ms).saturating_add(SEEN_STEP_MS);
    if watched || topic.objects > 0 || idle_since > ctx.now.wall_ms {
        let end_ms = idle_end(ctx);
        Expiry::Topic { topic: *id }.put(&mut ctx.tx, end_ms);
        return Ok(());
    }
    inbox::drop_packages(ctx, id, &mut topic)?;
    Topic::delete(&mut ctx.tx, id);
    let mut usage = Usage::of(&ctx.tx, &topic.starter)?;
    usage.topics = usage.topics.saturating_sub(1);
    usage.save(&mut ctx.tx, &topic.starter);
    let mut total = Usage::total(&ctx.tx)?;
    total.topics = total.topics.saturating_sub(1);
    total.save_total(&mut ctx.tx);
    Ok(())
}
