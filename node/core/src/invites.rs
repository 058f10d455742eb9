//! Invites: made here with a number of uses and an end, counted durably; and
//! those of others, used here.

use kith_store::{Key, Read, StoreError, Table, Tx};
use kith_wire::contact::{self, ContactRequest, Verdict};
use kith_wire::crypto::Secret;
use kith_wire::identity::DeviceCard;
use kith_wire::ids::{AccountId, GroupId, InviteId};
use kith_wire::limits::ABOUT_BYTES_MAX;
use kith_wire::link::{self, Invite, Opened};
use kith_wire::object::Versioned as _;
use minicbor::{Decode, Encode};
use rand_core::Rng as _;

use crate::api::Refusal;
use crate::ctx::{Ctx, Effect};
use crate::people::{self, Asked, KnownDevice, KnownPerson, PersonState, refused};
use crate::{identity, node, rows, text, view};

/// Invites that are open at one time.
const INVITES_MAX: usize = 200;
/// People that one invite may serve.
pub(crate) const USES_MAX: u32 = 1_000;
/// The shortest and the longest validity, in seconds.
const VALID_S: (u64, u64) = (60, 366 * 24 * 60 * 60);
/// Strangers that are told why an invite does not work; further ones are not.
const TURNED_AWAY_MAX: u32 = 16;
/// Requests of one account that are remembered per invite.
const REQUESTS_MAX: usize = 4;
/// Direct addresses in a link: a QR code has little room.
const LINK_ADDRS_MAX: usize = 4;
/// How long an invite is remembered behind its end, so that its users learn
/// why it does not work.
const REMEMBERED_S: u64 = 30 * 24 * 60 * 60;

/// An invite made here.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub(crate) struct InviteRow {
    #[n(0)]
    pub id: InviteId,
    #[n(1)]
    pub secret: Secret,
    #[n(2)]
    link: String,
    #[n(3)]
    pub group: Option<GroupId>,
    #[n(4)]
    uses: u32,
    #[n(5)]
    uses_left: u32,
    #[n(6)]
    expires_s: u64,
    #[n(7)]
    created_ms: u64,
    #[n(8)]
    revoked: bool,
    /// Who used it, and by which requests; at most `uses` people.
    #[n(9)]
    served: Vec<Served>,
    #[n(10)]
    turned_away: u32,
}

#[derive(Debug, Clone, Encode, Decode)]
#[cbor(array)]
struct Served {
    #[n(0)]
    account: AccountId,
    /// The latest requests, newest last.
    #[n(1)]
    requests: Vec<RequestId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
struct RequestId(#[cbor(n(0), with = "minicbor::bytes")] [u8; 32]);

impl InviteRow {
    pub(crate) fn load(r: &dyn Read, id: &InviteId) -> Result<Option<Self>, StoreError> {
        rows::get(r, Key::of(Table::Invites, &id.0))
    }
    fn all(r: &dyn Read) -> Result<Vec<Self>, StoreError> {
        r.scan_table(Table::Invites)?.iter().map(|b| rows::decode(b)).collect()
    }
    pub(crate) fn save(&self, tx: &mut Tx<'_>) {
        tx.put(Key::of(Table::Invites, &self.id.0), rows::encode(self));
    }
    /// Why nobody new may use it; `None` while it is open.
    pub(crate) fn closed(&self, now_ms: u64) -> Option<Verdict> {
        if self.revoked {
            Some(Verdict::Withdrawn)
        } else if self.expires_s.saturating_mul(1000) <= now_ms {
            Some(Verdict::Expired)
        } else if self.uses_left == 0 {
            Some(Verdict::UsedUp)
        } else {
            None
        }
    }
    /// Whether an account has used it.
    pub(crate) fn served(&self, account: &AccountId) -> bool {
        self.served.iter().any(|s| s.account == *account)
    }
    /// Whether this very request was taken before.
    pub(crate) fn knows(&self, account: &AccountId, request: [u8; 32]) -> bool {
        self.served.iter().any(|s| s.account == *account && s.requests.contains(&RequestId(request)))
    }
    /// Counts a use.
    pub(crate) fn serve(&mut self, account: AccountId, request: [u8; 32]) {
        self.uses_left = self.uses_left.saturating_sub(1);
        self.serve_again(account, request);
    }
    /// Notes a further request of an account without counting it.
    pub(crate) fn serve_again(&mut self, account: AccountId, request: [u8; 32]) {
        match self.served.iter_mut().find(|s| s.account == account) {
            Some(s) => {
                if s.requests.len() >= REQUESTS_MAX {
                    s.requests.remove(0);
                }
                s.requests.push(RequestId(request));
            }
            None => self.served.push(Served { account, requests: vec![RequestId(request)] }),
        }
    }
    /// Counts somebody turned away; `false` when there were too many.
    pub(crate) fn turn_away(&mut self) -> bool {
        self.turned_away = self.turned_away.saturating_add(1);
        self.turned_away <= TURNED_AWAY_MAX
    }
    fn forgotten(&self, now_ms: u64) -> bool {
        self.expires_s.saturating_add(REMEMBERED_S).saturating_mul(1000) <= now_ms
    }
    fn view(&self) -> view::Invite {
        view::Invite {
            id: self.id.hex(),
            link: self.link.clone(),
            conversation: self.group.map(|g| g.hex()),
            uses_left: self.uses_left,
            uses: self.uses,
            expires_at: self.expires_s.saturating_mul(1000),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn disk(e: StoreError) -> Refusal {
    node::disk(&e)
}

/// Makes an invite: to become a contact, or to join a group with this title.
pub(crate) fn create_invite(
    ctx: &mut Ctx<'_>,
    group: Option<(GroupId, String)>,
    uses: u32,
    valid_s: u64,
) -> Result<view::Invite, Refusal> {
    if uses == 0 || uses > USES_MAX {
        return Err(Refusal::new("invalid_uses", format!("An invite can be used 1 to {USES_MAX} times.")));
    }
    if valid_s < VALID_S.0 || valid_s > VALID_S.1 {
        return Err(Refusal::new("invalid_validity", "An invite can hold from one minute to one year."));
    }
    if let Some((group, _)) = &group
        && !people::may_add(ctx, group).map_err(refused)?
    {
        return Err(Refusal::new("not_allowed", "Only those who may add members can invite to this group."));
    }
    make_room(ctx)?;
    let (_, card) = people::own_card(ctx).map_err(refused)?;
    let invite = invite_of(ctx, &card, group, uses, valid_s)?;
    let row = InviteRow {
        id: link::invite_id(&invite.secret),
        secret: invite.secret.clone(),
        link: invite.to_link(ctx.me.account_key()),
        group: invite.group.as_ref().map(|(id, _)| *id),
        uses,
        uses_left: uses,
        expires_s: invite.expires_s,
        created_ms: ctx.now.wall_ms,
        revoked: false,
        served: Vec::new(),
        turned_away: 0,
    };
    row.save(&mut ctx.tx);
    Ok(row.view())
}

/// Forgets old invites, and refuses when too many are open.
fn make_room(ctx: &mut Ctx<'_>) -> Result<(), Refusal> {
    let now = ctx.now.wall_ms;
    let mut kept = InviteRow::all(&ctx.tx).map_err(disk)?;
    for old in kept.iter().filter(|i| i.forgotten(now)) {
        ctx.tx.delete(Key::of(Table::Invites, &old.id.0));
    }
    kept.retain(|i| !i.forgotten(now));
    let open = kept.iter().filter(|i| i.closed(now).is_none()).count();
    if open >= INVITES_MAX {
        return Err(Refusal::new(
            "too_many_invites",
            format!("At most {INVITES_MAX} invites can be open. Withdraw one first."),
        ));
    }
    // Closed ones are kept for their late users, the oldest go first.
    let mut closed: Vec<&InviteRow> = kept.iter().filter(|i| i.closed(now).is_some()).collect();
    closed.sort_by_key(|i| i.created_ms);
    for old in closed.iter().take(closed.len().saturating_sub(INVITES_MAX)) {
        ctx.tx.delete(Key::of(Table::Invites, &old.id.0));
    }
    Ok(())
}

fn invite_of(
    ctx: &mut Ctx<'_>,
    card: &DeviceCard,
    group: Option<(GroupId, String)>,
    uses: u32,
    valid_s: u64,
) -> Result<Invite, Refusal> {
    let direct = card.addrs.iter().filter(|a| !a.contains("/p2p-circuit"));
    let addrs: Vec<String> = direct.take(LINK_ADDRS_MAX).cloned().collect();
    if card.relays.is_empty() && addrs.is_empty() {
        return Err(Refusal::new(
            "unreachable",
            "Nobody could reach you by this invite: add a relay, or allow direct connections and try again.",
        ));
    }
    let mut secret = [0; 32];
    ctx.rng.fill_bytes(&mut secret);
    let (_, profile) = identity::own_profile(&ctx.tx).map_err(disk)?;
    let mut invite = Invite {
        secret: Secret::new(secret),
        rotation: ctx.me.rotation().clone(),
        device: ctx.me.device(),
        box_pub: ctx.me.box_pub(),
        name: profile.name,
        inbox: card.inbox,
        relays: card.relays.clone(),
        transport: card.transport,
        addrs,
        uses,
        expires_s: (ctx.now.wall_ms / 1000).saturating_add(valid_s),
        token_sig: None,
        group,
    };
    if !invite.relays.is_empty() {
        invite.add_token(&ctx.me.inbox_topic()).map_err(|e| refused(e.into()))?;
    }
    Ok(invite)
}

/// Withdraws an invite. Those who were let in by it stay.
pub(crate) fn revoke_invite(ctx: &mut Ctx<'_>, invite: &InviteId) -> Result<(), Refusal> {
    let row = InviteRow::load(&ctx.tx, invite).map_err(disk)?;
    let Some(mut row) = row.filter(|i| !i.revoked) else {
        return Err(Refusal::new("no_such_invite", "There is no such invite."));
    };
    row.revoked = true;
    row.save(&mut ctx.tx);
    Ok(())
}

/// Invites that can still be used, newest first.
pub(crate) fn read_invites(r: &dyn Read, now_ms: u64) -> Result<Vec<view::Invite>, StoreError> {
    let mut all = InviteRow::all(r)?;
    all.retain(|i| i.closed(now_ms).is_none());
    all.sort_by(|a, b| b.created_ms.cmp(&a.created_ms).then_with(|| a.id.cmp(&b.id)));
    Ok(all.iter().map(InviteRow::view).collect())
}

/// Answers somebody's invite link: asks to become a contact, or to join.
pub(crate) fn use_invite(ctx: &mut Ctx<'_>, link: &str, greeting: &str) -> Result<AccountId, Refusal> {
    let opened = Invite::open(link, ctx.now.wall_ms)
        .map_err(|e| Refusal::new(e.code(), text::sentence(&e.to_string())))?;
    if greeting.len() > ABOUT_BYTES_MAX {
        return Err(Refusal::new("greeting_too_long", "The greeting is too long. Shorten it."));
    }
    let greeting = text::clean_text(greeting, ABOUT_BYTES_MAX);
    let account = opened.who.account;
    if account == ctx.me.account() {
        return Err(Refusal::new("own_invite", "This is your own invite. Send it to somebody else."));
    }
    let group = opened.invite.group.clone();
    let known = KnownPerson::load(&ctx.tx, &account).map_err(disk)?;
    let mut person = match known {
        Some(person) => person,
        None if people::has_room(&ctx.tx).map_err(disk)? => KnownPerson::new(account, ctx.now.wall_ms),
        None => {
            return Err(Refusal::new("too_many_people", "There is no room for more people here."));
        }
    };
    match person.state {
        PersonState::Blocked => {
            return Err(Refusal::new("blocked", "You have blocked this person. Unblock them first."));
        }
        PersonState::Accepted if group.is_none() => {
            return Err(Refusal::new("already_contact", "This person is a contact of yours already."));
        }
        PersonState::Incoming if group.is_none() => {
            return Err(Refusal::new(
                "asked_you",
                "This person has asked you already: accept their request instead.",
            ));
        }
        _ => {}
    }
    if let Some((id, _)) = &group
        && rows::GroupInfo::load(&ctx.tx, id).map_err(disk)?.is_some_and(|info| {
            let me = ctx.me.device();
            info.members.iter().any(|m| m.device == me)
        })
    {
        return Err(Refusal::new("already_member", "You are a member of this group already."));
    }
    meet(ctx, &mut person, &opened)?;
    let request = ask(ctx, &opened, greeting.clone())?;
    person.ask(Asked { request: contact::request_id(&request), group: group.as_ref().map(|(id, _)| *id) });
    person.declined = false;
    if group.is_none() {
        person.enter(PersonState::Requested, ctx.now.wall_ms);
        person.greeting = greeting;
        person.problem = None;
    }
    person.save(&mut ctx.tx).map_err(disk)?;
    ctx.out.push(Effect::Changed(account));
    ctx.out.push(Effect::SendInbox { to: account, device: opened.who.device, object: request });
    if let Some((group, title)) = group {
        ctx.out.push(Effect::Joining { group, title: text::clean_name(&title) });
    }
    Ok(account)
}

/// Notes what the invite says about the inviter and its device. What the
/// person signed later counts more.
fn meet(ctx: &mut Ctx<'_>, person: &mut KnownPerson, opened: &Opened) -> Result<(), Refusal> {
    let Opened { invite, who, .. } = opened;
    let signed = KnownDevice::load(&ctx.tx, &who.device).map_err(disk)?.filter(|d| d.card.revision > 0);
    // The device itself never signed the link: its own word counts more.
    if who.device == ctx.me.device() || signed.as_ref().is_some_and(|d| d.account != who.account) {
        return Err(Refusal::new(
            "invite_forged",
            "This invite names a device of somebody else. Ask the person for a new one.",
        ));
    }
    if person.profile == (0, 0) {
        person.name.clone_from(&invite.name);
    }
    let token = invite.token().map(|t| t.to_bytes());
    let row = match signed {
        Some(mut known) => {
            if known.token.is_none() && known.card.inbox == invite.inbox {
                known.token = token;
            }
            known
        }
        None => KnownDevice {
            device: who.device,
            account: who.account,
            box_key: who.box_key,
            generation: who.generation,
            credential: None,
            card: DeviceCard {
                kind: DeviceCard::KIND,
                version: DeviceCard::VERSION,
                account: who.account,
                device: who.device,
                revision: 0,
                inbox: invite.inbox,
                relays: invite.relays.clone(),
                transport: invite.transport,
                addrs: invite.addrs.clone(),
                issued_ms: ctx.now.wall_ms,
                expires_ms: invite.expires_s.saturating_mul(1000),
                token: None,
            },
            card_signed: None,
            token,
        },
    };
    person.add_device(&mut ctx.tx, who.device).map_err(disk)?;
    row.save(&mut ctx.tx);
    Ok(())
}

fn ask(ctx: &mut Ctx<'_>, opened: &Opened, greeting: String) -> Result<Vec<u8>, Refusal> {
    let Opened { invite, id, who } = opened;
    let key_package = ctx.engine.key_package(&mut ctx.tx, false).map_err(crate::groups::refusal)?;
    let request = ContactRequest {
        kind: ContactRequest::KIND,
        version: ContactRequest::VERSION,
        to: who.device,
        to_inbox: invite.inbox.topic(),
        from: people::introduction_to(ctx).map_err(refused)?,
        key_package,
        invite: *id,
        proof: contact::invite_proof(&invite.secret, &ctx.me.account(), &ctx.me.device()),
        greeting,
        group: invite.group.as_ref().map(|(id, _)| *id),
        at_ms: ctx.now.wall_ms,
    };
    Ok(contact::sign(&request, ctx.me.device_key()))
}
