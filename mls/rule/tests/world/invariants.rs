//! Invariants over the histories that the simulation makes.

use std::collections::{BTreeMap, BTreeSet};

use kith_rule::{Decision, Step, decide};
use kith_wire::group::{OrderKind, Target};
use kith_wire::ids::{AccountId, CommitId, DeviceId, StateId};
use proptest::prelude::*;

use super::maker::{Fact, Maker, Rng, account_no};
use super::sim::{Setting, World, ours, run};

fn world(seed: u64, rogues: bool) -> World {
    run(Setting { seed, rogues, ticks: 60 }, ours).0
}

/// The decision over these facts, put in as they come.
fn over(m: &Maker, facts: &[&Fact]) -> Decision {
    let mut h = m.empty();
    facts.iter().for_each(|f| f.put(&mut h));
    decide(&h).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// INV-3, INV-4: permuted, doubled, in batches with decisions between, and
    /// rebuilt from what was stored: one decision. The facts hold neither time
    /// nor keys nor account statements.
    #[test]
    fn arrival_does_not_matter(seed in 0u64..10_000, shuffle in any::<u64>()) {
        let w = world(seed, true);
        let want = w.m.decide();
        let mut rng = Rng(shuffle);
        let mut facts: Vec<&Fact> = w.m.facts.iter().collect();
        let again: Vec<&Fact> = facts.iter().copied().filter(|_| rng.chance(30)).collect();
        facts.extend(again);
        rng.shuffle(&mut facts);
        prop_assert_eq!(&over(&w.m, &facts), &want);
        let mut h = w.m.empty();
        for batch in facts.chunks(1 + rng.below(40)) {
            batch.iter().for_each(|f| f.put(&mut h));
            let _ = decide(&h);
            h = h.clone();
        }
        prop_assert_eq!(decide(&h).unwrap(), want);
    }

    /// INV-14: with all states and commits made anew, under other ids, the
    /// same branch wins, unless two commits of one account are all there is.
    #[test]
    fn ids_choose_nothing(seed in 0u64..10_000, other in any::<u64>()) {
        let w = world(seed, true);
        let want = w.m.decide();
        prop_assume!(want.dropped.is_empty());
        let mut rng = Rng(other);
        let states: BTreeMap<StateId, StateId> =
            w.m.states.keys().map(|s| (*s, StateId(rng.id()))).collect();
        let mut m = Maker::new(seed, &[]);
        m.gid = w.m.gid;
        m.genesis = states[&w.m.genesis];
        let again = |s: &kith_rule::State| s.renamed(states[&s.id()]);
        m.states = w.m.states.values().map(|s| (states[&s.id()], again(s))).collect();
        let mut commits: BTreeMap<CommitId, CommitId> = BTreeMap::new();
        let mut name = |c: CommitId| *commits.entry(c).or_insert_with(|| CommitId(rng.id()));
        m.facts = w.m.facts.iter().cloned().map(|f| match f {
            Fact::Commit(mut c, s) => {
                c.id = name(c.id);
                c.parent = states[&c.parent];
                c.child = states[&c.child];
                Fact::Commit(c, again(&s))
            }
            Fact::Mark(mut k) => {
                k.at = states[&k.at];
                k.bad = k.bad.into_iter().map(&mut name).collect();
                Fact::Mark(k)
            }
            Fact::Order(mut o) => {
                o.at = states[&o.at];
                Fact::Order(o)
            }
        }).collect();
        let got = m.decide();
        if want.forks.values().chain(got.forks.values()).all(|f| f.step != Step::Id) {
            prop_assert_eq!(got.tip, states[&want.tip]);
        }
    }

    /// INV-15, and more: an order with an honest cut takes no majority away
    /// anywhere, whatever state it refers to.
    #[test]
    fn no_order_takes_a_majority_away(seed in 0u64..10_000, by in any::<u64>()) {
        let mut w = world(seed, false);
        let before = w.m.decide();
        let gid = w.m.gid;
        let mut rng = Rng(by);
        let mut may = Vec::new();
        for (id, s) in &w.m.states {
            for l in s.leaves() {
                let below = s.voters().into_keys().filter(|t| s.may_remove(&gid, &l.account, t));
                may.extend(below.map(|t| (l.device, t, *id)));
            }
        }
        prop_assume!(!may.is_empty());
        let (device, target, at) = may[rng.below(may.len())];
        w.m.mark(device, at);
        let cut = w.m.cut(account_no(&target));
        w.m.order(device, OrderKind::Remove, Target::Account(target), at, cut);
        let after = w.m.decide();
        for (p, fork) in &before.forks {
            for kid in fork.kids.iter().filter(|k| k.votes.len() * 2 > fork.electorate) {
                let now = after.forks.get(p).and_then(|f| {
                    let k = f.kids.iter().find(|k| k.commit == kid.commit)?;
                    Some(k.votes.len() * 2 > f.electorate)
                });
                prop_assert_eq!(now, Some(true));
            }
        }
    }

    /// Votes counted a second way, slowly and from the facts.
    #[test]
    fn votes_are_the_first_marks(seed in 0u64..10_000, rogues in any::<bool>()) {
        let w = world(seed, rogues);
        let d = w.m.decide();
        let mut marks: BTreeMap<DeviceId, BTreeMap<u64, StateId>> = BTreeMap::new();
        for f in &w.m.facts {
            if let Fact::Mark(k) = f {
                marks.entry(k.device).or_default().insert(k.n, k.at);
            }
        }
        for (p, fork) in &d.forks {
            let state = w.m.state(*p);
            if state.voters().len() > 64 {
                continue;
            }
            let mut want: BTreeMap<CommitId, BTreeSet<AccountId>> = BTreeMap::new();
            for (account, device) in state.voters() {
                let counts = |n: u64| {
                    d.cuts.get(&device).is_none_or(|c| n <= c.votes) && d.muted.get(&device).is_none_or(|m| n < *m)
                };
                let first = marks.get(&device).into_iter().flatten().find(|(n, at)| {
                    counts(**n) && **at != *p && w.m.reaches(*p, **at) && w.m.state(**at).leaf(&device).is_some()
                });
                let Some((_, at)) = first else { continue };
                let kid = w.m.facts.iter().find_map(|f| match f {
                    Fact::Commit(c, _) if c.parent == *p && w.m.reaches(c.child, *at) => Some(c.id),
                    _ => None,
                });
                want.entry(kid.unwrap()).or_default().insert(account);
            }
            for kid in &fork.kids {
                prop_assert_eq!(&kid.votes, &want.remove(&kid.commit).unwrap_or_default());
            }
        }
    }
}
