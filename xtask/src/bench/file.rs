//! `cargo xtask bench file`: a file from node to node, read from one disk and
//! written to the other with fdatasync, beside a bare libp2p stream and plain
//! TCP that do the same disk work in two processes in the same run; from three
//! sources, one of them bad (`file/sources.rs`); and over a long and lossy way
//! (`file/far.rs`).

mod far;
mod sources;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

use crate::env::{Env, Profile, number, only_flags, output, succeed};
use crate::lab::files;
use crate::lab::node::acquaint;
use crate::lab::process::Process;
use crate::lab::{Flags, Node, PATIENCE, Scratch, figure};
use crate::{tools, ui};

/// MiB of the file.
const MIB: u64 = 1024;
/// Longest wait for a transfer.
const TRANSFER: Duration = Duration::from_secs(1_800);
const SEED: u64 = 77;

/// Runs the bench from the command line.
pub(crate) fn run(env: &Env, rest: &[String]) -> Result<bool> {
    only_flags(
        rest,
        &["--mib", "--far-mib", "--programs"],
        &["--dev", "--no-near", "--no-sources", "--no-far"],
    )?;
    let mib = number(rest, "--mib", MIB)?.clamp(1, 64 << 10);
    let far_mib = number(rest, "--far-mib", far::MIB)?.clamp(1, 1 << 10);
    let without = |flag: &str| rest.iter().any(|a| a == flag);
    let profile = if rest.iter().any(|a| a == "--dev") { Profile::Dev } else { Profile::Release };
    tools::ensure(env, &[tools::CLANG, tools::NPM])?;
    ui::build(env, false)?;
    let measured = env.measured(rest, profile)?;
    let kith = measured.programs.kith;
    let bare = match measured.folder {
        Some(folder) => folder.join("examples").join("bulk"),
        None => build_bare(env, profile)?,
    };
    let mut met = true;
    for (name, tcp_only) in [("quic", false), ("tcp", true)] {
        if without("--no-near") {
            break;
        }
        let scratch = Scratch::new(&env.target, "bench-file")?;
        let rate = transfer(&kith, scratch.path(), name, tcp_only, mib)?;
        let libp2p = bare_rate(&bare, scratch.path(), name, mib)?;
        figure(&format!("file.libp2p_rate_{name}"), libp2p, "MiB/s");
        figure(&format!("file.ratio_{name}"), rate / libp2p, "x");
        if tcp_only {
            let plain = bare_rate(&bare, scratch.path(), "plain", mib)?;
            figure("file.tcp_rate", plain, "MiB/s");
            figure("file.tcp_ratio", rate / plain, "x");
        }
        met &= verdict(&format!("file.ratio_{name} >= 0.5"), rate / libp2p >= 0.5);
    }
    if !without("--no-sources") {
        let scratch = Scratch::new(&env.target, "bench-file")?;
        met &= sources::run(&kith, scratch.path())?;
    }
    if !without("--no-far") {
        let scratch = Scratch::new(&env.target, "bench-file")?;
        met &= far::run(&kith, &bare, scratch.path(), far_mib)?;
    }
    Ok(met)
}

fn verdict(what: &str, met: bool) -> bool {
    println!("aim {what}: {}", if met { "met" } else { "not met" });
    met
}

/// One transfer between two fresh nodes. Answers MiB/s.
fn transfer(kith: &Path, folder: &Path, name: &str, tcp_only: bool, mib: u64) -> Result<f64> {
    let flags = Flags { tcp_only, ..Flags::default() };
    let mut alice = Node::create(kith, folder, "Alice", flags.clone())?;
    let mut bob = Node::create(kith, folder, "Bob", flags)?;
    let talk = acquaint(&mut alice, &mut bob)?;
    settings(&mut bob, 0, 0)?;
    let size = mib << 20;
    let (id, sealing) = files::add(&alice, "film.bin", size, SEED)?;
    files::send(&mut alice, &talk, &id)?;
    known(&mut bob, &id)?;
    reset_hwm(&alice)?;
    reset_hwm(&bob)?;
    let before = (cpu_s(&alice)?, cpu_s(&bob)?);
    let begin = Instant::now();
    bob.post(&format!("/files/{id}/fetch"), &json!({}))?;
    files::until_here(&mut bob, &id, TRANSFER)?;
    let took = begin.elapsed().as_secs_f64();
    let after = (cpu_s(&alice)?, cpu_s(&bob)?);
    let reading = files::verify(&bob, &id, size, SEED)?;
    let gib = size as f64 / f64::from(1 << 30);
    let rate = mib as f64 / took;
    figure(&format!("file.rate_{name}"), rate, "MiB/s");
    figure(&format!("file.cpu_s_per_gib_sender_{name}"), (after.0 - before.0) / gib, "s");
    figure(&format!("file.cpu_s_per_gib_receiver_{name}"), (after.1 - before.1) / gib, "s");
    figure(&format!("file.hwm_sender_{name}"), hwm_mib(&alice)?, "MiB");
    figure(&format!("file.hwm_receiver_{name}"), hwm_mib(&bob)?, "MiB");
    figure(&format!("file.seal_rate_{name}"), mib as f64 / sealing.as_secs_f64(), "MiB/s");
    figure(&format!("file.read_rate_{name}"), mib as f64 / reading.as_secs_f64(), "MiB/s");
    Ok(rate)
}

fn known(node: &mut Node, id: &str) -> Result<()> {
    node.until("the message with the file", PATIENCE, |node| {
        Ok((files::standing(node, id)?.0 != "unknown").then_some(()))
    })
}

/// Files are fetched when asked for, and given at this rate.
fn settings(node: &mut Node, auto: u64, up: u64) -> Result<()> {
    let body =
        json!({"cache_bytes": 1u64 << 40, "auto_bytes": auto, "up_bytes_per_s": up, "down_bytes_per_s": 0});
    node.put("/storage", &body).map(|_| ())
}

/// Processor seconds of a node so far.
fn cpu_s(node: &Node) -> Result<f64> {
    let pid = node.pid().context("the node does not run")?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let rest = stat.rsplit_once(") ").context("no process state")?.1;
    let ticks: Vec<f64> = rest.split(' ').skip(11).take(2).filter_map(|n| n.parse().ok()).collect();
    // Linux counts a hundred ticks a second.
    Ok(ticks.iter().sum::<f64>() / 100.0)
}

/// Forgets the most memory that a node has had so far: unlocking takes a lot
/// of it, on purpose and for a moment.
pub(crate) fn reset_hwm(node: &Node) -> Result<()> {
    let pid = node.pid().context("the node does not run")?;
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").context("resetting the memory mark")
}

/// The most memory that a node has had, MiB.
pub(crate) fn hwm_mib(node: &Node) -> Result<f64> {
    let pid = node.pid().context("the node does not run")?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).context("no VmHWM")?;
    let kib: f64 = line.split_whitespace().nth(1).context("no VmHWM")?.parse()?;
    Ok(kib / 1024.0)
}

fn build_bare(env: &Env, profile: Profile) -> Result<PathBuf> {
    let mut command = env.cargo(&["build", "--quiet", "--package", "kith-overlay", "--example", "bulk"]);
    if profile == Profile::Release {
        command.arg("--release");
    }
    succeed(&mut command)?;
    Ok(env.target.join(profile.folder()).join("examples").join("bulk"))
}

/// The same disk work over a bare stream of that kind, MiB/s.
fn bare_rate(program: &Path, folder: &Path, kind: &str, mib: u64) -> Result<f64> {
    let mut giver = bare_giver(program, folder, kind, "127.0.0.1", mib, 0)?;
    bare_taker(program, folder, kind, &giver.wait_line("ready:", TRANSFER)?)
}

/// Starts the process that gives, at a port or, with 0, any.
fn bare_giver(program: &Path, folder: &Path, kind: &str, ip: &str, mib: u64, port: u16) -> Result<Process> {
    let mut command = Command::new(program);
    command.args(["give", kind, &format!("{ip}:{port}"), &mib.to_string()]).arg(folder.join("bare-from"));
    Process::start("the bare giver", &mut command, &folder.join("bare.log"), "")
}

/// Runs the process that takes to its end. Answers MiB/s.
fn bare_taker(program: &Path, folder: &Path, kind: &str, from: &str) -> Result<f64> {
    let text = output(Command::new(program).args(["take", kind, from]).arg(folder.join("bare-to")))?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("rate:"));
    line.context("the bare stream printed no rate")?.trim().parse().context("the rate is not a number")
}
