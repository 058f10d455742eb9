//! People as the UI shows them.

use kith_store::{Read, StoreError};
use kith_wire::identity::safety_number;
use kith_wire::ids::AccountId;
use kith_wire::limits::ABOUT_BYTES_MAX;

use super::row::{Person, State};
use crate::{identity, rows, text, view};

/// An account id short enough to read.
fn short(account: &AccountId) -> String {
    let text = account.to_text();
    match (text.get(..11), text.len().checked_sub(4).and_then(|at| text.get(at..))) {
        (Some(head), Some(tail)) => format!("{head}…{tail}"),
        _ => text,
    }
}

fn name_of(person: &Person) -> String {
    let name = text::clean_name(&person.name);
    if name.is_empty() { short(&person.account) } else { name }
}

/// How an account is called here: nickname, own name, or its id in short.
pub(crate) fn display_name(r: &dyn Read, account: &AccountId) -> Result<String, StoreError> {
    if identity::own_account(r)?.as_ref() == Some(account) {
        return Ok(identity::own_profile(r)?.1.name);
    }
    if let Some(person) = Person::load(r, account)? {
        let name = name_of(&person);
        return Ok(person.nickname.unwrap_or(name));
    }
    Ok(short(account))
}

fn contact(r: &dyn Read, person: Person) -> Result<view::Contact, StoreError> {
    let conversation = rows::direct_with(r, &person.account)?.map(|id| id.hex());
    Ok(view::Contact {
        account: person.account.to_text(),
        name: name_of(&person),
        about: text::clean_text(&person.about, ABOUT_BYTES_MAX),
        nickname: person.nickname,
        state: person.state.into(),
        greeting: person.greeting,
        verified: person.verified,
        conversation,
        problem: person.problem,
        since: person.since,
        hide_address: crate::calls::hides(r, &person.account)?,
    })
}

/// One person, if known here.
pub(crate) fn read_contact(r: &dyn Read, account: &AccountId) -> Result<Option<view::Contact>, StoreError> {
    let me = identity::own_account(r)?;
    Person::load(r, account)?.filter(|p| Some(p.account) != me).map(|p| contact(r, p)).transpose()
}

/// All people, by name. Those who were only ever turned away are left out.
pub(crate) fn read_contacts(r: &dyn Read) -> Result<Vec<view::Contact>, StoreError> {
    // Own other devices have a row as well; oneself is nobody to be shown.
    let me = identity::own_account(r)?;
    let shown = Person::all(r)?
        .into_iter()
        .filter(|p| Some(p.account) != me && !(p.declined && p.state == State::Known));
    let mut all = shown.map(|p| contact(r, p)).collect::<Result<Vec<_>, _>>()?;
    let key = |c: &view::Contact| c.nickname.as_ref().unwrap_or(&c.name).to_lowercase();
    all.sort_by(|a, b| key(a).cmp(&key(b)).then_with(|| a.account.cmp(&b.account)));
    Ok(all)
}

/// Own account and profile, if there is an account.
pub(crate) fn read_me(r: &dyn Read) -> Result<Option<view::Me>, StoreError> {
    let Some((account, device, since)) = identity::own_ids(r)? else { return Ok(None) };
    let (_, profile) = identity::own_profile(r)?;
    Ok(Some(view::Me {
        account: account.to_text(),
        device: device.hex(),
        name: profile.name,
        about: profile.about,
        since,
    }))
}

/// The safety number with somebody known here.
pub(crate) fn read_safety(r: &dyn Read, account: &AccountId) -> Result<Option<view::Safety>, StoreError> {
    let Some(person) = Person::load(r, account)? else { return Ok(None) };
    let Some((me, ..)) = identity::own_ids(r)? else { return Ok(None) };
    let number = safety_number(&me, account);
    Ok(Some(view::Safety { digits: number.groups(), qr_text: number.qr_text(), verified: person.verified }))
}
