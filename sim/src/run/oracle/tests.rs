//! The oracle alone, on small stories told by hand. Accounts, devices and
//! states are numbers; a device has its account's number unless it is said
//! otherwise. Nothing is signed: the oracle takes what was stored for verified.

use kith_wire::group::{BadCommit, GroupExt, RoleEntry};
use kith_wire::ids::GroupId;

use super::*;

pub(super) fn account(n: u8) -> AccountId {
    AccountId([n; 32])
}

pub(super) fn device(n: u8) -> DeviceId {
    DeviceId([n; 32])
}

pub(super) fn state(n: u8) -> StateId {
    StateId([n; 32])
}

pub(super) struct Story {
    pub(super) facts: Facts,
    /// Number and id of each device's last mark or order.
    last: BTreeMap<DeviceId, (u64, [u8; 32])>,
}

impl Story {
    /// State 0: 1 is the owner, of the others those are admins who are named.
    pub(super) fn begin(people: u8, admins: &[u8]) -> Self {
        let mut ext = GroupExt::group(account(1), "", Vec::new());
        for (place, admin) in admins.iter().enumerate() {
            ext.roles.insert(account(*admin), RoleEntry { role: Role::Admin, epoch: place as u64 });
        }
        let members = (1..=people).map(|n| (u32::from(n), device(n), account(n))).collect();
        let facts = Facts {
            gid: GroupId([9; 32]),
            anchor: state(0),
            tip: state(0),
            goal: None,
            hold_until: 0,
            contested: true,
            states: vec![StateFact { id: state(0), epoch: 10, ext, members }],
            commits: Vec::new(),
            marks: Vec::new(),
            orders: Vec::new(),
            rivals: Vec::new(),
            mutes: BTreeMap::new(),
        };
        Self { facts, last: BTreeMap::new() }
    }

    /// A commit by somebody on a state, leading to a new one, which it may
    /// change.
    pub(super) fn commit(&mut self, by: u8, parent: u8, child: u8, change: impl FnOnce(&mut StateFact)) {
        let mut next = self.facts.states.iter().find(|s| s.id == state(parent)).cloned().expect("a parent");
        next.id = state(child);
        next.epoch += 1;
        change(&mut next);
        self.facts.states.push(next);
        self.commit_to(CommitId([child; 32]), by, parent, child);
    }

    fn commit_to(&mut self, id: CommitId, by: u8, parent: u8, child: u8) {
        let (parent, child) = (state(parent), state(child));
        let (account, device) = (account(by), device(by));
        self.facts.commits.push(CommitFact { id, parent, child, account, device, orders: Vec::new() });
    }

    /// Two commits, by 1 and by 2, on the first state.
    pub(super) fn fork(people: u8, admins: &[u8]) -> Self {
        let mut story = Self::begin(people, admins);
        story.commit(1, 0, 10, |_| {});
        story.commit(2, 0, 20, |_| {});
        story
    }

    fn next(&self, of: DeviceId) -> (u64, Option<[u8; 32]>) {
        self.last.get(&of).map_or((1, None), |(n, id)| (n + 1, Some(*id)))
    }

    pub(super) fn mark(&mut self, by: u8, at: u8) {
        self.mark_with(by, at, &[], &[]);
    }

    pub(super) fn marks(&mut self, all: &[u8], at: u8) {
        for by in all {
            self.mark(*by, at);
        }
    }

    pub(super) fn mark_with(&mut self, by: u8, at: u8, acks: &[(u8, u64)], bad: &[u8]) {
        let (n, prev) = self.next(device(by));
        let own = (device(by), (0, n));
        let mark = Mark {
            kind: kinds::MARK,
            version: 1,
            gid: self.facts.gid,
            device: device(by),
            n,
            prev,
            at: state(at),
            changed: acks.iter().map(|(d, n)| (device(*d), (0, *n))).chain([own]).collect(),
            bad: bad.iter().map(|c| BadCommit { commit: CommitId([*c; 32]), reason: 1 }).collect(),
        };
        let raw = unsigned(&mark);
        self.last.insert(device(by), (n, mark_id(&raw).0));
        self.facts.marks.push(raw.to_bytes());
    }

    pub(super) fn order(&mut self, by: u8, at: u8, kind: OrderKind, of: u8, cut: u64) -> OrderId {
        self.order_with(by, at, kind, of, cut, Vec::new())
    }

    pub(super) fn order_with(
        &mut self,
        by: u8,
        at: u8,
        kind: OrderKind,
        of: u8,
        cut: u64,
        lifts: Vec<OrderId>,
    ) -> OrderId {
        self.order_of(by, by, at, kind, Target::Account(account(of)), (of, cut), lifts)
    }

    /// An order by a device of an account.
    #[allow(clippy::too_many_arguments, reason = "an order says that much")]
    pub(super) fn order_of(
        &mut self,
        by: u8,
        issuer: u8,
        at: u8,
        kind: OrderKind,
        target: Target,
        cut: (u8, u64),
        lifts: Vec<OrderId>,
    ) -> OrderId {
        let (n, prev) = self.next(device(by));
        let order = Order {
            kind: kinds::ORDER,
            version: 1,
            gid: self.facts.gid,
            issuer: account(issuer),
            device: device(by),
            n,
            prev,
            order: kind,
            target,
            at: state(at),
            lifts,
            cut: BTreeMap::from([(device(cut.0), (0, cut.1))]),
            hlc: 0,
            statement: None,
        };
        let raw = unsigned(&order);
        self.last.insert(device(by), (n, order_id(&raw).0));
        self.facts.orders.push(raw.to_bytes());
        order_id(&raw)
    }

    pub(super) fn judge(&self) -> Verdict {
        judge(&self.facts).expect("a verdict")
    }

    /// Tip, and what decided at the first state.
    fn choice(&self) -> (StateId, Option<Step>) {
        let verdict = self.judge();
        (verdict.tip, verdict.forks.get(&state(0)).copied())
    }
}

fn unsigned(body: &impl kith_wire::signed::Body) -> Raw {
    Raw { body: body.to_bytes(), sig: [0; 64] }
}

fn out(who: u8) -> impl FnOnce(&mut StateFact) {
    move |s| s.members.retain(|(.., a)| *a != account(who))
}

const REMOVE: OrderKind = OrderKind::Remove;

#[test]
fn a_line_ends_at_its_end() {
    let mut story = Story::begin(3, &[]);
    story.commit(2, 0, 10, |_| {});
    story.commit(1, 10, 11, |_| {});
    story.marks(&[1, 2, 3], 10);
    let verdict = story.judge();
    assert_eq!(verdict.tip, state(11));
    assert!(verdict.forks.is_empty());
}

#[test]
fn nobody_stands_on_the_other_branch() {
    let mut story = Story::fork(5, &[]);
    story.marks(&[1, 2, 3], 10);
    story.marks(&[1, 2, 3], 20);
    assert_eq!(story.choice(), (state(20), Some(Step::Live)));
}

#[test]
fn most_go_before_an_order() {
    let mut story = Story::fork(5, &[]);
    story.marks(&[3, 4, 5], 10);
    story.mark(2, 20);
    story.mark(1, 0);
    story.order(1, 0, REMOVE, 2, 1);
    story.commit(1, 0, 30, out(2));
    story.mark(1, 30);
    assert_eq!(story.choice(), (state(10), Some(Step::Majority)));
    assert_eq!(story.judge().open.len(), 1);
}

#[test]
fn an_order_goes_before_votes() {
    let mut story = Story::fork(6, &[]);
    story.marks(&[3, 4, 5], 10);
    story.mark(1, 0);
    story.order(1, 0, REMOVE, 6, 0);
    // 6 voted for nothing and leaves the electorate: with three of five the
    // branch would have a majority, so one of them turns up elsewhere.
    story.commit(1, 0, 30, out(6));
    story.mark(1, 30);
    assert_eq!(story.choice(), (state(10), Some(Step::Majority)));
    let mut story = Story::fork(7, &[]);
    story.marks(&[3, 4, 5], 10);
    story.mark(1, 0);
    story.order(1, 0, REMOVE, 7, 0);
    story.commit(1, 0, 30, out(7));
    story.mark(1, 30);
    assert_eq!(story.choice(), (state(30), Some(Step::Orders)));
}

#[test]
fn votes_go_before_rank() {
    let mut story = Story::fork(6, &[]);
    story.mark(1, 10);
    story.marks(&[2, 3], 20);
    assert_eq!(story.choice(), (state(20), Some(Step::Votes)));
    // Only the first vote counts, and only that of the lowest leaf.
    let mut story = Story::fork(6, &[]);
    story.facts.states[0].members.push((7, device(7), account(1)));
    story.marks(&[1, 2], 10);
    story.marks(&[3, 4], 20);
    story.mark(2, 20);
    assert_eq!(story.choice().1, Some(Step::Rank));
}

#[test]
fn role_then_hash_then_id() {
    let mut story = Story::fork(4, &[]);
    story.mark(1, 10);
    story.mark(2, 20);
    assert_eq!(story.choice(), (state(10), Some(Step::Rank)));
    let mut story = Story::begin(4, &[]);
    story.commit(2, 0, 20, |_| {});
    story.commit(3, 0, 30, |_| {});
    let hash = |n| rank(&story.facts.gid, 10, &account(n));
    let lower = if hash(2) < hash(3) { 20 } else { 30 };
    assert_eq!(story.choice(), (state(lower), Some(Step::Rank)));
    let mut story = Story::begin(4, &[]);
    story.commit(2, 0, 21, |_| {});
    story.commit(2, 0, 20, |_| {});
    assert_eq!(story.choice(), (state(20), Some(Step::Id)));
}

#[test]
fn a_cut_voids_votes_beyond_it_and_only_those() {
    // 4 votes for 20 with mark 2; the order leaves it its mark 1, or 2.
    let tell = |cut: u64| {
        let mut story = Story::fork(5, &[]);
        story.mark(4, 0);
        story.marks(&[2, 3], 20);
        story.mark(4, 20);
        story.mark(1, 0);
        story.order(1, 0, REMOVE, 4, cut);
        story.mark(1, 10);
        story
    };
    // Three of five: it holds that the order is open.
    assert_eq!(tell(2).choice(), (state(20), Some(Step::Majority)));
    // No vote within the cut: 4 leaves the electorate, two of four are not more
    // than half, and two votes beat one.
    assert_eq!(tell(1).choice(), (state(20), Some(Step::Votes)));
    // What most have acknowledged is not cut off.
    let mut story = tell(1);
    for by in [2, 3, 5] {
        story.mark_with(by, 20, &[(4, 2)], &[]);
    }
    assert_eq!(story.choice(), (state(20), Some(Step::Majority)));
}

#[test]
fn nobody_voids_what_they_acknowledged() {
    let mut story = Story::fork(5, &[]);
    story.mark(4, 0);
    story.marks(&[2, 3], 20);
    story.mark(4, 20);
    story.mark_with(1, 0, &[(4, 2)], &[]);
    story.order(1, 0, REMOVE, 4, 0);
    story.mark(1, 10);
    assert_eq!(story.choice(), (state(20), Some(Step::Majority)));
}

#[test]
fn an_order_needs_standing_and_right() {
    let mut story = Story::begin(4, &[2, 3]);
    story.marks(&[1, 2, 3, 4], 0);
    let by_junior = story.order(3, 0, REMOVE, 2, 1);
    let by_member = story.order(4, 0, REMOVE, 3, 1);
    let by_senior = story.order(2, 0, REMOVE, 3, 2);
    let verdict = story.judge();
    assert!(!verdict.effective.contains(&by_junior) && !verdict.effective.contains(&by_member));
    assert_eq!(verdict.effective, [by_senior].into());
    // Members stand above each other by account, and may not remove.
    let mut story = Story::begin(4, &[]);
    story.mark(2, 0);
    story.order(2, 0, REMOVE, 3, 1);
    assert!(story.judge().effective.is_empty());
}

#[test]
fn of_two_who_remove_each_other_the_higher_stays() {
    // 3 is made owner too on the way, and then stands above 2.
    let tell = |cut: u64| {
        let mut story = Story::begin(4, &[2, 3]);
        story.commit(1, 0, 10, |s| {
            s.ext.roles.insert(account(3), RoleEntry { role: Role::Owner, epoch: 11 });
        });
        story.mark(2, 0);
        let by_2 = story.order(2, 0, REMOVE, 3, 0);
        story.mark(3, 10);
        let by_3 = story.order(3, 10, REMOVE, 2, cut);
        (story.judge().effective, by_2, by_3)
    };
    let (effective, _, by_3) = tell(1);
    assert_eq!(effective, [by_3].into());
    let (effective, by_2, by_3) = tell(2);
    assert_eq!(effective, [by_2, by_3].into());
}

#[test]
fn an_order_does_not_refer_to_the_past() {
    let mut story = Story::begin(4, &[2]);
    story.commit(1, 0, 10, |_| {});
    story.mark(2, 0);
    story.mark(2, 10);
    // To another state than that of the mark before it.
    story.order(2, 0, REMOVE, 3, 1);
    // The old state marked anew.
    story.mark(2, 0);
    story.order(2, 0, REMOVE, 3, 1);
    assert!(story.judge().effective.is_empty());
    story.mark(2, 10);
    let held = story.order(2, 10, REMOVE, 3, 1);
    assert_eq!(story.judge().effective, [held].into());
    // Two orders after one mark are one chain; without the first one the second
    // does not count yet.
    let second = story.order(2, 10, REMOVE, 4, 1);
    assert_eq!(story.judge().effective, [held, second].into());
    story.facts.orders.remove(2);
    assert!(story.judge().effective.is_empty());
}

#[test]
fn two_objects_under_one_number_end_a_chain() {
    let mut story = Story::fork(4, &[2]);
    story.mark(2, 0);
    let before = story.last.clone();
    story.marks(&[2, 3, 4], 20);
    story.mark(1, 10);
    assert_eq!(story.choice(), (state(20), Some(Step::Majority)));
    story.order(2, 20, REMOVE, 4, 1);
    assert_eq!(story.judge().effective.len(), 1);
    // 2 said something else under number 2: it has no vote, and no order, but
    // still counts among the four.
    story.last.insert(device(2), before[&device(2)]);
    story.mark(2, 10);
    let rival = story.facts.marks.pop().expect("a mark");
    let with_rival = {
        let mut story = Story { facts: story.facts.clone(), last: BTreeMap::new() };
        story.facts.rivals.push(rival);
        story
    };
    assert_eq!(with_rival.choice(), (state(20), Some(Step::Votes)));
    assert!(with_rival.judge().effective.is_empty());
    // The same from the number alone.
    story.facts.mutes.insert(device(2), 2);
    assert_eq!(story.choice(), (state(20), Some(Step::Votes)));
}

#[test]
fn a_successor_of_another_mark_ends_a_chain() {
    let mut story = Story::fork(3, &[]);
    story.marks(&[2, 3], 20);
    assert_eq!(story.judge().forks[&state(0)], Step::Live);
    story.last.insert(device(3), (1, [7; 32]));
    story.marks(&[3, 1], 10);
    assert_eq!(story.choice(), (state(10), Some(Step::Rank)));
}

#[test]
fn caps_spare_what_others_marked() {
    let mut story = Story::begin(4, &[]);
    for child in 20..26 {
        story.commit(2, 0, child, |_| {});
    }
    // Own descendants protect nothing.
    story.commit(2, 25, 30, |_| {});
    story.mark(2, 30);
    assert_eq!(story.choice(), (state(20), Some(Step::Id)));
    let verdict = story.judge();
    assert!(!verdict.forks.contains_key(&state(25)));
    story.mark(3, 30);
    assert_eq!(story.choice(), (state(30), Some(Step::Live)));
    // More commits than one state keeps: the best ranked stay.
    let mut story = Story::begin(70, &[]);
    for by in 1..=70 {
        story.commit(by, 0, 100 + by, |_| {});
    }
    let read = Oracle::read(&story.facts).expect("facts");
    let kept = read.kept(read.states[&state(0)]);
    assert_eq!(kept.len(), PER_STATE);
    assert_eq!(kept[0].account, account(1));
}

#[test]
fn variants_of_a_commit_are_one() {
    let mut story = Story::begin(3, &[]);
    story.commit(2, 0, 20, |_| {});
    story.commit_to(CommitId([19; 32]), 2, 0, 20);
    let verdict = story.judge();
    assert_eq!(verdict.tip, state(20));
    assert!(verdict.forks.is_empty());
    story.mark_with(1, 0, &[], &[20]);
    story.mark_with(3, 0, &[], &[19]);
    assert_eq!(story.judge().tip, state(0));
}

#[test]
fn a_commit_that_more_call_bad_is_rejected() {
    let mut story = Story::begin(5, &[]);
    story.commit(2, 0, 20, |_| {});
    story.marks(&[2, 3], 20);
    story.mark_with(1, 0, &[], &[20]);
    // One against one, the author not counted.
    assert_eq!(story.judge().tip, state(20));
    story.mark_with(4, 0, &[], &[20]);
    assert_eq!(story.judge().tip, state(0));
    // Who voted under it cannot call it bad; the others are as many.
    story.mark_with(3, 20, &[], &[20]);
    story.mark(5, 20);
    assert_eq!(story.judge().tip, state(20));
}

#[test]
fn a_large_group_is_led_by_its_moderators() {
    let mut story = Story::fork(65, &[3, 4]);
    story.marks(&(5..=65).collect::<Vec<_>>(), 20);
    story.marks(&[1, 3], 10);
    assert_eq!(story.choice(), (state(10), Some(Step::Majority)));
}

#[test]
fn an_old_majority_outlives_the_removal_of_one_of_it() {
    let mut story = Story::fork(6, &[]);
    story.marks(&[3, 4, 5], 10);
    story.commit(1, 10, 11, out(5));
    story.mark_with(1, 10, &[(5, 1)], &[]);
    story.order(1, 10, REMOVE, 5, 1);
    story.marks(&[1, 3, 4], 11);
    story.mark(2, 20);
    let verdict = story.judge();
    assert_eq!((verdict.tip, verdict.forks[&state(0)]), (state(11), Step::Majority));
    assert!(verdict.open.is_empty());
    // Someone else's way would leave what most voted for.
    let oracle = Oracle::read(&story.facts).expect("facts");
    assert!(oracle.undone(state(11)).is_empty());
    assert!(oracle.undone(state(20)).is_empty(), "one of the four is to go");
    story.facts.orders.clear();
    let oracle = Oracle::read(&story.facts).expect("facts");
    assert_eq!(oracle.undone(state(20)), [state(0)]);
}

#[test]
fn a_demotion_takes_old_rights_only() {
    let mut story = Story::begin(4, &[2]);
    story.marks(&[1, 2], 0);
    let demoted = story.order(1, 0, OrderKind::Demote, 2, 1);
    let late = story.order(2, 0, REMOVE, 3, 0);
    let verdict = story.judge();
    assert_eq!(verdict.effective, [demoted].into());
    assert_eq!(verdict.open, [demoted]);
    // Made an admin again, it has new rights; but its demotion was not lifted.
    story.commit(1, 0, 10, |s| {
        s.ext.roles.insert(account(2), RoleEntry { role: Role::Admin, epoch: 11 });
    });
    story.mark(2, 10);
    let anew = story.order(2, 10, REMOVE, 3, 0);
    let verdict = story.judge();
    assert!(verdict.effective.contains(&anew) && !verdict.effective.contains(&late));
    assert_eq!(verdict.open.len(), 2);
    story.order_with(1, 0, OrderKind::Add, 2, 9, vec![demoted]);
    assert_eq!(story.judge().open, [anew]);
}

#[test]
fn a_lifted_removal_gives_no_old_rights_back() {
    let mut story = Story::begin(4, &[2, 3]);
    story.marks(&[1, 2, 3], 0);
    let removed = story.order(1, 0, REMOVE, 2, 1);
    let old = story.order(2, 0, REMOVE, 4, 0);
    // Who stands below the issuer lifts nothing.
    story.order_with(3, 0, OrderKind::Add, 2, 9, vec![removed]);
    assert_eq!(story.judge().effective, [removed].into());
    story.order_with(1, 0, OrderKind::Add, 2, 9, vec![removed]);
    assert!(story.judge().effective.is_empty(), "neither the removal nor {old:?}");
    // A leave is lifted by whoever may add.
    let mut story = Story::begin(4, &[2, 3]);
    story.marks(&[2, 3], 0);
    let left = story.order(2, 0, OrderKind::Leave, 2, 2);
    assert_eq!(story.judge().effective, [left].into());
    story.order_with(3, 0, OrderKind::Add, 2, 9, vec![left]);
    assert!(story.judge().effective.is_empty());
}

#[test]
fn without_roles_one_is_the_owner() {
    let mut story = Story::begin(4, &[]);
    story.facts.states[0].ext.roles.clear();
    let first = (1..=4).min_by_key(|n| rank(&story.facts.gid, 0, &account(*n))).expect("one");
    let other = if first == 1 { 2 } else { 1 };
    story.marks(&[first, other], 0);
    let held = story.order(first, 0, REMOVE, other, 1);
    story.order(other, 0, REMOVE, first, 1);
    assert_eq!(story.judge().effective, [held].into());
}
