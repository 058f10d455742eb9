//! `cargo xtask bench reach`: how soon a first message is there after a cold
//! start, by the way that it takes, and what a node that does nothing costs the
//! network and the processor.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::faults::switch;
use super::pair::Lab;
use super::street::{Kind, SERVER, Street};
use crate::env::{Binaries, Env, Profile, number, only_flags};
use crate::lab::namespace::Namespace;
use crate::lab::node::{acquaint_in, cold_in};
use crate::lab::{Flags, Node, Relay, Scratch, figure, quantile};

/// Rest before idling is measured, seconds: what follows a conversation has to
/// end, and whoever is away is looked for ever more seldom (ADR 21).
const SETTLE_S: u64 = 1_800;
/// Aims: median of the first message on a LAN, through a relay, punched.
const AIMS_S: [f64; 3] = [0.5, 1.0, 2.0];
/// Aim: bytes of an idle hour.
const IDLE_KB_MAX: f64 = 200.0;

pub(crate) fn run(env: &Env, args: &[String]) -> Result<bool> {
    only_flags(args, &["--runs", "--contacts", "--settle-s", "--idle-s"], &["--dev"])?;
    let runs = number(args, "--runs", 20)?.clamp(1, 1_000);
    let contacts = number(args, "--contacts", 50)?.min(200);
    let idle = Duration::from_secs(number(args, "--idle-s", 600)?.clamp(30, 24 * 3600));
    let settle = Duration::from_secs(number(args, "--settle-s", SETTLE_S)?.min(24 * 3600));
    if let Some(reason) = super::missing(env) {
        println!("skipped: {reason}");
        return Ok(true);
    }
    let profile = if args.iter().any(|a| a == "--dev") { Profile::Dev } else { Profile::Release };
    let Binaries { kith, bootstrap } = super::programs_of(env, profile)?;
    let scratch = Scratch::new(&env.target, "bench-reach")?;
    let folder = |name: &str| -> Result<std::path::PathBuf> {
        let folder = scratch.path().join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    };
    let lan = lan(&kith, &folder("lan")?, runs)?;
    print("lan", &lan, AIMS_S[0]);
    for (name, kind, aim) in
        [("relay", Kind::Symmetric, AIMS_S[1]), ("port_restricted", Kind::PortRestricted, AIMS_S[2])]
    {
        let mut lab = Lab::new(&kith, &bootstrap, &folder(name)?, 1)?;
        for home in &lab.street.homes {
            home.translate(kind)?;
        }
        let times = (0..runs).map(|_| lab.cold().map(|(_, took)| took)).collect::<Result<Vec<_>>>()?;
        print(name, &times, aim);
    }
    if contacts > 0 {
        idling(&kith, &bootstrap, &folder("idle")?, contacts, (settle, idle))?;
    }
    Ok(true)
}

/// Aims are printed, not asserted.
fn print(name: &str, times: &[Duration], aim_s: f64) {
    let mut seconds: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
    seconds.sort_by(f64::total_cmp);
    figure(&format!("reach.{name}.first_message.p50"), quantile(&seconds, 0.5), "s");
    figure(&format!("reach.{name}.first_message.p95"), quantile(&seconds, 0.95), "s");
    let met = quantile(&seconds, 0.5) <= aim_s;
    println!("aim reach.{name}.first_message.p50 <= {aim_s} s: {}", if met { "met" } else { "not met" });
}

/// Two machines on a switch, without any relay.
fn lan(kith: &Path, folder: &Path, runs: u64) -> Result<Vec<Duration>> {
    let ([left, right], [mut a, mut b]) = switch(kith, folder)?;
    let conversation = acquaint_in((&left, &mut a), (&right, &mut b))?;
    let mut times = Vec::new();
    for n in 0..runs {
        for node in [&mut a, &mut b] {
            node.kill()?;
        }
        times.push(cold_in((&left, &mut a), (&right, &mut b), &conversation, &format!("cold {n}"))?.1);
    }
    Ok(times)
}

/// A node with three relays and contacts that are away.
fn idling(
    kith: &Path,
    bootstrap: &Path,
    folder: &Path,
    contacts: u64,
    (settle, window): (Duration, Duration),
) -> Result<()> {
    let street = Street::build()?;
    for home in &street.homes {
        home.translate(Kind::PortRestricted)?;
    }
    let relays: Vec<Relay> = SERVER
        .iter()
        .enumerate()
        .map(|(i, ip)| {
            let listen = vec![format!("/ip4/{ip}/udp/4001/quic-v1"), format!("/ip4/{ip}/tcp/4001")];
            street.server.within(|| Relay::start_at(bootstrap, folder, &format!("relay{i}"), listen, &[]))
        })
        .collect::<Result<_>>()?;
    let [home, others] = &street.homes;
    let node = |at: &super::street::Home, name: &str| -> Result<Node> {
        let flags = Flags { everywhere: true, ..Flags::default() };
        let mut node = at.host.within(|| Node::create(kith, folder, name, flags))?;
        for relay in &relays {
            at.host.within(|| node.add_relay(&relay.link))?;
        }
        Ok(node)
    };
    let mut idle = node(home, "Idle")?;
    for n in 0..contacts {
        let name = format!("contact{n}");
        let mut contact = node(others, &name)?;
        acquaint_in((&home.host, &mut idle), (&others.host, &mut contact)).context(name)?;
        contact.stop()?;
    }
    // Nothing is waited for: it is the time in which nothing happens.
    std::thread::sleep(settle);
    let pid = idle.pid().context("the node runs")?;
    let before = (bytes(&home.host)?, wakes(pid)?, Instant::now());
    std::thread::sleep(window);
    let (sent, woken) = (bytes(&home.host)? - before.0, wakes(pid)? - before.1);
    let hours = before.2.elapsed().as_secs_f64() / 3600.0;
    figure("reach.idle.contacts", contacts as f64, "contacts");
    figure("reach.idle.after", settle.as_secs_f64(), "s");
    figure("reach.idle.window", window.as_secs_f64(), "s");
    let kb = sent as f64 / 1_000.0 / hours;
    figure("reach.idle.bytes_per_hour", kb, "kB");
    figure("reach.idle.wakes_per_hour", woken as f64 / hours, "wakes");
    let met = kb <= IDLE_KB_MAX;
    println!("aim reach.idle.bytes_per_hour <= {IDLE_KB_MAX} kB: {}", if met { "met" } else { "not met" });
    Ok(())
}

/// Bytes that have gone over a machine's cable, both ways.
fn bytes(host: &Namespace) -> Result<u64> {
    let text = host.output("ip", &["-s", "-j", "link", "show", "eth0"])?;
    let links: Value = serde_json::from_str(&text)?;
    let of = |way: &str| links[0]["stats64"][way]["bytes"].as_u64();
    Ok(of("rx").context("received bytes")? + of("tx").context("sent bytes")?)
}

/// How often the threads of a process have been woken.
fn wakes(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end while it is looked at.
        let Ok(status) = std::fs::read_to_string(task?.path().join("status")) else { continue };
        let line = status.lines().find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"));
        sum += line.and_then(|n| n.trim().parse::<u64>().ok()).context("reading a thread's status")?;
    }
    Ok(sum)
}
