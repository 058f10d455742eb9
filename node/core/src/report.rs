//! Messages reported to a group's admins: sent to each of their devices by
//! inbox, shown to them as a row of the group's timeline until they settle it.
//!
//! Owns who may report what to whom, how often, and what of a report is
//! believed: its author by the signature, the message by the own copy.

use kith_store::StoreError;
use kith_wire::group::{Report, Role, kinds};
use kith_wire::ids::{AccountId, EventId, GroupId};
use kith_wire::limits::{REPORT_QUOTE_BYTES_MAX, REPORT_REASON_BYTES_MAX};
use kith_wire::signed::Raw;

use crate::api::Refusal;
use crate::commands::active;
use crate::ctx::Ctx;
use crate::groups::Reject;
use crate::live::Live;
use crate::outbox::ROWS_MAX;
use crate::rows::{self, Conversation, Entry, Reported, Told};
use crate::timeline::{self, NewEntry};
use crate::{inbox, people, text};

/// Reports that one account may send to a group in [`RATE_MS`].
const RATE_MAX: usize = 10;
/// See [`RATE_MAX`].
const RATE_MS: u64 = 3_600_000;
/// Reports that wait to be settled, of one group and of one account in it;
/// further ones are dropped.
const OPEN_MAX: (usize, usize) = (64, 20);
/// A report older than this is dropped.
const AGE_MS: u64 = 30 * 24 * 3_600_000;

/// A report that is still to be settled, as its row's third argument says.
pub(crate) const OPEN: &str = "open";
const SETTLED: &str = "settled";

fn store(e: &StoreError) -> Refusal {
    crate::node::disk(e)
}

/// Sends a report of a message to the admins of its group.
pub(crate) fn send(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    id: &GroupId,
    event: EventId,
    reason: &str,
) -> Result<(), Refusal> {
    let c = active(ctx, id)?;
    if c.kind != rows::KIND_GROUP {
        return Err(Refusal::new(
            "not_a_group",
            "Only groups have admins. You can block this person instead.",
        ));
    }
    if reason.len() > REPORT_REASON_BYTES_MAX {
        return Err(Refusal::new(
            "reason_too_long",
            format!("The reason is too long: at most {REPORT_REASON_BYTES_MAX} bytes. Shorten it."),
        ));
    }
    let group = c.write_group();
    let entry = reportable(ctx, &c, &event)?;
    let admins = rows::admins(&ctx.tx, &group).map_err(|e| store(&e))?;
    let me = ctx.me.account();
    let heard = |a: &AccountId| *a != me && *a != entry.author && admins.contains(a);
    if !admins.iter().any(heard) {
        return Err(Refusal::new(
            "nobody_to_report_to",
            "Nobody but you and the author is an admin here, so there is nobody to report this to.",
        ));
    }
    note_told(ctx, &group, event)?;
    if live.outbox.len() >= ROWS_MAX {
        return Err(Refusal::new(
            "outbox_full",
            "Too many messages wait for a path. Connect to the network or add a relay, then try again.",
        ));
    }
    let devices: Vec<_> = ctx
        .engine
        .view(&ctx.tx, group)
        .map_err(crate::groups::refusal)?
        .members
        .into_iter()
        .filter(|m| heard(&m.account))
        .map(|m| (m.account, m.device))
        .collect();
    let key = ctx.me.device_keys().signing;
    let mut sent = 0;
    for (account, device) in devices {
        let Some(reach) = people::reach(&ctx.tx, &device).map_err(|e| store(&e))? else { continue };
        let report = Report {
            kind: kinds::REPORT,
            version: 1,
            gid: group,
            to: device,
            to_inbox: reach.inbox.topic(),
            device: ctx.me.device(),
            event,
            author: entry.author,
            quote: text::clean_text(&entry.text, REPORT_QUOTE_BYTES_MAX),
            reason: text::clean_text(reason, REPORT_REASON_BYTES_MAX),
            at: ctx.now.wall_ms,
        };
        inbox::send(ctx, live, account, device, &report.sign(&key))?;
        sent += 1;
    }
    if sent == 0 {
        return Err(Refusal::new(
            "no_way_yet",
            "It is not known yet how the admins' devices are reached. Try again in a while.",
        ));
    }
    let args = vec![me.to_text(), entry.author.to_text()];
    timeline::notice(ctx, live, &group, me, "reported", args).map_err(|e| store(&e))
}

/// The row of a message that somebody else wrote here.
fn reportable(ctx: &Ctx<'_>, c: &Conversation, event: &EventId) -> Result<Entry, Refusal> {
    let no_such = || Refusal::new("no_such_message", "There is no such message.");
    let (home, position) = Entry::place(&ctx.tx, event)
        .map_err(|e| store(&e))?
        .filter(|(h, _)| *h == c.id)
        .ok_or_else(no_such)?;
    let entry = Entry::load(&ctx.tx, &home, position).map_err(|e| store(&e))?;
    let entry =
        entry.filter(|e| matches!(e.kind, rows::ENTRY_TEXT | rows::ENTRY_FILE)).ok_or_else(no_such)?;
    if entry.author == ctx.me.account() {
        return Err(Refusal::new("own_message", "This message is your own."));
    }
    Ok(entry)
}

/// Counts an own report, if there may be one more.
fn note_told(ctx: &mut Ctx<'_>, group: &GroupId, event: EventId) -> Result<(), Refusal> {
    let mut told = Told::all(&ctx.tx, group).map_err(|e| store(&e))?;
    if told.iter().any(|t| t.event == event) {
        return Err(Refusal::new(
            "already_reported",
            "You have reported this message to the admins already.",
        ));
    }
    let since = ctx.now.wall_ms.saturating_sub(RATE_MS);
    if told.iter().filter(|t| t.at > since).count() >= RATE_MAX {
        return Err(Refusal::new(
            "slow_down",
            "You have sent many reports to this group within an hour. Wait a while before the next one.",
        ));
    }
    told.push(Told { event, at: ctx.now.wall_ms });
    Told::save_all(&mut ctx.tx, group, told);
    Ok(())
}

/// A report that came to the own inbox.
pub(crate) fn received(ctx: &mut Ctx<'_>, live: &mut Live, raw: &Raw) -> Result<(), Reject> {
    let no = |why: &str| Err(Reject::Invalid(why.into()));
    let report = Report::open(raw, &ctx.me.device(), &ctx.me.inbox_topic().id())?;
    let group = report.gid;
    let view = ctx.engine.view(&ctx.tx, group)?;
    if !view.me_in || view.role < Role::Admin {
        return no("a report came to somebody who is no admin");
    }
    let Some(reporter) = view.members.iter().find(|m| m.device == report.device).map(|m| m.account) else {
        return no("a report comes from outside its group");
    };
    if reporter == ctx.me.account() || reporter == report.author || report.author == ctx.me.account() {
        return no("a report is about a message that is not for this account to judge");
    }
    let Some(home) = rows::home(&ctx.tx, &group)? else {
        return no("the group of a report is not shown here");
    };
    let now = ctx.now.wall_ms;
    if report.at.saturating_add(AGE_MS) < now {
        return no("a report is too old");
    }
    let mut all = Reported::all(&ctx.tx, &group)?;
    if all.iter().any(|r| (r.reporter, r.event) == (reporter, report.event)) {
        return Ok(());
    }
    let open = all.iter().filter(|r| r.open);
    if open.clone().count() >= OPEN_MAX.0 || open.filter(|r| r.reporter == reporter).count() >= OPEN_MAX.1 {
        return no("there are too many reports");
    }
    // The own copy of the message says who wrote it.
    if let Some((at, position)) = Entry::place(&ctx.tx, &report.event)?
        && let Some(entry) = Entry::load(&ctx.tx, &at, position)?
        && (at != home
            || entry.author != report.author
            || !matches!(entry.kind, rows::ENTRY_TEXT | rows::ENTRY_FILE))
    {
        return no("a report names another author than the message has");
    }
    people::learn_account(ctx, &report.author)?;
    let quote = text::clean_text(&report.quote, REPORT_QUOTE_BYTES_MAX);
    let new = NewEntry {
        id: EventId(kith_wire::ids::hash(kith_wire::labels::ID_REPORT, &[&raw.body])),
        author: reporter,
        origin: None,
        group,
        at: report.at.min(now),
        kind: rows::ENTRY_REPORT,
        text: text::clean_text(&report.reason, REPORT_REASON_BYTES_MAX),
        args: vec![report.author.to_text(), quote, OPEN.to_owned()],
        reply_to: Some(report.event),
        file: None,
    };
    let position = timeline::append(ctx, live, &home, new)?;
    all.push(Reported { reporter, event: report.event, at: now, position, open: true });
    Reported::save_all(&mut ctx.tx, &group, all);
    Ok(())
}

/// Takes a report off this device's desk.
pub(crate) fn settle(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    id: &GroupId,
    report: &EventId,
) -> Result<(), Refusal> {
    let no_such = || Refusal::new("no_such_report", "There is no such report.");
    let (home, position) =
        Entry::place(&ctx.tx, report).map_err(|e| store(&e))?.filter(|(h, _)| h == id).ok_or_else(no_such)?;
    let entry = Entry::load(&ctx.tx, &home, position).map_err(|e| store(&e))?;
    let mut entry = entry.filter(|e| e.kind == rows::ENTRY_REPORT).ok_or_else(no_such)?;
    if let Some(state) = entry.args.get_mut(2) {
        SETTLED.clone_into(state);
    }
    entry.save(&mut ctx.tx, &home);
    let mut all = Reported::all(&ctx.tx, &entry.group).map_err(|e| store(&e))?;
    for one in all.iter_mut().filter(|r| r.position == position) {
        one.open = false;
    }
    Reported::save_all(&mut ctx.tx, &entry.group, all);
    live.touched.insert((home, position));
    Ok(())
}

/// What may be done about open reports may be different: they are shown anew.
pub(crate) fn look_again(ctx: &Ctx<'_>, live: &mut Live, group: &GroupId) -> Result<(), StoreError> {
    let Some(home) = rows::home(&ctx.tx, group)? else { return Ok(()) };
    let open = Reported::all(&ctx.tx, group)?.into_iter().filter(|r| r.open);
    live.touched.extend(open.map(|r| (home, r.position)));
    Ok(())
}
