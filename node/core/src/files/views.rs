//! Files as a person sees them, from stored rows on any thread.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use kith_store::{Read, StoreError};
use kith_wire::blob::tree::Blob;
use kith_wire::content::{Attachment, PREVIEW_BYTES_MAX};
use kith_wire::ids::FileId;

use super::rows::{self, FileRow};
use crate::rows::{Conversation, Entry};
use crate::text;
use crate::view::{self, FileState, KeptAtRelays};

/// Pixels of a preview's longer side.
const PREVIEW_PIXELS_MAX: u32 = 640;

/// Folders of all files whose bytes may be here.
pub fn folders(r: &dyn Read) -> Result<Vec<[u8; 16]>, StoreError> {
    let held = |row: &FileRow| !matches!(row.state, rows::OFFERED | rows::GONE);
    Ok(FileRow::all(r)?.iter().filter(|row| held(row)).map(|row| row.blob.folder()).collect())
}

/// One file: what it takes to read it, and how it stands.
pub fn view(r: &dyn Read, id: &FileId) -> Result<Option<(Blob, view::File)>, StoreError> {
    Ok(FileRow::load(r, id)?.map(|row| {
        let look = of_row(&row);
        (row.blob, look)
    }))
}

fn of_row(row: &FileRow) -> view::File {
    view::File {
        id: row.blob.id().hex(),
        name: row.name.clone(),
        media_type: row.media_type.clone(),
        size: row.blob.size,
        state: match row.state {
            rows::STAGED | rows::HERE => FileState::Here,
            rows::WANTED => FileState::Fetching,
            rows::PAUSED => FileState::Paused,
            rows::GONE => FileState::Gone,
            _ => FileState::Offered,
        },
        own: row.own,
        keep: row.keep,
        problem: row.problem.clone(),
        at_relays: match row.deposit {
            rows::DEPOSIT_WANTED if row.deposited.is_empty() => Some(KeptAtRelays::Waiting),
            rows::DEPOSIT_REFUSED => Some(KeptAtRelays::TooLarge),
            rows::DEPOSIT_PAUSED => Some(KeptAtRelays::Paused),
            _ => {
                row.deposited.iter().map(|(_, until)| *until).max().map(|until| KeptAtRelays::Until { until })
            }
        },
        ..view::File::default()
    }
}

/// The file of a message. What its sender says of it is made fit to show.
pub(crate) fn view_of(r: &dyn Read, file: &Attachment) -> Result<view::File, StoreError> {
    let mut out = match FileRow::load(r, &file.blob.id())? {
        Some(row) => of_row(&row),
        None => view::File {
            id: file.blob.id().hex(),
            size: file.blob.size,
            state: FileState::Offered,
            ..view::File::default()
        },
    };
    out.name = text::file_name(&file.name);
    out.media_type = media_type(&file.media_type);
    if let Some(look) = &file.look {
        (out.width, out.height, out.duration_ms) = (look.width, look.height, look.duration_ms);
        (out.voice, out.waveform) = (look.voice, look.waveform.clone());
        out.preview = preview(&look.preview);
    }
    Ok(out)
}

/// A media type in its plain form, or empty.
fn media_type(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '+' | '-');
    if text.matches('/').count() == 1 && text.chars().all(plain) {
        text.to_ascii_lowercase()
    } else {
        String::new()
    }
}

/// Whether a preview is a small JPEG or WebP: what a browser is given to
/// decode without having been asked for.
pub(crate) fn preview_ok(bytes: &[u8]) -> bool {
    bytes.is_empty() || bytes.len() <= PREVIEW_BYTES_MAX && preview_kind(bytes).is_some()
}

fn preview(bytes: &[u8]) -> Option<String> {
    let kind = preview_kind(bytes).filter(|_| bytes.len() <= PREVIEW_BYTES_MAX)?;
    Some(format!("data:{kind};base64,{}", BASE64.encode(bytes)))
}

fn preview_kind(bytes: &[u8]) -> Option<&'static str> {
    let (kind, (width, height)) = match bytes {
        [0xff, 0xd8, ..] => ("image/jpeg", jpeg_size(bytes)?),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => ("image/webp", webp_size(bytes)?),
        _ => return None,
    };
    (width > 0 && height > 0 && width.max(height) <= PREVIEW_PIXELS_MAX).then_some(kind)
}

fn be16(bytes: &[u8], at: usize) -> Option<u32> {
    let two = bytes.get(at..)?.first_chunk::<2>()?;
    Some(u32::from(u16::from_be_bytes(*two)))
}

fn le(bytes: &[u8], at: usize, len: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(len)?)?.iter().rev().try_fold(0u32, |n, b| Some(n << 8 | u32::from(*b)))
}

/// Width and height of a JPEG, from its first frame header.
fn jpeg_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut at = 2;
    loop {
        let (0xff, marker) = (*bytes.get(at)?, *bytes.get(at + 1)?) else { return None };
        match marker {
            0xff => at += 1,
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                return Some((be16(bytes, at + 7)?, be16(bytes, at + 5)?));
            }
            0xd8..=0xda => return None,
            _ => at += 2 + usize::try_from(be16(bytes, at + 2)?).ok()?,
        }
    }
}

/// Width and height of a still WebP.
fn webp_size(bytes: &[u8]) -> Option<(u32, u32)> {
    match bytes.get(12..16)? {
        b"VP8 " => Some((le(bytes, 26, 2)? & 0x3fff, le(bytes, 28, 2)? & 0x3fff)),
        b"VP8L" => {
            let bits = le(bytes, 21, 4)?;
            Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
        }
        // With animation or metadata it is no preview of ours.
        b"VP8X" if bytes.get(20)? & 0x02 == 0 => Some((le(bytes, 24, 3)? + 1, le(bytes, 27, 3)? + 1)),
        _ => None,
    }
}

/// Files that a conversation's messages brought, before a position, newest
/// first; `None`: there is no such conversation.
pub fn of_conversation(
    r: &dyn Read,
    id: &kith_wire::ids::GroupId,
    before: Option<u64>,
    limit: usize,
) -> Result<Option<view::FilePage>, StoreError> {
    if Conversation::load(r, id)?.is_none_or(|c| c.deleted) {
        return Ok(None);
    }
    let limit = limit.clamp(1, crate::read::PAGE_MAX);
    let mut entries = Entry::with_files(r, id, before.unwrap_or(u64::MAX), limit + 1)?;
    let more = entries.len() > limit;
    entries.truncate(limit);
    let mut files = Vec::with_capacity(entries.len());
    for entry in &entries {
        if let Some(file) = &entry.file {
            files.push(view::SharedFile {
                message: entry.id.hex(),
                position: entry.position,
                author_name: crate::people::display_name(r, &entry.author)?,
                at: entry.at,
                file: view_of(r, file)?,
            });
        }
    }
    Ok(Some(view::FilePage { files, more }))
}

/// What takes space, per conversation.
pub fn storage(r: &dyn Read) -> Result<view::Storage, StoreError> {
    let mut by: BTreeMap<Option<kith_wire::ids::GroupId>, view::StoredFiles> = BTreeMap::new();
    let mut out = view::Storage { settings: rows::settings(r)?, ..view::Storage::default() };
    for row in FileRow::all(r)? {
        if !matches!(row.state, rows::HERE | rows::STAGED) {
            continue;
        }
        let size = row.blob.size;
        let mut home = None;
        for event in row.events.iter().rev() {
            if home.is_none() {
                home = Entry::place(r, event)?.map(|(conversation, _)| conversation);
            }
        }
        let stored = by.entry(home).or_default();
        stored.files += 1;
        stored.bytes += size;
        if row.own {
            stored.own_bytes += size;
        } else if row.keep {
            stored.kept_bytes += size;
        } else {
            out.cached_bytes += size;
        }
        stored.list.push(of_row(&row));
    }
    for (home, mut stored) in by {
        stored.list.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.id.cmp(&b.id)));
        stored.list.truncate(view::STORED_LIST_MAX);
        if let Some(id) = home {
            stored.conversation = id.hex();
            if let Some(c) = Conversation::load(r, &id)? {
                stored.title = match c.peer {
                    Some(peer) => crate::people::display_name(r, &peer)?,
                    None => c.title,
                };
            }
        }
        out.conversations.push(stored);
    }
    out.conversations.sort_by_key(|c| core::cmp::Reverse(c.bytes));
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn jpeg(width: u16, height: u16) -> Vec<u8> {
        let mut out = vec![0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xc0, 0, 11, 8];
        out.extend(height.to_be_bytes());
        out.extend(width.to_be_bytes());
        out
    }

    #[test]
    fn previews_are_small_pictures_or_nothing() {
        assert!(preview_ok(&[]) && preview_ok(&jpeg(320, 200)));
        assert!(!preview_ok(&jpeg(30_000, 30_000)), "a decompression bomb");
        assert!(!preview_ok(&jpeg(0, 5)));
        assert!(!preview_ok(b"<svg onload=alert(1)>"));
        assert!(!preview_ok(b"\x89PNG\r\n\x1a\n0000IHDR"));
        assert!(!preview_ok(&[jpeg(9, 9), vec![0; PREVIEW_BYTES_MAX]].concat()));
        let mut webp = b"RIFF0000WEBPVP8X0000".to_vec();
        webp.extend([0, 0, 0, 0, 63, 1, 0, 99, 0, 0]);
        assert_eq!(webp_size(&webp), Some((320, 100)));
        webp[20] = 2;
        assert!(!preview_ok(&webp), "animated");
    }

    #[test]
    fn types_are_plain_or_unknown() {
        assert_eq!(media_type("image/JPEG"), "image/jpeg");
        for odd in ["text/html; charset=x", "image", "a/b/c", "image/\r\nx", "\u{430}/b"] {
            assert_eq!(media_type(odd), "", "{odd}");
        }
    }

    proptest! {
        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), webp in any::<bool>()) {
            let head: &[u8] = if webp { b"RIFF0000WEBPVP8L" } else { &[0xff, 0xd8] };
            let _ = preview_ok(&[head, &bytes].concat());
        }
    }
}
