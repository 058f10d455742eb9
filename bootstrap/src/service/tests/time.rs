//! What has ended goes, and takes its charges along.

use super::*;

#[test]
fn entries_end_and_free_their_bytes() {
    let mut lab = Lab::new(small());
    let a = lab.link();
    let t = topic(1);
    lab.open_both(a, &t);
    let short = Call::append(t.id(), entry(&t, "short"), 10);
    lab.call(a, short.clone()).unwrap();
    lab.append(a, &t, &entry(&t, "long"));
    lab.wait(9_000);
    assert_eq!(lab.read(a, &t, 0).len(), 2);
    lab.wait(61_000);
    assert_eq!(lab.read(a, &t, 0).len(), 1);
    let answer = lab.call(a, short).unwrap();
    let again = lab.receipt(answer, &t, &entry(&t, "short"));
    assert!(again.stored_until_ms > lab.now.wall_ms);
    lab.wait(KEEP_S * 1000 + 60_001);
    assert!(lab.read(a, &t, 0).is_empty());
    assert_eq!(lab.relay.usage().unwrap(), (0, 1));
}

#[test]
fn an_ended_entry_can_come_back_before_it_is_swept() {
    let mut lab = Lab::new(small());
    let a = lab.link();
    let t = topic(1);
    lab.open_both(a, &t);
    let e = entry(&t, "x");
    let first = lab.append(a, &t, &e);
    lab.now.wall_ms += KEEP_S * 1000 + 1;
    let second = lab.append(a, &t, &e);
    assert!(second.index > first.index && second.stored_until_ms > first.stored_until_ms);
    // The old end comes up and must not take the new entry.
    lab.wait(60_001);
    assert_eq!(lab.read(a, &t, 0).len(), 1);
}

#[test]
fn idle_topics_end_and_start_again_above_their_old_indexes() {
    let mut lab = Lab::new(small());
    let a = lab.link();
    let (t, i) = (topic(1), inbox(2));
    lab.open_both(a, &t);
    let old = lab.append(a, &t, &entry(&t, "x")).index;
    lab.open_both(a, &i);
    let records = vec![kith_wire::relay::Bytes(vec![1; 600])];
    lab.call(a, Call::PutPackages { inbox: i.id(), records, last_resort: None }).unwrap();
    lab.call(a, watch_one(&i, 0, 0)).unwrap();
    for _ in 0..15 {
        lab.wait(DAY_MS);
    }
    assert_eq!(lab.relay.usage().unwrap().1, 1, "what is watched stays");
    lab.relay.link_down(a);
    for _ in 0..15 {
        lab.wait(DAY_MS);
    }
    assert_eq!(lab.relay.usage().unwrap(), (0, 0));
    assert!(lab.store.approximate_bytes() < 200, "{}", lab.store.approximate_bytes());
    let b = lab.link();
    lab.open_both(b, &t);
    assert!(lab.append(b, &t, &entry(&t, "y")).index > old);
}

#[test]
fn sweeping_goes_in_steps() {
    let mut lab = Lab::new(Limits {
        topic_bytes: 64 << 20,
        sender_bytes: 64 << 20,
        total_bytes: 64 << 20,
        calls_per_s: 100_000,
        ..small()
    });
    let a = lab.link();
    let t = topic(1);
    lab.open_both(a, &t);
    for i in 0..600 {
        lab.send(a, Call::append(t.id(), entry(&t, &i.to_string()), KEEP_S));
    }
    lab.settle();
    lab.now.wall_ms += 2 * KEEP_S * 1000;
    lab.now.mono_ms += 2 * KEEP_S * 1000;
    let mut steps = 0;
    while lab.relay.poll_timeout() <= lab.now.mono_ms {
        lab.relay.tick(lab.now).unwrap();
        lab.settle();
        steps += 1;
    }
    assert_eq!(steps, 3);
    assert_eq!(lab.relay.usage().unwrap().0, 0);
}

#[test]
fn token_counts_end_with_their_tokens() {
    let mut lab = Lab::new(small());
    let a = lab.link();
    let keys = inbox(1);
    lab.open_both(a, &keys);
    let t = token(&lab, &keys, 5, 1, 0);
    let call = Call::deliver(&t, descriptor(&keys), &lab.id(), entry(&keys, "1"), KEEP_S);
    lab.call(a, call).unwrap();
    let before = lab.store.approximate_bytes();
    lab.wait(DAY_MS + 60_001);
    assert!(lab.store.approximate_bytes() + 1000 < before);
    let mut keys_left = 0;
    use kith_store::Read as _;
    keys_left += lab.store.scan_table(Table::LogTokens).unwrap().len();
    assert_eq!(keys_left, 0);
}
