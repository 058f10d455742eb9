//! Requests and answers: what somebody's device says to ours about being
//! contacts, and what we say back.
//!
//! Everything here may come twice, late, or from a stranger with a stolen
//! link. Blocked people get no sign that they are.

use kith_wire::contact::{self, Contact, ContactAnswer, ContactRequest, Introduced, Introduction, Verdict};
use kith_wire::ids::{AccountId, GroupId};
use kith_wire::limits::ABOUT_BYTES_MAX;
use kith_wire::object::Versioned as _;

use super::row::{self, Asked, DeviceRow, Incoming, Person, State};
use super::{introduction_to, learn, person, refused};
use crate::api::Refusal;
use crate::ctx::{Ctx, Effect};
use crate::groups::Reject;
use crate::invites::InviteRow;
use crate::rows::{self, GroupInfo};
use crate::text;

fn invalid(why: &str) -> Reject {
    Reject::Invalid(why.into())
}

/// Takes in a contact object that came into the own inbox.
pub(crate) fn on_contact_object(ctx: &mut Ctx<'_>, object: &[u8]) -> Result<(), Reject> {
    match contact::open(object, &ctx.me.device(), &ctx.me.inbox_topic().id())? {
        Contact::Request(body, from) => on_request(ctx, &body, &from, contact::request_id(object)),
        Contact::Answer(body, from) => on_answer(ctx, &body, &from),
        Contact::Update(body, from) => {
            let Some(person) = Person::load(&ctx.tx, &from.who.account)? else {
                return Err(invalid("the update comes from somebody who is not known"));
            };
            if person.state != State::Blocked {
                learn(ctx, &body.from, &from)?;
            }
            Ok(())
        }
    }
}

fn on_request(
    ctx: &mut Ctx<'_>,
    body: &ContactRequest,
    from: &Introduced,
    request: [u8; 32],
) -> Result<(), Reject> {
    let account = from.who.account;
    if account == ctx.me.account() {
        return Err(invalid("the request comes from the own account"));
    }
    let known = Person::load(&ctx.tx, &account)?;
    if known.as_ref().is_some_and(|p| p.state == State::Blocked) {
        return Ok(());
    }
    let Some(invite) = InviteRow::load(&ctx.tx, &body.invite)? else {
        return Err(invalid("the request answers an invite that is not known here"));
    };
    if !contact::invite_proof_holds(&invite.secret, &from.who, &body.proof) {
        return Err(invalid("the request does not prove that it has the invite"));
    }
    if body.group != invite.group {
        return Err(invalid("the request and the invite lead to different places"));
    }
    if invite.knows(&account, request) {
        // The same bytes, by another way.
        return Ok(());
    }
    let ask = Ask { body, from, request };
    match invite.group {
        Some(group) => ask_group(ctx, invite, &ask, group),
        None => ask_contact(ctx, invite, &ask, known.as_ref()),
    }
}

struct Ask<'a> {
    body: &'a ContactRequest,
    from: &'a Introduced,
    request: [u8; 32],
}

fn ask_contact(
    ctx: &mut Ctx<'_>,
    invite: InviteRow,
    ask: &Ask<'_>,
    known: Option<&Person>,
) -> Result<(), Reject> {
    let account = ask.from.who.account;
    let served_before = invite.served(&account);
    let state = known.map(|p| p.state);
    if state == Some(State::Accepted) {
        // They lost our answer, or start anew: say yes again.
        learn(ctx, &ask.body.from, ask.from)?;
        serve_again(ctx, invite, account, ask.request);
        return say_yes(ctx, ask);
    }
    if state == Some(State::Incoming) && served_before {
        learn(ctx, &ask.body.from, ask.from)?;
        serve_again(ctx, invite, account, ask.request);
        return wait_for_person(ctx, ask);
    }
    if served_before && known.is_some_and(|p| p.declined) {
        serve_again(ctx, invite, account, ask.request);
        return answer(ctx, account, ask, Verdict::Refused);
    }
    if !served_before {
        if let Some(verdict) = invite.closed(ctx.now.wall_ms) {
            return turn_away(ctx, invite, ask, verdict);
        }
        if state != Some(State::Incoming) && !row::has_room_for_request(&ctx.tx)? {
            return turn_away(ctx, invite, ask, Verdict::Busy);
        }
    }
    if known.is_none() && !row::has_room(&ctx.tx)? {
        return Err(invalid("there is no room for more people here"));
    }
    learn(ctx, &ask.body.from, ask.from)?;
    let mut invite = invite;
    invite.serve(account, ask.request);
    invite.save(&mut ctx.tx);
    if state == Some(State::Requested) {
        // We asked them as well: both have said yes.
        return say_yes(ctx, ask);
    }
    wait_for_person(ctx, ask)
}

fn serve_again(ctx: &mut Ctx<'_>, mut invite: InviteRow, account: AccountId, request: [u8; 32]) {
    invite.serve_again(account, request);
    invite.save(&mut ctx.tx);
}

/// Shows a request to the person.
fn wait_for_person(ctx: &mut Ctx<'_>, ask: &Ask<'_>) -> Result<(), Reject> {
    let Some(mut person) = Person::load(&ctx.tx, &ask.from.who.account)? else { return Ok(()) };
    person.enter(State::Incoming, ctx.now.wall_ms);
    person.declined = false;
    person.problem = None;
    person.greeting = text::clean_text(&ask.body.greeting, ABOUT_BYTES_MAX);
    person.incoming = Some(Incoming {
        device: ask.from.who.device,
        request: ask.request,
        key_package: ask.body.key_package.clone(),
        invite: ask.body.invite,
    });
    person.save(&mut ctx.tx)?;
    ctx.out.push(Effect::Changed(person.account));
    Ok(())
}

/// Makes somebody a contact without asking the person again.
fn say_yes(ctx: &mut Ctx<'_>, ask: &Ask<'_>) -> Result<(), Reject> {
    let account = ask.from.who.account;
    let Some(mut person) = Person::load(&ctx.tx, &account)? else { return Ok(()) };
    person.enter(State::Accepted, ctx.now.wall_ms);
    person.declined = false;
    person.problem = None;
    person.incoming = None;
    person.save(&mut ctx.tx)?;
    ctx.out.push(Effect::Changed(account));
    answer(ctx, account, ask, Verdict::Accepted)?;
    if rows::direct_with(&ctx.tx, &account)?.is_none() {
        ctx.out.push(Effect::CreateDirect { account, key_package: ask.body.key_package.clone() });
    }
    Ok(())
}

fn ask_group(ctx: &mut Ctx<'_>, invite: InviteRow, ask: &Ask<'_>, group: GroupId) -> Result<(), Reject> {
    let account = ask.from.who.account;
    let members = GroupInfo::load(&ctx.tx, &group)?.map(|info| info.members).unwrap_or_default();
    if members.iter().any(|m| m.device == ask.from.who.device) {
        return Ok(());
    }
    // Each attempt counts: who was removed from the group needs a new use.
    if let Some(verdict) = invite.closed(ctx.now.wall_ms) {
        return turn_away(ctx, invite, ask, verdict);
    }
    if !may_add(ctx, &group)? {
        return turn_away(ctx, invite, ask, Verdict::Withdrawn);
    }
    if Person::load(&ctx.tx, &account)?.is_none() && !row::has_room(&ctx.tx)? {
        return Err(invalid("there is no room for more people here"));
    }
    learn(ctx, &ask.body.from, ask.from)?;
    super::learn_account(ctx, &account)?;
    let mut invite = invite;
    invite.serve(account, ask.request);
    invite.save(&mut ctx.tx);
    ctx.out.push(Effect::AddToGroup { group, account, key_package: ask.body.key_package.clone() });
    Ok(())
}

/// Whether we may add accounts to a group as it is now.
pub(crate) fn may_add(ctx: &Ctx<'_>, group: &GroupId) -> Result<bool, Reject> {
    match ctx.engine.view(&ctx.tx, *group) {
        Ok(view) => Ok(view.me_in && view.role >= view.ext.policy.add),
        Err(kith_mls::EngineError::Store(e)) => Err(e.into()),
        Err(_) => Ok(false),
    }
}

/// Tells a stranger with a genuine link why it does not work. Only so many
/// per invite, so that a leaked link fills no table.
fn turn_away(
    ctx: &mut Ctx<'_>,
    mut invite: InviteRow,
    ask: &Ask<'_>,
    verdict: Verdict,
) -> Result<(), Reject> {
    let account = ask.from.who.account;
    let stranger = Person::load(&ctx.tx, &account)?.is_none();
    if !invite.turn_away() || (stranger && !row::has_room(&ctx.tx)?) {
        return Err(invalid("the invite is used up, withdrawn or over"));
    }
    invite.save(&mut ctx.tx);
    learn(ctx, &ask.body.from, ask.from)?;
    if stranger && let Some(mut person) = Person::load(&ctx.tx, &account)? {
        person.declined = true;
        person.save(&mut ctx.tx)?;
    }
    answer(ctx, account, ask, verdict)
}

fn answer(ctx: &mut Ctx<'_>, account: AccountId, ask: &Ask<'_>, verdict: Verdict) -> Result<(), Reject> {
    send_answer(ctx, account, ask.from.who.device, ask.request, verdict)
}

fn send_answer(
    ctx: &mut Ctx<'_>,
    account: AccountId,
    device: kith_wire::ids::DeviceId,
    request: [u8; 32],
    verdict: Verdict,
) -> Result<(), Reject> {
    let Some(row) = DeviceRow::load(&ctx.tx, &device)? else {
        return Err(invalid("no card of the asking device is known"));
    };
    let from = if verdict == Verdict::Accepted {
        introduction_to(ctx)?
    } else {
        // A no tells nothing about us that the invite did not.
        Introduction { credential: ctx.me.credential().to_vec(), ..Introduction::default() }
    };
    let answer = ContactAnswer {
        kind: ContactAnswer::KIND,
        version: ContactAnswer::VERSION,
        to: device,
        to_inbox: row.card.inbox.topic(),
        from,
        request,
        verdict,
        at_ms: ctx.now.wall_ms,
    };
    let object = contact::sign(&answer, ctx.me.device_key());
    ctx.out.push(Effect::SendInbox { to: account, device, object });
    Ok(())
}

fn on_answer(ctx: &mut Ctx<'_>, body: &ContactAnswer, from: &Introduced) -> Result<(), Reject> {
    let account = from.who.account;
    let Some(known) = Person::load(&ctx.tx, &account)? else {
        return Err(invalid("the answer comes from somebody who was not asked"));
    };
    if known.state == State::Blocked {
        return Ok(());
    }
    let asked = known.asked.iter().find(|a| a.request == body.request).cloned();
    let Some(Asked { group, .. }) = asked else {
        // An answer that came before, or to a request that was given up.
        return Ok(());
    };
    learn(ctx, &body.from, from)?;
    let Some(mut person) = Person::load(&ctx.tx, &account)? else { return Ok(()) };
    person.asked.retain(|a| a.request != body.request);
    let problem = problem(body.verdict);
    match (group, body.verdict) {
        (None, Verdict::Accepted) => {
            if matches!(person.state, State::Requested | State::Refused | State::Incoming) {
                person.enter(State::Accepted, ctx.now.wall_ms);
                person.incoming = None;
            }
            person.problem = None;
        }
        (None, _) if person.state == State::Requested => {
            person.enter(State::Refused, ctx.now.wall_ms);
            person.problem = problem.map(Into::into);
        }
        (Some(group), _) => {
            if let Some(problem) = problem {
                let conversation = rows::home(&ctx.tx, &group)?.or(Some(group));
                ctx.out.push(Effect::Notice { conversation, code: "not_let_in", message: problem.into() });
            }
        }
        (None, _) => {}
    }
    person.save(&mut ctx.tx)?;
    ctx.out.push(Effect::Changed(account));
    Ok(())
}

fn problem(verdict: Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::Accepted => None,
        Verdict::Refused => Some("Your request was declined."),
        Verdict::UsedUp => Some("This invite was used up before your request came. Ask for a new one."),
        Verdict::Withdrawn => Some("This invite was withdrawn. Ask for a new one."),
        Verdict::Expired => Some("This invite was over before your request came. Ask for a new one."),
        Verdict::Busy => {
            Some("Too many requests wait for an answer there. Try again later with a new invite.")
        }
    }
}

/// Says yes to a request.
pub(crate) fn accept(ctx: &mut Ctx<'_>, account: &AccountId) -> Result<(), Refusal> {
    let mut person = person(ctx, account)?;
    if person.state == State::Accepted {
        return Ok(());
    }
    let incoming = pending(&mut person)?;
    person.enter(State::Accepted, ctx.now.wall_ms);
    person.problem = None;
    super::save(ctx, &person)?;
    send_answer(ctx, *account, incoming.device, incoming.request, Verdict::Accepted).map_err(refused)?;
    let conversation = rows::direct_with(&ctx.tx, account).map_err(|e| crate::node::disk(&e))?;
    if conversation.is_none() {
        ctx.out.push(Effect::CreateDirect { account: *account, key_package: incoming.key_package });
    }
    Ok(())
}

/// Says no to a request. The other side is told.
pub(crate) fn refuse(ctx: &mut Ctx<'_>, account: &AccountId) -> Result<(), Refusal> {
    let mut person = person(ctx, account)?;
    if person.state == State::Known && person.declined {
        return Ok(());
    }
    let incoming = pending(&mut person)?;
    person.enter(State::Known, ctx.now.wall_ms);
    person.declined = true;
    super::save(ctx, &person)?;
    send_answer(ctx, *account, incoming.device, incoming.request, Verdict::Refused).map_err(refused)
}

fn pending(person: &mut Person) -> Result<Incoming, Refusal> {
    match (person.state, person.incoming.take()) {
        (State::Incoming, Some(incoming)) => Ok(incoming),
        _ => Err(Refusal::new("no_request", "This person has no open request to you.")),
    }
}
