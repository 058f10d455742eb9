//! Seeds: the first sixty, and each that ever failed (`seeds.txt`).
//! `cargo xtask sim --seeds N` runs as many as wanted.

use kith_sim::run::attack::{SCRIPTS, Script};
use kith_sim::run::{Report, scenario, seed};
use kith_sim::{Mutant, mutant};

fn hold(seeds: impl IntoIterator<Item = u64>) {
    for one in seeds {
        let report = seed(one);
        assert!(report.faulty.is_empty(), "seed {one}: {:?}", report.faulty);
    }
}

macro_rules! first_seeds {
    ($($name:ident: $from:expr;)*) => {
        $(#[test]
        fn $name() {
            hold($from..$from + 10);
        })*
    };
}

first_seeds! {
    seeds_from_1_hold: 1;
    seeds_from_11_hold: 11;
    seeds_from_21_hold: 21;
    seeds_from_31_hold: 31;
    seeds_from_41_hold: 41;
    seeds_from_51_hold: 51;
}

/// Every seed of the list, one in `parts` of them.
fn regressions(part: usize, parts: usize) {
    let list = include_str!("../seeds.txt");
    let seeds: Vec<u64> = list.lines().filter_map(|l| l.split_whitespace().next()?.parse().ok()).collect();
    assert!(!seeds.is_empty());
    hold(seeds.into_iter().skip(part).step_by(parts));
}

macro_rules! failed_seeds {
    ($parts:expr; $($name:ident: $part:expr;)*) => {
        $(#[test]
        fn $name() {
            regressions($part, $parts);
        })*
    };
}

failed_seeds! {
    6;
    seeds_that_failed_once_hold_part_1: 0;
    seeds_that_failed_once_hold_part_2: 1;
    seeds_that_failed_once_hold_part_3: 2;
    seeds_that_failed_once_hold_part_4: 3;
    seeds_that_failed_once_hold_part_5: 4;
    seeds_that_failed_once_hold_part_6: 5;
}

#[test]
fn one_seed_gives_one_trace() {
    let (one, again, other) = (seed(41), seed(41), seed(42));
    assert_eq!(one.trace, again.trace);
    assert_ne!(one.trace, other.trace);
}

/// Every attack once in a calm world; the long ones have a command of their
/// own.
#[test]
fn attacks_do_not_succeed() {
    for script in SCRIPTS.iter().filter(|s| s.commits_before < 100) {
        let report = scenario(script, 1);
        assert!(!report.skipped, "{}: nobody could play it", script.name);
        assert!(report.faulty.is_empty(), "{}: {:?}", script.name, report.faulty);
    }
}

/// Nobody writes after the garbage commit: the marks that reject it go out all
/// the same.
#[test]
fn a_garbage_commit_is_rejected_in_a_quiet_group() {
    let script = Script::named("colluders").expect("it is a script");
    let report = scenario(script, 21);
    assert!(!report.skipped && report.faulty.is_empty(), "{:?}", report.faulty);
}

/// Controls: with a defence missing, the checks find something.
#[test]
fn missing_defences_are_noticed() {
    let notices = |missing: Mutant, run: &dyn Fn() -> Report| {
        mutant::set(&[missing]);
        let report = run();
        mutant::set(&[]);
        assert!(!report.faulty.is_empty(), "nobody noticed that {missing:?}");
    };
    notices(Mutant::ImageRewound, &|| seed(2));
    for (name, missing) in [
        ("forged-tags", Mutant::UnsignedEnvelope),
        ("self-promotion", Mutant::AnyWelcome),
        ("seat-swap", Mutant::SeatChanges),
        ("race-removal", Mutant::OrdersLapse),
    ] {
        let script = Script::named(name).expect("it is a script");
        notices(missing, &|| scenario(script, 1));
    }
}
