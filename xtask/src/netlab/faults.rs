//! Relays that restart, partitions, networks that change: how soon two nodes
//! are reachable again, whether anything is lost, and what the doctor says.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::pair::{Lab, until_direct};
use super::street::{Kind, Street};
use crate::env::{Binaries, Env};
use crate::lab::namespace::Namespace;
use crate::lab::node::{acquaint_in, cold_in};
use crate::lab::{Flags, Node, PATIENCE, Relay, Scratch, figure};

/// How soon two nodes have to be reachable again.
const AGAIN_MAX: Duration = Duration::from_secs(10);
/// How long the network is cut.
const PARTITION: Duration = Duration::from_secs(30);
/// How long a relay is down.
const DOWN: Duration = Duration::from_secs(5);
/// Messages of a load.
const LOAD: u32 = 30;
/// Bytes of a message that fills a relay.
const LARGE_TEXT: usize = 30_000;
/// Large messages by which a path makes itself seen.
const LARGE_TEXTS: u64 = 3;
/// Relays that are to hold each message.
const COPIES: u64 = 2;
/// How long nobody says anything before a punched path has to work still.
const IDLE: Duration = Duration::from_secs(600);
/// How long a direct link may take to come about before a fault begins.
const SETTLE: Duration = Duration::from_secs(25);

#[derive(Debug, Clone, Copy)]
enum Fault {
    InLab(fn(&mut Lab) -> Result<Duration>),
    LanAlone,
}

const FAULTS: [(&str, Fault); 11] = [
    ("relay-restart", Fault::InLab(relay_restart)),
    ("partition-quic", Fault::InLab(partition_quic)),
    ("partition-tcp", Fault::InLab(partition_tcp)),
    ("one-of-three-relays-dies", Fault::InLab(one_dies)),
    ("udp-cut", Fault::InLab(udp_cut)),
    ("both-networks-change", Fault::InLab(both_move)),
    ("lan-alone", Fault::LanAlone),
    ("relay-killed-mid-load", Fault::InLab(|lab| mid_load(lab, Spoilt::Killed))),
    ("relay-filled-mid-load", Fault::InLab(|lab| mid_load(lab, Spoilt::Filled))),
    ("relay-lies-mid-load", Fault::InLab(|lab| mid_load(lab, Spoilt::Lies))),
    (IDLE_FAULT, Fault::InLab(punched_idle)),
];

/// Takes ten minutes, and is tried only when it is named.
const IDLE_FAULT: &str = "punched-after-ten-idle-minutes";

pub(super) fn run(env: &Env, args: &[String]) -> Result<bool> {
    let chosen: Vec<(&str, Fault)> = match args {
        [] => FAULTS.into_iter().filter(|(name, _)| *name != IDLE_FAULT).collect(),
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

fn list<'a>(network: &'a Value, what: &str) -> impl Iterator<Item = &'a Value> {
    network[what].as_array().into_iter().flatten()
}

fn relays(network: &Value) -> impl Iterator<Item = &Value> {
    list(network, "relays")
}

fn peers(network: &Value) -> impl Iterator<Item = &Value> {
    list(network, "peers")
}

/// Whether the doctor's sentence about something has these words.
fn says(about: &Value, words: &str) -> bool {
    about["sentence"].as_str().is_some_and(|s| s.contains(words))
}

fn own_says(network: &Value, words: &str) -> bool {
    list(network, "findings").any(|f| says(f, words))
}

fn away_says(network: &Value, words: &str) -> bool {
    list(network, "away").any(|p| says(p, words))
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
    lab.until_network(0, "that the relays are gone", PATIENCE, |n| {
        relays(n).all(|r| says(r, "Not connected: ")) && own_says(n, "No relay is reached.")
    })?;
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
    let took = back.elapsed();
    lab.until_network(0, "a word about the circuit", PATIENCE, |n| {
        peers(n).any(|p| says(p, "(symmetric NAT)"))
    })?;
    Ok(took)
}

fn partition(lab: &mut Lab, kind: Kind) -> Result<Duration> {
    begin(lab, kind)?;
    lab.street.cable(1, false)?;
    let cut = Instant::now();
    lab.until_network(1, "that the network is cut", PARTITION, |n| {
        own_says(n, "No relay is reached.")
            && peers(n).next().is_none()
            && away_says(n, "no relay is reached")
    })?;
    lab.until_network(0, "that the other side is cut", PARTITION, |n| {
        all_up(n) && away_says(n, "Messages are kept at")
    })?;
    lasts(PARTITION.saturating_sub(cut.elapsed()));
    lab.street.cable(1, true)?;
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
        relays(n).any(|r| r["up"] == false && says(r, "Not connected: "))
            && own_says(n, "2 of 3 relays are connected.")
    })?;
    Ok(longest)
}

/// What becomes of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spoilt {
    Killed,
    /// It takes a few more messages only.
    Filled,
    /// It comes back without what it signed for.
    Lies,
}

impl Spoilt {
    fn spoil(self, relay: &mut Relay, server: &Namespace) -> Result<()> {
        relay.kill()?;
        match self {
            Self::Killed => return Ok(()),
            // A sender may fill a quarter of a topic.
            Self::Filled => std::fs::write(relay.data().join("config.toml"), "[limits]\ntopic_mib = 1\n")?,
            Self::Lies => std::fs::remove_dir_all(relay.data().join("log"))?,
        }
        server.within(|| relay.restart())
    }

    /// The state of the relay's copies that the sender is shown, and a word of
    /// the sentence about the relay.
    fn told(self) -> (&'static str, &'static str) {
        match self {
            Self::Killed => ("silent", "Not connected: "),
            Self::Filled => ("refused", "space at the relay is"),
            Self::Lies => ("lost", "does not have them any more"),
        }
    }
}

/// Bob is away, Alice writes, and one of the relays that hold her messages goes
/// bad: each message is at two good ones within the time, she is told, and Bob
/// finds all of them.
fn mid_load(lab: &mut Lab, how: Spoilt) -> Result<Duration> {
    begin(lab, Kind::PortRestricted)?;
    let conversation = lab.conversation.clone();
    let Lab { street, nodes, relays, .. } = lab;
    let [a, b] = nodes.as_mut_slice() else { bail!("two nodes") };
    let [home_a, home_b] = &street.homes;
    b.kill()?;
    let mut texts = Vec::new();
    let mut ids = Vec::new();
    let (mut spoilt, mut longest) = (None, Duration::ZERO);
    for i in 0..LOAD {
        if i == LOAD / 3 {
            let name = holder(&home_a.host, a, &conversation, &ids)?;
            let relay = relays.iter_mut().find(|r| r.name == name).context("the relay that holds it")?;
            let network = home_a.host.within(|| a.get("/network"))?;
            let since =
                list(&network, "relays").find(|r| r["name"] == name).context("the relay")?["since"].clone();
            how.spoil(relay, &street.server)?;
            spoilt = Some((name.clone(), Instant::now()));
            if how == Spoilt::Filled {
                // It has to be back to be filled: else what is said goes past it.
                home_a.host.within(|| {
                    a.until("the relay to be filled", PATIENCE, |a| {
                        let network = a.get("/network")?;
                        let again =
                            list(&network, "relays").any(|r| r["name"] == name && r["since"] != since);
                        Ok((again && all_up(&network)).then_some(()))
                    })
                })?;
            }
        }
        let large = if spoilt.is_some() && how == Spoilt::Filled { LARGE_TEXT } else { 0 };
        let text = format!("load {i} {}", "x".repeat(large));
        let said = Instant::now();
        ids.push(home_a.host.within(|| a.say(&conversation, &text, &format!("load {i}")))?);
        texts.push(text);
        home_a.host.within(|| until_copies(a, &conversation, &ids))?;
        longest = longest.max(said.elapsed());
    }
    let (name, since) = spoilt.context("a relay went bad")?;
    home_a.host.within(|| until_copies(a, &conversation, &ids))?;
    if how != Spoilt::Filled {
        // What it had is with another by now: all of it is looked at.
        let (state, _) = how.told();
        home_a.host.within(|| {
            a.until("the copies that are gone, told to the sender", PATIENCE, |a| {
                let copies = copies(a, &conversation, ids.first().context("a message")?)?;
                Ok(copies.iter().any(|c| c["relay"] == name && c["state"] == state).then_some(()))
            })?;
            until_copies(a, &conversation, &ids)
        })?;
        longest = longest.max(since.elapsed());
    }
    let (state, sentence) = how.told();
    home_a.host.within(|| {
        let mut states = BTreeSet::new();
        for id in &ids {
            let copies = copies(a, &conversation, id)?;
            states.extend(copies.iter().filter(|c| c["relay"] == name).map(|c| c["state"].to_string()));
        }
        if !states.contains(&json!(state).to_string()) {
            bail!("no message says that {name} is {state:?}: {states:?}");
        }
        a.until("a sentence about the relay", PATIENCE, |a| {
            Ok(relays_say(&a.get("/network")?, &name, sentence).then_some(()))
        })
    })?;
    a.kill()?;
    home_b.host.within(|| b.resume())?;
    for text in &texts {
        home_b.host.within(|| b.until_text(&conversation, text, PATIENCE)).context("a message was lost")?;
    }
    Ok(longest)
}

fn relays_say(network: &Value, name: &str, words: &str) -> bool {
    relays(network).any(|r| r["name"] == name && says(r, words))
}

/// What relays said of a message.
fn copies(node: &mut Node, conversation: &str, id: &str) -> Result<Vec<Value>> {
    let delivery = node.get(&format!("/conversations/{conversation}/messages/{id}/delivery"))?;
    Ok(delivery["relays"].as_array().cloned().unwrap_or_default())
}

/// A relay that holds the newest of these messages.
fn holder(home: &Namespace, node: &mut Node, conversation: &str, ids: &[String]) -> Result<String> {
    let copies = home.within(|| copies(node, conversation, ids.last().context("a message")?))?;
    let copy = copies.iter().find(|c| c["state"] == "stored").context("a copy at a relay")?;
    Ok(copy["relay"].as_str().context("a relay has a name")?.to_owned())
}

/// Waits until each of these messages is at enough relays that answer.
fn until_copies(node: &mut Node, conversation: &str, ids: &[String]) -> Result<()> {
    let wanted: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
    node.until("enough copies of every message", PATIENCE, |node| {
        let page = node.get(&format!("/conversations/{conversation}/messages?limit=100"))?;
        let rows = page["messages"].as_array().into_iter().flatten();
        let safe: BTreeSet<&str> = rows
            .filter(|row| row["stored_at"].as_u64().is_some_and(|n| n >= COPIES))
            .filter_map(|row| row["id"].as_str())
            .collect();
        Ok(wanted.is_subset(&safe).then_some(()))
    })
}

/// A direct QUIC link loses its ground, TCP stays.
fn udp_cut(lab: &mut Lab) -> Result<Duration> {
    begin(lab, Kind::PortRestricted)?;
    let home = &lab.street.homes[0];
    let node = lab.nodes.first_mut().context("a node")?;
    let direct = home.host.within(|| until_direct(node, Instant::now() + SETTLE))?;
    direct.context("no direct link came about before the cut")?;
    home.drop_udp()?;
    let took = lab.deliver(PATIENCE)?;
    lab.until_network(0, "what became of UDP", PATIENCE, |n| {
        relays(n).all(|r| says(r, "Connected over TCP."))
            && own_says(n, "Only TCP gets out of this network.")
            && peers(n).any(|p| says(p, "UDP does not leave this network") || says(p, "over TCP."))
    })?;
    Ok(took)
}

/// Both routers get another address at once, and forget everything.
fn both_move(lab: &mut Lab) -> Result<Duration> {
    begin(lab, Kind::PortRestricted)?;
    for (home, outside) in lab.street.homes.iter_mut().zip([[198, 51, 100, 110], [198, 51, 100, 120]]) {
        home.move_to(outside.into())?;
    }
    let took = lab.deliver(PATIENCE)?;
    lab.until_network(0, "a path between the new addresses", PATIENCE, |n| {
        all_up(n) && peers(n).any(|p| says(p, "Punched through the routers of both sides, over QUIC."))
    })?;
    Ok(took)
}

/// Nothing is said for ten minutes: the punched path stands, and is the same.
fn punched_idle(lab: &mut Lab) -> Result<Duration> {
    begin(lab, Kind::PortRestricted)?;
    let home = &lab.street.homes[0];
    let node = lab.nodes.first_mut().context("a node")?;
    let direct = home.host.within(|| until_direct(node, Instant::now() + SETTLE))?;
    direct.context("no direct link came about")?;
    lab.deliver(PATIENCE)?;
    let before = lab.best_peer(0)?;
    lasts(IDLE);
    let after = lab.best_peer(0)?;
    if before["label"] != "punched" || before["since"] != after["since"] || after["path"] != before["path"] {
        bail!("the path was {before}, and is {after}");
    }
    let traffic = lab.street.homes[0].traffic(&lab.street.homes[1])?;
    let took = lab.deliver(PATIENCE)?;
    let more = lab.street.homes[0].traffic(&lab.street.homes[1])?;
    if more.peer_udp <= traffic.peer_udp {
        bail!("the message did not go over the punched path: {traffic:?}, then {more:?}");
    }
    Ok(took)
}

/// Two machines on a switch, each with a node that looks around there.
pub(super) fn switch(kith: &Path, folder: &Path) -> Result<([Namespace; 2], [Node; 2])> {
    let [left, right] = [Namespace::new("lanA")?, Namespace::new("lanB")?];
    left.cable(("eth0", "192.168.7.1/24"), (&right, "eth0", "192.168.7.2/24"))?;
    let flags = || Flags {
        everywhere: true,
        environment: vec![("KITH_NEARBY".to_owned(), "true".to_owned())],
        ..Flags::default()
    };
    let a = left.within(|| Node::create(kith, folder, "Alice", flags()))?;
    let b = right.within(|| Node::create(kith, folder, "Bob", flags()))?;
    Ok(([left, right], [a, b]))
}

/// Counts what leaves a machine as UDP from now on.
fn count_udp(ns: &Namespace) -> Result<()> {
    ns.output("nft", &["add", "table", "ip", "lab"])?;
    ns.output("nft", &["add", "chain", "ip", "lab", "out", "{ type filter hook output priority 0; }"])?;
    let rule = ["add", "rule", "ip", "lab", "out", "oif", "eth0", "meta", "l4proto", "udp", "counter"];
    ns.output("nft", &rule).map(drop)
}

/// The bytes that were counted.
fn udp_bytes(ns: &Namespace) -> Result<u64> {
    let told = ns.output("nft", &["list", "chain", "ip", "lab", "out"])?;
    let mut words = told.split_whitespace().skip_while(|w| *w != "bytes").skip(1);
    words.next().context("no count of bytes")?.parse().context("no number of bytes")
}

/// Two machines on a switch, without any relay or way out: they know each other
/// from before, under ports that are no longer true.
fn lan_alone(kith: &Path, folder: &Path) -> Result<Duration> {
    let ([left, right], [mut a, mut b]) = switch(kith, folder)?;
    let conversation = acquaint_in((&left, &mut a), (&right, &mut b))?;
    for node in [&mut a, &mut b] {
        node.kill()?;
    }
    let (_, took) = cold_in((&left, &mut a), (&right, &mut b), &conversation, "alone")?;
    // QUIC begins only 30 ms before TCP in a private network, and either may be
    // quicker: what goes out when something long is said tells which it was.
    count_udp(&left)?;
    for i in 0..LARGE_TEXTS {
        let words = format!("{i} {}", "long".repeat(LARGE_TEXT / 4));
        left.within(|| a.say(&conversation, &words, &format!("long {i}")))?;
    }
    left.within(|| a.say(&conversation, "said", "said"))?;
    right.within(|| b.until_text(&conversation, "said", PATIENCE))?;
    let quic = udp_bytes(&left)? > LARGE_TEXTS * LARGE_TEXT as u64 / 2;
    let sentence = format!("In the same network, directly over {}.", if quic { "QUIC" } else { "TCP" });
    left.within(|| {
        a.until(&format!("the words {sentence:?}"), PATIENCE, |a| {
            let n = a.get("/network")?;
            let near = peers(&n).any(|p| says(p, &sentence));
            Ok((near && own_says(&n, "No relay is in use")).then_some(()))
        })
    })?;
    Ok(took)
}
