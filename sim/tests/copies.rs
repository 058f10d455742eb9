//! Writes go to two of three relays, and to the next one for each that is away,
//! full, silent or found lying; the sender can see which relay did what.

use kith_bootstrap::Limits;
use kith_core::api::{Command, Event};
use kith_core::read;
use kith_core::view::{DeliveryState, Message, RelayCopy, RelayCopyState};
use kith_sim::{NodeIndex, RelayIndex, World};
use kith_wire::ids::{EventId, GroupId};

const MESSAGES: usize = 10;

struct Scene {
    world: World,
    relays: Vec<RelayIndex>,
    a: NodeIndex,
    b: NodeIndex,
    group: GroupId,
}

/// Two people with three relays who never meet directly.
fn scene(seed: u64, limits: [Limits; 3]) -> Scene {
    let mut world = World::new(seed);
    let relays: Vec<RelayIndex> =
        limits.iter().enumerate().map(|(i, l)| world.relay(&format!("relay {i}"), *l).unwrap()).collect();
    let (a, b) = (world.node("Alice").unwrap(), world.node("Bob").unwrap());
    world.reachable(a, b, false);
    for node in [a, b] {
        for relay in &relays {
            let link = world.community_link(*relay);
            world.ask(node, Command::AddRelay { link }).unwrap();
        }
    }
    world.run(3_000);
    let group = world.befriend(a, b);
    Scene { world, relays, a, b, group }
}

impl Scene {
    fn say(&mut self, n: usize) {
        let _ = self.world.say(self.a, self.group, &format!("text {n}"));
    }

    /// Bob is away, and Alice writes.
    fn write_to_nobody(&mut self, pause_ms: u64) {
        self.world.stop(self.b);
        for n in 0..MESSAGES {
            self.say(n);
            self.world.run(pause_ms);
        }
        self.world.run(2_000);
    }

    fn mine(&self) -> Vec<Message> {
        self.world
            .messages(self.a, &self.group)
            .into_iter()
            .filter(|m| m.mine && m.delivery.is_some())
            .collect()
    }

    fn copies(&self, message: &Message) -> Vec<RelayCopy> {
        let store = self.world.store(self.a).unwrap();
        let id = EventId::from_hex(&message.id).unwrap();
        read::delivery(&*store, &self.group, &id).unwrap().unwrap().relays
    }

    /// How many of a message's copies are in a state.
    fn count(&self, message: &Message, state: RelayCopyState) -> usize {
        self.copies(message).iter().filter(|c| c.state == state).count()
    }

    /// A relay that holds copies now.
    fn holder(&self) -> (RelayIndex, String) {
        let message = self.mine().pop().unwrap();
        let copy = self.copies(&message).into_iter().find(|c| c.state == RelayCopyState::Stored).unwrap();
        let at: usize = copy.relay.strip_prefix("relay ").unwrap().parse().unwrap();
        (self.relays[at], copy.relay)
    }

    fn notices(&mut self) -> Vec<String> {
        self.world
            .take_events(self.a)
            .into_iter()
            .filter_map(|e| if let Event::Notice { code, .. } = e { Some(code) } else { None })
            .collect()
    }

    /// Bob comes when Alice has gone, and finds everything.
    fn all_arrives(&mut self) {
        self.world.stop(self.a);
        self.world.start(self.b).unwrap();
        self.world.run(30_000);
        assert_eq!(self.world.texts(self.b, &self.group).len(), MESSAGES);
    }
}

#[test]
fn a_relay_that_dies_is_replaced_and_the_sender_is_told() {
    for seed in 400..404 {
        let mut s = scene(seed, [Limits::default(); 3]);
        s.world.stop(s.b);
        for n in 0..MESSAGES {
            if n == MESSAGES / 2 {
                assert!(s.mine().iter().all(|m| m.stored_at == 2), "two of three hold each");
                let (dead, _) = s.holder();
                s.notices();
                s.world.stop_relay(dead);
            }
            s.say(n);
            s.world.run(500);
        }
        // What the dead one had is with the third within ten seconds of its end.
        s.world.run(5_000);
        for message in s.mine() {
            assert_eq!(
                (message.delivery, message.stored_at),
                (Some(DeliveryState::Stored), 2),
                "seed {seed}"
            );
        }
        let first = &s.mine()[0];
        assert_eq!(s.count(first, RelayCopyState::Silent), 1, "{:?}", s.copies(first));
        assert!(s.notices().contains(&"relay_replaced".to_owned()));
        // Now a second one dies: the last has all of it.
        let (second, _) = s.holder();
        s.world.stop_relay(second);
        s.world.run(10_000);
        assert!(s.mine().iter().all(|m| m.stored_at == 1));
        s.all_arrives();
    }
}

#[test]
fn a_relay_that_is_back_counts_again() {
    let mut s = scene(410, [Limits::default(); 3]);
    s.world.stop(s.b);
    s.say(0);
    s.world.run(2_000);
    let (dead, name) = s.holder();
    s.world.stop_relay(dead);
    s.world.run(10_000);
    s.world.start_relay(dead).unwrap();
    s.world.run(40_000);
    let message = s.mine().pop().unwrap();
    let back = s.copies(&message).into_iter().find(|c| c.relay == name).unwrap();
    assert_eq!(back.state, RelayCopyState::Stored);
    assert_eq!(message.stored_at, 3);
}

#[test]
fn a_full_relay_is_passed_over_and_says_so() {
    let full = Limits { total_bytes: 1, ..Limits::default() };
    for at in 0..3 {
        let mut limits = [Limits::default(); 3];
        limits[at] = full;
        let mut s = scene(420 + at as u64, limits);
        s.write_to_nobody(500);
        let mut refused = 0;
        for message in s.mine() {
            assert_eq!(message.stored_at, 2);
            let copies = s.copies(&message);
            for copy in copies.iter().filter(|c| c.state == RelayCopyState::Refused) {
                refused += 1;
                assert_eq!(copy.relay, format!("relay {at}"));
                assert!(copy.problem.as_deref().is_some_and(|p| p.contains("full")), "{copy:?}");
            }
        }
        // It is not asked where it would only have been the third.
        assert!(refused == 0 || refused == MESSAGES, "{refused}");
        s.all_arrives();
    }
}

#[test]
fn a_relay_that_lost_what_it_signed_for_is_found_when_it_is_back() {
    for seed in 430..434 {
        let mut s = scene(seed, [Limits::default(); 3]);
        s.write_to_nobody(200);
        let (liar, name) = s.holder();
        s.world.stop_relay(liar);
        s.world.wipe_relay(liar);
        s.world.start_relay(liar).unwrap();
        s.world.run(10_000);
        assert!(s.notices().contains(&"relay_lied".to_owned()), "seed {seed}");
        for message in s.mine() {
            let copies = s.copies(&message);
            assert!(copies.iter().any(|c| c.relay == name && c.state == RelayCopyState::Lost), "{copies:?}");
            assert_eq!(message.stored_at, 2, "seed {seed}: {copies:?}");
        }
        s.all_arrives();
    }
}

/// The network swallows what goes to a relay, and neither side is told.
#[test]
fn a_relay_that_falls_silent_is_left_within_seconds() {
    let mut s = scene(440, [Limits::default(); 3]);
    s.world.stop(s.b);
    s.say(0);
    s.world.run(2_000);
    let (silent, _) = s.holder();
    s.world.stall_relay(s.a, silent, true);
    for n in 1..MESSAGES {
        s.say(n);
    }
    s.world.run(10_000);
    for message in s.mine() {
        assert_eq!(message.stored_at, 2);
    }
    s.all_arrives();
}

/// With the own network cut every relay is silent, and none of them is blamed.
#[test]
fn nothing_is_brought_elsewhere_while_the_own_network_is_cut() {
    let mut s = scene(450, [Limits::default(); 3]);
    s.world.stop(s.b);
    s.say(0);
    s.world.run(2_000);
    let before = s.copies(&s.mine()[0]);
    for relay in s.relays.clone() {
        s.world.relay_reachable(s.a, relay, false);
    }
    s.world.run(60_000);
    for relay in s.relays.clone() {
        s.world.relay_reachable(s.a, relay, true);
    }
    s.world.run(60_000);
    assert_eq!(s.copies(&s.mine()[0]), before);
}

/// What is kept for a relay that may fail survives a restart, and so does the
/// memory of which relay did.
#[test]
fn a_restart_forgets_neither_copies_nor_liars() {
    let mut s = scene(460, [Limits::default(); 3]);
    s.world.stop(s.b);
    for n in 0..MESSAGES {
        s.say(n);
    }
    s.world.run(5_000);
    let (dead, _) = s.holder();
    s.world.stop(s.a);
    s.world.stop_relay(dead);
    s.world.start(s.a).unwrap();
    s.world.run(30_000);
    assert!(s.mine().iter().all(|m| m.stored_at == 2));
    s.all_arrives();
}
