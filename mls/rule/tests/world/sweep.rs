//! Seeds: a few in each test run, thousands when named.

use super::sim::{Figures, Setting, ours, run};

fn sweep(seeds: std::ops::Range<u64>, rogues: bool) -> Vec<(u64, Figures)> {
    let mut out = Vec::new();
    let mut failed = Vec::new();
    for seed in seeds {
        let (world, end) = run(Setting { seed, rogues, ticks: 120 }, ours);
        if let Err(why) = end {
            failed.push(format!("seed {seed}: {why}"));
        }
        out.push((seed, world.figures));
    }
    println!("unrest: {} of {} runs", failed.len(), out.len());
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), out.len(), failed.join("\n"));
    out
}

#[test]
fn honest_groups_come_to_rest() {
    sweep(0..60, false);
}

#[test]
fn groups_with_rogues_come_to_rest() {
    sweep(0..60, true);
}

/// The figures of a larger sweep; seeds that the other tests do not have.
#[test]
#[ignore = "minutes; figures for the record"]
fn figures() {
    for (name, rogues, seeds) in [("honest", false, 1_000..2_000), ("rogues", true, 2_000..3_000)] {
        let runs = sweep(seeds, rogues);
        let max = |f: fn(&Figures) -> usize| runs.iter().map(|r| f(&r.1)).max().unwrap_or(0);
        let sum = |f: fn(&Figures) -> usize| runs.iter().map(|r| f(&r.1)).sum::<usize>();
        println!("{name}_runs: {} runs", runs.len());
        println!("{name}_commits: {} commits", sum(|f| f.commits));
        println!("{name}_forks: {} forks", sum(|f| f.forks));
        println!("{name}_orders: {} orders", sum(|f| f.orders));
        println!("{name}_rejected: {} commits", sum(|f| f.rejected));
        println!("{name}_dropped: {} commits", sum(|f| f.dropped));
        println!("{name}_muted: {} devices", sum(|f| f.muted));
        println!("{name}_readds: {} commits", sum(|f| f.heals));
        println!("{name}_nobody_left: {} runs", sum(|f| usize::from(f.alone)));
        println!("{name}_deepest_rollback: {} commits", max(|f| f.deepest));
        println!("{name}_rest_max: {} ticks", runs.iter().map(|r| r.1.rest).max().unwrap_or(0));
    }
}

/// One seed, as `SEED=1034 ROGUES=0`.
#[test]
#[ignore = "for looking at a seed"]
fn one() {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok()).unwrap_or(0);
    let set = Setting { seed: number("SEED"), rogues: number("ROGUES") == 1, ticks: 120 };
    let (world, end) = run(set, ours);
    println!("{:?} {end:?}", world.figures);
}
