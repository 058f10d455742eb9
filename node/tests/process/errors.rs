//! What can be wrong around a node, and the sentence for it.

use std::fs;

use crate::lab::{Node, PASSPHRASE, fails, init, kith, ok};

#[test]
fn a_folder_has_one_account_and_one_node() {
    let dir = tempfile::tempdir().unwrap();
    let words = init(dir.path(), "Alice");
    assert_eq!(words.len(), 24);
    let again = fails(dir.path(), &["init", "--name", "Bob", "--passphrase-fd", "0"], PASSPHRASE);
    assert!(again.contains("already"), "{again}");
    let node = Node::start(dir.path(), Some(PASSPHRASE), &[]);
    for args in [&["run"][..], &["init", "--name", "Bob", "--passphrase-fd", "0"]] {
        let second = fails(dir.path(), args, PASSPHRASE);
        assert!(second.contains(&format!("process {}", node.pid())), "{second}");
    }
}

#[test]
fn a_wrong_passphrase_is_said_to_be_wrong() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path(), "Alice");
    let wrong = fails(dir.path(), &["run", "--passphrase-fd", "0"], "something else");
    assert!(wrong.to_lowercase().contains("passphrase"), "{wrong}");
    assert!(!dir.path().join("api-token").exists());
    let short = tempfile::tempdir().unwrap();
    let short = fails(short.path(), &["init", "--name", "A", "--passphrase-fd", "0"], "short");
    assert!(short.contains('8'), "{short}");
    let nothing = fails(dir.path(), &["run", "--passphrase-fd", "0"], "");
    assert!(nothing.contains("gave no passphrase"), "{nothing}");
    let no_fd = fails(dir.path(), &["run", "--passphrase-fd", "99"], "");
    assert!(no_fd.contains("descriptor 99"), "{no_fd}");
}

#[test]
fn addresses_that_cannot_be_used_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let in_use = fails(dir.path(), &["run", "--listen", &address], "");
    assert!(in_use.contains(&address) && in_use.contains("--listen"), "{in_use}");
    let open = fails(dir.path(), &["run", "--listen", "0.0.0.0:0"], "");
    assert!(open.contains("loopback"), "{open}");
    let nonsense = fails(dir.path(), &["run", "--listen", "here"], "");
    assert!(nonsense.contains("here") && nonsense.contains("flag"), "{nonsense}");
    let p2p = fails(dir.path(), &["run", "--p2p-listen", "127.0.0.1:9"], "");
    assert!(p2p.contains("multiaddr"), "{p2p}");
}

#[test]
fn foreign_and_damaged_folders_are_left_as_they_are() {
    let foreign = tempfile::tempdir().unwrap();
    fs::write(foreign.path().join("thesis.odt"), "x").unwrap();
    let told = fails(foreign.path(), &["run"], "");
    assert!(told.contains("thesis.odt"), "{told}");
    assert_eq!(fs::read_dir(foreign.path()).unwrap().count(), 1);

    let dir = tempfile::tempdir().unwrap();
    init(dir.path(), "Alice");
    let header = dir.path().join("vault/header");
    let good = fs::read(&header).unwrap();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    for bytes in [&bad[..], b"", b"not a vault", &good[..good.len() / 2]] {
        fs::write(&header, bytes).unwrap();
        let told = fails(dir.path(), &["run", "--passphrase-fd", "0"], PASSPHRASE);
        assert!(told.contains("damaged"), "{told}");
    }
    fs::remove_file(&header).unwrap();
    let told = fails(dir.path(), &["run", "--passphrase-fd", "0"], PASSPHRASE);
    assert!(told.contains("missing"), "{told}");
    let told = fails(dir.path(), &["init", "--name", "A", "--passphrase-fd", "0"], PASSPHRASE);
    assert!(told.contains("missing"), "an account is not made over a damaged one: {told}");
    fs::write(&header, &good).unwrap();

    // Another vault's file over these rows.
    let other = tempfile::tempdir().unwrap();
    init(other.path(), "Bob");
    fs::copy(other.path().join("vault/header"), &header).unwrap();
    let told = fails(dir.path(), &["run", "--passphrase-fd", "0"], PASSPHRASE);
    assert!(told.contains("damaged") || told.contains("another vault"), "{told}");
    fs::write(&header, &good).unwrap();
    assert_eq!(Node::start(dir.path(), Some(PASSPHRASE), &[]).state(), "unlocked");
}

#[test]
fn commands_without_a_node_say_how_to_start_one() {
    let dir = tempfile::tempdir().unwrap();
    for args in [&["status"][..], &["link"], &["send", "Bob", "hi"], &["tail"], &["relays"]] {
        let told = fails(dir.path(), args, "");
        assert!(told.contains("kith run"), "{args:?}: {told}");
    }
    init(dir.path(), "Alice");
    let mut node = Node::start(dir.path(), None, &[]);
    let locked = fails(dir.path(), &["contacts"], "");
    assert!(locked.contains("locked"), "{locked}");
    node.kill();
    let told = fails(dir.path(), &["status"], "");
    assert!(told.contains("kith run"), "the files of a killed node are still there: {told}");
    let json = kith(dir.path(), &["--json", "status"], "");
    let error: serde_json::Value = serde_json::from_slice(&json.stderr).unwrap();
    assert!(error["code"].is_string() && error["message"].is_string());
}

#[test]
fn the_config_shows_where_each_value_came_from() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("config.toml"), "direct = false\n").unwrap();
    let shown = ok(dir.path(), &["config", "show"], "");
    let origin = |key: &str| {
        let line = shown.as_array().unwrap().iter().find(|l| l["key"] == key).unwrap();
        (line["value"].as_str().unwrap().to_owned(), line["origin"].as_str().unwrap().to_owned())
    };
    assert_eq!(origin("data").1, "flag");
    assert_eq!(origin("listen"), ("127.0.0.1:0".into(), "default".into()));
    assert!(origin("direct").0 == "false" && origin("direct").1.contains("config.toml"));
    fs::write(dir.path().join("config.toml"), "port = 1\n").unwrap();
    let told = fails(dir.path(), &["config", "show"], "");
    assert!(told.contains("port") && told.contains("config.toml"), "{told}");
}
