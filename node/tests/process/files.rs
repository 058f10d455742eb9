//! Files between two nodes, without a relay: sent, fetched, read in parts,
//! across a kill, and what is refused.

use serde_json::{Value, json};

use crate::lab::{Events, Node, PASSPHRASE, fails, kith, ok};
use crate::people::acquaint;

pub(crate) const MIB: usize = 1 << 20;

/// Bytes that no compression or repetition helps with.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

pub(crate) fn add(node: &Node, name: &str, media_type: &str, bytes: &[u8]) -> String {
    let (status, file) = node.upload(&format!("name={name}&type={media_type}"), bytes);
    assert_eq!(status, 201, "{file}");
    file["id"].as_str().unwrap().to_owned()
}

pub(crate) fn send(node: &Node, conversation: &str, file: &str, key: &str) {
    node.post(&format!("/conversations/{conversation}/files"), json!({"file": file, "key": key}));
}

/// Waits until a file of that name came in a message.
pub(crate) fn wait_file(events: &mut Events, name: &str) -> Value {
    events.wait(name, |e| {
        let file = &e["message"]["content"]["file"];
        (file["name"] == name).then(|| file.clone())
    })
}

/// Waits until all of a file is here.
pub(crate) fn wait_here(node: &Node, events: &mut Events, id: &str) {
    if node.get(&format!("/files/{id}"))["file"]["state"] == "here" {
        return;
    }
    events.wait("the whole file", |e| {
        let file = &e["message"]["content"]["file"];
        (file["id"] == id && file["state"] == "here").then_some(())
    });
}

#[test]
fn a_file_arrives_and_is_read_from_any_place() {
    let (alice, bob) = (Node::new("Alice"), Node::new("Bob"));
    let talk = acquaint(&alice, &bob);
    let mut at_bob = bob.events();
    let bytes = noise(3 * MIB + 77, 1);
    let id = add(&alice, "..%2F..%2Fholiday%E2%80%AE4pm.bin", "video/mp4", &bytes);
    send(&alice, &talk, &id, "one");
    let file = wait_file(&mut at_bob, "holiday4pm.bin");
    assert_eq!(file["size"], bytes.len());
    wait_here(&bob, &mut at_bob, &id);
    let all = bob.content(&id, "", None);
    assert_eq!((all.status, all.bytes.len()), (200, bytes.len()));
    assert!(all.bytes == bytes);
    // It says that it is a film and is none: to be saved, not shown.
    assert_eq!(all.headers["content-type"], "application/octet-stream");
    assert!(all.headers["content-disposition"].starts_with("attachment; filename=\"holiday4pm.bin\""));
    assert!(all.headers["content-security-policy"].contains("sandbox"));
    assert_eq!(all.headers["x-content-type-options"], "nosniff");
    for (asked, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=262140-262150", 262_140, 262_151),
        ("bytes=3000000-", 3_000_000, bytes.len()),
        ("bytes=-5", bytes.len() - 5, bytes.len()),
    ] {
        let part = bob.content(&id, "", Some(asked));
        assert_eq!(part.status, 206, "{asked}");
        assert_eq!(part.headers["content-range"], format!("bytes {from}-{}/{}", to - 1, bytes.len()));
        assert!(part.bytes == bytes[from..to], "{asked}");
    }
    assert_eq!(bob.content(&id, "", Some("bytes=99999999-")).status, 416);
    // Another file of the same name does not take its place.
    let other = add(&alice, "holiday4pm.bin", "", b"another one");
    send(&alice, &talk, &other, "two");
    wait_file(&mut at_bob, "holiday4pm.bin");
    wait_here(&bob, &mut at_bob, &other);
    assert_eq!(bob.content(&other, "", None).bytes, b"another one");
    assert!(bob.content(&id, "", None).bytes == bytes);
    // Nothing of it lies in the clear in either folder.
    for node in [&alice, &bob] {
        assert!(!holds(&node.data, &bytes[1000..1040]), "the file lies in the clear");
        assert!(!holds(&node.data, b"another one"));
    }
    let storage = bob.get("/storage");
    assert_eq!(storage["cached_bytes"], bytes.len() + 11);
    assert_eq!(storage["conversations"][0]["conversation"], talk);
}

fn holds(folder: &std::path::Path, what: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return holds(&path, what);
        }
        std::fs::read(&path).is_ok_and(|bytes| bytes.windows(what.len()).any(|w| w == what))
    })
}

#[test]
fn a_transfer_goes_on_after_a_kill_of_either_side_and_fetches_nothing_twice() {
    let (mut alice, mut bob) = (Node::new("Alice"), Node::new("Bob"));
    let talk = acquaint(&alice, &bob);
    let bytes = noise(40 * MIB, 2);
    let limits = json!({
        "cache_bytes": 1u64 << 32, "auto_bytes": 0, "up_bytes_per_s": 0, "down_bytes_per_s": 6 * MIB,
    });
    assert_eq!(bob.call("PUT", "/storage", Some(limits)).0, 204);
    let mut at_bob = bob.events();
    let id = add(&alice, "film.bin", "", &bytes);
    send(&alice, &talk, &id, "one");
    let file = wait_file(&mut at_bob, "film.bin");
    assert_eq!(file["state"], "offered", "it is larger than what comes unasked");
    bob.post(&format!("/files/{id}/fetch"), json!({}));
    let have = |events: &mut Events, at_least: u64| {
        events.wait("progress", |e| {
            let have = e["progress"]["have"].as_u64()?;
            (have >= at_least).then_some(have)
        })
    };
    // Bob is killed in the middle.
    let before = have(&mut at_bob, 6 * MIB as u64);
    bob.kill();
    let folder = bob.data.clone();
    let keep = std::mem::replace(&mut bob, Node::start(&folder, Some(PASSPHRASE), &[]));
    let mut at_bob = bob.events();
    let after = have(&mut at_bob, 1);
    // At most what was not settled is missing: two batches of 4 MiB.
    assert!(after + 8 * (MIB as u64) >= before, "{after} of {before}");
    // Alice is killed, and comes back where Bob knows her.
    let at = alice.get("/network")["addrs"][0].as_str().unwrap().to_owned();
    alice.kill();
    let folder = alice.data.clone();
    let keep_alice =
        std::mem::replace(&mut alice, Node::start(&folder, Some(PASSPHRASE), &["--p2p-listen", &at]));
    wait_here(&bob, &mut at_bob, &id);
    assert!(bob.content(&id, "", None).bytes == bytes);
    // Pausing, freeing and fetching again.
    assert_eq!(bob.call("DELETE", &format!("/files/{id}"), None).0, 204);
    assert_eq!(bob.get(&format!("/files/{id}"))["file"]["state"], "gone");
    bob.post(&format!("/files/{id}/fetch"), json!({}));
    have(&mut at_bob, 1);
    bob.post(&format!("/files/{id}/pause"), json!({}));
    assert_eq!(bob.get(&format!("/files/{id}"))["file"]["state"], "paused");
    drop((keep, keep_alice));
}

#[test]
fn reading_in_the_middle_does_not_wait_for_the_beginning() {
    let (alice, bob) = (Node::new("Alice"), Node::new("Bob"));
    let talk = acquaint(&alice, &bob);
    let bytes = noise(60 * MIB, 3);
    let limits = json!({
        "cache_bytes": 1u64 << 32, "auto_bytes": 0, "up_bytes_per_s": 0, "down_bytes_per_s": 4 * MIB,
    });
    assert_eq!(bob.call("PUT", "/storage", Some(limits)).0, 204);
    let mut at_bob = bob.events();
    let id = add(&alice, "film.bin", "", &bytes);
    send(&alice, &talk, &id, "one");
    wait_file(&mut at_bob, "film.bin");
    let start = std::time::Instant::now();
    let from = 50 * MIB;
    let part = bob.content(&id, "", Some(&format!("bytes={from}-{}", from + 9_999)));
    assert!(part.bytes == bytes[from..from + 10_000]);
    // At 4 MiB/s all before it would have taken twelve seconds.
    assert!(start.elapsed() < std::time::Duration::from_secs(9), "{:?}", start.elapsed());
    assert_ne!(bob.get(&format!("/files/{id}"))["file"]["state"], "here");
}

#[test]
fn bad_files_are_refused_with_a_sentence() {
    let node = Node::new("Alice");
    let (status, answer) =
        node.upload("name=x.jpg", b"\xff\xd8\xff\xe0 not a picture at all, but it begins like one, and ends");
    assert_eq!((status, &answer["code"]), (422, &json!("metadata_stays")));
    let (status, _) = node.upload("name=x.jpg&keep_metadata=true", b"\xff\xd8\xff\xe0 not a picture at all");
    assert_eq!(status, 201);
    let (status, answer) = node.upload("name=empty.txt", b"");
    assert_eq!((status, &answer["size"]), (201, &json!(0)));
    assert_eq!(node.content(answer["id"].as_str().unwrap(), "", None).bytes, b"");
    assert_eq!(node.upload("nam=x", b"x").0, 400);
    for (name, bytes) in [
        ("a.svg", &b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"[..]),
        ("b.html", b"<script>alert(1)</script>"),
    ] {
        let (_, file) = node.upload(&format!("name={name}&type=image/svg%2Bxml"), bytes);
        let content = node.content(file["id"].as_str().unwrap(), "", None);
        assert_eq!(content.headers["content-type"], "application/octet-stream");
        assert!(content.headers["content-disposition"].starts_with("attachment"));
    }
    assert_eq!(
        node.refused("POST", &format!("/files/{}/fetch", "00".repeat(32)), json!({})).1,
        "no_such_file"
    );
    assert_eq!(node.refused("POST", "/files/xyz/fetch", json!({})).1, "bad_id");
    let settings = json!({"cache_bytes": 1, "auto_bytes": 0, "up_bytes_per_s": 0, "down_bytes_per_s": 0});
    assert_eq!(node.refused("PUT", "/storage", settings).1, "bad_limit");
}

#[test]
fn files_are_sent_listed_and_saved_from_the_command_line() {
    let (alice, bob) = (Node::new("Alice"), Node::new("Bob"));
    let talk = acquaint(&alice, &bob);
    let mut at_bob = bob.events();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let bytes = noise(2 * MIB + 9, 4);
    std::fs::write(at("film.bin"), &bytes).unwrap();
    std::fs::write(at("notes.txt"), "a few words").unwrap();
    let refused = fails(&alice.data, &["send", "Bob", "--file", &at("none.bin")], "");
    assert!(refused.contains("none.bin"), "{refused}");
    let refused = fails(&alice.data, &["send", "Bob", "--file", folder.path().to_str().unwrap()], "");
    assert!(refused.contains("is no file"), "{refused}");
    let args = ["send", "Bob", "look at this", "--file", &at("film.bin"), "--file", &at("notes.txt")];
    let sent = ok(&alice.data, &args, "");
    assert_eq!(sent.as_array().unwrap().len(), 2);
    let caption = at_bob.wait("the film", |e| {
        let content = &e["message"]["content"];
        (content["file"]["name"] == "film.bin").then(|| content["caption"].clone())
    });
    assert_eq!(caption, "look at this");
    let notes = wait_file(&mut at_bob, "notes.txt");
    assert_eq!(notes["media_type"], "text/plain");
    wait_here(&bob, &mut at_bob, sent[0]["file"].as_str().unwrap());
    wait_here(&bob, &mut at_bob, notes["id"].as_str().unwrap());
    // Newest first, a page at a time.
    let page = ok(&bob.data, &["files", "list", "Alice"], "");
    let names: Vec<&str> =
        page["files"].as_array().unwrap().iter().map(|f| f["file"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["notes.txt", "film.bin"]);
    let first = bob.get(&format!("/conversations/{talk}/files?limit=1"));
    assert_eq!((&first["files"][0]["file"]["name"], &first["more"]), (&json!("notes.txt"), &json!(true)));
    let before = first["files"][0]["position"].as_u64().unwrap();
    let second = bob.get(&format!("/conversations/{talk}/files?limit=1&before={before}"));
    assert_eq!((&second["files"][0]["file"]["name"], &second["more"]), (&json!("film.bin"), &json!(false)));
    assert_eq!(bob.refused("GET", &format!("/conversations/{}/files", "0".repeat(64)), json!({})).0, 404);
    // Saved, never over something else, and again after it was let go.
    let target = at("saved.bin");
    ok(&bob.data, &["files", "get", "film.bin", "--out", &target], "");
    assert!(std::fs::read(&target).unwrap() == bytes);
    let there = fails(&bob.data, &["files", "get", "film.bin", "--out", &target], "");
    assert!(there.contains("is there already"), "{there}");
    ok(&bob.data, &["files", "free", "film.bin", "--from", "Alice"], "");
    assert!(
        kith(&bob.data, &["files", "list", "Alice"], "").stdout.windows(12).any(|w| w == b"removed here")
    );
    let out = kith(&bob.data, &["files", "get", sent[0]["file"].as_str().unwrap(), "--out", "-"], "");
    assert!(out.status.success() && out.stdout == bytes, "{}", String::from_utf8_lossy(&out.stderr));
    ok(&bob.data, &["files", "get", "film.bin", "--force", "--out", &target], "");
    let none = fails(&bob.data, &["files", "get", "nothing.bin"], "");
    assert!(none.contains("no file here"), "{none}");
    // A message that goes takes its file out of the list.
    assert!(ok(&bob.data, &["files"], "")["conversations"][0]["files"] == 2);
}
