//! Writes what is generated and checked in: the OpenAPI document and the
//! app's types from it. With `--check` it only compares.

use anyhow::{Context, Result};

use crate::env::{Env, Profile, output, succeed};
use crate::{tools, ui};

/// Generates, or compares with what is checked in. `false`: they differ.
pub(crate) fn run(env: &Env, check: bool) -> Result<bool> {
    tools::ensure(env, &[tools::CLANG, tools::NPM])?;
    ui::build(env, false)?;
    let kith = env.binaries(&[], Profile::Dev)?.kith;
    let mut document = output(std::process::Command::new(kith).arg("openapi"))?;
    if !document.ends_with('\n') {
        document.push('\n');
    }
    let path = env.root.join("web-ui/openapi.json");
    let held = std::fs::read_to_string(&path).unwrap_or_default();
    let app = ui::app(env);
    let generates = std::fs::read_to_string(app.join("package.json"))
        .context("reading web-ui/app/package.json")?
        .contains("\"gen\":");
    if check {
        let same = held.trim_end() == document.trim_end();
        if !same {
            println!("web-ui/openapi.json is not what the routes say: run `cargo xtask gen` and commit it");
        }
        return Ok(same && (!generates || types_are_current(env)?));
    }
    if held != document {
        std::fs::write(&path, document)?;
        println!("wrote web-ui/openapi.json");
    }
    if generates {
        ui::install(&app)?;
        succeed(&mut ui::npm(&app, &["run", "--silent", "gen"]))?;
    }
    Ok(true)
}

/// Whether the app's generated types are what the checked-in document gives.
fn types_are_current(env: &Env) -> Result<bool> {
    let app = ui::app(env);
    let path = app.join("src/api/schema.ts");
    let Ok(held) = std::fs::read(&path) else {
        return Ok(true);
    };
    let written = std::fs::metadata(&path)?.modified()?;
    ui::install(&app)?;
    succeed(&mut ui::npm(&app, &["run", "--silent", "gen"]))?;
    let fresh = std::fs::read(&path)?;
    // As it was before, its time too: otherwise the app, and the program with it,
    // counts as changed and is built again.
    std::fs::write(&path, &held)?;
    std::fs::File::options().append(true).open(&path)?.set_modified(written)?;
    let same = fresh == held;
    if !same {
        println!(
            "the app's types are not what web-ui/openapi.json gives: run `cargo xtask gen` and commit them"
        );
    }
    Ok(same)
}
