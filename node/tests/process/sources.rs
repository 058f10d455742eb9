//! One file from three members, of whom one lies and one stops answering.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::files::{MIB, add, noise, send, wait_file, wait_here};
use crate::lab::{Node, PASSPHRASE, init};
use crate::people::acquaint;

/// Bytes between the beginnings of two chunks on disk.
const CHUNK_ON_DISK: usize = (256 << 10) + 16;

/// Writes over the beginning of each chunk of the only file of a node.
fn spoil(data: &Path) {
    let folder = std::fs::read_dir(data.join("files")).unwrap().next().unwrap().unwrap().path();
    let file = OpenOptions::new().write(true).open(folder.join("data")).unwrap();
    for at in (0..file.metadata().unwrap().len()).step_by(CHUNK_ON_DISK) {
        file.write_all_at(b"something else than it was", at).unwrap();
    }
}

fn linked(node: &Node, names: &[&str]) {
    let all = |network: &Value| {
        let peers = network["peers"].as_array().unwrap();
        names.iter().all(|name| peers.iter().any(|p| p["name"] == *name))
    };
    let mut events = node.events();
    if !all(&node.get("/network")) {
        events.wait("links to all", |e| (e["type"] == "network" && all(&e["network"])).then_some(()));
    }
}

fn settings(node: &Node, up: usize) {
    let limits = json!({
        "cache_bytes": 1u64 << 32, "auto_bytes": 0, "up_bytes_per_s": up, "down_bytes_per_s": 0,
    });
    assert_eq!(node.call("PUT", "/storage", Some(limits)).0, 204);
}

#[test]
fn one_who_lies_and_one_who_stops_do_not_keep_a_file_from_coming() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path(), "Dave");
    let log = dir.path().with_extension("log");
    let into = std::fs::File::create(&log).unwrap();
    let (alice, bob, mut carol) = (Node::new("Alice"), Node::new("Bob"), Node::new("Carol"));
    let dave = Node::start_into(dir.path(), Some(PASSPHRASE), &[], Stdio::from(into));
    let mut members = Vec::new();
    for other in [&bob, &carol, &dave] {
        acquaint(&alice, other);
        settings(other, 0);
        members.push(other.get("/me")["account"].clone());
    }
    let (mut at_bob, mut at_carol, mut at_dave) = (bob.events(), carol.events(), dave.events());
    let made = alice.post("/conversations", json!({"title": "Films", "members": members}));
    let group = made["conversation"].as_str().unwrap();
    for events in [&mut at_bob, &mut at_carol, &mut at_dave] {
        events.wait("the group", |e| {
            let c = &e["conversation"];
            (c["id"] == group && c["standing"] == "active" && c["member_count"] == 4).then_some(())
        });
    }
    let bytes = noise(24 * MIB, 9);
    let id = add(&alice, "film.bin", "", &bytes);
    send(&alice, group, &id, "one");
    for (node, events) in [(&bob, &mut at_bob), (&carol, &mut at_carol)] {
        wait_file(events, "film.bin");
        node.post(&format!("/files/{id}/fetch"), json!({}));
        wait_here(node, events, &id);
    }
    wait_file(&mut at_dave, "film.bin");
    // Carol has something else under the same names now.
    let at = carol.get("/network")["addrs"][0].as_str().unwrap().to_owned();
    carol.kill();
    spoil(&carol.data);
    let folder = carol.data.clone();
    let old = std::mem::replace(&mut carol, Node::start(&folder, Some(PASSPHRASE), &["--p2p-listen", &at]));
    linked(&dave, &["Alice", "Bob", "Carol"]);
    // Slow enough that all of them are asked.
    settings(&alice, 6 * MIB);
    settings(&bob, 6 * MIB);
    dave.post(&format!("/files/{id}/fetch"), json!({}));
    at_dave.wait("a part of it", |e| (e["progress"]["have"].as_u64()? > 4 * MIB as u64).then_some(()));
    let pid = Pid::from_raw(bob.pid().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    wait_here(&dave, &mut at_dave, &id);
    kill_process(pid, Signal::CONT).unwrap();
    assert!(dave.content(&id, "", None).bytes == bytes);
    let text = std::fs::read_to_string(&log).unwrap();
    let lies = text.matches("something else than a chunk of the file").count();
    std::fs::remove_file(&log).unwrap();
    assert_eq!(lies, 1, "the liar was asked once, and not again: {text}");
    drop(old);
}
