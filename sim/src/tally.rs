//! Many seeds side by side, and the sums over them with the floors that they
//! have to reach.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use kith_sim::run::attack::SCRIPTS;
use kith_sim::run::{Report, seed};

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
/// Seeds of these in which each kind of fault and each attack has to be.
const KIND_FLOOR: u64 = 100;
/// Faults that a whole run has to contain.
const FAULTS: &[&str] = &[
    "clock_skew",
    "crash",
    "crash_after_commit",
    "crash_before_commit",
    "delay",
    "failed_write",
    "few_images",
    "loss",
    "one_way",
    "partition",
    "relay_drops",
    "relay_full",
    "relay_lies",
    "relay_repeats",
    "relay_stops",
    "several_devices",
];
/// So often a long run says how far it is.
const PROGRESS_SEEDS: u64 = 50;
/// Counters of faults, all of which have to be zero.
const ZEROS: &[&str] = &[
    "not_set_up",
    "at_rest",
    "diverged",
    "lost",
    "duplicated",
    "said_aside",
    "nonce_reuse",
    "left_unstored",
    "removed_still_in",
    "read_after_removal",
    "oracle",
    "order_open",
    "finality",
    "two_faced",
    "put_out",
    "authority",
    "forged",
    "undone",
    "unbounded",
    "panicked",
];

/// Runs `f` on every number of a range, on some threads; the answers come in
/// no certain order. `f` answering `None` ends it.
pub(crate) fn each<T: Send>(
    from: u64,
    count: u64,
    threads: u64,
    f: impl Fn(u64) -> Option<T> + Sync,
) -> Vec<T> {
    let next = AtomicU64::new(from);
    let all: Mutex<Vec<T>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let one = next.fetch_add(1, Ordering::Relaxed);
                    if one >= from + count {
                        return;
                    }
                    let Some(done) = f(one) else { return };
                    if let Ok(mut all) = all.lock() {
                        all.push(done);
                    }
                }
            });
        }
    });
    all.into_inner().unwrap_or_default()
}

/// A run that never panics: that is a finding like others.
pub(crate) fn caught(seed: u64, f: impl FnOnce() -> Report) -> Report {
    let run = std::panic::AssertUnwindSafe(f);
    std::panic::catch_unwind(run).unwrap_or_else(|_| Report {
        seed,
        faulty: vec![("panicked", "see above".into())],
        ..Report::default()
    })
}

pub(crate) fn many(from: u64, seeds: u64, threads: u64, floors: bool) -> bool {
    let done = AtomicU64::new(0);
    let reports = each(from, seeds, threads, |one| {
        let report = caught(one, || seed(one));
        for (counter, why) in report.faulty.iter().take(3) {
            println!("seed {one}: {counter}: {why}");
        }
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        if done.is_multiple_of(PROGRESS_SEEDS) {
            eprintln!("{done} of {seeds} seeds");
        }
        Some(report)
    });
    sum(&reports, seeds, floors)
}

fn sum(reports: &[Report], seeds: u64, floors: bool) -> bool {
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
    let mut kinds: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    kinds.extend(FAULTS.iter().map(|f| (("fault", *f), 0)));
    kinds.extend(SCRIPTS.iter().map(|s| (("attack", s.name), 0)));
    for r in reports {
        for kind in &r.faults {
            *kinds.entry(("fault", kind)).or_default() += 1;
        }
        for kind in &r.attacks {
            *kinds.entry(("attack", kind)).or_default() += 1;
        }
    }
    for ((what, kind), in_seeds) in kinds {
        println!("sim.{what}.{kind}: {in_seeds} seeds");
        if floors && in_seeds * FLOOR_SEEDS < KIND_FLOOR * seeds {
            held = false;
            println!("  below its floor of {KIND_FLOOR} in {FLOOR_SEEDS}");
        }
    }
    held
}
