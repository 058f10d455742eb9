//! What this account says in groups: events on their way, texts in the
//! timeline, what waits to be said, and what is said again.

use std::collections::BTreeMap;

use kith_mls::{EngineError, Resealed};
use kith_store::StoreError;
use kith_wire::content::{self, Attachment, Text};
use kith_wire::ids::{DeviceId, EventId, GroupId, StateId};
use rand_core::Rng as _;

use crate::api::{Event, Refusal};
use crate::ctx::Ctx;
use crate::groups::Reject;
use crate::live::{Live, Timer};
use crate::rows::{self, Conversation, Early, Entry, GroupInfo, Sent};
use crate::timeline::{self, NewEntry};
use crate::{delivery, heard};

/// Texts that may wait for groups' first members, or until their groups were
/// listened to.
const EARLY_MAX: usize = 1_000;

/// A text that a person wrote, or a file with what they wrote to it.
#[derive(Debug, Clone)]
pub(crate) struct Words {
    pub(crate) text: String,
    pub(crate) reply_to: Option<EventId>,
    pub(crate) file: Option<Attachment>,
}

impl Words {
    fn content(&self) -> (u16, Vec<u8>) {
        match &self.file {
            None => {
                let text = Text { text: self.text.clone(), reply_to: self.reply_to };
                (content::TYPE_TEXT, text.to_bytes())
            }
            Some(file) => (content::TYPE_FILE, file.to_bytes()),
        }
    }

    /// The timeline's row; without a number it is not sent yet.
    fn entry(self, ctx: &Ctx<'_>, group: GroupId, id: EventId, seq: Option<u64>) -> NewEntry {
        NewEntry {
            id,
            author: ctx.me.account(),
            origin: seq.map(|seq| (ctx.me.device(), seq)),
            group,
            at: ctx.now.wall_ms,
            kind: if self.file.is_some() { rows::ENTRY_FILE } else { rows::ENTRY_TEXT },
            text: self.text,
            args: Vec::new(),
            reply_to: self.reply_to,
            file: self.file,
        }
    }
}

/// Sends an event to a group: encrypted, stored, on its way. Answers its id
/// and own sequence number.
pub(crate) fn send(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    group: GroupId,
    event_type: u16,
    content: &[u8],
) -> Result<(EventId, u64, StateId), EngineError> {
    if !heard::may_speak(ctx, live, &group)? {
        return Err(EngineError::NotHeard);
    }
    let sent = match ctx.engine.send(&mut ctx.tx, ctx.now.wall_ms, group, event_type, content) {
        Err(EngineError::Tainted) => {
            crate::duty::clear_the_way(ctx, live, group)?;
            ctx.engine.send(&mut ctx.tx, ctx.now.wall_ms, group, event_type, content)?
        }
        sent => sent?,
    };
    let topic = live.relays.current_topic(&group);
    #[cfg(feature = "test-trace")]
    live.trace(&sent);
    if let Some(mark) = sent.mark {
        delivery::enqueue_group(ctx, live, (group, sent.at, topic), None, mark)?;
        live.at(ctx.now.mono_ms, Timer::Mark(group));
    }
    delivery::enqueue_group(ctx, live, (group, sent.at, topic), Some(sent.seq), sent.envelope)?;
    crate::lacking::watch(ctx, live, group);
    Ok((sent.id, sent.seq, sent.at))
}

/// A person wants to talk to those in this group: who is not reached is dialled
/// now, however long they were away.
pub(crate) fn look_for(ctx: &Ctx<'_>, live: &mut Live, group: &GroupId) -> Result<(), StoreError> {
    for member in GroupInfo::load(&ctx.tx, group)?.into_iter().flat_map(|info| info.members) {
        live.look_for(&member.device, ctx.now.mono_ms);
    }
    Ok(())
}

/// Sends a text that a person wrote, or a file with what they wrote to it.
pub(crate) fn send_text(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    conversation: &Conversation,
    words: Words,
) -> Result<(EventId, u64), EngineError> {
    let group = conversation.write_group();
    let (event_type, content) = words.content();
    let (id, seq, state) = send(ctx, live, group, event_type, &content)?;
    if conversation.kind == rows::KIND_DIRECT {
        look_for(ctx, live, &group)?;
    }
    if let Some(file) = &words.file {
        crate::files::sent(ctx, live, group, id, &file.blob)?;
    }
    Sent { event: id, state, words: Vec::new(), problem: None }.save(&mut ctx.tx, &group, seq);
    let new = words.entry(ctx, group, id, Some(seq));
    let position = timeline::append(ctx, live, &conversation.id, new)?;
    Ok((id, position))
}

/// Shows a message that is sent as soon as this device may speak.
pub(crate) fn hold_text(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    conversation: &Conversation,
    words: Words,
    key: &str,
) -> Result<(EventId, u64), Refusal> {
    let store = |e: StoreError| crate::node::disk(&e);
    let group = conversation.write_group();
    let mut id = EventId([0; 32]);
    ctx.rng.fill_bytes(&mut id.0);
    early(ctx, Early { group, event: id, key: key.to_owned() })?;
    let new = words.entry(ctx, group, id, None);
    let position = timeline::append(ctx, live, &conversation.id, new).map_err(store)?;
    Ok((id, position))
}

fn early(ctx: &mut Ctx<'_>, one: Early) -> Result<(), Refusal> {
    let mut all = Early::all(&ctx.tx).map_err(|e| crate::node::disk(&e))?;
    if all.len() >= EARLY_MAX {
        return Err(Refusal::new(
            "outbox_full",
            "Too many messages wait for a group's first members, or for a connection. Write on when somebody is reached.",
        ));
    }
    all.push(one);
    Early::save_all(&mut ctx.tx, &all);
    Ok(())
}

/// Sends a text of the timeline anew, in its own place at the end; the old row
/// goes. Answers the new id and position.
pub(crate) fn send_anew(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    conversation: &Conversation,
    old: &Entry,
    reply_to: Option<EventId>,
) -> Result<(EventId, u64), EngineError> {
    let file = old.file.clone().map(|file| Attachment { reply_to, ..file });
    let words = Words { text: old.text.clone(), reply_to, file };
    let sent = send_text(ctx, live, conversation, words)?;
    old.delete(&mut ctx.tx, &conversation.id);
    live.events.push(Event::MessageRemoved { conversation: conversation.id.hex(), position: old.position });
    Ok(sent)
}

/// Notes a text that nobody could be sent yet, because those for whom the
/// group was made are still being added.
pub(crate) fn note_early(
    ctx: &mut Ctx<'_>,
    live: &Live,
    group: GroupId,
    event: EventId,
    key: &str,
) -> Result<(), Refusal> {
    if !live.adds.wanted_in(&group) {
        return Ok(());
    }
    let store = |e: StoreError| crate::node::disk(&e);
    let Some(info) = GroupInfo::load(&ctx.tx, &group).map_err(store)? else { return Ok(()) };
    if !rows::audience(&ctx.tx, &group, &info.tip).map_err(store)?.is_empty() {
        return Ok(());
    }
    early(ctx, Early { group, event, key: key.to_owned() })
}

/// Sends what waited for the group's first members, or to be said at all.
pub(crate) fn send_early(ctx: &mut Ctx<'_>, live: &mut Live, group: GroupId) -> Result<(), Reject> {
    let (due, rest): (Vec<Early>, Vec<Early>) =
        Early::all(&ctx.tx)?.into_iter().partition(|early| early.group == group);
    if due.is_empty() {
        return Ok(());
    }
    Early::save_all(&mut ctx.tx, &rest);
    let mut renamed = BTreeMap::new();
    let mut waits = Vec::new();
    for early in due {
        // Deleted meanwhile, or the conversation with it.
        let Some((home, position)) = Entry::place(&ctx.tx, &early.event)? else { continue };
        let (Some(old), Some(conversation)) =
            (Entry::load(&ctx.tx, &home, position)?, Conversation::load(&ctx.tx, &home)?)
        else {
            continue;
        };
        let reply_to = old.reply_to.map(|id| renamed.get(&id).copied().unwrap_or(id));
        let (event, position) = match send_anew(ctx, live, &conversation, &old, reply_to) {
            Ok(sent) => sent,
            Err(EngineError::Store(e)) => return Err(e.into()),
            Err(EngineError::NotHeard | EngineError::Tainted | EngineError::NotMember) => {
                waits.push(early);
                continue;
            }
            // Its row says that it failed: see `read`.
            Err(_) => {
                live.touched.insert((home, position));
                continue;
            }
        };
        renamed.insert(old.id, event);
        rows::set_answered(&mut ctx.tx, &early.key, event, position);
    }
    if !waits.is_empty() {
        let mut all = Early::all(&ctx.tx)?;
        all.append(&mut waits);
        Early::save_all(&mut ctx.tx, &all);
    }
    Ok(())
}

/// An own event of a branch that lost is encrypted again for the tip, or, if
/// the tip holds accounts that it was not written for, marked as failed.
pub(crate) fn resend(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    group: GroupId,
    event: EventId,
) -> Result<(), EngineError> {
    match say_again(ctx, live, group, event)? {
        None => Ok(()),
        // Members who may read it get it by sync; the tip's others never do.
        Some(_) => {
            let Some((home, position)) = Entry::place(&ctx.tx, &event)? else { return Ok(()) };
            let Some(entry) = Entry::load(&ctx.tx, &home, position)? else { return Ok(()) };
            if let Some(mut sent) = Sent::load(&ctx.tx, &group, entry.seq)? {
                sent.problem = Some(
                    "The group's members changed at the same moment, and this message was not written for the new ones. Send it again if they may read it.".into(),
                );
                sent.save(&mut ctx.tx, &group, entry.seq);
                live.touched.insert((home, position));
                live.changed.insert(home);
            }
            Ok(())
        }
    }
}

/// Encrypts an own event for the tip and sends it there. Answers the devices
/// that may read it if the tip as a whole may not; then nothing is sent.
pub(crate) fn say_again(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    group: GroupId,
    event: EventId,
) -> Result<Option<Vec<DeviceId>>, EngineError> {
    if !heard::may_speak(ctx, live, &group)? {
        return Err(EngineError::NotHeard);
    }
    let again = match ctx.engine.reseal(&mut ctx.tx, ctx.now.wall_ms, group, event)? {
        Resealed::Envelope(again) => again,
        Resealed::Only(devices) => return Ok(Some(devices)),
    };
    let topic = live.relays.current_topic(&group);
    #[cfg(feature = "test-trace")]
    live.trace(&again);
    if let Some(mark) = again.mark {
        delivery::enqueue_group(ctx, live, (group, again.at, topic), None, mark)?;
        live.at(ctx.now.mono_ms, Timer::Mark(group));
    }
    delivery::enqueue_group(ctx, live, (group, again.at, topic), Some(again.seq), again.envelope)?;
    if let Some(mut sent) = Sent::load(&ctx.tx, &group, again.seq)? {
        sent.state = again.at;
        sent.words.clear();
        sent.save(&mut ctx.tx, &group, again.seq);
    }
    Ok(None)
}
