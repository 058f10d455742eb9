//! People: who they are to us, how they are reached, what they may do.
//!
//! One row per account ([`row::Person`]) and one per device
//! ([`row::DeviceRow`]). Everything that comes from others is verified against
//! their account id before a row changes, and newer versions win whatever the
//! order of arrival.

mod learn;
mod own;
mod requests;
mod row;
#[cfg(test)]
mod tests;
mod views;

use kith_store::{Read, StoreError};
use kith_wire::identity::{DeviceCard, Inbox, RelayHint};
use kith_wire::ids::{AccountId, DeviceId, PeerKey};
use kith_wire::limits::{ADDRS_MAX, NAME_BYTES_MAX};
use kith_wire::topic::DeliveryToken;

use crate::api::Refusal;
use crate::ctx::{Ctx, Effect};
use crate::groups::Reject;
use crate::identity::IdentityError;
use crate::text;
use row::{DeviceRow, Person, State};

pub(crate) use crate::invites::{create_invite, read_invites, revoke_invite, use_invite};
pub(crate) use learn::{learn, learn_account, learn_card, learn_introductions, learn_profile};
pub(crate) use own::{introduction, introduction_to, introductions, own_card, update_own_card};
pub(crate) use requests::{accept, may_add, on_contact_object, refuse};
pub(crate) use row::{
    Asked, DeviceRow as KnownDevice, Person as KnownPerson, State as PersonState, has_room,
};
pub(crate) use views::{display_name, read_contact, read_contacts, read_me, read_safety};

/// How a device can be reached directly and through relays.
#[derive(Debug, Clone)]
pub(crate) struct Reach {
    /// The device.
    pub device: DeviceId,
    /// Its account.
    pub account: AccountId,
    /// Its inbox.
    pub inbox: Inbox,
    /// X25519 key that inbox objects are sealed to.
    pub box_key: [u8; 32],
    /// Transport key to dial.
    pub transport: PeerKey,
    /// Relays that hold its inbox.
    pub relays: Vec<RelayHint>,
    /// Direct addresses.
    pub addrs: Vec<String>,
}

impl From<DeviceRow> for Reach {
    fn from(row: DeviceRow) -> Self {
        let DeviceCard { inbox, transport, relays, mut addrs, .. } = row.card;
        addrs.truncate(ADDRS_MAX);
        let (device, account, box_key) = (row.device, row.account, row.box_key);
        Self { device, account, inbox, box_key, transport, relays, addrs }
    }
}

/// Every device whose card is known.
pub(crate) fn reaches(r: &dyn Read) -> Result<Vec<Reach>, StoreError> {
    Ok(DeviceRow::all(r)?.into_iter().map(Reach::from).collect())
}

/// One device, if its card is known.
pub(crate) fn reach(r: &dyn Read, device: &DeviceId) -> Result<Option<Reach>, StoreError> {
    Ok(DeviceRow::load(r, device)?.map(Reach::from))
}

/// The devices of an account whose cards are known.
pub(crate) fn reaches_of(r: &dyn Read, account: &AccountId) -> Result<Vec<Reach>, StoreError> {
    Ok(devices_of(r, account)?.into_iter().map(Reach::from).collect())
}

fn devices_of(r: &dyn Read, account: &AccountId) -> Result<Vec<DeviceRow>, StoreError> {
    let Some(person) = Person::load(r, account)? else { return Ok(Vec::new()) };
    let rows = person.devices.iter().map(|d| DeviceRow::load(r, d)).filter_map(Result::transpose);
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    Ok(rows.into_iter().filter(|row| row.account == *account).collect())
}

/// The account of a device, once it has introduced itself.
pub(crate) fn account_of(r: &dyn Read, device: &DeviceId) -> Result<Option<AccountId>, StoreError> {
    Ok(DeviceRow::load(r, device)?.map(|row| row.account))
}

/// A delivery token for a device's inbox: of those we were given the one
/// that lasts longest.
pub(crate) fn token_for(r: &dyn Read, device: &DeviceId) -> Result<Option<DeliveryToken>, StoreError> {
    let Some(row) = DeviceRow::load(r, device)? else { return Ok(None) };
    let inbox = row.card.inbox.into();
    let read = |bytes: &Vec<u8>| DeliveryToken::from_bytes(bytes, &inbox).ok();
    let own = row.token.as_ref().and_then(read);
    let shared = row.card.token.as_ref().and_then(read);
    Ok(own.into_iter().chain(shared).max_by_key(|t| t.token().expires_ms))
}

fn state_of(r: &dyn Read, account: &AccountId) -> Result<Option<State>, StoreError> {
    Ok(Person::load(r, account)?.map(|p| p.state))
}

/// Whether an account is blocked here.
pub(crate) fn is_blocked(r: &dyn Read, account: &AccountId) -> Result<bool, StoreError> {
    Ok(state_of(r, account)? == Some(State::Blocked))
}

/// Whether an account is a contact.
pub(crate) fn is_accepted(r: &dyn Read, account: &AccountId) -> Result<bool, StoreError> {
    Ok(state_of(r, account)? == Some(State::Accepted))
}

/// Takes somebody for a contact, as a linked device learns it from the first.
#[cfg(feature = "mutants")]
pub(crate) fn learn_contact(ctx: &mut Ctx<'_>, account: AccountId) -> Result<(), StoreError> {
    let known = Person::load(&ctx.tx, &account)?;
    let mut person = known.unwrap_or_else(|| Person::new(account, ctx.now.wall_ms));
    person.enter(State::Accepted, ctx.now.wall_ms);
    person.save(&mut ctx.tx)
}

/// Whether an account may bring us into a conversation unasked: a contact, or
/// somebody whose answer to our request may come behind the Welcome, or
/// another own device.
pub(crate) fn may_invite(r: &dyn Read, account: &AccountId) -> Result<bool, StoreError> {
    if crate::identity::own_account(r)? == Some(*account) {
        return Ok(true);
    }
    Ok(matches!(state_of(r, account)?, Some(State::Accepted | State::Requested)))
}

fn person(ctx: &Ctx<'_>, account: &AccountId) -> Result<Person, Refusal> {
    Person::load(&ctx.tx, account)
        .map_err(|e| crate::node::disk(&e))?
        .ok_or_else(|| Refusal::new("unknown_person", "This person is not known here."))
}

fn save(ctx: &mut Ctx<'_>, person: &Person) -> Result<(), Refusal> {
    person.save(&mut ctx.tx).map_err(|e| crate::node::disk(&e))?;
    ctx.out.push(Effect::Changed(person.account));
    Ok(())
}

/// Blocks or unblocks. Unblocking brings back what was before.
pub(crate) fn block(ctx: &mut Ctx<'_>, account: &AccountId, blocked: bool) -> Result<(), Refusal> {
    let mut person = person(ctx, account)?;
    if blocked == (person.state == State::Blocked) {
        return Ok(());
    }
    let next = if blocked { State::Blocked } else { person.before_block.take().unwrap_or(State::Known) };
    if blocked {
        person.before_block = Some(person.state);
    }
    person.enter(next, ctx.now.wall_ms);
    save(ctx, &person)
}

/// Sets or clears the private nickname.
pub(crate) fn set_nickname(
    ctx: &mut Ctx<'_>,
    account: &AccountId,
    nickname: Option<&str>,
) -> Result<(), Refusal> {
    let mut person = person(ctx, account)?;
    if nickname.is_some_and(|n| n.trim().len() > NAME_BYTES_MAX) {
        return Err(Refusal::new("name_too_long", "The nickname is too long. Shorten it."));
    }
    let nickname = nickname.map(text::clean_name).filter(|n| !n.is_empty());
    if person.nickname == nickname {
        return Ok(());
    }
    person.nickname = nickname;
    save(ctx, &person)
}

/// Records that safety numbers were compared, or withdraws that.
pub(crate) fn set_verified(ctx: &mut Ctx<'_>, account: &AccountId, verified: bool) -> Result<(), Refusal> {
    let mut person = person(ctx, account)?;
    if person.verified == verified {
        return Ok(());
    }
    person.verified = verified;
    save(ctx, &person)
}

/// Changes the own profile.
pub(crate) fn set_profile(ctx: &mut Ctx<'_>, name: &str, about: &str) -> Result<(), Refusal> {
    let changed = ctx.me.set_profile(&mut ctx.tx, name, about);
    changed.map(|_| ()).map_err(|e| match e {
        IdentityError::Store(e) => crate::node::disk(&e),
        IdentityError::NameEmpty => Refusal::new("name_empty", text::sentence(&e.to_string())),
        IdentityError::NameTooLong => Refusal::new("name_too_long", text::sentence(&e.to_string())),
        IdentityError::AboutTooLong => Refusal::new("about_too_long", text::sentence(&e.to_string())),
    })
}

/// A reject as an answer to a person, for what they asked for themselves.
pub(crate) fn refused(e: Reject) -> Refusal {
    match e {
        Reject::Store(e) => crate::node::disk(&e),
        e => Refusal::new("not_possible", text::sentence(&e.to_string())),
    }
}
