//! Files: which ones are wanted, from whom, for whom, and which make room.
//!
//! Owns the rows of files and every decision about them; the bytes are moved
//! and kept elsewhere ([`port`] is what passes between). `fetch` decides which
//! chunk is asked from whom; `deposit` what is left at relays for who is away;
//! `views` is what a person sees.

mod commands;
mod deposit;
pub mod fetch;
pub mod port;
mod rows;
mod views;

use std::collections::{BTreeMap, BTreeSet};

use kith_store::{Read, StoreError};
use kith_wire::blob::tree::Blob;
use kith_wire::content::Attachment;
use kith_wire::ids::{BlobId, DeviceId, EventId, FileId, GroupId, PeerKey, RelayId};
use kith_wire::net::Path;

use crate::ctx::Ctx;
use crate::groups::Reject;
use crate::live::{Live, Timer};
use crate::people;
use crate::rows::{Entry, GroupInfo};
use crate::view::FileSettings;

pub(crate) use commands::{run, send};
pub(crate) use deposit::{consider, forgive};
use port::{Do, Heard};
use rows::FileRow;
pub(crate) use rows::settings;
pub use views::{folders, of_conversation, storage, view};
pub(crate) use views::{preview_ok, view_of};

/// Files that are fetched at once; further ones wait their turn.
const ACTIVE_MAX: usize = 8;
/// Relays asked for one file.
const RELAYS_MAX: usize = 5;
/// Files of one root that are told apart.
const SAME_ROOT_MAX: usize = 8;
/// A file that no message took along goes after this, ms.
const STAGED_MS: u64 = 24 * 3_600_000;
/// A look at a file counts as new after this, ms.
const USED_MS: u64 = 60_000;

/// What is held in memory: rebuilt from the rows.
#[derive(Debug, Default)]
pub(crate) struct Files {
    by_root: BTreeMap<BlobId, Vec<FileId>>,
    /// Wanted files, oldest wish first.
    wanted: BTreeSet<(u64, FileId)>,
    /// The sources that each file is being fetched from.
    active: BTreeMap<FileId, (Vec<PeerKey>, Vec<RelayId>)>,
    /// Files that may make room: when each was last looked at, and its bytes.
    cached: BTreeMap<FileId, (u64, u64)>,
    /// Sources may have changed.
    dirty: bool,
    /// For the part that moves bytes, released after the commit.
    pub(crate) out: Vec<Do>,
    settings: FileSettings,
}

impl Files {
    /// Who can be asked is different now.
    pub(crate) fn sources_changed(&mut self) {
        self.dirty = true;
    }
    fn know(&mut self, blob: &Blob) {
        let ids = self.by_root.entry(blob.root).or_default();
        let id = blob.id();
        if !ids.contains(&id) && ids.len() < SAME_ROOT_MAX {
            ids.push(id);
        }
    }
    /// Keeps up with what may make room. After every change of a row.
    fn note(&mut self, row: &FileRow) {
        let id = row.blob.id();
        if row.cached() {
            self.cached.insert(id, (row.used_at, row.blob.size));
        } else {
            self.cached.remove(&id);
        }
    }
    fn forget(&mut self, blob: &Blob) {
        let id = blob.id();
        self.unwant(&id);
        self.cached.remove(&id);
        if let Some(ids) = self.by_root.get_mut(&blob.root) {
            ids.retain(|known| *known != id);
            if ids.is_empty() {
                self.by_root.remove(&blob.root);
            }
        }
    }
    fn want(&mut self, row: &FileRow) {
        self.wanted.insert((row.added_at, row.blob.id()));
        self.dirty = true;
    }
    fn unwant(&mut self, id: &FileId) {
        self.wanted.retain(|(_, wanted)| wanted != id);
        self.dirty = true;
        if self.active.remove(id).is_some() {
            self.out.push(Do::Stop { id: *id });
        }
    }
}

/// Brings everything that was under way back to life.
pub(crate) fn start(ctx: &mut Ctx<'_>, live: &mut Live) -> Result<(), StoreError> {
    live.files.settings = rows::settings(&ctx.tx)?;
    limits(live);
    let indexed = rows::indexed(&mut ctx.tx)?;
    for row in FileRow::all(&ctx.tx)? {
        let id = row.blob.id();
        live.files.note(&row);
        if !indexed {
            index(ctx, &row)?;
        }
        if row.state == rows::STAGED && row.added_at + STAGED_MS < ctx.now.wall_ms {
            FileRow::delete(&mut ctx.tx, &id);
            live.files.out.push(Do::Remove { id, blob: row.blob });
            continue;
        }
        live.files.know(&row.blob);
        if row.state == rows::WANTED {
            live.files.want(&row);
        }
        if row.deposit == rows::DEPOSIT_WANTED {
            live.at(ctx.now.mono_ms, Timer::Deposit(id));
        }
    }
    Ok(())
}

/// Messages that show a file are written once more, and so found by their
/// conversation.
fn index(ctx: &mut Ctx<'_>, row: &FileRow) -> Result<(), StoreError> {
    for event in &row.events {
        if let Some((conversation, position)) = Entry::place(&ctx.tx, event)?
            && let Some(entry) = Entry::load(&ctx.tx, &conversation, position)?
        {
            entry.save(&mut ctx.tx, &conversation);
        }
    }
    Ok(())
}

fn limits(live: &mut Live) {
    let FileSettings { up_bytes_per_s: up, down_bytes_per_s: down, .. } = live.files.settings;
    live.files.out.push(Do::Limits { up, down });
}

/// A message of ours takes a file along.
pub(crate) fn sent(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    group: GroupId,
    event: EventId,
    blob: &Blob,
) -> Result<(), StoreError> {
    let Some(mut row) = FileRow::load(&ctx.tx, &blob.id())? else { return Ok(()) };
    row.shown_in(group, event);
    if row.state == rows::STAGED {
        row.state = rows::HERE;
    }
    row.deposit = rows::DEPOSIT_WANTED;
    row.refused.clear();
    row.save(&mut ctx.tx);
    live.files.note(&row);
    live.at(ctx.now.mono_ms + deposit::FIRST_LOOK_MS, Timer::Deposit(blob.id()));
    Ok(())
}

/// A message of somebody else brought a file.
pub(crate) fn received(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    group: GroupId,
    e: &kith_mls::ReceivedEvent,
    file: &Attachment,
) -> Result<(), StoreError> {
    let mut row = match FileRow::load(&ctx.tx, &file.blob.id())? {
        Some(row) => row,
        None => {
            let (blob, kind) = (file.blob.clone(), file.media_type.clone());
            FileRow::new(blob, &file.name, kind, false, ctx.now.wall_ms)
        }
    };
    row.shown_in(group, e.id);
    if row.state == rows::OFFERED && file.blob.size <= live.files.settings.auto_bytes {
        row.state = rows::WANTED;
    }
    row.save(&mut ctx.tx);
    live.files.note(&row);
    live.files.know(&row.blob);
    if row.state == rows::WANTED {
        live.files.want(&row);
    }
    Ok(())
}

/// Takes in what the part that moves bytes has to say.
pub(crate) fn heard(ctx: &mut Ctx<'_>, live: &mut Live, heard: Heard) -> Result<(), Reject> {
    match heard {
        Heard::Asked { token, peer, root } => {
            let file = may_have(ctx, live, &peer, &root)?;
            live.files.out.push(Do::Serve { token, file });
        }
        Heard::Got { peer, root } => {
            let Some((id, _)) = may_have(ctx, live, &peer, &root)? else { return Ok(()) };
            let Some((device, _)) = live.directory.get(&peer).copied() else { return Ok(()) };
            change(ctx, live, &id, |row| row.got_by(device))?;
            live.at(ctx.now.mono_ms, Timer::Deposit(id));
        }
        Heard::Complete { id } => {
            live.files.unwant(&id);
            let now = ctx.now.wall_ms;
            change(ctx, live, &id, |row| {
                // It may have been given up in the meantime.
                if matches!(row.state, rows::WANTED | rows::PAUSED) {
                    row.state = rows::HERE;
                    row.used_at = now;
                    row.problem = None;
                }
            })?;
            make_room(ctx, live, Some(id))?;
        }
        Heard::Damaged { id } => {
            change(ctx, live, &id, |row| {
                if row.state == rows::HERE {
                    row.state = rows::GONE;
                }
            })?;
        }
        Heard::Failed { id, problem } => {
            live.files.unwant(&id);
            change(ctx, live, &id, |row| {
                if row.state == rows::WANTED {
                    row.state = rows::PAUSED;
                    row.problem = Some(problem);
                }
            })?;
        }
        Heard::Used { id } => {
            let now = ctx.now.wall_ms;
            if let Some(mut row) = FileRow::load(&ctx.tx, &id)?
                && row.used_at + USED_MS < now
            {
                row.used_at = now;
                row.save(&mut ctx.tx);
                live.files.note(&row);
            }
        }
        Heard::Deposited { id, relay, until_ms } => deposit::stored(ctx, live, &id, relay, until_ms)?,
        Heard::NotDeposited { id, relay, problem } => deposit::refused(ctx, live, &id, relay, &problem)?,
        Heard::PutChunk { token, relay, topic, chunk, bytes } => {
            live.relays.put_chunk(&relay, topic, (chunk, bytes), token, &mut live.net);
        }
        Heard::GetChunk { token, relay, chunk, len } => {
            live.relays.get_chunk(&relay, (chunk, len), token, &mut live.net);
        }
    }
    Ok(())
}

/// Changes a row and shows it anew.
fn change(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    id: &FileId,
    f: impl FnOnce(&mut FileRow),
) -> Result<Option<FileRow>, StoreError> {
    let Some(mut row) = FileRow::load(&ctx.tx, id)? else { return Ok(None) };
    let old = row.clone();
    f(&mut row);
    if row != old {
        row.save(&mut ctx.tx);
        live.files.note(&row);
        show(ctx, live, &row)?;
    }
    Ok(Some(row))
}

fn show(ctx: &Ctx<'_>, live: &mut Live, row: &FileRow) -> Result<(), StoreError> {
    for event in &row.events {
        if let Some(place) = Entry::place(&ctx.tx, event)? {
            live.touched.insert(place);
        }
    }
    Ok(())
}

/// The file with this root, if that peer is a device of somebody who may have
/// it. A stranger and a missing file look the same.
fn may_have(
    ctx: &Ctx<'_>,
    live: &Live,
    peer: &PeerKey,
    root: &BlobId,
) -> Result<Option<(FileId, Blob)>, StoreError> {
    let Some((device, account)) = live.directory.get(peer).copied() else { return Ok(None) };
    let proven =
        live.links.of_device(&device).and_then(|l| live.links.get(l)).is_some_and(|l| l.peer == *peer);
    if !proven || people::is_blocked(&ctx.tx, &account)? {
        return Ok(None);
    }
    for id in live.files.by_root.get(root).into_iter().flatten() {
        let Some(row) = FileRow::load(&ctx.tx, id)? else { continue };
        if !matches!(row.state, rows::HERE | rows::WANTED | rows::PAUSED) {
            continue;
        }
        for group in &row.groups {
            if GroupInfo::load(&ctx.tx, group)?.is_some_and(|i| i.members.iter().any(|m| m.device == device))
            {
                return Ok(Some((*id, row.blob)));
            }
        }
    }
    Ok(None)
}

/// Says from whom each wanted file is to be fetched, where that is different
/// from what was said before. Runs after every input.
pub(crate) fn pump(ctx: &mut Ctx<'_>, live: &mut Live) -> Result<(), Reject> {
    for token in live.relays.take_dropped() {
        live.files.out.push(Do::Relayed { token, answer: port::Relayed::Later });
    }
    if !core::mem::take(&mut live.files.dirty) {
        return Ok(());
    }
    let turn: Vec<FileId> = live.files.wanted.iter().take(ACTIVE_MAX).map(|(_, id)| *id).collect();
    for id in turn {
        let Some(row) = FileRow::load(&ctx.tx, &id)? else { continue };
        let sources = sources(ctx, live, &row)?;
        if live.files.active.get(&id) != Some(&sources) {
            let (devices, relays) = sources.clone();
            live.files.active.insert(id, sources);
            live.files.out.push(Do::Fetch { id, blob: row.blob, devices, relays });
        }
    }
    Ok(())
}

fn sources(ctx: &Ctx<'_>, live: &Live, row: &FileRow) -> Result<(Vec<PeerKey>, Vec<RelayId>), StoreError> {
    let (mut devices, mut relays) = (Vec::new(), Vec::new());
    for group in &row.groups {
        for device in others(ctx, group)? {
            let link = live.links.of_device(&device).and_then(|link| live.links.get(link));
            // A circuit is for messages: it is cut after a few megabytes.
            if let Some(link) = link.filter(|l| l.path != Path::Circuit)
                && devices.len() < fetch::SOURCES_MAX
                && !devices.contains(&link.peer)
            {
                devices.push(link.peer);
            }
        }
        for relay in live.relays.ready_of(group) {
            if relays.len() < RELAYS_MAX && !relays.contains(&relay) {
                relays.push(relay);
            }
        }
    }
    Ok((devices, relays))
}

/// Devices of a group's members, this one left out.
fn others(ctx: &Ctx<'_>, group: &GroupId) -> Result<Vec<DeviceId>, StoreError> {
    let mine = ctx.me.device();
    let members = GroupInfo::load(&ctx.tx, group)?.map(|i| i.members).unwrap_or_default();
    Ok(members.into_iter().map(|m| m.device).filter(|d| *d != mine).collect())
}

/// Lets go of what was not looked at for longest, until what was fetched is
/// within its bound. What came last (`but`), what was sent from here and what
/// is to be kept stays.
fn make_room(ctx: &mut Ctx<'_>, live: &mut Live, but: Option<FileId>) -> Result<(), StoreError> {
    let mut bytes: u64 = live.files.cached.values().map(|(_, size)| size).sum();
    if bytes <= live.files.settings.cache_bytes {
        return Ok(());
    }
    let mut held: Vec<(u64, FileId, u64)> =
        live.files.cached.iter().map(|(id, (used_at, size))| (*used_at, *id, *size)).collect();
    held.sort_unstable();
    for (_, id, size) in held {
        if bytes <= live.files.settings.cache_bytes {
            break;
        }
        if Some(id) != but {
            bytes = bytes.saturating_sub(size);
            let_go(ctx, live, &id)?;
        }
    }
    Ok(())
}

/// The bytes go, the row stays: it can be fetched again.
fn let_go(ctx: &mut Ctx<'_>, live: &mut Live, id: &FileId) -> Result<(), StoreError> {
    live.files.unwant(id);
    let row = change(ctx, live, id, |row| {
        row.state = if row.state == rows::HERE { rows::GONE } else { rows::OFFERED };
        row.problem = None;
        row.keep = false;
        row.deposit = rows::DEPOSIT_NONE;
    })?;
    if let Some(row) = row {
        live.files.out.push(Do::Remove { id: *id, blob: row.blob });
    }
    Ok(())
}

/// A message is deleted here: a file that no other one shows goes with it.
pub(crate) fn message_gone(ctx: &mut Ctx<'_>, live: &mut Live, entry: &Entry) -> Result<(), StoreError> {
    let Some(file) = &entry.file else { return Ok(()) };
    let id = file.blob.id();
    let Some(mut row) = FileRow::load(&ctx.tx, &id)? else { return Ok(()) };
    row.events.retain(|event| *event != entry.id);
    if row.events.is_empty() {
        live.files.forget(&row.blob);
        FileRow::delete(&mut ctx.tx, &id);
        live.files.out.push(Do::Remove { id, blob: row.blob });
    } else {
        row.save(&mut ctx.tx);
    }
    Ok(())
}

/// Whether a file may be in a message: its row, if all of it is here.
fn ready(r: &dyn Read, id: &FileId) -> Result<Option<FileRow>, StoreError> {
    Ok(FileRow::load(r, id)?.filter(|row| matches!(row.state, rows::STAGED | rows::HERE)))
}
