//! A node's own life: onboarding, locking, recovery, restarts.

use std::fs;

use serde_json::{Value, json};

use crate::lab::{Node, PASSPHRASE, init, kith, ok, plain};

fn challenge(node: &Node, words: &[Value]) -> Vec<Value> {
    let asked = node.get("/vault/challenge");
    let index = |i: &Value| usize::try_from(i.as_u64().unwrap()).unwrap();
    asked["indexes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| json!({"index": i, "word": words[index(i)]}))
        .collect()
}

#[test]
fn an_account_is_made_once_its_words_were_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::start(dir.path(), None, &[]);
    assert_eq!(node.state(), "fresh");
    assert_eq!(node.refused("GET", "/conversations", json!({})), (423, "fresh".into()));
    assert_eq!(node.refused("POST", "/vault/unlock", json!({"passphrase": PASSPHRASE})).1, "fresh");
    let weak = node.refused("POST", "/vault/create", json!({"name": "Alice", "passphrase": "short"}));
    assert_eq!(weak, (400, "weak_passphrase".into()));
    assert_eq!(node.refused("POST", "/vault/create", json!({"name": " ", "passphrase": PASSPHRASE})).0, 400);
    let words = node.post("/vault/create", json!({"name": "Alice", "passphrase": PASSPHRASE}));
    let words = words["words"].as_array().unwrap().clone();
    assert_eq!(words.len(), 24);
    let mut wrong = challenge(&node, &words);
    wrong[1]["word"] = json!("wrong");
    assert_eq!(node.refused("POST", "/vault/confirm", json!({"answers": wrong})).1, "wrong_words");
    assert_eq!(node.state(), "fresh");
    assert!(!dir.path().join("vault").exists(), "nothing is kept before the words were repeated");
    node.post("/vault/confirm", json!({"answers": challenge(&node, &words)}));
    assert_eq!(node.get("/session"), json!({"state": "unlocked", "name": "Alice"}));
    assert_eq!(node.get("/me")["name"], "Alice");
    assert_eq!(node.get("/conversations"), json!([]));
    let (status, _) = node.call("PUT", "/me", Some(json!({"name": "Alicia", "about": "me"})));
    assert_eq!(status, 204);
    assert_eq!(node.get("/session")["name"], "Alicia");
    node.kill();

    let node = Node::start(dir.path(), None, &[]);
    assert_eq!(node.state(), "locked");
    node.post("/vault/unlock", json!({"passphrase": PASSPHRASE}));
    assert_eq!(node.get("/me")["about"], "me");
    let again = node.refused("POST", "/vault/create", json!({"name": "Bob", "passphrase": PASSPHRASE}));
    assert_eq!(again, (409, "not_now".into()));
}

#[test]
fn the_words_open_the_vault_when_the_passphrase_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let words = init(dir.path(), "Alice").join(" ");
    let node = Node::start(dir.path(), None, &[]);
    let recover = |words: &str| json!({"words": words, "passphrase": "a new passphrase"});
    assert_eq!(node.refused("POST", "/vault/recover", recover("twelve words only")).1, "words_mistyped");
    let typed = format!("  {}\n", words.to_uppercase());
    node.post("/vault/recover", recover(&typed));
    assert_eq!(node.get("/me")["name"], "Alice");
    let wrong = json!({"old": PASSPHRASE, "new": "yet another one"});
    assert_eq!(node.refused("POST", "/vault/passphrase", wrong).1, "wrong_passphrase");
    node.post("/vault/lock", json!({}));
    assert_eq!(node.refused("GET", "/me", json!({})), (423, "locked".into()));
    assert_eq!(
        node.refused("POST", "/vault/unlock", json!({"passphrase": "a new passphrase"})),
        (429, "slow_down".into())
    );
    drop(node);
    let node = Node::start(dir.path(), Some("a new passphrase"), &[]);
    node.post("/vault/passphrase", json!({"old": "a new passphrase", "new": PASSPHRASE}));
    drop(node);
    assert_eq!(Node::start(dir.path(), Some(PASSPHRASE), &[]).state(), "unlocked");
}

#[test]
fn the_link_signs_in_and_the_session_outlives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path(), "Alice");
    let mut node = Node::start(dir.path(), Some(PASSPHRASE), &[]);
    let path = node.link.split_once("/link/").unwrap().1.to_owned();
    let answer = plain(node.host(), &format!("GET /link/{path} HTTP/1.1"));
    assert!(answer.starts_with("HTTP/1.1 303"), "{answer}");
    let cookie = answer.lines().find_map(|l| l.strip_prefix("set-cookie: ")).unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let session = format!("GET /api/v1/session HTTP/1.1\r\nCookie: {cookie}");
    assert!(plain(node.host(), &session).contains("\"unlocked\""));
    assert!(plain(node.host(), &format!("GET /link/{path} HTTP/1.1")).starts_with("HTTP/1.1 403"));
    let first = node.host().to_owned();
    assert_eq!(node.terminate(), Some(0));
    assert!(!dir.path().join("api-token").exists());

    let node = Node::start(dir.path(), None, &[]);
    assert_eq!(node.host(), first, "the port of last time");
    assert!(plain(node.host(), &session).contains("\"locked\""));
    node.post("/vault/unlock", json!({"passphrase": PASSPHRASE}));
    assert!(plain(node.host(), &session).contains("\"unlocked\""));
    let page = plain(node.host(), "GET /conversation/x HTTP/1.1");
    assert!(page.contains("text/html") && page.contains("default-src 'self'"), "{page}");
}

#[test]
fn the_commands_lock_unlock_and_make_links() {
    let node = Node::new("Alice");
    let data = &node.data;
    let url = ok(data, &["link"], "")["url"].as_str().unwrap().to_owned();
    assert!(url.starts_with(&format!("http://{}/link/", node.host())));
    assert_eq!(ok(data, &["status"], "")["state"], "unlocked");
    ok(data, &["lock"], "");
    assert_eq!(ok(data, &["status"], "")["state"], "locked");
    ok(data, &["unlock", "--passphrase-fd", "0"], PASSPHRASE);
    let text = kith(data, &["status"], "");
    assert!(String::from_utf8(text.stdout).unwrap().contains("Running as Alice"));
    let document = kith(data, &["openapi"], "");
    let stored = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../web-ui/openapi.json")).unwrap();
    assert!(
        document.stdout == stored,
        "web-ui/openapi.json is not what the node serves: run `cargo xtask gen`"
    );
}
