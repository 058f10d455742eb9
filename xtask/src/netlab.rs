//! `cargo xtask netlab`: real processes in networks made of namespaces, behind
//! address translation of every kind. Owns those networks and what is held
//! against them: counters of the translating machines, not what a node says.

mod back;
mod faults;
mod matrix;
mod pair;
pub(crate) mod reach;
mod street;
mod truth;
mod turn;

use anyhow::{Result, bail};

use crate::env::{Binaries, Env, Profile};
use crate::{tools, ui};

/// Runs the lab that `args` name.
pub(crate) fn run(env: &Env, args: &[String]) -> Result<bool> {
    let Some((what, rest)) = args.split_first() else {
        bail!("netlab matrix, faults, turn, back, calls or interop");
    };
    if what == "calls" {
        return crate::bench::call::nat(env, rest);
    }
    if what == "interop" {
        return interop(env);
    }
    if what == "back" {
        return back::run(env, rest);
    }
    if let Some(reason) = missing(env) {
        println!("skipped: {reason}");
        return Ok(true);
    }
    match what.as_str() {
        "matrix" => matrix::run(env, rest),
        "faults" => faults::run(env, rest),
        "turn" => turn::run(env, rest),
        other => bail!("there is no lab {other:?}: matrix, faults, turn, back, calls or interop"),
    }
}

/// The programs to try: those that `KITH_BIN` and `KITH_BOOTSTRAP_BIN` name, as
/// in the browser tests, else built now.
fn programs(env: &Env) -> Result<Binaries> {
    programs_of(env, Profile::Dev)
}

fn programs_of(env: &Env, profile: Profile) -> Result<Binaries> {
    match named() {
        Some(programs) => Ok(programs),
        None => env.binaries(&[], profile),
    }
}

/// The programs that `KITH_BIN` and `KITH_BOOTSTRAP_BIN` name.
pub(crate) fn named() -> Option<Binaries> {
    let named = |name| std::env::var_os(name).map(std::path::PathBuf::from);
    Some(Binaries { kith: named("KITH_BIN")?, bootstrap: named("KITH_BOOTSTRAP_BIN")? })
}

/// Why networks cannot be made here, if so.
pub(crate) fn missing(env: &Env) -> Option<String> {
    if let Err(error) = tools::ensure(env, &[tools::IP, tools::NFT, tools::CONNTRACK]) {
        return Some(format!("{error:#}"));
    }
    crate::lab::namespace::probe()
        .err()
        .map(|error| format!("this user may not make network namespaces ({error:#})"))
}

/// A libp2p node that others wrote, against the relay, on loopback.
fn interop(env: &Env) -> Result<bool> {
    tools::ensure(env, &[tools::NPM])?;
    let folder = env.root.join("bootstrap/interop");
    ui::install(&folder)?;
    let Binaries { bootstrap, .. } = programs(env)?;
    let mut test = ui::npm(&folder, &["test", "--silent"]);
    test.env("KITH_BOOTSTRAP_BIN", bootstrap);
    Ok(crate::steps::tee(&mut test)?.1)
}

/// The pairs that every test run goes through.
pub(crate) fn short(env: &Env) -> Result<bool> {
    if let Some(reason) = missing(env) {
        println!("skipped: {reason}");
        return Ok(true);
    }
    let pairs = "full-cone:port-restricted,port-restricted:port-restricted,symmetric:symmetric,udp-blocked:port-restricted";
    matrix::run(env, &["--pairs".to_owned(), pairs.to_owned(), "--tries".to_owned(), "1".to_owned()])
}
