//! What is kept of calls: rows of timelines, calls that a stop would leave
//! open, and from whom the own address is hidden.

use kith_mls::EngineError;
use kith_store::{Key, Read, StoreError, Table, Tx};
use kith_wire::call::{CallId, Outcome, Reason};
use kith_wire::ids::{AccountId, DeviceId, GroupId};
use minicbor::{Decode, Encode};

use super::machine::{Left, Record};
use super::row_id;
use crate::api::Event;
use crate::ctx::Ctx;
use crate::live::Live;
use crate::people;
use crate::rows::{self, ENTRY_CALL, Entry, decode, encode};
use crate::timeline::{self, NewEntry};

/// A call in a row of the timeline, as its text argument.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct CallRow {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub call: [u8; 16],
    #[n(1)]
    pub caller: DeviceId,
    #[n(2)]
    pub outgoing: bool,
    #[n(3)]
    pub video: bool,
    #[n(4)]
    pub outcome: Outcome,
    #[n(5)]
    pub reason: Reason,
    #[n(6)]
    pub talked_ms: u64,
    #[n(7)]
    pub verdict: bool,
}

impl CallRow {
    fn arg(&self) -> String {
        data_encoding::BASE64.encode(&encode(self))
    }
    /// The call of a row.
    pub(super) fn of(entry: &Entry) -> Option<Self> {
        if entry.kind != ENTRY_CALL {
            return None;
        }
        let bytes = data_encoding::BASE64.decode(entry.args.first()?.as_bytes()).ok()?;
        decode(&bytes).ok()
    }
    fn missed(&self) -> bool {
        !self.outgoing
            && matches!(
                self.outcome,
                Outcome::Unanswered | Outcome::Busy | Outcome::Cancelled | Outcome::Failed
            )
    }
}

/// A row that is no news: a call that was taken, or declined by its person.
pub(crate) fn quiet(entry: &Entry) -> bool {
    CallRow::of(entry).is_some_and(|row| !row.missed())
}

/// A call in one line.
pub(crate) fn line(entry: &Entry) -> Option<String> {
    let row = CallRow::of(entry)?;
    let what = match (row.missed(), row.video) {
        (true, true) => "Missed video call",
        (true, false) => "Missed voice call",
        (false, true) => "Video call",
        (false, false) => "Voice call",
    };
    Some(what.to_owned())
}

/// Whether a call has a row, and which.
pub(super) fn shown(r: &dyn Read, group: &GroupId, call: &CallId) -> Result<Option<Entry>, StoreError> {
    match Entry::place(r, &row_id(group, call))? {
        Some((home, position)) => Entry::load(r, &home, position),
        None => Ok(None),
    }
}

/// Shows what became of a call in its conversation.
pub(super) fn show(ctx: &mut Ctx<'_>, live: &mut Live, record: &Record) -> Result<(), EngineError> {
    let row = CallRow {
        call: record.id.0,
        caller: record.caller.1,
        outgoing: record.outgoing,
        video: record.video,
        outcome: record.outcome,
        reason: record.reason,
        talked_ms: record.talked_ms,
        verdict: record.verdict,
    };
    match shown(&ctx.tx, &record.group, &record.id)? {
        Some(entry) if record.hidden => {
            let Some((home, position)) = Entry::place(&ctx.tx, &entry.id)? else { return Ok(()) };
            entry.delete(&mut ctx.tx, &home);
            live.events.push(Event::MessageRemoved { conversation: home.hex(), position });
        }
        Some(entry) => change(ctx, live, entry, &row)?,
        None if record.hidden => {}
        None => {
            let Some(home) = rows::home(&ctx.tx, &record.group)? else { return Ok(()) };
            let new = NewEntry {
                id: row_id(&record.group, &record.id),
                author: record.caller.0,
                origin: None,
                group: record.group,
                at: record.begun_ms,
                kind: ENTRY_CALL,
                text: String::new(),
                args: vec![row.arg()],
                reply_to: None,
                file: None,
            };
            timeline::append(ctx, live, &home, new)?;
        }
    }
    Ok(())
}

fn change(ctx: &mut Ctx<'_>, live: &mut Live, mut entry: Entry, row: &CallRow) -> Result<(), EngineError> {
    let Some((home, position)) = Entry::place(&ctx.tx, &entry.id)? else { return Ok(()) };
    entry.args = vec![row.arg()];
    entry.save(&mut ctx.tx, &home);
    live.touched.insert((home, position));
    live.changed.insert(home);
    Ok(())
}

/// A verdict on a call of which only the row is known.
pub(super) fn settle(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    (from, call): (DeviceId, CallId),
    (outcome, reason, talked_ms): (Outcome, Reason, u64),
) -> Result<(), EngineError> {
    for group in rows::Conversation::all(&ctx.tx)?.into_iter().flat_map(|c| c.groups) {
        let Some(entry) = shown(&ctx.tx, &group, &call)? else { continue };
        if let Some(row) = CallRow::of(&entry).filter(|row| row.caller == from && !row.verdict) {
            change(ctx, live, entry, &CallRow { outcome, reason, talked_ms, verdict: true, ..row })?;
        }
    }
    Ok(())
}

/// A call that stood open, as it is kept.
#[derive(Debug, Encode, Decode)]
#[cbor(map)]
struct OpenRow {
    #[cbor(n(0), with = "minicbor::bytes")]
    call: [u8; 16],
    #[n(1)]
    group: GroupId,
    #[n(2)]
    caller: (AccountId, DeviceId),
    #[n(3)]
    peer: AccountId,
    #[n(4)]
    outgoing: bool,
    #[n(5)]
    video: bool,
    #[n(6)]
    begun_ms: u64,
    #[n(7)]
    outcome: Outcome,
    #[n(8)]
    talked_ms: u64,
    #[n(9)]
    mine: bool,
}

const OPEN: Key<'static> = Key { table: Table::State, name: b"calls", order: b"" };

/// Keeps which calls stand open.
pub(super) fn keep_open(tx: &mut Tx<'_>, left: &[Left]) {
    if left.is_empty() {
        tx.delete(OPEN);
        return;
    }
    let rows: Vec<OpenRow> = left
        .iter()
        .map(|Left { record, mine }| OpenRow {
            call: record.id.0,
            group: record.group,
            caller: record.caller,
            peer: record.peer,
            outgoing: record.outgoing,
            video: record.video,
            begun_ms: record.begun_ms,
            outcome: record.outcome,
            talked_ms: record.talked_ms,
            mine: *mine,
        })
        .collect();
    tx.put(OPEN, encode(&rows));
}

/// Which calls stood open.
pub(super) fn open(r: &dyn Read) -> Result<Vec<Left>, StoreError> {
    let rows: Vec<OpenRow> = rows::get(r, OPEN)?.unwrap_or_default();
    let left = rows.into_iter().map(|row| {
        let record = Record::unfinished(
            (CallId(row.call), row.group),
            (row.caller, row.peer),
            (row.outgoing, row.video, row.begun_ms),
            (row.outcome, row.talked_ms),
        );
        Left { record, mine: row.mine }
    });
    Ok(left.collect())
}

fn hide_key(account: &AccountId) -> Vec<u8> {
    [b"hide".as_slice(), &[0], &account.0].concat()
}

/// Whether the own address is hidden from somebody in calls: as chosen, else
/// from everybody who is no contact.
pub(crate) fn hides(r: &dyn Read, account: &AccountId) -> Result<bool, StoreError> {
    match r.get(Key::of(Table::State, &hide_key(account)))? {
        Some(chosen) => Ok(chosen != [0]),
        None => Ok(!people::is_accepted(r, account)?),
    }
}

/// Chooses whether the own address is hidden from somebody.
pub(super) fn set_hides(tx: &mut Tx<'_>, account: &AccountId, hide: bool) {
    tx.put(Key::of(Table::State, &hide_key(account)), vec![u8::from(hide)]);
}
