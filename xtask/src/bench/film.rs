//! `cargo xtask bench film`: a film of 500 MiB from one browser to another,
//! played and sought in while it arrives (`web-ui/e2e/src/film.test.ts`).

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::env::{Binaries, Env, Profile, number, only_flags, output, succeed};
use crate::lab::{Scratch, figure};
use crate::{tools, ui};

/// MiB of the film.
const MIB: u64 = 500;
/// Kilobits per second of its pictures: what a good camera takes.
const KBIT: u64 = 14_000;

/// Runs it from the command line.
pub(crate) fn run(env: &Env, rest: &[String]) -> Result<bool> {
    only_flags(rest, &["--mib", "--programs"], &["--dev"])?;
    let mib = number(rest, "--mib", MIB)?.clamp(20, 4 << 10);
    let profile = if rest.iter().any(|a| a == "--dev") { Profile::Dev } else { Profile::Release };
    tools::ensure(env, &[tools::CLANG, tools::NPM, tools::CHROMIUM, tools::FFMPEG])?;
    let folder = env.root.join("web-ui/e2e");
    ui::install(&folder)?;
    ui::build(env, false)?;
    let Binaries { kith, bootstrap } = env.measured(rest, profile)?.programs;
    let scratch = Scratch::new(&env.target, "bench-film")?;
    let film = scratch.path().join("film.mp4");
    make(&film, mib)?;
    let mut test = ui::npm(&folder, &["run", "--silent", "film"]);
    test.env("KITH_BIN", kith).env("KITH_BOOTSTRAP_BIN", bootstrap);
    test.env("KITH_E2E_FILM", &film).env("KITH_E2E_DIR", scratch.path());
    if let Some(chromium) = tools::CHROMIUM.path() {
        test.env("CHROMIUM", chromium);
    }
    let (_, ok) = crate::steps::tee(&mut test)?;
    println!("a film, watched while it arrives: {}", if ok { "good" } else { "not good" });
    Ok(ok)
}

/// Moving pictures with noise in them and a tone, so that it has its size.
fn make(film: &Path, mib: u64) -> Result<()> {
    let seconds = (mib << 20) * 8 / (KBIT * 1_000);
    let picture = format!("testsrc2=size=1280x720:rate=25:duration={seconds},noise=alls=24:allf=t");
    let tone = format!("sine=frequency=330:duration={seconds}");
    let rate = format!("{KBIT}k");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-hide_banner", "-loglevel", "error", "-y", "-f", "lavfi", "-i", &picture]);
    ffmpeg.args([
        "-f",
        "lavfi",
        "-i",
        &tone,
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-pix_fmt",
        "yuv420p",
    ]);
    ffmpeg.args(["-b:v", &rate, "-minrate", &rate, "-maxrate", &rate, "-bufsize", &rate, "-g", "50"]);
    ffmpeg.args(["-x264-params", "nal-hrd=cbr", "-c:a", "aac", "-movflags", "+faststart"]).arg(film);
    succeed(&mut ffmpeg)?;
    let made = film.metadata()?.len() >> 20;
    figure("film.size", made as f64, "MiB");
    if made < mib * 9 / 10 {
        let codecs = output(Command::new("ffmpeg").args(["-hide_banner", "-version"]))?;
        bail!("the film has {made} MiB and not {mib}: {codecs}");
    }
    Ok(())
}
