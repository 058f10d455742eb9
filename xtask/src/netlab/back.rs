//! A relay that returns to many who wait for it: how soon all of them are
//! served again, how many it takes in a second, and what that costs it.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::env::{Binaries, Env, number, only_flags};
use crate::lab::process::Process;
use crate::lab::{Relay, Scratch, figure, free_port, loopback_addresses};

/// How soon everybody has to be served again.
const BACK_MAX: Duration = Duration::from_secs(30);
/// How long the crowd may take to come in at first, and to notice the end.
const CROWD_PATIENCE: Duration = Duration::from_secs(180);
/// How long the relay is away once everybody has noticed: the pauses between
/// tries are at their longest by then.
const AWAY: Duration = Duration::from_secs(60);
/// Clock ticks in a second, as Linux counts processor time for programs.
const TICKS_PER_S: f64 = 100.0;

pub(super) fn run(env: &Env, args: &[String]) -> Result<bool> {
    only_flags(args, &["--count"], &[])?;
    let count = number(args, "--count", 500)?.clamp(1, 5_000);
    let Binaries { bootstrap, .. } = super::programs(env)?;
    let crowd = crowd(env)?;
    let mut scratch = Scratch::new(&env.target, "netlab-back")?;
    let data = scratch.path().join("relay");
    std::fs::create_dir_all(&data)?;
    // All of them come from this machine.
    std::fs::write(data.join("config.toml"), "[limits]\nconnections_per_ip = 20000\n")?;
    let listen = loopback_addresses(free_port()?).to_vec();
    let mut relay = Relay::start_at(&bootstrap, scratch.path(), "relay", listen, &[])?;
    let mut command = Command::new(&crowd);
    command.args([count.to_string(), relay.link.clone()]);
    let mut crowd = Process::start("the crowd", &mut command, &scratch.path().join("crowd.log"), "")?;
    let all = format!("here: {count} of {count}");
    crowd.wait_line(&all, CROWD_PATIENCE).context("at first")?;
    relay.kill()?;
    crowd.wait_line(&format!("here: 0 of {count}"), CROWD_PATIENCE).context("noticing the end")?;
    // The time that the fault lasts: nothing is waited for here.
    std::thread::sleep(AWAY);
    relay.restart()?;
    let back = Instant::now();
    let mut here = 0;
    let mut at: Vec<Duration> = Vec::new();
    while here < count {
        let line = crowd.wait_line("here: ", BACK_MAX * 4).context("coming back")?;
        let n: u64 = line.split_whitespace().next().context("a number")?.parse()?;
        if n > here {
            at.push(back.elapsed());
        }
        here = n;
    }
    let took = back.elapsed();
    let cpu = cpu_s(relay.pid().context("the relay runs")?)?;
    let busiest = (0..=took.as_secs())
        .map(|s| at.iter().filter(|t| t.as_secs() == s).count())
        .max()
        .unwrap_or_default();
    figure("netlab.back.clients", count as f64, "clients");
    figure("netlab.back.all", took.as_secs_f64(), "s");
    figure("netlab.back.rate_mean", at.len() as f64 / took.as_secs_f64(), "clients/s");
    figure("netlab.back.rate_max", busiest as f64, "clients/s");
    figure("netlab.back.relay_cpu", cpu, "s");
    figure("netlab.back.relay_cpu_each", cpu * 1_000.0 / count as f64, "ms");
    let in_time = took <= BACK_MAX;
    if !in_time {
        scratch.keep();
        println!("fault: all are back after {:.1} s only", took.as_secs_f64());
    }
    Ok(in_time)
}

/// Processor time that a process has used.
fn cpu_s(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = stat.rsplit_once(')').context("reading /proc/PID/stat")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let [Some(user), Some(system)] = [fields.get(11), fields.get(12)] else {
        bail!("reading /proc/PID/stat")
    };
    Ok((user.parse::<f64>()? + system.parse::<f64>()?) / TICKS_PER_S)
}

/// The program that stands for many nodes.
fn crowd(env: &Env) -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("KITH_CROWD_BIN") {
        return Ok(named.into());
    }
    env.example("crowd")
}
