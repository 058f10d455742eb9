//! Whether this device may speak in a group. A data folder may be an older copy
//! of one that has spoken since (a machine's snapshot, a disk image), and
//! whatever is said from it would be said twice under one number and one key.
//! So after each start a group is first listened to, until all other members
//! have compared notes; those that are within reach, if not all are; or the
//! group's topic at a relay was read to its end, if nobody is. Who knows more of
//! this device than it knows itself is given time to show it. Until then what is
//! to be said is held here, durably.
//!
//! Groups that were made or joined since the start have no older copy.

use std::collections::{BTreeMap, BTreeSet};

use kith_mls::mutant::{self, Mutant};
use kith_mls::{EngineError, Intent};
use kith_store::{Key, Read, StoreError, Table};
use kith_wire::ids::{DeviceId, EventId, GroupId, RelayId, TopicId};
use minicbor::{Decode, Encode};

use crate::ctx::Ctx;
use crate::groups::{self, Reject};
use crate::live::{Live, Timer};
use crate::rows::{self, GroupInfo};
use crate::{early, saying};

/// A relay that names entries which it does not give is not waited for longer,
/// nor is somebody who claims to know more.
const LISTEN_MS: u64 = 20_000;
/// Once one member has compared notes, or a relay has given all that it has,
/// others get so long to come: they may know what these do not.
const OTHERS_MS: u64 = 3_000;
/// Claims to know more do not hold it up for longer than this.
const CLAIMS_MS: u64 = 300_000;
/// Hellos of a member by which it has compared notes: the first tells what it
/// knew, the second, which it was asked for, comes behind its answer to ours.
const HELLOS: u8 = 2;
/// Things held for one group, beside texts; of older ones the newest stay.
const HELD_MAX: usize = 256;

/// What was listened to since the start.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    groups: BTreeSet<GroupId>,
    /// Groups that are listened to.
    listening: BTreeMap<GroupId, Listening>,
    /// Topics of other groups at relays, and the number of the last entry that
    /// was there when they were looked at.
    ends: BTreeMap<(RelayId, TopicId), u64>,
    /// Texts that were written since the start and wait to be said: no other
    /// copy of the store can have said them.
    written: BTreeSet<EventId>,
}

/// What was heard so far of one group. Times are monotonic ms.
#[derive(Debug, Default)]
struct Listening {
    /// Members that know nothing more, and how often they said so.
    told: BTreeMap<DeviceId, u8>,
    /// Others are waited for until then; `None`: nobody has told anything yet.
    until: Option<u64>,
    /// Who claims to know more is waited for until then, and at most until then.
    claimed: Option<(u64, u64)>,
}

impl Listening {
    /// Waits for others until then, unless that was to end earlier.
    fn wait(&mut self, until: u64) {
        self.until = Some(self.until.map_or(until, |before| before.min(until)));
    }
    /// When it ends if nobody tells anything more.
    fn ends(&self) -> Option<u64> {
        self.until.map(|until| self.claimed.map_or(until, |(claimed, _)| claimed.max(until)))
    }
}

/// What is to be done in a group once it was listened to.
#[derive(Debug, Clone, Encode, Decode)]
enum Held {
    /// An event is to be sent.
    #[n(0)]
    Event {
        #[n(0)]
        event_type: u16,
        #[cbor(n(1), with = "minicbor::bytes")]
        content: Vec<u8>,
    },
    /// An own change that lost is to be wanted again.
    #[n(1)]
    Again {
        #[n(0)]
        intent: Intent,
    },
    /// The account leaves.
    #[n(2)]
    Leave {},
}

impl Heard {
    /// A group of which no older copy can have spoken: made or joined just now.
    pub(crate) fn begun(&mut self, group: GroupId) {
        self.groups.insert(group);
        self.listening.remove(&group);
    }
    /// A text was written, or its author decided about it, and waits.
    pub(crate) fn wrote(&mut self, text: EventId) {
        self.written.insert(text);
    }
    /// Whether a text that waits was written since the start.
    pub(crate) fn is_new(&self, text: &EventId) -> bool {
        self.written.contains(text)
    }
    /// A text waits no longer.
    pub(crate) fn said(&mut self, text: &EventId) {
        self.written.remove(text);
    }
    /// A group that was listened to.
    pub(crate) fn knows(&self, group: &GroupId) -> bool {
        self.groups.contains(group)
    }
}

fn row(group: &GroupId) -> Key<'_> {
    Key::at(Table::State, b"held", &group.0)
}

fn held(r: &dyn Read, group: &GroupId) -> Result<Vec<Held>, StoreError> {
    Ok(rows::get(r, row(group))?.unwrap_or_default())
}

/// Whether anything may be said in a group by now.
pub(crate) fn may_speak(ctx: &Ctx<'_>, live: &Live, group: &GroupId) -> Result<bool, StoreError> {
    if live.heard.knows(group) || mutant::on(Mutant::OlderCopySpeaks) {
        return Ok(true);
    }
    // Alone there is nobody who could tell, and nobody who reads it.
    let me = ctx.me.device();
    Ok(GroupInfo::load(&ctx.tx, group)?.is_none_or(|info| info.members.iter().all(|m| m.device == me)))
}

fn hold(ctx: &mut Ctx<'_>, group: &GroupId, what: Held) -> Result<(), StoreError> {
    let mut all = held(&ctx.tx, group)?;
    all.push(what);
    let surplus = all.len().saturating_sub(HELD_MAX);
    all.drain(..surplus);
    ctx.tx.put(row(group), rows::encode(&all));
    Ok(())
}

/// Whether something waits to be said in a group until it was listened to.
pub fn is_holding(r: &dyn Read, group: &GroupId) -> Result<bool, StoreError> {
    if !held(r, group)?.is_empty() {
        return Ok(true);
    }
    let waits = |early: &rows::Early| early.group == *group && early.problem.is_none();
    for early in rows::Early::all(r)?.into_iter().filter(waits) {
        if let Some((home, position)) = rows::Entry::place(r, &early.event)?
            && rows::Entry::load(r, &home, position)?.is_some_and(|entry| entry.seq == 0)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Sends an event, or holds it until that is possible.
pub(crate) fn say(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    group: GroupId,
    event_type: u16,
    content: &[u8],
) -> Result<(), EngineError> {
    match saying::send(ctx, live, group, event_type, content) {
        Err(EngineError::NotHeard) => {
            Ok(hold(ctx, &group, Held::Event { event_type, content: content.to_vec() })?)
        }
        sent => sent.map(|_| ()),
    }
}

/// An own change lost; it is wanted again later.
pub(crate) fn again_later(ctx: &mut Ctx<'_>, group: &GroupId, intent: &Intent) -> Result<(), StoreError> {
    hold(ctx, group, Held::Again { intent: intent.clone() })
}

/// The account leaves as soon as that can be said.
pub(crate) fn leave_later(ctx: &mut Ctx<'_>, group: &GroupId) -> Result<(), StoreError> {
    hold(ctx, group, Held::Leave {})
}

/// A member has told what it knows, and whether that is more of this device than
/// the store here knows.
pub(crate) fn told(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    group: GroupId,
    device: DeviceId,
    more: bool,
) -> Result<(), Reject> {
    if live.heard.knows(&group) {
        return Ok(());
    }
    let now = ctx.now.mono_ms;
    let listening = live.heard.listening.entry(group).or_default();
    if more {
        // Its answer brings the proof.
        let (_, most) = listening.claimed.unwrap_or((now, now.saturating_add(CLAIMS_MS)));
        listening.claimed = Some((now.saturating_add(LISTEN_MS).min(most), most));
        listening.told.remove(&device);
    } else {
        let hellos = listening.told.entry(device).or_default();
        *hellos = hellos.saturating_add(1);
    }
    listening.wait(now.saturating_add(OTHERS_MS));
    look(ctx, live, group)
}

/// A relay has told how far a topic goes.
pub(crate) fn listened(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    relay: RelayId,
    topic: TopicId,
    last: u64,
) -> Result<(), Reject> {
    let Some(group) = live.relays.group_of(&topic).filter(|group| !live.heard.knows(group)) else {
        return Ok(());
    };
    live.heard.ends.insert((relay, topic), last);
    live.heard.listening.entry(group).or_default().wait(ctx.now.mono_ms.saturating_add(LISTEN_MS));
    look(ctx, live, group)?;
    let read = rows::cursor(&ctx.tx, &relay, &topic)?;
    read_up_to(ctx, live, relay, topic, read)
}

/// The entries of a topic were read up to this one.
pub(crate) fn read_up_to(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    relay: RelayId,
    topic: TopicId,
    index: u64,
) -> Result<(), Reject> {
    if live.heard.ends.get(&(relay, topic)).is_none_or(|last| index < *last) {
        return Ok(());
    }
    live.heard.ends.remove(&(relay, topic));
    let Some(group) = live.relays.group_of(&topic) else { return Ok(()) };
    // What was read may have led on to another topic.
    if live.relays.current_topic(&group) != topic || live.heard.knows(&group) {
        return Ok(());
    }
    // What members got directly was never there: they may still come.
    live.heard.listening.entry(group).or_default().wait(ctx.now.mono_ms.saturating_add(OTHERS_MS));
    look(ctx, live, group)
}

/// Ends the listening to a group if it may end by now.
pub(crate) fn look(ctx: &mut Ctx<'_>, live: &mut Live, group: GroupId) -> Result<(), Reject> {
    let Some(listening) = live.heard.listening.get(&group) else { return Ok(()) };
    let Some(ends) = listening.ends() else { return Ok(()) };
    let me = ctx.me.device();
    let asked = |device: &DeviceId| listening.told.get(device).is_some_and(|hellos| *hellos >= HELLOS);
    let all = GroupInfo::load(&ctx.tx, &group)?
        .is_some_and(|info| info.members.iter().all(|m| m.device == me || asked(&m.device)));
    if all || ends <= ctx.now.mono_ms {
        return heard(ctx, live, group);
    }
    live.at(ends, Timer::Listened(group));
    Ok(())
}

/// A group was listened to: what was held is said.
fn heard(ctx: &mut Ctx<'_>, live: &mut Live, group: GroupId) -> Result<(), Reject> {
    live.heard.begun(group);
    let relays = &live.relays;
    live.heard.ends.retain(|(_, topic), _| relays.group_of(topic).is_some_and(|of| of != group));
    speak(ctx, live, group)
}

/// Something that stood in the way may be gone: what is still held is said, if
/// anybody is there to read it.
pub(crate) fn look_again(ctx: &mut Ctx<'_>, live: &mut Live, group: GroupId) -> Result<(), Reject> {
    let tip = kith_mls::view::group(&ctx.tx, group)?.tip;
    let alone = rows::audience(&ctx.tx, &group, &tip)?.is_empty();
    if alone || !may_speak(ctx, live, &group)? || !is_holding(&ctx.tx, &group)? {
        return Ok(());
    }
    speak(ctx, live, group)
}

/// Says what was held, if this device may speak.
pub(crate) fn speak(ctx: &mut Ctx<'_>, live: &mut Live, group: GroupId) -> Result<(), Reject> {
    let Ok(view) = ctx.engine.view(&ctx.tx, group) else { return Ok(()) };
    if !view.me_in || !may_speak(ctx, live, &group)? {
        return Ok(());
    }
    // Where it stands counts for all, and most where it is behind: its last mark
    // may keep a branch alive on which nobody stands any more.
    live.at(ctx.now.mono_ms, Timer::Mark(group));
    if view.behind {
        return Ok(());
    }
    let all = held(&ctx.tx, &group)?;
    if !all.is_empty() {
        ctx.tx.delete(row(&group));
    }
    for one in all {
        match one {
            Held::Event { event_type, content } => {
                // Else nobody may read it any more, or it is said again later.
                if let Err(EngineError::Store(e)) = say(ctx, live, group, event_type, &content) {
                    return Err(e.into());
                }
            }
            Held::Again { intent } => crate::duty::again(ctx, live, group, &intent)?,
            Held::Leave {} => {
                if let Err(Reject::Store(e)) = crate::membership::leave(ctx, live, group) {
                    return Err(e.into());
                }
            }
        }
    }
    if !rows::audience(&ctx.tx, &group, &view.tip)?.is_empty() {
        early::send(ctx, live, group)?;
    }
    // Events of a branch that lost are named again.
    let outcomes = ctx.engine.look(&mut ctx.tx, ctx.now.wall_ms, group)?;
    groups::apply_all(ctx, live, group, outcomes)?;
    live.at(ctx.now.mono_ms, Timer::Adds);
    crate::duty::schedule(ctx, live, group)
}
