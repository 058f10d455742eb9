//! What a person sees, computed from stored rows on any thread. Never writes,
//! never loads a group.

use kith_store::{Read, StoreError};
use kith_wire::ids::{AccountId, DeviceId, EventId, GroupId};

use crate::people;
use crate::rights;
use crate::rows::{
    self, Asking, Conversation, Early, Entry, GroupInfo, Progress, RelayStanding, RelayStandings, Sent,
};
use crate::view::{self, Content, ConversationKind, DeliveryState, Message, Quote, Standing};

/// Rows of a page at most.
pub const PAGE_MAX: usize = 200;
/// Why a message that waited to be said is not said.
const OUT: &str = "You are no longer in this conversation, so this message was not sent.";
/// Characters of a preview or quote.
const PREVIEW_CHARS: usize = 200;

type Result<T> = core::result::Result<T, StoreError>;

/// The first characters of a text, on one line.
pub(crate) fn shorten(text: &str) -> String {
    text.chars().take(PREVIEW_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A row in one line: what was written, else the name of the file.
pub(crate) fn line_of(e: &Entry) -> String {
    match &e.file {
        Some(file) if e.text.trim().is_empty() => crate::text::file_name(&file.name),
        _ => crate::calls::row_line(e).unwrap_or_else(|| e.text.clone()),
    }
}

/// A file, and what it takes to read it.
pub fn file(
    r: &dyn Read,
    id: &kith_wire::ids::FileId,
) -> Result<Option<(kith_wire::blob::tree::Blob, view::File)>> {
    crate::files::view(r, id)
}

/// Files that a conversation's messages brought, newest first.
pub fn files(
    r: &dyn Read,
    id: &GroupId,
    before: Option<u64>,
    limit: usize,
) -> Result<Option<view::FilePage>> {
    crate::files::of_conversation(r, id, before, limit)
}

/// What files take of the disk; how much is free is not known here.
pub fn storage(r: &dyn Read) -> Result<view::Storage> {
    crate::files::storage(r)
}

/// Folders of files whose bytes may be here: all others can go.
pub fn file_folders(r: &dyn Read) -> Result<Vec<[u8; 16]>> {
    crate::files::folders(r)
}

/// Settings about files.
pub fn file_settings(r: &dyn Read) -> Result<view::FileSettings> {
    crate::files::settings(r)
}

/// All conversations, newest activity first.
pub fn conversations(r: &dyn Read, me: &AccountId) -> Result<Vec<view::Conversation>> {
    let mut all: Vec<_> = Conversation::all(r)?
        .into_iter()
        .filter(|c| !c.deleted)
        .map(|c| conversation_view(r, me, &c))
        .collect::<Result<_>>()?;
    all.sort_by(|a, b| b.active_at.cmp(&a.active_at).then_with(|| a.id.cmp(&b.id)));
    Ok(all)
}

/// One conversation as the list shows it.
pub(crate) fn conversation_view(
    r: &dyn Read,
    me: &AccountId,
    c: &Conversation,
) -> Result<view::Conversation> {
    let info = GroupInfo::load(r, &c.write_group())?;
    let mut accounts: Vec<AccountId> =
        info.iter().flat_map(|i| i.members.iter().map(|m| m.account)).collect();
    accounts.sort();
    accounts.dedup();
    let catching_up = match &info {
        Some(info) if info.behind && c.standing == rows::STANDING_ACTIVE => {
            let asking = Asking::load(r, &c.write_group())?;
            Some(view::CatchingUp {
                asked: u32::try_from(asking.asked.len()).unwrap_or(u32::MAX),
                next_at: (!asking.asked.is_empty()).then_some(asking.next_at),
            })
        }
        _ => None,
    };
    let title = match c.peer {
        Some(peer) => people::display_name(r, &peer)?,
        None => c.title.clone(),
    };
    let last = match &c.last {
        None => None,
        Some(last) => Some(view::Preview {
            author: if last.author == *me { None } else { Some(people::display_name(r, &last.author)?) },
            text: last.text.clone(),
            at: last.at,
            state: match &last.own {
                Some((group, seq)) => match Sent::load(r, group, *seq)? {
                    Some(sent) => summarise(r, group, *seq, &sent, &rows::relay_standings(r)?)?,
                    None => None,
                },
                None => None,
            },
        }),
    };
    Ok(view::Conversation {
        id: c.id.hex(),
        kind: if c.kind == rows::KIND_DIRECT { ConversationKind::Direct } else { ConversationKind::Group },
        title,
        peer: c.peer.map(|p| p.to_text()),
        standing: match c.standing {
            rows::STANDING_ACTIVE => Standing::Active,
            rows::STANDING_JOINING => Standing::Joining,
            rows::STANDING_LEFT => Standing::Left,
            _ => Standing::Removed,
        },
        unread: c.unread,
        last,
        active_at: c.active_at,
        read_position: c.read_position,
        member_count: u32::try_from(accounts.len()).unwrap_or(u32::MAX),
        catching_up,
    })
}

/// One conversation with its members.
pub fn conversation(r: &dyn Read, me: &AccountId, id: &GroupId) -> Result<Option<view::ConversationDetails>> {
    let Some(c) = Conversation::load(r, id)?.filter(|c| !c.deleted) else { return Ok(None) };
    let info = GroupInfo::load(r, &c.write_group())?;
    let active = c.standing == rows::STANDING_ACTIVE;
    let mut members: Vec<view::Member> = Vec::new();
    let mut role = view::Role::Member;
    for m in info.iter().flat_map(|i| &i.members) {
        if m.account == *me {
            role = m.role();
        }
        let account = m.account.to_text();
        if let Some(known) = members.iter_mut().find(|k| k.account == account) {
            known.devices += 1;
            known.seen |= m.seen;
            continue;
        }
        let contact = people::read_contact(r, &m.account)?;
        members.push(view::Member {
            account,
            name: people::display_name(r, &m.account)?,
            role: m.role(),
            devices: 1,
            seen: m.seen || m.account == *me,
            me: m.account == *me,
            verified: contact.is_some_and(|c| c.verified),
            may_make_owner: active && m.may & rights::OWNER != 0,
            may_make_admin: active && m.may & rights::ADMIN != 0,
            may_make_member: active && m.may & rights::MEMBER != 0,
            may_remove: active && m.may & rights::REMOVE != 0,
        });
    }
    members.sort_by_cached_key(|m| (!m.me, m.role, m.name.to_lowercase()));
    Ok(Some(view::ConversationDetails {
        conversation: conversation_view(r, me, &c)?,
        members,
        role,
        may_add: active && info.as_ref().is_some_and(|i| i.may & rights::ADD != 0),
        may_rename: active && info.as_ref().is_some_and(|i| i.may & rights::CHANGE != 0),
        relays: info.as_ref().map(|i| i.relays.clone()).unwrap_or_default(),
        epoch: info.as_ref().map_or(0, |i| i.epoch),
        state: info.map_or_else(String::new, |i| i.tip.hex()),
    }))
}

/// A page of a timeline: rows before `before`, or after `after`, or the newest.
pub fn messages(
    r: &dyn Read,
    me: &AccountId,
    id: &GroupId,
    before: Option<u64>,
    after: Option<u64>,
    limit: usize,
) -> Result<Option<view::MessagePage>> {
    let Some(c) = Conversation::load(r, id)?.filter(|c| !c.deleted) else { return Ok(None) };
    let limit = limit.clamp(1, PAGE_MAX);
    let entries = match after {
        Some(after) => Entry::range(r, id, after.saturating_add(1), u64::MAX, false, limit)?,
        None => {
            let mut rows = Entry::range(r, id, 0, before.unwrap_or(u64::MAX), true, limit)?;
            rows.reverse();
            rows
        }
    };
    let (first, last) = (entries.first().map(|e| e.position), entries.last().map(|e| e.position));
    let more_before = match first {
        Some(first) => !Entry::range(r, id, 0, first, true, 1)?.is_empty(),
        None => false,
    };
    let messages = entries.iter().map(|e| message_view(r, me, e)).collect::<Result<_>>()?;
    Ok(Some(view::MessagePage {
        messages,
        more_before,
        more_after: last.is_some_and(|p| p < c.last_position),
    }))
}

/// One timeline row as the UI shows it.
pub(crate) fn message_view(r: &dyn Read, me: &AccountId, e: &Entry) -> Result<Message> {
    let mine = e.author == *me;
    let sent = if mine && e.seq > 0 { Sent::load(r, &e.group, e.seq)? } else { None };
    let (summary, standings) = match &sent {
        Some(sent) => {
            let standings = rows::relay_standings(r)?;
            (summarise(r, &e.group, e.seq, sent, &standings)?, standings)
        }
        // One that waits to be said, or could not be.
        None if mine && e.seq == 0 && matches!(e.kind, rows::ENTRY_TEXT | rows::ENTRY_FILE) => {
            let (state, _) = unsaid(r, Early::of(r, &e.id)?)?;
            (Some(state), RelayStandings::new())
        }
        None => (None, RelayStandings::new()),
    };
    let stored = sent.as_ref().filter(|_| summary == Some(DeliveryState::Stored));
    Ok(Message {
        id: e.id.hex(),
        position: e.position,
        author: e.author.to_text(),
        author_name: people::display_name(r, &e.author)?,
        mine,
        at: e.at,
        content: match e.kind {
            rows::ENTRY_TEXT => Content::Text { text: e.text.clone() },
            rows::ENTRY_NOTICE => Content::Notice {
                code: e.text.clone(),
                args: e.args.iter().map(|a| resolve_name(r, a)).collect::<Result<_>>()?,
            },
            rows::ENTRY_REPORT => report(r, e)?,
            rows::ENTRY_FILE => match &e.file {
                Some(file) => {
                    Content::File { file: Box::new(crate::files::view_of(r, file)?), caption: e.text.clone() }
                }
                None => Content::Newer,
            },
            rows::ENTRY_CALL => crate::calls::content_view(e),
            _ => Content::Newer,
        },
        reply_to: match &e.reply_to {
            Some(id) if e.kind != rows::ENTRY_REPORT => quote(r, id)?,
            _ => None,
        },
        delivery: summary,
        stored_until: stored.and_then(|s| s.kept(&standings).map(|(_, until)| until).max()),
        stored_at: stored.map_or(0, |s| u32::try_from(s.kept(&standings).count()).unwrap_or(u32::MAX)),
        may_report: matches!(e.kind, rows::ENTRY_TEXT | rows::ENTRY_FILE)
            && !mine
            && rows::admins(r, &e.group)?.iter().any(|a| a != me && *a != e.author),
    })
}

/// A report with the message that it is about, in its own words if it is here.
fn report(r: &dyn Read, e: &Entry) -> Result<Content> {
    let arg = |n: usize| e.args.get(n).map(String::as_str).unwrap_or_default();
    let author = AccountId::from_text(arg(0));
    let message = match e.reply_to {
        Some(id) => match Entry::place(r, &id)? {
            Some((conversation, position)) => Entry::load(r, &conversation, position)?,
            None => None,
        },
        None => None,
    };
    let held = message.is_some();
    let quote = message.map_or_else(
        || arg(1).to_owned(),
        |m| crate::text::clean_text(&line_of(&m), kith_wire::limits::REPORT_QUOTE_BYTES_MAX),
    );
    let info = GroupInfo::load(r, &e.group)?;
    let member = info.iter().flat_map(|i| &i.members).find(|m| Some(m.account) == author);
    Ok(Content::Report {
        event: e.reply_to.map_or_else(String::new, |id| id.hex()),
        author: arg(0).to_owned(),
        author_name: resolve_name(r, arg(0))?,
        quote,
        held,
        reason: e.text.clone(),
        open: arg(2) == crate::report::OPEN,
        may_remove: member.is_some_and(|m| m.may & rights::REMOVE != 0),
    })
}

/// Names in notices are kept as account ids, so that they follow renames.
fn resolve_name(r: &dyn Read, arg: &str) -> Result<String> {
    match AccountId::from_text(arg) {
        Some(account) => people::display_name(r, &account),
        None => Ok(arg.to_owned()),
    }
}

fn quote(r: &dyn Read, id: &EventId) -> Result<Option<Quote>> {
    let Some((conversation, position)) = Entry::place(r, id)? else {
        return Ok(Some(Quote { id: id.hex(), author_name: String::new(), text: String::new() }));
    };
    let Some(e) = Entry::load(r, &conversation, position)? else { return Ok(None) };
    Ok(Some(Quote {
        id: id.hex(),
        author_name: people::display_name(r, &e.author)?,
        text: shorten(&line_of(&e)),
    }))
}

/// The state of an own message over its audience. None: nobody else was there
/// to have it, nor was anybody coming.
fn summarise(
    r: &dyn Read,
    group: &GroupId,
    seq: u64,
    sent: &Sent,
    standings: &RelayStandings,
) -> Result<Option<DeliveryState>> {
    let waiting = waiting(sent, standings);
    let devices = devices(r, group, seq, sent, waiting)?;
    if devices.is_empty() && sent.problem.is_none() && Early::of(r, &sent.event)?.is_none() {
        return Ok(None);
    }
    Ok(Some(overall(&devices, sent, waiting)))
}

/// The state of an own message that was never sent, and why: it waits, or nothing
/// more happens by itself.
fn unsaid(r: &dyn Read, early: Option<Early>) -> Result<(DeliveryState, Option<String>)> {
    let Some(early) = early else { return Ok((DeliveryState::Failed, None)) };
    if early.problem.is_some() {
        return Ok((DeliveryState::Failed, early.problem));
    }
    let home = rows::home(r, &early.group)?.unwrap_or(early.group);
    let out = Conversation::load(r, &home)?
        .is_some_and(|c| matches!(c.standing, rows::STANDING_LEFT | rows::STANDING_REMOVED));
    Ok(if out { (DeliveryState::Failed, Some(OUT.into())) } else { (DeliveryState::Queued, None) })
}

/// The state of an own message that a device does not have yet.
fn waiting(sent: &Sent, standings: &RelayStandings) -> DeliveryState {
    if sent.stored(standings) { DeliveryState::Stored } else { DeliveryState::Queued }
}

struct DeviceState {
    device: DeviceId,
    account: AccountId,
    state: DeliveryState,
    at: Option<u64>,
}

fn devices(
    r: &dyn Read,
    group: &GroupId,
    seq: u64,
    sent: &Sent,
    waiting: DeliveryState,
) -> Result<Vec<DeviceState>> {
    let progress = rows::progress(r, group)?;
    Ok(rows::audience(r, group, &sent.state)?
        .into_iter()
        .map(|(device, account)| {
            let p: Option<&Progress> = progress.iter().find(|p| p.device == device);
            let (state, at) = match p {
                Some(p) if p.read >= seq => (DeliveryState::Read, Some(p.read_at)),
                Some(p) if p.acked >= seq => (DeliveryState::DeliveredAll, Some(p.acked_at)),
                _ => (waiting, None),
            };
            DeviceState { device, account, state, at }
        })
        .collect())
}

fn overall(devices: &[DeviceState], sent: &Sent, waiting: DeliveryState) -> DeliveryState {
    use std::collections::BTreeMap;
    if sent.problem.is_some() {
        return DeliveryState::Failed;
    }
    // Per account the device that is furthest, and over all the one that is least far.
    let mut best: BTreeMap<AccountId, DeliveryState> = BTreeMap::new();
    for d in devices {
        let s = best.entry(d.account).or_insert(DeliveryState::Queued);
        *s = (*s).max(d.state);
    }
    if best.is_empty() || best.values().any(|s| *s < DeliveryState::Delivered) {
        return waiting;
    }
    if best.values().all(|s| *s == DeliveryState::Read) {
        return DeliveryState::Read;
    }
    if devices.iter().all(|d| d.state >= DeliveryState::DeliveredAll) {
        return DeliveryState::DeliveredAll;
    }
    DeliveryState::Delivered
}

/// Everything known about the delivery of one own message.
pub fn delivery(r: &dyn Read, id: &GroupId, event: &EventId) -> Result<Option<view::Delivery>> {
    let Some((conversation, position)) = Entry::place(r, event)? else { return Ok(None) };
    let Some(e) = Entry::load(r, &conversation, position)?.filter(|_| conversation == *id) else {
        return Ok(None);
    };
    let Some(sent) = Sent::load(r, &e.group, e.seq)?.filter(|s| s.event == *event) else {
        let Some(early) = Early::of(r, event)? else { return Ok(None) };
        let (state, problem) = unsaid(r, Some(early))?;
        return Ok(Some(view::Delivery { state, relays: Vec::new(), devices: Vec::new(), problem }));
    };
    let standings = rows::relay_standings(r)?;
    let waiting = waiting(&sent, &standings);
    let devices = devices(r, &e.group, e.seq, &sent, waiting)?;
    let copy = |word: &rows::RelayWord| view::RelayCopy {
        relay: word.name.clone(),
        until: word.until.unwrap_or_default(),
        state: match (word.until, standings.get(&word.relay)) {
            (None, _) => view::RelayCopyState::Refused,
            (_, Some(RelayStanding::Lied)) => view::RelayCopyState::Lost,
            (_, Some(RelayStanding::Silent)) => view::RelayCopyState::Silent,
            (_, None) => view::RelayCopyState::Stored,
        },
        problem: word.problem.clone(),
    };
    Ok(Some(view::Delivery {
        state: overall(&devices, &sent, waiting),
        relays: sent.words.iter().map(copy).collect(),
        devices: devices
            .into_iter()
            .map(|d| {
                Ok(view::DeviceDelivery {
                    account: d.account.to_text(),
                    name: people::display_name(r, &d.account)?,
                    device: d.device.hex(),
                    state: if d.state == DeliveryState::DeliveredAll {
                        DeliveryState::Delivered
                    } else {
                        d.state
                    },
                    at: d.at,
                })
            })
            .collect::<Result<_>>()?,
        problem: sent.problem,
    }))
}

/// Settings of the person.
pub fn settings(r: &dyn Read) -> Result<view::Settings> {
    rows::settings(r)
}

/// Own device, if the store holds an account.
pub fn device(r: &dyn Read) -> Result<Option<kith_wire::ids::DeviceId>> {
    Ok(crate::identity::own_ids(r)?.map(|(_, device, _)| device))
}

/// Own account and device.
pub fn me(r: &dyn Read) -> Result<Option<view::Me>> {
    people::read_me(r)
}

/// All people, oneself left out.
pub fn contacts(r: &dyn Read) -> Result<Vec<view::Contact>> {
    people::read_contacts(r)
}

/// Invites made here that still hold.
pub fn invites(r: &dyn Read, now_ms: u64) -> Result<Vec<view::Invite>> {
    people::read_invites(r, now_ms)
}

/// The safety number with somebody.
pub fn safety(r: &dyn Read, account: &AccountId) -> Result<Option<view::Safety>> {
    people::read_safety(r, account)
}
