//! Live entries: watched topics, credit, and the pump that sends as much as
//! credit allows. Nothing is queued per link: what a link has not been sent
//! yet is in the log.

use kith_store::{Store, StoreError};
use kith_wire::ids::TopicId;
use kith_wire::net::LinkId;
use kith_wire::relay::{
    Answer, CREDIT_MAX, Code, Push, Refusal, ServerFrame, WATCH_TOPICS_MAX, Watch, credit_cost,
};
use kith_wire::topic::Right;

use super::link::Link;
use super::{ChunkStore, Ctx, Effect, Output, Service, Stop};
use crate::rows::entry;

/// Bytes of live entries that one link gets in one turn.
const TURN_BYTES: u64 = 1 << 20;
/// Bytes of live entries that all links together get in one turn.
const PUMP_BYTES: u64 = 16 << 20;
/// Records looked at in one step of the pump.
const STEP_ROWS: usize = 64;

pub(super) fn watch(
    ctx: &mut Ctx<'_>,
    link: &mut Link,
    topics: &[Watch],
    credit_bytes: u64,
) -> Result<Answer, Stop> {
    if topics.len() > WATCH_TOPICS_MAX {
        return Err(Refusal::of(Code::TooMany).limit(WATCH_TOPICS_MAX as u64).into());
    }
    topics.iter().try_for_each(|w| link.need(&w.topic, Right::Read))?;
    for w in topics {
        link.watch.insert(w.topic, w.after);
        link.behind.insert(w.topic);
        ctx.effects.push(Effect::Watching(w.topic));
    }
    Ok(credit(ctx, link, credit_bytes))
}

pub(super) fn unwatch(ctx: &mut Ctx<'_>, link: &mut Link, topics: &[TopicId]) -> Result<Answer, Stop> {
    if topics.len() > WATCH_TOPICS_MAX {
        return Err(Refusal::of(Code::TooMany).limit(WATCH_TOPICS_MAX as u64).into());
    }
    for topic in topics {
        if link.watch.remove(topic).is_some() {
            link.behind.remove(topic);
            ctx.effects.push(Effect::Unwatching(*topic));
        }
    }
    Ok(Answer::Done {})
}

pub(super) fn credit(ctx: &mut Ctx<'_>, link: &mut Link, bytes: u64) -> Answer {
    link.credit = link.credit.saturating_add(bytes).min(CREDIT_MAX);
    ctx.effects.push(Effect::Credit);
    Answer::Done {}
}

impl<S: Store, C: ChunkStore> Service<S, C> {
    /// Sends durable entries to links that wait for them. A link stays hungry
    /// while it has credit and there is more.
    pub(super) fn pump(&mut self) -> Result<(), StoreError> {
        let hungry = core::mem::take(&mut self.hungry);
        let order = hungry.range(self.pump_from..).chain(hungry.range(..self.pump_from));
        let mut all = PUMP_BYTES;
        for link_id in order.copied() {
            if all == 0 {
                self.hungry.insert(link_id);
                continue;
            }
            self.pump_from = LinkId(link_id.0.wrapping_add(1));
            let Some(link) = self.links.get_mut(&link_id) else { continue };
            let mut turn = TURN_BYTES;
            while let Some(topic) = link.behind.first().copied() {
                let after = link.watch.get(&topic).copied().unwrap_or(u64::MAX);
                let rows = entry::behind(&self.store, &topic, after, STEP_ROWS)?;
                let mut stalled = None;
                for (index, meta) in &rows {
                    let cost = credit_cost(usize::try_from(meta.len).unwrap_or(usize::MAX));
                    if cost > link.credit {
                        stalled = Some(false);
                        break;
                    }
                    if cost > turn {
                        stalled = Some(true);
                        break;
                    }
                    link.watch.insert(topic, *index);
                    let Some(bytes) = entry::bytes(&self.store, &topic, *index)? else { continue };
                    link.credit -= cost;
                    turn -= cost;
                    let push = Push::Entry { topic, index: *index, bytes };
                    let frame = ServerFrame::Push { push }.to_bytes();
                    self.ready.push_back(Output::Send { link: link_id, frame });
                }
                match stalled {
                    // Without credit the link waits for the client.
                    Some(false) => break,
                    Some(true) => {
                        self.hungry.insert(link_id);
                        break;
                    }
                    None if rows.len() < STEP_ROWS => {
                        link.behind.remove(&topic);
                    }
                    None => {}
                }
            }
            all = all.saturating_sub(TURN_BYTES - turn);
        }
        Ok(())
    }
}
