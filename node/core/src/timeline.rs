//! Conversations and their rows: what is shown, in which place, what is unread.

use kith_store::StoreError;
use kith_wire::content::Attachment;
use kith_wire::ids::{AccountId, DeviceId, EventId, GroupId};

use crate::ctx::Ctx;
use crate::live::Live;
use crate::read;
use crate::rows::{self, Conversation, Entry, Last};

/// Rows looked at when unread messages are counted again.
const UNREAD_SCAN_MAX: usize = 10_000;

/// A row to be added at the end of a conversation.
pub(crate) struct NewEntry {
    pub id: EventId,
    pub author: AccountId,
    /// Group, device and sequence number of the event; local rows have none.
    pub origin: Option<(DeviceId, u64)>,
    pub group: GroupId,
    pub at: u64,
    pub kind: u8,
    pub text: String,
    pub args: Vec<String>,
    pub reply_to: Option<EventId>,
    pub file: Option<Attachment>,
}

/// Adds a row and everything that follows from it. Answers its position.
pub(crate) fn append(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    conversation: &GroupId,
    new: NewEntry,
) -> Result<u64, StoreError> {
    let Some(mut c) = Conversation::load(&ctx.tx, conversation)? else { return Ok(0) };
    let mine = new.author == ctx.me.account();
    c.last_position += 1;
    let (device, seq) = match new.origin {
        Some((device, seq)) => (Some(device), seq),
        None => (None, 0),
    };
    let entry = Entry {
        id: new.id,
        position: c.last_position,
        author: new.author,
        device,
        seq,
        group: new.group,
        at: new.at,
        kind: new.kind,
        text: new.text,
        args: new.args,
        reply_to: new.reply_to,
        file: new.file,
    };
    entry.save(&mut ctx.tx, conversation);
    let quiet = crate::calls::quiet(&entry) && !mine;
    if entry.kind != rows::ENTRY_NOTICE && !quiet {
        if mine {
            // Who writes has read what stands above.
            c.read_position = c.last_position;
            c.unread = 0;
        } else {
            c.unread += 1;
        }
        c.deleted = false;
    }
    if entry.kind != rows::ENTRY_NOTICE && entry.kind != rows::ENTRY_REPORT {
        c.last = Some(Last {
            author: entry.author,
            text: read::shorten(&read::line_of(&entry)),
            at: entry.at,
            own: (mine && seq > 0).then_some((entry.group, seq)),
        });
    }
    if (entry.kind == rows::ENTRY_NOTICE || quiet) && c.unread == 0 && c.read_position + 1 == c.last_position
    {
        c.read_position = c.last_position;
    }
    c.active_at = c.active_at.max(ctx.now.wall_ms);
    c.save(&mut ctx.tx);
    live.touched.insert((*conversation, entry.position));
    live.changed.insert(*conversation);
    Ok(entry.position)
}

/// Adds a line about something that happened.
pub(crate) fn notice(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    group: &GroupId,
    by: AccountId,
    code: &str,
    args: Vec<String>,
) -> Result<(), StoreError> {
    use rand_core::Rng as _;
    let Some(conversation) = rows::home(&ctx.tx, group)? else { return Ok(()) };
    // In a direct conversation nobody comes or goes.
    if Conversation::load(&ctx.tx, &conversation)?.is_none_or(|c| c.kind == rows::KIND_DIRECT) {
        return Ok(());
    }
    let mut id = [0; 32];
    ctx.rng.fill_bytes(&mut id);
    append(
        ctx,
        live,
        &conversation,
        NewEntry {
            id: EventId(id),
            author: by,
            origin: None,
            group: *group,
            at: ctx.now.wall_ms,
            kind: rows::ENTRY_NOTICE,
            text: code.to_owned(),
            args,
            reply_to: None,
            file: None,
        },
    )?;
    Ok(())
}

/// Moves the read mark. Answers, per author device, the highest sequence
/// number newly read: what a read receipt says.
pub(crate) fn mark_read(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    conversation: &GroupId,
    position: u64,
) -> Result<Vec<(GroupId, DeviceId, u64)>, StoreError> {
    let Some(mut c) = Conversation::load(&ctx.tx, conversation)? else { return Ok(Vec::new()) };
    let position = position.min(c.last_position);
    if position <= c.read_position {
        return Ok(Vec::new());
    }
    let me = ctx.me.account();
    let mut newly: Vec<(GroupId, DeviceId, u64)> = Vec::new();
    for e in Entry::range(&ctx.tx, conversation, c.read_position + 1, position + 1, false, UNREAD_SCAN_MAX)? {
        if let Some(device) = e.device
            && e.author != me
        {
            match newly.iter_mut().find(|(g, d, _)| *g == e.group && *d == device) {
                Some((_, _, seq)) => *seq = (*seq).max(e.seq),
                None => newly.push((e.group, device, e.seq)),
            }
        }
    }
    c.read_position = position;
    let behind =
        Entry::range(&ctx.tx, conversation, position + 1, c.last_position + 1, false, UNREAD_SCAN_MAX)?;
    c.unread = behind
        .iter()
        .filter(|e| e.author != me && e.kind != rows::ENTRY_NOTICE && !crate::calls::quiet(e))
        .count() as u64;
    c.save(&mut ctx.tx);
    live.changed.insert(*conversation);
    Ok(newly)
}
