//! What this account says in groups: events on their way, texts in the
//! timeline, and what is said again.

use kith_mls::{EngineError, Resealed};
use kith_store::StoreError;
use kith_wire::content::{self, Attachment, Text};
use kith_wire::ids::{DeviceId, EventId, GroupId, StateId};

use crate::api::Event;
use crate::ctx::Ctx;
use crate::live::{Live, Timer};
use crate::rows::{self, Conversation, Entry, GroupInfo, Sent};
use crate::timeline::{self, NewEntry};
use crate::{delivery, heard};

/// Why a message is not said again, or not at last, by itself.
pub(crate) const NOT_FOR_NEW: &str = "The group's members changed meanwhile, and this message was not written for the new ones. Send it again if they may read it.";

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
    pub(crate) fn entry(self, ctx: &Ctx<'_>, group: GroupId, id: EventId, seq: Option<u64>) -> NewEntry {
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
                sent.problem = Some(NOT_FOR_NEW.into());
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
