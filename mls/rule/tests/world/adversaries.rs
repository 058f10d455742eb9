//! Scripted adversaries. Each test says in one line what must hold.

use std::collections::{BTreeMap, BTreeSet};

use kith_rule::{Commit, Step, Void};
use kith_wire::group::{OrderKind, Role, Target};
use kith_wire::ids::{CommitId, DeviceId, OrderId, StateId};

use super::maker::{Change, Fact, Maker, account, device};

fn d(a: usize) -> DeviceId {
    device(a, 0)
}

fn members(n: usize) -> Vec<(Role, usize)> {
    vec![(Role::Member, 1); n]
}

/// One owner, the rest members.
fn owned(n: usize) -> Vec<(Role, usize)> {
    let mut out = members(n);
    out[0].0 = Role::Owner;
    out
}

/// A branch withheld from the others, however deep, does not move those who
/// voted.
#[test]
fn withheld_deep_branch() {
    for depth in [6, 20] {
        for seed in 0..50 {
            let mut m = Maker::new(seed, &members(4));
            let root = m.genesis;
            let honest = m.chain(&[d(0), d(1), d(2)], root, 3);
            m.branch(d(3), root, depth);
            assert_eq!(m.tip(), honest, "seed {seed}, depth {depth}");
        }
    }
}

/// Who is to be removed cannot stay by committing at the same time, whatever
/// its rank.
#[test]
fn race_against_removal() {
    for seed in 0..50 {
        let mut m = Maker::new(seed, &[(Role::Owner, 1), (Role::Admin, 1), (Role::Member, 1)]);
        let root = m.genesis;
        let order = m.remove(d(0), 1, root);
        let race = m.branch(d(1), root, 5);
        let out = m.enact(d(2), root, order, 1);
        assert_eq!(m.tip(), out, "seed {seed}");
        assert_ne!(m.tip(), race);

        // And where its branch had won before, that branch enacts.
        let mut m = Maker::new(seed, &[(Role::Owner, 1), (Role::Admin, 1), (Role::Member, 1)]);
        let race = m.branch(d(1), m.genesis, 5);
        m.mark(d(2), race);
        let order = m.remove(d(0), 1, m.genesis);
        assert_eq!(m.decide().open, BTreeSet::from([order]));
        let out = m.enact(d(2), race, order, 1);
        m.update(d(1), race);
        assert_eq!(m.tip(), out, "seed {seed}");
    }
}

/// A device's many commits on one state: four are kept, and any that somebody
/// else has marked.
#[test]
fn equivocation_of_commits_is_capped() {
    let mut m = Maker::new(1, &owned(3));
    let root = m.genesis;
    let kids: Vec<StateId> = (0..12).map(|_| m.bare(d(2), root, &Change::default())).collect();
    assert_eq!(m.decide().dropped.len(), 8);
    let dropped = kids.iter().copied().find(|k| m.decide().dropped.contains(&m.commit_of(*k))).unwrap();
    m.mark(d(1), dropped);
    let decision = m.decide();
    assert_eq!(decision.dropped.len(), 7);
    assert_eq!(decision.tip, dropped);
}

/// Appending to each of many siblings does not protect them from the cap.
#[test]
fn own_descendants_do_not_protect_siblings() {
    let mut m = Maker::new(2, &owned(3));
    let root = m.genesis;
    for _ in 0..12 {
        m.branch(d(2), root, 3);
    }
    assert_eq!(m.decide().dropped.len(), 8);
}

/// Of many authors on one state 64 are kept, and any that others have marked.
#[test]
fn siblings_of_many_authors_are_capped() {
    let mut m = Maker::new(3, &members(100));
    let root = m.genesis;
    let kids: Vec<StateId> = (0..100).map(|a| m.bare(d(a), root, &Change::default())).collect();
    let decision = m.decide();
    assert_eq!(decision.dropped.len(), 36);
    for kid in
        kids.iter().filter(|k| decision.dropped.contains(&m.commit_of(**k))).copied().collect::<Vec<_>>()
    {
        m.mark(d(0), kid);
    }
    assert!(m.decide().dropped.len() <= 1, "only its own author may have marked it");
}

/// Two marks under one number: the account stays in the electorate and votes
/// for nothing from there on.
#[test]
fn equivocation_of_marks_silences() {
    let mut m = Maker::new(4, &members(5));
    let root = m.genesis;
    let a = m.update(d(0), root);
    m.mark(d(1), a);
    let b = m.bare(d(4), root, &Change::default());
    let head = m.heads[&d(2)].clone();
    m.raw_mark(d(2), head.n + 1, head.prev, a, BTreeMap::new(), BTreeSet::new());
    assert_eq!(m.decide().forks[&root].step, Step::Live);
    m.mark(d(4), b);
    assert_eq!(m.decide().forks[&root].step, Step::Majority);
    m.raw_mark(d(2), head.n + 1, head.prev, b, BTreeMap::new(), BTreeSet::new());
    let decision = m.decide();
    let fork = &decision.forks[&root];
    assert_eq!((fork.electorate, fork.step), (5, Step::Votes));
    assert_eq!(decision.tip, a);
    assert_eq!(decision.muted, BTreeMap::from([(d(2), head.n + 1)]));
}

/// A successor that names another predecessor than the known one proves an
/// equivocation as well.
#[test]
fn a_hidden_rival_in_the_chain_silences() {
    let mut m = Maker::new(5, &members(3));
    let root = m.genesis;
    let n = m.heads[&d(2)].n;
    m.raw_mark(d(2), n + 1, Some([9; 32]), root, BTreeMap::new(), BTreeSet::new());
    assert_eq!(m.decide().muted, BTreeMap::from([(d(2), n)]));
}

/// B2: ground siblings with lower ids, after 100 commits, change nothing.
#[test]
fn lower_id_siblings_after_a_hundred_commits() {
    let mut m = Maker::new(6, &members(5));
    let tip = m.chain(&[d(0), d(1), d(2)], m.genesis, 100);
    let states: Vec<StateId> = m.states.keys().copied().filter(|s| *s != tip).collect();
    for s in states {
        for _ in 0..3 {
            let x = m.bare(d(4), s, &Change { ground: Some(0), ..Change::default() });
            m.mark(d(4), x);
        }
    }
    assert_eq!(m.tip(), tip);
}

/// B3, INV-15: the removal today of one of three old majority voters leaves
/// the old majority a majority, wherever on the chain the order refers to.
#[test]
fn removal_of_an_old_majority_voter() {
    for (late, seed) in (0..12).flat_map(|l| (0..5).map(move |s| (l, s))) {
        let mut m = Maker::new(
            seed,
            &[(Role::Owner, 1), (Role::Admin, 1), (Role::Member, 1), (Role::Admin, 1), (Role::Member, 1)],
        );
        let root = m.genesis;
        // 0 does not move past `late`, as if offline.
        let mut at = root;
        let mut refs = root;
        for i in 0..12 {
            at = m.bare(d(1), at, &Change::default());
            for v in [1, 2, 3] {
                m.mark(d(v), at);
            }
            if i < late {
                m.mark(d(0), at);
                refs = at;
            }
        }
        // A one-commit rival at the root, held by 4 alone.
        let rival = m.update(d(4), root);
        let order = {
            m.mark(d(0), refs);
            let cut = m.cut(2);
            m.order(d(0), OrderKind::Remove, Target::Account(account(2)), refs, cut)
        };
        let decision = m.decide();
        assert!(decision.effective.contains(&order));
        assert!(m.reaches(at, decision.tip), "late {late}: {:?}", decision.forks[&root]);
        assert_eq!(decision.forks[&root].step, Step::Majority);
        assert_ne!(rival, decision.tip);
    }
}

/// B3 with a malicious issuer who never acknowledged anything and cuts
/// everything: votes that most accounts had acknowledged stand.
#[test]
fn cut_of_everything() {
    let mut m = Maker::new(
        8,
        &[(Role::Owner, 1), (Role::Member, 1), (Role::Member, 1), (Role::Member, 1), (Role::Member, 1)],
    );
    let root = m.genesis;
    let tip = m.chain(&[d(1), d(2), d(3)], root, 5);
    let seen: BTreeMap<DeviceId, (u64, u64)> = (0..5).map(|a| (d(a), (0, m.heads[&d(a)].n))).collect();
    for a in [1, 2, 3] {
        m.mark_with(d(a), tip, seen.clone(), BTreeSet::new());
    }
    let fork = m.branch(d(0), root, 3);
    for target in [1, 2] {
        let cut = BTreeMap::from([(d(target), (0, 0))]);
        m.order(d(0), OrderKind::Remove, Target::Account(account(target)), fork, cut);
    }
    let decision = m.decide();
    assert_eq!(decision.tip, tip, "{:?}", decision.forks[&root]);
    assert_eq!(decision.open.len(), 2);
    // Orders and events may be cut by whoever did not accept them.
    assert_eq!(decision.cuts[&d(1)].n, 0);
}

/// A cut below what its issuer had acknowledged is read as that value.
#[test]
fn nobody_voids_what_they_had_accepted() {
    let mut m = Maker::new(9, &owned(3));
    let root = m.genesis;
    m.mark(d(2), root);
    m.mark_with(d(0), root, BTreeMap::from([(d(2), (7, 2))]), BTreeSet::new());
    m.order(d(0), OrderKind::Remove, Target::Account(account(2)), root, BTreeMap::from([(d(2), (3, 1))]));
    let cut = m.decide().cuts[&d(2)];
    assert_eq!((cut.seq, cut.n), (7, 2));
}

/// B4: in a group of lurkers a removed colluder's withheld fork that enacts
/// the order first does not beat a chain whose members enacted it, too.
#[test]
fn fork_of_lurkers_that_enacts_first() {
    for seed in 0..50 {
        let mut m = Maker::new(seed, &owned(7));
        let root = m.genesis;
        let honest = m.chain(&[d(0), d(1)], root, 8);
        let fork = m.branch(d(6), root, 10);
        let order = m.remove(d(0), 6, honest);
        // The colluder 5 enacts it on the fork.
        let enacted = m.enact(d(5), fork, order, 6);
        assert_eq!(m.tip(), enacted, "why honest members act before they follow");
        let acted = m.enact(d(1), honest, order, 6);
        assert_eq!(m.tip(), acted, "seed {seed}");
    }
}

/// B5: at each state the device with the lowest leaf there speaks for its
/// account; a second device, also one that takes a lower leaf later, does not.
#[test]
fn second_device_votes_late() {
    let mut m = Maker::new(10, &[(Role::Owner, 1), (Role::Member, 1), (Role::Member, 2), (Role::Member, 1)]);
    let root = m.genesis;
    let a = m.update(d(0), root);
    m.mark(d(2), a);
    m.mark(d(1), a);
    let b = m.bare(d(3), root, &Change::default());
    m.mark(device(2, 1), b);
    let fork = &m.decide().forks[&root];
    assert!(fork.kids.iter().any(|k| k.votes.contains(&account(2)) && m.commit_of(a) == k.commit));
    // 1 goes, and its leaf is taken by a third device of 2: below the root
    // nothing changes.
    let order = m.remove(d(0), 1, a);
    let c = m.enact(d(0), a, order, 1);
    let e = m.commit(d(2), c, &Change { add: vec![(account(2), device(2, 2))], ..Change::default() });
    assert_eq!(m.state(e).voters()[&account(2)], device(2, 2));
    let before = m.decide().forks[&root].clone();
    m.mark(device(2, 2), e);
    assert_eq!(
        m.decide().forks[&root].kids.iter().map(|k| k.votes.clone()).collect::<Vec<_>>(),
        before.kids.iter().map(|k| k.votes.clone()).collect::<Vec<_>>()
    );
}

/// A group that nobody with a role is left in: a second device in a low blank
/// leaf does not make its account the owner.
#[test]
fn nobody_becomes_owner_by_a_blank_leaf() {
    for seed in 0..20 {
        let mut m = Maker::new(seed, &owned(4));
        let left = m.bare(d(1), m.genesis, &Change { remove: vec![d(0)], ..Change::default() });
        let heir = m.state(left).heir(&m.gid).unwrap();
        for a in 1..4 {
            let add = vec![(account(a), device(a, 1))];
            let next = m.bare(d(a), left, &Change { add, ..Change::default() });
            assert_eq!(m.state(next).leaf(&device(a, 1)).unwrap().index, 0);
            assert_eq!(m.state(next).heir(&m.gid), Some(heir));
        }
    }
}

/// B6: two anchors on one chain give one tip.
#[test]
fn two_anchors_give_one_tip() {
    for seed in 0..20 {
        let mut m = Maker::new(seed, &owned(5));
        let root = m.genesis;
        m.branch(d(4), root, 3);
        let one = m.chain(&[d(0), d(1), d(2)], root, 10);
        m.branch(d(3), one, 4);
        let two = m.chain(&[d(0), d(1)], one, 5);
        let order = m.remove(d(0), 4, two);
        let three = m.enact(d(1), two, order, 4);
        m.update(d(3), two);
        let last = m.chain(&[d(0), d(2)], three, 3);
        let whole = m.decide();
        assert_eq!(whole.tip, last);
        for anchor in [one, two, three] {
            let mut h = m.history();
            h.prune(anchor);
            let decision = kith_rule::decide(&h).unwrap();
            assert_eq!(decision.tip, last);
            assert_eq!(decision.open, whole.open);
            assert!(whole.path.ends_with(&decision.path));
        }
    }
}

/// B7: a late Revoke is an order of the own account that anybody may carry: it
/// removes the device, and with an unknown counter voids nothing.
#[test]
fn late_revoke() {
    let mut m = Maker::new(11, &[(Role::Owner, 1), (Role::Member, 2), (Role::Member, 1)]);
    let root = m.genesis;
    let a = m.chain(&[d(0), d(1), d(2)], root, 4);
    let before = m.decide();
    m.mark(d(2), a);
    let head = m.heads[&d(2)].clone();
    let stolen = device(1, 1);
    m.facts.push(Fact::Order(kith_rule::Order {
        id: OrderId(m.rng.id()),
        issuer: account(1),
        device: d(2),
        n: head.n + 1,
        prev: head.prev,
        kind: OrderKind::Remove,
        target: Target::Device(stolen),
        at: a,
        lifts: Vec::new(),
        cut: BTreeMap::from([(stolen, (0, 0))]),
        statement: true,
    }));
    let after = m.decide();
    assert_eq!((after.tip, &after.forks), (before.tip, &before.forks));
    assert_eq!(after.open.len(), 1);
    assert!(after.cuts.is_empty() && after.resign.is_empty());
}

/// B7: a stolen device that orders its siblings out loses against the
/// account's own statement, whatever the ids.
#[test]
fn statement_goes_before_the_stolen_device() {
    for seed in 0..20 {
        let mut m = Maker::new(seed, &[(Role::Member, 2), (Role::Owner, 1)]);
        let root = m.genesis;
        let theft = m.order(
            d(0),
            OrderKind::Remove,
            Target::Device(device(0, 1)),
            root,
            BTreeMap::from([(device(0, 1), (0, 1))]),
        );
        let revoke = m.order(
            device(0, 1),
            OrderKind::Remove,
            Target::Device(d(0)),
            root,
            BTreeMap::from([(d(0), (0, 1))]),
        );
        for f in &mut m.facts {
            if let Fact::Order(o) = f {
                o.statement = o.id == revoke;
            }
        }
        let decision = m.decide();
        assert_eq!(decision.effective, BTreeSet::from([revoke]));
        assert_eq!(decision.void[&theft], Void::Cut);
    }
}

/// B8: a senior who was demoted cannot remove anybody with an order that
/// refers to the time before.
#[test]
fn demoted_senior_with_an_old_looking_order() {
    for seed in 0..20 {
        let mut m = Maker::new(seed, &[(Role::Owner, 1), (Role::Admin, 1), (Role::Member, 1)]);
        let root = m.genesis;
        m.mark(d(0), root);
        let cut = m.cut(1);
        let demote = m.order(d(0), OrderKind::Demote, Target::Account(account(1)), root, cut);
        let demoted = m.commit(
            d(0),
            root,
            &Change { roles: vec![(account(1), Role::Member)], enacts: vec![demote], ..Change::default() },
        );
        let promoted =
            m.commit(d(0), demoted, &Change { roles: vec![(account(2), Role::Admin)], ..Change::default() });
        let old = m.order(d(1), OrderKind::Remove, Target::Account(account(2)), root, BTreeMap::new());
        let decision = m.decide();
        assert_eq!(decision.void[&old], Void::Cut);
        assert_eq!(decision.tip, promoted);
    }
}

/// B8: who gave ownership away cannot take it back by an order that refers to
/// the time before, even if it never marked what came after.
#[test]
fn former_owner_with_an_old_looking_order() {
    for seed in 0..20 {
        let mut m = Maker::new(seed, &[(Role::Owner, 1), (Role::Member, 1), (Role::Member, 1)]);
        let root = m.genesis;
        let given =
            m.bare(d(0), root, &Change { roles: vec![(account(1), Role::Owner)], ..Change::default() });
        m.mark(d(1), given);
        m.mark(d(2), given);
        // Lowering oneself takes an own order, like any demotion.
        let own = m.order(d(0), OrderKind::Demote, Target::Account(account(0)), root, m.cut(0));
        let low = m.bare(
            d(1),
            given,
            &Change { roles: vec![(account(0), Role::Member)], enacts: vec![own], ..Change::default() },
        );
        m.mark(d(1), low);
        let out = m.remove(d(1), 0, low);
        let old = m.order(
            d(0),
            OrderKind::Remove,
            Target::Account(account(1)),
            root,
            BTreeMap::from([(d(1), (0, 0))]),
        );
        let decision = m.decide();
        assert_eq!(decision.void.get(&old), Some(&Void::Cut), "seed {seed}");
        assert!(decision.effective.contains(&out));
    }
}

/// B8: a removed account that was let in again does not keep its old rights.
#[test]
fn old_rights_do_not_come_back_with_the_account() {
    let mut m = Maker::new(12, &[(Role::Owner, 1), (Role::Admin, 1), (Role::Member, 1)]);
    let root = m.genesis;
    let out = m.remove(d(0), 1, root);
    let gone = m.enact(d(0), root, out, 1);
    let lift = m.lift(d(0), 1, gone, out);
    let back = m.commit(
        d(0),
        gone,
        &Change {
            add: vec![(account(1), d(1))],
            roles: vec![(account(1), Role::Member)],
            enacts: vec![lift],
            ..Change::default()
        },
    );
    let old = m.order(d(1), OrderKind::Remove, Target::Account(account(2)), root, BTreeMap::new());
    let decision = m.decide();
    assert_eq!(decision.void[&out], Void::Lifted);
    assert_eq!(decision.void[&old], Void::Cut);
    assert_eq!(decision.tip, back);
    assert!(decision.open.is_empty());
}

/// Letting somebody in again decides nothing that was decided before: neither
/// the votes beyond the cut come back to an older fork, nor does the branch
/// without the removal count as one that owes nothing.
#[test]
fn lifting_does_not_change_older_forks() {
    for seed in 0..20 {
        let mut m = Maker::new(seed, &owned(3));
        let root = m.genesis;
        let out = m.remove(d(0), 1, root);
        // Two accounts vote for a rival, one of them beyond its cut.
        let rival = m.update(d(2), root);
        m.mark(d(1), rival);
        let gone = m.enact(d(0), root, out, 1);
        assert_eq!(m.tip(), gone, "seed {seed}");
        let lift = m.lift(d(0), 1, gone, out);
        let back = m.commit(
            d(0),
            gone,
            &Change { add: vec![(account(1), d(1))], enacts: vec![lift], ..Change::default() },
        );
        let decision = m.decide();
        assert_eq!(decision.tip, back, "seed {seed}");
        assert_eq!(decision.void[&out], Void::Lifted);
        assert_eq!(decision.held[&out], vec![gone]);
        // What it says from then on counts.
        let (one, other) = (m.update(d(0), back), m.update(d(2), back));
        m.mark(d(1), other);
        assert_eq!(m.tip(), other, "seed {seed}, not {one:?}");
        let votes = &m.decide().forks[&back].kids;
        assert!(votes.iter().any(|k| k.votes.contains(&account(1))), "seed {seed}");
    }
}

/// B9: a garbage commit that one colluder votes for is rejected by those who
/// cannot process it; with as few against as for it, it stays.
#[test]
fn two_colluders_and_a_garbage_commit() {
    for (victims, rejected) in [(1, false), (2, true), (5, true)] {
        let mut m = Maker::new(13, &members(2 + victims));
        let root = m.genesis;
        let garbage = m.update(d(0), root);
        m.mark(d(1), garbage);
        let id = m.commit_of(garbage);
        for v in 0..victims {
            m.mark_with(d(2 + v), root, BTreeMap::new(), BTreeSet::from([id]));
        }
        // Nobody takes back a vote by calling the commit bad.
        m.mark_with(d(1), garbage, BTreeMap::new(), BTreeSet::from([id]));
        let decision = m.decide();
        assert_eq!(decision.rejected.contains(&id), rejected, "{victims} victims");
        assert_eq!(decision.tip, if rejected { root } else { garbage });
    }
}

/// Calling a good commit bad stops mattering once as many vote for it, and
/// what removed accounts say after their cut never does.
#[test]
fn veto_by_false_bad_calls() {
    let mut m = Maker::new(14, &owned(6));
    let root = m.genesis;
    let good = m.update(d(0), root);
    let id = m.commit_of(good);
    for liar in [4, 5] {
        m.mark_with(d(liar), root, BTreeMap::new(), BTreeSet::from([id]));
    }
    assert_eq!(m.tip(), root);
    m.mark(d(1), good);
    m.mark(d(2), good);
    assert_eq!(m.tip(), good);

    let mut m = Maker::new(15, &owned(6));
    let root = m.genesis;
    let one = m.remove(d(0), 4, root);
    let two = m.remove(d(0), 5, root);
    let out =
        m.bare(d(0), root, &Change { remove: vec![d(4), d(5)], enacts: vec![one, two], ..Change::default() });
    m.mark(d(0), out);
    let id = m.commit_of(out);
    for liar in [4, 5] {
        m.mark_with(d(liar), root, BTreeMap::new(), BTreeSet::from([id]));
    }
    assert_eq!(m.tip(), out);
}

/// Commits dripped one after another move nobody who voted elsewhere, and
/// never make the group wait.
#[test]
fn commit_drip() {
    let mut m = Maker::new(16, &members(4));
    let mut at = m.genesis;
    for _ in 0..50 {
        m.branch(d(3), at, 2);
        at = m.chain(&[d(0), d(1), d(2)], at, 1);
        assert_eq!(m.tip(), at);
    }
}

/// A voter that withheld its marks can add its vote later, but takes none away.
#[test]
fn withheld_marks() {
    let mut m = Maker::new(17, &members(5));
    let root = m.genesis;
    let honest = m.chain(&[d(0), d(1), d(2)], root, 30);
    let rival = m.update(d(3), root);
    m.mark(d(4), rival);
    m.branch(d(4), rival, 40);
    assert_eq!(m.tip(), honest);
}

/// An admin's commit from 1,000 commits ago does not undo what the majority
/// went on with.
#[test]
fn stale_admin_commit_after_a_thousand() {
    let mut m = Maker::new(18, &[(Role::Owner, 1), (Role::Member, 1), (Role::Member, 1)]);
    let root = m.genesis;
    let tip = m.chain(&[d(1), d(2)], root, 1_000);
    m.branch(d(0), root, 3);
    assert_eq!(m.tip(), tip);
}

/// INV-14: ids ground by a committer, or by its parent's author, choose
/// nothing but between two commits of one account.
#[test]
fn ground_commit_ids() {
    let winners: BTreeSet<usize> = (0..64)
        .map(|try_| {
            let mut m = Maker::new(19, &members(4));
            let root = m.genesis;
            // Making a commit draws ids: each try has other ones.
            for _ in 0..try_ {
                m.rng.id();
            }
            let mid = m.bare(d(0), root, &Change::default());
            let one = m.bare(d(1), mid, &Change { ground: Some(255), ..Change::default() });
            m.bare(d(2), mid, &Change { ground: Some(0), ..Change::default() });
            if m.tip() == one { 1 } else { 2 }
        })
        .collect();
    assert_eq!(winners.len(), 1);
}

/// An order does not refer to before what its device had marked.
#[test]
fn far_back_backdated_order() {
    let mut m = Maker::new(20, &owned(4));
    let root = m.genesis;
    let mid = m.chain(&[d(0), d(1)], root, 20);
    // Marking the old state anew does not help.
    m.mark(d(0), root);
    let old = m.order(d(0), OrderKind::Remove, Target::Account(account(1)), root, BTreeMap::new());
    assert_eq!(m.decide().void[&old], Void::Backdated);
    // A mark elsewhere before it does not fit.
    let loose = m.order(d(0), OrderKind::Remove, Target::Account(account(1)), mid, BTreeMap::new());
    assert_eq!(m.decide().void[&loose], Void::Unlinked);
    // Branching the chain off earlier is an equivocation.
    let forged = OrderId(m.rng.id());
    let first = m.facts.iter().find_map(|f| match f {
        Fact::Mark(k) if k.device == d(0) && k.n == 1 => Some(k.id),
        _ => None,
    });
    m.facts.push(Fact::Order(kith_rule::Order {
        id: forged,
        issuer: account(0),
        device: d(0),
        n: 2,
        prev: first.map(|f| f.0),
        kind: OrderKind::Remove,
        target: Target::Account(account(1)),
        at: root,
        lifts: Vec::new(),
        cut: BTreeMap::new(),
        statement: false,
    }));
    assert_eq!(m.decide().void[&forged], Void::Equivocated);
}

/// A member cannot order others out, not even those after it.
#[test]
fn members_order_nobody_out() {
    let mut m = Maker::new(21, &owned(4));
    let root = m.genesis;
    let order = m.remove(d(1), 2, root);
    assert_eq!(m.decide().void[&order], Void::Unauthorised);
}

/// Two admins remove each other with different refs: the higher at its own ref
/// stays, and its cut decides about the other's order.
#[test]
fn mutual_removal() {
    for acked in [false, true] {
        let mut m =
            Maker::new(22, &[(Role::Owner, 1), (Role::Admin, 1), (Role::Admin, 1), (Role::Member, 1)]);
        let root = m.genesis;
        let up = m.bare(d(0), root, &Change { roles: vec![(account(2), Role::Owner)], ..Change::default() });
        for a in 0..4 {
            if a != 1 {
                m.mark(d(a), up);
            }
        }
        // 1 stands above 2 at the root (lower account id), 2 above 1 at `up`.
        let early = m.cut(1);
        let one = m.order(
            d(1),
            OrderKind::Remove,
            Target::Account(account(2)),
            root,
            BTreeMap::from([(d(2), (0, 1))]),
        );
        let cut = if acked { m.cut(1) } else { early };
        let two = m.order(d(2), OrderKind::Remove, Target::Account(account(1)), up, cut);
        let decision = m.decide();
        assert!(decision.effective.contains(&two));
        assert_eq!(decision.effective.contains(&one), acked);
    }
}

/// Above 64 accounts moderators vote; a crowd of members moves nothing.
#[test]
fn a_large_group_is_led_by_its_moderators() {
    let mut accounts = members(100);
    accounts[0].0 = Role::Owner;
    accounts[1].0 = Role::Moderator;
    accounts[2].0 = Role::Moderator;
    let mut m = Maker::new(23, &accounts);
    let root = m.genesis;
    let crowd = m.update(d(50), root);
    for a in 3..100 {
        m.mark(d(a), crowd);
    }
    let led = m.update(d(1), root);
    assert_eq!(m.decide().forks[&root].electorate, 3);
    m.mark(d(2), led);
    let fork = &m.decide().forks[&root];
    assert_eq!(fork.step, Step::Majority);
    assert_eq!(m.tip(), led);
}

/// The removal of the sixty-fifth account lets all vote again, from its child
/// on only.
#[test]
fn electorate_switches_with_the_state() {
    let mut m = Maker::new(24, &owned(65));
    let root = m.genesis;
    let order = m.remove(d(0), 64, root);
    let small = m.enact(d(0), root, order, 64);
    m.update(d(1), root);
    m.update(d(1), small);
    m.update(d(2), small);
    let forks = m.decide().forks;
    assert_eq!((forks[&root].electorate, forks[&small].electorate), (1, 64));
}

/// A demoted account still votes and talks; only what rests on the old role is
/// void.
#[test]
fn a_demoted_account_still_votes() {
    let mut m = Maker::new(25, &[(Role::Owner, 1), (Role::Admin, 1), (Role::Member, 1)]);
    let root = m.genesis;
    m.mark(d(0), root);
    let cut = m.cut(1);
    let demote = m.order(d(0), OrderKind::Demote, Target::Account(account(1)), root, cut);
    let low = m.commit(
        d(0),
        root,
        &Change { roles: vec![(account(1), Role::Member)], enacts: vec![demote], ..Change::default() },
    );
    m.mark(d(1), low);
    m.update(d(0), low);
    let b = m.update(d(2), low);
    m.mark(d(1), b);
    let decision = m.decide();
    assert!(decision.cuts.is_empty());
    assert_eq!(decision.tip, b);
    // Made admin again, it may order again.
    let again = m.commit(d(0), b, &Change { roles: vec![(account(1), Role::Admin)], ..Change::default() });
    let order = m.remove(d(1), 2, again);
    assert!(m.decide().effective.contains(&order), "{:?}", m.decide().void);
}

/// Of variants of one commit that reach one state the lowest id counts, in any
/// order, and a bad call on either is a call on it.
#[test]
fn variants_of_a_commit_are_one() {
    let mut m = Maker::new(26, &members(3));
    let root = m.genesis;
    let kid = m.bare(d(0), root, &Change::default());
    let other = Commit {
        id: CommitId([0; 32]),
        parent: root,
        child: kid,
        account: account(0),
        device: d(0),
        enacts: Vec::new(),
    };
    let high = m.commit_of(kid);
    m.facts.push(Fact::Commit(other, m.state(kid).clone()));
    assert_eq!(m.decide().path, vec![CommitId([0; 32])]);
    m.mark_with(d(1), root, BTreeMap::new(), BTreeSet::from([high]));
    m.mark_with(d(2), root, BTreeMap::new(), BTreeSet::from([CommitId([0; 32])]));
    assert_eq!(m.decide().rejected, BTreeSet::from([CommitId([0; 32])]));
}
