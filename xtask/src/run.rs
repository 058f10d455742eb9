//! `cargo xtask run` and `cargo xtask sim`: builds and starts, and passes the
//! rest of the line on.

use std::process::Command;

use anyhow::Result;

use crate::env::{Env, Profile, succeed};
use crate::{demo, tools, ui};

/// Starts the demo, or one node.
pub(crate) fn run(env: &Env, args: &[String]) -> Result<bool> {
    tools::ensure(env, &[tools::CLANG, tools::NPM])?;
    ui::build(env, false)?;
    if args.iter().any(|a| a == "--demo") {
        let rest: Vec<String> = args.iter().filter(|a| *a != "--demo").cloned().collect();
        return demo::run(env, &rest);
    }
    let kith = env.binaries(&[], Profile::Dev)?.kith;
    let rest = args.iter().skip_while(|a| *a == "--");
    succeed(Command::new(kith).arg("run").args(rest))?;
    Ok(true)
}

/// Passes everything on to the simulator.
pub(crate) fn sim(env: &Env, args: &[String]) -> Result<bool> {
    let mut command = env.cargo(&["run", "--quiet", "--package", "kith-sim", "--"]);
    command.args(args);
    succeed(&mut command)?;
    Ok(true)
}
