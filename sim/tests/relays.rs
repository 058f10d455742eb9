//! People who are never online at the same time: everything goes through a
//! relay, which is killed and cut off now and then.

use kith_bootstrap::Limits;
use kith_core::api::{Command, Reply};
use kith_core::view::DeliveryState;
use kith_sim::{Faults, NodeIndex, RelayIndex, World};

fn join(world: &mut World, relay: RelayIndex, nodes: &[NodeIndex]) {
    for node in nodes {
        let link = world.community_link(relay);
        world.ask(*node, Command::AddRelay { link }).unwrap();
    }
    world.run(3_000);
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

#[test]
fn two_people_who_never_meet_online() {
    let mut world = World::new(100);
    let relay = world.relay("Relay", Limits::default()).unwrap();
    let (a, b) = (world.node("Alice").unwrap(), world.node("Bob").unwrap());
    join(&mut world, relay, &[a, b]);
    let group = world.befriend(a, b);
    for round in 0..5 {
        world.stop(b);
        for i in 0..10 {
            world.say(a, group, &format!("{round} {i}"));
        }
        world.run(30_000);
        let mine = world.messages(a, &group).into_iter().rfind(|m| m.mine).unwrap();
        assert_eq!(mine.delivery, Some(DeliveryState::Stored), "round {round}");
        world.stop(a);
        world.start(b).unwrap();
        world.run(30_000);
        assert_eq!(world.texts(b, &group).len(), 10 * (round + 1), "round {round}");
        world.stop(b);
        world.start(a).unwrap();
        world.run(30_000);
        let mine = world.messages(a, &group).into_iter().rfind(|m| m.mine).unwrap();
        assert_eq!(mine.delivery, Some(DeliveryState::DeliveredAll), "round {round}");
        world.start(b).unwrap();
        world.run(10_000);
    }
}

#[test]
fn the_third_has_all_of_it_from_the_relay_alone() {
    for seed in 200..206 {
        let mut world = World::new(seed);
        let relay = world.relay("Relay", Limits::default()).unwrap();
        let (a, b, c) =
            (world.node("Alice").unwrap(), world.node("Bob").unwrap(), world.node("Carol").unwrap());
        join(&mut world, relay, &[a, b, c]);
        world.befriend(a, b);
        world.befriend(a, c);
        let members = vec![world.account(b).unwrap(), world.account(c).unwrap()];
        let Reply::Conversation(group) =
            world.ask(a, Command::CreateGroup { title: "Three".into(), members }).unwrap()
        else {
            panic!("no group")
        };
        world.run(30_000);
        world.stop(c);
        world.faults = Faults { cut: 100, ..Faults::default() };
        for i in 0..10 {
            for who in [a, b] {
                world.say(who, group, &format!("{i} of {}", who.0));
                world.run(500);
            }
            if i == 5 {
                world.stop_relay(relay);
                world.run(20_000);
                world.start_relay(relay).unwrap();
            }
        }
        world.faults = Faults::default();
        world.run(120_000);
        world.stop(a);
        world.stop(b);
        world.start(c).unwrap();
        world.run(60_000);
        assert_eq!(sorted(world.texts(c, &group)), sorted(world.texts(a, &group)), "seed {seed}");
        assert_eq!(world.texts(c, &group).len(), 20, "seed {seed}");
    }
}

/// A device that stops between taking a message in and acknowledging it does
/// so when it is back.
#[test]
fn an_acknowledgement_survives_a_stop() {
    let mut world = World::new(300);
    let relay = world.relay("Relay", Limits::default()).unwrap();
    let (a, b) = (world.node("Alice").unwrap(), world.node("Bob").unwrap());
    world.reachable(a, b, false);
    join(&mut world, relay, &[a, b]);
    let group = world.befriend(a, b);
    world.say(a, group, "taken in");
    while world.texts(b, &group).is_empty() {
        world.run(10);
    }
    world.stop(b);
    world.run(5_000);
    let delivery =
        |world: &mut World| world.messages(a, &group).into_iter().rfind(|m| m.mine).and_then(|m| m.delivery);
    assert_eq!(delivery(&mut world), Some(DeliveryState::Stored), "nothing was acknowledged before the stop");
    world.start(b).unwrap();
    world.run(30_000);
    assert_eq!(delivery(&mut world), Some(DeliveryState::DeliveredAll));
}
