//! People over whole nodes: group links, refusals, blocks, crossing invites,
//! requests while one side is away, new names and restarts.

use kith_bootstrap::Limits;
use kith_core::api::{Command, Event, Reply};
use kith_core::view::{Contact, ContactState, ConversationKind, Standing};
use kith_sim::{NodeIndex, World};
use kith_wire::ids::GroupId;

fn invite(world: &mut World, from: NodeIndex, group: Option<GroupId>, uses: u32) -> String {
    match world.ask(from, Command::CreateInvite { group, uses, valid_s: 3600 }).unwrap() {
        Reply::Invite(invite) => invite.link,
        other => panic!("{other:?}"),
    }
}

fn use_link(world: &mut World, who: NodeIndex, link: String) {
    world.ask(who, Command::UseInvite { link, greeting: "hello".into() }).unwrap();
}

fn contact(world: &World, of: NodeIndex, who: NodeIndex) -> Contact {
    let account = world.account(who).unwrap().to_text();
    world.contacts(of).into_iter().find(|c| c.account == account).unwrap()
}

fn accept(world: &mut World, at: NodeIndex, who: NodeIndex) {
    let account = world.account(who).unwrap();
    world.ask(at, Command::AcceptContact { account }).unwrap();
}

fn say(world: &mut World, who: NodeIndex, group: GroupId, text: &str) {
    let key = format!("{text}-{}", who.0);
    world.ask(who, Command::SendText { group, text: text.into(), reply_to: None, key }).unwrap();
}

fn direct(world: &World, of: NodeIndex, with: NodeIndex) -> GroupId {
    let account = world.account(with).unwrap().to_text();
    let all: Vec<_> =
        world.conversations(of).into_iter().filter(|c| c.peer == Some(account.clone())).collect();
    assert_eq!(all.len(), 1, "one conversation per person");
    GroupId::from_hex(&all[0].id).unwrap()
}

fn befriend(world: &mut World, a: NodeIndex, b: NodeIndex) -> GroupId {
    let link = invite(world, a, None, 1);
    use_link(world, b, link);
    world.run(5_000);
    accept(world, a, b);
    world.run(10_000);
    assert_eq!(contact(world, b, a).state, ContactState::Accepted);
    direct(world, a, b)
}

#[test]
fn a_stranger_joins_by_a_group_link_and_talks_to_everybody() {
    let mut world = World::new(1);
    let [a, b, c] = ["Alice", "Bob", "Carol"].map(|n| world.node(n).unwrap());
    befriend(&mut world, a, b);
    let members = vec![world.account(b).unwrap()];
    let Reply::Conversation(group) =
        world.ask(a, Command::CreateGroup { title: "Choir".into(), members }).unwrap()
    else {
        panic!("no group")
    };
    world.run(10_000);
    let link = invite(&mut world, a, Some(group), 1);
    use_link(&mut world, c, link.clone());
    let joining = world.conversations(c).into_iter().find(|v| v.id == group.hex()).unwrap();
    assert_eq!((joining.standing, joining.title.as_str()), (Standing::Joining, "Choir"));
    world.run(20_000);
    let joined = world.conversations(c).into_iter().find(|v| v.id == group.hex()).unwrap();
    assert_eq!(
        (joined.standing, joined.kind, joined.member_count),
        (Standing::Active, ConversationKind::Group, 3)
    );
    for (who, text) in [(a, "from Alice"), (b, "from Bob"), (c, "from Carol")] {
        say(&mut world, who, group, text);
    }
    world.run(20_000);
    for who in [a, b, c] {
        let mut texts = world.texts(who, &group);
        texts.sort();
        assert_eq!(texts, ["from Alice", "from Bob", "from Carol"], "{who:?}");
    }
    // They know each other's names, but nobody became a contact by it.
    for (one, other, name) in [(a, c, "Carol"), (b, c, "Carol"), (c, b, "Bob"), (c, a, "Alice")] {
        let known = contact(&world, one, other);
        assert_eq!((known.state, known.name.as_str()), (ContactState::Known, name));
    }
    // The link is used up: the next one is told.
    let d = world.node("Dora").unwrap();
    use_link(&mut world, d, link);
    world.take_events(d);
    world.run(20_000);
    let told = world.take_events(d);
    assert!(told.iter().any(|e| matches!(e, Event::Notice { code, .. } if code == "not_let_in")));
}

#[test]
fn a_no_is_told_and_a_block_is_not() {
    let mut world = World::new(2);
    let [a, b] = ["Alice", "Bob"].map(|n| world.node(n).unwrap());
    let link = invite(&mut world, a, None, 1);
    use_link(&mut world, b, link);
    world.run(5_000);
    let account = world.account(b).unwrap();
    world.ask(a, Command::RefuseContact { account }).unwrap();
    world.run(5_000);
    let refused = contact(&world, b, a);
    assert_eq!(refused.state, ContactState::Refused);
    assert!(refused.problem.is_some());
    assert!(world.conversations(b).is_empty());
    // Later they become contacts after all, and Alice blocks Bob.
    let group = befriend(&mut world, a, b);
    say(&mut world, b, group, "before");
    world.run(5_000);
    world.ask(a, Command::BlockContact { account, blocked: true }).unwrap();
    say(&mut world, b, group, "while blocked");
    world.run(20_000);
    assert_eq!(world.texts(a, &group), ["before"]);
    assert_eq!(contact(&world, b, a).state, ContactState::Accepted);
    world.ask(a, Command::BlockContact { account, blocked: false }).unwrap();
    assert_eq!(contact(&world, a, b).state, ContactState::Accepted);
    say(&mut world, b, group, "after");
    world.run(60_000);
    assert!(world.texts(a, &group).contains(&"after".to_owned()));
}

#[test]
fn invites_that_cross_give_one_conversation() {
    let mut world = World::new(3);
    let [a, b] = ["Alice", "Bob"].map(|n| world.node(n).unwrap());
    let (of_a, of_b) = (invite(&mut world, a, None, 1), invite(&mut world, b, None, 1));
    world.reachable(a, b, false);
    use_link(&mut world, a, of_b);
    use_link(&mut world, b, of_a);
    world.run(1_000);
    world.reachable(a, b, true);
    world.run(60_000);
    for (one, other) in [(a, b), (b, a)] {
        assert_eq!(contact(&world, one, other).state, ContactState::Accepted);
    }
    let (of_a, of_b) = (direct(&world, a, b), direct(&world, b, a));
    say(&mut world, a, of_a, "from Alice");
    say(&mut world, b, of_b, "from Bob");
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
    let link = invite(&mut world, a, None, 1);
    world.stop(a);
    use_link(&mut world, b, link);
    world.run(20_000);
    world.stop(b);
    world.start(a).unwrap();
    world.run(20_000);
    assert_eq!(contact(&world, a, b).state, ContactState::Incoming);
    assert_eq!(contact(&world, a, b).greeting, "hello");
    accept(&mut world, a, b);
    world.run(20_000);
    world.stop(a);
    world.start(b).unwrap();
    world.run(30_000);
    assert_eq!(contact(&world, b, a).state, ContactState::Accepted);
    let group = direct(&world, b, a);
    say(&mut world, b, group, "got it");
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
    befriend(&mut world, a, b);
    world.ask(a, Command::SetProfile { name: "Alice L.".into(), about: "hi".into() }).unwrap();
    world.run(10_000);
    assert_eq!(contact(&world, b, a).name, "Alice L.");
    let account = world.account(a).unwrap();
    world.ask(b, Command::SetNickname { account, nickname: Some("Ali".into()) }).unwrap();
    world.ask(b, Command::SetVerified { account, verified: true }).unwrap();
    world.stop(b);
    world.start(b).unwrap();
    let kept = contact(&world, b, a);
    assert_eq!((kept.nickname.as_deref(), kept.verified, kept.about.as_str()), (Some("Ali"), true, "hi"));
    assert_eq!(world.conversations(b).first().unwrap().title, "Ali");
}
