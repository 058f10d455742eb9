//! Two nodes, no relay: from an invite to messages both ways.

use serde_json::{Value, json};

use crate::lab::{Events, Node, PASSPHRASE, ok};

fn text_of(event: &Value, mine: bool) -> Option<String> {
    let message = &event["message"];
    let is_text =
        event["type"] == "message" && message["content"]["kind"] == "text" && message["mine"] == mine;
    is_text.then(|| message["content"]["text"].as_str().unwrap().to_owned())
}

fn wait_text(events: &mut Events, text: &str) {
    events.wait(text, |event| (text_of(event, false)? == text).then_some(()));
}

fn wait_delivered(events: &mut Events, text: &str) {
    events.wait("an acknowledgement", |event| {
        let there = ["delivered", "delivered_all", "read"];
        let state = event["message"]["delivery"].as_str()?;
        (text_of(event, true)? == text && there.contains(&state)).then_some(())
    });
}

/// Makes the two contacts; answers the conversation's id, the same on both sides.
pub(crate) fn acquaint(alice: &Node, bob: &Node) -> String {
    let (mut at_alice, mut at_bob) = (alice.events(), bob.events());
    // An invite names addresses, so the network must have told them.
    if alice.get("/network")["addrs"].as_array().unwrap().is_empty() {
        at_alice.wait("own addresses", |e| (!e["network"]["addrs"].as_array()?.is_empty()).then_some(()));
    }
    let invite = alice.post("/invites", json!({"uses": 1, "valid_s": 3600}));
    let asked = bob.post("/contacts", json!({"link": invite["link"], "greeting": "It is me, Bob"}));
    assert_eq!(asked["account"], alice.get("/me")["account"]);
    let account = at_alice.wait("the request", |e| {
        let contact = &e["contact"];
        (contact["state"] == "incoming").then(|| contact["account"].as_str().unwrap().to_owned())
    });
    alice.post(&format!("/contacts/{account}/accept"), json!({}));
    at_bob.wait("the conversation", |e| {
        (e["type"] == "conversation").then(|| e["conversation"]["id"].as_str().unwrap().to_owned())
    })
}

#[test]
fn two_people_meet_by_a_link_and_talk_without_a_relay() {
    let (alice, bob) = (Node::new("Alice"), Node::new("Bob"));
    let id = acquaint(&alice, &bob);
    let (mut at_alice, mut at_bob) = (alice.events(), bob.events());
    let messages = format!("/conversations/{id}/messages");
    let sent = bob.post(&messages, json!({"text": "hello \u{1f600}", "key": "one"}));
    let again = bob.post(&messages, json!({"text": "hello \u{1f600}", "key": "one"}));
    assert_eq!(sent, again, "the same key answers as the first time");
    wait_text(&mut at_alice, "hello \u{1f600}");
    wait_delivered(&mut at_bob, "hello \u{1f600}");
    ok(&alice.data, &["send", "Bob", "from the command line"], "");
    wait_text(&mut at_bob, "from the command line");
    let page = ok(&bob.data, &["read", "Alice"], "");
    let texts: Vec<_> =
        page["messages"].as_array().unwrap().iter().filter_map(|m| m["content"]["text"].as_str()).collect();
    assert_eq!(texts, ["hello \u{1f600}", "from the command line"]);
    let safety = |node: &Node, other: &Node| {
        let account = other.get("/me")["account"].as_str().unwrap().to_owned();
        node.get(&format!("/contacts/{account}/safety"))["digits"].clone()
    };
    assert_eq!(safety(&alice, &bob), safety(&bob, &alice));
}

#[test]
fn what_was_said_to_a_stopped_node_arrives_when_it_comes_back() {
    let (alice, mut bob) = (Node::new("Alice"), Node::new("Bob"));
    let id = acquaint(&alice, &bob);
    let messages = format!("/conversations/{id}/messages");
    let mut at_bob = bob.events();
    alice.post(&messages, json!({"text": "first", "key": "1"}));
    wait_text(&mut at_bob, "first");
    bob.kill();
    alice.post(&messages, json!({"text": "while you were away", "key": "2"}));
    let bob = Node::start(&bob.data, Some(PASSPHRASE), &[]);
    let mut at_bob = bob.events();
    let page = bob.get(&messages);
    let there =
        page["messages"].as_array().unwrap().iter().any(|m| m["content"]["text"] == "while you were away");
    if !there {
        wait_text(&mut at_bob, "while you were away");
    }
    let page = bob.get(&messages);
    let texts: Vec<_> =
        page["messages"].as_array().unwrap().iter().filter_map(|m| m["content"]["text"].as_str()).collect();
    assert_eq!(texts, ["first", "while you were away"]);
}

#[test]
fn wrong_links_are_told_and_change_nothing() {
    let alice = Node::new("Alice");
    for link in ["", "kith-invite:", "kith-invite:AAAA", "http://example.org", "kith-relay:AAAA"] {
        let (status, _) = alice.refused("POST", "/contacts", json!({"link": link, "greeting": ""}));
        assert!((400..500).contains(&status), "{link}: {status}");
        let (status, _) = alice.refused("POST", "/relays", json!({"link": link}));
        assert!((400..500).contains(&status), "{link}: {status}");
        assert_eq!(alice.refused("POST", "/relays/test", json!({"link": link})).0, 400);
    }
    let own = alice.post("/invites", json!({"uses": 1, "valid_s": 3600}));
    let (_, code) = alice.refused("POST", "/contacts", json!({"link": own["link"], "greeting": ""}));
    assert_eq!(code, "own_invite");
    assert_eq!(alice.get("/contacts"), json!([]));
    assert_eq!(alice.get("/network")["relays"], json!([]));
}
