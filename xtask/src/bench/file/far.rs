//! A file over a long and lossy way: 80 ms there and back, one packet in a
//! hundred lost in each direction, between two namespaces; beside a bare
//! libp2p stream over the same way.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::{SEED, TRANSFER, bare_giver, bare_taker, known, settings, verdict};
use crate::lab::namespace::Namespace;
use crate::lab::node::acquaint_in;
use crate::lab::process::Process;
use crate::lab::{Flags, Node, PATIENCE, figure, files, free_port};

/// MiB of the file: loss makes the way slow.
pub(super) const MIB: u64 = 16;
/// Half the round trip, ms.
const DELAY_MS: u64 = 40;
/// Packets lost of a thousand.
const LOSS: u64 = 10;
const ALICE: &str = "10.77.0.1";
const BOB: &str = "10.77.0.2";

/// The way: a namespace at each end, and one before each that stands in for
/// the other side.
struct Way {
    alice: Namespace,
    bob: Namespace,
    _between: [Namespace; 2],
    _passing: [Process; 2],
}

impl Way {
    /// `port`: where both sides listen. Others are found as they are used.
    fn new(folder: &Path, port: u16) -> Result<Self> {
        let [alice, bob] = [Namespace::new("a")?, Namespace::new("b")?];
        let [at_alice, at_bob] = [Namespace::new("m")?, Namespace::new("n")?];
        let slash = |ip: &str| format!("{ip}/24");
        alice.cable(("near", &slash(ALICE)), (&at_alice, "near", &slash(BOB)))?;
        bob.cable(("near", &slash(BOB)), (&at_bob, "near", &slash(ALICE)))?;
        at_alice.cable(("far", "10.78.0.1/24"), (&at_bob, "far", "10.78.0.2/24"))?;
        let ends = ["10.78.0.1:9", "10.78.0.2:9"];
        let passing = |at: &Namespace, far: &str, near: &str, [this, other]: [&str; 2]| {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", at.name.as_str()]).arg(std::env::current_exe()?);
            command.args(["distance", far, &port.to_string(), near, this, other]);
            command.args([DELAY_MS, LOSS, SEED].map(|n| n.to_string()));
            let mut process = Process::start("the distance", &mut command, &folder.join("far.log"), "")?;
            process.wait_line("ready:", PATIENCE)?;
            Ok::<_, anyhow::Error>(process)
        };
        let passing =
            [passing(&at_alice, BOB, ALICE, ends)?, passing(&at_bob, ALICE, BOB, [ends[1], ends[0]])?];
        Ok(Self { alice, bob, _between: [at_alice, at_bob], _passing: passing })
    }
}

/// Runs both over the same way. `false`: the aim was not met.
pub(super) fn run(kith: &Path, bare: &Path, folder: &Path, mib: u64) -> Result<bool> {
    if let Err(reason) = Namespace::new("p") {
        println!("file.far_rate: skipped: no network namespaces here ({reason:#})");
        return Ok(true);
    }
    let port = free_port()?;
    let far = folder.join("far");
    std::fs::create_dir_all(&far)?;
    let rate = node_rate(kith, &far, port, mib)?;
    let libp2p = bare_far(bare, &far, mib)?;
    figure("file.far_round_trip", (2 * DELAY_MS) as f64, "ms");
    figure("file.far_loss", LOSS as f64 / 10.0, "%");
    figure("file.far_rate_quic", rate, "MiB/s");
    figure("file.far_libp2p_rate_quic", libp2p, "MiB/s");
    figure("file.far_ratio_quic", rate / libp2p, "x");
    Ok(verdict("file.far_ratio_quic >= 0.5", rate / libp2p >= 0.5))
}

fn node_rate(kith: &Path, folder: &Path, port: u16, mib: u64) -> Result<f64> {
    let way = Way::new(folder, port)?;
    let flags = |ip: &str| Flags { at: Some((ip.to_owned(), port)), ..Flags::default() };
    let mut alice = way.alice.within(|| Node::create(kith, folder, "Alice", flags(ALICE)))?;
    let mut bob = way.bob.within(|| Node::create(kith, folder, "Bob", flags(BOB)))?;
    let talk = acquaint_in((&way.alice, &mut alice), (&way.bob, &mut bob))?;
    let id = way.alice.within(|| {
        let (id, _) = files::add(&alice, "film.bin", mib << 20, SEED)?;
        files::send(&mut alice, &talk, &id)?;
        Ok(id)
    })?;
    way.bob.within(|| {
        settings(&mut bob, 0, 0)?;
        known(&mut bob, &id)?;
        let path = bob.get("/network")?["peers"][0]["path"].clone();
        if path != "direct_quic" {
            bail!("the two nodes are connected by {path} and not over the long way");
        }
        let begin = Instant::now();
        bob.post(&format!("/files/{id}/fetch"), &json!({}))?;
        files::until_here(&mut bob, &id, TRANSFER)?;
        let took = begin.elapsed().as_secs_f64();
        files::verify(&bob, &id, mib << 20, SEED)?;
        Ok(mib as f64 / took)
    })
}

fn bare_far(program: &Path, folder: &Path, mib: u64) -> Result<f64> {
    let port = free_port()?;
    let way = Way::new(folder, port)?;
    let mut giver = way.alice.within(|| bare_giver(program, folder, "quic", ALICE, mib, port))?;
    let from = giver.wait_line("ready:", TRANSFER).context("starting the bare giver")?;
    way.bob.within(|| bare_taker(program, folder, "quic", &from))
}
