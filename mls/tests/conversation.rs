//! Two and three members talk; people are added, removed, and leave.
mod common;

use std::collections::BTreeMap;

use common::*;
use kith_mls::{Change, EngineError, Outcome, Resealed};
use kith_store::{Range, Read as _, Table};
use kith_wire::group::{ConversationKind, GroupExt, OrderKind, Role, Target};
use kith_wire::ids::{GroupId, TopicId};

#[test]
fn two_members_talk_both_ways_and_acknowledge() {
    let (mut a, mut b) = (Device::new(1, 1), Device::new(2, 1));
    let gid = a.create("tea");
    let objects = a.add(gid, &mut [&mut b]);
    assert_eq!(a.tip(gid), b.tip(gid));
    let seen = give(&mut a, gid, &objects[objects.len() - 1..]);
    assert!(seen.iter().any(|o| matches!(o, Outcome::Seen { device, .. } if *device == b.id())));

    let sent = a.send(gid, "hello");
    let out = give(&mut b, gid, &published(&sent));
    assert_eq!(texts(&out), ["hello"]);
    assert_eq!(events(&out)[0].id, sent.id);
    assert_eq!(events(&out)[0].account, a.account());
    let back = b.send(gid, "hi");
    assert_eq!(texts(&give(&mut a, gid, &published(&back))), ["hi"]);

    let mark = b.mark(gid).expect("events came");
    let out = a.ingest(gid, &mark);
    assert!(matches!(out[..], [Outcome::Acked { up_to_seq: 1, .. }]));
    assert_eq!(kith_mls::view::delivered(&a.store, gid).unwrap(), [(b.account(), b.id(), 1)]);
    let mark = a.mark(gid).expect("events came");
    b.ingest(gid, &mark);
    // Marks do not answer marks.
    assert_eq!(a.mark(gid), None);
    assert_eq!(b.mark(gid), None);
    assert_no_reuse(&[&a, &b]);
}

/// Rows of the message secrets of a device's tip: number and value.
fn secret_rows(d: &Device, gid: GroupId) -> BTreeMap<u16, Vec<u8>> {
    // The number of this kind of row is stored.
    let (from, to) = ([10], [11]);
    let name = d.tip(gid).0;
    let range =
        Range { table: Table::Images, name: &name, from: &from, to: Some(&to), reverse: false, limit: 99 };
    let number = |order: &[u8]| u16::from_be_bytes([order[1], order[2]]);
    d.store.scan(range).unwrap().into_iter().map(|(order, value)| (number(&order), value)).collect()
}

#[test]
fn a_message_writes_the_ratchet_that_it_used_and_no_other() {
    let (mut a, mut b, mut c) = (Device::new(1, 1), Device::new(2, 1), Device::new(3, 1));
    let gid = a.create("tea");
    a.add(gid, &mut [&mut b, &mut c]);
    settle(gid, &mut [&mut a, &mut b, &mut c]);
    let mut say = |by: usize, text: &str| {
        let all = [&mut a, &mut b, &mut c];
        let sent = all[by].send(gid, text);
        let before = secret_rows(all[2], gid);
        for (n, d) in all.into_iter().enumerate() {
            if n == 2 {
                d.restart();
            }
            if n != by {
                assert_eq!(texts(&give(d, gid, &published(&sent))), [text]);
            }
        }
        (before, secret_rows(&c, gid))
    };
    say(0, "one");
    let (_, rows) = say(1, "two");
    // What all share, and one for each leaf that has spoken.
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
    for (by, text) in [(0, "three"), (1, "four"), (1, "five"), (0, "six")] {
        let (before, after) = say(by, text);
        let changed: Vec<u16> =
            after.iter().filter(|(n, v)| before.get(n) != Some(v)).map(|(n, _)| *n).collect();
        assert_eq!((before.len(), after.len(), changed), (3, 3, vec![by as u16 + 1]));
    }
}

#[test]
fn a_member_is_added_while_away_and_reads_from_then_on() {
    let (mut a, mut b, mut c) = (Device::new(1, 1), Device::new(2, 1), Device::new(3, 1));
    let gid = a.create("tea");
    a.add(gid, &mut [&mut b]);
    let early = a.send(gid, "before carol");
    give(&mut b, gid, &published(&early));

    // Carol's package was made before; her Welcome waits in her inbox.
    let package = c.package();
    let change =
        Change { adds: vec![kith_mls::Add { package, inbox: TopicId(c.id().0) }], ..Change::default() };
    let committed = a.commit(gid, &change).unwrap();
    let sealed = {
        let joiner = &committed.joiners[0];
        let welcome = a.welcome_bytes(&committed, c.id());
        a.engine.seal_inbox(&joiner.box_key, joiner.inbox, joiner.device, &welcome).unwrap()
    };
    let later = a.send(gid, "welcome carol");
    give(&mut b, gid, &publish(&committed));
    assert_eq!(texts(&give(&mut b, gid, &published(&later))), ["welcome carol"]);

    let welcome = c.engine.open_inbox(TopicId(c.id().0), &sealed).unwrap();
    let info = c.engine.welcome_info(&welcome).unwrap();
    assert_eq!(info.inviter, a.account());
    let joined = c.run(|e, tx, now| e.join(tx, now, &welcome, &committed.bundle)).unwrap();
    assert_eq!(joined.kind, ConversationKind::Group);
    assert_eq!(joined.accounts.len(), 2);
    assert!(matches!(give(&mut c, gid, &published(&early))[..], [.., Outcome::Rejected(_)]));
    assert_eq!(texts(&give(&mut c, gid, &published(&later))), ["welcome carol"]);
    let reply = c.send(gid, "thanks");
    for d in [&mut a, &mut b] {
        d.ingest(gid, &joined.mark);
        assert_eq!(texts(&give(d, gid, &published(&reply))), ["thanks"]);
    }
    settle(gid, &mut [&mut a, &mut b, &mut c]);
    // "before carol" was not for her.
    assert_eq!(c.shown.len(), 1);
}

#[test]
fn who_is_removed_reads_nothing_more_and_the_topic_changes() {
    let (mut a, mut b, mut c) = (Device::new(1, 1), Device::new(2, 1), Device::new(3, 1));
    let gid = a.create("tea");
    a.add(gid, &mut [&mut b, &mut c]);
    settle(gid, &mut [&mut a, &mut b, &mut c]);
    let before = kith_mls::view::topics(&a.store, gid).unwrap().current.unwrap();

    let change = Change { remove_accounts: vec![c.account()], ..Change::default() };
    assert!(matches!(b.commit(gid, &change), Err(EngineError::Refused(_))));
    let removal = a.commit(gid, &change).unwrap();
    assert!(removal.rotated);
    assert_eq!(removal.orders.len(), 1);
    let objects = publish(&removal);
    let out = give(&mut b, gid, &objects);
    assert!(out.iter().any(|o| matches!(o, Outcome::Tip(t) if t.removed == [c.account()] && t.rotated)));
    let out = give(&mut c, gid, &objects);
    assert!(out.iter().any(|o| matches!(o, Outcome::Tip(t) if t.me_removed)));
    assert!(!c.me_in(gid));
    let after = kith_mls::view::topics(&a.store, gid).unwrap().current.unwrap();
    assert_ne!(before, after);
    assert_eq!(kith_mls::view::topics(&b.store, gid).unwrap().current, Some(after));
    assert_eq!(kith_mls::view::topics(&c.store, gid).unwrap().current, None);

    let secret = a.send(gid, "without carol");
    assert_eq!(texts(&give(&mut b, gid, &published(&secret))), ["without carol"]);
    assert!(texts(&give(&mut c, gid, &published(&secret))).is_empty());
    let bare = kith_mls::event_bytes(&a.store, gid, secret.id).unwrap();
    assert!(texts(&c.ingest(gid, &bare)).is_empty());
    let hello = c.hello(gid);
    let peer = c.id();
    let answer = a.answer(gid, peer, &hello);
    assert!(texts(&give(&mut c, gid, &answer)).is_empty());
    assert!(matches!(c.run(|e, tx, now| e.send(tx, now, gid, 2, b"?")), Err(EngineError::NotMember)));

    // Added again, she reads what comes from then on.
    a.add(gid, &mut [&mut c]);
    assert!(c.me_in(gid));
    settle(gid, &mut [&mut a, &mut b, &mut c]);
    let again = b.send(gid, "hello again");
    assert_eq!(texts(&give(&mut c, gid, &published(&again))), ["hello again"]);
    settle(gid, &mut [&mut a, &mut b, &mut c]);
    let all = kith_mls::view::delivered(&b.store, gid).unwrap();
    assert!(all.iter().all(|(_, _, n)| *n == again.seq), "{all:?}");
}

#[test]
fn leaving_is_an_order_that_another_member_commits() {
    let (mut a, mut b, mut c) = (Device::new(1, 1), Device::new(2, 1), Device::new(3, 1));
    let gid = a.create("tea");
    a.add(gid, &mut [&mut b, &mut c]);
    settle(gid, &mut [&mut a, &mut b, &mut c]);
    let orders = a.run(|e, tx, now| e.leave(tx, now, gid)).unwrap();
    let out = give(&mut b, gid, &orders);
    assert!(out.iter().any(|o| matches!(
        o,
        Outcome::Order { kind: OrderKind::Leave, issuer, .. } if *issuer == a.account()
    )));
    // Bob is a plain member: a leave order gives him the right all the same.
    let change = Change { remove_accounts: vec![a.account()], ..Change::default() };
    let commit = b.commit(gid, &change).unwrap();
    assert!(commit.orders.is_empty());
    let out = give(&mut c, gid, &publish(&commit));
    assert!(out.iter().any(|o| matches!(o, Outcome::Tip(t) if t.left == [a.account()])));
    give(&mut a, gid, &publish(&commit));
    assert!(!a.me_in(gid));
    // Nobody above member is left: the longest-standing account owns the group.
    let view = kith_mls::view::group(&c.store, gid).unwrap();
    let owner: Vec<_> = view.members.iter().filter(|m| m.role == Role::Owner).map(|m| m.account).collect();
    assert_eq!(owner, [b.account()]);
}

#[test]
fn who_left_and_came_back_has_not_left_anew() {
    let (mut a, mut b) = (Device::new(1, 1), Device::new(2, 1));
    let gid = a.create("tea");
    a.add(gid, &mut [&mut b]);
    settle(gid, &mut [&mut a, &mut b]);
    let first = b.run(|e, tx, now| e.leave(tx, now, gid)).unwrap();
    give(&mut a, gid, &first);
    // Known until it is carried out: also after a restart.
    assert_eq!(kith_mls::view::duties(&a.store, gid).unwrap().targets, [Target::Account(b.account())]);
    let change = Change { remove_accounts: vec![b.account()], ..Change::default() };
    let commit = a.commit(gid, &change).unwrap();
    assert!(commit.orders.is_empty(), "the leave order is the authority");
    give(&mut b, gid, &publish(&commit));
    assert_eq!(kith_mls::view::duties(&a.store, gid).unwrap().targets, []);
    a.add(gid, &mut [&mut b]);
    settle(gid, &mut [&mut a, &mut b]);
    assert_eq!(kith_mls::view::duties(&a.store, gid).unwrap().targets, []);
    let second = b.run(|e, tx, now| e.leave(tx, now, gid)).unwrap();
    assert_ne!(first.last(), second.last());
    let out = give(&mut a, gid, &second);
    assert!(out.iter().any(|o| matches!(o, Outcome::Order { kind: OrderKind::Leave, .. })));
    assert_eq!(kith_mls::view::duties(&a.store, gid).unwrap().targets, [Target::Account(b.account())]);
}

#[test]
fn settings_change_by_those_who_may() {
    let (mut a, mut b) = (Device::new(1, 1), Device::new(2, 1));
    let gid = a.create("tea");
    a.add(gid, &mut [&mut b]);
    let mut ext = kith_mls::view::group(&b.store, gid).unwrap().ext;
    ext.policy.title = "coffee".into();
    let change = Change { ext: Some(ext.clone()), ..Change::default() };
    assert!(matches!(b.commit(gid, &change), Err(EngineError::Refused(_))));
    let commit = a.commit(gid, &change).unwrap();
    let out = give(&mut b, gid, &publish(&commit));
    assert!(out.iter().any(|o| matches!(o, Outcome::Tip(t) if t.ext == Some(ext.clone()))));
    let view = kith_mls::view::group(&b.store, gid).unwrap();
    assert_eq!(view.ext.policy.title, "coffee");
    assert_eq!((view.role, view.epoch), (Role::Member, 2));
}

#[test]
fn a_direct_conversation_has_two_people_with_equal_rights() {
    let (mut a, mut b, mut c) = (Device::new(1, 1), Device::new(2, 1), Device::new(3, 1));
    let gid = a.run(|e, tx, now| e.create(tx, now, &GroupExt::direct(Vec::new()))).unwrap();
    a.add(gid, &mut [&mut b]);
    settle(gid, &mut [&mut a, &mut b]);
    let add = |d: &mut Device| Change {
        adds: vec![kith_mls::Add { package: d.package(), inbox: TopicId(d.id().0) }],
        ..Change::default()
    };
    let third = add(&mut c);
    assert!(matches!(a.commit(gid, &third), Err(EngineError::Refused(_))));
    let out = Change { remove_accounts: vec![b.account()], ..Change::default() };
    assert!(matches!(a.commit(gid, &out), Err(EngineError::Refused(_))));
    // Another device of one's own may always come.
    let mut b2 = Device::new(2, 2);
    let second = add(&mut b2);
    let commit = b.commit(gid, &second).unwrap();
    b.welcome(&commit, &mut b2);
    give(&mut a, gid, &publish(&commit));
    settle(gid, &mut [&mut a, &mut b, &mut b2]);
    let sent = a.send(gid, "to both");
    for d in [&mut b, &mut b2] {
        assert_eq!(texts(&give(d, gid, &published(&sent))), ["to both"]);
    }
}

#[test]
fn sealing_again_respects_the_audience() {
    let (mut a, mut b, mut c) = (Device::new(1, 1), Device::new(2, 1), Device::new(3, 1));
    let gid = a.create("tea");
    a.add(gid, &mut [&mut b]);
    let sent = a.send(gid, "for bob");
    let Resealed::Envelope(again) = a.run(|e, tx, now| e.reseal(tx, now, gid, sent.id)).unwrap() else {
        panic!("everybody may see it");
    };
    assert_ne!(again.envelope, sent.envelope);
    assert_eq!(texts(&b.ingest(gid, &again.envelope)), ["for bob"]);
    assert!(matches!(b.ingest(gid, &sent.envelope)[..], [Outcome::Known]));
    let objects = a.add(gid, &mut [&mut c]);
    give(&mut b, gid, &objects);
    let Resealed::Only(devices) = a.run(|e, tx, now| e.reseal(tx, now, gid, sent.id)).unwrap() else {
        panic!("carol may not see it");
    };
    assert_eq!(devices, [b.id()]);
}
