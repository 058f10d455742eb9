//! Calls through whole nodes, in virtual time: what pages would do is done by
//! commands; signals travel as events of the group.

use kith_core::api::{CallCommand, Command, Event, Refusal, Reply};
use kith_core::calls::machine::{Ask, RING_MS, SLACK_MS};
use kith_core::view::{Call, CallOutcome, CallPhase, CallSignalKind, Content};
use kith_sim::{NodeIndex, World};
use kith_wire::call::{CallId, Reason};
use kith_wire::ids::GroupId;

fn sdp(byte: u8) -> String {
    let hex = vec![format!("{byte:02X}"); 32].join(":");
    format!(
        "v=0\r\no=- 1 2 IN IP4 203.0.113.7\r\ns=-\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 203.0.113.7\r\n\
         a=fingerprint:sha-256 {hex}\r\n"
    )
}

fn dial(world: &mut World, who: NodeIndex, conversation: GroupId) -> Result<CallId, Refusal> {
    let dial = CallCommand::Dial { conversation, sdp: sdp(1), video: true, tab: "a1".into() };
    world.ask(who, Command::Call(dial)).map(|reply| match reply {
        Reply::Call(call) => call,
        other => panic!("{other:?}"),
    })
}

fn act(world: &mut World, who: NodeIndex, call: CallId, ask: Ask) -> Result<Reply, Refusal> {
    world.ask(who, Command::Call(CallCommand::Do { call, tab: "a1".into(), ask }))
}

fn hang_up(world: &mut World, who: NodeIndex, call: CallId) {
    world.ask(who, Command::Call(CallCommand::HangUp { call, reason: Reason::HungUp })).unwrap();
}

fn calls(world: &mut World, who: NodeIndex) -> Vec<Call> {
    match world.ask(who, Command::Call(CallCommand::List)).unwrap() {
        Reply::Calls(calls) => calls,
        other => panic!("{other:?}"),
    }
}

fn phase(world: &mut World, who: NodeIndex, call: CallId) -> Option<CallPhase> {
    calls(world, who).into_iter().find(|c| c.id == call.hex()).map(|c| c.phase)
}

/// What the timeline says of calls, oldest first.
fn rows(world: &World, who: NodeIndex, group: &GroupId) -> Vec<(CallOutcome, bool, u64)> {
    let content = world.messages(who, group).into_iter().map(|m| m.content);
    content
        .filter_map(|c| match c {
            Content::Call { outcome, outgoing, talked_ms, .. } => Some((outcome, outgoing, talked_ms)),
            _ => None,
        })
        .collect()
}

fn pair(seed: u64) -> (World, NodeIndex, NodeIndex, GroupId) {
    let mut world = World::new(seed);
    let (a, b) = (world.node("Alice").unwrap(), world.node("Bob").unwrap());
    let group = world.befriend(a, b);
    (world, a, b, group)
}

/// Calls and answers; they talk.
fn talk(world: &mut World, a: NodeIndex, b: NodeIndex, group: GroupId) -> CallId {
    let call = dial(world, a, group).unwrap();
    world.run(2_000);
    assert_eq!(phase(world, b, call), Some(CallPhase::Incoming));
    assert_eq!(phase(world, a, call), Some(CallPhase::Ringing));
    act(world, b, call, Ask::Answer(sdp(2))).unwrap();
    world.run(2_000);
    assert_eq!(phase(world, a, call), Some(CallPhase::Active));
    assert_eq!(phase(world, b, call), Some(CallPhase::Active));
    call
}

#[test]
fn a_call_is_made_talked_in_and_remembered_by_both() {
    let (mut world, a, b, group) = pair(1);
    let call = talk(&mut world, a, b, group);
    let Reply::CallNow(now) = world.ask(a, Command::Call(CallCommand::Get { call, after: 0 })).unwrap()
    else {
        panic!("no call")
    };
    let answer = now.signals.iter().find(|s| s.kind == CallSignalKind::Answer).unwrap();
    assert!(answer.fingerprint.as_ref().unwrap().starts_with("02:02"));
    assert!(!answer.sdp.as_ref().unwrap().contains("203.0.113.7"), "no address stands in a description");
    world.run(20_000);
    act(&mut world, a, call, Ask::Keep).unwrap();
    hang_up(&mut world, b, call);
    world.run(3_000);
    let (mine, theirs) = (rows(&world, a, &group), rows(&world, b, &group));
    assert_eq!((mine[0].0, mine[0].1), (CallOutcome::Answered, true));
    assert_eq!((theirs[0].0, theirs[0].1, theirs[0].2), (CallOutcome::Answered, false, mine[0].2));
    assert!(mine[0].2 > 19_000);
    assert!(calls(&mut world, a).is_empty() && calls(&mut world, b).is_empty());
    assert_eq!(world.conversations(b)[0].unread, 0, "what was taken is no news");
}

#[test]
fn missed_declined_and_late() {
    let (mut world, a, b, group) = pair(2);
    dial(&mut world, a, group).unwrap();
    world.run(RING_MS + 10_000);
    assert_eq!(rows(&world, b, &group)[0].0, CallOutcome::Unanswered);
    assert_eq!(world.conversations(b)[0].unread, 1);
    let call = dial(&mut world, a, group).unwrap();
    world.run(2_000);
    hang_up(&mut world, b, call);
    world.run(2_000);
    assert_eq!(rows(&world, a, &group)[1].0, CallOutcome::Declined);
    // Bob is away for longer than it rings: a missed call, no ring.
    world.stop(b);
    let call = dial(&mut world, a, group).unwrap();
    world.run(RING_MS + SLACK_MS + 60_000);
    world.start(b).unwrap();
    world.run(60_000);
    let rang = world.take_events(b).into_iter().any(
        |e| matches!(e, Event::Call { call: c } if c.id == call.hex() && c.phase == CallPhase::Incoming),
    );
    assert!(!rang, "a ghost rings");
    assert_eq!(rows(&world, b, &group).len(), 3);
    assert_eq!(rows(&world, a, &group).len(), 3);
}

#[test]
fn who_is_blocked_or_no_contact_does_not_ring() {
    let (mut world, a, b, group) = pair(3);
    // First that it would ring.
    let call = dial(&mut world, a, group).unwrap();
    world.run(2_000);
    assert_eq!(phase(&mut world, b, call), Some(CallPhase::Incoming));
    hang_up(&mut world, a, call);
    world.run(2_000);
    let account = world.account(a).unwrap();
    // Blocking ends the call that stands.
    let call = talk(&mut world, a, b, group);
    world.ask(b, Command::BlockContact { account, blocked: true }).unwrap();
    assert_eq!(phase(&mut world, b, call), None);
    world.run(5_000);
    world.take_events(b);
    let before = rows(&world, b, &group).len();
    if let Ok(call) = dial(&mut world, a, group) {
        world.run(RING_MS + 10_000);
        assert_eq!(phase(&mut world, b, call), None);
    }
    let rang = world.take_events(b).into_iter().any(|e| matches!(e, Event::Call { .. }));
    assert!(!rang && rows(&world, b, &group).len() == before);
    assert_eq!(dial(&mut world, b, group).unwrap_err().code, "blocked");
}

#[test]
fn a_stop_in_the_middle_ends_the_call_for_both() {
    let (mut world, a, b, group) = pair(4);
    let call = talk(&mut world, a, b, group);
    world.run(10_000);
    act(&mut world, a, call, Ask::Keep).unwrap();
    act(&mut world, b, call, Ask::Keep).unwrap();
    world.crash(a);
    world.start(a).unwrap();
    world.run(30_000);
    assert!(calls(&mut world, a).is_empty() && calls(&mut world, b).is_empty());
    let (mine, theirs) = (rows(&world, a, &group), rows(&world, b, &group));
    assert_eq!(mine.len(), 1);
    assert_eq!((mine[0].0, mine[0].2), (theirs[0].0, theirs[0].2));
    assert_eq!(mine[0].0, CallOutcome::Answered);
}

#[test]
fn a_hidden_address_needs_a_relay_and_never_leaves() {
    let (mut world, a, b, group) = pair(5);
    let account = world.account(b).unwrap();
    let candidate = |ip: &str, kind: &str| format!("candidate:1 1 udp 1 {ip} 50000 typ {kind}");
    let call = talk(&mut world, a, b, group);
    let lines = vec![candidate("203.0.113.7", "srflx"), candidate("127.0.0.1", "host"), "junk".into()];
    let seen = |world: &mut World| {
        let Reply::CallNow(now) = world.ask(b, Command::Call(CallCommand::Get { call, after: 0 })).unwrap()
        else {
            panic!("no call")
        };
        now.signals.into_iter().flat_map(|s| s.candidates).collect::<Vec<_>>()
    };
    // Without the wish the address is told, and nothing else.
    act(&mut world, a, call, Ask::Candidates(lines)).unwrap();
    world.run(1_000);
    let shown = seen(&mut world);
    assert_eq!(shown.len(), 1);
    assert!(shown[0].contains("203.0.113.7"));
    world.ask(a, Command::Call(CallCommand::SetHide { account, hide: true })).unwrap();
    let more = vec![candidate("203.0.113.8", "srflx"), candidate("198.51.100.9", "relay")];
    act(&mut world, a, call, Ask::Candidates(more)).unwrap();
    world.run(1_000);
    let shown = seen(&mut world);
    assert!(!shown.iter().any(|line| line.contains("203.0.113.8")), "{shown:?}");
    assert!(shown.iter().any(|line| line.contains("198.51.100.9")), "{shown:?}");
    hang_up(&mut world, a, call);
    world.run(2_000);
    assert_eq!(dial(&mut world, a, group).unwrap_err().code, "no_call_relay");
    assert!(world.contacts(a).iter().any(|c| c.hide_address));
}

#[test]
fn what_pages_hand_in_is_checked() {
    let (mut world, a, b, group) = pair(6);
    let dial_with = |world: &mut World, sdp: String, tab: &str| {
        let dial = CallCommand::Dial { conversation: group, sdp, video: false, tab: tab.into() };
        world.ask(a, Command::Call(dial)).unwrap_err().code
    };
    assert_eq!(dial_with(&mut world, "v=0\r\n".into(), "a1"), "bad_description");
    assert_eq!(dial_with(&mut world, format!("{}{}", sdp(1), sdp(2)), "a1"), "bad_description");
    assert_eq!(dial_with(&mut world, sdp(1) + &"a=x\r\n".repeat(9_000), "a1"), "bad_description");
    assert_eq!(dial_with(&mut world, sdp(1), "no spaces"), "bad_tab");
    assert!(calls(&mut world, a).is_empty(), "a call that was refused leaves nothing");
    let call = dial(&mut world, a, group).unwrap();
    assert_eq!(dial(&mut world, a, group).unwrap_err().code, "in_a_call");
    world.run(2_000);
    assert_eq!(act(&mut world, b, call, Ask::Restart).unwrap_err().code, "other_window");
    act(&mut world, b, call, Ask::Answer(sdp(2))).unwrap();
    let answer = CallCommand::Do { call, tab: "b2".into(), ask: Ask::Answer(sdp(2)) };
    assert_eq!(world.ask(b, Command::Call(answer)).unwrap_err().code, "answered_here");
    world.run(2_000);
    let many = Ask::Candidates(vec!["candidate:1 1 udp 1 192.0.2.1 5000 typ host".into(); 10_000]);
    assert_eq!(act(&mut world, b, call, many).unwrap_err().code, "bad_candidates");
    hang_up(&mut world, a, call);
    world.run(2_000);
    assert_eq!(act(&mut world, b, call, Ask::Restart).unwrap_err().code, "call_over");
    let mut refused = None;
    for _ in 0..20 {
        match dial(&mut world, a, group) {
            Ok(call) => hang_up(&mut world, a, call),
            Err(refusal) => refused = Some(refusal.code),
        }
    }
    assert_eq!(refused.as_deref(), Some("slow_down"));
}

/// Bob has two devices in his conversation with Alice.
fn with_a_second_device(seed: u64) -> (World, NodeIndex, [NodeIndex; 2], GroupId) {
    let (mut world, a, b, group) = pair(seed);
    let second = world.further(b).unwrap();
    let alice = world.account(a).unwrap();
    world.learn_contact(second, alice).unwrap();
    world.run(3_000);
    world.add_further(b, second, group).unwrap();
    world.run(20_000);
    assert!(world.conversations(second).iter().any(|c| c.peer == Some(alice.to_text())));
    (world, a, [b, second], group)
}

#[test]
fn it_rings_on_both_devices_and_is_answered_on_one() {
    for answers in [0, 1] {
        let (mut world, a, bobs, group) = with_a_second_device(7);
        let (taker, other) = (bobs[answers], bobs[1 - answers]);
        let call = dial(&mut world, a, group).unwrap();
        world.run(2_000);
        for device in bobs {
            assert_eq!(phase(&mut world, device, call), Some(CallPhase::Incoming));
        }
        act(&mut world, taker, call, Ask::Answer(sdp(2))).unwrap();
        world.run(2_000);
        assert_eq!(phase(&mut world, taker, call), Some(CallPhase::Active));
        assert_eq!(phase(&mut world, a, call), Some(CallPhase::Active));
        // The other one rings no more, and cannot take it.
        assert_eq!(phase(&mut world, other, call), Some(CallPhase::Elsewhere));
        let late = act(&mut world, other, call, Ask::Answer(sdp(3))).unwrap_err();
        assert_eq!(late.code, "answered_elsewhere");
        world.run(10_000);
        hang_up(&mut world, a, call);
        world.run(3_000);
        let said: Vec<_> = [a, taker, other].map(|device| rows(&world, device, &group)).into();
        assert_eq!(said[0].len(), 1);
        assert_eq!((said[0][0].0, said[0][0].1), (CallOutcome::Answered, true));
        for theirs in &said[1..] {
            assert_eq!(theirs, &[(CallOutcome::Answered, false, said[0][0].2)]);
        }
        for device in [a, taker, other] {
            assert!(calls(&mut world, device).is_empty());
        }
    }
}

#[test]
fn of_two_answers_at_one_moment_one_is_taken() {
    let (mut world, a, bobs, group) = with_a_second_device(8);
    let call = dial(&mut world, a, group).unwrap();
    world.run(2_000);
    for device in bobs {
        act(&mut world, device, call, Ask::Answer(sdp(2))).unwrap();
    }
    world.run(3_000);
    let mut stand = bobs.map(|device| phase(&mut world, device, call));
    stand.sort_by_key(|phase| *phase != Some(CallPhase::Active));
    assert_eq!(stand, [Some(CallPhase::Active), Some(CallPhase::Elsewhere)]);
    hang_up(&mut world, a, call);
    world.run(3_000);
    assert!(bobs.iter().all(|device| calls(&mut world, *device).is_empty()));
}

#[test]
fn declined_on_one_device_it_rings_on_none() {
    let (mut world, a, bobs, group) = with_a_second_device(9);
    let call = dial(&mut world, a, group).unwrap();
    world.run(2_000);
    hang_up(&mut world, bobs[1], call);
    world.run(2_000);
    assert!(calls(&mut world, a).is_empty());
    for device in bobs {
        assert!(calls(&mut world, device).is_empty());
        assert_eq!(rows(&world, device, &group)[0].0, CallOutcome::Declined);
    }
}
