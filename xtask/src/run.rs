//! `cargo xtask run`: builds a program, starts it, and passes the rest of the
//! line on.

use std::process::Command;

use anyhow::Result;

use crate::env::{Env, Profile, succeed};
use crate::{demo, tools, ui};

/// Starts the demo, a relay, or one node.
pub(crate) fn run(env: &Env, args: &[String]) -> Result<bool> {
    tools::ensure(env, &[tools::CLANG, tools::NPM])?;
    ui::build(env, false)?;
    if args.iter().any(|a| a == "--demo") {
        let rest: Vec<String> = args.iter().filter(|a| *a != "--demo").cloned().collect();
        return demo::run(env, &rest);
    }
    let built = env.binaries(&[], Profile::Dev)?;
    let relay = args.first().is_some_and(|a| a == "--relay");
    let mut program = Command::new(if relay { built.bootstrap } else { built.kith });
    if !relay {
        program.arg("run");
    }
    program.args(args.iter().skip(usize::from(relay)).skip_while(|a| *a == "--"));
    succeed(&mut program)?;
    Ok(true)
}
