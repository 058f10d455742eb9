//! `cargo xtask`: everything that is done to this repository beyond a plain
//! build. Owns the order of the steps and the processes that they start; knows
//! the product only through its binaries, its HTTP API and its files.

mod bench;
mod canary;
mod capture;
mod demo;
mod env;
mod generate;
mod lab;
mod layers;
mod netlab;
mod random;
mod run;
mod sim;
mod soak;
mod steps;
mod tally;
mod test;
mod tools;
mod ui;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::env::Env;

const HELP: &str = "\
cargo xtask COMMAND

  run [-- ARGS]              build and start one node (`kith run ARGS`)
  run --relay [-- ARGS]      build and start a relay (`kith-bootstrap ARGS`)
  run --demo                 one relay and three nodes, already acquainted
  test [--only PART]...      everything that CI checks; `--list` names the parts
  ui [--force]               build the web app when its sources changed
  gen [--check]              write web-ui/openapi.json and the app's types
  soak crash [--rounds N] [--seed S] [--messages N] [--control]
  soak file [--mib N] [--drop-s S] [--away|--no-away]
                             a large file over a link that drops, with kills; a file through the relay alone
  bench file [--mib N] [--far-mib N] [--no-near] [--no-sources] [--no-far]
                             a file from node to node, beside bare libp2p and TCP; from three sources, one of
                             them bad; over 80 ms and 1 % loss
  bench file|film, soak file --programs FOLDER
                             measure the programs in a folder instead of building them
  bench film [--mib N]       a film of 500 MiB in a browser, watched while it arrives
  bench dm [--runs N]        latency, throughput, start and memory of two nodes
  bench call [--calls N] [--only near|far|nat] [--dev]
                             two browsers, each in a network of its own: ring to picture on one link, at 80 ms
                             of round trip, and behind two port-restricted routers; processor time; a cut link
  netlab calls [--pairs A:B,…] [--release]
                             calls behind address translation of every kind, to a browser and to an endpoint
                             without one; captures with a hidden address; an altered key; a bad line
  bench reach [--runs N] [--contacts N] [--settle-s N] [--idle-s N] [--dev]
                             first message after a cold start, and what idling costs
  bench group                processor time and bytes of groups of up to 1,000
  sim --seeds N [--from SEED] [--floors]
                             groups of whole nodes in virtual time, faults and all
  sim --seed SEED            one seed, twice, with everything that it found
  netlab matrix [--pairs A:B,…] [--tries N]
                             two nodes behind every pair of NAT kinds, in network namespaces
  netlab faults [--only NAME,…]
                             relays that restart, partitions, networks that change
  netlab turn                the relay's TURN server against coturn's client and a browser, guard on
  netlab back [--count N]    a relay that returns to many who wait for it
  netlab interop             a js-libp2p node against the relay
  canary [--control]         look for planted words wherever they must not be";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one command. `false`: it ran and found faults.
fn dispatch(args: &[String]) -> Result<bool> {
    let Some((command, rest)) = args.split_first() else {
        println!("{HELP}");
        return Ok(true);
    };
    if matches!(command.as_str(), "help" | "--help" | "-h") {
        println!("{HELP}");
        return Ok(true);
    }
    match command.as_str() {
        // What labs start in a namespace: it knows of no checkout.
        "distance" => return lab::distance::run(rest),
        "queue" => return lab::queue::run(rest),
        _ => {}
    }
    let env = Env::discover()?;
    match command.as_str() {
        "run" => run::run(&env, rest),
        "test" => test::run(&env, rest),
        "ui" => {
            env::no_more(rest, &["--force"])?;
            tools::ensure(&env, &[tools::NPM])?;
            ui::build(&env, rest.iter().any(|a| a == "--force"))?;
            Ok(true)
        }
        "gen" => {
            env::no_more(rest, &["--check"])?;
            generate::run(&env, rest.iter().any(|a| a == "--check"))
        }
        "sim" => sim::run(&env, rest),
        "netlab" => netlab::run(&env, rest),
        "soak" => soak::run(&env, rest),
        "bench" => bench::run(&env, rest),
        "canary" => canary::run(&env, rest),
        other => bail!("there is no command {other:?}; `cargo xtask help` lists them"),
    }
}
