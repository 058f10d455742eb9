//! A device that the others left behind: what its person is told while it
//! finds its way back, and afterwards.

use kith_bootstrap::Limits;
use kith_core::api::{Command, Event};
use kith_core::read;
use kith_core::view::{self, CatchingUp, DeliveryState};
use kith_sim::{NodeIndex, World};
use kith_wire::ids::{EventId, GroupId};

/// What the UI was told of catching up, without repetitions.
fn told(world: &mut World, at: NodeIndex, group: &GroupId) -> Vec<Option<CatchingUp>> {
    let mut out = Vec::new();
    for event in world.take_events(at) {
        if let Event::Conversation { conversation } = event
            && conversation.id == group.hex()
            && out.last() != Some(&conversation.catching_up)
        {
            out.push(conversation.catching_up);
        }
    }
    out
}

#[test]
fn a_device_that_was_left_behind_says_so_until_it_is_back() {
    let mut world = World::new(3);
    let all = ["Alice", "Bob", "Carol"].map(|n| world.node(n).unwrap());
    let [a, b, c] = all;
    let group = world.gather(&all);
    let account = world.account(b).unwrap();
    world.ask(a, Command::SetRole { group, account, role: kith_core::view::Role::Owner }).unwrap();
    world.run(20_000);
    for other in [b, c] {
        world.reachable(a, other, false);
    }
    world.run(5_000);
    // Alone, Alice goes on for longer than a branch is kept open; the others
    // are the majority, so theirs is the one that counts.
    world.ask(b, Command::RenameGroup { group, title: "Quartet".into() }).unwrap();
    world.run(5_000);
    for i in 0..24 {
        world.ask(a, Command::RenameGroup { group, title: format!("Alone {i}") }).unwrap();
        world.run(1_000);
    }
    let text = Command::SendText { group, text: "Alone".into(), reply_to: None, key: "alone".into() };
    world.ask(a, text).unwrap();
    assert!(told(&mut world, a, &group).iter().all(Option::is_none));
    for other in [b, c] {
        world.reachable(a, other, true);
    }
    world.run(180_000);
    let said = told(&mut world, a, &group);
    let asked: Vec<Option<u32>> = said.iter().map(|c| c.as_ref().map(|c| c.asked)).collect();
    assert_eq!(asked, [Some(0), Some(2), None], "{said:?}");
    assert!(said.iter().flatten().all(|c| c.next_at.is_some() == (c.asked > 0)), "{said:?}");
    for at in [b, c] {
        assert_eq!(world.texts(at, &group), ["Alone"], "what was written meanwhile arrives");
    }
    let lines = world.lines(a, &group);
    let back = lines.iter().position(|l| l == "back: ").unwrap_or_else(|| panic!("{lines:?}"));
    assert!(lines[back..].contains(&"renamed: , Quartet".to_owned()), "{lines:?}");
    let (store, me) = (world.store(a).unwrap(), world.account(a).unwrap());
    let shown = read::conversation(&*store, &me, &group).unwrap().unwrap();
    assert_eq!((shown.conversation.catching_up, shown.conversation.title.as_str()), (None, "Quartet"));
    assert!(shown.may_add, "what may be done is offered again");
}

/// Somebody who was added is "not seen yet" until a sign of theirs has come.
#[test]
fn a_member_is_seen_once_they_are_here() {
    let mut world = World::new(4);
    let all = ["Alice", "Bob", "Carol"].map(|n| world.node(n).unwrap());
    let [a, b, c] = all;
    let group = world.gather(&[a, b]);
    world.befriend(a, c);
    let seen = |world: &World| {
        let (store, me) = (world.store(a).unwrap(), world.account(a).unwrap());
        let shown = read::conversation(&*store, &me, &group).unwrap().unwrap();
        shown.members.into_iter().find(|m| m.name == "Carol").map(|m| m.seen)
    };
    let account = world.account(c).unwrap();
    world.ask(a, Command::AddMembers { group, members: vec![account] }).unwrap();
    // Carol's package is here at once; her Welcome waits until the commit stands.
    world.run(600);
    world.stop(c);
    world.run(30_000);
    assert_eq!(seen(&world), Some(false));
    world.take_events(a);
    world.start(c).unwrap();
    world.run(60_000);
    assert_eq!(seen(&world), Some(true));
    let told = world.take_events(a).into_iter();
    assert!(
        told.filter(|e| matches!(e, Event::Conversation { conversation } if conversation.id == group.hex()))
            .count()
            > 0
    );
}

/// A text waited on the disk that was copied, was said by the device that went
/// on, and waits again once the copy is put back.
#[test]
fn what_waited_on_an_older_copy_is_asked_about_and_not_said_twice() {
    let mut world = World::new(5);
    let all = ["Alice", "Bob", "Carol"].map(|n| world.node(n).unwrap());
    let [a, b, c] = all;
    let group = world.gather(&all);
    let state = |world: &World, text: &str| {
        let mut shown = world.messages(a, &group).into_iter();
        let text = view::Content::Text { text: text.to_owned() };
        shown.find(|m| m.content == text).map(|m| (m.id, m.delivery))
    };
    // Nobody is there to listen to after the start.
    for node in all {
        world.stop(node);
    }
    world.start(a).unwrap();
    world.say(a, group, "before");
    assert_eq!(state(&world, "before").unwrap().1, Some(DeliveryState::Queued));
    let copy = world.store(a).unwrap().fork();
    for other in [b, c] {
        world.start(other).unwrap();
    }
    world.run(60_000);
    assert_eq!(world.texts(b, &group), ["before"]);

    world.rewind(a, copy, true).unwrap();
    world.say(a, group, "after");
    world.run(180_000);
    for other in [b, c] {
        assert_eq!(world.texts(other, &group), ["before", "after"]);
    }
    let (id, delivery) = state(&world, "before").unwrap();
    assert_eq!(delivery, Some(DeliveryState::Failed));
    let event = EventId::from_hex(&id).unwrap();
    let why = read::delivery(&*world.store(a).unwrap(), &group, &event).unwrap().unwrap().problem.unwrap();
    assert!(why.contains("may have sent this message"), "{why}");

    // Its author finds that it is missing.
    world.ask(a, Command::Retry { group, event }).unwrap();
    world.run(10_000);
    assert_eq!(state(&world, "before").unwrap().1, Some(DeliveryState::DeliveredAll));
    assert_eq!(world.texts(c, &group), ["before", "after", "before"]);
}

/// Who answers a device that was put back may have been away when the other copy
/// spoke, and a relay never had what members got directly: the one who knows
/// comes a moment later.
#[test]
fn an_older_copy_waits_for_the_member_who_knows_more() {
    for with_relay in [false, true] {
        let mut world = World::new(6);
        let all = ["Alice", "Bob", "Carol"].map(|n| world.node(n).unwrap());
        let [a, b, c] = all;
        if with_relay {
            let relay = world.relay("Relay", Limits::default()).unwrap();
            let link = world.community_link(relay);
            for node in all {
                world.ask(node, Command::AddRelay { link: link.clone() }).unwrap();
            }
            world.run(3_000);
        }
        let group = world.gather(&all);
        if !with_relay {
            world.stop(c);
        }
        let copy = world.store(a).unwrap().fork();
        world.say(a, group, "unknown");
        world.run(10_000);
        assert_eq!(world.texts(b, &group), ["unknown"]);

        world.stop(b);
        if with_relay {
            world.stop(c);
        } else {
            world.start(c).unwrap();
        }
        world.rewind(a, copy, true).unwrap();
        world.say(a, group, "after");
        world.run(1_000);
        world.start(b).unwrap();
        world.start(c).unwrap();
        world.run(180_000);
        assert_eq!(world.texts(b, &group), ["unknown", "after"], "with a relay: {with_relay}");
        assert!(world.texts(c, &group).contains(&"after".to_owned()), "with a relay: {with_relay}");
        assert_eq!(world.reused, 0);
    }
}

/// What waits to be said is said to nobody who was not there when it was written,
/// and not at all by somebody who is out by then; its author is told why.
#[test]
fn what_waited_is_for_those_who_were_there() {
    let mut world = World::new(7);
    let [a, b, c] = ["Alice", "Bob", "Carol"].map(|n| world.node(n).unwrap());
    let (alice, carol) = (world.account(a).unwrap(), world.account(c).unwrap());
    world.befriend(b, c);
    let group = world.gather(&[b, a]);
    let told = |world: &World, event: &EventId| {
        let told = read::delivery(&*world.store(a).unwrap(), &group, event).unwrap().unwrap();
        (told.state, told.problem.unwrap_or_default())
    };
    let apart = |world: &mut World, apart: bool| {
        for other in [b, c] {
            world.reachable(a, other, !apart);
        }
    };
    apart(&mut world, true);
    world.stop(a);
    world.start(a).unwrap();
    let before = world.say(a, group, "before");
    world.run(10_000);
    assert_eq!(told(&world, &before).0, DeliveryState::Queued);
    world.ask(b, Command::AddMembers { group, members: vec![carol] }).unwrap();
    world.run(30_000);
    apart(&mut world, false);
    world.run(180_000);
    let (state, why) = told(&world, &before);
    assert_eq!(state, DeliveryState::Failed);
    assert!(why.contains("was not written for the new ones"), "{why}");
    assert!(world.texts(b, &group).is_empty() && world.texts(c, &group).is_empty());
    world.ask(a, Command::Retry { group, event: before }).unwrap();
    world.run(10_000);
    assert_eq!(world.texts(c, &group), ["before"]);

    apart(&mut world, true);
    world.stop(a);
    world.start(a).unwrap();
    let late = world.say(a, group, "late");
    world.ask(b, Command::RemoveMember { group, account: alice }).unwrap();
    world.run(30_000);
    apart(&mut world, false);
    world.run(180_000);
    let (state, why) = told(&world, &late);
    assert_eq!(state, DeliveryState::Failed);
    assert!(why.contains("no longer in this conversation"), "{why}");
    assert_eq!(world.texts(b, &group), ["before"]);
}
