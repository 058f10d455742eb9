//! What a person asks for about files.

use kith_wire::content::{Attachment, CAPTION_BYTES_MAX, Look};
use kith_wire::ids::FileId;

use super::rows::{self, FileRow};
use super::{change, let_go, limits, make_room, ready};
use crate::api::{FileCommand, Refusal, Reply};
use crate::ctx::Ctx;
use crate::live::{Live, Timer};
use crate::node::disk;
use crate::text;

/// Bytes that are kept for fetched files at least.
const CACHE_BYTES_MIN: u64 = 16 << 20;

fn store(e: &kith_store::StoreError) -> Refusal {
    disk(e)
}

fn no_such() -> Refusal {
    Refusal::new("no_such_file", "There is no such file here.")
}

fn row(ctx: &Ctx<'_>, id: &FileId) -> Result<FileRow, Refusal> {
    FileRow::load(&ctx.tx, id).map_err(|e| store(&e))?.ok_or_else(no_such)
}

/// Carries out a command about files.
pub(crate) fn run(ctx: &mut Ctx<'_>, live: &mut Live, command: FileCommand) -> Result<Reply, Refusal> {
    match command {
        FileCommand::Add { blob, name, media_type } => {
            let id = blob.id();
            blob.tree().map_err(|_| too_large())?;
            let row = FileRow::new(blob, &name, media_type, true, ctx.now.wall_ms);
            row.save(&mut ctx.tx);
            live.files.know(&row.blob);
            return Ok(Reply::File(id));
        }
        FileCommand::Fetch { file } => {
            let now = ctx.now.wall_ms;
            let held = row(ctx, &file)?;
            if held.state == rows::HERE {
                if held.deposit == rows::DEPOSIT_PAUSED {
                    change(ctx, live, &file, |row| row.deposit = rows::DEPOSIT_WANTED)
                        .map_err(|e| store(&e))?;
                    live.at(ctx.now.mono_ms, Timer::Deposit(file));
                }
                return Ok(Reply::Done);
            }
            let changed = change(ctx, live, &file, |row| {
                if row.state != rows::WANTED && row.state != rows::STAGED {
                    row.state = rows::WANTED;
                    row.problem = None;
                    row.added_at = row.added_at.min(now);
                }
            });
            if let Some(row) = changed.map_err(|e| store(&e))?.filter(|row| row.state == rows::WANTED) {
                live.files.want(&row);
            }
        }
        FileCommand::Read { file } => {
            if !matches!(row(ctx, &file)?.state, rows::HERE | rows::PAUSED) {
                return run(ctx, live, FileCommand::Fetch { file });
            }
        }
        FileCommand::Pause { file } => {
            row(ctx, &file)?;
            live.files.unwant(&file);
            let changed = change(ctx, live, &file, |row| {
                if row.state == rows::WANTED {
                    row.state = rows::PAUSED;
                }
                if row.state == rows::HERE && row.deposit == rows::DEPOSIT_WANTED {
                    row.deposit = rows::DEPOSIT_PAUSED;
                }
            });
            // What is on its way to relays stops too, and goes on from there.
            if changed.map_err(|e| store(&e))?.is_some_and(|row| row.deposit == rows::DEPOSIT_PAUSED) {
                live.files.out.push(super::Do::Stop { id: file });
            }
        }
        FileCommand::Free { file } => {
            let row = row(ctx, &file)?;
            if row.state == rows::STAGED {
                live.files.forget(&row.blob);
                FileRow::delete(&mut ctx.tx, &file);
                live.files.out.push(super::Do::Remove { id: file, blob: row.blob });
            } else {
                let_go(ctx, live, &file).map_err(|e| store(&e))?;
            }
        }
        FileCommand::Keep { file, keep } => {
            row(ctx, &file)?;
            change(ctx, live, &file, |row| row.keep = keep).map_err(|e| store(&e))?;
        }
        FileCommand::Settings(settings) => {
            if settings.cache_bytes < CACHE_BYTES_MIN {
                return Err(Refusal::new("bad_limit", "Leave at least 16 MiB for fetched files."));
            }
            rows::set_settings(&mut ctx.tx, &settings);
            live.files.settings = settings;
            limits(live);
            make_room(ctx, live, None).map_err(|e| store(&e))?;
        }
    }
    Ok(Reply::Done)
}

fn too_large() -> Refusal {
    Refusal::new("file_too_large", "The file is too large: at most 64 GiB. Send it in parts.")
}

/// The attachment that takes a file along in a message.
pub(crate) fn send(
    ctx: &Ctx<'_>,
    file: &FileId,
    caption: &str,
    look: Option<Look>,
) -> Result<Attachment, Refusal> {
    let row = ready(&ctx.tx, file).map_err(|e| store(&e))?.ok_or_else(|| {
        Refusal::new(
            "no_such_file",
            "This file is not here, or not all of it. Add it again, or wait until it is fetched.",
        )
    })?;
    if caption.len() > CAPTION_BYTES_MAX {
        let message = format!(
            "The words beside a file can have {} KiB. Send them as a message.",
            CAPTION_BYTES_MAX >> 10
        );
        return Err(Refusal::new("caption_too_long", message));
    }
    let look = look.map(|mut look| {
        if !super::preview_ok(&look.preview) {
            look.preview.clear();
        }
        look
    });
    let attachment = Attachment {
        blob: row.blob,
        name: row.name,
        media_type: row.media_type,
        caption: caption.to_owned(),
        reply_to: None,
        look,
    };
    attachment.check().map_err(|e| Refusal::new("bad_file", text::sentence(&e.to_string())))?;
    Ok(attachment)
}
