//! Relays that restart, partitions, networks that change: how soon two nodes
//! are reachable again, and whether anything is lost.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::namespaces::Ns;
use super::pair::{Lab, acquaint, until_direct};
use super::street::{Kind, Street};
use crate::env::{Binaries, Env};
use crate::lab::{Flags, Node, PATIENCE, Scratch, figure};

/// How soon two nodes have to be reachable again.
const AGAIN_MAX: Duration = Duration::from_secs(10);
/// How long the network is cut.
const PARTITION: Duration = Duration::from_secs(30);
/// How long a relay is down.
const DOWN: Duration = Duration::from_secs(5);
/// Messages of a load.
const LOAD: u32 = 30;
/// How long a direct link may take to come about before a fault begins.
const SETTLE: Duration = Duration::from_secs(25);

#[derive(Debug, Clone, Copy)]
enum Fault {
    InLab(fn(&mut Lab) -> Result<Duration>),
    LanAlone,
}

const FAULTS: [(&str, Fault); 7] = [
    ("relay-restart", Fault::InLab(relay_restart)),
    ("partition-quic", Fault::InLab(partition_quic)),
    ("partition-tcp", Fault::InLab(partition_tcp)),
    ("one-of-three-relays-dies", Fault::InLab(one_dies)),
    ("udp-cut", Fault::InLab(udp_cut)),
    ("both-networks-change", Fault::InLab(both_move)),
    ("lan-alone", Fault::LanAlone),
];

pub(super) fn run(env: &Env, args: &[String]) -> Result<bool> {
    let chosen = match args {
        [] => FAULTS.to_vec(),
        [only, names] if only == "--only" => names
            .split(',')
            .map(|name| {
                FAULTS.into_iter().find(|(n, _)| *n == name).with_context(|| format!("no fault {name:?}"))
            })
            .collect::<Result<_>>()?,
        _ => bail!("netlab faults [--only NAME,…]: {}", FAULTS.map(|(n, _)| n).join(", ")),
    };
    let Binaries { kith, bootstrap } = super::programs(env)?;
    let mut scratch = Scratch::new(&env.target, "netlab-faults")?;
    let mut faults = Vec::new();
    for (name, fault) in chosen {
        let folder = scratch.path().join(name);
        std::fs::create_dir_all(&folder)?;
        let result = match fault {
            Fault::InLab(fault) => {
                Lab::new(&kith, &bootstrap, &folder, 3).and_then(|mut lab| fault(&mut lab))
            }
            Fault::LanAlone => lan_alone(&kith, &folder),
        };
        match result {
            Ok(took) => {
                figure(&format!("netlab.faults.{name}.recovered"), took.as_secs_f64(), "s");
                if took > AGAIN_MAX {
                    faults.push(format!("{name}: {:.1} s", took.as_secs_f64()));
                }
            }
            Err(error) => faults.push(format!("{name}: {error:#}")),
        }
    }
    figure("netlab.faults", faults.len() as f64, "faults");
    for fault in &faults {
        println!("fault: {fault}");
    }
    if !faults.is_empty() {
        scratch.keep();
        println!("logs: {}", scratch.path().display());
    }
    Ok(faults.is_empty())
}

/// The time that a fault lasts: nothing is waited for here.
fn lasts(time: Duration) {
    std::thread::sleep(time);
}

fn all_up(network: &Value) -> bool {
    network["relays"].as_array().is_some_and(|r| !r.is_empty() && r.iter().all(|r| r["up"] == true))
}

fn linked(network: &Value) -> bool {
    network["peers"].as_array().is_some_and(|p| !p.is_empty())
}

/// Both homes translate like this, and both nodes start anew.
fn begin(lab: &mut Lab, kind: Kind) -> Result<()> {
    for node in &mut lab.nodes {
        node.kill()?;
    }
    for home in &lab.street.homes {
        home.translate(kind)?;
    }
    for (home, node) in lab.street.homes.iter().zip(&mut lab.nodes) {
        home.host.within(|| node.resume())?;
    }
    for node in 0..2 {
        lab.until_network(node, "relays and the other", PATIENCE, |n| all_up(n) && linked(n))?;
    }
    lab.deliver(PATIENCE).map(drop)
}

/// Behind symmetric routers everything needs the relays: all are killed, and
/// come back.
fn relay_restart(lab: &mut Lab) -> Result<Duration> {
    begin(lab, Kind::Symmetric)?;
    for relay in &mut lab.relays {
        relay.kill()?;
    }
    lab.until_network(0, "that the relays are gone", PATIENCE, |n| !all_up(n))?;
    lasts(DOWN);
    let Street { server, .. } = &lab.street;
    for relay in &mut lab.relays {
        server.within(|| relay.restart())?;
    }
    let back = Instant::now();
    for node in 0..2 {
        lab.until_network(node, "the relays and the circuit", PATIENCE, |n| all_up(n) && linked(n))?;
    }
    lab.deliver(PATIENCE)?;
    Ok(back.elapsed())
}

fn partition(lab: &mut Lab, kind: Kind) -> Result<Duration> {
    begin(lab, kind)?;
    lab.street.cable(1, false)?;
    lasts(PARTITION);
    lab.street.cable(1, true)?;
    // A cable that is joined again brings no route back by itself.
    lab.deliver(PATIENCE)
}

fn partition_quic(lab: &mut Lab) -> Result<Duration> {
    partition(lab, Kind::PortRestricted)
}

fn partition_tcp(lab: &mut Lab) -> Result<Duration> {
    partition(lab, Kind::UdpBlocked)
}

/// One of three relays dies while messages flow: none is lost, and the sender
/// is told.
fn one_dies(lab: &mut Lab) -> Result<Duration> {
    begin(lab, Kind::Symmetric)?;
    let mut longest = Duration::ZERO;
    for i in 0..LOAD {
        if i == LOAD / 3 {
            lab.relays.first_mut().context("a relay")?.kill()?;
        }
        longest = longest.max(lab.deliver(PATIENCE)?);
    }
    lab.until_network(0, "the relay that is down, told to the sender", PATIENCE, |n| {
        let relays = n["relays"].as_array();
        relays.is_some_and(|r| {
            r.iter().any(|r| {
                r["up"] == false && r["sentence"].as_str().is_some_and(|s| s.starts_with("Not connected"))
            })
        })
    })?;
    Ok(longest)
}

/// A direct QUIC link loses its ground, TCP stays.
fn udp_cut(lab: &mut Lab) -> Result<Duration> {
    begin(lab, Kind::PortRestricted)?;
    let home = &lab.street.homes[0];
    let node = lab.nodes.first_mut().context("a node")?;
    let direct = home.host.within(|| until_direct(node, Instant::now() + SETTLE))?;
    direct.context("no direct link came about before the cut")?;
    home.drop_udp()?;
    lab.deliver(PATIENCE)
}

/// Both routers get another address at once, and forget everything.
fn both_move(lab: &mut Lab) -> Result<Duration> {
    begin(lab, Kind::PortRestricted)?;
    for (home, outside) in lab.street.homes.iter_mut().zip([[198, 51, 100, 110], [198, 51, 100, 120]]) {
        home.move_to(outside.into())?;
    }
    lab.deliver(PATIENCE)
}

/// Two machines on a switch, without any relay or way out: they know each other
/// from before, under ports that are no longer true.
fn lan_alone(kith: &Path, folder: &Path) -> Result<Duration> {
    let hosts = [Ns::new("lanA")?, Ns::new("lanB")?];
    let [left, right] = &hosts;
    left.cable(("eth0", "192.168.7.1/24"), (right, "eth0", "192.168.7.2/24"))?;
    let flags = || Flags {
        everywhere: true,
        environment: vec![("KITH_NEARBY".to_owned(), "true".to_owned())],
        ..Flags::default()
    };
    let mut a = left.within(|| Node::create(kith, folder, "Alice", flags()))?;
    let mut b = right.within(|| Node::create(kith, folder, "Bob", flags()))?;
    let conversation = acquaint((left, &mut a), (right, &mut b))?;
    for node in [&mut a, &mut b] {
        node.kill()?;
    }
    left.within(|| a.resume())?;
    right.within(|| b.resume())?;
    let began = Instant::now();
    left.within(|| a.say(&conversation, "alone", "alone"))?;
    right.within(|| b.until_text(&conversation, "alone", PATIENCE))?;
    Ok(began.elapsed())
}
