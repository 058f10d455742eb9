//! `cargo xtask canary`: plants words in names, titles, messages and files of a real
//! conversation and looks for them wherever they must not be readable: the
//! relay's data, all data folders, all logs, and the traffic on loopback.

use std::io::Write;
use std::path::Path;

use anyhow::{Result, bail};
use serde_json::json;

use crate::capture::Capture;
use crate::env::{Binaries, CONTROLS, Env, Profile, no_more};
use crate::lab::files;
use crate::lab::node::{PASSPHRASE, acquaint};
use crate::lab::{Flags, Node, PATIENCE, Relay, Scratch, figure};
use crate::random::Random;
use crate::tally::Tally;
use crate::{tools, ui};

/// Runs the search, or its control.
pub(crate) fn run(env: &Env, args: &[String]) -> Result<bool> {
    no_more(args, &["--control"])?;
    tools::ensure(env, &[tools::CLANG, tools::NPM])?;
    ui::build(env, false)?;
    let tally = if args.is_empty() { check(env)? } else { control(env)? };
    Ok(tally.failed == 0)
}

/// Nothing readable: counts one check per place.
pub(crate) fn check(env: &Env) -> Result<Tally> {
    if let Err(error) = tools::ensure(env, &[tools::TCPDUMP]) {
        println!("{error}");
    }
    let found = scenario(env, &[], &Flags::default())?;
    let mut tally = Tally::default();
    for place in &found.places {
        for hit in &place.hits {
            println!("{}: {hit}", place.name);
        }
        println!("canary.{}: {} of {} bytes searched", place.name, place.hits.len(), place.bytes);
        tally = tally.plus(Tally::one(place.hits.is_empty() && place.bytes > 0));
    }
    match found.capture {
        Seen::Searched { hits, bytes, dropped, self_check } => {
            println!("canary.capture: {hits} of {bytes} bytes searched, {dropped} packets missed");
            println!(
                "canary.capture_control: a plain copy on loopback was {}found",
                if self_check { "" } else { "not " }
            );
            tally = tally.plus(Tally::one(hits == 0 && self_check));
        }
        Seen::Skipped(reason) => println!("canary.capture: skipped: {reason}"),
    }
    Ok(tally)
}

/// With sealing off the search must find the words.
pub(crate) fn control(env: &Env) -> Result<Tally> {
    let unsealed = ("KITH_TEST_UNSEALED".to_owned(), "1".to_owned());
    let found = scenario(env, CONTROLS, &Flags { environment: vec![unsealed], ..Flags::default() })?;
    let hits = |place: &dyn Fn(&str) -> bool, path: &dyn Fn(&str) -> bool| -> usize {
        let places = found.places.iter().filter(|p| place(&p.name));
        places.flat_map(|p| &p.hits).filter(|hit| path(hit)).count()
    };
    let nodes = |name: &str| name.ends_with("_data") && name != "relay_data";
    let in_files = |path: &str| path.contains("/files/");
    let rows = hits(&nodes, &|path| !in_files(path));
    // Files are sealed by themselves: at nodes, and on their way at the relay.
    let files = hits(&nodes, &in_files);
    let relay = hits(&|name| name == "relay_data", &|_| true);
    figure("canary.control_hits", rows as f64, "files");
    figure("canary.control_file_hits", files as f64, "files");
    figure("canary.control_relay_hits", relay as f64, "files");
    for (what, hits) in [("rows", rows), ("sent files", files), ("chunks at the relay", relay)] {
        if hits == 0 {
            println!("the control found no {what} with sealing off: the search itself does not work");
        }
    }
    Ok(Tally::one(rows > 0).plus(Tally::one(files > 0)).plus(Tally::one(relay > 0)))
}

/// Where was searched and what was found.
struct Place {
    name: String,
    bytes: u64,
    hits: Vec<String>,
}

/// The capture's part.
enum Seen {
    Searched { hits: usize, bytes: usize, dropped: u64, self_check: bool },
    Skipped(String),
}

struct Found {
    places: Vec<Place>,
    capture: Seen,
}

/// Three people talk with the word in everything they say; then the search.
fn scenario(env: &Env, features: &[&str], flags: &Flags) -> Result<Found> {
    let Binaries { kith, bootstrap } = env.binaries(features, Profile::Dev)?;
    let scratch = Scratch::new(&env.target, "canary")?;
    let word = format!("Quokka{:012x}", Random::new(Random::fresh_seed()).next() >> 16);

    let mut relay = Relay::start(&bootstrap, scratch.path())?;
    let mut nodes = Vec::new();
    for name in ["alice", "bob", "carol"] {
        nodes.push(Node::fresh(&kith, scratch.path(), name, flags.clone())?);
    }
    let ui_ports: Vec<u16> = nodes.iter().map(|node| node.address().port()).collect();
    let capture = Capture::start(&scratch.path().join("loopback.pcap"), &ui_ports);

    for node in &mut nodes {
        let name = format!("{} {word}", node.name);
        node.sign_up(&name)?;
        node.add_relay(&relay.link)?;
        node.put("/me", &json!({"name": name, "about": format!("about {word}")}))?;
    }
    let [alice, bob, carol] = &mut nodes[..] else { bail!("three names make three nodes") };
    let direct = acquaint(alice, bob)?;
    acquaint(alice, carol)?;
    let (bob_account, carol_account) = (bob.account()?, carol.account()?);
    alice.put(&format!("/contacts/{bob_account}"), &json!({"nickname": format!("nick {word}")}))?;
    let group = alice.create_group(&format!("title {word}"), &[bob_account, carol_account])?;
    for node in [&mut *bob, &mut *carol] {
        node.until("the group", PATIENCE, |node| node.conversation(&group))?;
    }
    for i in 0..20 {
        let said = format!("direct {i} {word} {}", "x".repeat(i * 40));
        alice.say(&direct, &said, &format!("d{i}"))?;
        bob.until_text(&direct, &said, PATIENCE)?;
        let said = format!("group {i} {word}");
        bob.say(&group, &said, &format!("g{i}"))?;
        carol.until_text(&group, &said, PATIENCE)?;
    }
    // Through the relay, to somebody who is away.
    carol.stop()?;
    let last = format!("while away {word}");
    alice.say(&group, &last, "away")?;
    let content = format!("{word} in a file. ").repeat(30_000);
    let file = files::add_bytes(alice, &format!("{word}.txt"), content.as_bytes())?;
    files::send(alice, &group, &file)?;
    files::until_here(bob, &file, PATIENCE)?;
    alice.until("the relay to keep the file", PATIENCE, |node| {
        let answer = node.get(&format!("/files/{file}"))?;
        Ok((answer["file"]["at_relays"]["kind"] == "until").then_some(()))
    })?;
    carol.resume()?;
    carol.until_text(&group, &last, PATIENCE)?;
    files::until_here(carol, &file, PATIENCE)?;
    // A refused request and a wrong passphrase leave traces too.
    let _ = alice.send(
        "POST",
        "/contacts",
        Some(&json!({"link": format!("kith-invite:{word}"), "greeting": word})),
    )?;
    let _ = alice.send("POST", &format!("/{word}?text={word}"), Some(&json!({ "passphrase": word })))?;
    for node in &mut nodes {
        node.stop()?;
    }
    relay.stop()?;

    let capture = match capture {
        Ok(capture) => searched(capture, &scratch, &word)?,
        Err(error) => Seen::Skipped(format!("{error:#}")),
    };
    let mut places = vec![search_place("relay_data", relay.data(), &word)?];
    for node in &nodes {
        places.push(search_place(&format!("{}_data", node.name), node.data(), &word)?);
        places.push(search_place(&format!("{}_log", node.name), node.log(), &word)?);
        places.push(search_place(&format!("{}_passphrase", node.name), node.data(), PASSPHRASE)?);
    }
    places.push(search_place("relay_log", &scratch.path().join("relay.log"), &word)?);
    Ok(Found { places, capture })
}

fn searched(capture: Capture, scratch: &Scratch, word: &str) -> Result<Seen> {
    let (bytes, dropped) = capture.finish()?;
    let hits = forms(word).iter().filter(|form| contains(&bytes, form)).count();
    // The same search must find a plain copy on the same interface.
    let again = Capture::start(&scratch.path().join("control.pcap"), &[])?;
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    let mut talker = std::net::TcpStream::connect(listener.local_addr()?)?;
    talker.write_all(word.as_bytes())?;
    let (mut heard, _) = listener.accept()?;
    drop(talker);
    std::io::copy(&mut heard, &mut std::io::sink())?;
    let (control, _) = again.finish()?;
    let self_check = contains(&control, word.as_bytes());
    Ok(Seen::Searched { hits, bytes: bytes.len(), dropped, self_check })
}

/// Searches a file or everything below a folder.
fn search_place(name: &str, path: &Path, word: &str) -> Result<Place> {
    let mut place = Place { name: name.to_owned(), bytes: 0, hits: Vec::new() };
    let forms = forms(word);
    walk(path, &mut |file, bytes| {
        place.bytes += bytes.len() as u64;
        // File names are readable too.
        let named = file.file_name().is_some_and(|n| n.to_string_lossy().contains(word));
        if named || forms.iter().any(|form| contains(bytes, form)) {
            place.hits.push(file.display().to_string());
        }
    })?;
    Ok(place)
}

fn walk(path: &Path, visit: &mut impl FnMut(&Path, &[u8])) -> Result<()> {
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            walk(&entry?.path(), visit)?;
        }
    } else if path.is_file() {
        visit(path, &std::fs::read(path)?);
    }
    Ok(())
}

/// The shapes in which a word may lie about: as it is, in UTF-16, in hex, and
/// in base64 at each of its three alignments.
fn forms(word: &str) -> Vec<Vec<u8>> {
    let hex: String = word.bytes().map(|b| format!("{b:02x}")).collect();
    let mut forms = vec![
        word.as_bytes().to_vec(),
        word.to_lowercase().into_bytes(),
        word.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        hex.clone().into_bytes(),
        hex.to_uppercase().into_bytes(),
    ];
    for shift in 0..3 {
        let padded: Vec<u8> = std::iter::repeat_n(0u8, shift).chain(word.bytes()).collect();
        let text = base64(&padded);
        // The characters that also depend on the bytes around the word go.
        let start = if shift == 0 { 0 } else { shift + 1 };
        let end = text.len() - 2;
        forms.push(text.as_bytes()[start..end].to_vec());
    }
    forms
}

/// Base64 of whole groups, without padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks_exact(3) {
        let number = group.iter().fold(0usize, |n, b| (n << 8) | usize::from(*b));
        for shift in [18, 12, 6, 0] {
            text.push(char::from(DIGITS[(number >> shift) & 63]));
        }
    }
    text
}

/// Whether `needle` occurs in `bytes`.
fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    let Some(first) = needle.first() else { return true };
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|b| b == first) {
        rest = &rest[at..];
        if rest.starts_with(needle) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}

#[cfg(test)]
mod tests {
    use super::{base64, contains, forms};

    #[test]
    fn finds_a_word_in_every_form() {
        let word = "Quokka0123456789ab";
        for (before, after) in [("", ""), ("a", "b"), ("ab", "cd"), ("abc", "")] {
            let mut text = format!("{before}{word}{after}");
            while text.len() % 3 != 0 {
                text.push('.');
            }
            let encoded = base64(text.as_bytes());
            assert!(forms(word).iter().any(|form| contains(encoded.as_bytes(), form)), "{text}");
        }
        assert!(contains(b"xxQuokka", b"Quokka"));
        assert!(!contains(b"xxQuokk", b"Quokka"));
    }
}
