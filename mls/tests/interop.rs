//! A member with another implementation of MLS (mls-rs) in a group of Kith
//! engines: it joins, reads, writes, follows commits, and makes its own.
mod common;
mod guest;

use common::*;
use guest::{Taken, guest};
use kith_mls::{Change, EngineError, Outcome};
use kith_wire::group::{CommitReason, EXTENSION_TYPE, Role, RoleEntry};

/// Lifetime of Kith's key packages, in seconds from 1970 on.
const LIFETIME_S: u64 = 4_000_000_000;

/// Keys of the first device of account 2.
fn bobs_keys() -> kith_mls::DeviceKeys {
    Device::new(2, 1).keys
}

fn topic(device: &Device, gid: kith_wire::ids::GroupId) -> kith_wire::crypto::Secret {
    kith_mls::view::topics(&device.store, gid).unwrap().current.unwrap().secret
}

#[test]
fn a_guest_joins_talks_and_follows_commits_until_it_is_removed() {
    let (mut a, mut c) = (Device::new(1, 1), Device::new(3, 1));
    let mut b = guest(bobs_keys(), LIFETIME_S);
    let gid = a.create("tea");
    // Bob and Carol come by one commit: each Welcome is cut to its device.
    let carol = kith_mls::Add { package: c.package(), inbox: kith_wire::ids::TopicId(c.id().0) };
    let added = a.commit(gid, &Change { adds: vec![b.add(), carol], ..Change::default() }).unwrap();
    let bob_mark = b.join(&a.welcome_bytes(&added, b.id()), &added.bundle);
    let joined = a.welcome(&added, &mut c);
    assert_eq!(b.state(), a.tip(gid));
    assert_eq!(b.take(&joined.mark), Taken::Noted);
    for d in [&mut a, &mut c] {
        let out = d.ingest(gid, &bob_mark);
        assert!(out.iter().any(|o| matches!(o, Outcome::Seen { device, .. } if *device == b.id())));
    }
    a.ingest(gid, &joined.mark);

    // Both ways, and acknowledged.
    let sent = a.send(gid, "hello");
    give(&mut c, gid, &published(&sent));
    assert_eq!(b.take(&sent.envelope), Taken::Text("hello".into()));
    let reply = b.send("hi");
    for d in [&mut a, &mut c] {
        let out = d.ingest(gid, &reply);
        assert_eq!(texts(&out), ["hi"]);
        assert_eq!(events(&out)[0].account, b.account());
        assert!(matches!(d.ingest(gid, &reply)[..], [Outcome::Known]));
    }
    let mark = b.mark();
    let out = a.ingest(gid, &mark);
    assert!(out.iter().any(|o| matches!(o, Outcome::Acked { up_to_seq: 1, .. })));
    c.ingest(gid, &mark);

    // Fresh keys of two members, one after the other.
    for who in 0..2 {
        let update = if who == 0 { a.update(gid) } else { c.update(gid) };
        let objects = publish(&update);
        give(if who == 0 { &mut c } else { &mut a }, gid, &objects);
        assert_eq!(b.take(&update.envelope), Taken::Moved);
        assert_eq!(b.state(), update.state);
        let mark = b.mark();
        let reply = b.send("still here");
        for d in [&mut a, &mut c] {
            assert_eq!(d.tip(gid), update.state);
            d.ingest(gid, &mark);
            assert_eq!(texts(&d.ingest(gid, &reply)), ["still here"]);
        }
        let sent = c.send(gid, "and I");
        assert_eq!(texts(&give(&mut a, gid, &published(&sent))), ["and I"]);
        assert_eq!(b.take(&sent.envelope), Taken::Text("and I".into()));
    }

    // Carol is removed: the topic that begins there is the same for both.
    let change = Change { remove_accounts: vec![c.account()], ..Change::default() };
    let removal = a.commit(gid, &change).unwrap();
    for object in publish(&removal) {
        b.take(&object);
    }
    assert_eq!(b.state(), a.tip(gid));
    assert_eq!(b.topic(), topic(&a, gid));
    give(&mut c, gid, &publish(&removal));
    let mark = b.mark();
    let reply = b.send("without carol");
    assert_eq!(texts(&give(&mut a, gid, &[mark, reply.clone()])), ["without carol"]);
    assert!(texts(&c.ingest(gid, &reply)).is_empty());
    let sent = a.send(gid, "so it is");
    assert_eq!(b.take(&sent.envelope), Taken::Text("so it is".into()));

    // And Bob himself.
    let change = Change { remove_accounts: vec![b.account()], ..Change::default() };
    let removal = a.commit(gid, &change).unwrap();
    assert_eq!(b.take(&removal.envelope), Taken::Out);
    assert_eq!(a.accounts(gid), [a.account()].into());
}

#[test]
fn a_guests_own_commits_are_followed() {
    let (mut a, mut c) = (Device::new(1, 1), Device::new(3, 1));
    let mut b = guest(bobs_keys(), LIFETIME_S);
    let gid = a.create("tea");
    let added = a.commit(gid, &Change { adds: vec![b.add()], ..Change::default() }).unwrap();
    let mark = b.join(&a.welcome_bytes(&added, b.id()), &added.bundle);
    a.ingest(gid, &mark);

    // Fresh keys.
    let meta = b.meta(CommitReason::Update, &[], false);
    let update = b.commit(&meta, |c| c);
    let mark = b.apply();
    let out = a.ingest(gid, &update.envelope);
    assert!(out.iter().any(|o| matches!(o, Outcome::Tip(t) if t.by == b.account() && !t.rotated)));
    a.ingest(gid, &mark);
    assert_eq!(b.state(), a.tip(gid));

    // Bob is made an admin, by new settings in the group context.
    let mut ext = kith_mls::view::group(&a.store, gid).unwrap().ext;
    ext.policy.title = "coffee".into();
    ext.roles.insert(b.account(), RoleEntry { role: Role::Admin, epoch: 3 });
    let policy = a.commit(gid, &Change { ext: Some(ext.clone()), ..Change::default() }).unwrap();
    for object in publish(&policy) {
        b.take(&object);
    }
    assert_eq!(b.state(), a.tip(gid));
    let found = b.group().context().extensions.get(EXTENSION_TYPE.into()).unwrap();
    assert_eq!(found.extension_data, ext.to_bytes());
    a.ingest(gid, &b.mark());

    // He adds Carol, whose engine joins by his Welcome, on a topic that begins there.
    let package = mls_rs::MlsMessage::from_bytes(&c.package()).unwrap();
    let meta = b.meta(CommitReason::Add, &[], true);
    let add = b.commit(&meta, |c| c.add_member(package).unwrap());
    let mark = b.apply();
    let [welcome, bundle] = b.welcome(&add, c.id(), &mark);
    let joined = c.run(|e, tx, now| e.join(tx, now, &welcome, &bundle)).unwrap();
    assert_eq!(joined.inviter, (b.account(), b.id()));
    assert_eq!(joined.ext, ext);
    let out = give(&mut a, gid, &[add.envelope.clone(), mark, joined.mark.clone()]);
    assert!(out.iter().any(|o| matches!(o, Outcome::Tip(t) if t.added == [c.account()] && t.rotated)));
    b.take(&joined.mark);
    for d in [&a, &c] {
        assert_eq!(d.tip(gid), b.state());
        assert_eq!(topic(d, gid), b.topic());
    }
    let sent = c.send(gid, "thanks");
    assert_eq!(texts(&give(&mut a, gid, &published(&sent))), ["thanks"]);
    assert_eq!(b.take(&sent.envelope), Taken::Text("thanks".into()));
    let reply = b.send("welcome");
    for d in [&mut a, &mut c] {
        assert_eq!(texts(&d.ingest(gid, &reply)), ["welcome"]);
    }

    // And removes her again, by an order that the commit carries.
    let leaf = kith_mls::view::group(&a.store, gid).unwrap();
    let leaf = leaf.members.iter().find(|m| m.device == c.id()).unwrap().leaf;
    let meta = b.meta(CommitReason::Remove, &[], true);
    let lawless = b.commit(&meta, |c| c.remove_member(leaf).unwrap());
    b.withdraw();
    assert!(matches!(a.ingest(gid, &lawless.envelope)[..], [Outcome::Rejected(_)]));
    let [mark, order] = b.order(c.account(), &[c.id()]);
    let meta = b.meta(CommitReason::Remove, std::slice::from_ref(&order), true);
    let removal = b.commit(&meta, |c| c.remove_member(leaf).unwrap());
    let objects = [mark, order, removal.envelope, b.apply()];
    let out = give(&mut a, gid, &objects);
    assert!(out.iter().any(|o| matches!(o, Outcome::Tip(t) if t.removed == [c.account()] && t.rotated)));
    let out = give(&mut c, gid, &objects);
    assert!(out.iter().any(|o| matches!(o, Outcome::Tip(t) if t.me_removed)));
    assert_eq!(b.state(), a.tip(gid));
    assert_eq!(b.topic(), topic(&a, gid));
    let sent = a.send(gid, "two again");
    assert_eq!(b.take(&sent.envelope), Taken::Text("two again".into()));
}

#[test]
fn what_a_guest_does_against_the_rules_is_refused() {
    let mut a = Device::new(1, 1);
    let gid = a.create("tea");
    // mls-rs's own lifetime of a year: clocks would decide.
    let other = guest(bobs_keys(), 365 * 86_400);
    let change = Change { adds: vec![other.add()], ..Change::default() };
    assert!(matches!(a.commit(gid, &change), Err(EngineError::Package(_))));

    let mut b = guest(bobs_keys(), LIFETIME_S);
    let added = a.commit(gid, &Change { adds: vec![b.add()], ..Change::default() }).unwrap();
    let mark = b.join(&a.welcome_bytes(&added, b.id()), &added.bundle);
    a.ingest(gid, &mark);
    let parent = b.state();
    let tip = a.tip(gid);
    let mut refused = |object: &[u8]| {
        assert!(matches!(a.ingest(gid, object)[..], [Outcome::Rejected(_)]));
        assert_eq!(a.tip(gid), tip);
    };
    // A commit that says nothing to Kith, or names another parent or device.
    let builder = b.group().commit_builder();
    let silent = builder.build().unwrap().commit_message.to_bytes().unwrap();
    b.withdraw();
    refused(&b.envelope(parent, silent));
    for wrong in 0..2 {
        let mut meta = b.meta(CommitReason::Update, &[], false);
        if wrong == 0 {
            meta.parent.0[0] ^= 1;
        } else {
            meta.device.0[0] ^= 1;
        }
        let commit = b.commit(&meta, |c| c);
        b.withdraw();
        refused(&commit.envelope);
    }
    // Settings that a plain member may not change.
    let meta = b.meta(CommitReason::Policy, &[], false);
    let mut ext = b.group().context().extensions.clone();
    let mut settings =
        kith_wire::group::GroupExt::from_bytes(&ext.get(EXTENSION_TYPE.into()).unwrap().extension_data)
            .unwrap();
    settings.policy.title = "mine".into();
    ext.set(mls_rs::Extension::new(EXTENSION_TYPE.into(), settings.to_bytes()));
    let commit = b.commit(&meta, |c| c.set_group_context_ext(ext).unwrap());
    b.withdraw();
    refused(&commit.envelope);
    // A right one passes after all of them.
    let meta = b.meta(CommitReason::Update, &[], false);
    let commit = b.commit(&meta, |c| c);
    b.apply();
    assert!(a.ingest(gid, &commit.envelope).iter().any(|o| matches!(o, Outcome::Tip(_))));
    assert_eq!(b.state(), a.tip(gid));
}
