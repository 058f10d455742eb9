//! One file from several nodes that each give 40 Mbit/s: three are faster
//! than one, and one that lies, crawls or stops costs next to nothing.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{SEED, TRANSFER, known, settings, verdict};
use crate::lab::node::acquaint;
use crate::lab::{Flags, Node, PATIENCE, figure, files};
use serde_json::json;
use std::time::{Duration, Instant};

/// MiB of the file.
const MIB: u64 = 96;
/// Bytes per second that each gives: 40 Mbit/s.
const RATE: u64 = 5_000_000;
/// Of a source that crawls: a hundredth of that.
const CRAWL: u64 = RATE / 100;
/// Bytes between the beginnings of two chunks on disk.
const CHUNK_ON_DISK: u64 = (256 << 10) + 16;
/// How far the file is when a source stops in the middle.
const STOP_AT: u64 = (MIB << 20) / 3;

/// Alice, who made the file; Bob and Carol, who have it; Dave, who wants it.
struct Four {
    alice: Node,
    bob: Node,
    carol: Node,
    dave: Node,
    id: String,
}

/// Runs all of it. `false`: an aim was not met.
pub(super) fn run(kith: &Path, folder: &Path) -> Result<bool> {
    let mut four = prepare(kith, folder)?;
    four.bob.stop()?;
    four.carol.stop()?;
    let one = four.fetch("one_source")?;
    four.back(Who::Bob)?;
    let two = four.fetch("two_sources")?;
    four.back(Who::Carol)?;
    let three = four.fetch("three_sources")?;
    figure("file.sources_speedup", one / three, "x");

    // Carol is slow.
    settings(&mut four.carol, 0, CRAWL)?;
    let slow = four.fetch("two_and_a_slow_one")?;
    figure("file.slow_costs", (slow / two - 1.0) * 100.0, "%");
    // Carol stops in the middle, with her connections open.
    settings(&mut four.carol, 0, RATE)?;
    let stalled = four.fetch_while_carol_stops()?;
    figure("file.stalled_costs", (stalled / two - 1.0) * 100.0, "%");
    // Carol lies: all that she has of the file is something else.
    four.carol.stop()?;
    let spoilt = spoil(&four.carol.data().join("files"))?;
    four.back(Who::Carol)?;
    let before = lies_seen(&four.dave)?;
    let liar = four.fetch("two_and_a_liar")?;
    figure("file.liar_costs", (liar / two - 1.0) * 100.0, "%");
    if lies_seen(&four.dave)? <= before {
        bail!("{spoilt} chunks at Carol were spoilt, but nobody was told a lie");
    }

    let mut met = verdict("file.sources_speedup >= 2", one / three >= 2.0);
    met &= verdict("file.liar_costs <= 5", liar / two <= 1.05);
    met &= verdict("file.slow_costs <= 5", slow / two <= 1.05);
    met &= verdict("file.stalled_costs <= 5", stalled / two <= 1.05);
    Ok(met)
}

#[derive(Clone, Copy)]
enum Who {
    Bob,
    Carol,
}

fn prepare(kith: &Path, folder: &Path) -> Result<Four> {
    let mut alice = Node::create(kith, folder, "Alice", Flags::default())?;
    let mut others = Vec::new();
    for name in ["Bob", "Carol", "Dave"] {
        let mut node = Node::create(kith, folder, name, Flags::default())?;
        acquaint(&mut alice, &mut node)?;
        others.push(node);
    }
    let accounts = others.iter_mut().map(Node::account).collect::<Result<Vec<_>>>()?;
    let group = alice.create_group("Films", &accounts)?;
    for node in &mut others {
        settings(node, 0, RATE)?;
        node.until("the group", PATIENCE, |node| {
            Ok(node.conversation(&group)?.filter(|c| c["standing"] == "active" && c["member_count"] == 4))
        })?;
    }
    let (id, _) = files::add(&alice, "film.bin", MIB << 20, SEED)?;
    files::send(&mut alice, &group, &id)?;
    let Ok([mut bob, mut carol, mut dave]) = <[Node; 3]>::try_from(others) else {
        bail!("three nodes were started")
    };
    for node in [&mut bob, &mut carol] {
        known(node, &id)?;
        node.post(&format!("/files/{id}/fetch"), &json!({}))?;
        files::until_here(node, &id, TRANSFER)?;
    }
    known(&mut dave, &id)?;
    settings(&mut alice, 0, RATE)?;
    Ok(Four { alice, bob, carol, dave, id })
}

impl Four {
    /// Somebody runs again, and Dave is connected to them.
    fn back(&mut self, who: Who) -> Result<()> {
        let node = match who {
            Who::Bob => &mut self.bob,
            Who::Carol => &mut self.carol,
        };
        node.resume()?;
        let name = node.name.clone();
        self.dave.until("a link", PATIENCE, |dave| {
            let network = dave.get("/network")?;
            let peers = network["peers"].as_array();
            Ok(peers.into_iter().flatten().any(|p| p["name"] == name.as_str()).then_some(()))
        })
    }

    /// Dave fetches the file anew. Answers the seconds that it took.
    fn fetch(&mut self, name: &str) -> Result<f64> {
        let begin = self.begin()?;
        files::until_here(&mut self.dave, &self.id, TRANSFER)?;
        self.end(name, begin)
    }

    /// As [`Four::fetch`]; Carol's process is stopped on the way.
    fn fetch_while_carol_stops(&mut self) -> Result<f64> {
        let begin = self.begin()?;
        let id = self.id.clone();
        self.dave.until("a part of the file", TRANSFER, |dave| {
            Ok((files::standing(dave, &id)?.1 >= STOP_AT).then_some(()))
        })?;
        let carol = self.carol.pid().context("Carol does not run")?.to_string();
        let signal = |name: &str| crate::env::succeed(Command::new("kill").args([name, &carol]));
        signal("-STOP")?;
        let here = files::until_here(&mut self.dave, &self.id, TRANSFER);
        let took = here.and_then(|()| self.end("two_and_one_that_stops", begin));
        signal("-CONT")?;
        took
    }

    fn begin(&mut self) -> Result<Instant> {
        let id = &self.id;
        self.dave.send("DELETE", &format!("/files/{id}"), None)?;
        let begin = Instant::now();
        self.dave.post(&format!("/files/{id}/fetch"), &json!({}))?;
        Ok(begin)
    }

    fn end(&self, name: &str, begin: Instant) -> Result<f64> {
        let took = begin.elapsed();
        files::verify(&self.dave, &self.id, MIB << 20, SEED)?;
        figure(&format!("file.{name}"), MIB as f64 / took.as_secs_f64(), "MiB/s");
        // Alice is the one who is there each time.
        if self.alice.pid().is_none() || took < Duration::from_millis(1) {
            bail!("nobody gave the file");
        }
        Ok(took.as_secs_f64())
    }
}

/// Writes over the beginning of each chunk of all files below a folder.
/// Answers how many.
fn spoil(folder: &Path) -> Result<u64> {
    let mut chunks = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path().join("data");
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let len = file.metadata()?.len();
        for at in (0..len).step_by(usize::try_from(CHUNK_ON_DISK)?) {
            let mut bytes = [0; 32];
            file.read_exact_at(&mut bytes, at)?;
            file.write_all_at(&bytes.map(|b| !b), at)?;
            chunks += 1;
        }
    }
    if chunks == 0 {
        bail!("there is no chunk to spoil in {}", folder.display());
    }
    Ok(chunks)
}

/// How often a node's log says that a source lied.
fn lies_seen(node: &Node) -> Result<usize> {
    Ok(std::fs::read_to_string(node.log())?.matches("something else than a chunk of the file").count())
}
