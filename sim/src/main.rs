//! `kith-sim`: runs many seeds and adds up what they found. Prints
//! `name: value` lines; ends with 1 if anything did not hold.

mod control;
mod tally;

use std::process::ExitCode;

use kith_sim::run::attack::Script;
use kith_sim::run::{Report, scenario, seed};

/// Much of a run is small rows that come and go.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HELP: &str = "\
kith-sim --seeds N [--from SEED] [--threads N] [--floors]   many seeds
kith-sim --seed SEED                                       one seed, twice, with all that it found
kith-sim --scenario NAME [--seeds N]                       one attack in a calm world, with and without its defence
kith-sim --scenario NAME --seed SEED                       one seed of it, twice, with all that it found
kith-sim --scenario all | day-apart
kith-sim --mutants [NAME] [--seeds N]                      each defence missing, until the checks notice";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let text = |name: &str| {
        args.iter().position(|a| a == name).and_then(|at| args.get(at + 1)).filter(|v| !v.starts_with('-'))
    };
    let has = |name: &str| args.iter().any(|a| a == name);
    let value = |name: &str| text(name).and_then(|v| v.parse::<u64>().ok());
    let threads = value("--threads").unwrap_or(2).clamp(1, 64);
    let held = if let Some(one) = value("--seed") {
        match text("--scenario").map(|name| Script::named(name)) {
            None => single(one, seed),
            Some(Some(script)) => single(one, |one| scenario(script, one)),
            Some(None) => return help(),
        }
    } else if has("--scenario") {
        let seeds = value("--seeds").unwrap_or(50);
        match text("--scenario").map(String::as_str) {
            Some("day-apart") => control::day_apart(value("--seeds").unwrap_or(1)),
            Some("all") => control::all_scenarios(seeds, threads),
            Some(name) => match Script::named(name) {
                Some(script) => control::scenario(script, seeds, threads),
                None => return help(),
            },
            None => return help(),
        }
    } else if has("--mutants") {
        control::mutants(text("--mutants").map(String::as_str), value("--seeds").unwrap_or(300), threads)
    } else if let Some(seeds) = value("--seeds") {
        tally::many(value("--from").unwrap_or(1), seeds, threads, has("--floors"))
    } else {
        return help();
    };
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn help() -> ExitCode {
    println!("{HELP}");
    for script in kith_sim::run::attack::SCRIPTS {
        println!("  scenario {}", script.name);
    }
    ExitCode::FAILURE
}

fn single(one: u64, run: impl Fn(u64) -> Report) -> bool {
    let report = run(one);
    println!("{report:#?}");
    let again = run(one);
    let same = again.trace == report.trace;
    println!("sim.same_trace: {same}");
    same && report.faulty.is_empty()
}
