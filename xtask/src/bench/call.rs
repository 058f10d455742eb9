//! `cargo xtask bench call`: two browsers with fake devices, each with its node
//! in a network namespace of its own: ring to first picture, processor time,
//! and what a cut of the link costs. `cargo xtask netlab calls`: the same two
//! behind address translation of every kind. The scenes are in
//! `web-ui/e2e/src/calls-apart.ts` and `calls-nat.ts`; without the right to
//! make namespaces they say so and are left out.

use anyhow::{Context as _, Result, bail};

use crate::env::{Binaries, Env, Profile, number, only_flags, output};
use crate::{netlab, tools, ui};

/// More calls in two minutes would not ring.
const CALLS_MAX: u64 = 12;
/// Round trip of the far pair, ms.
const TRIP_MS: u64 = 80;
/// The routers of the pair behind two.
const ROUTERS: &str = "port-restricted:port-restricted";

/// Settings of one run of scenes.
type Settings = Vec<(&'static str, String)>;

/// Runs the bench. `false`: something did not work.
pub(crate) fn run(env: &Env, rest: &[String]) -> Result<bool> {
    let calls = number(rest, "--calls", 10)?.clamp(1, CALLS_MAX).to_string();
    only_flags(rest, &["--calls", "--only"], &["--dev"])?;
    let dev = rest.iter().any(|a| a == "--dev");
    let only = rest.iter().position(|a| a == "--only").and_then(|at| rest.get(at + 1));
    let all: [(&str, &str, Settings); 3] = [
        ("near", "calls", vec![]),
        ("far", "calls", vec![("KITH_TRIP", TRIP_MS.to_string())]),
        ("nat", "nat", vec![("KITH_PAIRS", ROUTERS.to_owned())]),
    ];
    if let Some(name) = only
        && !all.iter().any(|(known, ..)| *known == name)
    {
        bail!("there is no pair {name:?}: near, far or nat");
    }
    let mut fine = true;
    for (name, script, mut settings) in all {
        if only.is_none_or(|only| only == name) {
            settings.push(("KITH_CALLS", calls.clone()));
            fine &= scenes(env, script, dev, &settings)?;
        }
    }
    Ok(fine)
}

/// Runs the pairs of the table, or those that are named.
pub(crate) fn nat(env: &Env, rest: &[String]) -> Result<bool> {
    let (mut pairs, mut dev) = (String::new(), true);
    let mut rest = rest.iter();
    while let Some(arg) = rest.next() {
        match (arg.as_str(), rest.as_slice().first()) {
            ("--release", _) => dev = false,
            ("--pairs", Some(named)) => {
                pairs.clone_from(named);
                rest.next();
            }
            (other, _) => bail!("netlab calls takes --pairs A:B,… and --release, not {other:?}"),
        }
    }
    scenes(env, "nat", dev, &[("KITH_PAIRS", pairs)])
}

fn scenes(env: &Env, script: &str, dev: bool, settings: &[(&str, String)]) -> Result<bool> {
    tools::ensure(
        env,
        &[tools::NPM, tools::IP, tools::NFT, tools::CONNTRACK, tools::IPTABLES, tools::TCPDUMP],
    )?;
    let folder = env.root.join("web-ui/e2e");
    ui::install(&folder)?;
    let Binaries { kith, bootstrap } = match netlab::named() {
        Some(programs) => programs,
        None => {
            tools::ensure(env, &[tools::CLANG])?;
            ui::build(env, false)?;
            env.binaries(&[], if dev { Profile::Dev } else { Profile::Release })?
        }
    };
    output(&mut ui::npm(&folder, &["run", "--silent", "check"]))?;
    let mut scenes = ui::npm(&folder, &["run", "--silent", script]);
    scenes.env("KITH_BIN", kith).env("KITH_BOOTSTRAP_BIN", bootstrap);
    // Long and lossy ways are made by this program.
    scenes.env("KITH_XTASK", std::env::current_exe().context("finding the own program")?);
    for (name, value) in settings {
        scenes.env(name, value);
    }
    if let Some(chromium) = tools::CHROMIUM.path() {
        scenes.env("CHROMIUM", chromium);
    }
    let (_, ok) = crate::steps::tee(&mut scenes)?;
    Ok(ok)
}
