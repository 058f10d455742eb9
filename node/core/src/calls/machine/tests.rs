//! The machine against every order of things: random people, devices, delays,
//! duplicates, losses of nodes; and each rule once by name.

use super::*;
use crate::api::Refusal;

/// A number from a seed: the same in every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }
    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next()).unwrap_or(0) % n.max(1)
    }
    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

const GROUP: GroupId = GroupId([7; 32]);

fn account(n: u8) -> AccountId {
    AccountId([n; 32])
}
fn device(account: u8, n: u8) -> (AccountId, DeviceId) {
    (self::account(account), DeviceId([account * 16 + n; 32]))
}
fn sdp() -> String {
    "v=0".into()
}

/// A device with what its timeline shows of calls.
struct Seat {
    machine: Machine,
    history: BTreeMap<CallId, Record>,
    restarted: bool,
    /// Calls whose end, or answer on another own device, is known here.
    closed: BTreeSet<CallId>,
}

/// On its way: to whom, from whom, when sent, what.
type Packet = (usize, (AccountId, DeviceId), u64, Signal);

struct World {
    now: Now,
    seats: Vec<Seat>,
    wire: Vec<Packet>,
    calls: u8,
    taken: BTreeMap<CallId, BTreeSet<DeviceId>>,
    duplicates: bool,
}

impl World {
    fn new(devices: &[(AccountId, DeviceId)]) -> Self {
        let seats = devices.iter().map(|me| Seat {
            machine: Machine::new(*me),
            history: BTreeMap::new(),
            restarted: false,
            closed: BTreeSet::new(),
        });
        Self {
            now: Now { wall_ms: 1_000_000, mono_ms: 1_000 },
            seats: seats.collect(),
            wire: Vec::new(),
            calls: 0,
            taken: BTreeMap::new(),
            duplicates: false,
        }
    }

    fn me(&self, seat: usize) -> (AccountId, DeviceId) {
        self.seats[seat].machine.me
    }
    fn peer(&self, seat: usize) -> AccountId {
        if self.me(seat).0 == account(1) { account(2) } else { account(1) }
    }
    fn pass(&mut self, ms: u64) {
        self.now.wall_ms += ms;
        self.now.mono_ms += ms;
    }

    /// Carries out what a machine wants, and checks what it shows.
    fn settle(&mut self, at: usize) {
        let me = self.me(at);
        for out in self.seats[at].machine.take() {
            let seat = &mut self.seats[at];
            match out {
                Out::Send(_, signal) => {
                    for to in (0..self.seats.len()).filter(|to| *to != at) {
                        self.wire.push((to, me, self.now.wall_ms, signal.clone()));
                    }
                }
                Out::Changed(id) => {
                    let Some(call) = seat.machine.get(&id) else { continue };
                    if call.phase == Phase::Incoming {
                        assert!(!call.outgoing, "an own call rings");
                        assert!(seat.restarted || !seat.closed.contains(&id), "a ghost rings");
                        assert!(
                            self.now.wall_ms <= call.begun_ms + RING_MS + SLACK_MS,
                            "it rings after its time"
                        );
                    }
                    if let Phase::Active { .. } = call.phase
                        && call.caller != me
                    {
                        self.taken.entry(id).or_default().insert(me.1);
                    }
                }
                Out::Remote(..) => {}
                Out::Over(record) => {
                    seat.closed.insert(record.id);
                    let before = seat.history.insert(record.id, record);
                    assert!(before.is_none_or(|b| !b.verdict), "a verdict was changed");
                }
                Out::Verdict(from, id, outcome, reason, talked_ms) => {
                    seat.closed.insert(id);
                    if let Some(record) = seat.history.get_mut(&id).filter(|r| r.caller.1 == from) {
                        (record.outcome, record.reason, record.talked_ms) = (outcome, reason, talked_ms);
                        record.verdict = true;
                    }
                }
            }
        }
        for taken in self.taken.values() {
            assert!(taken.len() <= 1, "two devices talk in one call");
        }
    }

    fn dial(&mut self, at: usize, id: u8) -> Result<(), Refusal> {
        let peer = self.peer(at);
        let dialled = self.seats[at].machine.dial(
            self.now,
            CallId([id; 16]),
            (GROUP, peer),
            (sdp(), true),
            "tab".into(),
        );
        self.settle(at);
        dialled
    }
    fn ask(&mut self, at: usize, id: u8, ask: Ask) -> Result<(), Refusal> {
        let done = self.seats[at].machine.ask(self.now, &CallId([id; 16]), "tab", ask);
        self.settle(at);
        done
    }
    fn hang_up(&mut self, at: usize, id: u8) {
        self.seats[at].machine.hang_up(self.now, &CallId([id; 16]), Reason::HungUp);
        self.settle(at);
    }
    fn deliver(&mut self, packet: usize) {
        let (to, from, sent, signal) = self.wire.swap_remove(packet);
        let peer = self.peer(to);
        let seat = &mut self.seats[to];
        // As the core does: what the timeline shows already never rings.
        let shown = matches!(signal.body, Body::Offer { to: None, .. })
            && seat.history.contains_key(&signal.call)
            && seat.machine.record(&signal.call).is_none();
        if let Body::End { .. } = signal.body {
            seat.closed.insert(signal.call);
        }
        if !shown {
            seat.machine.hear(self.now, (GROUP, peer), from, sent, signal);
        }
        self.settle(to);
    }
    fn all(&mut self) {
        while !self.wire.is_empty() {
            // In the order in which it was sent.
            let packet = self.wire.remove(0);
            self.wire.push(packet);
            self.deliver(self.wire.len() - 1);
        }
    }
    fn tick(&mut self) {
        for at in 0..self.seats.len() {
            self.seats[at].machine.tick(self.now);
            self.settle(at);
        }
    }
    fn restart(&mut self, at: usize) {
        let left = self.seats[at].machine.left(self.now);
        let me = self.me(at);
        self.seats[at].machine = Machine::new(me);
        self.seats[at].restarted = true;
        self.seats[at].machine.resume(left);
        self.settle(at);
    }
    fn phase(&self, at: usize, id: u8) -> Option<Phase> {
        self.seats[at].machine.get(&CallId([id; 16])).map(|c| c.phase)
    }
    fn outcome(&self, at: usize, id: u8) -> Option<Outcome> {
        self.seats[at].history.get(&CallId([id; 16])).map(|r| r.outcome)
    }

    /// Everything arrives, time passes: nothing may be left open.
    fn finish(&mut self) {
        for _ in 0..60 {
            self.all();
            if self.seats.iter().all(|s| s.machine.calls().next().is_none()) {
                break;
            }
            let due = self.seats.iter().filter_map(|s| s.machine.next_due()).min();
            let wait = due.map_or(0, |at| at.saturating_sub(self.now.mono_ms));
            self.pass(wait);
            self.tick();
        }
        self.all();
        for seat in &self.seats {
            assert_eq!(seat.machine.calls().next(), None, "a call is stuck");
        }
        // All who know of a call say the same as its caller.
        let callers: Vec<Record> = self
            .seats
            .iter()
            .flat_map(|s| s.history.values().filter(|r| r.caller == s.machine.me).cloned())
            .collect();
        for said in callers {
            for seat in &self.seats {
                let Some(record) = seat.history.get(&said.id) else { continue };
                // A stop between an end and the offer that it overtook forgets
                // the end: the own guess stays.
                if seat.restarted && !record.verdict {
                    continue;
                }
                assert_eq!(
                    (record.outcome, record.talked_ms),
                    (said.outcome, said.talked_ms),
                    "two devices disagree about {:?}",
                    said.id
                );
            }
        }
    }
}

/// One random course of events. Answers how many calls were talked in.
fn course(seed: u64) -> (usize, usize) {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    for _ in 0..4 {
        dice.next();
    }
    let all = [device(1, 1), device(2, 1), device(2, 2), device(1, 2)];
    let mut world = World::new(&all[..2 + dice.below(3)]);
    world.duplicates = dice.one_in(2);
    let restarts = dice.one_in(3);
    let steps = 10 + dice.below(50);
    for _ in 0..steps {
        let at = dice.below(world.seats.len());
        let open: Vec<u8> = world.seats[at].machine.calls().map(|c| c.id.0[0]).collect();
        let one = open.get(dice.below(open.len())).copied().unwrap_or(0);
        match dice.below(20) {
            0 | 1 if world.calls < 6 => {
                // Ids in no order of time.
                world.calls += 1;
                let id = world.calls.wrapping_mul(37) ^ u8::try_from(seed & 0x7f).unwrap_or(0);
                let _refused = world.dial(at, id.max(1));
            }
            2..=4 => drop(world.ask(at, one, Ask::Answer(sdp()))),
            5 if dice.one_in(2) => world.hang_up(at, one),
            6 => drop(world.ask(at, one, Ask::Candidates(vec!["candidate:1".into()]))),
            7 => drop(world.ask(at, one, Ask::Keep)),
            8 => {
                let media = Media { microphone: dice.one_in(2), video: false, screen: false };
                drop(world.ask(at, one, Ask::Media(media)));
            }
            9 => drop(world.ask(at, one, Ask::Restart)),
            10 => drop(world.ask(at, one, Ask::Offer(sdp()))),
            11 if dice.one_in(3) => {
                world.pass(u64::try_from(dice.below(30_000)).unwrap_or(0));
                world.tick();
            }
            12 if restarts && dice.one_in(6) => world.restart(at),
            _ if !world.wire.is_empty() => {
                let packet = dice.below(world.wire.len());
                if world.duplicates && dice.one_in(8) {
                    let again = world.wire[packet].clone();
                    world.wire.push(again);
                }
                world.deliver(packet);
            }
            _ => {}
        }
    }
    world.finish();
    let talked = world.seats.iter().flat_map(|s| s.history.values());
    let talked = talked.filter(|r| r.outcome == Outcome::Answered).count();
    (talked, world.calls.into())
}

fn courses(seeds: core::ops::Range<u64>) {
    let (mut talked, mut calls) = (0, 0);
    for seed in seeds.clone() {
        let found = std::panic::catch_unwind(|| course(seed));
        match found {
            Ok((t, c)) => (talked, calls) = (talked + t, calls + c),
            Err(_) => panic!("seed {seed} fails"),
        }
    }
    println!("calls.orders: {} orders", seeds.end - seeds.start);
    println!("calls.made: {calls} calls");
    println!("calls.talked: {talked} records");
    // Else the courses would prove nothing.
    assert!(talked * 20 > calls, "hardly anybody talks");
}

#[test]
fn any_order_of_events_ends_in_agreement() {
    courses(0..20_000);
}

/// `cargo nextest run -p kith-core --run-ignored only a_million_orders`
#[test]
#[ignore = "takes minutes; the same with fewer orders runs always"]
fn a_million_orders_of_events_end_in_agreement() {
    courses(0..1_000_000);
}

#[test]
fn a_call_is_answered_on_one_device_and_stops_on_the_other() {
    let mut w = World::new(&[device(1, 1), device(2, 1), device(2, 2)]);
    w.dial(0, 9).unwrap();
    w.all();
    assert_eq!(w.phase(1, 9), Some(Phase::Incoming));
    assert_eq!(w.phase(2, 9), Some(Phase::Incoming));
    assert_eq!(w.phase(0, 9), Some(Phase::Calling { ringing: true }));
    // Both answer before they hear of each other; the caller takes one.
    w.ask(1, 9, Ask::Answer(sdp())).unwrap();
    w.ask(2, 9, Ask::Answer(sdp())).unwrap();
    w.all();
    assert!(matches!(w.phase(0, 9), Some(Phase::Active { .. })));
    assert!(matches!(w.phase(1, 9), Some(Phase::Active { .. })));
    assert_eq!(w.phase(2, 9), Some(Phase::Watching { answered: true }));
    w.pass(5_000);
    w.hang_up(1, 9);
    w.finish();
    assert!((0..3).all(|at| w.outcome(at, 9) == Some(Outcome::Answered)));
    assert_eq!(w.seats[2].history[&CallId([9; 16])].talked_ms, 5_000);
}

#[test]
fn declined_cancelled_missed_and_busy_are_what_everybody_says() {
    let mut w = World::new(&[device(1, 1), device(2, 1), device(2, 2)]);
    w.dial(0, 1).unwrap();
    w.all();
    w.hang_up(1, 1);
    w.all();
    w.dial(0, 2).unwrap();
    w.all();
    w.hang_up(0, 2);
    w.all();
    w.dial(0, 3).unwrap();
    w.all();
    w.pass(RING_MS);
    w.tick();
    w.all();
    for at in 0..3 {
        assert_eq!(w.outcome(at, 1), Some(Outcome::Declined));
        assert_eq!(w.outcome(at, 2), Some(Outcome::Cancelled));
        assert_eq!(w.outcome(at, 3), Some(Outcome::Unanswered));
    }
    // Two accounts: the callee's only device is in another call.
    let mut w = World::new(&[device(1, 1), device(2, 1)]);
    w.dial(1, 5).unwrap();
    w.wire.clear();
    w.seats[1].machine.calls.values_mut().for_each(|c| c.group = GroupId([9; 32]));
    w.dial(0, 6).unwrap();
    w.all();
    assert_eq!(w.outcome(0, 6), Some(Outcome::Busy));
}

#[test]
fn when_both_call_at_once_one_call_stands_and_is_answered_by_itself() {
    let mut w = World::new(&[device(1, 1), device(2, 1), device(2, 2)]);
    w.dial(0, 4).unwrap();
    w.dial(1, 3).unwrap();
    w.all();
    // The lower id stands: the person at seat 0 gave way, and answers.
    assert_eq!(w.outcome(0, 4), Some(Outcome::GaveWay));
    let call = w.seats[0].machine.get(&CallId([3; 16])).unwrap().clone();
    assert!(call.auto && call.tab.as_deref() == Some("tab"));
    assert_ne!(w.phase(2, 4), Some(Phase::Incoming), "nobody else rings for the call that gave way");
    w.ask(0, 3, Ask::Answer(sdp())).unwrap();
    w.all();
    assert!(matches!(w.phase(0, 3), Some(Phase::Active { .. })));
    assert!(matches!(w.phase(1, 3), Some(Phase::Active { .. })));
    assert!(w.seats.iter().all(|s| s.history.get(&CallId([4; 16])).is_none_or(|r| r.hidden)));
}

#[test]
fn a_late_offer_is_a_missed_call_and_no_ring() {
    let mut w = World::new(&[device(1, 1), device(2, 1)]);
    w.dial(0, 1).unwrap();
    w.pass(RING_MS + SLACK_MS + 1);
    w.all();
    assert_eq!(w.phase(1, 1), None);
    assert_eq!(w.outcome(1, 1), Some(Outcome::Unanswered));
    w.finish();
}

#[test]
fn an_end_that_overtakes_its_offer_leaves_no_ring() {
    let mut w = World::new(&[device(1, 1), device(2, 1)]);
    w.dial(0, 1).unwrap();
    w.hang_up(0, 1);
    w.wire.reverse();
    w.all();
    assert_eq!(w.phase(1, 1), None);
    assert_eq!(w.outcome(1, 1), Some(Outcome::Cancelled));
}

#[test]
fn a_flood_of_rings_and_of_candidates_is_shed() {
    let mut w = World::new(&[device(1, 1), device(2, 1)]);
    let mut rang = 0;
    for id in 1..=60 {
        let offer = Signal {
            call: CallId([id; 16]),
            leg: 0,
            seq: 1,
            body: Body::Offer { sdp: sdp(), video: false, to: None },
        };
        w.wire.push((1, device(1, 1), w.now.wall_ms, offer));
        w.deliver(0);
        w.wire.clear();
        rang += usize::from(w.phase(1, id) == Some(Phase::Incoming));
    }
    assert_eq!(rang, RINGS_MAX);
    assert!(w.seats[1].machine.calls.len() <= CALLS_MAX);
    let mut w = World::new(&[device(1, 1), device(2, 1)]);
    w.dial(0, 1).unwrap();
    w.all();
    for seq in 2..10_000 {
        let body = Body::Candidates { lines: vec!["candidate:1".into(); 3] };
        w.wire.push((1, device(1, 1), w.now.wall_ms, Signal { call: CallId([1; 16]), leg: 0, seq, body }));
        w.deliver(0);
    }
    let call = w.seats[1].machine.get(&CallId([1; 16])).unwrap();
    assert_eq!(call.candidates, CANDIDATES_MAX);
    assert!(call.remote.len() <= REMOTE_MAX && call.heard.values().all(|h| h.len() <= HEARD_MAX));
    // It still ends.
    w.hang_up(0, 1);
    w.finish();
}

#[test]
fn nobody_else_has_a_say_in_a_call() {
    let mut w = World::new(&[device(1, 1), device(2, 1)]);
    w.dial(0, 1).unwrap();
    w.all();
    let end = Body::End { outcome: Outcome::Declined, reason: Reason::Declined, talked_ms: 0 };
    let forged = |body, seq| Signal { call: CallId([1; 16]), leg: 0, seq, body };
    for (from, body) in [
        // The called account cannot end in the caller's name, nor take its own answer.
        (device(2, 9), end.clone()),
        (device(2, 9), Body::Taken { device: device(2, 1).1 }),
        // Nor another device of the caller.
        (device(1, 9), end.clone()),
        // Somebody else entirely.
        (device(3, 1), end),
    ] {
        w.seats[1].machine.hear(w.now, (GROUP, account(1)), from, w.now.wall_ms, forged(body, 7));
        w.settle(1);
        assert_eq!(w.phase(1, 1), Some(Phase::Incoming));
    }
    // A second offer under the same id changes nothing.
    let offer = forged(Body::Offer { sdp: "v=0 other".into(), video: false, to: None }, 8);
    w.seats[1].machine.hear(w.now, (GROUP, account(1)), device(1, 1), w.now.wall_ms, offer);
    assert_eq!(w.seats[1].machine.get(&CallId([1; 16])).unwrap().remote.len(), 1);
}

#[test]
fn a_page_that_falls_silent_ends_its_call() {
    let mut w = World::new(&[device(1, 1), device(2, 1)]);
    w.dial(0, 1).unwrap();
    w.all();
    w.ask(1, 1, Ask::Answer(sdp())).unwrap();
    w.all();
    // There is a path: the page says what it sends.
    w.ask(1, 1, Ask::Media(Media { microphone: true, ..Media::default() })).unwrap();
    w.all();
    for _ in 0..10 {
        w.pass(KEEP_MS / 2);
        w.ask(0, 1, Ask::Keep).unwrap();
        w.ask(1, 1, Ask::Keep).unwrap();
        w.tick();
    }
    assert!(matches!(w.phase(0, 1), Some(Phase::Active { .. })));
    w.pass(KEEP_MS);
    w.ask(1, 1, Ask::Keep).unwrap();
    w.tick();
    w.all();
    assert_eq!((w.phase(0, 1), w.phase(1, 1)), (None, None));
    assert_eq!(w.outcome(1, 1), Some(Outcome::Answered));
}

#[test]
fn a_call_for_which_no_way_was_found_has_failed() {
    for leaves in [0, 1] {
        let mut w = World::new(&[device(1, 1), device(2, 1)]);
        w.dial(0, 1).unwrap();
        w.all();
        w.ask(1, 1, Ask::Answer(sdp())).unwrap();
        w.all();
        assert!(matches!(w.phase(0, 1), Some(Phase::Active { .. })));
        // The page that gives up is silent from now on.
        w.pass(KEEP_MS);
        w.ask(1 - leaves, 1, Ask::Keep).unwrap();
        w.tick();
        w.all();
        assert_eq!((w.phase(0, 1), w.phase(1, 1)), (None, None));
        for device in [0, 1] {
            assert_eq!(w.outcome(device, 1), Some(Outcome::Failed));
        }
    }
}

#[test]
fn whoever_is_removed_is_out_of_the_call() {
    let mut w = World::new(&[device(1, 1), device(2, 1)]);
    w.dial(0, 1).unwrap();
    w.all();
    w.ask(1, 1, Ask::Answer(sdp())).unwrap();
    w.all();
    let now = w.now;
    w.seats[1].machine.end_where(now, |c| c.group == GROUP);
    w.settle(1);
    assert_eq!(w.phase(1, 1), None);
    w.finish();
    assert_eq!(w.seats[0].history[&CallId([1; 16])].reason, Reason::Removed);
}

#[test]
fn a_restart_ends_what_stood_open() {
    let mut w = World::new(&[device(1, 1), device(2, 1), device(2, 2)]);
    w.dial(0, 1).unwrap();
    w.all();
    w.ask(1, 1, Ask::Answer(sdp())).unwrap();
    w.all();
    w.pass(3_000);
    w.restart(0);
    w.finish();
    assert!((0..3).all(|at| w.outcome(at, 1) == Some(Outcome::Answered)));
    assert!((0..3).all(|at| w.seats[at].history[&CallId([1; 16])].talked_ms == 3_000));
}
