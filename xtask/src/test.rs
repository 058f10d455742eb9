//! `cargo xtask test`: everything that must hold before a change lands. Runs
//! all parts even when one fails; the last line is `N passed, N failed`.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};

use crate::env::{Binaries, Env, Profile, output};
use crate::steps::Steps;
use crate::tally::Tally;
use crate::{canary, demo, generate, layers, netlab, soak, tools, ui};

/// The parts, in order.
const PARTS: &[&str] = &[
    "tools", "fmt", "app", "rust", "clippy", "fuzz", "deny", "layers", "openapi", "demo", "e2e", "netlab",
    "soak", "canary",
];

/// The fuzz targets: a workspace of their own, as `cargo fuzz` wants it.
const FUZZ: &str = "fuzz/Cargo.toml";

/// Rounds of the crash soak in every test run.
const SOAK_ROUNDS: u64 = 20;

/// Runs the parts that `args` choose, all without `--only`.
pub(crate) fn run(env: &Env, args: &[String]) -> Result<bool> {
    if args.iter().any(|a| a == "--list") {
        println!("{}", PARTS.join(" "));
        return Ok(true);
    }
    let chosen = choose(args)?;
    let env = &Env { tests: true, ..env.clone() };
    let wanted = |part: &str| chosen.is_empty() || chosen.iter().any(|c| c == part);
    let mut steps = Steps::default();

    if wanted("tools") {
        steps.part("tools", || {
            tools::ensure(env, &[tools::CLANG, tools::NPM, tools::CHROMIUM])?;
            Ok(Tally::one(true))
        });
        steps.part("rocksdb", || env.rocksdb().map(|()| Tally::one(true)));
    }
    if wanted("fmt") {
        steps.command("fmt", &mut env.cargo(&["fmt", "--all", "--check"]));
        steps.command("fmt fuzz", &mut env.cargo(&["fmt", "--manifest-path", FUZZ, "--check"]));
    }
    if wanted("app") {
        app(env, &mut steps);
    }
    if wanted("rust") {
        rust(env, &mut steps);
    }
    if wanted("clippy") {
        let mut clippy =
            env.cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]);
        steps.command("clippy", &mut clippy);
    }
    if wanted("fuzz") {
        let replay = ["run", "--quiet", "--locked", "--manifest-path", FUZZ, "--bin", "replay"];
        steps.command("fuzz replay", &mut env.cargo(&replay));
    }
    if wanted("deny") {
        steps.part("deny", || {
            let deny = tools::cargo_deny(env)?;
            let mut command = std::process::Command::new(deny);
            command
                .args(["--log-level", "error", "check", "bans", "licenses", "sources"])
                .current_dir(&env.root);
            let (output, ok) = crate::steps::tee(&mut command)?;
            Ok(Tally::of(&output, ok))
        });
    }
    if wanted("layers") {
        steps.part("layers", || layers::check(env));
    }
    if wanted("openapi") {
        steps.part("openapi", || generate::run(env, true).map(Tally::one));
    }
    if wanted("demo") {
        steps.part("demo", || demo::run(env, &["--check".to_owned()]).map(Tally::one));
    }
    if wanted("e2e") {
        e2e(env, &mut steps);
    }
    if wanted("netlab") {
        steps.part("netlab", || netlab::short(env).map(Tally::one));
        steps.part("netlab interop", || netlab::run(env, &["interop".to_owned()]).map(Tally::one));
    }
    if wanted("soak") {
        steps.part("soak crash", || soak::rounds(env, SOAK_ROUNDS));
        steps.part("soak crash control", || soak::control(env));
    }
    if wanted("canary") {
        steps.part("canary", || canary::check(env));
        steps.part("canary control", || canary::control(env));
    }
    Ok(steps.close(&whole_run()))
}

/// The parts named after `--only`.
fn choose(args: &[String]) -> Result<Vec<String>> {
    let mut chosen = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match (arg.as_str(), rest.next()) {
            ("--only", Some(part)) if PARTS.contains(&part.as_str()) => chosen.push(part.clone()),
            ("--only", _) => bail!("--only needs one of: {}", PARTS.join(" ")),
            _ => bail!("unknown argument {arg:?}; `cargo xtask help` lists what there is"),
        }
    }
    Ok(chosen)
}

/// The web app's own checks, and its build, which the binary embeds.
fn app(env: &Env, steps: &mut Steps) {
    let app = ui::app(env);
    steps.part("app install", || ui::install(&app).map(|()| Tally::one(true)));
    for (name, script) in [("app lint", "lint"), ("app check", "check"), ("app test", "test")] {
        let args: &[&str] = if script == "test" { &["test"] } else { &["run", "--silent", script] };
        steps.command(name, &mut ui::npm(&app, args));
    }
    steps.part("app build", || ui::build(env, false).map(|()| Tally::one(true)));
}

fn rust(env: &Env, steps: &mut Steps) {
    if tools::nextest() {
        let mut tests = env.cargo(&["nextest", "run", "--workspace", "--no-fail-fast", "--no-tests", "pass"]);
        tests.args(["--status-level", "fail", "--final-status-level", "fail", "--cargo-quiet"]);
        steps.command("rust", &mut tests);
    } else {
        steps.command(
            "rust",
            &mut env.cargo(&["test", "--quiet", "--workspace", "--no-fail-fast", "--tests"]),
        );
    }
}

/// The browser tests against the real binaries.
fn e2e(env: &Env, steps: &mut Steps) {
    let folder = env.root.join("web-ui/e2e");
    steps.part("e2e", || {
        ui::install(&folder)?;
        ui::build(env, false)?;
        let Binaries { kith, bootstrap } = env.binaries(&[], Profile::Dev)?;
        let twin = env.example("twin")?;
        let mut check = ui::npm(&folder, &["run", "--silent", "check"]);
        output(&mut check)?;
        let mut tests = ui::npm(&folder, &["test", "--silent"]);
        tests.env("KITH_BIN", kith).env("KITH_BOOTSTRAP_BIN", bootstrap).env("KITH_TWIN_BIN", twin);
        if let Some(chromium) = tools::CHROMIUM.path() {
            tests.env("CHROMIUM", chromium);
        }
        let (output, ok) = crate::steps::tee(&mut tests)?;
        Ok(Tally::of(&output, ok))
    });
}

/// How long the whole CI run took, when `.ci/run` says when it began.
fn whole_run() -> Vec<String> {
    let began = std::env::var("KITH_CI_START").ok().and_then(|text| text.parse::<u64>().ok());
    let Some(began) = began else { return Vec::new() };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let cache = std::env::var("KITH_CI_CACHE").unwrap_or_else(|_| "unknown".to_owned());
    vec![format!("ci.duration_{cache}: {} s", now.saturating_sub(began))]
}
