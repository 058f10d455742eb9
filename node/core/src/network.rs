//! What happens on the network: links come and go, frames come in, people are
//! dialled, notes are compared with linked members.

use std::collections::{BTreeMap, BTreeSet};

use kith_store::{Read, StoreError};
use kith_wire::content;
use kith_wire::ids::{AccountId, DeviceId, GroupId, RelayId};
use kith_wire::net::{LinkFacts, LinkId, LinkKind, NetCommand, NetEvent, Path};
use kith_wire::peer::{Frame, nack};
use rand_core::Rng as _;

use sha2::{Digest as _, Sha256};

use crate::api::{Event, Now};
use crate::ctx::Ctx;
use crate::groups::{self, Reject};
use crate::links::{Step, Token};
use crate::live::{Live, Timer};
use crate::node::Node;
use crate::rows::{Conversation, GroupInfo};
use crate::{delivery, doctor, heard, inbox, membership, people, relays, view};

/// Bytes of one answer to a sync.
const SYNC_BYTES_MAX: usize = 2 << 20;
/// Dials of people's devices under way at once.
const DIALLING_MAX: usize = 16;
/// Inbox objects that a link may bring before it has proven a device.
const STRANGER_OBJECTS_MAX: u32 = 16;
/// Own addresses change in bursts; the card waits for them to settle, ms.
const CARD_MS: u64 = 1_500;

/// Takes in one event of the overlay.
pub(crate) fn on_event(node: &mut Node, now: Now, event: NetEvent) {
    match event {
        NetEvent::Up { link, kind: LinkKind::Peer, peer, local, path } => {
            let nonce = node.nonce();
            let live = node.live();
            if let Some((device, _)) = live.directory.get(&peer)
                && let Some(dial) = live.dials.get_mut(device)
            {
                dial.dialling = false;
            }
            if let Some((device, _)) = live.directory.get(&peer) {
                live.dial_reasons.remove(device);
            }
            live.links.up(link, (peer, local, path), nonce, &mut live.net);
            if let Some(l) = live.links.get_mut(link) {
                l.since_ms = now.wall_ms;
            }
        }
        NetEvent::Up { link, kind: LinkKind::Log, peer, local, path } => {
            let live = node.live();
            live.relays.up(link, (peer, local, path), now.wall_ms, &mut live.net);
            live.met_at(&RelayId(peer.0), now.mono_ms);
        }
        NetEvent::Measured { link, facts } => {
            let live = node.live();
            if let Some(l) = live.links.get_mut(link) {
                // A round trip alone is worth no event of its own.
                let plain = |f: &LinkFacts| LinkFacts { rtt_ms: None, ..*f };
                live.network_changed |= plain(&l.facts) != plain(&facts) || l.facts.rtt_ms.is_none();
                l.facts = facts;
            } else {
                live.network_changed |= live.relays.measured(link, facts.rtt_ms);
            }
        }
        NetEvent::Nearby { peer } => {
            let live = node.live();
            if let Some((device, _)) = live.directory.get(&peer).copied()
                && live.links.of_device(&device).is_none()
                && let Some(dial) = live.dials.get_mut(&device)
            {
                dial.next_at = now.mono_ms;
                live.at(now.mono_ms, Timer::Dials);
            }
        }
        NetEvent::Outside { mapping, inbound } => {
            let live = node.live();
            (live.mapping, live.inbound) = (mapping, inbound);
            live.network_changed = true;
        }
        NetEvent::Frame { link, frame } => {
            if node.live().relays.is_link(link) {
                relay_frame(node, now, link, &frame);
            } else {
                peer_frame(node, now, link, &frame);
            }
        }
        NetEvent::Down { link, reason } => down(node, now, link, &reason),
        NetEvent::DialFailed { kind, peer, reason } => {
            let (live, _, rng) = node.parts();
            let jitter = rng.next_u32().to_be_bytes()[0];
            match kind {
                LinkKind::Log => {
                    live.relays.dial_failed(&peer, &reason, now.mono_ms, jitter);
                    live.network_changed = true;
                    relays::schedule(live);
                }
                LinkKind::Peer => {
                    if let Some((device, _)) = live.directory.get(&peer).copied() {
                        let meeting = live.can_meet(&device);
                        let Some(dial) = live.dials.get_mut(&device) else { return };
                        dial.failed(now.mono_ms, jitter, meeting);
                        let at = dial.next_at;
                        live.at(at, Timer::Dials);
                        if live.dial_reasons.insert(device, reason.clone()).as_ref() != Some(&reason) {
                            live.network_changed = true;
                        }
                        let dials = &live.dials;
                        live.dial_reasons.retain(|device, _| dials.contains_key(device));
                    }
                }
            }
        }
        NetEvent::Addresses { addrs } => {
            let live = node.live();
            if live.addrs != addrs {
                live.addrs = addrs;
                live.network_changed = true;
                live.at(now.mono_ms + CARD_MS, Timer::Card);
            }
        }
        NetEvent::Reservation { .. } => node.live().network_changed = true,
    }
}

fn down(node: &mut Node, now: Now, link: LinkId, reason: &str) {
    let (live, _, rng) = node.parts();
    let jitter = rng.next_u32().to_be_bytes()[0];
    live.network_changed = true;
    live.files.sources_changed();
    if let Some(relay) = live.relays.down(link, reason, now.mono_ms, jitter) {
        live.outbox.relay_lost(&relay);
        relays::schedule(live);
    } else if let Some(gone) = live.links.down(link)
        && let Some((device, _)) = gone.device.or_else(|| live.directory.get(&gone.peer).copied())
    {
        // What was on its way over this link goes to the relays now.
        live.outbox.link_lost(&device);
        if let Some(dial) = live.dials.get_mut(&device) {
            dial.lost(now.mono_ms, jitter);
            let at = dial.next_at;
            live.at(at, Timer::Dials);
        }
    }
}

fn relay_frame(node: &mut Node, now: Now, link: LinkId, frame: &[u8]) {
    for work in relays::frame(node.live(), link, frame, now.wall_ms) {
        let done = node.apply(now, |ctx, live| relays::work(ctx, live, &work));
        if let relays::Work::Entry { relay, topic, index, bytes } = &work {
            if done.is_err() {
                // The entry is bad or not for us; what comes behind it is not.
                let _failed = node.apply(now, |ctx, live| relays::skip(ctx, live, *relay, *topic, *index));
            }
            relays::consumed(node.live(), *relay, bytes.len());
        }
    }
}

fn peer_frame(node: &mut Node, now: Now, link: LinkId, bytes: &[u8]) {
    let Ok(frame) = Frame::from_bytes(bytes) else {
        node.live().net.push(NetCommand::Close { link });
        return;
    };
    match frame {
        Frame::Hello { lowest, highest, nonce } => {
            let (live, me, _) = node.parts();
            let Some(peer) = live.links.get(link).map(|l| l.peer) else { return };
            let expected = live.directory.get(&peer).copied();
            let step = live.links.hello(link, (lowest, highest), nonce, expected, me, &mut live.net);
            if let Some((device, _)) = expected {
                // What is sealed to its inbox needs no proof.
                let _failed =
                    node.apply(now, |ctx, live| Ok::<_, Reject>(delivery::offer_inbox(ctx, live, &device)?));
            }
            let live = node.live();
            if step == Step::OtherVersion {
                live.net.push(NetCommand::Close { link });
                live.notice(
                    None,
                    "peer_version",
                    "A person's device speaks another version of Kith. One of you needs to update before you can connect directly.".into(),
                );
            }
        }
        Frame::Proof { device, sig } => {
            let account = people::account_of(&node.reader(), &device).ok().flatten();
            let blocked = account.is_some_and(|a| people::is_blocked(&node.reader(), &a).unwrap_or(false));
            let (live, me, _) = node.parts();
            if blocked {
                live.net.push(NetCommand::Close { link });
                return;
            }
            if let Step::Proven(device) = live.links.proof(link, device, &sig, account, me, &mut live.net) {
                live.network_changed = true;
                live.files.sources_changed();
                let _failed = node.apply(now, |ctx, live| proven(ctx, live, link, device));
            }
        }
        Frame::Object { number, group, object } => {
            let Some((device, _)) = node.live().links.get(link).and_then(|l| l.device) else {
                return reply(node, link, &Frame::Nack { number, code: nack::NOT_MEMBER });
            };
            let result = node.apply(now, |ctx, live| {
                if !knows(&ctx.tx, group, device)? {
                    return Err(Reject::TooEarly);
                }
                groups::ingest(ctx, live, group, Some(device), &object)
            });
            reply(node, link, &answer(number, &result));
        }
        Frame::Inbox { number, sealed } => {
            let live = node.live();
            let Some(l) = live.links.get_mut(link) else { return };
            if l.device.is_none() {
                l.stranger_objects += 1;
                if l.stranger_objects > STRANGER_OBJECTS_MAX {
                    live.net.push(NetCommand::Close { link });
                    return;
                }
            }
            let result = node.apply(now, |ctx, live| inbox::receive(ctx, live, &sealed));
            reply(node, link, &answer(number, &result));
        }
        Frame::Ack { number } => {
            let live = node.live();
            let Some((device, _)) = live.links.get(link).and_then(|l| l.device.or(l.expected)) else {
                return;
            };
            let Some(token) = live.links.answered(link, number, &mut live.net) else { return };
            let _failed = node.apply(now, |ctx, live| {
                delivery::answered(ctx, live, device, token)?;
                if let Token::Synced { group, more: true, .. } = token {
                    hello(ctx, live, link, group, true)?;
                }
                Ok::<_, Reject>(())
            });
        }
        Frame::Nack { number, .. } => {
            let live = node.live();
            if let Some(Token::Item(item)) = live.links.answered(link, number, &mut live.net) {
                live.outbox.want_relay(item);
            }
        }
        Frame::Sync { group, hello: theirs, reply } => {
            let _failed = node.apply(now, |ctx, live| {
                let Some((device, _)) = live.links.get(link).and_then(|l| l.device) else { return Ok(()) };
                if !knows(&ctx.tx, group, device)? {
                    return Ok(());
                }
                let inside = is_member(&ctx.tx, &group, &device)?;
                if inside {
                    let more = kith_mls::view::knows_more_of_me(&ctx.tx, group, &theirs)?;
                    heard::told(ctx, live, group, device, more)?;
                }
                let new = sync_answer(ctx, live, link, (group, device), &theirs)?;
                // Behind the answer, so that the far end knows by then what that brought.
                if inside && reply {
                    hello(ctx, live, link, group, false)?;
                } else if !inside
                    && new
                    && let Some(hello) = ctx.engine.sync_hello_back(&ctx.tx, group, device, &theirs)?
                {
                    let frame = Frame::Sync { group, hello, reply: true };
                    live.net.push(NetCommand::Send { link, frame: frame.to_bytes() });
                }
                Ok::<_, Reject>(())
            });
        }
        Frame::PackageRequest => {
            let _failed = node.apply(now, |ctx, live| {
                let Some(l) = live.links.get_mut(link) else { return Ok(()) };
                l.packages_given += 1;
                if l.device.is_none() || l.packages_given > STRANGER_OBJECTS_MAX {
                    return Ok(());
                }
                let package = ctx.engine.key_package(&mut ctx.tx, false)?;
                let frame = Frame::Package { package }.to_bytes();
                live.net.push(NetCommand::Send { link, frame });
                Ok::<_, Reject>(())
            });
        }
        Frame::Package { package } => {
            let Some((_, account)) = node.live().links.get(link).and_then(|l| l.device) else { return };
            let _failed = node.apply(now, |ctx, live| {
                membership::package(ctx, live, account, package);
                Ok::<_, Reject>(())
            });
        }
        Frame::Typing { group } => {
            let Some((device, account)) = node.live().links.get(link).and_then(|l| l.device) else { return };
            let home = {
                let r = node.reader();
                if !is_member(&r, &group, &device).unwrap_or(false) {
                    return;
                }
                crate::rows::home(&r, &group).ok().flatten()
            };
            if let Some(conversation) = home {
                node.live()
                    .events
                    .push(Event::Typing { conversation: conversation.hex(), account: account.to_text() });
            }
        }
    }
}

fn reply(node: &mut Node, link: LinkId, frame: &Frame) {
    node.live().net.push(NetCommand::Send { link, frame: frame.to_bytes() });
}

fn answer(number: u64, result: &Result<(), Reject>) -> Frame {
    match result {
        Ok(()) => Frame::Ack { number },
        Err(Reject::TooEarly) => Frame::Nack { number, code: nack::NOT_MEMBER },
        Err(Reject::Invalid(_)) => Frame::Nack { number, code: nack::INVALID },
        Err(Reject::Store(_)) => Frame::Nack { number, code: nack::BUSY },
    }
}

fn is_member(r: &dyn Read, group: &GroupId, device: &DeviceId) -> Result<bool, StoreError> {
    Ok(GroupInfo::load(r, group)?.is_some_and(|i| i.members.iter().any(|m| m.device == *device)))
}

/// Whether a device is or was in a group, as far as is known here.
fn knows(r: &dyn Read, group: GroupId, device: DeviceId) -> Result<bool, Reject> {
    Ok(kith_mls::view::knows_device(r, group, device)?)
}

/// Both sides of a link have proven themselves: what waits goes out, and
/// notes are compared in every group that both are in.
pub(crate) fn proven(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    link: LinkId,
    device: DeviceId,
) -> Result<(), Reject> {
    delivery::offer_inbox(ctx, live, &device)?;
    for c in Conversation::all(&ctx.tx)? {
        for group in &c.groups {
            if is_member(&ctx.tx, group, &device)? {
                // As long as nothing may be said, the far end's answer is waited for.
                let reply = !live.heard.knows(group);
                hello(ctx, live, link, *group, reply)?;
            }
        }
    }
    if !live.adds.missing().is_empty() {
        live.at(ctx.now.mono_ms, Timer::Adds);
    }
    Ok(())
}

fn hello(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    link: LinkId,
    group: GroupId,
    reply: bool,
) -> Result<(), Reject> {
    let hello = ctx.engine.sync_hello(&ctx.tx, group)?;
    live.net.push(NetCommand::Send { link, frame: Frame::Sync { group, hello, reply }.to_bytes() });
    Ok(())
}

/// Sends what the far end lacks by its hello. `false`: that was answered on this
/// link, and nothing has changed since.
fn sync_answer(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    link: LinkId,
    (group, device): (GroupId, DeviceId),
    hello: &[u8],
) -> Result<bool, Reject> {
    let version = kith_mls::view::version(&ctx.tx, group)?;
    let same: [u8; 32] = Sha256::new_with_prefix(version.to_be_bytes()).chain_update(hello).finalize().into();
    if let Some(l) = live.links.get_mut(link)
        && l.answered.insert(group, same) == Some(same)
    {
        return Ok(false);
    }
    let objects = ctx.engine.sync_answer(&ctx.tx, group, device, hello, SYNC_BYTES_MAX)?;
    let more = objects.iter().map(Vec::len).sum::<usize>() >= SYNC_BYTES_MAX / 2;
    let token = Token::Synced { group, below: live.outbox.next_number(), more };
    if let Some(l) = live.links.get_mut(link) {
        l.synced.insert(group);
    }
    let Some((last, rest)) = objects.split_last() else {
        delivery::answered(ctx, live, device, token)?;
        return Ok(true);
    };
    for object in rest {
        live.links.send_object(link, group, object.clone(), Token::Part, &mut live.net);
    }
    live.links.send_object(link, group, last.clone(), token, &mut live.net);
    Ok(true)
}

/// Compares notes in the groups that have been split, though nothing came of
/// them for long: who was left behind on a branch that lost has nobody there
/// that would tell it.
pub(crate) fn sync_split(ctx: &mut Ctx<'_>, live: &mut Live) -> Result<(), Reject> {
    for c in Conversation::all(&ctx.tx)? {
        for group in &c.groups {
            if kith_mls::view::is_contested(&ctx.tx, *group)? {
                sync_all(ctx, live, *group)?;
            }
        }
    }
    Ok(())
}

/// Compares notes with those of some devices that are linked.
pub(crate) fn sync_with(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    group: GroupId,
    devices: impl Iterator<Item = DeviceId>,
) -> Result<(), Reject> {
    for device in devices {
        if let Some(link) = live.links.of_device(&device) {
            hello(ctx, live, link, group, true)?;
        }
    }
    Ok(())
}

/// Compares notes with every linked member of a group.
pub(crate) fn sync_all(ctx: &mut Ctx<'_>, live: &mut Live, group: GroupId) -> Result<(), Reject> {
    let Some(info) = GroupInfo::load(&ctx.tx, &group)? else { return Ok(()) };
    sync_with(ctx, live, group, info.members.into_iter().map(|m| m.device))
}

/// Dials the devices of people whose time has come.
pub(crate) fn dial_people(ctx: &mut Ctx<'_>, live: &mut Live) -> Result<(), Reject> {
    if !live.direct() {
        return Ok(());
    }
    let now = ctx.now.mono_ms;
    let mut dialling = live.dials.values().filter(|d| d.dialling).count();
    let due: Vec<DeviceId> = live
        .dials
        .iter()
        .filter(|(device, d)| !d.dialling && d.next_at <= now && live.links.of_device(device).is_none())
        .map(|(device, _)| *device)
        .collect();
    for device in due {
        if dialling >= DIALLING_MAX {
            live.at(now + 500, Timer::Dials);
            return Ok(());
        }
        let reach = people::reach(&ctx.tx, &device)?;
        let blocked = match &reach {
            Some(reach) => people::is_blocked(&ctx.tx, &reach.account)?,
            None => true,
        };
        let Some(card) = reach.filter(|c| !blocked && !c.addrs.is_empty()) else {
            // Dialled again when a card with an address comes.
            live.dials.remove(&device);
            continue;
        };
        if live.links.of_peer(&card.transport).is_some() {
            continue;
        }
        let meeting = live.can_meet(&device);
        let Some(dial) = live.dials.get_mut(&device) else { continue };
        dial.dialling = true;
        let patient = dial.patient || !meeting;
        dialling += 1;
        live.net.push(NetCommand::Dial {
            kind: LinkKind::Peer,
            peer: card.transport,
            addrs: card.addrs,
            patient,
        });
    }
    if let Some(next) = live
        .dials
        .iter()
        .filter(|(device, d)| !d.dialling && d.next_at > now && live.links.of_device(device).is_none())
        .map(|(_, d)| d.next_at)
        .min()
    {
        live.at(next, Timer::Dials);
    }
    Ok(())
}

/// Gives everybody the own card if addresses or relays have changed.
pub(crate) fn publish_card(ctx: &mut Ctx<'_>, live: &mut Live) -> Result<(), Reject> {
    let addrs = if live.direct() { live.addrs.clone() } else { Vec::new() };
    if !people::update_own_card(ctx, &live.relays.hints(), &addrs)? {
        return Ok(());
    }
    let (_, card) = people::introduction(ctx)?;
    for c in Conversation::all(&ctx.tx)? {
        if c.standing == crate::rows::STANDING_ACTIVE {
            heard::say(ctx, live, c.write_group(), content::TYPE_CARD, &card)?;
        }
    }
    Ok(())
}

/// The network in one view, with what the doctor says of it.
pub(crate) fn view(r: &dyn Read, live: &Live) -> view::Network {
    let own = own_side(live);
    let mut linked = BTreeSet::new();
    let mut peers = Vec::new();
    for (link, l) in live.links.iter() {
        let Some((device, account)) = l.device else { continue };
        linked.insert(account);
        // A link that a better one is just replacing is not worth a line.
        if live.links.of_device(&device) != Some(link) {
            continue;
        }
        let relay = l.facts.relay.and_then(|key| live.relays.name_of(&RelayId(key.0)));
        let doctor::Finding { sentence, advice } = doctor::linked(&own, l.path, &l.facts, relay.as_deref());
        peers.push(view::PeerLink {
            account: Some(account.to_text()),
            name: people::display_name(r, &account).unwrap_or_default(),
            path: path_name(l.path).into(),
            label: doctor::label(l.path, &l.facts).into(),
            relay,
            since: l.since_ms,
            rtt_ms: l.facts.rtt_ms,
            sentence,
            advice,
        });
    }
    let findings = doctor::own(&own)
        .into_iter()
        .map(|f| view::Finding { sentence: f.sentence, advice: f.advice })
        .collect();
    view::Network {
        relays: live.relays.views(&own),
        peers,
        addrs: live.addrs.clone(),
        waiting: u32::try_from(live.outbox.waiting()).unwrap_or(u32::MAX),
        away: away(r, live, &own, &linked),
        findings,
    }
}

/// The stable name of a path.
pub(crate) fn path_name(path: Path) -> &'static str {
    match path {
        Path::DirectQuic => "direct_quic",
        Path::DirectTcp => "direct_tcp",
        Path::Circuit => "circuit",
    }
}

/// What is known of the own side.
pub(crate) fn own_side(live: &Live) -> doctor::Own {
    let over_udp = live.links.iter().any(|(_, l)| l.path == Path::DirectQuic && !l.facts.near);
    let port = live.addrs.iter().find_map(|a| {
        let (_, rest) = a.split_once("/udp/")?;
        rest.split('/').next()?.parse().ok()
    });
    doctor::Own {
        direct: live.direct(),
        udp: if over_udp { Some(true) } else { live.relays.udp() },
        mapping: live.mapping,
        inbound: live.inbound,
        relays: live.relays.standing(),
        port,
    }
}

/// People whom nothing links to, and where their messages are.
fn away(r: &dyn Read, live: &Live, own: &doctor::Own, linked: &BTreeSet<AccountId>) -> Vec<view::Away> {
    let mut seen: BTreeMap<AccountId, (BTreeSet<RelayId>, Option<&str>)> = BTreeMap::new();
    let own_account = crate::identity::own_account(r).ok().flatten();
    for (device, account) in live.directory.values() {
        if linked.contains(account) || Some(*account) == own_account {
            continue;
        }
        if seen.len() >= view::AWAY_LIST_MAX && !seen.contains_key(account) {
            continue;
        }
        let (relays, reason) = seen.entry(*account).or_default();
        relays.extend(live.card_relays(device));
        *reason = reason.or_else(|| live.dial_reasons.get(device).map(String::as_str));
    }
    seen.into_iter()
        .map(|(account, (relays, reason))| {
            let names: Vec<String> = relays.iter().filter_map(|id| live.relays.name_of(id)).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let doctor::Finding { sentence, advice } = doctor::away(own, &names, reason);
            view::Away {
                account: account.to_text(),
                name: people::display_name(r, &account).unwrap_or_default(),
                sentence,
                advice,
            }
        })
        .collect()
}
