//! Concurrent commits: everybody ends in the same state, the loser is told,
//! and what was said on the losing branch is said again and shown once.
mod common;

use common::*;
use kith_mls::{Change, Outcome};
use kith_wire::group::Hello;
use kith_wire::object::Versioned as _;

fn title(d: &Device, gid: kith_wire::ids::GroupId, to: &str) -> Change {
    let mut ext = kith_mls::view::group(&d.store, gid).unwrap().ext;
    ext.policy.title = to.into();
    Change { ext: Some(ext), ..Change::default() }
}

#[test]
fn two_commits_at_once_converge_and_the_loser_is_told() {
    for swap in [false, true] {
        let (mut a, mut b, mut c) = (Device::new(1, 1), Device::new(2, 1), Device::new(3, 1));
        let gid = a.create("tea");
        let objects = a.add(gid, &mut [&mut b, &mut c]);
        for d in [&mut a, &mut b, &mut c] {
            give(d, gid, &objects);
        }
        let one = {
            let change = title(&a, gid, "one");
            a.commit(gid, &change).unwrap()
        };
        let two = b.update(gid);
        let (first, second) = if swap { (&one, &two) } else { (&two, &one) };
        give(&mut c, gid, &publish(first));
        give(&mut c, gid, &publish(second));
        let at_a = give(&mut a, gid, &publish(&two));
        let at_b = give(&mut b, gid, &publish(&one));
        assert_eq!(a.tip(gid), b.tip(gid));
        assert_eq!(a.tip(gid), c.tip(gid));
        // One vote each: the owner's goes first.
        let winner = one.commit;
        for (mine, out) in [(one.commit, &at_a), (two.commit, &at_b)] {
            let lost =
                out.iter().any(|o| matches!(o, Outcome::OwnCommitLost { commit, .. } if *commit == mine));
            assert_eq!(lost, mine != winner);
        }
        // All talk on the one tip.
        let sent = c.send(gid, "one tip");
        assert_eq!(texts(&give(&mut a, gid, &published(&sent))), ["one tip"]);
        assert_eq!(texts(&give(&mut b, gid, &published(&sent))), ["one tip"]);
        assert_no_reuse(&[&c]);
    }
}

#[test]
fn what_was_said_on_the_losing_branch_is_said_again_and_shown_once() {
    let (mut a, mut b, mut c) = (Device::new(1, 1), Device::new(2, 1), Device::new(3, 1));
    let gid = a.create("tea");
    let objects = a.add(gid, &mut [&mut b, &mut c]);
    for d in [&mut a, &mut b, &mut c] {
        give(d, gid, &objects);
    }
    let one = a.update(gid);
    let two = b.update(gid);
    let from_a: Vec<_> = (0..3).map(|i| a.send(gid, &format!("a{i}"))).collect();
    let from_b: Vec<_> = (0..3).map(|i| b.send(gid, &format!("b{i}"))).collect();
    // Carol gets Alice's branch with one of its messages before she hears of
    // Bob's.
    give(&mut c, gid, &publish(&one));
    give(&mut c, gid, &published(&from_a[0]));
    for sent in &from_b {
        give(&mut c, gid, &published(sent));
    }
    give(&mut c, gid, &publish(&two));
    let at_a = give(&mut a, gid, &publish(&two));
    let at_b = give(&mut b, gid, &publish(&one));
    let resends: usize =
        at_a.iter().chain(&at_b).map(|o| if let Outcome::Resend(ids) = o { ids.len() } else { 0 }).sum();
    assert_eq!(resends, 3, "the loser's three events are to be sent again");
    settle(gid, &mut [&mut a, &mut b, &mut c]);
    assert_eq!((a.tip(gid), b.tip(gid)), (c.tip(gid), c.tip(gid)));
    assert_eq!((a.shown.len(), b.shown.len(), c.shown.len()), (3, 3, 6));
    for d in [&a, &b, &c] {
        assert!(d.shown.values().all(|n| *n == 1), "an event was shown twice");
    }
    assert_no_reuse(&[&a, &b, &c]);
}

#[test]
fn an_add_that_lost_is_reported_and_can_be_made_again() {
    let (mut a, mut b) = (Device::new(10, 1), Device::new(40, 1));
    let (mut c, mut d) = (Device::new(60, 1), Device::new(70, 1));
    let gid = a.create("tea");
    let objects = a.add(gid, &mut [&mut b, &mut c]);
    for other in [&mut b, &mut c] {
        give(other, gid, &objects);
    }
    let package = d.package();
    let add = kith_mls::Add { package, inbox: kith_wire::ids::TopicId(d.id().0) };
    let one = a.commit(gid, &Change { adds: vec![add], ..Change::default() }).unwrap();
    let two = b.update(gid);
    a.welcome(&one, &mut d);
    // Carol goes with Bob: two of three.
    give(&mut c, gid, &publish(&two));
    let vote = c.mark(gid).unwrap();
    let out = give(&mut a, gid, &[publish(&two), vec![vote.clone()]].concat());
    let lost = out.iter().any(|o| {
        matches!(
            o,
            Outcome::OwnCommitLost { intent, .. } if intent.added == [(d.account(), d.id())]
        )
    });
    assert!(lost);
    assert!(out.iter().any(|o| matches!(o, Outcome::Tip(t) if t.removed == [d.account()] && t.switched)));
    give(&mut b, gid, &[vote]);
    // The joiner is stranded until it is added again.
    let objects = a.add(gid, &mut [&mut d]);
    for other in [&mut b, &mut c] {
        give(other, gid, &objects);
    }
    settle(gid, &mut [&mut a, &mut b, &mut c, &mut d]);
    for other in [&b, &c, &d] {
        assert_eq!(other.tip(gid), a.tip(gid));
    }
    let sent = b.send(gid, "welcome");
    assert_eq!(texts(&give(&mut d, gid, &published(&sent))), ["welcome"]);
}

#[test]
fn who_is_out_is_listened_to_about_a_branch_that_won() {
    let (mut a, mut b, mut c) = (Device::new(1, 1), Device::new(2, 1), Device::new(3, 1));
    let gid = a.create("tea");
    a.add(gid, &mut [&mut b, &mut c]);
    settle(gid, &mut [&mut a, &mut b, &mut c]);
    // Cut off from Alice, Bob changes the group, and Carol follows him.
    let theirs = b.update(gid);
    give(&mut c, gid, &publish(&theirs));
    let vote = c.mark(gid).unwrap();
    give(&mut b, gid, &[vote]);
    // Alice goes on alone, removes Bob, and Carol is away from now on.
    let alone = a.update(gid);
    let out = Change { remove_accounts: vec![b.account()], ..Change::default() };
    let removed = a.commit(gid, &out).unwrap();
    give(&mut b, gid, &[publish(&alone), publish(&removed)].concat());
    assert_eq!((a.tip(gid), b.tip(gid)), (removed.state, theirs.state), "two of three stand with Bob");
    // What she says to him tells no more than he knows.
    let hello = b.hello(gid);
    let back = a.hello_back(gid, b.id(), &hello).unwrap();
    let back = Hello::from_bytes(&back).unwrap();
    let said = Hello::from_bytes(&hello).unwrap();
    assert_eq!(back.tip, alone.state);
    assert!(back.marks.iter().all(|(d, end)| *d == b.id() || end.n <= said.marks[d].n));
    assert!(back.vv.keys().all(|d| said.vv.contains_key(d)));
    // She hears of the branch and carries the removal out there.
    let back = a.hello_back(gid, b.id(), &hello).unwrap();
    let objects = b.answer(gid, a.id(), &back);
    give(&mut a, gid, &objects);
    assert_eq!(a.tip(gid), theirs.state);
    let hello = b.hello(gid);
    assert!(a.hello_back(gid, b.id(), &hello).is_none(), "he stands where it is known to");
    let again = a.commit(gid, &Change::default()).unwrap();
    for d in [&mut b, &mut c] {
        give(d, gid, &publish(&again));
    }
    assert_eq!((b.me_in(gid), c.tip(gid)), (false, a.tip(gid)));
}

#[test]
fn who_comes_in_learns_of_an_order_on_a_branch_that_it_never_saw() {
    let (mut a, mut b, mut c) = (Device::new(1, 1), Device::new(2, 1), Device::new(3, 1));
    let mut second = Device::new(2, 2);
    let gid = a.create("tea");
    a.add(gid, &mut [&mut b, &mut c]);
    settle(gid, &mut [&mut a, &mut b, &mut c]);
    // Bob changes the group and leaves it there, while Alice lets his second
    // device in; Carol follows her.
    b.update(gid);
    b.run(|e, tx, now| e.leave(tx, now, gid)).unwrap();
    let add = kith_mls::Add { package: second.package(), inbox: kith_wire::ids::TopicId(second.id().0) };
    let won = a.commit(gid, &Change { adds: vec![add], ..Change::default() }).unwrap();
    give(&mut c, gid, &publish(&won));
    a.welcome(&won, &mut second);
    settle(gid, &mut [&mut a, &mut b, &mut c, &mut second]);
    let leaves = vec![kith_wire::group::Target::Account(b.account())];
    for d in [&a, &b, &c, &second] {
        assert_eq!(d.tip(gid), won.state);
        assert_eq!(kith_mls::view::duties(&d.store, gid).unwrap().targets, leaves);
    }
    // And so does who comes in later.
    let mut late = Device::new(4, 1);
    let objects = a.add(gid, &mut [&mut late]);
    for d in [&mut b, &mut c, &mut second] {
        give(d, gid, &objects);
    }
    settle(gid, &mut [&mut a, &mut c, &mut late]);
    for d in [&b, &second] {
        assert!(!d.me_in(gid), "the leave was carried out by the next commit");
    }
    for d in [&c, &late] {
        assert_eq!(d.tip(gid), a.tip(gid));
    }
    let sent = late.send(gid, "hello");
    assert_eq!(texts(&give(&mut a, gid, &published(&sent))), ["hello"]);
}

#[test]
fn old_images_go_and_the_conversation_goes_on() {
    let (mut a, mut b) = (Device::new(1, 1), Device::new(2, 1));
    let gid = a.create("tea");
    a.add(gid, &mut [&mut b]);
    let mut bytes = Vec::new();
    for i in 0..30 {
        let commit = if i % 2 == 0 { a.update(gid) } else { b.update(gid) };
        let other = if i % 2 == 0 { &mut b } else { &mut a };
        give(other, gid, &publish(&commit));
        settle(gid, &mut [&mut a, &mut b]);
        bytes.push(kith_store::Read::scan_table(&a.store, kith_store::Table::Images).unwrap().len());
    }
    assert!(bytes[29] <= bytes[5] + 30, "images pile up: {bytes:?}");
    assert!(bytes[29] < 3 * 16, "everybody is past the old states: {bytes:?}");
    let sent = a.send(gid, "still here");
    assert_eq!(texts(&give(&mut b, gid, &published(&sent))), ["still here"]);
}

#[test]
fn who_was_away_for_long_catches_up_by_sync() {
    let (mut a, mut b, mut c) = (Device::new(1, 1), Device::new(2, 1), Device::new(3, 1));
    let gid = a.create("tea");
    a.add(gid, &mut [&mut b, &mut c]);
    settle(gid, &mut [&mut a, &mut b, &mut c]);
    for i in 0..20 {
        let commit = a.update(gid);
        give(&mut b, gid, &publish(&commit));
        let sent = a.send(gid, &format!("m{i}"));
        give(&mut b, gid, &published(&sent));
    }
    // Carol had made a commit of her own before she came back.
    let own = c.update(gid);
    let said: Vec<_> = (0..3).map(|i| c.send(gid, &format!("c{i}"))).collect();
    for d in [&mut a, &mut b] {
        give(d, gid, &publish(&own));
        for sent in &said {
            give(d, gid, &published(sent));
        }
    }
    settle(gid, &mut [&mut a, &mut b, &mut c]);
    assert_eq!(c.tip(gid), a.tip(gid));
    assert_eq!(c.shown.len(), 20);
    for d in [&a, &b] {
        for sent in &said {
            assert_eq!(d.shown.get(&sent.id), Some(&1), "what she had said is not lost");
        }
    }
}

#[test]
fn many_commits_made_alone_can_still_be_given_up() {
    let (mut a, mut b, mut c) = (Device::new(1, 1), Device::new(2, 1), Device::new(3, 1));
    let gid = a.create("tea");
    a.add(gid, &mut [&mut b, &mut c]);
    settle(gid, &mut [&mut a, &mut b, &mut c]);
    // Cut off from the others, days pass.
    for i in 0..6 {
        c.update(gid);
        c.now += 86_400_000;
        c.send(gid, &format!("c{i}"));
    }
    for i in 0..12 {
        let commit = a.update(gid);
        give(&mut b, gid, &publish(&commit));
        let sent = a.send(gid, &format!("a{i}"));
        give(&mut b, gid, &published(&sent));
    }
    settle(gid, &mut [&mut a, &mut b, &mut c]);
    assert_eq!((c.tip(gid), b.tip(gid)), (a.tip(gid), a.tip(gid)));
    assert_eq!((a.shown.len(), b.shown.len(), c.shown.len()), (6, 18, 12));
}
