//! `cargo xtask bench call`: two browsers with fake devices, each with its node
//! in a network namespace of its own, on one link: ring to first picture,
//! processor time, and what a cut of the link costs. `cargo xtask netlab calls`:
//! the same two behind address translation of every kind. The scenes are in
//! `web-ui/e2e/src/calls-apart.ts` and `calls-nat.ts`; without the right to
//! make namespaces they say so and are left out.

use anyhow::{Result, bail};

use crate::env::{Binaries, Env, Profile, number, only_flags, output};
use crate::{tools, ui};

/// More calls in two minutes would not ring.
const CALLS_MAX: u64 = 12;

/// Runs the bench. `false`: something did not work.
pub(crate) fn run(env: &Env, rest: &[String]) -> Result<bool> {
    only_flags(rest, &["--calls", "--delay-ms"], &["--dev"])?;
    let calls = number(rest, "--calls", 10)?.clamp(1, CALLS_MAX);
    let delay = number(rest, "--delay-ms", 0)?.min(1_000);
    let settings = [("KITH_CALLS", calls.to_string()), ("KITH_DELAY", delay.to_string())];
    scenes(env, "calls", rest.iter().any(|a| a == "--dev"), &settings)
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
    tools::ensure(env, &[tools::CLANG, tools::NPM])?;
    let folder = env.root.join("web-ui/e2e");
    ui::install(&folder)?;
    ui::build(env, false)?;
    let profile = if dev { Profile::Dev } else { Profile::Release };
    let Binaries { kith, bootstrap } = env.binaries(&[], profile)?;
    output(&mut ui::npm(&folder, &["run", "--silent", "check"]))?;
    let mut scenes = ui::npm(&folder, &["run", "--silent", script]);
    scenes.env("KITH_BIN", kith).env("KITH_BOOTSTRAP_BIN", bootstrap);
    for (name, value) in settings {
        scenes.env(name, value);
    }
    if let Some(chromium) = tools::CHROMIUM.path() {
        scenes.env("CHROMIUM", chromium);
    }
    let (_, ok) = crate::steps::tee(&mut scenes)?;
    Ok(ok)
}
