//! Roles over whole nodes: what is offered is what the group takes, who made
//! whom what stands in every timeline, and what a losing branch showed is
//! taken back in words.

use kith_core::api::Command;
use kith_core::read;
use kith_core::view::{ConversationDetails, Member, Role};
use kith_sim::{NodeIndex, World};
use kith_wire::ids::GroupId;

fn details(world: &World, at: NodeIndex, group: &GroupId) -> ConversationDetails {
    let (store, me) = (world.store(at).unwrap(), world.account(at).unwrap());
    read::conversation(&*store, &me, group).unwrap().unwrap()
}

fn member(world: &World, at: NodeIndex, group: &GroupId, who: NodeIndex) -> Option<Member> {
    let account = world.account(who).unwrap().to_text();
    details(world, at, group).members.into_iter().find(|m| m.account == account)
}

fn set(world: &mut World, at: NodeIndex, group: GroupId, who: NodeIndex, role: Role) {
    let account = world.account(who).unwrap();
    world.ask(at, Command::SetRole { group, account, role }).unwrap();
    world.run(20_000);
}

fn count(world: &World, at: NodeIndex, group: &GroupId, line: &str) -> usize {
    world.lines(at, group).iter().filter(|l| *l == line).count()
}

#[test]
fn who_made_whom_what_stands_in_every_timeline() {
    let mut world = World::new(1);
    let all = ["Alice", "Bob", "Carol"].map(|n| world.node(n).unwrap());
    let [a, b, c] = all;
    let group = world.gather(&all);
    set(&mut world, a, group, b, Role::Admin);
    set(&mut world, b, group, c, Role::Admin);
    set(&mut world, a, group, c, Role::Member);
    set(&mut world, a, group, b, Role::Owner);
    set(&mut world, a, group, a, Role::Member);
    let said = [
        "Alice, Bob, admin",
        "Bob, Carol, admin",
        "Alice, Carol, member",
        "Alice, Bob, owner",
        "Alice, Alice, member",
    ];
    for at in all {
        let roles: Vec<String> = world
            .lines(at, &group)
            .into_iter()
            .filter_map(|l| Some(l.strip_prefix("role: ")?.to_owned()))
            .collect();
        assert_eq!(roles, said, "{at:?}");
        let role = |who| member(&world, at, &group, who).unwrap().role;
        assert_eq!([a, b, c].map(role), [Role::Member, Role::Owner, Role::Member], "{at:?}");
    }
    let gone = world.account(c).unwrap();
    world.ask(b, Command::RemoveMember { group, account: gone }).unwrap();
    world.run(20_000);
    assert_eq!(count(&world, a, &group, "removed: Bob, Carol"), 1);
    assert_eq!(count(&world, c, &group, "removed: Bob, Carol"), 1);
    assert!(member(&world, a, &group, c).is_none());
}

/// With nobody above `member` left, one of the members is the owner, is told
/// so everywhere, and keeps that when giving others a role.
#[test]
fn a_group_without_roles_gets_an_owner() {
    let mut world = World::new(9);
    let all = ["Alice", "Bob", "Carol"].map(|n| world.node(n).unwrap());
    let [a, b, c] = all;
    let group = world.gather(&all);
    world.ask(a, Command::LeaveGroup { group }).unwrap();
    world.run(60_000);
    for (at, times) in [(a, 1), (b, 1), (c, 1)] {
        assert_eq!(count(&world, at, &group, "left: Alice, Alice"), times, "{:?}", world.lines(at, &group));
    }
    let (heir, other, names) = match member(&world, b, &group, b).unwrap().role {
        Role::Owner => (b, c, ["Bob", "Carol"]),
        _ => (c, b, ["Carol", "Bob"]),
    };
    for at in [b, c] {
        assert_eq!(
            count(&world, at, &group, &format!("heir: {}", names[0])),
            1,
            "{:?}",
            world.lines(at, &group)
        );
    }
    assert!(!member(&world, heir, &group, heir).unwrap().may_make_member, "there is nothing to lay down");
    set(&mut world, heir, group, other, Role::Admin);
    for at in [b, c] {
        let role = |who| member(&world, at, &group, who).unwrap().role;
        assert_eq!((role(heir), role(other)), (Role::Owner, Role::Admin));
        assert_eq!(count(&world, at, &group, &format!("role: {}, {}, admin", names[0], names[1])), 1);
    }
}

/// Whatever a person is not offered is refused, whatever is offered is done.
#[test]
fn what_is_offered_is_what_the_group_takes() {
    const ROLES: [Role; 3] = [Role::Owner, Role::Admin, Role::Member];
    let fresh = || {
        let mut world = World::new(7);
        let all = ["Alice", "Bob", "Carol", "Dora", "Emil"].map(|n| world.node(n).unwrap());
        let [a, b, c, d, _] = all;
        let group = world.gather(&all);
        set(&mut world, a, group, b, Role::Admin);
        set(&mut world, a, group, c, Role::Admin);
        set(&mut world, a, group, d, Role::Owner);
        // Bob put Carol down: Bob or somebody above may raise Carol again.
        set(&mut world, b, group, c, Role::Member);
        (world, all, group)
    };
    let (world, all, group) = fresh();
    let mut tried = 0;
    for at in all {
        for who in all {
            let theirs = member(&world, at, &group, who).unwrap();
            let offers = [theirs.may_make_owner, theirs.may_make_admin, theirs.may_make_member];
            for (role, offered) in ROLES.into_iter().zip(offers) {
                if theirs.role == role {
                    assert!(!offered, "{at:?} {who:?} {role:?}");
                    continue;
                }
                // Each try in a world of its own: an order holds for good.
                let (mut world, _, _) = fresh();
                let account = world.account(who).unwrap();
                let done = world.ask(at, Command::SetRole { group, account, role });
                assert_eq!(done.is_ok(), offered, "{at:?} {who:?} {role:?}: {done:?}");
                world.run(20_000);
                for seen_by in all {
                    let now = member(&world, seen_by, &group, who).unwrap().role;
                    assert_eq!(now, if offered { role } else { theirs.role }, "{at:?} {who:?} {role:?}");
                }
                tried += 1;
            }
            let (mut world, _, _) = fresh();
            let account = world.account(who).unwrap();
            if who != at {
                let done = world.ask(at, Command::RemoveMember { group, account });
                assert_eq!(done.is_ok(), theirs.may_remove, "{at:?} {who:?}: {done:?}");
            } else {
                assert!(!theirs.may_remove);
            }
        }
        let manages = member(&world, at, &group, at).unwrap().role != Role::Member;
        let shown = details(&world, at, &group);
        assert_eq!((shown.may_add, shown.may_rename), (manages, manages));
    }
    assert!(tried > 30, "{tried}");
}

/// Two admins change the group while they cannot reach each other. The branch
/// that loses is explained on its own side, and its change is made again.
#[test]
fn what_a_losing_branch_showed_is_taken_back_in_words() {
    let mut lost = (0, 0);
    for seed in 20..26 {
        let mut world = World::new(seed);
        let all = ["Alice", "Bob", "Carol"].map(|n| world.node(n).unwrap());
        let [a, b, c] = all;
        let dora = world.node("Dora").unwrap();
        let group = world.gather(&[a, b]);
        world.befriend(b, c);
        world.befriend(a, dora);
        set(&mut world, a, group, b, Role::Admin);
        world.reachable(a, b, false);
        let (of_a, of_b) = (vec![world.account(dora).unwrap()], vec![world.account(c).unwrap()]);
        world.ask(a, Command::AddMembers { group, members: of_a }).unwrap();
        world.ask(b, Command::AddMembers { group, members: of_b }).unwrap();
        world.run(3_000);
        assert_eq!(count(&world, a, &group, "added: Alice, Dora"), 1, "seed {seed}");
        assert_eq!(count(&world, b, &group, "added: Bob, Carol"), 1, "seed {seed}");
        world.reachable(a, b, true);
        world.run(120_000);
        for at in [a, b, c, dora] {
            assert_eq!(details(&world, at, &group).members.len(), 4, "seed {seed} {at:?}");
        }
        let (loser, name, winner) = match count(&world, a, &group, "withdrawn_added: Dora") {
            0 => (b, "Carol", a),
            _ => (a, "Dora", b),
        };
        lost = if loser == a { (lost.0 + 1, lost.1) } else { (lost.0, lost.1 + 1) };
        let told = world.lines(loser, &group);
        let by = if loser == a { "Alice" } else { "Bob" };
        let of =
            |line: &str| told.iter().position(|l| l == line).unwrap_or_else(|| panic!("{line}: {told:?}"));
        // Shown, taken back, made again, and then it stays.
        let added = format!("added: {by}, {name}");
        let back = of(&format!("withdrawn_added: {name}"));
        assert!(of(&added) < back && back < of("again: "), "seed {seed}: {told:?}");
        assert!(told.iter().rposition(|l| *l == added).unwrap() > back, "seed {seed}: {told:?}");
        assert_eq!(told.iter().filter(|l| l.starts_with("removed: ")).count(), 0, "seed {seed}: {told:?}");
        let quiet = world.lines(winner, &group);
        assert!(quiet.iter().all(|l| !l.starts_with("withdrawn") && !l.starts_with("again")), "{quiet:?}");
    }
    println!("lost by the owner {} and by the admin {}", lost.0, lost.1);
}
