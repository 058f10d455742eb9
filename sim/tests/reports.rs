//! Reports over whole nodes: they reach the admins and nobody else, they say
//! what is known and what is only claimed, and they are bounded.

use kith_core::api::{Command, Refusal, Reply};
use kith_core::view::{Content, Message, Role};
use kith_sim::{NodeIndex, World};
use kith_wire::ids::{EventId, GroupId};

/// Alice makes a group with the others; Bob is an admin of it.
fn choir(world: &mut World, names: &[&str]) -> (Vec<NodeIndex>, GroupId) {
    let all: Vec<_> = names.iter().map(|n| world.node(n).unwrap()).collect();
    let group = world.gather(&all);
    let account = world.account(all[1]).unwrap();
    world.ask(all[0], Command::SetRole { group, account, role: Role::Admin }).unwrap();
    world.run(20_000);
    (all, group)
}

fn report(
    world: &mut World,
    who: NodeIndex,
    group: GroupId,
    event: EventId,
    reason: &str,
) -> Result<Reply, Refusal> {
    world.ask(who, Command::Report { group, event, reason: reason.into() })
}

fn reports(world: &World, at: NodeIndex, group: &GroupId) -> Vec<Message> {
    let all = world.messages(at, group).into_iter();
    all.filter(|m| matches!(m.content, Content::Report { .. })).collect()
}

fn code(result: Result<Reply, Refusal>) -> String {
    result.unwrap_err().code
}

#[test]
fn a_report_reaches_every_admin_and_nobody_else() {
    let mut world = World::new(1);
    let (all, group) = choir(&mut world, &["Alice", "Bob", "Carol", "Dora"]);
    let [a, b, c, d] = all[..] else { panic!() };
    let event = world.say(d, group, "Buy my boat");
    world.run(10_000);
    let seen = world.messages(c, &group).pop().unwrap();
    assert!(seen.may_report);
    report(&mut world, c, group, event, "This is an advert.").unwrap();
    world.run(10_000);
    for at in [a, b] {
        let [row] = &reports(&world, at, &group)[..] else { panic!("{at:?}") };
        assert_eq!((row.author_name.as_str(), row.mine), ("Carol", false));
        let Content::Report { event: of, author_name, quote, held, reason, open, may_remove, .. } =
            &row.content
        else {
            panic!()
        };
        assert_eq!(*of, event.hex());
        assert_eq!((author_name.as_str(), quote.as_str(), *held), ("Dora", "Buy my boat", true));
        assert_eq!((reason.as_str(), *open, *may_remove), ("This is an advert.", true, true));
        // It waits to be seen, and is no message of the conversation.
        let listed = world.conversations(at).into_iter().find(|l| l.id == group.hex()).unwrap();
        assert_eq!((listed.unread, listed.last.unwrap().text.as_str()), (2, "Buy my boat"));
    }
    assert!(reports(&world, c, &group).is_empty() && reports(&world, d, &group).is_empty());
    let told = world.messages(c, &group).pop().unwrap();
    assert!(matches!(told.content, Content::Notice { code, .. } if code == "reported"));

    // Bob puts it aside for himself, Alice removes the author.
    let row = EventId(GroupId::from_hex(&reports(&world, b, &group)[0].id).unwrap().0);
    world.ask(b, Command::SettleReport { group, report: row }).unwrap();
    let open = |world: &World, at| match reports(world, at, &group).pop().unwrap().content {
        Content::Report { open, may_remove, .. } => (open, may_remove),
        _ => panic!(),
    };
    assert_eq!((open(&world, b).0, open(&world, a)), (false, (true, true)));
    let account = world.account(d).unwrap();
    world.ask(a, Command::RemoveMember { group, account }).unwrap();
    assert_eq!(open(&world, a), (true, false), "there is nobody left to remove");
    assert_eq!(code(world.ask(b, Command::SettleReport { group, report: event })), "no_such_report");
}

#[test]
fn the_accused_is_not_told() {
    let mut world = World::new(2);
    let (all, group) = choir(&mut world, &["Alice", "Bob", "Carol"]);
    let [a, b, c] = all[..] else { panic!() };
    let event = world.say(b, group, "From an admin");
    world.run(10_000);
    report(&mut world, c, group, event, "").unwrap();
    world.run(10_000);
    assert_eq!((reports(&world, a, &group).len(), reports(&world, b, &group).len()), (1, 0));
    // Nobody else is left to report Alice to once Bob has no role.
    let account = world.account(b).unwrap();
    world.ask(a, Command::SetRole { group, account, role: Role::Member }).unwrap();
    let event = world.say(a, group, "From the owner");
    world.run(10_000);
    assert!(!world.messages(c, &group).pop().unwrap().may_report);
    assert_eq!(code(report(&mut world, c, group, event, "")), "nobody_to_report_to");
}

#[test]
fn who_was_not_there_sees_that_the_quote_is_the_reporters_word() {
    let mut world = World::new(3);
    let (all, group) = choir(&mut world, &["Alice", "Bob", "Carol"]);
    let [a, b, c] = all[..] else { panic!() };
    let event = world.say(b, group, "Before Dora came");
    world.run(10_000);
    let dora = world.node("Dora").unwrap();
    world.befriend(a, dora);
    let account = world.account(dora).unwrap();
    world.ask(a, Command::AddMembers { group, members: vec![account] }).unwrap();
    world.run(30_000);
    world.ask(a, Command::SetRole { group, account, role: Role::Admin }).unwrap();
    world.run(20_000);
    report(&mut world, c, group, event, "Look").unwrap();
    world.run(20_000);
    let [row] = &reports(&world, dora, &group)[..] else { panic!("no report") };
    let Content::Report { quote, held, .. } = &row.content else { panic!() };
    assert_eq!((quote.as_str(), *held), ("Before Dora came", false));
}

#[test]
fn what_cannot_be_reported_is_refused_with_a_reason() {
    let mut world = World::new(4);
    let (all, group) = choir(&mut world, &["Alice", "Bob", "Carol"]);
    let [a, b, c] = all[..] else { panic!() };
    let dora = world.node("Dora").unwrap();
    let direct = world.befriend(c, dora);
    let own = world.say(c, group, "My own");
    let private = world.say(dora, direct, "Hello");
    let theirs = world.say(b, group, "Hm");
    world.run(10_000);
    assert_eq!(code(report(&mut world, c, group, own, "")), "own_message");
    assert_eq!(code(report(&mut world, c, direct, private, "")), "not_a_group");
    assert_eq!(code(report(&mut world, c, group, private, "")), "no_such_message");
    assert_eq!(code(report(&mut world, c, group, EventId([7; 32]), "")), "no_such_message");
    assert_eq!(code(report(&mut world, c, group, theirs, &"x".repeat(1025))), "reason_too_long");
    let messages = world.messages(c, &direct);
    assert!(messages.iter().all(|m| !m.may_report));
    report(&mut world, c, group, theirs, &"x".repeat(1024)).unwrap();
    assert_eq!(code(report(&mut world, c, group, theirs, "")), "already_reported");
    world.run(10_000);
    assert_eq!(reports(&world, a, &group).len(), 1);
    // Who is out reports nothing.
    let account = world.account(c).unwrap();
    world.ask(a, Command::RemoveMember { group, account }).unwrap();
    world.run(20_000);
    assert_eq!(code(report(&mut world, c, group, theirs, "")), "removed");
}

#[test]
fn reports_are_bounded_in_number() {
    let mut world = World::new(5);
    let (all, group) = choir(&mut world, &["Alice", "Bob", "Carol", "Dora"]);
    let [a, _, c, d] = all[..] else { panic!() };
    let events: Vec<EventId> = (0..12).map(|i| world.say(d, group, &format!("advert {i}"))).collect();
    world.run(20_000);
    for event in &events[..10] {
        report(&mut world, c, group, *event, "").unwrap();
    }
    assert_eq!(code(report(&mut world, c, group, events[10], "")), "slow_down");
    world.run(3_600_000);
    assert_eq!(reports(&world, a, &group).len(), 10);
    report(&mut world, c, group, events[10], "").unwrap();
    world.run(20_000);
    assert_eq!(reports(&world, a, &group).len(), 11);
}

/// Who does not know yet that they were removed is heard no more.
#[test]
fn a_report_from_outside_is_dropped() {
    let mut world = World::new(7);
    let (all, group) = choir(&mut world, &["Alice", "Bob", "Carol"]);
    let [a, b, c] = all[..] else { panic!() };
    let event = world.say(b, group, "Hm");
    world.run(10_000);
    for other in [a, b] {
        world.reachable(c, other, false);
    }
    let account = world.account(c).unwrap();
    world.ask(a, Command::RemoveMember { group, account }).unwrap();
    world.run(10_000);
    report(&mut world, c, group, event, "Look").unwrap();
    for other in [a, b] {
        world.reachable(c, other, true);
    }
    world.run(60_000);
    assert!(reports(&world, a, &group).is_empty());
    assert_eq!(code(report(&mut world, c, group, event, "")), "removed");
}

/// An admin who is away gets it from a relay, once, also over a restart.
#[test]
fn a_report_waits_at_a_relay() {
    let mut world = World::new(6);
    let relay = world.relay("relay", kith_bootstrap::Limits::default()).unwrap();
    let (all, group) = choir(&mut world, &["Alice", "Bob", "Carol"]);
    let [a, b, c] = all[..] else { panic!() };
    for node in [a, b, c] {
        let link = world.community_link(relay);
        world.ask(node, Command::AddRelay { link }).unwrap();
    }
    world.run(30_000);
    let event = world.say(b, group, "Hm");
    world.run(10_000);
    world.stop(a);
    report(&mut world, c, group, event, "Look").unwrap();
    world.run(20_000);
    world.stop(c);
    world.start(a).unwrap();
    world.run(30_000);
    assert_eq!(reports(&world, a, &group).len(), 1);
    world.stop(a);
    world.start(a).unwrap();
    world.start(c).unwrap();
    world.run(60_000);
    assert_eq!(reports(&world, a, &group).len(), 1);
}
