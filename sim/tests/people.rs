//! People over whole nodes: group links, refusals, blocks, crossing invites,
//! requests while one side is away, new names and restarts.

use kith_bootstrap::Limits;
use kith_core::api::{Command, Event, Reply};
use kith_core::view::{ContactState, ConversationKind, Standing};
use kith_sim::World;

#[test]
fn a_stranger_joins_by_a_group_link_and_talks_to_everybody() {
    let mut world = World::new(1);
    let [a, b, c] = ["Alice", "Bob", "Carol"].map(|n| world.node(n).unwrap());
    world.befriend(a, b);
    let members = vec![world.account(b).unwrap()];
    let Reply::Conversation(group) =
        world.ask(a, Command::CreateGroup { title: "Choir".into(), members }).unwrap()
    else {
        panic!("no group")
    };
    world.run(10_000);
    let link = world.invite(a, Some(group), 1);
    world.follow(c, link.clone());
    let joining = world.conversations(c).into_iter().find(|v| v.id == group.hex()).unwrap();
    assert_eq!((joining.standing, joining.title.as_str()), (Standing::Joining, "Choir"));
    world.run(20_000);
    let joined = world.conversations(c).into_iter().find(|v| v.id == group.hex()).unwrap();
    assert_eq!(
        (joined.standing, joined.kind, joined.member_count),
        (Standing::Active, ConversationKind::Group, 3)
    );
    for (who, text) in [(a, "from Alice"), (b, "from Bob"), (c, "from Carol")] {
        world.say(who, group, text);
    }
    world.run(20_000);
    for who in [a, b, c] {
        let mut texts = world.texts(who, &group);
        texts.sort();
        assert_eq!(texts, ["from Alice", "from Bob", "from Carol"], "{who:?}");
    }
    // They know each other's names, but nobody became a contact by it.
    for (one, other, name) in [(a, c, "Carol"), (b, c, "Carol"), (c, b, "Bob"), (c, a, "Alice")] {
        let known = world.contact(one, other);
        assert_eq!((known.state, known.name.as_str()), (ContactState::Known, name));
    }
    // The link is used up: the next one is told.
    let d = world.node("Dora").unwrap();
    world.follow(d, link);
    world.take_events(d);
    world.run(20_000);
    let told = world.take_events(d);
    assert!(told.iter().any(|e| matches!(e, Event::Notice { code, .. } if code == "not_let_in")));
}

#[test]
fn a_no_is_told_and_a_block_is_not() {
    let mut world = World::new(2);
    let [a, b] = ["Alice", "Bob"].map(|n| world.node(n).unwrap());
    let link = world.invite(a, None, 1);
    world.follow(b, link);
    world.run(5_000);
    let account = world.account(b).unwrap();
    world.ask(a, Command::RefuseContact { account }).unwrap();
    world.run(5_000);
    let refused = world.contact(b, a);
    assert_eq!(refused.state, ContactState::Refused);
    assert!(refused.problem.is_some());
    assert!(world.conversations(b).is_empty());
    // Later they become contacts after all, and Alice blocks Bob.
    let group = world.befriend(a, b);
    world.say(b, group, "before");
    world.run(5_000);
    world.ask(a, Command::BlockContact { account, blocked: true }).unwrap();
    world.say(b, group, "while blocked");
    world.run(20_000);
    assert_eq!(world.texts(a, &group), ["before"]);
    assert_eq!(world.contact(b, a).state, ContactState::Accepted);
    world.ask(a, Command::BlockContact { account, blocked: false }).unwrap();
    assert_eq!(world.contact(a, b).state, ContactState::Accepted);
    world.say(b, group, "after");
    world.run(60_000);
    assert!(world.texts(a, &group).contains(&"after".to_owned()));
}

#[test]
fn invites_that_cross_give_one_conversation() {
    let mut world = World::new(3);
    let [a, b] = ["Alice", "Bob"].map(|n| world.node(n).unwrap());
    let (of_a, of_b) = (world.invite(a, None, 1), world.invite(b, None, 1));
    world.reachable(a, b, false);
    world.follow(a, of_b);
    world.follow(b, of_a);
    world.run(1_000);
    world.reachable(a, b, true);
    world.run(60_000);
    for (one, other) in [(a, b), (b, a)] {
        assert_eq!(world.contact(one, other).state, ContactState::Accepted);
    }
    let (of_a, of_b) = (world.direct(a, b), world.direct(b, a));
    world.say(a, of_a, "from Alice");
    world.say(b, of_b, "from Bob");
    world.run(30_000);
    for (who, group) in [(a, of_a), (b, of_b)] {
        let mut texts = world.texts(who, &group);
        texts.sort();
        assert_eq!(texts, ["from Alice", "from Bob"], "{who:?}");
    }
}

#[test]
fn request_and_answer_pass_through_a_relay_while_the_other_is_away() {
    let mut world = World::new(4);
    let relay = world.relay("relay", Limits::default()).unwrap();
    let [a, b] = ["Alice", "Bob"].map(|n| world.node(n).unwrap());
    world.reachable(a, b, false);
    for node in [a, b] {
        let link = world.community_link(relay);
        world.ask(node, Command::AddRelay { link }).unwrap();
    }
    world.run(10_000);
    let link = world.invite(a, None, 1);
    world.stop(a);
    world.follow(b, link);
    world.run(20_000);
    world.stop(b);
    world.start(a).unwrap();
    world.run(20_000);
    assert_eq!(world.contact(a, b).state, ContactState::Incoming);
    assert_eq!(world.contact(a, b).greeting, "hello");
    world.accept(a, b);
    world.run(20_000);
    world.stop(a);
    world.start(b).unwrap();
    world.run(30_000);
    assert_eq!(world.contact(b, a).state, ContactState::Accepted);
    let group = world.direct(b, a);
    world.say(b, group, "got it");
    world.run(20_000);
    world.stop(b);
    world.start(a).unwrap();
    world.run(30_000);
    assert_eq!(world.texts(a, &group), ["got it"]);
}

#[test]
fn a_new_name_reaches_contacts_and_survives_a_restart() {
    let mut world = World::new(5);
    let [a, b] = ["Alice", "Bob"].map(|n| world.node(n).unwrap());
    world.befriend(a, b);
    world.ask(a, Command::SetProfile { name: "Alice L.".into(), about: "hi".into() }).unwrap();
    world.run(10_000);
    assert_eq!(world.contact(b, a).name, "Alice L.");
    let account = world.account(a).unwrap();
    world.ask(b, Command::SetNickname { account, nickname: Some("Ali".into()) }).unwrap();
    world.ask(b, Command::SetVerified { account, verified: true }).unwrap();
    world.stop(b);
    world.start(b).unwrap();
    let kept = world.contact(b, a);
    assert_eq!((kept.nickname.as_deref(), kept.verified, kept.about.as_str()), (Some("Ali"), true, "hi"));
    assert_eq!(world.conversations(b).first().unwrap().title, "Ali");
}
