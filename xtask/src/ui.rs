//! Builds the web app when its sources changed since the last build.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use crate::env::{Env, succeed};

/// Folders that no build reads.
const SKIPPED: &[&str] = &["node_modules", "dist", "coverage", "screenshots", ".vite"];

/// The app's folder.
pub(crate) fn app(env: &Env) -> PathBuf {
    env.root.join("web-ui/app")
}

/// An npm call in `folder`.
pub(crate) fn npm(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("npm");
    command.args(args).current_dir(folder).env("NO_COLOR", "1").env_remove("FORCE_COLOR");
    command
}

/// Installs what the lock file of `folder` names, unless that was done for
/// this very lock file.
pub(crate) fn install(folder: &Path) -> Result<()> {
    let lock = folder.join("package-lock.json");
    if !lock.is_file() {
        bail!("{} is missing; run `npm install` there once and commit it", lock.display());
    }
    let wanted = std::fs::read(&lock)?;
    let stamp = folder.join("node_modules/.kith-installed");
    if std::fs::read(&stamp).is_ok_and(|held| held == wanted) {
        return Ok(());
    }
    succeed(&mut npm(folder, &["ci", "--no-audit", "--no-fund", "--loglevel=error"]))?;
    std::fs::write(&stamp, wanted).context("marking npm's folder as complete")
}

/// Builds the app into `web-ui/app/dist`. Does nothing when that is newer than
/// every source.
pub(crate) fn build(env: &Env, force: bool) -> Result<()> {
    let app = app(env);
    if !app.join("package.json").is_file() {
        bail!("web-ui/app has no package.json: this checkout is not complete");
    }
    let built = app.join("dist/index.html");
    if !force && !newer(newest(&app)?, &built) {
        return Ok(());
    }
    install(&app)?;
    succeed(&mut npm(&app, &["run", "--silent", "build"]))?;
    if !built.is_file() {
        bail!("the app's build wrote no dist/index.html");
    }
    // Vite may keep the index as it was: the stamp is what is compared.
    std::fs::File::options().append(true).open(&built)?.set_modified(SystemTime::now())?;
    Ok(())
}

fn modified(path: &Path) -> Result<SystemTime> {
    Ok(std::fs::metadata(path).with_context(|| format!("reading {}", path.display()))?.modified()?)
}

/// Whether `source` is newer than the file at `stamp`, or that is missing.
fn newer(source: SystemTime, stamp: &Path) -> bool {
    modified(stamp).map_or(true, |at| source > at)
}

/// The newest change of any file below `folder` that a build reads.
fn newest(folder: &Path) -> Result<SystemTime> {
    let mut latest = SystemTime::UNIX_EPOCH;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if SKIPPED.iter().any(|skipped| name.to_string_lossy() == *skipped) {
            continue;
        }
        let kind = entry.file_type()?;
        // A folder's own time tells of files that are gone.
        latest = latest.max(entry.metadata()?.modified()?);
        if kind.is_dir() {
            latest = latest.max(newest(&entry.path())?);
        }
    }
    Ok(latest)
}
