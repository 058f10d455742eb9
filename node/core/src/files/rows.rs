//! The rows of files: one each, keyed by the file's id.

use kith_store::{Key, Read, StoreError, Table, Tx};
use kith_wire::blob::tree::Blob;
use kith_wire::ids::{DeviceId, EventId, FileId, GroupId, RelayId};
use minicbor::{Decode, Encode};

use crate::rows::{decode, encode, get};
use crate::view::FileSettings;

/// Messages and groups remembered for one file; the oldest go.
const PLACES_MAX: usize = 16;
/// Devices remembered to have a file.
const GOT_MAX: usize = 1_000;

/// Sealed here, in no message yet.
pub(crate) const STAGED: u8 = 0;
/// Not fetched.
pub(crate) const OFFERED: u8 = 1;
/// To be fetched.
pub(crate) const WANTED: u8 = 2;
/// Fetched in part, and held.
pub(crate) const PAUSED: u8 = 3;
/// All of it is here.
pub(crate) const HERE: u8 = 4;
/// It was here and made room.
pub(crate) const GONE: u8 = 5;

/// Nothing is to be left at relays.
pub(crate) const DEPOSIT_NONE: u8 = 0;
/// Relays are to keep it for who is away.
pub(crate) const DEPOSIT_WANTED: u8 = 1;
/// They do, or everybody has it.
pub(crate) const DEPOSIT_DONE: u8 = 2;
/// No relay takes it.
pub(crate) const DEPOSIT_REFUSED: u8 = 3;
/// The person holds it back.
pub(crate) const DEPOSIT_PAUSED: u8 = 4;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct FileRow {
    #[n(0)]
    pub blob: Blob,
    #[n(1)]
    pub name: String,
    #[n(2)]
    pub media_type: String,
    #[n(3)]
    pub state: u8,
    /// It was sealed here: it does not make room by itself.
    #[n(4)]
    pub own: bool,
    /// The person wants it to stay.
    #[n(5)]
    pub keep: bool,
    /// Groups whose members may have it.
    #[n(6)]
    pub groups: Vec<GroupId>,
    /// Messages that show it.
    #[n(7)]
    pub events: Vec<EventId>,
    /// When it was last looked at, Unix ms.
    #[n(8)]
    pub used_at: u64,
    /// Why it is not fetched, as a sentence.
    #[n(9)]
    pub problem: Option<String>,
    #[n(10)]
    pub added_at: u64,
    #[n(11)]
    pub deposit: u8,
    /// Relays that keep it, and until when, Unix ms.
    #[n(12)]
    pub deposited: Vec<(RelayId, u64)>,
    /// Relays that do not take it.
    #[n(13)]
    pub refused: Vec<RelayId>,
    /// Devices that have it.
    #[n(14)]
    pub got: Vec<DeviceId>,
}

impl FileRow {
    /// A file that was sealed here, or that somebody offers.
    pub(crate) fn new(blob: Blob, name: &str, media_type: String, own: bool, now_ms: u64) -> Self {
        Self {
            blob,
            name: crate::text::file_name(name),
            media_type,
            state: if own { STAGED } else { OFFERED },
            own,
            keep: false,
            groups: Vec::new(),
            events: Vec::new(),
            used_at: now_ms,
            problem: None,
            added_at: now_ms,
            deposit: DEPOSIT_NONE,
            deposited: Vec::new(),
            refused: Vec::new(),
            got: Vec::new(),
        }
    }
    pub(crate) fn load(r: &dyn Read, id: &FileId) -> Result<Option<Self>, StoreError> {
        get(r, Key::of(Table::Files, &id.0))
    }
    pub(crate) fn save(&self, tx: &mut Tx<'_>) {
        tx.put(Key::of(Table::Files, &self.blob.id().0), encode(self));
    }
    pub(crate) fn delete(tx: &mut Tx<'_>, id: &FileId) {
        tx.delete(Key::of(Table::Files, &id.0));
    }
    /// It may make room: fetched, and not marked to be kept.
    pub(crate) fn cached(&self) -> bool {
        self.state == HERE && !self.own && !self.keep
    }
    /// Every row. Only for the start and for the page that shows all of them.
    pub(crate) fn all(r: &dyn Read) -> Result<Vec<Self>, StoreError> {
        r.scan_table(Table::Files)?.iter().map(|b| decode(b)).collect()
    }
    pub(crate) fn shown_in(&mut self, group: GroupId, event: EventId) {
        push(&mut self.groups, group, PLACES_MAX);
        push(&mut self.events, event, PLACES_MAX);
    }
    pub(crate) fn got_by(&mut self, device: DeviceId) {
        push(&mut self.got, device, GOT_MAX);
    }
}

fn push<T: PartialEq>(list: &mut Vec<T>, item: T, max: usize) {
    if !list.contains(&item) {
        list.push(item);
        list.drain(..list.len().saturating_sub(max));
    }
}

const SETTINGS: &[u8] = b"files";
const INDEXED: &[u8] = b"files-indexed";

/// Whether messages with files are found by their conversation: data folders
/// from before that are gone through once.
pub(crate) fn indexed(tx: &mut Tx<'_>) -> Result<bool, StoreError> {
    let before = tx.get(Key::of(Table::Settings, INDEXED))?.is_some();
    tx.put(Key::of(Table::Settings, INDEXED), vec![1]);
    Ok(before)
}

/// The person's settings about files.
pub(crate) fn settings(r: &dyn Read) -> Result<FileSettings, StoreError> {
    let row: Option<(u64, u64, u64, u64)> = get(r, Key::of(Table::Settings, SETTINGS))?;
    Ok(row.map_or_else(FileSettings::default, |(cache_bytes, auto_bytes, up, down)| FileSettings {
        cache_bytes,
        auto_bytes,
        up_bytes_per_s: up,
        down_bytes_per_s: down,
    }))
}

/// Keeps the person's settings about files.
pub(crate) fn set_settings(tx: &mut Tx<'_>, s: &FileSettings) {
    let row = (s.cache_bytes, s.auto_bytes, s.up_bytes_per_s, s.down_bytes_per_s);
    tx.put(Key::of(Table::Settings, SETTINGS), encode(&row));
}
