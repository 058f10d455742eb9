//! `cargo xtask soak file`: a large file over a link that drops again and
//! again, while either side is killed twice; and a file for somebody who is
//! away, from somebody who is gone when they come back.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::bench::file::{hwm_mib, reset_hwm};
use crate::env::{Env, Profile, number, only_flags};
use crate::lab::files;
use crate::lab::node::acquaint;
use crate::lab::{Flags, Node, PATIENCE, Relay, Scratch, figure};
use crate::{tools, ui};

/// MiB of the whole soak, and where the disk is smaller.
const MIB: (u64, u64) = (10 << 10, 2 << 10);
/// Free GiB that the whole soak needs.
const NEEDS_GIB: u64 = 40;
/// Between two drops of the link.
const DROP_EVERY: Duration = Duration::from_secs(60);
/// MiB of the file for somebody who is away.
const AWAY_MIB: u64 = 50;
const SEED: u64 = 99;
/// Longest wait for the whole.
const WHOLE: Duration = Duration::from_secs(4 * 3600);
/// How often the receiver is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Runs the soak from the command line.
pub(crate) fn run(env: &Env, rest: &[String]) -> Result<bool> {
    only_flags(rest, &["--mib", "--drop-s", "--rate-mib", "--programs"], &["--dev", "--away", "--no-away"])?;
    let profile = if rest.iter().any(|a| a == "--dev") { Profile::Dev } else { Profile::Release };
    tools::ensure(env, &[tools::CLANG, tools::NPM])?;
    ui::build(env, false)?;
    let programs = env.measured(rest, profile)?.programs;
    let mut good = true;
    if !rest.iter().any(|a| a == "--away") {
        let free = free_gib(&env.target)?;
        let usual = if free >= NEEDS_GIB { MIB.0 } else { MIB.1 };
        if usual == MIB.1 {
            println!("only {free} GiB are free: a file of 2 GiB instead of 10");
        }
        let mib = number(rest, "--mib", usual)?.clamp(8, 64 << 10);
        let drop_s = number(rest, "--drop-s", DROP_EVERY.as_secs())?.max(2);
        let rate = number(rest, "--rate-mib", 0)?;
        good &= flaky(&programs.kith, env, mib, Duration::from_secs(drop_s), rate)?;
    }
    if !rest.iter().any(|a| a == "--no-away") {
        good &= away(&programs.kith, &programs.bootstrap, env)?;
    }
    Ok(good)
}

fn free_gib(folder: &Path) -> Result<u64> {
    let text =
        crate::env::output(std::process::Command::new("df").args(["--output=avail", "-B1G"]).arg(folder))?;
    text.lines().last().and_then(|line| line.trim().parse().ok()).context("df told no free space")
}

fn settings(node: &mut Node, auto: u64, down: u64) -> Result<()> {
    let body =
        json!({"cache_bytes": 1u64 << 40, "auto_bytes": auto, "up_bytes_per_s": 0, "down_bytes_per_s": down});
    node.put("/storage", &body).map(|_| ())
}

fn direct(node: &mut Node, on: bool) -> Result<()> {
    node.put("/settings", &json!({"read_receipts": true, "typing": true, "direct": on})).map(|_| ())
}

/// A file over a link that drops, with kills at a quarter, a half and so on.
fn flaky(kith: &Path, env: &Env, mib: u64, drop_every: Duration, rate_mib: u64) -> Result<bool> {
    let scratch = Scratch::new(&env.target, "soak-file")?;
    let mut alice = Node::create(kith, scratch.path(), "Alice", Flags::default())?;
    let mut bob = Node::create(kith, scratch.path(), "Bob", Flags::default())?;
    let talk = acquaint(&mut alice, &mut bob)?;
    settings(&mut bob, 0, rate_mib << 20)?;
    let size = mib << 20;
    reset_hwm(&alice)?;
    reset_hwm(&bob)?;
    let (id, _) = files::add(&alice, "film.bin", size, SEED)?;
    files::send(&mut alice, &talk, &id)?;
    bob.until("the message with the file", PATIENCE, |node| {
        Ok((files::standing(node, &id)?.0 != "unknown").then_some(()))
    })?;
    let begin = Instant::now();
    bob.post(&format!("/files/{id}/fetch"), &json!({}))?;
    let (mut lost, mut drops, mut hwm) = (0u64, 0u64, (0.0f64, 0.0f64));
    // Who is killed when how much of the file is there.
    let mut kills =
        vec![(size / 5, false), (size * 2 / 5, true), (size * 3 / 5, false), (size * 4 / 5, true)];
    let mut next_drop = Instant::now() + drop_every;
    let mut most = 0;
    loop {
        if begin.elapsed() > WHOLE {
            bail!("the file did not arrive within {} s", WHOLE.as_secs());
        }
        let (state, have) = files::standing(&mut bob, &id)?;
        most = most.max(have);
        if state == "here" {
            break;
        }
        if state != "fetching" {
            bail!("the file is {state}");
        }
        if let Some((at, receiver)) = kills.first().copied()
            && have >= at
        {
            kills.remove(0);
            hwm = (hwm.0.max(hwm_mib(&alice)?), hwm.1.max(hwm_mib(&bob)?));
            if receiver {
                let (_, before) = files::standing(&mut bob, &id)?;
                bob.kill()?;
                bob.resume()?;
                reset_hwm(&bob)?;
                let after = bob.until("the transfer to go on", PATIENCE, |node| {
                    let (state, have) = files::standing(node, &id)?;
                    Ok((state == "here" || have > 0).then_some(have))
                })?;
                lost += before.saturating_sub(after);
                println!(
                    "killed the receiver at {} MiB; {} KiB to be fetched again",
                    before >> 20,
                    before.saturating_sub(after) >> 10
                );
            } else {
                alice.kill()?;
                alice.resume()?;
                reset_hwm(&alice)?;
                println!("killed the sender at {} MiB", have >> 20);
            }
            continue;
        }
        if Instant::now() >= next_drop {
            direct(&mut bob, false)?;
            direct(&mut bob, true)?;
            drops += 1;
            next_drop = Instant::now() + drop_every;
        }
        std::thread::sleep(LOOK);
    }
    let took = begin.elapsed().as_secs_f64();
    hwm = (hwm.0.max(hwm_mib(&alice)?), hwm.1.max(hwm_mib(&bob)?));
    files::verify(&bob, &id, size, SEED)?;
    let again = lost as f64 * 100.0 / size as f64;
    figure("soak.file_mib", mib as f64, "MiB");
    figure("soak.file_rate", mib as f64 / took, "MiB/s");
    figure("soak.file_drops", drops as f64, "times");
    figure("soak.file_kills", (4 - kills.len()) as f64, "times");
    figure("soak.file_fetched_again", again, "%");
    figure("soak.file_hwm_sender", hwm.0, "MiB");
    figure("soak.file_hwm_receiver", hwm.1, "MiB");
    let good = again <= 1.0 && hwm.0 <= 150.0 && hwm.1 <= 150.0;
    println!("a file over a flaky link, killed: {}", if good { "good" } else { "not good" });
    Ok(good)
}

/// The receiver is away, the sender is gone when they return: the relay has
/// all of it, and can read none of it.
fn away(kith: &Path, bootstrap: &Path, env: &Env) -> Result<bool> {
    let scratch = Scratch::new(&env.target, "soak-file-away")?;
    let mut relay = Relay::start(bootstrap, scratch.path())?;
    let mut alice = Node::create(kith, scratch.path(), "Alice", Flags::default())?;
    let mut bob = Node::create(kith, scratch.path(), "Bob", Flags::default())?;
    for node in [&mut alice, &mut bob] {
        node.add_relay(&relay.link.clone())?;
        node.until("the relay", PATIENCE, |node| {
            let network = node.get("/network")?;
            Ok(network["relays"].as_array().is_some_and(|r| r.iter().any(|r| r["up"] == true)).then_some(()))
        })?;
    }
    let talk = acquaint(&mut alice, &mut bob)?;
    settings(&mut bob, u64::MAX >> 12, 0)?;
    bob.stop()?;
    let size = AWAY_MIB << 20;
    let (id, _) = files::add(&alice, "film.bin", size, SEED)?;
    let begin = Instant::now();
    files::send(&mut alice, &talk, &id)?;
    alice.until("the relay to keep the file", Duration::from_secs(300), |node| {
        let answer = node.get(&format!("/files/{id}"))?;
        Ok((answer["file"]["at_relays"]["kind"] == "until").then_some(()))
    })?;
    figure("file.deposit_s", begin.elapsed().as_secs_f64(), "s");
    alice.stop()?;
    let begin = Instant::now();
    bob.resume()?;
    files::until_here(&mut bob, &id, Duration::from_secs(300))?;
    figure("file.from_relay_s", begin.elapsed().as_secs_f64(), "s");
    files::verify(&bob, &id, size, SEED)?;
    bob.stop()?;
    relay.stop()?;
    let canary = files::beginning(SEED);
    let mut found = Vec::new();
    for folder in [relay.data(), alice.data(), bob.data()] {
        look(folder, &canary, &mut found)?;
    }
    for path in &found {
        println!("the file lies in the clear in {path}");
    }
    println!("a file for somebody who is away: {}", if found.is_empty() { "good" } else { "not good" });
    Ok(found.is_empty())
}

fn look(folder: &Path, what: &[u8], found: &mut Vec<String>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            look(&path, what, found)?;
        } else if std::fs::read(&path)?.windows(what.len()).any(|w| w == what) {
            found.push(path.display().to_string());
        }
    }
    Ok(())
}
