//! What the group engine's outcomes mean for a person: rows, marks, notices,
//! topics. The engine decides what a group is; this file only shows it.

use kith_mls::{EngineError, Outcome, TipChange};
use kith_store::StoreError;
use kith_wire::content::{self, Attachment, ReadUpTo, Text};
use kith_wire::group::{ConversationKind, OrderKind, Role};
use kith_wire::ids::{AccountId, DeviceId, EventId, GroupId};

use crate::api::Refusal;
use crate::changes::{self, How};
use crate::ctx::Ctx;
use crate::live::{Live, Timer};
use crate::rights::Rights;
use crate::rows::{self, Asking, Conversation, Entry, GroupInfo, MemberInfo, Ordered, Sent};
use crate::timeline::{self, NewEntry};
use crate::{delivery, early, heard, people};

/// How soon own acknowledgements follow what they acknowledge, ms.
const MARK_MS: u64 = 1_000;
/// How soon notes are compared after something new came, ms.
const GOSSIP_MS: u64 = 30_000;
/// What is not older than this was said by somebody who is there, ms.
const JUST_SAID_MS: u64 = 120_000;
/// How soon notes are compared after something did not fit, ms.
const SYNC_MS: u64 = 500;

/// Why something from outside was not taken. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Reject {
    /// The sender's fault.
    #[error("{0}")]
    Invalid(String),
    /// It needs something that is not here yet.
    #[error("something it depends on is missing")]
    TooEarly,
    /// Ours.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<EngineError> for Reject {
    fn from(e: EngineError) -> Self {
        match e {
            EngineError::Store(e) => Self::Store(e),
            e => Self::Invalid(e.to_string()),
        }
    }
}

impl From<kith_wire::cbor::WireError> for Reject {
    fn from(e: kith_wire::cbor::WireError) -> Self {
        Self::Invalid(e.to_string())
    }
}

/// An engine error as an answer to a person.
pub(crate) fn refusal(e: EngineError) -> Refusal {
    match e {
        EngineError::Store(e) => crate::node::disk(&e),
        EngineError::NotMember => {
            Refusal::new("not_a_member", "You are no longer in this conversation, so nothing can be sent.")
        }
        EngineError::Tainted => Refusal::new(
            "being_removed",
            "Somebody is being removed from this group, and it takes a member with the right to do so. Until then nothing is sent. Try again soon.",
        ),
        EngineError::NotHeard => Refusal::new(
            "not_heard",
            "Kith has just started and has not reached anybody of this conversation yet. Try again when it is connected.",
        ),
        EngineError::UnknownGroup => Refusal::new("no_such_conversation", "There is no such conversation."),
        e => Refusal::new("not_possible", format!("That is not possible: {e}.")),
    }
}

/// Takes in one object of a group: from a stream with a proven far end, or
/// from wherever else it came.
pub(crate) fn ingest(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    group: GroupId,
    from: Option<DeviceId>,
    object: &[u8],
) -> Result<(), Reject> {
    let now = ctx.now.wall_ms;
    let outcomes = match from {
        Some(device) => ctx.engine.ingest_from(&mut ctx.tx, now, group, device, object)?,
        None => ctx.engine.ingest(&mut ctx.tx, now, group, object)?,
    };
    apply_all(ctx, live, group, outcomes)
}

/// Shows what outcomes mean. However often the group moved, it is looked at
/// where it stands now.
pub(crate) fn apply_all(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    group: GroupId,
    mut outcomes: Vec<Outcome>,
) -> Result<(), Reject> {
    merge_moves(&mut outcomes);
    for outcome in outcomes {
        apply(ctx, live, group, outcome)?;
    }
    Ok(())
}

/// Makes one move of several, in the place of the first.
fn merge_moves(outcomes: &mut Vec<Outcome>) {
    let mut whole: Option<TipChange> = None;
    for outcome in outcomes.iter() {
        if let Outcome::Tip(next) = outcome {
            let mut next = next.clone();
            if let Some(before) = whole {
                next.switched |= before.switched;
                next.left.extend(before.left);
            }
            whole = Some(next);
        }
    }
    outcomes.retain_mut(|outcome| match outcome {
        Outcome::Tip(tip) => whole.take().map(|all| *tip = all).is_some(),
        _ => true,
    });
}

/// Shows what an outcome means.
fn apply(ctx: &mut Ctx<'_>, live: &mut Live, group: GroupId, outcome: Outcome) -> Result<(), Reject> {
    match outcome {
        Outcome::Event(e) => {
            on_event(ctx, live, group, &e)?;
            if e.wall_ms + JUST_SAID_MS >= ctx.now.wall_ms {
                live.look_for(&e.device, ctx.now.mono_ms);
            }
            live.at(ctx.now.mono_ms + MARK_MS, Timer::Mark(group));
            // Members that the author did not reach may get it from here.
            live.at(ctx.now.mono_ms + GOSSIP_MS, Timer::Sync(group));
        }
        Outcome::Tip(tip) => {
            on_tip(ctx, live, group, &tip)?;
            crate::duty::schedule(ctx, live, group)?;
            live.at(ctx.now.mono_ms + MARK_MS, Timer::Mark(group));
        }
        Outcome::Acked { device, up_to_seq } => {
            delivery::acked(ctx, live, group, device, up_to_seq)?;
            live.look_for(&device, ctx.now.mono_ms);
            look_again(ctx, live, group)?;
        }
        Outcome::Resend(events) => {
            crate::duty::send_again(ctx, live, group, &events)?;
        }
        Outcome::OwnCommitLost { intent, .. } => crate::duty::again(ctx, live, group, &intent)?,
        Outcome::Duties => {
            // It may have fallen behind, or found its way back.
            look_again(ctx, live, group)?;
            crate::duty::schedule(ctx, live, group)?;
            // What it cannot process it says with a mark, also where all is quiet.
            live.at(ctx.now.mono_ms + MARK_MS, Timer::Mark(group));
        }
        Outcome::Readd { account, device, request } => {
            crate::duty::asked(ctx, live, group, (account, device), request)?;
        }
        Outcome::Seen { .. } => look_again(ctx, live, group)?,
        Outcome::Buffered | Outcome::NeedCommits | Outcome::Unreadable => {
            live.at(ctx.now.mono_ms + SYNC_MS, Timer::Sync(group));
        }
        Outcome::Order { kind, issuer, target, .. } => {
            changes::ordered(ctx, &group, kind, issuer, target)?;
            let out = matches!(kind, OrderKind::Remove | OrderKind::Leave);
            if out && crate::membership::unwant(ctx, live, group, target) {
                crate::membership::not_let_in(ctx, live, &group)?;
            }
        }
        // Two objects under one number are the engine's to judge.
        Outcome::Known | Outcome::Equivocation { .. } => {}
        Outcome::Rejected(why) => return Err(Reject::Invalid(why.to_string())),
    }
    Ok(())
}

fn on_event(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    group: GroupId,
    e: &kith_mls::ReceivedEvent,
) -> Result<(), Reject> {
    match e.event_type {
        content::TYPE_CARD => {
            if people::learn_card(ctx, &e.account, &e.content).is_ok() {
                live.relearn(ctx, &e.account)?;
            }
        }
        content::TYPE_PROFILE => {
            let _stale = people::learn_profile(ctx, &e.account, &e.content);
        }
        content::TYPE_READ => {
            let Ok(read) = ReadUpTo::from_bytes(&e.content) else { return Ok(()) };
            let mine = ctx.me.device();
            for (_, seq) in read.devices.into_iter().filter(|(d, _)| *d == mine) {
                // Nobody can have read more than was sent.
                let seq = seq.min(Sent::last_seq(&ctx.tx, &group)?);
                delivery::was_read(ctx, live, group, e.device, seq)?;
            }
        }
        content::TYPE_TEXT => {
            let Some(conversation) = rows::home(&ctx.tx, &group)? else { return Ok(()) };
            let direct =
                Conversation::load(&ctx.tx, &conversation)?.is_some_and(|c| c.kind == rows::KIND_DIRECT);
            if direct && people::is_blocked(&ctx.tx, &e.account)? {
                return Ok(());
            }
            let (kind, text, reply_to) = match Text::from_bytes(&e.content) {
                Ok(t) => (rows::ENTRY_TEXT, t.text, t.reply_to),
                Err(_) => (rows::ENTRY_NEWER, String::new(), None),
            };
            show(ctx, live, &conversation, group, e, (kind, text, reply_to), None)?;
        }
        content::TYPE_CALL => crate::calls::received(ctx, live, group, e)?,
        content::TYPE_FILE => {
            let Some(conversation) = rows::home(&ctx.tx, &group)? else { return Ok(()) };
            let direct =
                Conversation::load(&ctx.tx, &conversation)?.is_some_and(|c| c.kind == rows::KIND_DIRECT);
            if direct && people::is_blocked(&ctx.tx, &e.account)? {
                return Ok(());
            }
            let Ok(file) = Attachment::from_bytes(&e.content) else {
                let newer = (rows::ENTRY_NEWER, String::new(), None);
                return Ok(show(ctx, live, &conversation, group, e, newer, None)?);
            };
            crate::files::received(ctx, live, group, e, &file)?;
            let said = (rows::ENTRY_FILE, file.caption.clone(), file.reply_to);
            show(ctx, live, &conversation, group, e, said, Some(file))?;
        }
        _ => {
            if let Some(conversation) = rows::home(&ctx.tx, &group)? {
                show(ctx, live, &conversation, group, e, (rows::ENTRY_NEWER, String::new(), None), None)?;
            }
        }
    }
    Ok(())
}

fn show(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    conversation: &GroupId,
    group: GroupId,
    e: &kith_mls::ReceivedEvent,
    (kind, text, reply_to): (u8, String, Option<EventId>),
    file: Option<Attachment>,
) -> Result<(), StoreError> {
    // The engine reports an event once; a row that is there already means a
    // re-sent copy after its first one was shown.
    if Entry::place(&ctx.tx, &e.id)?.is_some() {
        return Ok(());
    }
    let new = NewEntry {
        id: e.id,
        author: e.account,
        origin: Some((e.device, e.seq)),
        group,
        at: e.wall_ms,
        kind,
        text,
        args: Vec::new(),
        reply_to,
        file,
    };
    timeline::append(ctx, live, conversation, new)?;
    Ok(())
}

fn on_tip(ctx: &mut Ctx<'_>, live: &mut Live, group: GroupId, tip: &TipChange) -> Result<(), Reject> {
    let before = GroupInfo::load(&ctx.tx, &group)?;
    refresh(ctx, live, group)?;
    crate::calls::look_again(ctx, live, &group)?;
    let how = How { by: Some(tip.by), left: &tip.left, switched: tip.switched };
    for came in changes::say(ctx, live, group, before.as_ref(), how)? {
        crate::membership::unwant(ctx, live, group, came);
    }
    crate::lacking::watch(ctx, live, group);
    if tip.switched {
        // Who stayed behind on the branch has nobody there to tell it.
        let behind = tip.removed_devices.iter().map(|(_, device)| *device);
        crate::network::sync_with(ctx, live, group, behind)?;
    }
    Ok(())
}

/// Copies a group's tip into the rows that readers and senders use: members,
/// audience, relays, topics, title, standing.
pub(crate) fn refresh(ctx: &mut Ctx<'_>, live: &mut Live, group: GroupId) -> Result<(), Reject> {
    let info = refresh_info(ctx, live, group)?;
    let view = ctx.engine.view(&ctx.tx, group)?;
    let mine = ctx.me.device();
    let audience = info.members.iter().filter(|m| m.device != mine).map(|m| (m.device, m.account)).collect();
    rows::set_audience(&mut ctx.tx, &group, &info.tip, &audience);
    let topics = ctx.engine.topics(&ctx.tx, group)?;
    live.relays.set_group(group, view.ext.relays.clone(), &topics);
    if let Some(mut c) = Conversation::load(&ctx.tx, &rows::home(&ctx.tx, &group)?.unwrap_or(group))? {
        if view.ext.kind == ConversationKind::Group {
            c.title.clone_from(&view.ext.policy.title);
        }
        let leaving = crate::duty::is_leaving(&ctx.tx, group, &ctx.me.account())?;
        let before = c.standing;
        c.standing = match (view.me_in, c.standing) {
            (true, rows::STANDING_LEFT) if leaving => rows::STANDING_LEFT,
            (true, _) => rows::STANDING_ACTIVE,
            (false, rows::STANDING_LEFT) => rows::STANDING_LEFT,
            (false, _) => rows::STANDING_REMOVED,
        };
        c.save(&mut ctx.tx);
        live.changed.insert(c.id);
        if c.standing != before {
            early::redraw(ctx, live, &group)?;
        }
    }
    for member in info.members.iter().filter(|m| m.device != mine) {
        live.want_dial(&member.device, ctx.now.mono_ms);
        let link = live.links.of_device(&member.device).and_then(|l| live.links.get(l));
        if link.is_some_and(|l| !l.synced.contains(&group)) {
            // A member that is linked already: compare notes, then follow.
            live.at(ctx.now.mono_ms + SYNC_MS, Timer::Sync(group));
        }
    }
    Ok(())
}

/// Something beside the tip is different. A tip that moved is told of by an
/// outcome of its own, with what changed by it.
fn look_again(ctx: &mut Ctx<'_>, live: &mut Live, group: GroupId) -> Result<(), StoreError> {
    let tip = kith_mls::view::group(&ctx.tx, group).map(|view| view.tip).ok();
    if GroupInfo::load(&ctx.tx, &group)?.map(|info| info.tip) == tip {
        refresh_info(ctx, live, group)?;
    }
    Ok(())
}

fn refresh_info(ctx: &mut Ctx<'_>, live: &mut Live, group: GroupId) -> Result<GroupInfo, StoreError> {
    let view = match ctx.engine.view(&ctx.tx, group) {
        Ok(view) => view,
        Err(EngineError::Store(e)) => return Err(e),
        Err(e) => return Err(StoreError::Corrupt(e.to_string())),
    };
    let ordered = Ordered::all(&ctx.tx, &group)?;
    let mut rights = Rights::new(group, ctx.me.account(), &view);
    let info = GroupInfo {
        epoch: view.epoch,
        tip: view.tip,
        members: view
            .members
            .iter()
            .map(|m| MemberInfo {
                account: m.account,
                device: m.device,
                role: match m.role {
                    Role::Owner => 0,
                    Role::Admin => 1,
                    Role::Moderator | Role::Member => 2,
                },
                seen: m.seen,
                may: rights.with(&m.account, &ordered),
            })
            .collect(),
        relays: view.ext.relays.iter().map(|r| r.name.clone()).collect(),
        may: rights.group(),
        behind: view.behind,
        title: view.ext.policy.title.clone(),
    };
    let mut admins: Vec<AccountId> =
        info.members.iter().filter(|m| m.role() != crate::view::Role::Member).map(|m| m.account).collect();
    admins.sort_unstable();
    admins.dedup();
    if rows::admins(&ctx.tx, &group)? != admins {
        rows::set_admins(&mut ctx.tx, &group, &admins);
    }
    let held = GroupInfo::load(&ctx.tx, &group)?;
    if held.as_ref().is_some_and(|held| held.behind && !info.behind) {
        Asking::delete(&mut ctx.tx, &group);
    }
    if held.as_ref() != Some(&info) {
        info.save(&mut ctx.tx, &group);
        crate::report::look_again(ctx, live, &group)?;
        if let Some(home) = rows::home(&ctx.tx, &group)? {
            live.changed.insert(home);
        }
    }
    Ok(info)
}

/// Sends own mark if it has something new to say.
pub(crate) fn send_mark(ctx: &mut Ctx<'_>, live: &mut Live, group: GroupId) -> Result<(), Reject> {
    if !heard::may_speak(ctx, live, &group)? {
        return Ok(());
    }
    if let Some(mark) = ctx.engine.mark(&mut ctx.tx, ctx.now.wall_ms, group)? {
        publish(ctx, live, group, mark)?;
    }
    if !kith_mls::view::is_contested(&ctx.tx, group)? {
        return Ok(());
    }
    // What this device says may decide, too.
    let outcomes = ctx.engine.look(&mut ctx.tx, ctx.now.wall_ms, group)?;
    apply_all(ctx, live, group, outcomes)
}

/// Sends a mark or order to the members of the tip.
pub(crate) fn publish(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    group: GroupId,
    object: Vec<u8>,
) -> Result<(), Reject> {
    let tip = ctx.engine.view(&ctx.tx, group)?.tip;
    let topic = live.relays.current_topic(&group);
    delivery::enqueue_group(ctx, live, (group, tip, topic), None, object)?;
    Ok(())
}

/// Starts showing a group: its conversation row, or a place in the one that
/// already stands for the same person.
pub(crate) fn open_conversation(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    group: GroupId,
    kind: u16,
    peer: Option<AccountId>,
) -> Result<GroupId, StoreError> {
    if let Some(peer) = peer
        && let Some(existing) = rows::direct_with(&ctx.tx, &peer)?
        && let Some(mut c) = Conversation::load(&ctx.tx, &existing)?
    {
        if !c.groups.contains(&group) {
            c.groups.push(group);
        }
        c.deleted = false;
        c.standing = rows::STANDING_ACTIVE;
        c.save(&mut ctx.tx);
        rows::set_home(&mut ctx.tx, &group, &existing);
        live.changed.insert(existing);
        return Ok(existing);
    }
    let mut c = Conversation::load(&ctx.tx, &group)?.unwrap_or_else(|| Conversation {
        id: group,
        kind,
        title: String::new(),
        peer,
        standing: rows::STANDING_ACTIVE,
        groups: vec![group],
        last_position: 0,
        read_position: 0,
        unread: 0,
        active_at: ctx.now.wall_ms,
        last: None,
        deleted: false,
    });
    c.deleted = false;
    c.standing = rows::STANDING_ACTIVE;
    c.save(&mut ctx.tx);
    rows::set_home(&mut ctx.tx, &group, &group);
    if let Some(peer) = peer {
        rows::set_direct(&mut ctx.tx, &peer, &group);
    }
    live.changed.insert(group);
    Ok(group)
}
