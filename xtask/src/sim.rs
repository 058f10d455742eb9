//! `cargo xtask sim`: groups of whole nodes in virtual time, many seeds, built
//! for release. The program itself judges what it found.

use std::process::Command;

use anyhow::{Context, Result};

use crate::env::{Env, Profile, shown, succeed};

/// Runs the simulator with the arguments as they are.
pub(crate) fn run(env: &Env, args: &[String]) -> Result<bool> {
    succeed(&mut env.cargo(&["build", "--quiet", "--release", "--package", "kith-sim"]))?;
    let program = env.target.join(Profile::Release.folder()).join("kith-sim");
    let mut command = Command::new(program);
    // Seeds run side by side; one of them needs no threads.
    command.args(args).env("RAYON_NUM_THREADS", "1");
    let status = command.status().with_context(|| format!("could not start {}", shown(&command)))?;
    Ok(status.success())
}
