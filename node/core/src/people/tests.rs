//! Two and more people over memory stores: what they send is carried from
//! one to the other as it is, without seal and network.

use kith_mls::Engine;
use kith_store::{MemoryStore, Overlay, Read, Store as _, Tx};
use kith_wire::contact::{self, ContactAnswer, ContactRequest, ContactUpdate, Introduction, Verdict};
use kith_wire::group::GroupExt;
use kith_wire::identity::{DeviceCard, Profile, RelayHint};
use kith_wire::ids::{AccountId, DeviceId, GroupId, InviteId, RelayId};
use kith_wire::link::Invite;
use kith_wire::object::Versioned as _;
use kith_wire::signed::{self, Raw};
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use super::*;
use crate::api::Now;
use crate::identity::Identity;
use crate::rows;
use crate::view::ContactState;

const DAY_S: u64 = 86_400;

fn card(r: &dyn Read, device: &DeviceId) -> Result<Option<DeviceCard>, StoreError> {
    Ok(DeviceRow::load(r, device)?.map(|row| row.card))
}

struct Peer {
    store: MemoryStore,
    me: Identity,
    engine: Engine,
    rng: ChaCha20Rng,
    now: Now,
    out: Vec<Effect>,
}

impl Peer {
    fn new(seed: u8, name: &str) -> Self {
        let store = MemoryStore::default();
        let none = Overlay::default();
        let mut rng = ChaCha20Rng::from_seed([seed; 32]);
        let now = Now { wall_ms: 1_790_000_000_000, mono_ms: 1 };
        let mut tx = Tx::new(&store, &none);
        let me = Identity::create(&mut tx, [seed; 32], name, &mut rng, now).unwrap();
        let changes = tx.finish();
        store.write(&changes).unwrap();
        let engine = Engine::new(me.device_keys(), [seed; 32]);
        let mut peer = Self { store, me, engine, rng, now, out: Vec::new() };
        let relay =
            RelayHint { id: RelayId([9; 32]), name: "r".into(), addrs: vec!["/ip4/1.2.3.4/tcp/1".into()] };
        let addr = format!("/ip4/10.0.0.{seed}/udp/4001/quic-v1");
        assert!(peer.ok(|ctx| update_own_card(ctx, &[relay], &[addr])));
        peer
    }
    /// Runs one input; its writes are kept only if it succeeds.
    fn run<T, E>(&mut self, f: impl FnOnce(&mut Ctx<'_>) -> Result<T, E>) -> Result<T, E> {
        let none = Overlay::default();
        let mut out = Vec::new();
        let mut ctx = Ctx {
            tx: Tx::new(&self.store, &none),
            now: self.now,
            rng: &mut self.rng,
            me: &self.me,
            engine: &mut self.engine,
            out: &mut out,
        };
        let value = f(&mut ctx)?;
        let changes = ctx.tx.finish();
        self.store.write(&changes).unwrap();
        self.out.extend(out);
        Ok(value)
    }
    fn ok<T, E: core::fmt::Display>(&mut self, f: impl FnOnce(&mut Ctx<'_>) -> Result<T, E>) -> T {
        self.run(f).map_err(|e| e.to_string()).unwrap()
    }
    fn account(&self) -> AccountId {
        self.me.account()
    }
    fn invite(&mut self, uses: u32) -> String {
        self.ok(|ctx| create_invite(ctx, None, uses, DAY_S)).link
    }
    fn use_invite(&mut self, link: &str) -> AccountId {
        self.ok(|ctx| use_invite(ctx, link, "hello"))
    }
    fn refusal<T: core::fmt::Debug>(&mut self, f: impl FnOnce(&mut Ctx<'_>) -> Result<T, Refusal>) -> String {
        self.run(f).unwrap_err().code
    }
    /// What was sent since the last call, to whomever.
    fn sent(&mut self) -> Vec<Vec<u8>> {
        let out = core::mem::take(&mut self.out);
        let (sent, rest): (Vec<_>, Vec<_>) =
            out.into_iter().partition(|e| matches!(e, Effect::SendInbox { .. }));
        self.out = rest;
        sent.into_iter()
            .map(|e| match e {
                Effect::SendInbox { object, .. } => object,
                _ => unreachable!(),
            })
            .collect()
    }
    fn take(&mut self, object: &[u8]) -> Result<(), Reject> {
        self.run(|ctx| on_contact_object(ctx, object))
    }
    fn carry(&mut self, to: &mut Self) {
        for object in self.sent() {
            to.take(&object).unwrap();
        }
    }
    fn contact(&self, other: AccountId) -> Option<crate::view::Contact> {
        read_contact(&self.store, &other).unwrap()
    }
    fn state(&self, other: &Self) -> ContactState {
        self.contact(other.account()).unwrap().state
    }
    fn direct_started(&self) -> usize {
        self.out.iter().filter(|e| matches!(e, Effect::CreateDirect { .. })).count()
    }
}

fn pair() -> (Peer, Peer) {
    (Peer::new(1, "Alice"), Peer::new(2, "Bob"))
}

/// Two who are contacts.
fn friends() -> (Peer, Peer) {
    let (mut alice, mut bob) = pair();
    let link = alice.invite(1);
    bob.use_invite(&link);
    bob.carry(&mut alice);
    let account = bob.account();
    alice.ok(|ctx| accept(ctx, &account));
    alice.carry(&mut bob);
    (alice, bob)
}

#[test]
fn an_invite_a_request_and_a_yes_make_contacts() {
    let (mut alice, mut bob) = pair();
    let link = alice.invite(1);
    assert_eq!(read_invites(&alice.store, alice.now.wall_ms).unwrap().len(), 1);
    assert_eq!(bob.use_invite(&link), alice.account());
    assert_eq!(bob.state(&alice), ContactState::Requested);
    assert_eq!(bob.contact(alice.account()).unwrap().name, "Alice");
    assert!(token_for(&bob.store, &alice.me.device()).unwrap().is_some());
    bob.carry(&mut alice);
    let seen = alice.contact(bob.account()).unwrap();
    assert_eq!(
        (seen.state, seen.name.as_str(), seen.greeting.as_str()),
        (ContactState::Incoming, "Bob", "hello")
    );
    assert_eq!(alice.direct_started(), 0);
    let account = bob.account();
    alice.ok(|ctx| accept(ctx, &account));
    assert_eq!(alice.direct_started(), 1);
    assert!(reach(&alice.store, &bob.me.device()).unwrap().is_some());
    alice.carry(&mut bob);
    assert_eq!((alice.state(&bob), bob.state(&alice)), (ContactState::Accepted, ContactState::Accepted));
    // Both have each other's signed cards and a token of their own.
    for (a, b) in [(&alice, &bob), (&bob, &alice)] {
        let card = card(&a.store, &b.me.device()).unwrap().unwrap();
        assert_eq!((card.revision, card.transport), (1, b.me.transport_key()));
        let token = token_for(&a.store, &b.me.device()).unwrap().unwrap();
        assert!(token.token().expires_ms > a.now.wall_ms + 365 * DAY_S * 1000);
        assert_eq!(account_of(&a.store, &b.me.device()).unwrap(), Some(b.account()));
        assert!(may_invite(&a.store, &b.account()).unwrap());
    }
    // Accepting again changes nothing.
    alice.ok(|ctx| accept(ctx, &account));
    assert!(alice.sent().is_empty());
    assert!(read_invites(&alice.store, alice.now.wall_ms).unwrap().is_empty());
}

#[test]
fn a_no_reaches_the_other_side_and_tells_nothing_more() {
    let (mut alice, mut bob) = pair();
    let link = alice.invite(3);
    bob.use_invite(&link);
    bob.carry(&mut alice);
    let account = bob.account();
    alice.ok(|ctx| refuse(ctx, &account));
    alice.carry(&mut bob);
    let seen = bob.contact(alice.account()).unwrap();
    assert_eq!(seen.state, ContactState::Refused);
    assert_eq!(seen.problem.as_deref(), Some("Your request was declined."));
    assert_eq!(card(&bob.store, &alice.me.device()).unwrap().unwrap().revision, 0);
    assert!(read_contacts(&alice.store).unwrap().is_empty());
    assert_eq!(alice.refusal(|ctx| accept(ctx, &account)), "no_request");
    // Asking again by the same invite is answered without the person.
    bob.use_invite(&link);
    bob.carry(&mut alice);
    assert!(read_contacts(&alice.store).unwrap().is_empty());
    alice.carry(&mut bob);
    assert_eq!(bob.state(&alice), ContactState::Refused);
    // Another invite is another chance.
    let link = alice.invite(1);
    bob.use_invite(&link);
    bob.carry(&mut alice);
    assert_eq!(alice.state(&bob), ContactState::Incoming);
}

#[test]
fn a_request_that_comes_twice_counts_once() {
    let (mut alice, mut bob) = pair();
    let link = alice.invite(2);
    bob.use_invite(&link);
    let request = bob.sent().remove(0);
    for _ in 0..3 {
        alice.take(&request).unwrap();
    }
    let invites = read_invites(&alice.store, alice.now.wall_ms).unwrap();
    assert_eq!(invites.first().unwrap().uses_left, 1);
    // A second request of the same person replaces the first, uses none.
    bob.use_invite(&link);
    bob.carry(&mut alice);
    assert_eq!(read_invites(&alice.store, alice.now.wall_ms).unwrap().first().unwrap().uses_left, 1);
    let account = bob.account();
    alice.ok(|ctx| accept(ctx, &account));
    // The old request again, after the yes: nothing happens.
    let before = alice.out.len();
    alice.take(&request).unwrap();
    assert!(alice.out.iter().skip(before).all(|e| !matches!(e, Effect::CreateDirect { .. })));
    alice.carry(&mut bob);
    assert_eq!(bob.state(&alice), ContactState::Accepted);
}

#[test]
fn a_contact_who_asks_again_is_answered_again() {
    let (mut alice, mut bob) = friends();
    let link = alice.invite(1);
    assert_eq!(bob.refusal(|ctx| use_invite(ctx, &link, "")), "already_contact");
    // Bob's node lost what it knew.
    let mut bob_again = Peer::new(2, "Bob");
    bob_again.use_invite(&link);
    bob_again.carry(&mut alice);
    assert_eq!(alice.state(&bob), ContactState::Accepted);
    alice.carry(&mut bob_again);
    assert_eq!(bob_again.state(&alice), ContactState::Accepted);
    assert_eq!(read_invites(&alice.store, alice.now.wall_ms).unwrap().first().unwrap().uses_left, 1);
}

#[test]
fn uses_are_counted_and_late_comers_are_told() {
    let (mut alice, mut bob) = pair();
    let mut carol = Peer::new(3, "Carol");
    let link = alice.invite(1);
    bob.use_invite(&link);
    carol.use_invite(&link);
    bob.carry(&mut alice);
    carol.carry(&mut alice);
    alice.carry(&mut carol);
    let seen = carol.contact(alice.account()).unwrap();
    assert_eq!(seen.state, ContactState::Refused);
    assert!(seen.problem.unwrap().contains("used up"));
    assert_eq!(read_contacts(&alice.store).unwrap().len(), 1);

    let link = alice.invite(5);
    let id = InviteId::from_hex(&read_invites(&alice.store, 0).unwrap().first().unwrap().id).unwrap();
    alice.ok(|ctx| revoke_invite(ctx, &id));
    assert_eq!(alice.refusal(|ctx| revoke_invite(ctx, &id)), "no_such_invite");
    carol.use_invite(&link);
    carol.carry(&mut alice);
    alice.carry(&mut carol);
    assert!(carol.contact(alice.account()).unwrap().problem.unwrap().contains("withdrawn"));

    let link = alice.invite(5);
    carol.use_invite(&link);
    alice.now.wall_ms += (DAY_S + 1) * 1000;
    carol.carry(&mut alice);
    alice.carry(&mut carol);
    assert!(carol.contact(alice.account()).unwrap().problem.unwrap().contains("over before"));
    carol.now = alice.now;
    assert_eq!(carol.refusal(|ctx| use_invite(ctx, &link, "")), "invite_expired");
}

#[test]
fn only_so_many_strangers_are_told() {
    let mut alice = Peer::new(1, "Alice");
    let mut first = Peer::new(2, "First");
    let link = alice.invite(1);
    first.use_invite(&link);
    first.carry(&mut alice);
    let mut told = 0;
    for seed in 10..40 {
        let mut late = Peer::new(seed, "Late");
        late.use_invite(&link);
        let request = late.sent().remove(0);
        told += usize::from(alice.take(&request).is_ok());
    }
    assert_eq!(told, 16);
    assert_eq!(read_contacts(&alice.store).unwrap().len(), 1);
}

#[test]
fn forged_and_misdirected_requests_change_nothing() {
    let (mut alice, mut bob) = pair();
    let mut carol = Peer::new(3, "Carol");
    let link = alice.invite(1);
    bob.use_invite(&link);
    let request = bob.sent().remove(0);
    // Meant for somebody else.
    assert!(carol.take(&request).is_err());
    // The same with another secret, an unknown invite, or another place.
    let raw = Raw::from_bytes(&request).unwrap();
    let body: ContactRequest = raw.body().unwrap();
    let key = bob.me.device_key().clone();
    let forge = |change: &dyn Fn(&mut ContactRequest)| {
        let mut body = body.clone();
        change(&mut body);
        contact::sign(&body, &key)
    };
    for object in [
        forge(&|b| b.proof = [1; 32]),
        forge(&|b| b.invite = InviteId([1; 32])),
        forge(&|b| b.group = Some(GroupId([1; 32]))),
        forge(&|b| b.from.card = None),
    ] {
        assert!(matches!(alice.take(&object), Err(Reject::Invalid(_))));
    }
    // Carol cannot use what Bob proved.
    let mut stolen = body.clone();
    stolen.from = carol.ok(introduction_to);
    assert!(alice.take(&contact::sign(&stolen, carol.me.device_key())).is_err());
    assert!(read_contacts(&alice.store).unwrap().is_empty());
    assert_eq!(alice.direct_started(), 0);
    alice.take(&request).unwrap();
    // An answer that was not asked for makes nobody a contact.
    let answer = ContactAnswer {
        kind: ContactAnswer::KIND,
        version: 1,
        to: alice.me.device(),
        to_inbox: alice.me.inbox_topic().id(),
        from: bob.ok(introduction_to),
        request: [7; 32],
        verdict: Verdict::Accepted,
        at_ms: 0,
    };
    alice.take(&contact::sign(&answer, bob.me.device_key())).unwrap();
    assert_eq!(alice.state(&bob), ContactState::Incoming);
    let stranger = ContactAnswer { from: carol.ok(introduction_to), ..answer };
    assert!(alice.take(&contact::sign(&stranger, carol.me.device_key())).is_err());
}

#[test]
fn blocked_people_get_no_sign() {
    let (mut alice, mut bob) = friends();
    let account = bob.account();
    alice.ok(|ctx| block(ctx, &account, true));
    assert!(is_blocked(&alice.store, &account).unwrap());
    assert!(!may_invite(&alice.store, &account).unwrap());
    let link = alice.invite(2);
    let mut bob_again = Peer::new(2, "Bob");
    bob_again.use_invite(&link);
    bob_again.carry(&mut alice);
    assert!(alice.sent().is_empty());
    assert_eq!(read_invites(&alice.store, alice.now.wall_ms).unwrap().first().unwrap().uses_left, 2);
    let link = bob.invite(1);
    assert_eq!(alice.refusal(|ctx| use_invite(ctx, &link, "")), "blocked");
    alice.ok(|ctx| block(ctx, &account, false));
    assert_eq!(alice.state(&bob), ContactState::Accepted);
    assert_eq!(alice.refusal(|ctx| block(ctx, &AccountId([1; 32]), true)), "unknown_person");
}

#[test]
fn two_who_ask_each_other_have_both_said_yes() {
    let (mut alice, mut bob) = pair();
    let (of_alice, of_bob) = (alice.invite(1), bob.invite(1));
    bob.use_invite(&of_alice);
    alice.use_invite(&of_bob);
    let (from_alice, from_bob) = (alice.sent(), bob.sent());
    from_bob.iter().for_each(|o| alice.take(o).unwrap());
    from_alice.iter().for_each(|o| bob.take(o).unwrap());
    assert_eq!((alice.state(&bob), bob.state(&alice)), (ContactState::Accepted, ContactState::Accepted));
    alice.carry(&mut bob);
    bob.carry(&mut alice);
    assert_eq!((alice.state(&bob), bob.state(&alice)), (ContactState::Accepted, ContactState::Accepted));
}

#[test]
fn a_group_invite_leads_into_the_group_and_makes_no_contact() {
    let (mut alice, mut bob) = pair();
    let ext = GroupExt::group(alice.account(), "Book club", Vec::new());
    let group = alice.ok(|ctx| ctx.engine.create(&mut ctx.tx, ctx.now.wall_ms, &ext));
    let link = alice.ok(|ctx| create_invite(ctx, Some((group, "Book club".into())), 1, DAY_S)).link;
    bob.use_invite(&link);
    assert_eq!(bob.state(&alice), ContactState::Known);
    assert!(bob.out.iter().any(|e| matches!(e, Effect::Joining { title, .. } if title == "Book club")));
    let request = bob.sent().remove(0);
    alice.take(&request).unwrap();
    alice.take(&request).unwrap();
    let adds = alice.out.iter().filter(|e| matches!(e, Effect::AddToGroup { group: g, .. } if *g == group));
    assert_eq!(adds.count(), 1);
    assert_eq!(alice.state(&bob), ContactState::Known);
    assert!(!is_accepted(&alice.store, &bob.account()).unwrap());
    // A further attempt would be a further use.
    bob.use_invite(&link);
    bob.carry(&mut alice);
    alice.carry(&mut bob);
    assert!(bob.out.iter().any(|e| matches!(e, Effect::Notice { code: "not_let_in", .. })));
    // A group that is not here.
    let unknown = Some((GroupId([1; 32]), "x".into()));
    assert_eq!(alice.refusal(|ctx| create_invite(ctx, unknown, 1, DAY_S)), "not_allowed");
}

#[test]
fn wrong_links_and_numbers_are_refused_with_codes() {
    let (mut alice, mut bob) = pair();
    let link = alice.invite(1);
    assert_eq!(alice.refusal(|ctx| use_invite(ctx, &link, "")), "own_invite");
    assert_eq!(bob.refusal(|ctx| use_invite(ctx, "hello", "")), "not_an_invite");
    assert_eq!(bob.refusal(|ctx| use_invite(ctx, "kith-relay:abc", "")), "community_link");
    assert_eq!(bob.refusal(|ctx| use_invite(ctx, &link, &"x".repeat(1025))), "greeting_too_long");
    assert_eq!(alice.refusal(|ctx| create_invite(ctx, None, 0, DAY_S)), "invalid_uses");
    assert_eq!(alice.refusal(|ctx| create_invite(ctx, None, 1_001, DAY_S)), "invalid_uses");
    assert_eq!(alice.refusal(|ctx| create_invite(ctx, None, 1, 1)), "invalid_validity");
    assert_eq!(alice.refusal(|ctx| create_invite(ctx, None, 1, u64::MAX)), "invalid_validity");
    alice.ok(|ctx| update_own_card(ctx, &[], &[]));
    assert_eq!(alice.refusal(|ctx| create_invite(ctx, None, 1, DAY_S)), "unreachable");
    bob.use_invite(&link);
    let account = alice.account();
    assert_eq!(bob.refusal(|ctx| set_nickname(ctx, &account, Some(&"x".repeat(129)))), "name_too_long");
    assert_eq!(bob.refusal(|ctx| set_profile(ctx, " ", "")), "name_empty");
    let nobody = AccountId([1; 32]);
    assert_eq!(bob.refusal(|ctx| set_verified(ctx, &nobody, true)), "unknown_person");
    // Whoever was asked already is asked to accept instead.
    let link = bob.invite(1);
    bob.carry(&mut alice);
    assert_eq!(alice.refusal(|ctx| use_invite(ctx, &link, "")), "asked_you");
}

#[test]
fn a_link_cannot_take_over_a_known_device() {
    let (alice, mut bob) = friends();
    let mut mallory = Peer::new(66, "Mallory");
    let link = mallory.invite(1);
    let mut forged = Invite::open(&link, 0).unwrap().invite;
    forged.device = alice.me.device();
    let link = forged.to_link(mallory.me.account_key());
    assert_eq!(bob.refusal(|ctx| use_invite(ctx, &link, "")), "invite_forged");
    forged.device = bob.me.device();
    let link = forged.to_link(mallory.me.account_key());
    assert_eq!(bob.refusal(|ctx| use_invite(ctx, &link, "")), "invite_forged");
    // A device that only a link named is no claim against its true account.
    let mut carol = Peer::new(3, "Carol");
    forged.device = carol.me.device();
    let link = forged.to_link(mallory.me.account_key());
    bob.use_invite(&link);
    let intro = carol.ok(introduction_to);
    let by = intro.verify().unwrap();
    assert!(bob.ok(|ctx| learn(ctx, &intro, &by)));
    assert_eq!(account_of(&bob.store, &carol.me.device()).unwrap(), Some(carol.account()));
    assert!(reaches_of(&bob.store, &mallory.account()).unwrap().is_empty());
}

#[test]
fn nicknames_marks_and_names_are_shown() {
    let (mut alice, mut bob) = friends();
    let account = alice.account();
    bob.ok(|ctx| set_nickname(ctx, &account, Some("Ali\u{202E}")));
    assert_eq!(display_name(&bob.store, &account).unwrap(), "Ali");
    bob.ok(|ctx| set_nickname(ctx, &account, Some(" ")));
    assert_eq!(display_name(&bob.store, &account).unwrap(), "Alice");
    assert_eq!(display_name(&bob.store, &bob.account()).unwrap(), "Bob");
    let stranger = AccountId([5; 32]);
    assert!(display_name(&bob.store, &stranger).unwrap().starts_with("kith1"));
    bob.ok(|ctx| learn_account(ctx, &stranger));
    assert_eq!(bob.contact(stranger).unwrap().state, ContactState::Known);
    bob.ok(|ctx| set_verified(ctx, &account, true));
    let safety = read_safety(&bob.store, &account).unwrap().unwrap();
    assert!(safety.verified && bob.contact(account).unwrap().verified);
    assert_eq!(read_safety(&alice.store, &bob.account()).unwrap().unwrap().digits, safety.digits);
    assert_eq!(read_safety(&bob.store, &AccountId([6; 32])).unwrap(), None);
    // A new profile travels as the content of a group event.
    alice.ok(|ctx| set_profile(ctx, "Alice L", "hi"));
    let (profile, card) = alice.ok(introduction);
    assert!(bob.ok(|ctx| learn_profile(ctx, &account, &profile)));
    assert!(!bob.ok(|ctx| learn_profile(ctx, &account, &profile)));
    assert!(!bob.ok(|ctx| learn_card(ctx, &account, &card)));
    assert_eq!(display_name(&bob.store, &account).unwrap(), "Alice L");
    // Somebody else's event cannot change it.
    assert!(bob.run(|ctx| learn_profile(ctx, &stranger, &profile)).is_err());
    assert!(bob.run(|ctx| learn_card(ctx, &account, b"noise")).is_err());
    assert_eq!(read_me(&alice.store).unwrap().unwrap().name, "Alice L");
}

#[test]
fn the_own_card_changes_only_when_something_did_or_it_grows_old() {
    let mut alice = Peer::new(1, "Alice");
    let (_, card) = alice.ok(own_card);
    let same = (card.relays.clone(), card.addrs.clone());
    assert!(!alice.ok(|ctx| update_own_card(ctx, &same.0, &same.1)));
    assert!(alice.ok(|ctx| update_own_card(ctx, &same.0, &[])));
    let (_, second) = alice.ok(own_card);
    assert_eq!((second.revision, &second.token), (card.revision + 1, &card.token));
    assert_eq!(second.expires_ms, card.expires_ms);
    alice.now.wall_ms += 31 * DAY_S * 1000;
    assert!(alice.ok(|ctx| update_own_card(ctx, &same.0, &[])));
    let (_, third) = alice.ok(own_card);
    assert!(third.token != card.token && third.expires_ms > card.expires_ms);
    // Too much of anything is left out, so that the card stays valid.
    let many: Vec<String> =
        (0..50).map(|n| format!("/ip4/10.0.0.{n}/tcp/1")).chain(["x".repeat(999)]).collect();
    alice.ok(|ctx| update_own_card(ctx, &vec![same.0[0].clone(); 9], &many));
    let (_, fourth) = alice.ok(own_card);
    assert!(fourth.check().is_ok());
}

#[test]
fn those_who_wait_for_an_answer_learn_of_a_new_address() {
    let (mut alice, mut bob) = pair();
    let link = alice.invite(1);
    bob.use_invite(&link);
    bob.carry(&mut alice);
    bob.ok(|ctx| update_own_card(ctx, &[], &["/ip4/9.9.9.9/tcp/9".into()]));
    bob.carry(&mut alice);
    let card = card(&alice.store, &bob.me.device()).unwrap().unwrap();
    assert_eq!(card.addrs, ["/ip4/9.9.9.9/tcp/9"]);
    assert_eq!(alice.state(&bob), ContactState::Incoming);
    // From somebody unknown it is refused.
    let mut carol = Peer::new(3, "Carol");
    let update = ContactUpdate {
        kind: ContactUpdate::KIND,
        version: 1,
        to: alice.me.device(),
        to_inbox: alice.me.inbox_topic().id(),
        from: carol.ok(introduction_to),
        at_ms: 0,
    };
    assert!(alice.take(&contact::sign(&update, carol.me.device_key())).is_err());
}

#[test]
fn bundles_introduce_members_and_pass_over_what_is_bad() {
    let (mut alice, mut bob) = friends();
    let mut carol = Peer::new(3, "Carol");
    let group = GroupId([1; 32]);
    alice.ok(|ctx| {
        let member =
            |account, device: DeviceId| rows::MemberInfo { account, device, role: 2, seen: true, may: 0 };
        let members = vec![
            member(ctx.me.account(), ctx.me.device()),
            member(bob.me.account(), bob.me.device()),
            member(AccountId([9; 32]), DeviceId([9; 32])),
        ];
        let info = rows::GroupInfo {
            epoch: 1,
            tip: Default::default(),
            members,
            relays: Vec::new(),
            may: 0,
            behind: false,
            title: String::new(),
        };
        info.save(&mut ctx.tx, &group);
        Ok::<_, Reject>(())
    });
    let mut cards = alice.ok(|ctx| introductions(ctx, group, &[]));
    assert_eq!(cards.len(), 2);
    // In a conversation where nobody is yet: who comes in by the same commit.
    let together = [&bob, &carol].map(|p| (p.me.account(), p.me.device()));
    let new = alice.ok(|ctx| introductions(ctx, GroupId([2; 32]), &together));
    assert_eq!(new, cards, "Bob by his card; Carol's is not known");
    cards.insert(0, b"noise".to_vec());
    carol.ok(|ctx| learn_introductions(ctx, &cards));
    for other in [&alice, &bob] {
        assert_eq!(carol.state(other), ContactState::Known);
        assert!(reach(&carol.store, &other.me.device()).unwrap().is_some());
        assert!(token_for(&carol.store, &other.me.device()).unwrap().is_some());
        let _ = &other.out;
    }
    bob.out.clear();
}

#[test]
fn people_are_bounded() {
    let mut alice = Peer::new(1, "Alice");
    alice.ok(|ctx| {
        for n in 0..row::PEOPLE_MAX + 10 {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&n.to_be_bytes());
            learn_account(ctx, &AccountId(id))?;
        }
        Ok::<_, StoreError>(())
    });
    assert_eq!(alice.store.scan_table(kith_store::Table::Contacts).unwrap().len(), row::PEOPLE_MAX as usize);
    let mut bob = Peer::new(2, "Bob");
    let link = bob.invite(1);
    assert_eq!(alice.refusal(|ctx| use_invite(ctx, &link, "")), "too_many_people");
    let link = alice.invite(1);
    bob.use_invite(&link);
    let request = bob.sent().remove(0);
    assert!(alice.take(&request).is_err());
}

#[test]
fn open_requests_are_bounded() {
    let mut alice = Peer::new(1, "Alice");
    alice.ok(|ctx| {
        for n in 0..row::INCOMING_MAX {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&n.to_be_bytes());
            let mut person = Person::new(AccountId(id), 0);
            person.enter(State::Incoming, 1);
            person.save(&mut ctx.tx)?;
        }
        Ok::<_, StoreError>(())
    });
    let mut bob = Peer::new(2, "Bob");
    let link = alice.invite(1);
    bob.use_invite(&link);
    bob.carry(&mut alice);
    alice.carry(&mut bob);
    assert!(bob.contact(alice.account()).unwrap().problem.unwrap().contains("Too many requests"));
    // One that is answered makes room.
    alice.ok(|ctx| block(ctx, &AccountId([0; 32]), true));
    bob.use_invite(&link);
    bob.carry(&mut alice);
    assert_eq!(alice.state(&bob), ContactState::Incoming);
}

#[test]
fn open_invites_are_bounded() {
    let mut alice = Peer::new(1, "Alice");
    for _ in 0..200 {
        alice.invite(1);
    }
    assert_eq!(alice.refusal(|ctx| create_invite(ctx, None, 1, DAY_S)), "too_many_invites");
    alice.now.wall_ms += 2 * DAY_S * 1000;
    alice.invite(1);
    alice.now.wall_ms += 40 * DAY_S * 1000;
    alice.invite(1);
    assert_eq!(alice.store.scan_table(kith_store::Table::Invites).unwrap().len(), 1);
}

/// An introduction with chosen revisions, signed by the peer's keys.
fn introduce_as(peer: &Peer, profile: Option<u64>, card: Option<u64>) -> Introduction {
    let sign_profile = |revision| {
        let p = Profile::new(peer.account(), 0, revision, format!("name {revision}"), String::new());
        signed::sign(&p, peer.me.account_key(), &[]).to_bytes()
    };
    let sign_card = |revision: u64| {
        let card = DeviceCard {
            kind: DeviceCard::KIND,
            version: 1,
            account: peer.account(),
            device: peer.me.device(),
            revision,
            inbox: peer.me.inbox_topic().inbox(),
            relays: Vec::new(),
            transport: peer.me.transport_key(),
            addrs: vec![format!("/ip4/1.1.1.1/tcp/{}", revision % 60_000)],
            issued_ms: 1,
            expires_ms: 2,
            token: None,
        };
        contact::sign(&card, peer.me.device_key())
    };
    Introduction {
        credential: peer.me.credential().to_vec(),
        profile: profile.map(sign_profile),
        card: card.map(sign_card),
        token: None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_newest_wins_in_any_order(
        given in proptest::collection::vec((proptest::option::of(1u64..20), proptest::option::of(1u64..20)), 1..12)
    ) {
        let (mut alice, bob) = (Peer::new(1, "Alice"), Peer::new(2, "Bob"));
        // A card alone makes the device known, so that the order is free.
        let mut given = given;
        given.push((Some(1), Some(1)));
        for (profile, card) in &given {
            let intro = introduce_as(&bob, *profile, *card);
            let by = intro.verify().unwrap();
            alice.ok(|ctx| learn(ctx, &intro, &by));
        }
        let profile = given.iter().filter_map(|g| g.0).max().unwrap();
        let newest = given.iter().filter_map(|g| g.1).max().unwrap();
        prop_assert_eq!(alice.contact(bob.account()).unwrap().name, format!("name {profile}"));
        prop_assert_eq!(card(&alice.store, &bob.me.device()).unwrap().unwrap().revision, newest);
    }

    #[test]
    fn a_changed_byte_never_panics_and_changes_nothing(at in any::<prop::sample::Index>(), flip in 1u8..) {
        let (mut alice, mut bob) = pair();
        let link = alice.invite(1);
        bob.use_invite(&link);
        let mut request = bob.sent().remove(0);
        let at = at.index(request.len());
        request[at] ^= flip;
        prop_assert!(alice.take(&request).is_err());
        prop_assert!(read_contacts(&alice.store).unwrap().is_empty());
    }
}
