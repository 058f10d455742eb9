//! What nodes decide about files: who gets them from whom, who may have them,
//! what goes to relays, what makes room. Their bytes are not simulated.

use kith_bootstrap::Limits;
use kith_core::api::{Command, FileCommand, Reply};
use kith_core::files::port::{Do, Heard, Relayed};
use kith_core::view::{Content, FileState, KeptAtRelays};
use kith_sim::{NodeIndex, RelayIndex, World};
use kith_wire::blob::tree::Blob;
use kith_wire::crypto::Secret;
use kith_wire::ids::{BlobId, FileId, GroupId};

const MIB: u64 = 1 << 20;

fn blob(n: u8, size: u64) -> Blob {
    Blob { key: Secret::new([n; 32]), root: BlobId([n; 32]), size }
}

/// Adds a file that is said to be sealed, and sends it.
fn send(world: &mut World, who: NodeIndex, group: GroupId, n: u8, size: u64) -> FileId {
    let add = FileCommand::Add { blob: blob(n, size), name: format!("{n}.bin"), media_type: String::new() };
    let Reply::File(file) = world.ask(who, Command::File(add)).unwrap() else { panic!() };
    let (caption, reply_to, look) = (String::new(), None, None);
    let key = format!("file-{n}");
    world.ask(who, Command::SendFile { group, file, caption, reply_to, look, key }).unwrap();
    file
}

fn shown(world: &World, who: NodeIndex, group: &GroupId, file: &FileId) -> kith_core::view::File {
    world
        .messages(who, group)
        .into_iter()
        .find_map(|m| match m.content {
            Content::File { file: shown, .. } if shown.id == file.hex() => Some(*shown),
            _ => None,
        })
        .expect("the file is shown")
}

/// Whom a node would fetch a file from, as last said.
fn sources(world: &mut World, who: NodeIndex, file: &FileId) -> Option<(usize, usize)> {
    world.take_orders(who).into_iter().rev().find_map(|order| match order {
        Do::Fetch { id, devices, relays, .. } if id == *file => Some((devices.len(), relays.len())),
        _ => None,
    })
}

/// Whether a node would give a file to a peer.
fn gives(world: &mut World, who: NodeIndex, to: NodeIndex, root: BlobId) -> bool {
    let peer = world.transport(to).unwrap();
    world.take_orders(who);
    world.hear(who, Heard::Asked { token: 9, peer, root });
    world
        .take_orders(who)
        .into_iter()
        .find_map(|order| match order {
            Do::Serve { token: 9, file } => Some(file.is_some()),
            _ => None,
        })
        .expect("an answer")
}

#[test]
fn a_small_file_is_fetched_from_its_sender_and_a_large_one_when_asked() {
    let mut world = World::new(1);
    let (a, b) = (world.node("Alice").unwrap(), world.node("Bob").unwrap());
    let group = world.befriend(a, b);
    let small = send(&mut world, a, group, 1, MIB);
    let large = send(&mut world, a, group, 2, 900 * MIB);
    world.run(5_000);
    assert_eq!(shown(&world, b, &group, &small).state, FileState::Fetching);
    assert_eq!(shown(&world, b, &group, &large).state, FileState::Offered);
    assert_eq!(sources(&mut world, b, &small), Some((1, 0)));
    world.ask(b, Command::File(FileCommand::Fetch { file: large })).unwrap();
    assert_eq!(sources(&mut world, b, &large), Some((1, 0)));
    // The sender goes: nobody is left to ask; it comes back: asked again.
    world.stop(a);
    world.run(60_000);
    assert_eq!(sources(&mut world, b, &large), Some((0, 0)));
    world.start(a).unwrap();
    world.run(120_000);
    assert_eq!(sources(&mut world, b, &large), Some((1, 0)));
    // A restart of the receiver goes on by itself.
    world.stop(b);
    world.start(b).unwrap();
    world.run(60_000);
    assert_eq!(sources(&mut world, b, &small), Some((1, 0)));
    world.hear(b, Heard::Complete { id: small });
    assert_eq!(shown(&world, b, &group, &small).state, FileState::Here);
    world.ask(b, Command::File(FileCommand::Pause { file: large })).unwrap();
    assert!(world.take_orders(b).iter().any(|o| matches!(o, Do::Stop { id } if *id == large)));
    // A player that is still open does not go on against the person's will.
    world.ask(b, Command::File(FileCommand::Read { file: large })).unwrap();
    assert_eq!(shown(&world, b, &group, &large).state, FileState::Paused);
    // Late news of what was given up are not believed.
    world.ask(b, Command::File(FileCommand::Free { file: large })).unwrap();
    assert!(world.take_orders(b).iter().any(|o| matches!(o, Do::Remove { id, .. } if *id == large)));
    world.hear(b, Heard::Complete { id: large });
    assert_eq!(shown(&world, b, &group, &large).state, FileState::Offered);
}

#[test]
fn files_are_given_to_members_and_to_nobody_else() {
    let mut world = World::new(2);
    let nodes: Vec<NodeIndex> = ["Alice", "Bob", "Carol"].iter().map(|n| world.node(n).unwrap()).collect();
    let (a, b, c) = (nodes[0], nodes[1], nodes[2]);
    let with_bob = world.befriend(a, b);
    world.befriend(a, c);
    let file = send(&mut world, a, with_bob, 1, MIB);
    world.run(5_000);
    assert!(gives(&mut world, a, b, BlobId([1; 32])));
    assert!(!gives(&mut world, a, c, BlobId([1; 32])), "a contact, but in another conversation");
    assert!(!gives(&mut world, a, b, BlobId([7; 32])));
    // Bob has part of it, and gives what he has to her as well.
    assert!(gives(&mut world, b, a, BlobId([1; 32])));
    // In a group: to members, and not to somebody who was removed.
    let members = vec![world.account(b).unwrap(), world.account(c).unwrap()];
    let create = Command::CreateGroup { title: "Films".into(), members };
    let Reply::Conversation(group) = world.ask(a, create).unwrap() else { panic!() };
    world.run(30_000);
    send(&mut world, a, group, 2, MIB);
    world.run(5_000);
    assert!(gives(&mut world, a, c, BlobId([2; 32])));
    let account = world.account(c).unwrap();
    world.ask(a, Command::RemoveMember { group, account }).unwrap();
    world.run(30_000);
    assert!(!gives(&mut world, a, c, BlobId([2; 32])));
    assert!(gives(&mut world, a, b, BlobId([2; 32])));
    let account = world.account(b).unwrap();
    world.ask(a, Command::BlockContact { account, blocked: true }).unwrap();
    assert!(!gives(&mut world, a, b, BlobId([1; 32])));
    let _ = file;
}

fn with_relay(world: &mut World, limits: Limits) -> (NodeIndex, NodeIndex, RelayIndex, GroupId) {
    let (a, b) = (world.node("Alice").unwrap(), world.node("Bob").unwrap());
    let relay = world.relay("R", limits).unwrap();
    for node in [a, b] {
        let link = world.community_link(relay);
        world.ask(node, Command::AddRelay { link }).unwrap();
    }
    let group = world.befriend(a, b);
    (a, b, relay, group)
}

#[test]
fn who_is_away_gets_it_through_the_relay_and_who_is_here_does_not() {
    let mut world = World::new(3);
    let (a, b, _, group) = with_relay(&mut world, Limits::default());
    send(&mut world, a, group, 1, MIB);
    world.run(60_000);
    let deposits = |world: &mut World| {
        let orders = world.take_orders(a);
        orders.into_iter().filter(|o| matches!(o, Do::Deposit { .. })).collect::<Vec<_>>()
    };
    assert!(deposits(&mut world).is_empty(), "Bob can get it straight");
    // He says that he has it: nothing more is to be done.
    let peer = world.transport(b).unwrap();
    world.hear(a, Heard::Got { peer, root: BlobId([1; 32]) });
    world.stop(b);
    world.run(120_000);
    assert!(deposits(&mut world).is_empty());
    let file = send(&mut world, a, group, 2, MIB);
    world.run(60_000);
    let orders = deposits(&mut world);
    let Some(Do::Deposit { id, relays, .. }) = orders.last() else { panic!("{orders:?}") };
    assert_eq!((*id, relays.len()), (file, 1));
    assert_eq!(shown(&world, a, &group, &file).at_relays, Some(KeptAtRelays::Waiting));
    // Chunks go through the node's own session with the relay.
    let (relay, topic) = relays[0];
    let bytes = vec![5; 1040];
    let chunk = BlobId::of(&bytes);
    world.hear(a, Heard::PutChunk { token: 1, relay, topic, chunk, bytes: bytes.clone() });
    world.hear(a, Heard::PutChunk { token: 2, relay, topic, chunk: BlobId([0; 32]), bytes: bytes.clone() });
    world.run(5_000);
    let answers = |world: &mut World, node| -> Vec<(u64, Relayed)> {
        let orders = world.take_orders(node);
        let answer = |o| if let Do::Relayed { token, answer } = o { Some((token, answer)) } else { None };
        orders.into_iter().filter_map(answer).collect()
    };
    let said = answers(&mut world, a);
    assert!(matches!(said[..], [(1, Relayed::Stored(_)), (2, Relayed::Later)]), "{said:?}");
    world.hear(a, Heard::Deposited { id: file, relay, until_ms: u64::MAX >> 20 });
    assert!(matches!(shown(&world, a, &group, &file).at_relays, Some(KeptAtRelays::Until { .. })));
    // The sender goes, the receiver comes: the relay is the only source.
    world.stop(a);
    world.start(b).unwrap();
    world.run(60_000);
    assert_eq!(sources(&mut world, b, &file), Some((0, 1)));
    world.hear(b, Heard::GetChunk { token: 3, relay, chunk, len: u64::MAX });
    world.hear(b, Heard::GetChunk { token: 4, relay, chunk, len: 0 });
    world.hear(b, Heard::GetChunk { token: 5, relay, chunk: BlobId([9; 32]), len: 9 });
    world.run(5_000);
    let said = answers(&mut world, b);
    let expected = [(3, Relayed::Chunk(bytes)), (4, Relayed::Chunk(Vec::new())), (5, Relayed::Missing)];
    assert_eq!(said, expected);
}

#[test]
fn what_is_held_back_from_relays_stays_so_across_a_restart() {
    let mut world = World::new(6);
    let (a, b, _, group) = with_relay(&mut world, Limits::default());
    world.stop(b);
    let file = send(&mut world, a, group, 1, 4 * MIB);
    world.run(60_000);
    let deposits = |world: &mut World| {
        let orders = world.take_orders(a);
        orders.into_iter().filter(|o| matches!(o, Do::Deposit { .. })).count()
    };
    assert!(deposits(&mut world) > 0);
    world.ask(a, Command::File(FileCommand::Pause { file })).unwrap();
    assert!(world.take_orders(a).iter().any(|o| matches!(o, Do::Stop { id } if *id == file)));
    assert_eq!(shown(&world, a, &group, &file).at_relays, Some(KeptAtRelays::Paused));
    world.run(120_000);
    assert_eq!(deposits(&mut world), 0);
    world.stop(a);
    world.start(a).unwrap();
    world.run(120_000);
    assert_eq!(deposits(&mut world), 0);
    assert_eq!(shown(&world, a, &group, &file).at_relays, Some(KeptAtRelays::Paused));
    world.ask(a, Command::File(FileCommand::Fetch { file })).unwrap();
    world.run(60_000);
    assert!(deposits(&mut world) > 0, "it goes on");
    assert_eq!(shown(&world, a, &group, &file).at_relays, Some(KeptAtRelays::Waiting));
}

#[test]
fn a_file_over_the_relays_limit_is_said_to_be_and_lost_links_are_answered() {
    let mut world = World::new(4);
    let limits = Limits { topic_bytes: 8 * MIB, ..Limits::default() };
    let (a, b, relay, group) = with_relay(&mut world, limits);
    world.stop(b);
    let file = send(&mut world, a, group, 1, 5 * MIB);
    world.run(60_000);
    assert_eq!(shown(&world, a, &group, &file).at_relays, Some(KeptAtRelays::TooLarge));
    let small = send(&mut world, a, group, 2, MIB);
    world.run(60_000);
    let orders = world.take_orders(a);
    let Some(Do::Deposit { relays, .. }) = orders.into_iter().rev().find(|o| matches!(o, Do::Deposit { .. }))
    else {
        panic!("no deposit of {small:?}")
    };
    let (id, topic) = relays[0];
    world.stop_relay(relay);
    let bytes = vec![5; 1040];
    world.hear(a, Heard::PutChunk { token: 1, relay: id, topic, chunk: BlobId::of(&bytes), bytes });
    world.run(60_000);
    let said = world.take_orders(a);
    assert!(said.iter().any(|o| matches!(o, Do::Relayed { token: 1, answer: Relayed::Later })), "{said:?}");
}

#[test]
fn what_was_not_looked_at_for_longest_makes_room() {
    let mut world = World::new(5);
    let (a, b) = (world.node("Alice").unwrap(), world.node("Bob").unwrap());
    let group = world.befriend(a, b);
    let settings = kith_core::view::FileSettings {
        cache_bytes: 30 * MIB,
        auto_bytes: 100 * MIB,
        up_bytes_per_s: 0,
        down_bytes_per_s: 0,
    };
    world.ask(b, Command::File(FileCommand::Settings(settings))).unwrap();
    let files: Vec<FileId> = (1..=4).map(|n| send(&mut world, a, group, n, 10 * MIB)).collect();
    world.run(5_000);
    for file in &files[..3] {
        world.run(100_000);
        world.hear(b, Heard::Complete { id: *file });
    }
    world.ask(b, Command::File(FileCommand::Keep { file: files[0], keep: true })).unwrap();
    world.run(100_000);
    world.hear(b, Heard::Used { id: files[1] });
    world.run(100_000);
    // With one kept, three of ten MiB each fit; then the bound gets narrower.
    world.hear(b, Heard::Complete { id: files[3] });
    let state = |world: &World, n: usize| shown(world, b, &group, &files[n]).state;
    assert!((0..4).all(|n| state(&world, n) == FileState::Here));
    let narrow = kith_core::view::FileSettings { cache_bytes: 20 * MIB, ..settings };
    world.ask(b, Command::File(FileCommand::Settings(narrow))).unwrap();
    let states: Vec<FileState> = (0..4).map(|n| state(&world, n)).collect();
    assert_eq!(states, [FileState::Here, FileState::Here, FileState::Gone, FileState::Here]);
    let removed = world.take_orders(b);
    assert!(removed.iter().any(|o| matches!(o, Do::Remove { id, .. } if *id == files[2])));
    // What makes room is known again after a restart.
    world.stop(b);
    world.start(b).unwrap();
    world.run(60_000);
    let least = kith_core::view::FileSettings { cache_bytes: 16 * MIB, ..settings };
    world.ask(b, Command::File(FileCommand::Settings(least))).unwrap();
    let states: Vec<FileState> = (0..4).map(|n| state(&world, n)).collect();
    assert_eq!(states, [FileState::Here, FileState::Gone, FileState::Gone, FileState::Here]);
    // What its sender holds is not for making room.
    assert!((0..4).all(|n| shown(&world, a, &group, &files[n]).state == FileState::Here));
}
