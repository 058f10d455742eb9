//! What we tell others about ourselves: card, profile, tokens.

use std::collections::BTreeSet;

use kith_store::{Key, Read, StoreError, Table};
use kith_wire::contact::{self, ContactUpdate, Introduction};
use kith_wire::crypto::Secret;
use kith_wire::identity::{DeviceCard, RelayHint};
use kith_wire::ids::{AccountId, DeviceId, GroupId};
use kith_wire::limits::{ADDR_BYTES_MAX, ADDRS_MAX, CARD_RELAYS_MAX};
use kith_wire::object::Versioned as _;
use kith_wire::signed::{self, Raw};
use kith_wire::topic::Grant;
use rand_core::Rng as _;

use super::row::{DeviceRow, Person, State};
use crate::ctx::{Ctx, Effect};
use crate::groups::Reject;
use crate::identity;
use crate::rows::GroupInfo;

const CARD: Key<'static> = Key { table: Table::Account, name: b"card", order: b"" };
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// How long a card and its shared token hold.
const CARD_LIFE_MS: u64 = 60 * DAY_MS;
/// A card is renewed when it holds for less than this.
const CARD_RENEW_MS: u64 = 30 * DAY_MS;
/// How long a contact's own token holds.
const TOKEN_LIFE_MS: u64 = 400 * DAY_MS;
/// What a contact's own token allows at each relay.
const TOKEN_USES: (u32, u32) = (100_000, 64);
/// What a card's token allows at each relay, for all who hold the card.
const CARD_TOKEN_USES: (u32, u32) = (1_000_000, 1_000);
/// People waiting for our answer or we for theirs, who are told of a new card.
const TOLD_MAX: usize = 100;

fn secret(ctx: &mut Ctx<'_>) -> Secret {
    let mut seed = [0; 32];
    ctx.rng.fill_bytes(&mut seed);
    Secret::new(seed)
}

fn stored_card(r: &dyn Read) -> Result<Option<(Vec<u8>, DeviceCard)>, StoreError> {
    let Some(bytes) = r.get(CARD)? else { return Ok(None) };
    let card = Raw::from_bytes(&bytes).and_then(|raw| raw.body::<DeviceCard>());
    let card = card.map_err(|e| StoreError::Corrupt(format!("the own card does not decode: {e}")))?;
    Ok(Some((bytes, card)))
}

fn write_card(
    ctx: &mut Ctx<'_>,
    old: Option<&DeviceCard>,
    relays: Vec<RelayHint>,
    addrs: Vec<String>,
) -> (Vec<u8>, DeviceCard) {
    let now = ctx.now.wall_ms;
    let inbox = ctx.me.inbox_topic();
    let expires_ms = now.saturating_add(CARD_LIFE_MS);
    let (uses, packages) = CARD_TOKEN_USES;
    let token = match old.filter(|c| holds(c, now)).and_then(|c| c.token.clone()) {
        Some(token) => token,
        None => inbox.issue_token(secret(ctx), Grant { uses, packages, expires_ms }).to_bytes(),
    };
    // A card that keeps its token ends with it.
    let expires_ms = old.filter(|c| holds(c, now) && c.token.is_some()).map_or(expires_ms, |c| c.expires_ms);
    let card = DeviceCard {
        kind: DeviceCard::KIND,
        version: DeviceCard::VERSION,
        account: ctx.me.account(),
        device: ctx.me.device(),
        revision: old.map_or(1, |c| c.revision.saturating_add(1)),
        inbox: inbox.inbox(),
        relays,
        transport: ctx.me.transport_key(),
        addrs,
        issued_ms: now,
        expires_ms,
        token: Some(token),
    };
    let bytes = signed::sign(&card, ctx.me.device_key(), &[]).to_bytes();
    ctx.tx.put(CARD, bytes.clone());
    (bytes, card)
}

fn holds(card: &DeviceCard, now_ms: u64) -> bool {
    card.expires_ms >= now_ms.saturating_add(CARD_RENEW_MS)
}

/// The own card, as signed and as data; made if there is none yet.
pub(crate) fn own_card(ctx: &mut Ctx<'_>) -> Result<(Vec<u8>, DeviceCard), Reject> {
    match stored_card(&ctx.tx)? {
        Some(card) => Ok(card),
        None => Ok(write_card(ctx, None, Vec::new(), Vec::new())),
    }
}

/// Brings the own card up to date. `true`: it is a new one, to be given to
/// all conversations; people without one are told from here.
pub(crate) fn update_own_card(
    ctx: &mut Ctx<'_>,
    relays: &[RelayHint],
    addrs: &[String],
) -> Result<bool, Reject> {
    let relays: Vec<RelayHint> =
        relays.iter().filter(|r| r.check().is_ok()).take(CARD_RELAYS_MAX).cloned().collect();
    let fits = |a: &&String| !a.is_empty() && a.len() <= ADDR_BYTES_MAX;
    let addrs: Vec<String> = addrs.iter().filter(fits).take(ADDRS_MAX).cloned().collect();
    let old = stored_card(&ctx.tx)?.map(|(_, card)| card);
    if let Some(card) = &old
        && card.relays == relays
        && card.addrs == addrs
        && card.transport == ctx.me.transport_key()
        && holds(card, ctx.now.wall_ms)
    {
        return Ok(false);
    }
    write_card(ctx, old.as_ref(), relays, addrs);
    tell_those_without_conversation(ctx)?;
    Ok(true)
}

/// Sends the own card to people who wait for our answer or whose answer we
/// wait for: no conversation carries it to them.
fn tell_those_without_conversation(ctx: &mut Ctx<'_>) -> Result<(), Reject> {
    let waiting = Person::all(&ctx.tx)?;
    let waiting = waiting.into_iter().filter(|p| p.state == State::Requested).take(TOLD_MAX);
    for person in waiting {
        for device in &person.devices {
            let Some(row) = DeviceRow::load(&ctx.tx, device)? else { continue };
            let (_, from) = introduce(ctx)?;
            let update = ContactUpdate {
                kind: ContactUpdate::KIND,
                version: ContactUpdate::VERSION,
                to: *device,
                to_inbox: row.card.inbox.topic(),
                from,
                at_ms: ctx.now.wall_ms,
            };
            let object = contact::sign(&update, ctx.me.device_key());
            ctx.out.push(Effect::SendInbox { to: person.account, device: *device, object });
        }
    }
    Ok(())
}

fn introduce(ctx: &mut Ctx<'_>) -> Result<(DeviceCard, Introduction), Reject> {
    let (profile, _) = identity::own_profile(&ctx.tx)?;
    let (bytes, card) = own_card(ctx)?;
    let intro = Introduction {
        credential: ctx.me.credential().to_vec(),
        profile: Some(profile),
        card: Some(bytes),
        token: None,
    };
    Ok((card, intro))
}

/// The own introduction with a fresh delivery token for one contact.
pub(crate) fn introduction_to(ctx: &mut Ctx<'_>) -> Result<Introduction, Reject> {
    let (_, intro) = introduce(ctx)?;
    let (uses, packages) = TOKEN_USES;
    let grant = Grant { uses, packages, expires_ms: ctx.now.wall_ms.saturating_add(TOKEN_LIFE_MS) };
    let token = ctx.me.inbox_topic().issue_token(secret(ctx), grant);
    Ok(Introduction { token: Some(token.to_bytes()), ..intro })
}

/// Contents of the profile event and the card event that go into groups.
pub(crate) fn introduction(ctx: &mut Ctx<'_>) -> Result<(Vec<u8>, Vec<u8>), Reject> {
    let (_, intro) = introduce(ctx)?;
    let profile = Introduction { card: None, ..intro.clone() };
    let card = Introduction { profile: None, ..intro };
    Ok((profile.to_bytes(), card.to_bytes()))
}

/// Introductions of all members of a group that are known here, oneself
/// included, and of those who come in by the same commit, for those who join.
/// Who joins beside others knows them by name, and how they are reached, before
/// they have said anything.
pub(crate) fn introductions(
    ctx: &mut Ctx<'_>,
    group: GroupId,
    joiners: &[(AccountId, DeviceId)],
) -> Result<Vec<Vec<u8>>, Reject> {
    let (_, own) = introduce(ctx)?;
    let mut out = vec![own.to_bytes()];
    let members = GroupInfo::load(&ctx.tx, &group)?.map(|info| info.members).unwrap_or_default();
    let mut all: BTreeSet<(AccountId, DeviceId)> = joiners.iter().copied().collect();
    all.extend(members.iter().map(|m| (m.account, m.device)));
    for (account, device) in all.into_iter().filter(|(_, device)| *device != ctx.me.device()) {
        let Some(row) = DeviceRow::load(&ctx.tx, &device)? else { continue };
        let (Some(credential), card) = (row.credential, row.card_signed) else { continue };
        // A profile of another key does not verify beside this credential.
        let profile = Person::load(&ctx.tx, &account)?
            .filter(|p| p.profile.0 == row.generation)
            .and_then(|p| p.profile_signed);
        out.push(Introduction { credential, profile, card, token: None }.to_bytes());
    }
    Ok(out)
}
