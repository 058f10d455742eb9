//! Learning about people: introductions from requests, groups and bundles.
//! A newer version wins, an older one changes nothing, whatever the order.

use kith_store::StoreError;
use kith_wire::contact::{Introduced, Introduction};
use kith_wire::identity::Verified;
use kith_wire::ids::{AccountId, hash};
use kith_wire::labels;
use kith_wire::topic::DeliveryToken;

use super::row::{self, AccountKey, DeviceRow, Person};
use crate::ctx::{Ctx, Effect};
use crate::groups::Reject;

/// Makes sure that an account has a row, for names and marks. Nothing happens
/// when there is no room: the account is shown by its id.
pub(crate) fn learn_account(ctx: &mut Ctx<'_>, account: &AccountId) -> Result<(), StoreError> {
    if *account == ctx.me.account() {
        return Ok(());
    }
    match Person::load(&ctx.tx, account)? {
        // Turned away once, but here now: shown again.
        Some(mut person) if person.declined => {
            person.declined = false;
            person.save(&mut ctx.tx)
        }
        None if row::has_room(&ctx.tx)? => Person::new(*account, ctx.now.wall_ms).save(&mut ctx.tx),
        Some(_) | None => Ok(()),
    }
}

/// Takes in what an introduction proves. `Ok(false)`: nothing new, or no room.
pub(crate) fn learn(ctx: &mut Ctx<'_>, from: &Introduction, by: &Introduced) -> Result<bool, Reject> {
    let who = &by.who;
    if who.device == ctx.me.device() {
        return Ok(false);
    }
    let mut person = match Person::load(&ctx.tx, &who.account)? {
        Some(person) => person,
        None if row::has_room(&ctx.tx)? => Person::new(who.account, ctx.now.wall_ms),
        None => return Ok(false),
    };
    let before = person.clone();
    take_key(&mut person, who)?;
    if let Some(profile) = &by.profile
        && (profile.generation, profile.revision) > person.profile
    {
        person.profile = (profile.generation, profile.revision);
        person.name.clone_from(&profile.name);
        person.about.clone_from(&profile.about);
        person.profile_signed.clone_from(&from.profile);
    }
    let device_changed = take_device(ctx, &mut person, from, by)?;
    let changed = device_changed || person != before;
    if changed {
        person.save(&mut ctx.tx)?;
        ctx.out.push(Effect::Changed(person.account));
    }
    Ok(changed)
}

/// Keeps the newest account key. Of two keys of one generation the lower hash
/// counts (identity.md), so that everybody decides alike.
fn take_key(person: &mut Person, who: &Verified) -> Result<(), Reject> {
    let new = AccountKey { generation: who.generation, public: who.account_key };
    let rank = |k: &AccountKey| hash(labels::SIG_ROTATE, &[&k.public]);
    let wins = match &person.key {
        Some(old) if old.generation == new.generation => {
            if *old != new && rank(old) < rank(&new) {
                return Err(Reject::Invalid("the account has another key of this generation".into()));
            }
            *old != new
        }
        Some(old) if old.generation > new.generation => {
            return Err(Reject::Invalid("the account has changed its key since".into()));
        }
        Some(_) | None => true,
    };
    if wins {
        person.key = Some(new);
    }
    Ok(())
}

/// Keeps the newest card and token of the introduced device.
fn take_device(
    ctx: &mut Ctx<'_>,
    person: &mut Person,
    from: &Introduction,
    by: &Introduced,
) -> Result<bool, Reject> {
    let who = &by.who;
    // What an invite alone said of a device of another account is no claim:
    // the device never signed it.
    let old = DeviceRow::load(&ctx.tx, &who.device)?
        .filter(|row| row.credential.is_some() || row.account == who.account);
    if old.as_ref().is_some_and(|row| row.account != who.account) {
        return Err(Reject::Invalid("the device belongs to another account".into()));
    }
    let newest = by.card.as_ref().filter(|c| old.as_ref().is_none_or(|o| c.revision > o.card.revision));
    let mut row = match (&old, newest) {
        // A credential alone says nothing about how the device is reached.
        (None, None) => return Ok(false),
        (None, Some(card)) => DeviceRow {
            device: who.device,
            account: who.account,
            box_key: who.box_key,
            generation: who.generation,
            credential: Some(from.credential.clone()),
            card: card.clone(),
            card_signed: from.card.clone(),
            token: None,
        },
        (Some(old), card) => {
            let mut row = old.clone();
            if let Some(card) = card {
                // A token belongs to its inbox.
                if card.inbox != row.card.inbox {
                    row.token = None;
                }
                row.card = card.clone();
                row.card_signed.clone_from(&from.card);
            }
            row
        }
    };
    if row.credential.is_none() || who.generation >= row.generation {
        row.credential = Some(from.credential.clone());
        row.generation = who.generation;
        row.box_key = who.box_key;
    }
    if let Some(token) = &from.token
        && DeliveryToken::from_bytes(token, &row.card.inbox.into()).is_ok()
    {
        row.token = Some(token.clone());
    }
    if old.as_ref() == Some(&row) {
        return Ok(false);
    }
    person.add_device(&mut ctx.tx, who.device)?;
    row.save(&mut ctx.tx);
    Ok(true)
}

/// Takes in the introduction that `account` sent into a group.
fn learn_from(ctx: &mut Ctx<'_>, account: &AccountId, bytes: &[u8]) -> Result<bool, Reject> {
    let intro = Introduction::from_bytes(bytes)?;
    let by = intro.verify()?;
    if by.who.account != *account {
        return Err(Reject::Invalid("the introduction is of another account".into()));
    }
    learn(ctx, &intro, &by)
}

/// Takes in a card event of a group. `Ok(true)`: something is new.
pub(crate) fn learn_card(ctx: &mut Ctx<'_>, account: &AccountId, bytes: &[u8]) -> Result<bool, Reject> {
    learn_from(ctx, account, bytes)
}

/// Takes in a profile event of a group. `Ok(true)`: something is new.
pub(crate) fn learn_profile(ctx: &mut Ctx<'_>, account: &AccountId, bytes: &[u8]) -> Result<bool, Reject> {
    learn_from(ctx, account, bytes)
}

/// Takes in the introductions of a join bundle. What does not verify is passed
/// over: one member's bad card must not keep anybody out.
pub(crate) fn learn_introductions(ctx: &mut Ctx<'_>, cards: &[Vec<u8>]) -> Result<(), Reject> {
    for bytes in cards {
        let Ok(intro) = Introduction::from_bytes(bytes) else { continue };
        let Ok(by) = intro.verify() else { continue };
        match learn(ctx, &intro, &by) {
            Ok(_) | Err(Reject::Invalid(_) | Reject::TooEarly) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
