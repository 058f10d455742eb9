//! `kith-sim`: runs many seeds and adds up what they found. Prints
//! `name: value` lines; ends with 1 if anything did not hold.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use kith_sim::run::{Report, seed};

const HELP: &str = "\
kith-sim --seeds N [--from SEED] [--threads N] [--floors]   many seeds
kith-sim --seed SEED                                       one seed, twice, with all that it found";

/// What a whole run has to contain, so that quiet seeds do not pass: for 2,000
/// seeds, and in proportion for others.
const FLOORS: &[(&str, u64)] = &[
    ("commits", 40_000),
    ("forks", 4_000),
    ("rollbacks", 1_000),
    ("readds", 200),
    ("crashes", 4_000),
    ("removals", 2_000),
];
/// Seeds for which the floors are meant.
const FLOOR_SEEDS: u64 = 2_000;
/// Counters of faults, all of which have to be zero.
const ZEROS: &[&str] = &[
    "not_set_up",
    "at_rest",
    "diverged",
    "lost",
    "duplicated",
    "nonce_reuse",
    "removed_still_in",
    "read_after_removal",
    "oracle",
    "order_open",
    "finality",
    "panicked",
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        args.iter()
            .position(|a| a == name)
            .and_then(|at| args.get(at + 1))
            .and_then(|v| v.parse::<u64>().ok())
    };
    if let Some(one) = value("--seed") {
        return single(one);
    }
    let Some(seeds) = value("--seeds") else {
        println!("{HELP}");
        return ExitCode::FAILURE;
    };
    let threads = value("--threads").unwrap_or(2).clamp(1, 64);
    many(value("--from").unwrap_or(1), seeds, threads, args.iter().any(|a| a == "--floors"))
}

fn single(one: u64) -> ExitCode {
    let report = seed(one);
    println!("{report:#?}");
    let again = seed(one);
    let same = again.trace == report.trace;
    println!("sim.same_trace: {same}");
    if same && report.faulty.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn many(from: u64, seeds: u64, threads: u64, floors: bool) -> ExitCode {
    let next = AtomicU64::new(from);
    let reports: Mutex<Vec<Report>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let one = next.fetch_add(1, Ordering::Relaxed);
                    if one >= from + seeds {
                        return;
                    }
                    let report = std::panic::catch_unwind(|| seed(one)).unwrap_or_else(|_| Report {
                        seed: one,
                        faulty: vec![("panicked", "see above".into())],
                        ..Report::default()
                    });
                    for (counter, why) in report.faulty.iter().take(3) {
                        println!("seed {one}: {counter}: {why}");
                    }
                    if let Ok(mut all) = reports.lock() {
                        all.push(report);
                    }
                }
            });
        }
    });
    let reports = reports.into_inner().unwrap_or_default();
    sum(&reports, seeds, floors)
}

fn sum(reports: &[Report], seeds: u64, floors: bool) -> ExitCode {
    let total = |f: fn(&Report) -> u64| reports.iter().map(f).sum::<u64>();
    let counts = [
        ("commits", total(|r| r.commits)),
        ("forks", total(|r| r.forks)),
        ("rollbacks", total(|r| r.rollbacks)),
        ("readds", total(|r| r.readds)),
        ("crashes", total(|r| r.crashes)),
        ("removals", total(|r| r.removals)),
        ("texts", total(|r| r.texts)),
        ("ciphertexts", total(|r| r.ciphertexts)),
    ];
    println!("sim.seeds: {}", reports.len());
    let mut held = reports.len() as u64 == seeds;
    for counter in ZEROS {
        let bad: Vec<u64> =
            reports.iter().filter(|r| r.faulty.iter().any(|(c, _)| c == counter)).map(|r| r.seed).collect();
        println!("sim.{counter}: {}", bad.len());
        if !bad.is_empty() {
            held = false;
            println!("  seeds: {:?}", bad.iter().take(20).collect::<Vec<_>>());
        }
    }
    for (name, count) in counts {
        println!("sim.{name}: {count}");
        let floor = FLOORS.iter().find(|(n, _)| *n == name).map_or(0, |(_, f)| f * seeds / FLOOR_SEEDS);
        if floors && count < floor {
            held = false;
            println!("  below its floor of {floor}");
        }
    }
    let mut steps: BTreeMap<&str, u64> = BTreeMap::new();
    for (step, n) in reports.iter().flat_map(|r| &r.oracle_forks) {
        *steps.entry(step).or_default() += n;
    }
    println!("sim.oracle_forks: {}", steps.values().sum::<u64>());
    for (step, n) in steps {
        println!("sim.oracle_forks.{step}: {n}");
    }
    println!("sim.heal_rounds_max: {}", reports.iter().map(|r| r.heal_rounds).max().unwrap_or(0));
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for kind in reports.iter().flat_map(|r| &r.faults) {
        *kinds.entry(kind).or_default() += 1;
    }
    for (kind, in_seeds) in kinds {
        println!("sim.fault.{kind}: {in_seeds} seeds");
        held &= !floors || in_seeds * FLOOR_SEEDS >= 100 * seeds;
    }
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
