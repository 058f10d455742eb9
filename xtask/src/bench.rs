//! `cargo xtask bench dm`: two durable nodes on loopback, release build.
//! Figures are medians over the runs; ratios inside one run are what counts.
//! The others are in `bench/group.rs`, `bench/file.rs` and `bench/film.rs`.

pub(crate) mod call;
pub(crate) mod file;
mod film;
mod group;

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::env::{Env, Profile, number, only_flags, output, succeed};
use crate::lab::http::Client;
use crate::lab::node::acquaint;
use crate::lab::{Flags, Node, PATIENCE, Scratch, figure, median, quantile};
use crate::{tools, ui};

const WARM_UP: usize = 200;
const ONE_BY_ONE: usize = 2_000;
const MANY: usize = 20_000;
const IN_FLIGHT: usize = 64;
const TEXT_BYTES: usize = 200;
const FSYNCS: usize = 300;
/// Rest before the idle memory is read.
const IDLE: Duration = Duration::from_secs(10);

/// Runs a bench.
pub(crate) fn run(env: &Env, args: &[String]) -> Result<bool> {
    match args.split_first().map(|(name, rest)| (name.as_str(), rest)) {
        Some(("dm", rest)) => dm(env, rest),
        Some(("group", rest)) => group::run(env, rest),
        Some(("file", rest)) => file::run(env, rest),
        Some(("film", rest)) => film::run(env, rest),
        Some(("call", rest)) => call::run(env, rest),
        Some(("reach", rest)) => crate::netlab::reach::run(env, rest),
        _ => bail!("there are `cargo xtask bench dm`, `group`, `file`, `film`, `call` and `reach`"),
    }
}

fn dm(env: &Env, rest: &[String]) -> Result<bool> {
    only_flags(rest, &["--runs"], &["--dev"])?;
    let runs = number(rest, "--runs", 3)?.clamp(1, 20);
    let profile = if rest.iter().any(|a| a == "--dev") { Profile::Dev } else { Profile::Release };
    tools::ensure(env, &[tools::CLANG, tools::NPM])?;
    ui::build(env, false)?;
    let kith = env.binaries(&[], profile)?.kith;
    let ceiling = build_example(env, profile, "ceiling")?;
    let mut all: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for round in 1..=runs {
        println!("run {round} of {runs}");
        for (name, value) in one_run(env, &kith, &ceiling)? {
            println!("  {name}: {value:.3}");
            all.entry(name).or_default().push(value);
        }
    }
    println!("median of {runs} runs:");
    let mut middle = BTreeMap::new();
    for (name, values) in all {
        let value = median(values);
        figure(name, value, unit(name));
        middle.insert(name, value);
    }
    aims(&middle);
    Ok(true)
}

fn unit(name: &str) -> &'static str {
    match name {
        "dm.throughput" | "dm.mls_ceiling" => "msg/s",
        "dm.throughput_ratio" => "x",
        "node.start" | "node.unlock" => "s",
        "node.rss_idle" => "MiB",
        _ => "ms",
    }
}

/// Prints each aim and whether it was met. Aims are not assertions.
fn aims(values: &BTreeMap<&'static str, f64>) {
    let get = |name: &str| values.get(name).copied().unwrap_or(f64::NAN);
    let fsync = f64::midpoint(get("dm.fsync_p50"), get("dm.fsync_p50_after"));
    let p50 = 2.0 + 3.0 * fsync;
    let verdict = |met: bool| if met { "met" } else { "not met" };
    println!("aim dm.latency_p50 <= {p50:.2} ms: {}", verdict(get("dm.latency_p50") <= p50));
    println!("aim dm.throughput_ratio >= 0.4: {}", verdict(get("dm.throughput_ratio") >= 0.4));
    println!("aim node.start <= 0.5 s: {}", verdict(get("node.start") <= 0.5));
    println!("aim node.rss_idle <= 60 MiB: {}", verdict(get("node.rss_idle") <= 60.0));
}

fn one_run(env: &Env, kith: &Path, ceiling: &Path) -> Result<Vec<(&'static str, f64)>> {
    let scratch = Scratch::new(&env.target, "bench")?;
    let before = fsync_p50(scratch.path())?;
    let mut alice = Node::create(kith, scratch.path(), "Alice", Flags::default())?;
    let mut bob = Node::create(kith, scratch.path(), "Bob", Flags::default())?;
    let conversation = acquaint(&mut alice, &mut bob)?;
    let mut lanes = Lanes::open(&alice, &bob, &conversation)?;

    lanes.one_by_one(WARM_UP)?;
    let mut times = lanes.one_by_one(ONE_BY_ONE)?;
    times.sort_by(f64::total_cmp);
    let throughput = lanes.many(MANY)?;
    drop(lanes);
    let ceiling = mls_ceiling(ceiling)?;
    let after = fsync_p50(scratch.path())?;

    // Nothing to wait for: idle is when nothing happens.
    std::thread::sleep(IDLE);
    let rss = rss_mib(&bob)?;
    bob.stop()?;
    bob.start()?;
    let begin = Instant::now();
    bob.unlock()?;
    bob.get("/conversations")?;
    let whole = begin.elapsed().as_secs_f64();
    let begin = Instant::now();
    // A wrong passphrase costs the key derivation and nothing else.
    let wrong =
        bob.send("POST", "/vault/passphrase", Some(&json!({"old": "wrong", "new": "wrong wrong wrong"})))?;
    let derivation = begin.elapsed().as_secs_f64();
    if wrong.status < 400 {
        bail!("a wrong passphrase was taken");
    }
    Ok(vec![
        ("dm.fsync_p50", before),
        ("dm.fsync_p50_after", after),
        ("dm.latency_p50", quantile(&times, 0.5)),
        ("dm.latency_p99", quantile(&times, 0.99)),
        ("dm.throughput", throughput),
        ("dm.mls_ceiling", ceiling),
        ("dm.throughput_ratio", throughput / ceiling),
        ("node.start", (whole - derivation).max(0.0)),
        ("node.unlock", derivation),
        ("node.rss_idle", rss),
    ])
}

/// Median of a 4 KiB append with fdatasync, milliseconds.
fn fsync_p50(folder: &Path) -> Result<f64> {
    let path = folder.join("fsync-probe");
    let mut file = std::fs::File::create(&path)?;
    let block = [0x5au8; 4096];
    let mut times = Vec::with_capacity(FSYNCS);
    for _ in 0..FSYNCS {
        let begin = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    // Read back: what is measured is what was written.
    let mut last = [0u8; 4096];
    file.sync_all()?;
    std::fs::File::open(&path)?.read_exact_at(&mut last, 4096 * (FSYNCS as u64 - 1))?;
    std::fs::remove_file(path)?;
    Ok(median(times))
}

/// Resident memory of a node, MiB.
fn rss_mib(node: &Node) -> Result<f64> {
    let pid = node.pid().context("the node does not run")?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.split_whitespace().nth(1).context("no VmRSS")?.parse()?;
    Ok(kib / 1024.0)
}

/// Builds one of the engine's measuring programs.
fn build_example(env: &Env, profile: Profile, name: &str) -> Result<PathBuf> {
    let mut command = env.cargo(&["build", "--quiet", "--package", "kith-mls", "--example", name]);
    if profile == Profile::Release {
        command.arg("--release");
    }
    succeed(&mut command)?;
    Ok(env.target.join(profile.folder()).join("examples").join(name))
}

/// Messages per second that one thread creates and processes with Kith's
/// suite, padding and codec in memory.
fn mls_ceiling(program: &Path) -> Result<f64> {
    let text = output(&mut Command::new(program))?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("mls.ceiling:"));
    let number = line.and_then(|rest| rest.split_whitespace().next()).context("no mls.ceiling figure")?;
    number.replace(',', "").parse().context("mls.ceiling is not a number")
}

/// Requests to one node and the arrivals at the other.
struct Lanes {
    clients: Vec<Client>,
    path: String,
    arrivals: Receiver<(u64, Instant)>,
    serial: u64,
}

impl Lanes {
    fn open(from: &Node, to: &Node, conversation: &str) -> Result<Self> {
        let mut events = to.events()?;
        let (sender, arrivals) = channel();
        std::thread::spawn(move || {
            while let Ok(event) = events.next(Instant::now() + PATIENCE) {
                let at = Instant::now();
                let Some(event) = event else { continue };
                if let Some(serial) = serial_of(&event)
                    && sender.send((serial, at)).is_err()
                {
                    return;
                }
            }
        });
        Ok(Self {
            clients: (0..IN_FLIGHT).map(|_| from.fresh_client()).collect(),
            path: format!("/conversations/{conversation}/messages"),
            arrivals,
            serial: 0,
        })
    }

    /// The next message's body.
    fn body(&mut self) -> (u64, Value) {
        self.serial += 1;
        let serial = self.serial;
        let mut text = format!("bench {serial} ");
        while text.len() < TEXT_BYTES {
            text.push('x');
        }
        (serial, json!({"text": text, "key": format!("bench-{serial}")}))
    }

    /// One message at a time; milliseconds from the request to the event.
    fn one_by_one(&mut self, count: usize) -> Result<Vec<f64>> {
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let (serial, body) = self.body();
            let path = self.path.clone();
            let client = self.clients.first_mut().context("no lanes")?;
            let begin = Instant::now();
            client.ask("POST", &path, Some(&body))?;
            loop {
                let (seen, at) = self.arrivals.recv_timeout(PATIENCE).context("a message did not arrive")?;
                if seen == serial {
                    times.push(at.duration_since(begin).as_secs_f64() * 1e3);
                    break;
                }
            }
        }
        Ok(times)
    }

    /// At most 64 messages sent and not yet arrived; messages per second.
    fn many(&mut self, count: usize) -> Result<f64> {
        let mut lanes: Vec<(Client, bool)> = self.clients.drain(..).map(|client| (client, false)).collect();
        let begin = Instant::now();
        let (mut sent, mut arrived) = (0usize, 0usize);
        let mut last = begin;
        while arrived < count {
            for (client, asked) in &mut lanes {
                if std::mem::take(asked) {
                    let answer = client.finish()?;
                    if answer.status != 202 {
                        bail!("a message was answered {}: {}", answer.status, answer.body);
                    }
                }
                while let Ok((_, at)) = self.arrivals.try_recv() {
                    arrived += 1;
                    last = at;
                }
                if sent < count && sent.saturating_sub(arrived) < IN_FLIGHT {
                    let (_, body) = self.body();
                    client.begin("POST", &self.path, Some(&body))?;
                    *asked = true;
                    sent += 1;
                }
            }
            if arrived < count && lanes.iter().all(|(_, asked)| !asked) {
                let (_, at) = self.arrivals.recv_timeout(PATIENCE).context("a message did not arrive")?;
                arrived += 1;
                last = at;
            }
        }
        self.clients.extend(lanes.into_iter().map(|(client, _)| client));
        Ok(count as f64 / last.duration_since(begin).as_secs_f64())
    }
}

/// The serial number of a bench message that is new to the other node.
fn serial_of(event: &Value) -> Option<u64> {
    let event = event.get("event")?;
    if event["type"] != "message" || event["message"]["mine"] == true {
        return None;
    }
    let text = event["message"]["content"]["text"].as_str()?;
    text.strip_prefix("bench ")?.split(' ').next()?.parse().ok()
}
