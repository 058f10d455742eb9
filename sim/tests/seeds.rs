//! Seeds: some of the first ones, and each that ever failed (`seeds.txt`).
//! `cargo xtask sim --seeds N` runs as many as wanted.

use kith_sim::run::seed;

fn hold(seeds: impl IntoIterator<Item = u64>) {
    for one in seeds {
        let report = seed(one);
        assert!(report.faulty.is_empty(), "seed {one}: {:?}", report.faulty);
    }
}

#[test]
fn the_first_seeds_hold() {
    hold(1..=6);
}

#[test]
fn some_more_seeds_hold() {
    hold(7..=12);
}

/// Every seed of the list, one in `parts` of them.
fn regressions(part: usize, parts: usize) {
    let list = include_str!("../seeds.txt");
    let seeds: Vec<u64> = list.lines().filter_map(|l| l.split_whitespace().next()?.parse().ok()).collect();
    assert!(!seeds.is_empty());
    hold(seeds.into_iter().skip(part).step_by(parts));
}

#[test]
fn seeds_that_failed_once_hold_first_half() {
    regressions(0, 2);
}

#[test]
fn seeds_that_failed_once_hold_second_half() {
    regressions(1, 2);
}

#[test]
fn one_seed_gives_one_trace() {
    let (one, again, other) = (seed(41), seed(41), seed(42));
    assert_eq!(one.trace, again.trace);
    assert_ne!(one.trace, other.trace);
}
