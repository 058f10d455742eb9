//! Controls: worse rules in the same world, which must fail there. A check
//! that has never failed proves nothing.

use std::collections::BTreeMap;

use kith_rule::{Commit, Decision, History};
use kith_wire::ids::StateId;

use super::maker::{Maker, device};
use super::sim::{Rule, Setting, ours, run};
use kith_wire::group::Role;

/// The tip that a choice among siblings leads to.
fn walk(history: &History, better: impl Fn(&Commit, usize) -> (usize, [u8; 32])) -> Decision {
    let mut d = ours(history);
    let mut below: BTreeMap<StateId, Vec<&Commit>> = BTreeMap::new();
    for c in history.commits().filter(|c| history.state(&c.child).is_some()) {
        below.entry(c.parent).or_default().push(c);
    }
    fn depth(below: &BTreeMap<StateId, Vec<&Commit>>, at: StateId) -> usize {
        below.get(&at).into_iter().flatten().map(|c| 1 + depth(below, c.child)).max().unwrap_or(0)
    }
    d.tip = history.anchor();
    d.path.clear();
    while let Some(c) =
        below.get(&d.tip).and_then(|k| k.iter().max_by_key(|c| better(c, depth(&below, c.child))))
    {
        d.path.push(c.id);
        d.tip = c.child;
    }
    let state = history.state(&d.tip).unwrap();
    d.open = d
        .effective
        .iter()
        .copied()
        .filter(|o| history.order(o).is_some_and(|o| !state.has_enacted(o.kind, &o.target)))
        .collect();
    d.rejected.clear();
    d
}

/// The longest branch; then the lowest id.
fn by_depth(history: &History) -> Decision {
    walk(history, |c, depth| (depth, c.id.0.map(|b| !b)))
}

/// The lowest id.
fn by_digest(history: &History) -> Decision {
    walk(history, |c, _| (0, c.id.0.map(|b| !b)))
}

/// Runs in which a withheld branch of six commits undoes what three of four
/// accounts have gone on with, of 200.
fn undone(rule: Rule) -> usize {
    (0..200)
        .filter(|seed| {
            let mut m = Maker::new(*seed, &[(Role::Member, 1); 4]);
            let root = m.genesis;
            let honest = m.chain(&[device(0, 0), device(1, 0), device(2, 0)], root, 3);
            m.branch(device(3, 0), root, 6);
            rule(&m.history()).tip != honest
        })
        .count()
}

/// Runs in which who is ordered out is in the tree at the end, of 200: its
/// six commits race against the one that removes it.
fn kept(rule: Rule) -> usize {
    (0..200)
        .filter(|seed| {
            let mut m = Maker::new(*seed, &[(Role::Owner, 1), (Role::Member, 1), (Role::Admin, 1)]);
            let root = m.genesis;
            let order = m.remove(device(0, 0), 2, root);
            m.branch(device(2, 0), root, 6);
            m.enact(device(1, 0), root, order, 2);
            let tip = rule(&m.history()).tip;
            m.state(tip).leaf(&device(2, 0)).is_some()
        })
        .count()
}

/// Runs of the simulation with rogues that do not end as they must, of `n`.
fn restless(rule: Rule, n: u64) -> usize {
    (0..n).filter(|seed| run(Setting { seed: *seed, rogues: true, ticks: 60 }, rule).1.is_err()).count()
}

#[test]
fn scripts_see_worse_rules() {
    assert_eq!((undone(ours), kept(ours)), (0, 0));
    assert_eq!((undone(by_depth), kept(by_depth)), (200, 200));
    assert!(undone(by_digest) > 50 && kept(by_digest) > 50);
}

#[test]
fn simulation_sees_worse_rules() {
    let fails =
        |rule: Rule| (0..40).any(|seed| run(Setting { seed, rogues: true, ticks: 60 }, rule).1.is_err());
    assert!(fails(by_depth));
    assert!(fails(by_digest));
}

#[test]
#[ignore = "figures for the record"]
fn control_figures() {
    for (name, rule) in [("votes", ours as Rule), ("depth", by_depth), ("digest", by_digest)] {
        println!("withheld_branch_wins_{name}: {} of 200 runs", undone(rule));
        println!("target_stays_{name}: {} of 200 runs", kept(rule));
        println!("restless_{name}: {} of 40 runs", restless(rule, 40));
    }
}
