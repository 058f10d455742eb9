//! A disk that fills up while files come in: what has arrived stays, nothing
//! half valid is kept, messages go on, and the transfer too when there is space.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::files::{MIB, add, noise, send, wait_file, wait_here};
use crate::lab::{Node, PASSPHRASE, init};
use crate::people::acquaint;

/// Bytes that a node leaves to everything else.
const SPARE: u64 = 64 << 20;

/// A disk of our own; gone at the end. `None` where we may not make one.
struct Disk(PathBuf);

impl Disk {
    fn new(at: &Path, mib: u64) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "none"]).arg(at).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }
    fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.0).unwrap();
        stat.f_bavail * stat.f_frsize
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_fills_up_pauses_a_transfer_with_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path(), "Bob");
    let files = dir.path().join("files");
    std::fs::create_dir_all(&files).unwrap();
    let Some(disk) = Disk::new(&files, 180) else {
        println!("skipped: a disk of our own needs the rights of root");
        return;
    };
    let alice = Node::new("Alice");
    let bob = Node::start(dir.path(), Some(PASSPHRASE), &[]);
    let talk = acquaint(&alice, &bob);
    let mut at_bob = bob.events();
    let settings = |down: usize| {
        let limits = json!({
            "cache_bytes": 1u64 << 32, "auto_bytes": 0, "up_bytes_per_s": 0, "down_bytes_per_s": down,
        });
        assert_eq!(bob.call("PUT", "/storage", Some(limits)).0, 204);
    };
    settings(8 * MIB);
    let bytes = noise(60 * MIB, 8);
    let id = add(&alice, "film.bin", "", &bytes);
    send(&alice, &talk, &id, "one");
    wait_file(&mut at_bob, "film.bin");
    bob.post(&format!("/files/{id}/fetch"), json!({}));
    at_bob.wait("a part of it", |e| (e["progress"]["have"].as_u64()? > 8 * MIB as u64).then_some(()));
    // Somebody else fills the disk.
    let ballast = files.join("ballast");
    std::fs::write(&ballast, vec![0; usize::try_from(disk.free() - SPARE / 2).unwrap()]).unwrap();
    let problem = at_bob.wait("the sentence", |e| {
        let file = &e["message"]["content"]["file"];
        (file["id"] == id.as_str() && file["state"] == "paused").then(|| file["problem"].clone())
    });
    assert!(problem.as_str().unwrap().contains("disk is almost full"), "{problem}");
    assert!(disk.free() > SPARE / 4, "it stopped before the disk was full");
    // Nothing of a file that cannot be added stays; messages go on.
    let before = std::fs::read_dir(&files).unwrap().count();
    let (status, answer) = bob.upload("name=big.bin", &bytes[..20 * MIB]);
    assert_eq!((status, &answer["code"]), (507, &json!("disk_full")), "{answer}");
    assert_eq!(std::fs::read_dir(&files).unwrap().count(), before);
    alice.post(&format!("/conversations/{talk}/messages"), json!({"text": "still there?", "key": "m"}));
    at_bob.wait("a message", |e| (e["message"]["content"]["text"] == "still there?").then_some(()));
    // What is here of it is read, and nothing that is not.
    let part = bob.content(&id, "", Some("bytes=0-99999"));
    assert!(part.bytes == bytes[..100_000]);
    std::fs::remove_file(&ballast).unwrap();
    settings(0);
    bob.post(&format!("/files/{id}/fetch"), json!({}));
    wait_here(&bob, &mut at_bob, &id);
    assert!(bob.content(&id, "", None).bytes == bytes);
}
