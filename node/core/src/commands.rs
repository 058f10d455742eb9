//! What a person or program asks for, carried out in one transaction each.

use kith_mls::EngineError;
use kith_store::{Key, Table};
use kith_wire::content::{self, Look, ReadUpTo, TEXT_BYTES_MAX};
use kith_wire::group::{GroupExt, Role, RoleEntry};
use kith_wire::ids::{AccountId, DeviceId, EventId, FileId, GroupId};
use kith_wire::limits::NAME_BYTES_MAX;
use kith_wire::net::NetCommand;
use kith_wire::peer::Frame;
use kith_wire::relay::CommunityLink;

use crate::api::{Command, Event, Refusal, Reply};
use crate::ctx::Ctx;
use crate::groups::{self, Reject};
use crate::live::{Live, Timer};
use crate::outbox::ROWS_MAX;
use crate::rows::{self, Conversation, Entry, Sent};
use crate::saying::{self, Words};
use crate::{calls, early, files, heard, membership, network, people, report, text, timeline, view};

/// Relays that a person may name.
const OWN_RELAYS_MAX: usize = 8;
/// Accounts that one command may add.
const ADD_MAX: usize = 500;
/// Characters of an idempotency key.
const KEY_CHARS_MAX: usize = 128;

impl From<Reject> for Refusal {
    fn from(e: Reject) -> Self {
        membership::refusal(e)
    }
}

/// Carries out a command.
pub(crate) fn run(ctx: &mut Ctx<'_>, live: &mut Live, command: Command) -> Result<Reply, Refusal> {
    match command {
        Command::SetProfile { name, about } => {
            people::set_profile(ctx, &name, &about)?;
            live.me_changed = true;
            broadcast_profile(ctx, live)?;
        }
        Command::SetSettings(settings) => set_settings(ctx, live, settings)?,
        Command::AddRelay { link } => return add_relay(ctx, live, &link),
        Command::RemoveRelay { relay } => {
            if !live.relays.own(&relay) {
                return Err(Refusal::new("no_such_relay", "There is no such relay."));
            }
            ctx.tx.delete(Key::of(Table::Relays, &relay.0));
            live.relays.remove(&relay, &mut live.net);
            relays_changed(ctx, live);
        }
        Command::CreateInvite { group, uses, valid_s } => {
            let group = match group {
                Some(id) => Some(invite_group(ctx, &id)?),
                None => None,
            };
            network::publish_card(ctx, live)?;
            let invite = people::create_invite(ctx, group, uses, valid_s)?;
            return Ok(Reply::Invite(Box::new(invite)));
        }
        Command::RevokeInvite { invite } => people::revoke_invite(ctx, &invite)?,
        Command::UseInvite { link, greeting } => {
            network::publish_card(ctx, live)?;
            let account = people::use_invite(ctx, &link, &greeting)?;
            return Ok(Reply::Contact(account));
        }
        Command::AcceptContact { account } => {
            network::publish_card(ctx, live)?;
            people::accept(ctx, &account)?;
        }
        Command::RefuseContact { account } => people::refuse(ctx, &account)?,
        Command::BlockContact { account, blocked } => {
            people::block(ctx, &account, blocked)?;
            if blocked {
                calls::end_with(ctx, live, &account)?;
                hang_up(live, &account);
            }
        }
        Command::SetNickname { account, nickname } => {
            people::set_nickname(ctx, &account, nickname.as_deref())?;
            if let Some(c) = rows::direct_with(&ctx.tx, &account).map_err(store)? {
                live.changed.insert(c);
            }
        }
        Command::SetVerified { account, verified } => people::set_verified(ctx, &account, verified)?,
        Command::CreateGroup { title, members } => return create_group(ctx, live, &title, &members),
        Command::RenameGroup { group, title } => rename(ctx, live, &group, &title)?,
        Command::AddMembers { group, members } => {
            let c = active(ctx, &group)?;
            check_contacts(ctx, &members)?;
            membership::invite(ctx, live, c.write_group(), &members)?;
        }
        Command::RemoveMember { group, account } => {
            let c = active(ctx, &group)?;
            let change = kith_mls::Change { remove_accounts: vec![account], ..Default::default() };
            membership::commit(ctx, live, c.write_group(), change)?;
        }
        Command::SetRole { group, account, role } => set_role(ctx, live, &group, account, role)?,
        Command::LeaveGroup { group } => leave(ctx, live, &group)?,
        Command::DeleteConversation { group } => delete(ctx, live, &group)?,
        Command::SendText { group, text, reply_to, key } => {
            return send_text(ctx, live, &group, text, reply_to, &key);
        }
        Command::SendFile { group, file, caption, reply_to, look, key } => {
            return send_file(ctx, live, &group, (file, look), caption, reply_to, &key);
        }
        Command::File(command) => return files::run(ctx, live, command),
        Command::Call(command) => return calls::run(ctx, live, command),
        Command::Retry { group, event } => return retry(ctx, live, &group, &event),
        Command::Report { group, event, reason } => report::send(ctx, live, &group, event, &reason)?,
        Command::SettleReport { group, report } => report::settle(ctx, live, &group, &report)?,
        Command::MarkRead { group, position } => mark_read(ctx, live, &group, position)?,
        Command::Turn => return Ok(Reply::Turn(crate::relays::turn_servers(live, ctx.now.mono_ms))),
        Command::Typing { group } => typing(ctx, live, &group)?,
    }
    Ok(Reply::Done)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn store(e: kith_store::StoreError) -> Refusal {
    crate::node::disk(&e)
}

fn find(ctx: &Ctx<'_>, id: &GroupId) -> Result<Conversation, Refusal> {
    Conversation::load(&ctx.tx, id)
        .map_err(store)?
        .filter(|c| !c.deleted)
        .ok_or_else(|| Refusal::new("no_such_conversation", "There is no such conversation."))
}

/// A conversation in which something can still be done.
pub(crate) fn active(ctx: &Ctx<'_>, id: &GroupId) -> Result<Conversation, Refusal> {
    let c = find(ctx, id)?;
    match c.standing {
        rows::STANDING_ACTIVE => Ok(c),
        rows::STANDING_JOINING => {
            Err(Refusal::new("joining", "You asked to join this group. Its members have not let you in yet."))
        }
        rows::STANDING_LEFT => Err(Refusal::new("left", "You have left this group.")),
        _ => Err(Refusal::new("removed", "You were removed from this group, so nothing can be sent to it.")),
    }
}

fn set_settings(ctx: &mut Ctx<'_>, live: &mut Live, settings: view::Settings) -> Result<(), Refusal> {
    rows::set_settings(&mut ctx.tx, &settings);
    let was = live.direct();
    live.settings = settings;
    if was && !live.direct() {
        let links: Vec<_> = live.links.iter().map(|(link, _)| link).collect();
        live.net.extend(links.into_iter().map(|link| NetCommand::Close { link }));
    }
    live.at(ctx.now.mono_ms, Timer::Dials);
    live.at(ctx.now.mono_ms, Timer::Card);
    live.network_changed = true;
    Ok(())
}

fn add_relay(ctx: &mut Ctx<'_>, live: &mut Live, link: &str) -> Result<Reply, Refusal> {
    let link = CommunityLink::from_text(link.trim())
        .map_err(|e| Refusal::new("bad_community_link", text::sentence(&e.to_string())))?;
    if live.relays.own_count() >= OWN_RELAYS_MAX && !live.relays.own(&link.key) {
        return Err(Refusal::new(
            "too_many_relays",
            format!("At most {OWN_RELAYS_MAX} relays can be used. Remove one first."),
        ));
    }
    ctx.tx.put(Key::of(Table::Relays, &link.key.0), link.to_text().into_bytes());
    let own = network::own_side(live);
    let relay = live.relays.add(link, &own);
    relays_changed(ctx, live);
    Ok(Reply::Relay(Box::new(relay)))
}

fn relays_changed(ctx: &Ctx<'_>, live: &mut Live) {
    live.reserve();
    live.at(ctx.now.mono_ms, Timer::RelayDials);
    live.at(ctx.now.mono_ms, Timer::Card);
    live.network_changed = true;
}

fn invite_group(ctx: &Ctx<'_>, id: &GroupId) -> Result<(GroupId, String), Refusal> {
    let c = active(ctx, id)?;
    if c.kind != rows::KIND_GROUP {
        return Err(Refusal::new("not_a_group", "Only groups have invite links of their own."));
    }
    Ok((c.write_group(), c.title))
}

fn hang_up(live: &mut Live, account: &AccountId) {
    let links: Vec<_> = live
        .links
        .iter()
        .filter(|(_, l)| l.device.is_some_and(|(_, a)| a == *account))
        .map(|(link, _)| link)
        .collect();
    live.net.extend(links.into_iter().map(|link| NetCommand::Close { link }));
}

fn check_contacts(ctx: &Ctx<'_>, members: &[AccountId]) -> Result<(), Refusal> {
    if members.len() > ADD_MAX {
        return Err(Refusal::new("too_many", format!("At most {ADD_MAX} people can be added at once.")));
    }
    for account in members {
        if !people::is_accepted(&ctx.tx, account).map_err(store)? {
            return Err(Refusal::new(
                "not_a_contact",
                "Only contacts who have accepted can be added. Send them an invite first.",
            ));
        }
    }
    Ok(())
}

fn clean_title(title: &str) -> Result<String, Refusal> {
    let title = text::clean_name(title);
    if title.is_empty() {
        return Err(Refusal::new("title_empty", "Give the group a name."));
    }
    if title.len() > NAME_BYTES_MAX {
        return Err(Refusal::new("title_too_long", "The group's name is too long. Shorten it."));
    }
    Ok(title)
}

fn create_group(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    title: &str,
    members: &[AccountId],
) -> Result<Reply, Refusal> {
    let title = clean_title(title)?;
    check_contacts(ctx, members)?;
    let ext = GroupExt::group(ctx.me.account(), &title, live.relays.hints());
    let group = ctx.engine.create(&mut ctx.tx, ctx.now.wall_ms, &ext).map_err(groups::refusal)?;
    live.heard.begun(group);
    groups::open_conversation(ctx, live, group, rows::KIND_GROUP, None).map_err(store)?;
    groups::refresh(ctx, live, group)?;
    let me = ctx.me.account();
    timeline::notice(ctx, live, &group, me, "created", vec![me.to_text(), title]).map_err(store)?;
    crate::inbox::introduce(ctx, live, group)?;
    if !members.is_empty() {
        membership::invite(ctx, live, group, members)?;
    }
    Ok(Reply::Conversation(group))
}

fn rename(ctx: &mut Ctx<'_>, live: &mut Live, id: &GroupId, title: &str) -> Result<(), Refusal> {
    let title = clean_title(title)?;
    let c = active(ctx, id)?;
    if c.kind != rows::KIND_GROUP {
        return Err(Refusal::new("not_a_group", "A conversation with one person has no name of its own."));
    }
    let group = c.write_group();
    let mut ext = ctx.engine.view(&ctx.tx, group).map_err(groups::refusal)?.ext;
    if ext.policy.title == title {
        return Ok(());
    }
    ext.policy.title = title;
    let change = kith_mls::Change { ext: Some(ext), ..Default::default() };
    Ok(membership::commit(ctx, live, group, change)?)
}

fn set_role(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    id: &GroupId,
    account: AccountId,
    role: view::Role,
) -> Result<(), Refusal> {
    let c = active(ctx, id)?;
    if c.kind != rows::KIND_GROUP {
        return Err(Refusal::new("not_a_group", "In a conversation with one person there are no roles."));
    }
    let group = c.write_group();
    let view = ctx.engine.view(&ctx.tx, group).map_err(groups::refusal)?;
    let Some(member) = view.members.iter().find(|m| m.account == account) else {
        return Err(Refusal::new("not_a_member", "This person is not in the group."));
    };
    let role = match role {
        view::Role::Owner => Role::Owner,
        view::Role::Admin => Role::Admin,
        view::Role::Member => Role::Member,
    };
    if member.role == role {
        return Ok(());
    }
    if role > Role::Member && role < member.role {
        return Err(Refusal::new(
            "step_by_step",
            "Make this person a plain member first, then give the lower role.",
        ));
    }
    let mut ext = view.ext;
    let me = ctx.me.account();
    if view.role == Role::Owner && !ext.roles.contains_key(&me) && account != me {
        // Who is owner because nobody else had a role stays it.
        ext.roles.insert(me, RoleEntry { role: Role::Owner, epoch: view.epoch + 1 });
    }
    if role == Role::Member {
        ext.roles.remove(&account);
    } else {
        ext.roles.insert(account, RoleEntry { role, epoch: view.epoch + 1 });
    }
    let change = kith_mls::Change { ext: Some(ext), ..Default::default() };
    Ok(membership::commit(ctx, live, group, change)?)
}

fn leave(ctx: &mut Ctx<'_>, live: &mut Live, id: &GroupId) -> Result<(), Refusal> {
    let mut c = active(ctx, id)?;
    if c.kind != rows::KIND_GROUP {
        return Err(Refusal::new(
            "not_a_group",
            "A conversation with one person cannot be left. Delete it, or block the person.",
        ));
    }
    let group = c.write_group();
    membership::leave(ctx, live, group)?;
    let me = ctx.me.account();
    timeline::notice(ctx, live, &group, me, "left", vec![me.to_text(), me.to_text()]).map_err(store)?;
    c = find(ctx, id)?;
    c.standing = rows::STANDING_LEFT;
    c.save(&mut ctx.tx);
    live.changed.insert(c.id);
    Ok(())
}

fn delete(ctx: &mut Ctx<'_>, live: &mut Live, id: &GroupId) -> Result<(), Refusal> {
    let mut c = find(ctx, id)?;
    if c.kind == rows::KIND_GROUP && c.standing == rows::STANDING_ACTIVE {
        return Err(Refusal::new(
            "still_a_member",
            "Leave the group first. Otherwise its next message would bring it back.",
        ));
    }
    let mut from = 0;
    loop {
        let page = Entry::range(&ctx.tx, id, from, u64::MAX, false, 500).map_err(store)?;
        let Some(last) = page.last() else { break };
        from = last.position + 1;
        for e in &page {
            e.delete(&mut ctx.tx, id);
            files::message_gone(ctx, live, e).map_err(store)?;
        }
    }
    c.deleted = true;
    c.last = None;
    c.unread = 0;
    c.read_position = c.last_position;
    c.save(&mut ctx.tx);
    live.events.push(Event::ConversationRemoved { id: id.hex() });
    Ok(())
}

/// What a request with this key was answered before, if it was.
fn answered(ctx: &Ctx<'_>, key: &str) -> Result<Option<Reply>, Refusal> {
    if key.is_empty() || key.len() > KEY_CHARS_MAX {
        return Err(Refusal::new("bad_key", "The request's key must have 1 to 128 characters."));
    }
    let before = rows::answered(&ctx.tx, key).map_err(store)?;
    Ok(before.map(|(event, position)| Reply::Accepted { event, position }))
}

fn send_text(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    id: &GroupId,
    body: String,
    reply_to: Option<EventId>,
    key: &str,
) -> Result<Reply, Refusal> {
    if let Some(reply) = answered(ctx, key)? {
        return Ok(reply);
    }
    if body.trim().is_empty() {
        return Err(Refusal::new("empty", "There is nothing to send."));
    }
    if body.len() > TEXT_BYTES_MAX {
        return Err(Refusal::new(
            "too_long",
            format!("A message can have {} KiB. Send it in parts.", TEXT_BYTES_MAX >> 10),
        ));
    }
    post(ctx, live, id, Words { text: body, reply_to, file: None }, key)
}

fn send_file(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    id: &GroupId,
    (file, look): (FileId, Option<Look>),
    caption: String,
    reply_to: Option<EventId>,
    key: &str,
) -> Result<Reply, Refusal> {
    if let Some(reply) = answered(ctx, key)? {
        return Ok(reply);
    }
    let mut attachment = files::send(ctx, &file, &caption, look)?;
    attachment.reply_to = reply_to;
    post(ctx, live, id, Words { text: caption, reply_to, file: Some(attachment) }, key)
}

/// Sends a message if the conversation takes one now.
fn post(ctx: &mut Ctx<'_>, live: &mut Live, id: &GroupId, words: Words, key: &str) -> Result<Reply, Refusal> {
    let c = active(ctx, id)?;
    if live.outbox.len() >= ROWS_MAX {
        return Err(Refusal::new(
            "outbox_full",
            "Too many messages wait for a path. Connect to the network or add a relay, then try again.",
        ));
    }
    if let Some(peer) = &c.peer
        && people::is_blocked(&ctx.tx, peer).map_err(store)?
    {
        return Err(Refusal::new("blocked", "You have blocked this person. Unblock them to write."));
    }
    let (event, position) = match saying::send_text(ctx, live, &c, words.clone()) {
        Err(EngineError::NotHeard) => early::hold(ctx, live, &c, words, key)?,
        sent => sent.map_err(groups::refusal)?,
    };
    rows::set_answered(&mut ctx.tx, key, event, position);
    early::note(ctx, live, c.write_group(), event, key)?;
    Ok(Reply::Accepted { event, position })
}

fn retry(ctx: &mut Ctx<'_>, live: &mut Live, id: &GroupId, event: &EventId) -> Result<Reply, Refusal> {
    let no_such = || Refusal::new("no_such_message", "There is no such message.");
    let c = active(ctx, id)?;
    let (home, position) = Entry::place(&ctx.tx, event).map_err(store)?.ok_or_else(no_such)?;
    let entry = Entry::load(&ctx.tx, &home, position)
        .map_err(store)?
        .filter(|e| {
            home == *id
                && matches!(e.kind, rows::ENTRY_TEXT | rows::ENTRY_FILE)
                && e.author == ctx.me.account()
        })
        .ok_or_else(no_such)?;
    if entry.seq == 0 {
        let (event, position) = early::retry(ctx, live, &c, &entry)?;
        return Ok(Reply::Accepted { event, position });
    }
    let mut sent = Sent::load(&ctx.tx, &entry.group, entry.seq).map_err(store)?.ok_or_else(no_such)?;
    if sent.problem.is_none() {
        // Not failed: it is on its way already.
        return Ok(Reply::Accepted { event: *event, position });
    }
    let (new, new_position) =
        saying::send_anew(ctx, live, &c, &entry, entry.reply_to).map_err(groups::refusal)?;
    sent.problem = None;
    sent.save(&mut ctx.tx, &entry.group, entry.seq);
    Ok(Reply::Accepted { event: new, position: new_position })
}

fn mark_read(ctx: &mut Ctx<'_>, live: &mut Live, id: &GroupId, position: u64) -> Result<(), Refusal> {
    let c = find(ctx, id)?;
    let newly = timeline::mark_read(ctx, live, id, position).map_err(store)?;
    if newly.is_empty() || !live.settings.read_receipts || c.standing != rows::STANDING_ACTIVE {
        return Ok(());
    }
    let mut by_group: std::collections::BTreeMap<GroupId, Vec<(DeviceId, u64)>> = Default::default();
    for (group, device, seq) in newly {
        by_group.entry(group).or_default().push((device, seq));
    }
    for (group, mut devices) in by_group {
        devices.sort();
        let content = ReadUpTo { devices }.to_bytes();
        heard::say(ctx, live, group, content::TYPE_READ, &content).map_err(groups::refusal)?;
    }
    Ok(())
}

fn typing(ctx: &mut Ctx<'_>, live: &mut Live, id: &GroupId) -> Result<(), Refusal> {
    let c = active(ctx, id)?;
    if !live.settings.typing {
        return Ok(());
    }
    let group = c.write_group();
    let frame = Frame::Typing { group }.to_bytes();
    let links: Vec<_> =
        live.links.iter().filter(|(_, l)| l.synced.contains(&group)).map(|(link, _)| link).collect();
    live.net.extend(links.into_iter().map(|link| NetCommand::Send { link, frame: frame.clone() }));
    Ok(())
}

fn broadcast_profile(ctx: &mut Ctx<'_>, live: &mut Live) -> Result<(), Refusal> {
    let (profile, _) = people::introduction(ctx)?;
    for c in Conversation::all(&ctx.tx).map_err(store)? {
        if c.standing == rows::STANDING_ACTIVE {
            heard::say(ctx, live, c.write_group(), content::TYPE_PROFILE, &profile)
                .map_err(groups::refusal)?;
        }
    }
    Ok(())
}
