//! `cargo xtask bench call`: two browsers with fake devices, each with its node
//! in a network namespace of its own, on one link: ring to first picture,
//! processor time, and what a cut of the link costs. The scenes are in
//! `web-ui/e2e/src/calls-apart.ts`; without the right to make namespaces they
//! say so and are left out.

use anyhow::Result;

use crate::env::{Binaries, Env, Profile, number, only_flags, output};
use crate::{tools, ui};

/// Runs it. `false`: something did not work.
pub(crate) fn run(env: &Env, rest: &[String]) -> Result<bool> {
    only_flags(rest, &["--calls", "--delay-ms"], &["--dev"])?;
    let calls = number(rest, "--calls", 10)?.clamp(1, 200);
    let delay = number(rest, "--delay-ms", 0)?.min(1_000);
    let profile = if rest.iter().any(|a| a == "--dev") { Profile::Dev } else { Profile::Release };
    tools::ensure(env, &[tools::CLANG, tools::NPM])?;
    let folder = env.root.join("web-ui/e2e");
    ui::install(&folder)?;
    ui::build(env, false)?;
    let Binaries { kith, bootstrap } = env.binaries(&[], profile)?;
    output(&mut ui::npm(&folder, &["run", "--silent", "check"]))?;
    let mut scenes = ui::npm(&folder, &["run", "--silent", "calls"]);
    scenes.env("KITH_BIN", kith).env("KITH_BOOTSTRAP_BIN", bootstrap);
    scenes.env("KITH_CALLS", calls.to_string()).env("KITH_DELAY", delay.to_string());
    if let Some(chromium) = tools::CHROMIUM.path() {
        scenes.env("CHROMIUM", chromium);
    }
    let (_, ok) = crate::steps::tee(&mut scenes)?;
    Ok(ok)
}
