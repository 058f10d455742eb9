//! What may be said: every wrong body, query and id is a problem with a stable
//! code, and nothing of it reaches the node.

use std::io::{BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::common::{Answer, BEARER, Lab};
use kith_web::VaultState;

const GROUP: &str = "0808080808080808080808080808080808080808080808080808080808080808";

#[test]
fn wrong_bodies_are_told_and_change_nothing() {
    let lab = Lab::new(VaultState::Unlocked);
    let path = format!("/api/v1/conversations/{GROUP}/messages");
    let long = format!("{{\"text\":\"{}\",\"key\":\"k\"}}", "x".repeat(65 * 1024));
    let key = format!("{{\"text\":\"t\",\"key\":\"{}\"}}", "k".repeat(65));
    let huge = format!("{{\"text\":\"{}\",\"key\":\"k\"}}", "x".repeat(140 * 1024));
    let deep = "[".repeat(100_000);
    for (body, status, code) in [
        ("{", 400, "malformed"),
        ("nonsense", 400, "malformed"),
        ("[]", 400, "malformed"),
        ("{\"text\":5,\"key\":\"k\"}", 400, "malformed"),
        ("{\"text\":\"t\"}", 400, "malformed"),
        ("{\"text\":\"t\",\"key\":\"k\",\"extra\":1}", 400, "malformed"),
        ("{\"text\":\"t\",\"text\":\"u\",\"key\":\"k\"}", 400, "malformed"),
        ("{\"text\":\"t\",\"key\":\"\"}", 400, "malformed"),
        ("{\"text\":\"t\",\"key\":\"k\",\"reply_to\":\"xyz\"}", 400, "bad_id"),
        ("{\"text\":\"\\ud800\",\"key\":\"k\"}", 400, "malformed"),
        (deep.as_str(), 400, "malformed"),
        (long.as_str(), 413, "too_long"),
        (key.as_str(), 413, "too_long"),
        (huge.as_str(), 413, "body_too_large"),
    ] {
        let answer = lab.program("POST", &path, body);
        let shown: String = body.chars().take(40).collect();
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{shown}");
    }
    let plain = lab.send(
        "POST",
        &path,
        &[("authorization", &format!("Bearer {}", crate::common::BEARER)), ("content-type", "text/plain")],
        "",
    );
    assert_eq!((plain.status, plain.code().as_str()), (415, "not_json"));
    assert!(lab.notes.commands.lock().unwrap().is_empty());
}

#[test]
fn wrong_ids_and_queries_are_told() {
    let lab = Lab::new(VaultState::Unlocked);
    let page = format!("/api/v1/conversations/{GROUP}/messages");
    let qr = format!("/api/v1/qr?text={}", "x".repeat(2001));
    for (path, status, code) in [
        ("/api/v1/conversations/abc", 400, "bad_id"),
        ("/api/v1/conversations/%ff%fe", 400, "malformed"),
        ("/api/v1/contacts/kith1wrong/safety", 400, "bad_id"),
        (&format!("{page}?limit=0"), 400, "malformed"),
        (&format!("{page}?limit=201"), 400, "malformed"),
        (&format!("{page}?limit=-1"), 400, "malformed"),
        (&format!("{page}?before=1&after=2"), 400, "malformed"),
        (&format!("{page}?before=x"), 400, "malformed"),
        (&format!("{page}?befor=1"), 400, "malformed"),
        (&format!("/api/v1/conversations/{GROUP}"), 404, "not_found"),
        ("/api/v1/qr", 400, "malformed"),
        (&qr, 413, "too_long"),
        ("/api/v1/events", 400, "malformed"),
    ] {
        let answer = lab.program("GET", path, "");
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{path}");
    }
}

#[test]
fn what_is_right_reaches_the_node_and_its_answer_comes_back() {
    let lab = Lab::new(VaultState::Unlocked);
    let path = format!("/api/v1/conversations/{GROUP}/messages");
    let sent = lab.program("POST", &path, "{\"text\":\"a \u{1f600}\",\"key\":\"k\"}");
    assert_eq!(sent.status, 202);
    assert!(sent.body.contains("\"position\":3") && sent.body.contains(&"07".repeat(32)));
    let refused = lab.program("POST", &path, "{\"text\":\"refuse me\",\"key\":\"k\"}");
    assert_eq!((refused.status, refused.code().as_str()), (409, "not_now"));
    let read = lab.program("POST", &format!("/api/v1/conversations/{GROUP}/read"), "{\"position\":9}");
    assert_eq!((read.status, read.body.as_str()), (204, ""));
    let made = lab.program("POST", "/api/v1/conversations", "{\"title\":\"T\",\"members\":[]}");
    assert_eq!(made.body, format!("{{\"conversation\":\"{GROUP}\"}}"));
    let commands = lab.notes.commands.lock().unwrap();
    assert_eq!(commands.len(), 4);
    assert!(commands[0].contains("SendText") && commands[2].contains("position: 9"));
}

#[test]
fn roles_and_reports_are_read_strictly() {
    let lab = Lab::new(VaultState::Unlocked);
    let account = kith_wire::ids::AccountId([3; 32]).to_text();
    let role = format!("/api/v1/conversations/{GROUP}/members/{account}/role");
    let report = format!("/api/v1/conversations/{GROUP}/messages/{GROUP}/report");
    let long = format!("{{\"reason\":\"{}\"}}", "x".repeat(1025));
    let nobody = format!("/api/v1/conversations/{GROUP}/members/kith1wrong/role");
    let settle = format!("/api/v1/conversations/{GROUP}/reports/xyz/settle");
    for (method, path, body, status, code) in [
        ("PUT", &role, "{\"role\":\"king\"}", 400, "malformed"),
        ("PUT", &role, "{}", 400, "malformed"),
        ("PUT", &role, "{\"role\":\"admin\",\"epoch\":1}", 400, "malformed"),
        ("PUT", &nobody, "{\"role\":\"admin\"}", 400, "bad_id"),
        ("POST", &report, "{\"reason\":5}", 400, "malformed"),
        ("POST", &report, &long, 413, "too_long"),
        ("POST", &settle, "", 400, "bad_id"),
    ] {
        let answer = lab.program(method, path, body);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {path} {body:.60}");
    }
    assert!(lab.notes.commands.lock().unwrap().is_empty());
    assert_eq!(lab.program("PUT", &role, "{\"role\":\"admin\"}").status, 204);
    assert_eq!(lab.program("POST", &report, "{}").status, 204);
    assert_eq!(
        lab.program("POST", &format!("/api/v1/conversations/{GROUP}/reports/{GROUP}/settle"), "").status,
        204
    );
    let commands = lab.notes.commands.lock().unwrap();
    assert!(commands[0].contains("SetRole") && commands[0].contains("Admin"));
    assert!(commands[1].contains("reason: \"\"") && commands[2].contains("SettleReport"));
}

#[test]
fn a_contact_changes_only_in_what_is_named() {
    let lab = Lab::new(VaultState::Unlocked);
    let account = kith_wire::ids::AccountId([3; 32]).to_text();
    let path = format!("/api/v1/contacts/{account}");
    assert_eq!(lab.program("PUT", &path, "{}").status, 400);
    for body in
        ["{\"nickname\":null}", "{\"nickname\":\" \"}", "{\"nickname\":\"Al\"}", "{\"verified\":true}"]
    {
        assert_eq!(lab.program("PUT", &path, body).status, 204, "{body}");
    }
    let commands = lab.notes.commands.lock().unwrap();
    assert!(commands[0].contains("nickname: None") && commands[1].contains("nickname: None"));
    assert!(commands[2].contains("nickname: Some(\"Al\")") && commands[3].contains("SetVerified"));
    assert_eq!(commands.len(), 4);
}

#[test]
fn a_qr_code_is_drawn_as_an_image() {
    let lab = Lab::new(VaultState::Unlocked);
    let drawn = lab.program("GET", "/api/v1/qr?text=kith-invite%3Aabc", "");
    assert_eq!((drawn.status, drawn.header("content-type")), (200, Some("image/svg+xml")));
}

/// An answer before the body would end the connection, and nobody would know.
#[test]
fn a_body_that_nobody_needs_is_waited_for_and_the_connection_stays() {
    let lab = Lab::new(VaultState::Unlocked);
    let mut stream = BufReader::new(TcpStream::connect(lab.addr).unwrap());
    let head = |method: &str, path: &str, length: usize| {
        format!(
            "{method} /api/v1{path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {BEARER}\r\ncontent-length: {length}\r\n\r\n",
            lab.addr
        )
    };
    for _ in 0..3 {
        stream.get_mut().write_all(head("POST", &format!("/files/{GROUP}/pause"), 2).as_bytes()).unwrap();
        stream.get_mut().set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert!(stream.get_mut().peek(&mut [0]).is_err(), "it is answered before its body came");
        stream.get_mut().set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.get_mut().write_all(b"{}").unwrap();
        assert_ne!(Answer::read(&mut stream, true).status, 0);
        stream.get_mut().write_all(head("GET", "/me", 0).as_bytes()).unwrap();
        assert_ne!(Answer::read(&mut stream, true).status, 0, "the connection was closed");
    }
}
