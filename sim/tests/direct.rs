//! Two and three people over direct links: contact, talk, restart.

use kith_core::api::{Command, Reply};
use kith_core::view::{ContactState, DeliveryState};
use kith_sim::{Faults, World};
use kith_wire::ids::GroupId;

#[test]
fn two_people_become_contacts_and_talk() {
    let mut world = World::new(1);
    let (a, b) = (world.node("Alice").unwrap(), world.node("Bob").unwrap());
    let group = world.befriend(a, b);
    assert!(world.contacts(b).iter().all(|c| c.state == ContactState::Accepted));
    world.say(a, group, "hello Bob");
    world.say(b, group, "hello Alice");
    world.run(5_000);
    for node in [a, b] {
        let mut texts = world.texts(node, &group);
        texts.sort();
        assert_eq!(texts, ["hello Alice", "hello Bob"]);
    }
    let mine = world.messages(a, &group).into_iter().find(|m| m.mine).unwrap();
    assert_eq!(mine.delivery, Some(DeliveryState::DeliveredAll));
    let last = world.messages(b, &group).last().unwrap().position;
    world.ask(b, Command::MarkRead { group, position: last }).unwrap();
    world.run(5_000);
    let mine = world.messages(a, &group).into_iter().find(|m| m.mine).unwrap();
    assert_eq!(mine.delivery, Some(DeliveryState::Read));
}

#[test]
fn what_was_sent_while_apart_arrives_once() {
    let mut world = World::new(2);
    let (a, b) = (world.node("Alice").unwrap(), world.node("Bob").unwrap());
    let group = world.befriend(a, b);
    world.stop(b);
    for i in 0..20 {
        world.say(a, group, &format!("message {i}"));
    }
    world.run(10_000);
    world.stop(a);
    world.start(a).unwrap();
    world.start(b).unwrap();
    world.run(60_000);
    assert_eq!(world.texts(b, &group), (0..20).map(|i| format!("message {i}")).collect::<Vec<_>>());
    assert!(
        world
            .messages(a, &group)
            .iter()
            .all(|m| !m.mine || m.delivery.is_none() || m.delivery == Some(DeliveryState::DeliveredAll))
    );
}

#[test]
fn a_group_of_three_over_broken_links() {
    for seed in 10..30 {
        let mut world = World::new(seed);
        let (a, b, c) =
            (world.node("Alice").unwrap(), world.node("Bob").unwrap(), world.node("Carol").unwrap());
        world.befriend(a, b);
        world.befriend(a, c);
        let members = vec![world.account(b).unwrap(), world.account(c).unwrap()];
        let group = match world.ask(a, Command::CreateGroup { title: "Three".into(), members }).unwrap() {
            Reply::Conversation(group) => group,
            other => panic!("{other:?}"),
        };
        world.run(30_000);
        world.faults = Faults { cut: 300, ..Faults::default() };
        for i in 0..10 {
            for who in [a, b, c] {
                world.say(who, group, &format!("{i} of {}", who.0));
                world.run(200);
            }
        }
        world.faults = Faults::default();
        world.run(120_000);
        let mut expected = world.texts(a, &group);
        expected.sort();
        assert_eq!(expected.len(), 30, "seed {seed}");
        for who in [b, c] {
            let mut texts = world.texts(who, &group);
            texts.sort();
            assert_eq!(texts, expected, "seed {seed}");
        }
    }
}

/// A group is made with people who are not there yet, and its maker writes at
/// once: they get what was written for them, in order, once they are in.
#[test]
fn what_is_written_before_the_first_member_is_in_reaches_them() {
    let mut world = World::new(40);
    let (a, b) = (world.node("Alice").unwrap(), world.node("Bob").unwrap());
    world.befriend(a, b);
    world.stop(b);
    world.run(5_000);
    let members = vec![world.account(b).unwrap()];
    let group = match world.ask(a, Command::CreateGroup { title: "Early".into(), members }).unwrap() {
        Reply::Conversation(group) => group,
        other => panic!("{other:?}"),
    };
    for i in 0..5 {
        world.say(a, group, &format!("early {i}"));
    }
    let reply_to = GroupId::from_hex(&world.messages(a, &group).last().unwrap().id).unwrap();
    world
        .ask(
            a,
            Command::SendText {
                group,
                text: "to the last".into(),
                reply_to: Some(kith_wire::ids::EventId(reply_to.0)),
                key: "reply".into(),
            },
        )
        .unwrap();
    world.run(30_000);
    assert!(
        world
            .messages(a, &group)
            .iter()
            .filter(|m| m.mine)
            .all(|m| m.delivery.is_none() || m.delivery == Some(DeliveryState::Queued))
    );
    world.stop(a);
    world.start(a).unwrap();
    world.start(b).unwrap();
    world.run(60_000);
    let expected: Vec<String> =
        (0..5).map(|i| format!("early {i}")).chain(["to the last".to_owned()]).collect();
    assert_eq!(world.texts(a, &group), expected);
    assert_eq!(world.texts(b, &group), expected);
    let quoted = world.messages(b, &group).pop().unwrap().reply_to.unwrap();
    assert_eq!(quoted.text, "early 4");
    let mine: Vec<_> =
        world.messages(a, &group).into_iter().filter(|m| m.mine && m.delivery.is_some()).collect();
    assert!(mine.iter().all(|m| m.delivery == Some(DeliveryState::DeliveredAll)), "{mine:?}");
    // The same request again is answered with what became of it.
    let again = Command::SendText { group, text: "early 0".into(), reply_to: None, key: "early 0-0".into() };
    assert!(matches!(world.ask(a, again).unwrap(), Reply::Accepted { .. }));
    assert_eq!(world.texts(a, &group), expected);
}
