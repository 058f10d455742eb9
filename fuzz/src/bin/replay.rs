//! Runs the whole corpus, on any toolchain:
//! `cargo run --manifest-path fuzz/Cargo.toml --bin replay`. With a target and
//! files behind it: those files only.

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use kith_fuzz::{TARGETS, Target};

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let wanted = words.next();
    let files: Vec<PathBuf> = words.map(PathBuf::from).collect();
    let (mut good, mut bad) = (0, 0);
    for (name, target) in TARGETS.iter().filter(|(name, _)| wanted.as_ref().is_none_or(|w| w == name)) {
        let files = if files.is_empty() { corpus(name) } else { files.clone() };
        if files.is_empty() {
            eprintln!("{name}: the corpus is empty");
            bad += 1;
        }
        let start = Instant::now();
        let failed = files.iter().filter(|file| !passes(*target, file)).count();
        println!("{name}: {} inputs, {failed} failed, {:.1} s", files.len(), start.elapsed().as_secs_f32());
        good += files.len() - failed;
        bad += failed;
    }
    // As test runners close, so that `cargo xtask test` can count.
    println!("test result: {good} passed; {bad} failed");
    if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The files of a target's corpus, by name.
fn corpus(target: &str) -> Vec<PathBuf> {
    // What `cargo run` says comes first: a shared target folder may hold a
    // program that was built from another checkout.
    let crate_folder = std::env::var_os("CARGO_MANIFEST_DIR");
    let crate_folder = crate_folder.map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    let folder = crate_folder.join("corpus").join(target);
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    files.sort();
    files
}

fn passes(target: Target, file: &Path) -> bool {
    let read = std::fs::read(file).map_err(|e| e.to_string());
    let result = read.and_then(|bytes| catch_unwind(|| target(&bytes)).map_err(|_| "it panics".into()));
    if let Err(why) = &result {
        eprintln!("{}: {why}", file.display());
    }
    result.is_ok()
}
