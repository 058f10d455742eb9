//! What comes to this device alone: contact objects and Welcomes, sealed to
//! its box key; and the same towards others.

use kith_store::StoreError;
use kith_wire::group::{BundleRef, Object, kinds as group_kinds};
use kith_wire::ids::{AccountId, DeviceId, GroupId};
use kith_wire::signed::Raw;

use crate::changes::{self, How};
use crate::ctx::Ctx;
use crate::groups::{self, Reject};
use crate::live::{Live, Timer};
use crate::rows::{self, Conversation};
use crate::{delivery, early, heard, people, timeline};
use kith_wire::group::ConversationKind;

/// Members that are dialled at once by who has come back.
const DIALLED_BACK: usize = 8;

/// Seals a signed object to a device and sends it.
pub(crate) fn send(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    account: AccountId,
    device: DeviceId,
    object: &[u8],
) -> Result<(), Reject> {
    let Some(reach) = people::reach(&ctx.tx, &device)? else {
        return Err(Reject::Invalid("no card of that device is known, so nothing can be sent to it".into()));
    };
    let sealed = ctx.engine.seal_inbox(&reach.box_key, reach.inbox.topic(), device, object)?;
    delivery::enqueue_inbox(ctx, live, account, device, sealed);
    live.want_dial(&device, ctx.now.mono_ms);
    Ok(())
}

/// Takes in a sealed entry of the own inbox, from a relay or a link.
pub(crate) fn receive(ctx: &mut Ctx<'_>, live: &mut Live, sealed: &[u8]) -> Result<(), Reject> {
    let object = ctx.engine.open_inbox(ctx.me.inbox_topic().id(), sealed)?;
    match kith_wire::group::Object::from_bytes(&object) {
        Ok(Object::Readd(_)) => return crate::duty::received(ctx, live, &object),
        // Something said in a group whose tip it was not written for.
        Ok(Object::BareEvent(event)) => return groups::ingest(ctx, live, event.gid, None, &object),
        _ => {}
    }
    let raw = Raw::from_bytes(&object)?;
    match raw.kind()? {
        group_kinds::WELCOME => join(ctx, live, &object),
        kind if kith_wire::contact::is_contact_kind(kind) => {
            people::on_contact_object(ctx, &object).map_err(|e| Reject::Invalid(e.to_string()))
        }
        group_kinds::REPORT => crate::report::received(ctx, live, &raw),
        // A commit of a group that rotated its topic: the way to the new one.
        group_kinds::COMMIT => {
            let envelope: kith_wire::group::CommitEnvelope = raw.body()?;
            groups::ingest(ctx, live, envelope.gid, None, &object)
        }
        _ => Err(Reject::Invalid("the inbox got an object that does not belong there".into())),
    }
}

/// Joins a group by its Welcome, if it comes from somebody we know.
fn join(ctx: &mut Ctx<'_>, live: &mut Live, welcome: &[u8]) -> Result<(), Reject> {
    let invitation = ctx.engine.welcome_info(welcome)?;
    if invitation.inbox != ctx.me.inbox_topic().id() {
        return Err(Reject::Invalid("the Welcome names another inbox".into()));
    }
    let BundleRef::Inline(bundle) = &invitation.bundle else {
        return Err(Reject::Invalid("the Welcome's bundle is a blob, which needs a newer Kith".into()));
    };
    let asked =
        Conversation::load(&ctx.tx, &invitation.gid)?.is_some_and(|c| c.standing == rows::STANDING_JOINING);
    // Any member may let a device in again; the engine looks at where it leads.
    let known = ctx.engine.view(&ctx.tx, invitation.gid);
    let behind = known.is_ok_and(|g| g.behind || g.members.iter().any(|m| m.account == invitation.inviter));
    if !asked && !behind && !people::may_invite(&ctx.tx, &invitation.inviter)? {
        return Err(Reject::Invalid("the Welcome comes from somebody who is no contact".into()));
    }
    let joined = match ctx.engine.join(&mut ctx.tx, ctx.now.wall_ms, welcome, bundle) {
        Ok(joined) => joined,
        // One that came twice, or that a member already stands behind.
        Err(kith_mls::EngineError::Welcome(_)) if ctx.engine.view(&ctx.tx, invitation.gid).is_ok() => {
            return Ok(());
        }
        Err(e) => return Err(e.into()),
    };
    let group = joined.gid;
    people::learn_introductions(ctx, &joined.cards)?;
    live.relearn_all(ctx)?;
    // It begins here with keys of its own.
    live.heard.begun(group);
    if joined.put_back {
        early::doubt(ctx, live, group)?;
    }
    if joined.healed {
        return back(ctx, live, joined);
    }
    let (kind, peer) = match joined.kind {
        // Another own device may have brought this one in.
        ConversationKind::Direct => {
            let other = joined.accounts.first().copied().unwrap_or(joined.inviter.0);
            (rows::KIND_DIRECT, Some(other))
        }
        ConversationKind::Group => (rows::KIND_GROUP, None),
        // Channels do not exist yet; groups of own devices are never shown.
        ConversationKind::Channel | ConversationKind::Own => return Ok(()),
    };
    groups::open_conversation(ctx, live, group, kind, peer)?;
    groups::refresh(ctx, live, group)?;
    if kind == rows::KIND_GROUP {
        let args = vec![joined.inviter.0.to_text()];
        timeline::notice(ctx, live, &group, joined.inviter.0, "joined", args)?;
    }
    for account in &joined.accounts {
        people::learn_account(ctx, account)?;
    }
    groups::publish(ctx, live, group, joined.mark)?;
    groups::apply_all(ctx, live, group, joined.outcomes)?;
    introduce(ctx, live, group)?;
    live.at(ctx.now.mono_ms + 300, Timer::Sync(group));
    crate::duty::schedule(ctx, live, group)
}

/// Goes on in a group that this device had fallen behind in.
fn back(ctx: &mut Ctx<'_>, live: &mut Live, joined: kith_mls::Joined) -> Result<(), Reject> {
    let group = joined.gid;
    let before = rows::GroupInfo::load(&ctx.tx, &group)?;
    groups::refresh(ctx, live, group)?;
    let me = ctx.me.account();
    timeline::notice(ctx, live, &group, me, "back", Vec::new())?;
    // Who changed what meanwhile is not known here.
    let how = How { by: None, left: &[], switched: false };
    changes::say(ctx, live, group, before.as_ref(), how)?;
    groups::publish(ctx, live, group, joined.mark)?;
    groups::apply_all(ctx, live, group, joined.outcomes)?;
    // Somebody is there: what was missed comes soonest from them.
    for (_, device) in kith_mls::view::line(&ctx.tx, group)?.into_iter().take(DIALLED_BACK) {
        live.dial_soon(&device, ctx.now.mono_ms);
    }
    live.at(ctx.now.mono_ms + 300, Timer::Sync(group));
    heard::speak(ctx, live, group)
}

/// Tells a group who we are and how this device is reached.
pub(crate) fn introduce(ctx: &mut Ctx<'_>, live: &mut Live, group: GroupId) -> Result<(), Reject> {
    let (profile, card) = people::introduction(ctx)?;
    heard::say(ctx, live, group, kith_wire::content::TYPE_PROFILE, &profile)?;
    heard::say(ctx, live, group, kith_wire::content::TYPE_CARD, &card)?;
    Ok(())
}

/// Starts the direct conversation with an account that was accepted.
pub(crate) fn create_direct(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    account: AccountId,
    key_package: Vec<u8>,
) -> Result<GroupId, Reject> {
    let ext = kith_wire::group::GroupExt::direct(live.relays.hints());
    let group = ctx.engine.create(&mut ctx.tx, ctx.now.wall_ms, &ext)?;
    live.heard.begun(group);
    groups::open_conversation(ctx, live, group, rows::KIND_DIRECT, Some(account))?;
    groups::refresh(ctx, live, group)?;
    let add = crate::membership::to_add(ctx, &account, key_package)?;
    let change = kith_mls::Change { adds: vec![add], ..Default::default() };
    crate::membership::commit(ctx, live, group, change)?;
    introduce(ctx, live, group)?;
    Ok(group)
}

/// Shows that we asked to join a group.
pub(crate) fn joining(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    group: GroupId,
    title: String,
) -> Result<(), StoreError> {
    if Conversation::load(&ctx.tx, &group)?.is_some_and(|c| c.standing == rows::STANDING_ACTIVE) {
        return Ok(());
    }
    groups::open_conversation(ctx, live, group, rows::KIND_GROUP, None)?;
    if let Some(mut c) = Conversation::load(&ctx.tx, &group)? {
        c.title = title;
        c.standing = rows::STANDING_JOINING;
        c.save(&mut ctx.tx);
    }
    Ok(())
}
