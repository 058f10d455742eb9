//! Controls: attacks with and without the defence that stops them, and each
//! defence missing until the checks notice.

use std::sync::atomic::{AtomicU64, Ordering};

use kith_sim::run::attack::{SCRIPTS, Script};
use kith_sim::run::{self, Report};
use kith_sim::{Mutant, mutant};

use crate::tally::{caught, each};

/// One attack, `seeds` times, and as often without its defence: the first
/// never succeeds, the second does.
pub(crate) fn scenario(script: &'static Script, seeds: u64, threads: u64) -> bool {
    let with = each(1, seeds, threads, |one| Some(caught(one, || run::scenario(script, one))));
    let without = each(1, seeds, threads, |one| {
        mutant::set(script.without);
        let report = caught(one, || run::scenario(script, one));
        mutant::set(&[]);
        Some(report)
    });
    let name = script.name;
    let faulty: Vec<&Report> = with.iter().filter(|r| !r.faulty.is_empty()).collect();
    for report in faulty.iter().take(5) {
        println!("{name}: seed {}: {:?}", report.seed, report.faulty.first());
    }
    let played = with.iter().filter(|r| !r.skipped).count();
    let succeeded = without.iter().filter(|r| !r.faulty.is_empty()).count();
    println!("scenario.{name}.played: {played} of {seeds} seeds");
    println!("scenario.{name}.succeeded: {} of {seeds} seeds", faulty.len());
    println!("scenario.{name}.succeeded_without_defence: {succeeded} of {seeds} seeds");
    faulty.is_empty() && succeeded > 0 && played as u64 == seeds
}

/// All attacks.
pub(crate) fn all_scenarios(seeds: u64, threads: u64) -> bool {
    let mut held = true;
    for script in SCRIPTS {
        held &= scenario(script, seeds, threads);
    }
    held
}

/// Fifty devices a day apart.
pub(crate) fn day_apart(seeds: u64) -> bool {
    let mut held = true;
    for one in 1..=seeds {
        let report = caught(one, || run::day_apart(one));
        println!("day_apart.devices: {}", report.devices);
        println!("day_apart.commits: {}", report.commits);
        println!("day_apart.together_after: {} s", report.together_s);
        println!("day_apart.faults: {}", report.faulty.len());
        for (counter, why) in report.faulty.iter().take(5) {
            println!("  seed {one}: {counter}: {why}");
        }
        held &= report.faulty.is_empty() && report.together_s <= 30;
    }
    held
}

/// The invariant (groups.md 2.10) behind a counter.
fn invariant(counter: &str) -> &'static str {
    match counter {
        "diverged" | "at_rest" | "put_out" => "INV-1",
        "lost" => "INV-2",
        "oracle" => "INV-3",
        "removed_still_in" | "order_open" => "INV-5",
        "nonce_reuse" | "left_unstored" => "INV-6",
        "duplicated" | "said_aside" => "INV-9",
        "unbounded" => "INV-10",
        "undone" | "finality" | "two_faced" => "INV-14",
        "authority" | "forged" => "INV-16",
        "read_after_removal" => "INV-17",
        _ => "none",
    }
}

/// Each defence missing, one at a time, in the seeds from 1 on.
pub(crate) fn mutants(only: Option<&str>, seeds: u64, threads: u64) -> bool {
    let (mut found, mut survived) = (0, 0);
    let mut passed = true;
    for missing in Mutant::ALL {
        let name = format!("{missing:?}");
        if *missing == Mutant::Unchecked || only.is_some_and(|o| o != name) {
            continue;
        }
        let first = AtomicU64::new(u64::MAX);
        let reports = each(1, seeds, threads, |one| {
            if first.load(Ordering::Relaxed) < one {
                return None;
            }
            mutant::set(&[*missing]);
            let report = caught(one, || run::seed(one));
            mutant::set(&[]);
            if !report.faulty.is_empty() {
                first.fetch_min(one, Ordering::Relaxed);
            }
            Some(report)
        });
        let caught_by = reports.iter().filter(|r| !r.faulty.is_empty()).min_by_key(|r| r.seed);
        match caught_by {
            Some(report) => {
                found += 1;
                let (counter, why) = report.faulty.first().cloned().unwrap_or_default();
                let invariant = invariant(counter);
                println!(
                    "mutant {name}: caught seed {} invariant {invariant} ({counter}: {why})",
                    report.seed
                );
                let whole = caught(report.seed, || run::seed(report.seed));
                if !whole.faulty.is_empty() {
                    passed = false;
                    println!("  the whole engine fails there as well: {:?}", whole.faulty.first());
                }
            }
            None => {
                survived += 1;
                println!("mutant {name}: survived {seeds} seeds");
            }
        }
    }
    println!("mutants: {found} caught, {survived} survived");
    passed && survived == 0
}
