//! The oracle and kith-rule on the same wild stories, in which anybody does
//! anything: also what the engine would never store.

use std::sync::Arc;

use kith_rule::{History, Leaf, Rights};
use kith_wire::group::{BadCommit, GroupExt, RoleEntry};
use kith_wire::ids::GroupId;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

use super::tests::{Story, account, device, state};
use super::*;

struct Wild {
    rng: ChaCha20Rng,
    facts: Facts,
    last: BTreeMap<DeviceId, (u64, [u8; 32], StateId)>,
    /// With the issuer of a leave.
    orders: Vec<(OrderId, Option<AccountId>)>,
    /// Liftings, two objects under one number, and orders that refer to another
    /// state than that of the mark before them occur too.
    worst: bool,
}

impl Wild {
    fn below(&mut self, n: usize) -> usize {
        self.rng.next_u32() as usize % n.max(1)
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn story(seed: u64, worst: bool) -> Facts {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let people = 2 + (rng.next_u32() % 6) as u8;
        let account = |n: u8| AccountId([n; 32]);
        let mut ext = GroupExt::group(account(1), "", Vec::new());
        let mut members = Vec::new();
        for n in 1..=people {
            members.push((u32::from(n) * 2, DeviceId([n; 32]), account(n)));
            if rng.next_u32() % 4 == 0 {
                members.push((rng.next_u32() % 20 * 2 + 1, DeviceId([n + 100; 32]), account(n)));
            }
            if n > 1 && rng.next_u32() % 2 == 0 {
                ext.roles.insert(
                    account(n),
                    RoleEntry { role: Role::Admin, epoch: u64::from(rng.next_u32() % 5) },
                );
            }
        }
        if rng.next_u32() % 12 == 0 {
            ext.roles.clear();
        }
        let anchor = StateId([255; 32]);
        let facts = Facts {
            gid: GroupId([7; 32]),
            anchor,
            tip: anchor,
            goal: None,
            hold_until: 0,
            contested: true,
            states: vec![StateFact { id: anchor, epoch: 5, ext, members }],
            commits: Vec::new(),
            marks: Vec::new(),
            orders: Vec::new(),
            rivals: Vec::new(),
            mutes: BTreeMap::new(),
        };
        let mut wild = Self { rng, facts, last: BTreeMap::new(), orders: Vec::new(), worst };
        for _ in 0..10 + wild.below(40) {
            match wild.below(10) {
                0..=2 => wild.commit(),
                3..=7 => wild.mark(None),
                _ => wild.order(),
            }
        }
        // Some do not know all.
        if wild.chance(20) && !wild.facts.marks.is_empty() {
            let n = wild.below(wild.facts.marks.len());
            wild.facts.marks.remove(n);
        }
        wild.facts
    }

    fn any_state(&mut self) -> StateFact {
        // Rather late ones.
        let n = self.facts.states.len();
        let back = self.below(n).min(self.below(n));
        self.facts.states[n - 1 - back].clone()
    }

    fn any_member(&mut self, state: &StateFact) -> Option<(DeviceId, AccountId)> {
        let n = self.below(state.members.len());
        state.members.get(n).map(|(_, d, a)| (*d, *a))
    }

    fn commit(&mut self) {
        let parent = self.any_state();
        let Some((device, account)) = self.any_member(&parent) else { return };
        let mut id = [0; 32];
        self.rng.fill_bytes(&mut id);
        let mut next = parent.clone();
        next.id = StateId(id);
        next.epoch += 1;
        let about = self.any_member(&parent);
        match (self.below(6), about) {
            (0 | 1, Some((_, who))) if who != account => next.members.retain(|(.., a)| *a != who),
            (2, Some((_, who))) => {
                let role = [Role::Moderator, Role::Admin, Role::Owner][self.below(3)];
                next.ext.roles.insert(who, RoleEntry { role, epoch: next.epoch });
            }
            (3, Some((_, who))) => {
                next.ext.roles.remove(&who);
            }
            (4, _) => {
                let all = self.facts.states[0].members.clone();
                let n = self.below(all.len());
                if next.members.iter().all(|(_, d, _)| *d != all[n].1) {
                    next.members.push((60 + next.epoch as u32, all[n].1, all[n].2));
                }
            }
            _ => {}
        }
        self.rng.fill_bytes(&mut id);
        self.facts.commits.push(CommitFact {
            id: CommitId(id),
            parent: parent.id,
            child: next.id,
            account,
            device,
            orders: Vec::new(),
        });
        self.facts.states.push(next);
        if self.chance(70) {
            self.mark(Some(device));
        }
    }

    fn place(&mut self, device: DeviceId) -> (u64, Option<[u8; 32]>) {
        let (n, prev) = self.last.get(&device).map_or((1, None), |(n, id, _)| (n + 1, Some(*id)));
        // Twice the same number, rarely.
        if self.worst && n > 2 && self.chance(1) { (n - 1, Some([3; 32])) } else { (n, prev) }
    }

    fn mark(&mut self, device: Option<DeviceId>) {
        let state = if device.is_some() { self.facts.states.last().cloned() } else { Some(self.any_state()) };
        let Some(state) = state else { return };
        let Some((device, _)) = device.map(|d| (d, AccountId::default())).or_else(|| self.any_member(&state))
        else {
            return;
        };
        if Oracle::account_at(&state, &device).is_none() {
            return;
        }
        let (n, prev) = self.place(device);
        let mut changed = BTreeMap::from([(device, (0, n))]);
        for (other, (had, ..)) in self.last.clone() {
            if self.chance(30) {
                changed.insert(other, (0, had.saturating_sub(self.below(3) as u64)));
            }
        }
        changed.insert(device, (0, n));
        let mut bad = Vec::new();
        if self.chance(8) && !self.facts.commits.is_empty() {
            let at = self.below(self.facts.commits.len());
            bad.push(BadCommit { commit: self.facts.commits[at].id, reason: 1 });
        }
        let mark = Mark {
            kind: kinds::MARK,
            version: 1,
            gid: self.facts.gid,
            device,
            n,
            prev,
            at: state.id,
            changed,
            bad,
        };
        let raw = Raw { body: kith_wire::object::Versioned::to_bytes(&mark), sig: [0; 64] };
        self.last.insert(device, (n, mark_id(&raw).0, state.id));
        self.facts.marks.push(raw.to_bytes());
    }

    fn order(&mut self) {
        let devices: Vec<DeviceId> = self.last.keys().copied().collect();
        if devices.is_empty() {
            return;
        }
        let device = devices[self.below(devices.len())];
        let mut at = self.last[&device].2;
        if self.worst && self.chance(3) {
            at = self.any_state().id;
        }
        let Some(state) = self.facts.states.iter().find(|s| s.id == at).cloned() else { return };
        let Some(issuer) = Oracle::account_at(&state, &device) else { return };
        let kind =
            [OrderKind::Remove, OrderKind::Remove, OrderKind::Demote, OrderKind::Leave, OrderKind::Add]
                [self.below(5)];
        let Some((d, who)) = self.any_member(&state) else { return };
        let who = if kind == OrderKind::Leave { issuer } else { who };
        let target = if kind == OrderKind::Remove && self.chance(20) {
            Target::Device(d)
        } else {
            Target::Account(who)
        };
        let mut cut = BTreeMap::new();
        if self.chance(90) {
            for (other, (had, ..)) in &self.last {
                let of = state.members.iter().any(|(_, d, a)| d == other && *a == who);
                if of {
                    cut.insert(*other, (0, had.saturating_sub(u64::from(self.rng.next_u32() % 4))));
                }
            }
        }
        let mut lifts = Vec::new();
        if kind == OrderKind::Add {
            // The text lets an account lift its own leave, kith-rule does not.
            for (id, left) in self.orders.clone() {
                if self.worst && left != Some(issuer) && self.chance(40) {
                    lifts.push(id);
                }
            }
        }
        let (n, prev) = self.place(device);
        if n < 2 {
            return;
        }
        let order = Order {
            kind: kinds::ORDER,
            version: 1,
            gid: self.facts.gid,
            issuer,
            device,
            n,
            prev,
            order: kind,
            target,
            at,
            lifts,
            cut,
            hlc: 0,
            statement: None,
        };
        let raw = Raw { body: kith_wire::object::Versioned::to_bytes(&order), sig: [0; 64] };
        self.last.insert(device, (n, order_id(&raw).0, at));
        self.orders.push((order_id(&raw), (kind == OrderKind::Leave).then_some(issuer)));
        self.facts.orders.push(raw.to_bytes());
    }
}

fn history(facts: &Facts) -> History {
    let mut history = History::new(facts.gid, facts.anchor);
    for s in &facts.states {
        let leaves = s.members.iter().map(|(i, d, a)| Leaf { index: *i, device: *d, account: *a }).collect();
        let rights = Rights { add: s.ext.policy.add, remove: s.ext.policy.remove };
        let roles = Arc::new(s.ext.roles.clone());
        history.insert_state(kith_rule::State::new(s.id, s.epoch, s.ext.kind, rights, leaves, roles));
    }
    for c in &facts.commits {
        history.insert_commit(kith_rule::Commit {
            id: c.id,
            parent: c.parent,
            child: c.child,
            account: c.account,
            device: c.device,
            enacts: Vec::new(),
        });
    }
    for bytes in &facts.marks {
        let raw = Raw::from_bytes(bytes).expect("a mark");
        let m: Mark = raw.body().expect("a mark");
        history.insert_mark(kith_rule::Mark {
            id: mark_id(&raw),
            device: m.device,
            n: m.n,
            prev: m.prev,
            at: m.at,
            acks: m.changed,
            bad: m.bad.iter().map(|b| b.commit).collect(),
        });
    }
    for bytes in &facts.orders {
        let raw = Raw::from_bytes(bytes).expect("an order");
        let o: Order = raw.body().expect("an order");
        history.insert_order(kith_rule::Order {
            id: order_id(&raw),
            issuer: o.issuer,
            device: o.device,
            n: o.n,
            prev: o.prev,
            kind: o.order,
            target: o.target,
            at: o.at,
            lifts: o.lifts,
            cut: o.cut,
            statement: false,
        });
    }
    for (device, n) in &facts.mutes {
        history.note_equivocation(*device, *n);
    }
    history
}

/// Seeds on which they differ.
fn differ(stories: u64, worst: bool) -> Vec<u64> {
    (0..stories)
        .filter(|seed| {
            let facts = Wild::story(*seed, worst);
            let ours = judge(&facts).expect("a verdict");
            let theirs = kith_rule::decide(&history(&facts)).expect("a decision");
            let open: BTreeSet<OrderId> = ours.open.iter().copied().collect();
            (ours.tip, ours.effective, open) != (theirs.tip, theirs.effective, theirs.open)
        })
        .collect()
}

#[test]
fn both_say_the_same() {
    assert_eq!(differ(2_000, false), Vec::<u64>::new());
}

#[test]
fn both_say_the_same_at_the_worst() {
    assert_eq!(differ(2_000, true), Vec::<u64>::new());
}

/// A device that its own account orders out cannot lift that: its order to let
/// itself in comes after its cut. Answers what holds, by both.
fn lifted_by_its_target() -> (BTreeSet<OrderId>, BTreeSet<OrderId>, OrderId) {
    let mut story = Story::begin(4, &[]);
    story.facts.states[0].members.push((7, device(7), account(1)));
    story.marks(&[1, 7], 0);
    let removed = story.order_of(1, 1, 0, OrderKind::Remove, Target::Device(device(7)), (7, 1), Vec::new());
    story.order_of(7, 1, 0, OrderKind::Add, Target::Account(account(1)), (7, 1), vec![removed]);
    both(&story.facts, removed)
}

/// 3 was ordered out and then lifts another's leave, after its cut.
fn lifted_after_a_cut() -> (BTreeSet<OrderId>, BTreeSet<OrderId>, OrderId) {
    let mut story = Story::begin(5, &[2, 3]);
    story.facts.states[0].ext.roles.insert(account(4), RoleEntry { role: Role::Owner, epoch: 3 });
    story.marks(&[1, 2, 3, 4], 0);
    let left = story.order(4, 0, OrderKind::Leave, 4, 2);
    story.order(2, 0, OrderKind::Remove, 3, 1);
    story.order_with(3, 0, OrderKind::Add, 4, 9, vec![left]);
    both(&story.facts, left)
}

/// 4 votes beyond its cut; 5, whose chain has ended, says that it has that
/// vote. What comes after the end of a chain is not the same for everybody:
/// of two objects there each device keeps the one that came first.
fn acknowledged_after_the_end() -> (StateId, StateId) {
    let mut story = Story::fork(5, &[]);
    story.mark(4, 0);
    story.marks(&[2, 3], 20);
    story.mark(4, 20);
    story.mark(1, 0);
    story.order(1, 0, OrderKind::Remove, 4, 1);
    story.commit(1, 0, 30, |s| s.members.retain(|(.., a)| *a != account(4)));
    story.mark(1, 30);
    story.mark_with(2, 20, &[(4, 2)], &[]);
    story.mark(5, 0);
    story.mark_with(5, 0, &[(4, 2)], &[]);
    story.facts.mutes.insert(device(5), 2);
    let theirs = kith_rule::decide(&history(&story.facts)).expect("a decision");
    (story.judge().tip, theirs.tip)
}

fn both(facts: &Facts, id: OrderId) -> (BTreeSet<OrderId>, BTreeSet<OrderId>, OrderId) {
    let theirs = kith_rule::decide(&history(facts)).expect("a decision");
    (judge(facts).expect("a verdict").effective, theirs.effective, id)
}

#[test]
fn the_oracle_keeps_to_the_text_where_they_differ() {
    let (ours, _, removed) = lifted_by_its_target();
    assert_eq!(ours, [removed].into());
    let (ours, _, left) = lifted_after_a_cut();
    assert!(ours.contains(&left));
    assert_eq!(acknowledged_after_the_end().0, state(30));
}

#[test]
fn kith_rule_a_target_does_not_lift_its_own_removal() {
    let (_, theirs, removed) = lifted_by_its_target();
    assert_eq!(theirs, [removed].into());
}

#[test]
fn kith_rule_who_was_cut_lifts_nothing() {
    let (_, theirs, left) = lifted_after_a_cut();
    assert!(theirs.contains(&left));
}

#[test]
fn kith_rule_what_follows_the_end_of_a_chain_counts_for_nothing() {
    assert_eq!(acknowledged_after_the_end().1, state(30));
}
