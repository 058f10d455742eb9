//! Calls of two people: what the state machine of [`machine`] decides becomes
//! signals in the conversation's group, rows of its timeline, and events for
//! every open page.
//!
//! Owns who may call at all, which addresses pass ([`candidates`]), what is
//! kept of a call, and what pages ask for. Media never pass through here.

pub mod candidates;
pub mod machine;
mod rows;
mod views;

use kith_mls::{EngineError, ReceivedEvent};
use kith_store::StoreError;
use kith_wire::call::{Body, CallId, Reason, Signal, check_sdp};
use kith_wire::content::TYPE_CALL;
use kith_wire::ids::{AccountId, EventId, GroupId};
use rand_core::Rng as _;

use crate::api::{CallCommand, Event, Now, Refusal, Reply};
use crate::ctx::Ctx;
use crate::groups::{self, Reject};
use crate::live::{Live, Timer};
use crate::rows::Conversation;
use crate::{commands, heard, people, saying, view};
use candidates::Own;
use machine::{Ask, Machine, Out};

pub(crate) use rows::{hides, line as row_line, quiet};
pub(crate) use views::content as content_view;

/// Characters of the name that a page gives itself.
const TAB_CHARS_MAX: usize = 64;
/// Candidates that a page may hand in at once.
const LINES_MAX: usize = 64;

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn store(e: StoreError) -> Refusal {
    crate::node::disk(&e)
}

/// Carries out what a page or program asks for.
pub(crate) fn run(ctx: &mut Ctx<'_>, live: &mut Live, command: CallCommand) -> Result<Reply, Refusal> {
    let before = live.calls.clone();
    let done = command_in(ctx, live, command);
    if done.is_err() {
        // Nothing has happened: the machine forgets it, too.
        live.calls = before;
    }
    done
}

fn command_in(ctx: &mut Ctx<'_>, live: &mut Live, command: CallCommand) -> Result<Reply, Refusal> {
    let now = ctx.now;
    match command {
        CallCommand::Dial { conversation, sdp, video, tab } => {
            return dial(ctx, live, &conversation, (sdp, video), tab);
        }
        CallCommand::Do { call, tab, ask } => {
            check_tab(&tab)?;
            let peer = live.calls.get(&call).map(|c| c.peer);
            let hide = match peer {
                Some(peer) => rows::hides(&ctx.tx, &peer).map_err(store)?,
                None => true,
            };
            let keeps = ask == Ask::Keep;
            let ask = clean(ask, hide)?;
            if matches!(ask, Ask::Answer(_)) && hide {
                relay_needed(live, ctx.now)?;
            }
            live.calls.ask(now, &call, &tab, ask)?;
            carry_out(ctx, live).map_err(groups::refusal)?;
            if keeps {
                rows::keep_open(&mut ctx.tx, &live.calls.left(now));
            }
        }
        CallCommand::HangUp { call, reason } => {
            live.calls.hang_up(now, &call, reason);
            carry_out(ctx, live).map_err(groups::refusal)?;
        }
        CallCommand::List => {
            let calls: Vec<_> = live.calls.calls().collect();
            let all = calls.into_iter().map(|c| views::call(&ctx.tx, now, c)).collect::<Result<_, _>>();
            return Ok(Reply::Calls(all.map_err(store)?));
        }
        CallCommand::Get { call, after } => {
            let no_such = || Refusal::new("no_such_call", "There is no such call here, or it is over.");
            let call = live.calls.get(&call).ok_or_else(no_such)?;
            let signals = call.remote.iter().filter(|r| r.number > after && views::concerns(call, r));
            let signals = signals.map(views::signal).collect();
            let call = views::call(&ctx.tx, now, call).map_err(store)?;
            return Ok(Reply::CallNow(Box::new(view::CallNow { call, signals })));
        }
        CallCommand::Servers { account } => {
            let hide = match account {
                Some(account) => rows::hides(&ctx.tx, &account).map_err(store)?,
                None => false,
            };
            return Ok(Reply::CallServers(Box::new(view::CallServers {
                servers: servers(live, now),
                hide_address: hide,
            })));
        }
        CallCommand::SetHide { account, hide } => {
            if people::read_contact(&ctx.tx, &account).map_err(store)?.is_none() {
                return Err(Refusal::new("no_such_contact", "There is no such person here."));
            }
            rows::set_hides(&mut ctx.tx, &account, hide);
            live.people_changed.insert(account);
        }
    }
    Ok(Reply::Done)
}

/// Servers of own relays as a browser wants them.
fn servers(live: &Live, now: Now) -> Vec<view::CallServer> {
    let all = crate::relays::turn_servers(live, now.mono_ms).into_iter();
    let some = |text: String| (!text.is_empty()).then_some(text);
    all.map(|s| view::CallServer { urls: s.urls, username: some(s.username), credential: some(s.credential) })
        .collect()
}

fn check_tab(tab: &str) -> Result<(), Refusal> {
    if tab.is_empty() || tab.len() > TAB_CHARS_MAX || !tab.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(Refusal::new(
            "bad_tab",
            "The name of the window must have 1 to 64 letters and digits. Reload the page.",
        ));
    }
    Ok(())
}

/// With a hidden address nothing but relays can carry a call.
fn relay_needed(live: &Live, now: Now) -> Result<(), Refusal> {
    if servers(live, now).iter().any(|s| s.urls.iter().any(|u| u.starts_with("turn"))) {
        return Ok(());
    }
    Err(Refusal::new(
        "no_call_relay",
        "Your address is to stay hidden from this person, and none of your relays carries calls right now. Add a relay that does, or allow direct calls on this person's page.",
    ))
}

fn dial(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    conversation: &GroupId,
    (sdp, video): (String, bool),
    tab: String,
) -> Result<Reply, Refusal> {
    check_tab(&tab)?;
    let c = commands::active(ctx, conversation)?;
    let Some(peer) = c.peer else {
        return Err(Refusal::new(
            "not_direct",
            "Only one person can be called. Open the conversation with them.",
        ));
    };
    if people::is_blocked(&ctx.tx, &peer).map_err(store)? {
        return Err(Refusal::new("blocked", "You have blocked this person. Unblock them to call."));
    }
    if !people::is_accepted(&ctx.tx, &peer).map_err(store)? {
        return Err(Refusal::new("not_a_contact", "Only contacts can be called. Send an invite first."));
    }
    let hide = rows::hides(&ctx.tx, &peer).map_err(store)?;
    if hide {
        relay_needed(live, ctx.now)?;
    }
    let sdp = clean_own(&sdp, hide)?;
    let mut id = [0; 16];
    ctx.rng.fill_bytes(&mut id);
    let id = CallId(id);
    live.calls.dial(ctx.now, id, (c.write_group(), peer), (sdp, video), tab)?;
    carry_out(ctx, live).map_err(groups::refusal)?;
    Ok(Reply::Call(id))
}

/// An own description as it may leave.
fn clean_own(sdp: &str, hide: bool) -> Result<String, Refusal> {
    let bad = |_| {
        Refusal::new(
            "bad_description",
            "The browser's description of the call is malformed or too large. Reload the page and call again.",
        )
    };
    check_sdp(sdp).map_err(bad)?;
    let clean = candidates::clean_sdp(sdp, |line| candidates::outgoing(line, hide));
    check_sdp(&clean).map_err(bad)?;
    Ok(clean)
}

/// What a page asks for, without an address that may not leave.
fn clean(ask: Ask, hide: bool) -> Result<Ask, Refusal> {
    Ok(match ask {
        Ask::Answer(sdp) => Ask::Answer(clean_own(&sdp, hide)?),
        Ask::Offer(sdp) => Ask::Offer(clean_own(&sdp, hide)?),
        Ask::Again { to_offer, sdp } => Ask::Again { to_offer, sdp: clean_own(&sdp, hide)? },
        Ask::Candidates(lines) => {
            if lines.len() > LINES_MAX {
                return Err(Refusal::new(
                    "bad_candidates",
                    "Too many addresses at once. Send them in parts.",
                ));
            }
            let lines = lines.iter().filter_map(|line| candidates::outgoing(line, hide));
            Ask::Candidates(lines.take(kith_wire::call::CANDIDATES_PER_SIGNAL_MAX).collect())
        }
        other @ (Ask::Restart | Ask::Media(_) | Ask::Keep) => other,
    })
}

/// A signal came in a group.
pub(crate) fn received(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    group: GroupId,
    e: &ReceivedEvent,
) -> Result<(), Reject> {
    // Who may not call is not told so.
    let Some(peer) = may_call(ctx, group)? else { return Ok(()) };
    let Ok(mut signal) = Signal::from_bytes(&e.content) else { return Ok(()) };
    let own = Own::of(&live.addrs);
    let keep = |line: &str| candidates::incoming(line, &own);
    match &mut signal.body {
        Body::Offer { sdp, to, .. } => {
            *sdp = candidates::clean_sdp(sdp, keep);
            // What the timeline shows already is over.
            if to.is_none()
                && live.calls.record(&signal.call).is_none()
                && rows::shown(&ctx.tx, &group, &signal.call)?.is_some()
            {
                return Ok(());
            }
        }
        Body::Answer { sdp, .. } => *sdp = candidates::clean_sdp(sdp, keep),
        Body::Candidates { lines } => *lines = lines.iter().filter_map(|line| keep(line)).collect(),
        _ => {}
    }
    live.calls.hear(ctx.now, (group, peer), (e.account, e.device), e.wall_ms, signal);
    Ok(carry_out(ctx, live)?)
}

/// The other account of a direct conversation, if it may call here.
fn may_call(ctx: &Ctx<'_>, group: GroupId) -> Result<Option<AccountId>, StoreError> {
    let Some(home) = crate::rows::home(&ctx.tx, &group)? else { return Ok(None) };
    let Some(peer) = Conversation::load(&ctx.tx, &home)?.and_then(|c| c.peer) else { return Ok(None) };
    Ok(people::is_accepted(&ctx.tx, &peer)?.then_some(peer))
}

/// Ends what has run out of time.
pub(crate) fn tick(ctx: &mut Ctx<'_>, live: &mut Live) -> Result<(), Reject> {
    live.calls.tick(ctx.now);
    Ok(carry_out(ctx, live)?)
}

/// Ends calls with somebody.
pub(crate) fn end_with(ctx: &mut Ctx<'_>, live: &mut Live, account: &AccountId) -> Result<(), Refusal> {
    live.calls.end_where(ctx.now, |c| c.peer == *account);
    carry_out(ctx, live).map_err(groups::refusal)
}

/// A group changed: who is not in it any more is out of its calls.
pub(crate) fn look_again(ctx: &mut Ctx<'_>, live: &mut Live, group: &GroupId) -> Result<(), Reject> {
    if !live.calls.calls().any(|c| c.group == *group) {
        return Ok(());
    }
    let view = ctx.engine.view(&ctx.tx, *group)?;
    let inside = |d: &kith_wire::ids::DeviceId| view.members.iter().any(|m| m.device == *d);
    live.calls.end_where(ctx.now, |c| {
        c.group == *group
            && (!view.me_in || !inside(&c.caller.1) || c.other.as_ref().is_some_and(|d| !inside(d)))
    });
    Ok(carry_out(ctx, live)?)
}

/// After a start: what stood open is over.
pub(crate) fn start(ctx: &mut Ctx<'_>, live: &mut Live) -> Result<(), Reject> {
    let left = rows::open(&ctx.tx)?;
    if left.is_empty() {
        return Ok(());
    }
    live.calls.resume(left);
    Ok(carry_out(ctx, live)?)
}

/// Does what the machine decided.
fn carry_out(ctx: &mut Ctx<'_>, live: &mut Live) -> Result<(), EngineError> {
    let mut moved = false;
    loop {
        let outs = live.calls.take();
        if outs.is_empty() {
            break;
        }
        for out in outs {
            match out {
                Out::Send(group, signal) => send(ctx, live, group, &signal)?,
                Out::Changed(id) => {
                    moved = true;
                    if let Some(call) = live.calls.get(&id) {
                        let call = Box::new(views::call(&ctx.tx, ctx.now, call)?);
                        live.events.push(Event::Call { call });
                    }
                }
                Out::Remote(id, remote) => {
                    if let Some(call) = live.calls.get(&id).filter(|c| views::concerns(c, &remote)) {
                        live.events.push(Event::CallSignal {
                            call: id.hex(),
                            tab: call.tab.clone(),
                            signal: views::signal(&remote),
                        });
                    }
                }
                Out::Over(record) => {
                    moved = true;
                    rows::show(ctx, live, &record)?;
                    let call = Box::new(views::over(&ctx.tx, &record)?);
                    live.events.push(Event::Call { call });
                }
                Out::Verdict(from, id, outcome, reason, talked_ms) => {
                    rows::settle(ctx, live, (from, id), (outcome, reason, talked_ms))?;
                }
            }
        }
    }
    if moved {
        rows::keep_open(&mut ctx.tx, &live.calls.left(ctx.now));
    }
    if let Some(due) = live.calls.next_due() {
        live.at(due, Timer::Calls);
    }
    Ok(())
}

fn send(ctx: &mut Ctx<'_>, live: &mut Live, group: GroupId, signal: &Signal) -> Result<(), EngineError> {
    let bytes = signal.to_bytes();
    if matches!(signal.body, Body::Offer { .. }) {
        saying::look_for(ctx, live, &group)?;
    }
    let sent = match signal.body {
        // How a call ended is said in any case: after a start, once the group was listened to.
        Body::End { .. } | Body::Leave { .. } => heard::say(ctx, live, group, TYPE_CALL, &bytes),
        _ => saying::send(ctx, live, group, TYPE_CALL, &bytes).map(drop),
    };
    match sent {
        Err(e @ EngineError::Store(_)) => Err(e),
        // Whoever cannot call is told; all else only helps the other side.
        Err(e) if matches!(signal.body, Body::Offer { .. } | Body::Answer { .. }) => Err(e),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The row of a call.
fn row_id(group: &GroupId, call: &CallId) -> EventId {
    EventId(kith_wire::ids::hash(kith_wire::labels::ID_CALL, &[&group.0, &call.0]))
}

/// A machine for this device.
pub(crate) fn machine(me: &crate::identity::Identity) -> Machine {
    Machine::new((me.account(), me.device()))
}

/// A reason that a page may give.
#[must_use]
pub fn reason(text: &str) -> Option<Reason> {
    views::reason_of(text)
}
